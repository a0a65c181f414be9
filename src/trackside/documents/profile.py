"""`trackside.drift-profile/1`: what a check needs of the reference data, shipped with the release."""

from __future__ import annotations

from typing import Any, Literal

from trackside.documents.codec import Document
from trackside.documents.run import Part


class Column(Part, frozen=True, kw_only=True):
    """One column. Numbers: `edges` (k+1, rising) and `counts` (k) of bins that hold every finite value; a bin is
    `(edges[i], edges[i + 1]]`. Categories: `levels` with counts (those of few rows as `~` and a digest), and `rest` for
    all others. `missing` and `infinite` are not in the counts, `count` is of all rows. `distinct` is -1 where there are
    too many values to count.
    """

    name: str
    role: Literal["feature", "prediction", "label"]
    type: Literal["number", "category", "datetime", "boolean"]
    count: int
    missing: int = 0
    infinite: int = 0
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    deviation: float | None = None
    edges: list[float] = []
    counts: list[int] = []
    levels: dict[str, int] = {}
    rest: int = 0
    distinct: int = 0


class Profile(Document, frozen=True, kw_only=True):
    """`metrics` are those of the reference data, computed from its label and prediction, by name."""

    schema: Literal["trackside.drift-profile/1"] = "trackside.drift-profile/1"
    model: str
    rows: int
    columns: list[Column]
    source: str = ""
    digest: str = ""
    metrics: dict[str, float] = {}
    details: dict[str, Any] = {}
