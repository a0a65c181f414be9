"""`trackside.proposal/1`: a retraining pull request; the newest one of a model is kept on the data branch."""

from __future__ import annotations

from typing import Literal

from trackside.documents.codec import Document
from trackside.documents.run import Part


class Changed(Part, frozen=True, kw_only=True):
    """One thing that the branch changes: a parameter, or the revision of imported data (shown as digests)."""

    kind: Literal["param", "data"]
    file: str
    name: str
    before: str
    after: str


class Proposal(Document, frozen=True, kw_only=True):
    """`why` is `drift`, or `asked` with the `comment` and its author `by`. Times are UTC RFC 3339.

    `proposed_at` is when its pull request was opened, `refreshed_at` when the branch was last brought up to date;
    `as_of` is the date that placeholders were filled with, `base` the commit of the default branch that it is laid
    over. `starts_itself`: an App opened it, whose events start workflows.
    """

    schema: Literal["trackside.proposal/1"] = "trackside.proposal/1"
    model: str
    pull_request: int
    branch: str
    base: str
    as_of: str
    why: Literal["drift", "asked"]
    proposed_at: str
    refreshed_at: str
    url: str = ""
    moved: list[str] = []
    changes: list[Changed] = []
    by: str = ""
    comment: int = 0
    starts_itself: bool = False
