"""An answer as text for a screen and as a document. Names are strangers': no control character reaches a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from trackside.documents.lineage import Affected, Counts, Lineage, LineageEdge, LineageNode
from trackside.lineage.graph import MEANINGS, Edge, Graph, Node
from trackside.lineage.purpose import Purposes
from trackside.lineage.trace import Answer, Row
from trackside.report.escape import plain
from trackside.runs import table

MOST_VERSIONS, MOST_RUNS, MOST_ORIGINS = 25, 8, 30
"""Rows of each part of the text: an answer is to fit a screen. JSON has them all."""


def document(answer: Answer, depth: int | None = None) -> Lineage:
    """All of it; nodes and edges at most `depth` hops from the start."""
    graph, start = answer.graph, answer.start
    near = answer.near(depth)
    edges = [edge for edge in graph.edges if edge.source in near and edge.target in near]
    return Lineage(
        question=start.title,
        about=start.kind,
        known=start.known,
        complete=not answer.doubts,
        counts=counts(answer),
        start=list(start.nodes),
        versions=[_affected(row) for row in answer.rows],
        runs_only=[node.id for node in answer.runs_only],
        doubts=list(answer.doubts),
        notes=list(start.notes),
        nodes=[_node(graph.nodes[name]) for name in sorted(near)],
        edges=[
            LineageEdge(source=one.source, target=one.target, meaning=one.meaning, facts=dict(one.facts))
            for one in edges
        ],
        meanings={name: MEANINGS[name] for name in sorted({edge.meaning for edge in edges})},
    )


def counts(answer: Answer) -> Counts:
    sure = [row for row in answer.rows if row.use != "judged"]
    return Counts(
        learnt=len(answer.with_use("learnt")),
        judged=len(answer.with_use("judged")),
        possible=len(answer.with_use("possible")),
        in_stage=sum(bool(row.now) for row in sure),
        with_image=sum(bool(row.images) for row in sure),
        deployed=sum(bool(row.deployed) for row in sure),
        runs_only=len(answer.runs_only),
    )


def _node(node: Node) -> LineageNode:
    return LineageNode(id=node.id, kind=node.kind, name=node.name, facts=dict(node.facts))


def _affected(row: Row) -> Affected:
    return Affected(
        version=row.version.name,
        use=row.use,
        because=list(row.by),
        stages=list(row.now),
        held=list(row.before),
        images=[reference(one) for one in row.images],
        deployed=[one.name for one in row.deployed],
        proposed=[one.name for one in row.proposed],
    )


def reference(image: Node) -> str:
    """`ghcr.io/acme/delay@sha256:…`, the digest alone where no reference is recorded."""
    name = str(image.facts.get("reference", ""))
    return f"{name}@{image.name}" if name else image.name


# Text


def text(answer: Answer, depth: int | None = None) -> str:
    """One screen: how many are affected, which, where they are; then what the start came from."""
    parts = [_head(answer), sentence(answer), _versions(answer), _images(answer), _only(answer), _came(answer, depth)]
    if answer.doubts:
        parts.append("NOT CERTAIN\n" + "\n".join(f"  {plain(one, 400)}" for one in answer.doubts))
    return "\n\n".join(part for part in parts if part)


def _head(answer: Answer) -> str:
    start, graph = answer.start, answer.graph
    lines = [plain(start.title)]
    if not start.known:
        lines.append("nothing that is recorded has this digest or path")
    for node in (graph.nodes[name] for name in start.nodes[:3] if start.kind != "run"):
        paths = ", ".join(node.facts.get("paths", ())[:3]) if start.title == node.name else ""
        if detail := f"at {plain(paths)}{_size(node)}" if paths else _detail(node):
            lines.append(detail)
    return "\n".join([*lines, *start.notes])


def sentence(answer: Answer) -> str:
    """The count, in one or two sentences."""
    start, found = answer.start, counts(answer)
    if start.kind == "version":
        said = [f"{_many(found.learnt - 1, 'other version')} learnt from its model"]
    else:
        said = [f"{_many(found.learnt, 'version')} {'learnt from it' if start.kind == 'data' else 'came of it'}"]
    if found.judged:
        said.append(f"{_many(found.judged, 'version was', 'versions were')} only judged on it")
    if found.possible:
        said.append(f"of {_many(found.possible, 'version')} it cannot be told")
    if found.learnt + found.possible:
        rows = [row for row in answer.rows if row.now and row.use != "judged"]
        stages = [f"{row.version.name}: {', '.join(one.rpartition('#')[2] for one in row.now)}" for row in rows]
        names = f" ({'; '.join(stages[:5])}{'; …' if len(stages) > 5 else ''})" if stages else ""
        said.append(f"{_many(found.in_stage, 'holds', 'hold')} a stage now{names}")
        said.append(f"{_many(found.with_image, 'has', 'have')} an image")
        said.append(f"{_many(found.deployed, 'is', 'are')} deployed")
    said.append(f"{_many(found.runs_only, 'run')} without a version")
    return plain("; ".join(said), 800) + "."


def _many(count: int, one: str, more: str = "") -> str:
    """`1 run`, `2 runs`; with the plural where it is another word."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def _versions(answer: Answer) -> str:
    rows = []
    for row in answer.rows[:MOST_VERSIONS]:
        facts = row.version.facts
        state = "out of use" if facts.get("out_of_use") else str(facts.get("state", "not registered"))
        stages = ", ".join(one.rpartition("#")[2] for one in row.now) or "-"
        before = ", ".join(one.rpartition("#")[2] for one in row.before) or "-"
        files = [_file(one) for one in row.deployed] + [f"{_file(one)} (proposed)" for one in row.proposed]
        use: list[str] = [row.use] if answer.start.kind == "data" else []
        why = ", ".join(_because(answer, one) for one in row.by[:2]) or "-"
        rows.append([row.version.name, *use, why, state, stages, before, ", ".join(files) or "-"])
    if not rows:
        return ""
    head = [
        "version",
        *(["use"] if answer.start.kind == "data" else []),
        "by",
        "state",
        "in stage",
        "before",
        "deployed in",
    ]
    return table([[plain(cell, 80) for cell in row] for row in rows], head) + _rest(len(answer.rows) - MOST_VERSIONS)


