"""`trackside.drift-profile/1`: what a check needs of the reference data, shipped with the release."""

from __future__ import annotations

import base64
import binascii
import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from trackside.documents.codec import Document
from trackside.documents.run import Part
from trackside.errors import DataError

if TYPE_CHECKING:
    from trackside.sketch.column import Sketch
    from trackside.sketch.levels import Levels
    from trackside.sketch.numbers import Numbers

Role = Literal["feature", "prediction", "label"]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
SHOWN = 20
"""Levels and patterns that are spelled out."""


class Column(Part, frozen=True, kw_only=True):
    """One column. `sketch` is all that was counted, in base64 of what `trackside.sketch.codec` writes, and all that is
    judged by; everything else is read off it, for people, and `intact` refuses a profile where it differs. `count` is
    of all rows, `missing` of nulls, NaN and the `wrong` values of another kind.
    `low`, `high`, `mean`, `deviation` and `quantiles` are of numbers, and in seconds since 1970 (UTC) of dates, whose
    `calendar` counts them by hour, weekday (from Monday) and month; they are usually as far apart as `cadence` says
    (least and greatest, in seconds).
    `levels` are the most frequent ones (those of few rows as `~` and a digest), `rest` is of all others, and `entropy`
    (least and greatest, in nats) is of all; `lengths` and `patterns` are of texts.
    """

    name: str
    role: Role
    type: Literal["number", "category", "datetime", "boolean"]
    count: int
    missing: int = 0
    infinite: int = 0
    wrong: int = 0
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    deviation: float | None = None
    quantiles: dict[str, float] = {}
    levels: dict[str, int] = {}
    rest: int = 0
    distinct: int = 0
    mode: str = ""
    mode_count: int = 0
    entropy: list[float] = []
    lengths: dict[str, float] = {}
    patterns: dict[str, int] = {}
    first: str = ""
    last: str = ""
    zones: list[str] = []
    calendar: dict[str, list[int]] = {}
    cadence: list[float] = []
    sketch: str = ""


class Parts(Part, frozen=True, kw_only=True):
    """Which of how many parts of a table were counted, from 1."""

    counted: list[int]
    total: int


class Profile(Document, frozen=True, kw_only=True):
    """`metrics` are those of the reference data, computed from its label and prediction, by name. `segments` hold the
    columns of the rows of one segment, by its name. `parts` is set where only some of the table was counted.
    """

    schema: Literal["trackside.drift-profile/1"] = "trackside.drift-profile/1"
    model: str
    rows: int
    columns: list[Column]
    segments: dict[str, list[Column]] = {}
    parts: Parts | None = None
    source: str = ""
    digest: str = ""
    metrics: dict[str, float] = {}
    details: dict[str, Any] = {}


def column_of(name: str, role: Role, sketch: Sketch, *, publish: bool = True) -> Column:
    """A column as a document has it. With `publish`, rare levels go by a digest, and sketches no longer merge
    exactly: parts of a table are written without.
    """
    from trackside.sketch.codec import encode
    from trackside.sketch.publish import published

    if publish:
        sketch = published(sketch)
    return Column(
        name=name,
        role=role,
        type=sketch.kind,
        count=sketch.rows,
        sketch=base64.b64encode(encode(sketch)).decode("ascii"),
        **_read_off(sketch),
    )


def _read_off(sketch: Sketch) -> dict[str, Any]:
    """What people are shown of a sketch."""
    return {
        "missing": sketch.missing,
        "infinite": sketch.infinite,
        "wrong": sketch.wrong,
        "zones": list(sketch.zones),
        "patterns": _shown(sketch.patterns),
        "lengths": _lengths(sketch.lengths),
        **_numbers(sketch.numbers),
        **_dates(sketch),
        **_levels(sketch.levels),
    }


