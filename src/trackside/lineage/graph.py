"""Records and tags → one graph from data to deployments: pure, and the same whatever the order of the records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from trackside.documents.image import Image
from trackside.documents.release import Release
from trackside.documents.run import Run

Kind = Literal["data", "commit", "pull", "run", "version", "stage", "image", "deployment"]
Meaning = Literal[
    "read",
    "made",
    "part",
    "trained",
    "head",
    "pull",
    "restored",
    "released",
    "carries",
    "tagged",
    "merged",
    "holds",
    "held",
    "image",
    "deployed",
    "proposed",
]

MEANINGS: dict[Meaning, str] = {
    "read": "the run read this data, code or lock file",
    "made": "the run made this file",
    "part": "the file lies in this folder",
    "trained": "the run trained this commit",
    "head": "the run trained the merge of this head of a pull request",
    "pull": "the run belongs to this pull request",
    "restored": "the run took over what that run had made",
    "released": "the version is the run's model",
    "carries": "the version's model is this file",
    "tagged": "the version's tag points to this commit",
    "merged": "the version came with the merge of this pull request",
    "holds": "the version is in this stage now",
    "held": "the version was in this stage",
    "image": "the image serves the version",
    "deployed": "the file on its branch names the image",
    "proposed": "a deploy branch names the image",
}
"""What an edge says, from its source to its target: what comes of something is always ahead of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """`id` is `kind:name`. `facts` are plain data for people and JSON; `missing`: its record is not to be had."""

    id: str
    kind: Kind
    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)


