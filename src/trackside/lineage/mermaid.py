"""An answer as a Mermaid flowchart that GitHub draws: within its limits, with names that cannot become syntax.

Mermaid draws at most 500 edges and 50,000 characters a chart, and people read fewer
(https://mermaid.js.org/config/schema-docs/config.html, `maxEdges`, `maxTextSize`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator

from trackside.lineage.graph import Edge, Graph, Kind, Meaning, Node
from trackside.lineage.trace import Answer, forward
from trackside.report.escape import plain

MOST_EDGES = 240
MOST_CHARACTERS = 45_000
MOST_STARTS = 20
"""Arrows to the box of runs without a version, one from each start that led to some."""
LABEL = 60
"""Characters of one line of a label."""

_SHAPES: dict[Kind, tuple[str, str]] = {
    "data": ("[(", ")]"),
    "commit": ("[", "]"),
    "pull": ("[", "]"),
    "run": ("(", ")"),
    "version": ("([", "])"),
    "stage": ("{{", "}}"),
    "image": ("[[", "]]"),
    "deployment": ("[/", "/]"),
}
_SAYS: dict[Meaning, str] = {
    "read": "read by",
    "made": "made",
    "part": "is in",
    "trained": "trained by",
    "head": "trained by",
    "pull": "trained by",
    "restored": "restored by",
    "released": "released as",
    "carries": "carries",
    "tagged": "tagged",
    "merged": "merged as",
    "holds": "holds",
    "held": "held",
    "image": "served by",
    "deployed": "deployed by",
    "proposed": "proposed for",
}
_STYLES = (
    "classDef start stroke-width:4px",
    "classDef now stroke:#1a7f37,stroke-width:3px",
    "classDef gone stroke-dasharray:4 4",
)


def mermaid(answer: Answer, depth: int | None = None) -> str:
    """The chart's source, without a fence around it. What does not fit is counted in a node of its own."""
    return _Chart(answer, depth).source()


def label(value: object, limit: int = LABEL) -> str:
    """Text inside a quoted label: all but plain letters, digits and a few signs as character references of Mermaid.

    Labels are read as Markdown and drawn as HTML: neither finds anything to obey, nor a link in an address.
    """
    text = plain(value, limit)
    text = re.sub(r"[^A-Za-z0-9 ./\-]", lambda found: f"#{ord(found[0])};", text)
    text = re.sub(r"(?i)(w{3})\.", r"\1#46;", text)
    return re.sub(r"^(\d+)([.)] )", lambda found: f"{found[1]}#{ord(found[2][0])};{found[2][1:]}", text)