def intact(profile: Profile) -> Profile:
    """The profile, once every sketch in it was read and is what the document says of it, whatever of it is used.

    Raises:
        DataError: a sketch cannot be read, a field says something else than its sketch, a column comes twice, or one
            has other rows than the profile.
    """
    for columns in (profile.columns, *profile.segments.values()):
        names: set[str] = set()
        for one in columns:
            if one.name in names:
                raise _broken(one, "it comes twice")
            names.add(one.name)
            said = Column(name=one.name, role=one.role, type=one.type, count=one.count, **_read_off(sketch_of(one)))
            for name in Column.__struct_fields__:
                if name != "sketch" and not _alike(getattr(one, name), getattr(said, name)):
                    raise _broken(one, f"its {name} is not that of its sketch")
            if one.count > profile.rows or (columns is profile.columns and one.count != profile.rows):
                raise _broken(one, f"it has {one.count:,} rows, the profile {profile.rows:,}")
    return profile


def _alike(one: Any, other: Any) -> bool:
    """Equal, but for the last digits of a float: mathematics differs between machines."""
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-9)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)


def sketch_of(column: Column) -> Sketch:
    """What was counted of a document's column.

    Raises:
        DataError: it is cut, was written by something else, or is not what the column says.
    """
    from trackside.sketch.codec import Malformed, decode

    try:
        found = decode(base64.b64decode(column.sketch.encode("ascii"), validate=True))
    except (Malformed, binascii.Error, UnicodeEncodeError) as error:
        raise _broken(column, str(error)) from error
    if found.kind != column.type or found.rows != column.count:
        raise _broken(column, f"it holds {found.rows:,} rows of a {found.kind}")
    return found


def _broken(column: Column, why: str) -> DataError:
    return DataError(
        f"the profile's column {column.name[:100]!r} cannot be read",
        why=why,
        remedy="write the profile anew: trackside drift profile",
        link="drift.md",
        reason_code="document_invalid",
    )


def _numbers(numbers: Numbers | None) -> dict[str, Any]:
    if numbers is None or not numbers.count:
        return {}
    import numpy as np

    low, high = numbers.quantiles(np.array(QUANTILES))
    middle = low / 2 + high / 2
    return {
        "low": numbers.low,
        "high": numbers.high,
        "mean": numbers.mean,
        "deviation": numbers.deviation if math.isfinite(numbers.deviation) else None,
        "quantiles": {f"{share:g}": _short(value) for share, value in zip(QUANTILES, middle, strict=True)},
        "distinct": len(numbers.keys) if numbers.exact else -1,
    }


def _dates(sketch: Sketch) -> dict[str, Any]:
    numbers, calendar = sketch.numbers, sketch.calendar
    if calendar is None or numbers is None or not numbers.count:
        return {}
    from trackside.sketch.dates import cadence

    return {
        "first": _time(numbers.low),
        "last": _time(numbers.high),
        "calendar": {
            "hours": calendar.hours.tolist(),
            "weekdays": calendar.weekdays.tolist(),
            "months": calendar.months.tolist(),
        },
        "cadence": [_short(one) for one in cadence(numbers) if math.isfinite(one)],
    }


def _time(seconds: float) -> str:
    try:
        return (datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat(timespec="seconds") + "Z"
    except OverflowError:  # a year that is not written with four digits
        return ""


def _levels(levels: Levels | None) -> dict[str, Any]:
    if levels is None:
        return {}
    from trackside.sketch.levels import entropy

    shown = _shown(levels)
    return {
        "levels": shown,
        "rest": levels.count - sum(shown.values()),
        "distinct": levels.distinct,
        "mode": levels.mode,
        "mode_count": levels.mode_count[0],
        "entropy": [_short(one) for one in entropy(levels)],
    }


def _shown(levels: Levels | None) -> dict[str, int]:
    return dict(list(levels.counts.items())[:SHOWN]) if levels is not None else {}


def _lengths(lengths: Numbers | None) -> dict[str, float]:
    found = _numbers(lengths)
    return {name: found[name] for name in ("low", "high", "mean")} if found else {}


def _short(value: float) -> float:
    return float(f"{value:.6g}")
