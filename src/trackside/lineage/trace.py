"""What the graph answers: what went into something, what came of it, and what cannot be told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trackside.documents.run import Run
from trackside.lineage.graph import Edge, Graph, Node
from trackside.lineage.purpose import Purposes
from trackside.lineage.start import Start
from trackside.registry.versions import Version, parse

SHORTENED = "trackside: dependencies shortened"
"""A line of the log of a run whose document holds only the first of its inputs."""

Use = Literal["learnt", "judged", "possible"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A version that was reached. `by` are the nodes that led to it, `now` and `before` its stages.

    `images` are image nodes; `deployed` and `proposed` files that name one of them.
    """

    version: Node
    use: Use
    by: tuple[str, ...]
    now: tuple[str, ...]
    before: tuple[str, ...]
    images: tuple[Node, ...]
    deployed: tuple[Node, ...]
    proposed: tuple[Node, ...]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """`came` and `led` are the hops from the start to each node; `rows` the versions reached, those in use first.

    `runs_only` are runs that no version was made of. `doubts` say what may be missing: with none the answer is whole.
    """

    start: Start
    came: Mapping[str, int]
    led: Mapping[str, int]
    rows: tuple[Row, ...]
    runs_only: tuple[Node, ...]
    doubts: tuple[str, ...] = ()

    @property
    def graph(self) -> Graph:
        return self.start.graph

    def near(self, depth: int | None = None) -> frozenset[str]:
        """Nodes at most so many hops away."""
        both = (*self.came.items(), *self.led.items())
        return frozenset(name for name, hops in both if depth is None or hops <= depth)

    def with_use(self, use: Use) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.use == use)


def forward(graph: Graph, start: Iterable[str]) -> dict[str, int]:
    """Nodes that something leads to, with the least number of hops; the start has 0."""
    return _walk(start, lambda name: [edge.target for edge in graph.out.get(name, ())])


def backward(graph: Graph, start: Iterable[str]) -> dict[str, int]:
    """Nodes that lead to something."""
    return _walk(start, lambda name: [edge.source for edge in graph.into.get(name, ())])


def _walk(start: Iterable[str], then: Callable[[str], Iterable[str]]) -> dict[str, int]:
    seen = dict.fromkeys(start, 0)
    edge, hops = list(seen), 0
    while edge:
        hops += 1
        found = dict.fromkeys(one for name in edge for one in then(name) if one not in seen)
        seen.update(dict.fromkeys(found, hops))
        edge = list(found)
    return seen


def answer(start: Start, *, doubts: Sequence[str] = ()) -> Answer:
    """All that is known of the start, both ways. `doubts` are what the sources of the records could not tell."""
    graph = start.graph
    first, came = [*start.nodes], backward(graph, start.nodes)
    if start.kind == "data":  # what a run made of data in between went into its own model
        first += _makers(graph, _with_folders(graph, start.nodes))
    led = _without_leaves(graph, forward(graph, first), start.nodes)
    sure = frozenset(_sure(graph, first, start)) if start.kind == "data" else frozenset(led)
    origins = _untold(graph) if start.kind == "data" else ()
    maybe = forward(graph, (*start.possible, *_makers(graph, start.possible), *origins))
    uses: dict[str, Use] = {name: "judged" for name in led if name.startswith("version:")}
    uses |= {name: "possible" for name in maybe if name.startswith("version:")}
    uses |= {name: "learnt" for name in sure if name.startswith("version:")}
    made = {edge.source for name in uses for edge in graph.into.get(name, ()) if edge.meaning == "released"}
    reached = {*led, *maybe, *(came if start.kind == "version" else ())}
    only = [graph.nodes[name] for name in led if name.startswith("run:") and name not in made]
    rows = [_row(graph, name, use, reached) for name, use in uses.items()]
    return Answer(
        start=start,
        came=came,
        led=led,
        rows=tuple(sorted(sorted(rows, key=_version, reverse=True), key=_first)),
        runs_only=tuple(sorted(only, key=lambda node: (node.facts.get("started_at", ""), node.id), reverse=True)),
        doubts=(*doubts, *_doubts(start, graph, origins)),
    )


def _with_folders(graph: Graph, names: Sequence[str]) -> list[str]:
    """Files, and the folders that they lie in."""
    return [*names, *(edge.target for name in names for edge in graph.out.get(name, ()) if edge.meaning == "part")]


def _makers(graph: Graph, names: Iterable[str]) -> list[str]:
    return [edge.source for name in names for edge in graph.into.get(name, ()) if edge.meaning == "made"]


