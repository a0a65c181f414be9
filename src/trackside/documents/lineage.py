"""`trackside.lineage/1`: where something came from and what came of it, as `trackside lineage --json` prints it."""

from __future__ import annotations

from typing import Any, Literal

from trackside.documents.codec import Document
from trackside.documents.run import Part


class LineageNode(Part, frozen=True, kw_only=True):
    """`id` is `kind:name`; `facts` depend on the kind, `missing` among them says that its record is not to be had."""

    id: str
    kind: Literal["data", "commit", "pull", "run", "version", "stage", "image", "deployment"]
    name: str
    facts: dict[str, Any] = {}


class LineageEdge(Part, frozen=True, kw_only=True):
    """What comes of something is its `target`. `meanings` of the document says each `meaning` in words."""

    source: str
    target: str
    meaning: str
    facts: dict[str, str] = {}


class Affected(Part, frozen=True, kw_only=True):
    """A version that was reached, and where it is.

    `use` of the data that was asked for: `learnt` from (also by way of another model), only `judged` on, or
    `possible` where it cannot be told. `because` are ids of runs and commits. `stages` are held now, `held` earlier;
    `images` are `reference@digest`; `deployed` and `proposed` are `[repository:]branch:file`.
    """

    version: str
    use: Literal["learnt", "judged", "possible"]
    because: list[str] = []
    stages: list[str] = []
    held: list[str] = []
    images: list[str] = []
    deployed: list[str] = []
    proposed: list[str] = []


class Counts(Part, frozen=True, kw_only=True):
    """Versions by use; of those that learnt or may have, how many are in a stage, have an image, are deployed."""

    learnt: int
    judged: int
    possible: int
    in_stage: int
    with_image: int
    deployed: int
    runs_only: int


class Lineage(Document, frozen=True, kw_only=True):
    """`start` are ids of nodes. `complete`: there are no `doubts`, which say what may be missing and why.

    `known` is false where nothing recorded is what was asked for. `runs_only` are runs that no version was made of.
    Versions, counts and `runs_only` are whole; nodes and edges go as far as `depth` asked.
    """

    schema: Literal["trackside.lineage/1"] = "trackside.lineage/1"
    question: str
    about: Literal["version", "data", "commit", "run"]
    known: bool
    complete: bool
    counts: Counts
    start: list[str] = []
    versions: list[Affected] = []
    runs_only: list[str] = []
    doubts: list[str] = []
    notes: list[str] = []
    nodes: list[LineageNode] = []
    edges: list[LineageEdge] = []
    meanings: dict[str, str] = {}