class Edge(NamedTuple):
    """`facts` tell apart what is between the same two: the path that was read, the tag that gave the stage."""

    source: str
    target: str
    meaning: Meaning
    facts: tuple[tuple[str, str], ...] = ()

    def fact(self, name: str) -> str:
        return next((value for key, value in self.facts if key == name), "")


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A version as the tags have it. `run` is the trailer `Run-Id`; `out_of_use`: deregistered."""

    model: str
    version: str
    tag: str
    commit: str = ""
    run: str = ""
    out_of_use: bool = False


@dataclass(frozen=True, kw_only=True)
class Holding:
    """A version's time in a stage; `until` is the tag that ended it, empty while it lasts. `date` is for people."""

    model: str
    stage: str
    version: str
    tag: str
    date: str = ""
    until: str = ""
    actor: str = ""


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A file of a branch, and the digests of images that it names. `proposed`: the branch of a deploy pull request."""

    repository: str
    branch: str
    file: str
    digests: frozenset[str]
    proposed: bool = False


@dataclass(frozen=True, kw_only=True)
class Records:
    """All that is known."""

    runs: Iterable[Run] = ()
    releases: Iterable[Release] = ()
    images: Iterable[Image] = ()
    registered: Iterable[Registered] = ()
    holdings: Iterable[Holding] = ()
    deployed: Iterable[Deployed] = ()


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes by id and edges, both sorted; `runs` are the documents by the id of their node."""

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    same: Mapping[str, str] = field(default_factory=dict)
    runs: Mapping[str, Run] = field(default_factory=dict)

    @cached_property
    def out(self) -> Mapping[str, Sequence[Edge]]:
        made: dict[str, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            made[edge.source].append(edge)
        return made

    @cached_property
    def into(self) -> Mapping[str, Sequence[Edge]]:
        made: dict[str, list[Edge]] = defaultdict(list)
        for edge in self.edges:
            made[edge.target].append(edge)
        return made

    def data(self, digest: str) -> str:
        """The id of the node of a digest, whichever of its content's digests it is."""
        return f"data:{self.same.get(digest, digest)}"

    def of_kind(self, kind: Kind) -> Iterator[Node]:
        return (node for node in self.nodes.values() if node.kind == kind)

    def plus(self, nodes: Iterable[Node], edges: Iterable[Edge]) -> Graph:
        """The graph with more in it; nodes that are there stay as they are."""
        more = {node.id: node for node in nodes}
        return Graph(
            nodes=dict(sorted({**more, **self.nodes}.items())),
            edges=tuple(sorted({*self.edges, *edges})),
            same=self.same,
            runs=self.runs,
        )


def build(records: Records) -> Graph:
    """One pass over the records. What a record only names becomes a node with the fact `missing`."""
    return _Builder().build(records)


def version_id(model: str, version: str) -> str:
    return f"version:{model}@v{version}"


def run_node(model: str, run: str) -> str:
    return f"run:{model}/{run}"


class _Builder:
    def __init__(self) -> None:
        self.facts: dict[str, dict[str, Any]] = {}
        self.edges: set[Edge] = set()
        self.same: dict[str, str] = {}
        self.data: dict[str, tuple[set[str], set[str], set[int]]] = {}
        self.read: dict[str, set[str]] = {}
        self.folders: set[str] = set()

    def build(self, records: Records) -> Graph:
        runs = {run_node(one.model, one.id): one for one in sorted(records.runs, key=lambda one: one.started_at)}
        self._equal(runs.values())
        for name, run in runs.items():
            self._run(name, run)
        for release in records.releases:
            self._release(release)
        for registered in records.registered:
            self._registered(registered)
        for image in records.images:
            self._image(image)
        for holding in records.holdings:
            self._holding(holding)
        self._deployed(records.deployed)
        for name, (paths, kinds, sizes) in self.data.items():
            facts = self.facts[name] = {"paths": sorted(paths), "kinds": sorted(kinds)}
            if sizes:
                facts["size"] = max(sizes)
            if name in self.folders:
                facts["folder"] = True
        return Graph(
            nodes={name: _node(name, self.facts[name]) for name in sorted(self.facts)},
            edges=tuple(sorted(self.edges)),
            same=self.same,
            runs=runs,
        )

    def _equal(self, runs: Iterable[Run]) -> None:
        """Digests of the same content, as the outputs of runs pair them; the least md5 stands for all."""
        above: dict[str, str] = {}

        def top(name: str) -> str:
            while (up := above.get(name, name)) != name:
                above[name] = above.get(up, up)
                name = up
            return name

        for run in runs:
            for one in run.artifacts:
                if one.digest and one.dvc_digest:
                    first, last = sorted((top(one.digest), top(one.dvc_digest)))  # md5 sorts before sha256
                    above[last] = first
        self.same = {name: top(name) for name in sorted(above) if top(name) != name}

    def _link(self, source: str, target: str, meaning: Meaning, **facts: str) -> None:
        for name in (source, target):
            self.facts.setdefault(name, {"missing": True} if name.startswith(("run:", "version:")) else {})
        self.edges.add(Edge(source, target, meaning, tuple(sorted((key, text) for key, text in facts.items() if text))))

    def _data(self, digest: str, path: str, kind: str, size: int | None) -> str:
        name = f"data:{self.same.get(digest, digest)}"
        paths, kinds, sizes = self.data.setdefault(name, (set(), set(), set()))
        if digest.endswith(".dir"):
            self.folders.add(name)
        if path:
            paths.add(path)
        kinds.add(kind)
        if size is not None:
            sizes.add(size)
        return name

    def _run(self, name: str, run: Run) -> None:
        source = run.source
        self.facts[name] = {
            "model": run.model,
            "status": run.status,
            "experiment": run.experiment,
            "started_at": run.started_at,
            "url": run.trigger.url,
        }
        if source.commit:
            self._link(f"commit:{source.commit}", name, "trained")
        if source.head_commit and source.head_commit != source.commit:
            self._link(f"commit:{source.head_commit}", name, "head")
        if source.pull_request:
            self._link(f"pull:{source.pull_request}", name, "pull")
        if run.restored_from and run.restored_from != run.id:
            self._link(run_node(run.model, run.restored_from), name, "restored")
        read = self.read.setdefault(name, set())
        for one in run.dependencies:
            if one.digest:
                data = self._data(one.digest, one.path, one.kind, one.size)
                read.add(data)
                if one.files is not None:
                    self.folders.add(data)
                self._link(data, name, "read", path=one.path, kind=one.kind)
        for made in run.artifacts:
            if made.role in ("model", "data", "predictions") and (made.dvc_digest or made.digest):
                data = self._data(made.dvc_digest or made.digest, made.path, made.role, made.size)
                if data not in read:  # what goes in and comes out unchanged was not made by this run
                    self._link(name, data, "made", path=made.path, kind=made.role)

    def _release(self, one: Release) -> None:
        name = version_id(one.model, one.version)
        self.facts[name] = {
            "model": one.model,
            "version": one.version,
            "state": one.state,
            "created_at": one.created_at,
            "url": one.url,
        }
        if one.run:
            self._link(run_node(one.model, one.run), name, "released")
        if one.model_digest:
            path = next((asset.path for asset in one.assets if asset.role == "model" and asset.path), "")
            data = self._data(one.model_digest, path, "model", None)
            if data not in self.read.get(run_node(one.model, one.run), ()):
                self._link(name, data, "carries")
        if one.commit:
            self._link(f"commit:{one.commit}", name, "tagged")
        if one.pull_request:
            self._link(f"pull:{one.pull_request}", name, "merged")

    def _registered(self, one: Registered) -> None:
        name = version_id(one.model, one.version)
        known = self.facts.get(name, {"model": one.model, "version": one.version, "state": "tagged"})
        self.facts[name] = {**known, "tag": one.tag} | ({"out_of_use": True} if one.out_of_use else {})
        if one.commit:
            self._link(f"commit:{one.commit}", name, "tagged")
        if one.run:
            self._link(run_node(one.model, one.run), name, "released")

    def _image(self, one: Image) -> None:
        version = version_id(one.model, one.version)
        self.facts.setdefault(version, {"model": one.model, "version": one.version, "state": "unknown"})
        if not one.digest:  # built and tested, pushed nowhere
            return
        name = f"image:{one.digest}"
        self.facts[name] = {"reference": one.reference.partition("@")[0], "digest": one.digest}
        self._link(version, name, "image")

    def _holding(self, one: Holding) -> None:
        name = f"stage:{one.model}#{one.stage}"
        self.facts[name] = {"model": one.model, "stage": one.stage}
        meaning: Meaning = "held" if one.until else "holds"
        version = version_id(one.model, one.version)
        self._link(version, name, meaning, tag=one.tag, date=one.date, until=one.until, actor=one.actor)

    def _deployed(self, files: Iterable[Deployed]) -> None:
        images = {name.removeprefix("image:"): name for name in self.facts if name.startswith("image:")}
        for one in files:
            for digest in one.digests & images.keys():
                where = f"{one.repository}:" if one.repository else ""
                name = f"deployment:{where}{one.branch}:{one.file}"
                self.facts[name] = {"repository": one.repository, "branch": one.branch, "file": one.file}
                self._link(images[digest], name, "proposed" if one.proposed else "deployed")


def _node(name: str, facts: Mapping[str, Any]) -> Node:
    kind, _, rest = name.partition(":")
    return Node(id=name, kind=kind, name=rest, facts=facts)  # type: ignore[arg-type]