def _because(answer: Answer, name: str) -> str:
    """The run or commit, and the run whose output it read, where that is how it was reached."""
    node = answer.graph.nodes[name]
    if node.kind != "run":
        return f"{node.kind} {node.name[:12]}"
    run = node.name.rpartition("/")[2]
    for read in answer.graph.into.get(name, ()):
        if read.meaning == "read" and read.source in answer.led and read.source not in answer.start.nodes:
            makers = [one for one in answer.graph.into.get(read.source, ()) if one.meaning == "made"]
            if makers:
                return f"run {run}, which read {read.fact('path')} of {_maker(answer.graph, makers[0].source)}"
    return f"run {run}"


def _maker(graph: Graph, run: str) -> str:
    """The version that was made of a run, else the run."""
    versions = [edge.target for edge in graph.out.get(run, ()) if edge.meaning == "released"]
    return graph.nodes[versions[0]].name if versions else f"run {graph.nodes[run].name}"


def _file(node: Node) -> str:
    facts = node.facts
    where = f"{facts['repository']}:" if facts.get("repository") else ""
    return f"{where}{facts.get('file', node.name)}"


def _images(answer: Answer) -> str:
    """Whole digests of what is in a stage or deployed: those are what has to be acted on."""
    rows = [
        [row.version.name, plain(reference(one), 300)]
        for row in answer.rows[:MOST_VERSIONS]
        for one in row.images
        if row.use != "judged" and (row.now or row.deployed or row.proposed)
    ]
    return table(rows, ["image of", "reference"]) if rows else ""


def _only(answer: Answer) -> str:
    if not answer.runs_only:
        return ""
    rows = [
        [
            node.name,
            ("experiment, " if node.facts.get("experiment") else "") + str(node.facts.get("status", "record gone")),
            str(node.facts.get("started_at", "")).replace("T", " ").rstrip("Z"),
        ]
        for node in answer.runs_only[:MOST_RUNS]
    ]
    head = ["run without a version", "status", "started (UTC)"]
    return table([[plain(cell, 80) for cell in row] for row in rows], head) + _rest(len(answer.runs_only) - MOST_RUNS)