class _Chart:
    def __init__(self, answer: Answer, depth: int | None) -> None:
        self.answer, self.graph = answer, answer.graph
        self.near = answer.near(depth)
        self.grouped = {node.id for node in answer.runs_only} - set(answer.start.nodes)
        self.grouped -= {edge.source for edge in self.graph.edges if edge.meaning == "made" and self._leads_on(edge)}

    def _leads_on(self, edge: Edge) -> bool:
        """A run whose output was read again stands for itself."""
        return edge.target in self.near and bool(self.graph.out.get(edge.target))

    def source(self) -> str:
        kept, left = self._fitting()
        names = {name: f"n{place}" for place, name in enumerate(sorted(kept))}
        lines = ["flowchart LR"]
        lines += [self._shape(names[name], self.graph.nodes[name]) for name in sorted(kept)]
        lines += [_line(names[edge.source], names[edge.target], edge.meaning) for edge in _between(self.graph, kept)]
        shown = [name for name in self.answer.start.nodes if name in kept]
        only = sorted(self.grouped & self.near)
        if only and shown:
            what = "run without a version" if len(only) == 1 else "runs without a version"
            lines.append(f'  only("{len(only)} {what}")')
            led = (name for name in shown if forward(self.graph, [name]).keys() & set(only))
            lines += [f'  {names[name]} -->|"led to"| only' for name in itertools.islice(led, MOST_STARTS)]
        if left:
            lines.append(f'  left["{left} more are left out"]:::gone')
        return "\n".join([*lines, *(f"  {style}" for style in _STYLES)]) + "\n"

    def _fitting(self) -> tuple[set[str], int]:
        """The most telling nodes that stay within the limits, and how many do not."""
        kept: set[str] = set()
        edges, characters, left = MOST_STARTS, 500 + 40 * MOST_STARTS, 0
        for unit in self._units():
            new = {name for name in unit if name not in kept and name in self.near and self._drawn(name)}
            together = kept | new
            links = {
                (edge.source, edge.target, edge.meaning)
                for name in new
                for edge in (*self.graph.out.get(name, ()), *self.graph.into.get(name, ()))
                if edge.source in together and edge.target in together
            }
            size = sum(len(self._shape("n0000", self.graph.nodes[name])) + 1 for name in new) + 40 * len(links)
            if edges + len(links) > MOST_EDGES or characters + size > MOST_CHARACTERS:
                left += len(new)
                continue
            kept = together
            edges, characters = edges + len(links), characters + size
        return kept, left

    def _units(self) -> Iterator[tuple[str, ...]]:
        """What is drawn together or not at all: a version with its run and where it is; then the rest by distance."""
        answer, graph = self.answer, self.graph
        yield answer.start.nodes
        for row in answer.rows:
            ends = [edge.target for edge in graph.out.get(row.version.id, ())]
            files = [edge.target for name in ends if name.startswith("image:") for edge in graph.out.get(name, ())]
            yield (*row.by, row.version.id, *ends, *files)
        hops = {**answer.led, **answer.came}
        told = {name for row in answer.rows for name in (row.version.id, *row.by)}
        yield from ((name,) for name in sorted(self.near - told, key=lambda name: (hops[name], name)))

    def _drawn(self, name: str) -> bool:
        """The commit tells code and lock files, the pull request its head; runs without a version are counted."""
        if name in self.answer.start.nodes:
            return True
        if name.startswith("commit:") and all(edge.meaning == "head" for edge in self.graph.out.get(name, ())):
            return False
        kinds = self.graph.nodes[name].facts.get("kinds", ()) if name.startswith("data:") else ()
        return name not in self.grouped and not (kinds and set(kinds) <= {"code", "lock"})

    def _shape(self, short: str, node: Node) -> str:
        opens, closes = _SHAPES[node.kind]
        text = "<br/>".join(part for part in _words(node) if part)
        marks = ["start"] if node.id in self.answer.start.nodes else []
        holders = (edge.source for edge in self.graph.into.get(node.id, ()) if edge.meaning == "holds")
        if node.kind == "stage" and any(one in self.near for one in holders):
            marks.append("now")
        if node.facts.get("missing"):
            marks.append("gone")
        return f'  {short}{opens}"{text}"{closes}' + (f":::{marks[-1]}" if marks else "")


def _words(node: Node) -> tuple[str, ...]:
    """Lines of a label; each begins with a word of ours or with a name that is escaped."""
    facts = node.facts
    if node.kind == "data":
        kind, _, digest = node.name.partition(":")
        return (*(label(one) for one in facts.get("paths", ())[:2]), f"{label(kind, 12)} {label(digest[:12])}")
    if node.kind == "commit":
        return (f"commit {label(node.name[:10])}",)
    if node.kind == "pull":
        return (f"pull request #35;{label(node.name)}",)
    if node.kind == "run":
        state = "record gone" if facts.get("missing") else facts.get("status", "")
        return (f"run {label(node.name.rpartition('/')[2])}", label(state))
    if node.kind == "image":
        return (f"image {label(str(facts.get('reference', '')).rpartition('/')[2])}", label(node.name[:19]))
    if node.kind == "deployment":
        return (label(facts.get("file", node.name)), f"on {label(facts.get('branch', ''))}")
    return (label(node.name), label("out of use" if facts.get("out_of_use") else ""))


def _between(graph: Graph, kept: set[str]) -> Iterable[Edge]:
    """One edge of each meaning between two nodes; that a stage was held is not drawn where it is held now."""
    seen = set()
    held_still = {(edge.source, edge.target, "held") for edge in graph.edges if edge.meaning == "holds"}
    for edge in graph.edges:
        key = (edge.source, edge.target, edge.meaning)
        if key in held_still:
            continue
        if edge.source in kept and edge.target in kept and key not in seen:
            seen.add(key)
            yield edge


def _line(source: str, target: str, meaning: Meaning) -> str:
    arrow = "-.->" if meaning in ("held", "proposed") else "-->"
    return f'  {source} {arrow}|"{_SAYS[meaning]}"| {target}'
