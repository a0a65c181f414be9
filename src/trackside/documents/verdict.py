"""`trackside.verdict/1`: what a drift check found; one a model and day on the data branch."""

from __future__ import annotations

from typing import Any, Literal

from trackside.documents.codec import Document
from trackside.documents.run import Part

Kind = Literal["ok", "warning", "drift", "insufficient_data", "invalid_data"]
Heading = Literal["data_quality", "features", "prediction", "target", "performance"]
CourseKind = Literal["one-off", "persistent", "seasonal", "trend", "step"]


class Test(Part, frozen=True, kw_only=True):
    """One test of one column. `effect` in the unit of `test`, with its interval; `threshold` is the least that matters.

    `p_value` is of an effect no larger than `threshold`, raised where rows are few, `q_value` after
    Benjamini-Hochberg over the columns. `extra` are figures that are shown and not judged; `column` is the metric's
    name under `performance`, and `segment` the rows it is of (`carrier=UA`; empty: all). `detectable` is the least
    true effect that would be found nearly always, `weight` the column's share of the model's importance, 0 to 1.
    """

    heading: Heading
    column: str
    test: str
    effect: float | None
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    q_value: float | None = None
    alarm: bool = False
    kind: Kind = "ok"
    sentence: str = ""
    unit: str = ""
    extra: dict[str, float] = {}
    detectable: float | None = None
    weight: float | None = None
    segment: str = ""


class Course(Part, frozen=True, kw_only=True):
    """How a column's drift runs over the days, and what tells so. Seasonal drift does not count for retraining."""

    kind: CourseKind
    evidence: str


class Labels(Part, frozen=True, kw_only=True):
    """Labels that came apart from the predictions, joined on `key`.

    `rows` of current data, of which `joined` have a label and `waiting` have none yet; `unmatched` labels are of no
    row, `duplicates` are keys that stand more than once on either side. `lag_days` (`p50`, `p90`, `max`) is how long
    labels took, known where both times are.
    """

    source: str
    key: str
    rows: int
    joined: int
    waiting: int
    unmatched: int = 0
    duplicates: int = 0
    lag_days: dict[str, float] = {}


class Window(Part, frozen=True, kw_only=True):
    """One side of the comparison. `source` names no secret; `digest` is of the bytes read, where there are any."""

    source: str
    rows: int
    digest: str = ""
    version: str = ""


class Verdict(Document, frozen=True, kw_only=True):
    """`verdict` is the worst of all headings; `moved` are the columns that alarmed, strongest first.

    `as_of` is the date that the placeholders of `current` were filled with; `streak` counts checks in a row that
    found drift, this one included. `shapes` are the distributions to draw and `courses` the course of drift, by
    column. `doubts` say why performance that was estimated without labels cannot be trusted, `sensitivity` what a check
    of so few rows could not have seen.
    """

    schema: Literal["trackside.verdict/1"] = "trackside.verdict/1"
    model: str
    verdict: Kind
    reason_code: str
    as_of: str
    checked_at: str
    reference: Window
    current: Window
    tests: list[Test] = []
    problems: list[str] = []
    moved: list[str] = []
    streak: int = 0
    commit: str = ""
    workflow_run: str = ""
    shapes: dict[str, Any] = {}
    courses: dict[str, Course] = {}
    labels: Labels | None = None
    doubts: list[str] = []
    sensitivity: str = ""