def _rest(more: int) -> str:
    return f"\n… and {more:,} more: --format json has them all" if more > 0 else ""


def _came(answer: Answer, depth: int | None) -> str:
    """What the start was made of, each thing once, farther ones behind what they led to."""
    graph, lines = answer.graph, list[tuple[int, str, str, str]]()
    seen = set(answer.start.nodes)
    purposes = Purposes(graph.runs)
    waiting = [(0, edge) for name in answer.start.nodes for edge in _origins(graph, name)]
    for name in answer.start.nodes:
        lines += _code(graph, name, 0)
    while waiting:
        level, edge = waiting.pop(0)
        if edge.source in seen or (depth is not None and level >= depth):
            continue
        seen.add(edge.source)
        node = graph.nodes[edge.source]
        lines.append((level, _label(node, edge), _detail(node), _said(edge, purposes)))
        lines += _code(graph, node.id, level + 1)
        waiting[:0] = [(level + 1, one) for one in _origins(graph, node.id)]
    if not lines:
        return ""
    shown = [["  " * min(level, 8) + plain(label, 90), detail, says] for level, label, detail, says in lines]
    return table(shown[:MOST_ORIGINS], ["came from", "", ""]) + _rest(len(lines) - MOST_ORIGINS)


def _origins(graph: Graph, name: str) -> list[Edge]:
    """What led to something, without code and lock files: the commit tells them."""
    found = [edge for edge in graph.into.get(name, ()) if edge.fact("kind") not in ("code", "lock")]
    return sorted(found, key=lambda one: (_ORDER.index(one.meaning), one))


def _code(graph: Graph, name: str, level: int) -> list[tuple[int, str, str, str]]:
    """Code and lock files, counted in one line."""
    made: dict[str, int] = {}
    for edge in graph.into.get(name, ()):
        if (kind := edge.fact("kind")) in ("code", "lock"):
            made[kind] = made.get(kind, 0) + 1
    words = [_many(number, f"{kind} file") for kind, number in sorted(made.items())]
    return [(level, " and ".join(words), "", "read")] if words else []


def _said(edge: Edge, purposes: Purposes) -> str:
    if edge.meaning == "read":
        use = purposes.of(edge.target, edge.fact("path"), edge.fact("kind"))
        return {"learnt": "learnt from", "judged": "judged on"}.get(use, "read")
    return _SAYS.get(edge.meaning, edge.meaning)


_SAYS = {
    "read": "read",
    "head": "head of the pull request",
    "made": "made it",
    "carries": "its model",
    "pull": "belongs to",
    "part": "is in it",
}
_ORDER = list(MEANINGS)


def _label(node: Node, edge: Edge | None = None) -> str:
    if node.kind == "data":
        path = edge.fact("path") if edge is not None else ""
        return f"data {path or ', '.join(node.facts.get('paths', ())[:2])}"
    return f"{node.kind} {node.name if node.kind != 'pull' else '#' + node.name}"


def _size(node: Node) -> str:
    size = node.facts.get("size")
    return f", {size:,} bytes" if isinstance(size, int) else ""


def _detail(node: Node) -> str:
    """What a person wants to know of a node, in a few words."""
    facts: Mapping[str, object] = node.facts
    if facts.get("missing"):
        return "its record is gone"
    if node.kind == "data":
        return plain(node.name, 90) + _size(node)
    if node.kind == "run":
        when = str(facts.get("started_at", "")).replace("T", " ").rstrip("Z")
        return plain(f"{'experiment, ' if facts.get('experiment') else ''}{facts.get('status', '')} {when}".strip())
    if node.kind == "version":
        return plain(
            f"{facts.get('state', '')} {str(facts.get('created_at', '')).replace('T', ' ').rstrip('Z')}".strip()
        )
    return ""