def _without_leaves(graph: Graph, led: Mapping[str, int], keep: Iterable[str]) -> dict[str, int]:
    """Less the files that a run made and nothing recorded reads."""
    kept = set(keep)
    return {
        name: hops for name, hops in led.items() if name in kept or not name.startswith("data:") or graph.out.get(name)
    }


def _sure(graph: Graph, first: Iterable[str], start: Start) -> Iterable[str]:
    """What learnt from the data, also by way of another model; not what only an evaluation read it for."""
    purposes = Purposes(graph.runs)

    def counts(edge: Edge) -> bool:
        if edge.meaning != "read" or not _leads_to_version(graph, edge.target):
            return True
        return purposes.of(edge.target, edge.fact("path"), edge.fact("kind")) != "judged"

    starts = set(_with_folders(graph, start.nodes))
    for name in first:
        if name not in starts:  # the run that made it: by the stage that read it after that
            edges = [edge for edge in graph.out.get(name, ()) if edge.meaning == "made" and edge.target in starts]
            if any(purposes.of(name, edge.fact("path")) != "judged" for edge in edges):
                starts.add(name)
    return _walk(starts, lambda name: [e.target for e in graph.out.get(name, ()) if counts(e)])


def _leads_to_version(graph: Graph, run: str) -> bool:
    """Whether it matters what a run read the data for; its lock files are read only then."""
    return any(edge.meaning in ("released", "made", "restored") for edge in graph.out.get(run, ()))


def _untold(graph: Graph) -> tuple[str, ...]:
    """Versions and runs of which it is not recorded what they were made from."""
    without = [
        node.id
        for node in graph.of_kind("version")
        if not any(edge.meaning == "released" for edge in graph.into.get(node.id, ()))
    ]
    gone = [node.id for node in graph.of_kind("run") if node.facts.get("missing")]
    short = [name for name, run in graph.runs.items() if _shortened(run)]
    return (*without, *gone, *short)


def _shortened(run: Run) -> bool:
    return SHORTENED in run.log_tail


def _row(graph: Graph, name: str, use: Use, reached: set[str]) -> Row:
    out, into = graph.out.get(name, ()), graph.into.get(name, ())

    def ends(meaning: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(graph.nodes[e.target].name for e in out if e.meaning == meaning))

    images = tuple(graph.nodes[edge.target] for edge in out if edge.meaning == "image")

    def files(meaning: str) -> tuple[Node, ...]:
        found = (e.target for one in images for e in graph.out.get(one.id, ()) if e.meaning == meaning)
        return tuple(graph.nodes[one] for one in dict.fromkeys(found))

    return Row(
        version=graph.nodes[name],
        use=use,
        by=tuple(dict.fromkeys(e.source for e in into if e.source in reached and e.meaning in ("released", "tagged"))),
        now=ends("holds"),
        before=tuple(one for one in ends("held") if one not in ends("holds")),
        images=images,
        deployed=files("deployed"),
        proposed=files("proposed"),
    )


def _first(row: Row) -> tuple[object, ...]:
    """Deployed and in a stage first, then what is sure, then by model; of one model the newest version first."""
    uses = ("learnt", "possible", "judged")
    return (not row.deployed, not row.now, uses.index(row.use), str(row.version.facts.get("model", "")))


def _version(row: Row) -> tuple[Version, str]:
    return parse(str(row.version.facts.get("version", ""))) or Version(0, 0, 0, pre="0"), row.version.id


def _doubts(start: Start, graph: Graph, origins: Sequence[str]) -> Iterable[str]:
    if start.possible:
        names = ", ".join(graph.nodes[one].name for one in start.possible[:3])
        more = f" and {len(start.possible) - 3} more" if len(start.possible) > 3 else ""
        yield f"it may lie in a tracked folder ({names}{more}): {start.why}"
    versions = [graph.nodes[one].name for one in origins if one.startswith("version:")]
    gone = [graph.nodes[one].name for one in origins if one.startswith("run:") and one not in graph.runs]
    short = [graph.nodes[one].name for one in origins if one in graph.runs]
    for names_, what in (
        (versions, "no run is recorded for"),
        (gone, "the record is gone of run"),
        (short, "the record holds only the first 500 inputs of run"),
    ):
        if names_:
            more = f" and {len(names_) - 5} more" if len(names_) > 5 else ""
            yield f"{what} {', '.join(names_[:5])}{more}: what it was made from cannot be told"
