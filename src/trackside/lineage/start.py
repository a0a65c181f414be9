"""Where a question starts in the graph: a version, a run, a commit, data by its digest or its path. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from trackside.errors import ConfigError, NotFound
from trackside.lineage.graph import Edge, Graph, Node
from trackside.plan.objects import ancestors

LINK = "lineage.md"
UNLISTED = "their listings are not on this machine; `dvc fetch` brings them"
BY_MD5 = "their listings name files by md5; give the file's md5, or its path"

Listings = Mapping[str, Mapping[str, str]]
"""Files of tracked folders: digest of the folder → path in it → digest."""

_DIGEST = re.compile(r"(?:md5|sha256|etag|checksum|version_id):\S+")
_HEX = re.compile(r"[0-9a-f]{4,64}")


@dataclass(frozen=True, kw_only=True)
class Start:
    """`nodes` to go from. `possible` are folders that may hold what is asked for: their listings are not known.

    `why` says so in words. `known` is false where nothing recorded is what was asked for. `graph` may have more in it
    than before.
    """

    graph: Graph
    title: str
    nodes: tuple[str, ...]
    kind: Literal["version", "data", "commit", "run"]
    possible: tuple[str, ...] = ()
    why: str = ""
    known: bool = True
    notes: tuple[str, ...] = ()


def of_version(graph: Graph, model: str, version: str) -> Start:
    """Raises NotFound."""
    name = f"version:{model}@v{version}"
    if name not in graph.nodes:
        raise NotFound(
            f"nothing is recorded of {model}@v{version}",
            remedy="trackside models list",
            link=LINK,
            reason_code="version_unknown",
        )
    return Start(graph=graph, title=f"{model}@v{version}", nodes=(name,), kind="version")


def of_run(graph: Graph, text: str) -> Start:
    """By id, its beginning, or `model/id`. Raises NotFound, ConfigError where several fit."""
    rows = ((node.name if "/" in text else node.name.partition("/")[2], node.id) for node in graph.of_kind("run"))
    name = _one(rows, text)
    if name is None:
        raise NotFound(
            f"no recorded run {text[:80]!r}", remedy="trackside runs list", link=LINK, reason_code="not_found"
        )
    return Start(graph=graph, title=f"run {graph.nodes[name].name}", nodes=(name,), kind="run")


def of_commit(graph: Graph, text: str) -> Start:
    """By SHA or its beginning. Raises NotFound, ConfigError where several fit."""
    wanted = text.lower()
    if not _HEX.fullmatch(wanted):
        raise ConfigError(
            f"{text[:80]!r} is no commit", remedy="at least four hexadecimal digits of its SHA", link=LINK
        )
    name = _one(((node.name, node.id) for node in graph.of_kind("commit")), wanted)
    if name is None:
        raise NotFound(
            f"no run trained commit {wanted}, no version is tagged there",
            why="runs are recorded at the merge result and at the head of the pull request",
            remedy="trackside runs list",
            link=LINK,
            reason_code="not_found",
        )
    return Start(graph=graph, title=f"commit {graph.nodes[name].name}", nodes=(name,), kind="commit")


def _one(names: Iterable[tuple[str, str]], wanted: str) -> str | None:
    rows = list(names)
    hits = [found for name, found in rows if name == wanted] or [
        found for name, found in rows if wanted and name.startswith(wanted)
    ]
    if len(hits) > 1:
        shown = ", ".join(sorted(one.partition(":")[2] for one in hits)[:5])
        raise ConfigError(f"{wanted!r} fits {len(hits)} of them", remedy=f"give more of it: {shown}", link=LINK)
    return hits[0] if hits else None


def is_digest(text: str) -> bool:
    """`md5:…`, `sha256:…` or what else DVC names content by, rather than a path or an address."""
    return bool(_DIGEST.fullmatch(text))


def of_digests(graph: Graph, digests: Sequence[str], listings: Listings, title: str = "") -> Start:
    """Data by the digests of one content. A file of a tracked folder leads to the folder, where its listing is known.

    Raises:
        ConfigError: not a whole digest.
    """
    digests = [_whole(one) for one in digests]
    title = title or digests[0]
    asked = [graph.data(one) for one in digests]
    nodes = [one for one in dict.fromkeys(asked) if one in graph.nodes]
    single = not any(one.endswith(".dir") for one in digests)
    folders = {node.id: listings.get(_digest(node)) for node in graph.of_kind("data")} if single else {}
    inside: dict[str, list[str]] = {}
    for folder, listing in folders.items():
        for path, digest in (listing or {}).items():
            if digest in digests:
                inside.setdefault(folder, []).append(path)
    if inside:
        file = nodes[0] if nodes else asked[0]
        paths = sorted({path for found in inside.values() for path in found})
        edges = [Edge(file, folder, "part", (("path", path),)) for folder, found in inside.items() for path in found]
        made = Node(id=file, kind="data", name=file.partition(":")[2], facts={"paths": paths, "kinds": ["file"]})
        graph = graph.plus([made], edges)
        nodes = list(dict.fromkeys([*nodes, file]))
    listed = any(one.startswith("data:md5:") for one in asked)  # listings name files by md5 alone
    unknown = [
        name
        for name, found in folders.items()
        if _is_folder(graph.nodes[name]) and (found is None or not listed) and _goes_in(graph, name)
    ]
    why = UNLISTED if listed else BY_MD5
    notes = []
    if nodes and not inside and unknown:  # tracked by itself: that a folder holds a copy is thinkable, no more
        notes.append(f"whether a copy lies in {_folders(len(unknown))} was not looked at: {why}")
        unknown = []
    if not nodes and (ours := [one for one in folders if _of_git(graph.nodes[one])]):
        paths = sorted({path for one in ours for path in graph.nodes[one].facts["paths"]})
        notes.append(
            f"of folders that git tracks ({', '.join(paths[:3])}) files are not recorded: give the file's path"
        )
    return Start(
        graph=graph,
        title=title,
        nodes=tuple(nodes),
        kind="data",
        possible=tuple(unknown),
        why=why,
        known=bool(nodes),
        notes=tuple(notes),
    )


def of_path(graph: Graph, path: str, listings: Listings) -> Start:
    """All data that was ever read or made at a path, at one inside it, or in a tracked folder that holds it."""
    path = path if "://" in path else posixpath.normpath(path.removesuffix(".dvc"))
    above = [one for one in ancestors(path) if one != path]
    nodes, possible, notes = [], [], []
    edges: list[Edge] = []
    parts: dict[str, Node] = {}
    for node in graph.of_kind("data"):
        paths = node.facts.get("paths", ())
        if any(one == path or one.startswith(f"{path}/") for one in paths):
            nodes.append(node.id)
            continue
        holder = next((one for one in above if one in paths), "")
        if not holder:
            continue
        if _of_git(node):
            nodes.append(node.id)
            notes.append(
                f"{holder} is a folder that git tracks: whether it held the file at the time was not looked at"
            )
            continue
        listing = listings.get(_digest(node))
        if listing is None:
            possible.append(node.id)
            continue
        inner = posixpath.relpath(path, holder)
        for name, digest in listing.items():
            if name == inner or name.startswith(f"{inner}/"):
                part = graph.data(digest)
                parts[part] = Node(
                    id=part, kind="data", name=part[5:], facts={"paths": [f"{holder}/{name}"], "kinds": ["file"]}
                )
                edges.append(Edge(part, node.id, "part", (("path", name),)))
    nodes = list(dict.fromkeys([*nodes, *parts]))
    if len(nodes) > 1:
        notes.append(f"{len(nodes)} versions of it are recorded; --data md5:… asks for a single one")
    return Start(
        graph=graph.plus(parts.values(), edges) if parts else graph,
        title=path,
        nodes=tuple(nodes),
        kind="data",
        possible=tuple(possible),
        why=UNLISTED,
        known=bool(nodes),
        notes=tuple(dict.fromkeys(notes)),
    )


def _goes_in(graph: Graph, name: str) -> bool:
    """Whether a run read it, rather than made it on the way."""
    return any(edge.meaning == "read" for edge in graph.out.get(name, ()))


def _of_git(node: Node) -> bool:
    """A folder whose digest git's files gave."""
    return bool(node.facts.get("folder")) and "code" in node.facts.get("kinds", ())


def _folders(count: int) -> str:
    return "a tracked folder" if count == 1 else f"{count} tracked folders"


def _whole(digest: str) -> str:
    """The digest as it is recorded. Raises ConfigError: digits are missing."""
    kind, _, text = digest.partition(":")
    lengths = {"md5": 32, "sha256": 64}
    if kind not in lengths:
        return digest
    if not re.fullmatch(rf"[0-9a-f]{{{lengths[kind]}}}(\.dir)?", text.lower()):
        raise ConfigError(
            f"{digest[:100]!r} is no whole digest",
            why=f"{kind} has {lengths[kind]} hexadecimal digits, `.dir` after them for a folder",
            remedy="take it from the .dvc file or from `trackside runs show`, or give the path of the file",
            link=LINK,
        )
    return digest.lower()


def _digest(node: Node) -> str:
    return node.name


def _is_folder(node: Node) -> bool:
    """Folders that DVC tracks; their digest is that of a listing."""
    return node.name.endswith(".dir")
