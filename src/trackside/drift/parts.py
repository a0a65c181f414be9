"""Profiles of parts → the profile of the whole: what lets a job matrix, or any other engine, spread a scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trackside.documents.profile import Column, Parts, Profile, column_of, sketch_of
from trackside.drift.faults import Timed, timed
from trackside.errors import DataError
from trackside.sketch.column import merged as merged_sketches

LINK = "drift.md"


def merge(profiles: Sequence[Profile]) -> Profile:
    """One profile of all rows, in whatever order the parts come. While some of the parts are not among them, the result
    is that of a part; else rare levels go by a digest, as in any profile that is published.

    Raises:
        DataError: no part, parts of different tables, or one part twice.
    """
    if not profiles:
        raise DataError("there is no profile to merge", link=LINK, reason_code="document_invalid")
    first = profiles[0]
    parts = _parts(profiles)
    for one in profiles:
        if (one.model, one.digest) != (first.model, first.digest):
            raise _refused("the profiles are of different tables", f"{first.source} and {one.source}")
        if [(column.name, column.role) for column in one.columns] != [
            (column.name, column.role) for column in first.columns
        ]:
            raise _refused("the profiles have different columns", "were they made with the same trackside.yaml?")
    rows = sum(one.rows for one in profiles)
    if not rows and parts is None:
        raise DataError(f"{first.source} has no rows to compare with", link=LINK, reason_code="reference_invalid")
    publish = parts is None
    columns = [_merged([one.columns[at] for one in profiles], publish) for at in range(len(first.columns))]
    left_out = [column.name for column in columns if publish and column.count == column.missing + column.wrong]
    windows = [window for one in profiles if isinstance(window := one.details.get("window"), list) and window]
    details = {name: value for name, value in first.details.items() if name != "window"}
    if windows:
        details["window"] = [min(low for low, _ in windows), max(high for _, high in windows)]
    if "times" in details:
        details["times"] = _times([timed(one.details) for one in profiles])
    if left_out:
        details["left_out"] = sorted({*details.get("left_out", []), *left_out})
    return Profile(
        model=first.model,
        rows=rows,
        columns=[column for column in columns if column.name not in left_out],
        segments=_segments(profiles, publish),
        parts=parts,
        source=first.source,
        digest=first.digest,
        details=details,
    )


def _times(parts: Sequence[Timed]) -> dict[str, Any]:
    return {
        "rows": sum(one.rows for one in parts),
        "missing": sum(one.missing for one in parts),
        "wrong": sum(one.wrong for one in parts),
        "zones": sorted({zone for one in parts for zone in one.zones}),
    }


def _parts(profiles: Sequence[Profile]) -> Parts | None:
    """What is counted now; None for all of it."""
    if all(one.parts is None for one in profiles):
        raise _refused("the profiles are whole ones", "parts are written by `trackside drift profile --part 1/4`")
    totals = {one.parts.total if one.parts else 0 for one in profiles}
    counted = sorted(number for one in profiles for number in (one.parts.counted if one.parts else []))
    total = max(totals)
    if len(totals) > 1:
        raise _refused("the profiles are parts of different cuts", f"of {', '.join(map(str, sorted(totals)))} parts")
    twice = sorted({number for number in counted if counted.count(number) > 1})
    if twice or not all(1 <= number <= total for number in counted):
        raise _refused(f"part {twice[0] if twice else counted} of {total} is there twice or is none", "")
    return None if len(counted) == total else Parts(counted=counted, total=total)


def _merged(columns: Sequence[Column], publish: bool) -> Column:
    first = columns[0]
    try:
        sketch = merged_sketches(sketch_of(one) for one in columns)
    except ValueError as error:
        raise _refused(f"column {first.name[:100]!r} differs between the parts", str(error)) from error
    return column_of(first.name, first.role, sketch, publish=publish)


def _segments(profiles: Sequence[Profile], publish: bool) -> dict[str, list[Column]]:
    from trackside.drift.segments import coarse

    made: dict[str, list[Column]] = {}
    names = dict.fromkeys(name for one in profiles for name in one.segments)
    for name in names:
        held: dict[str, list[Column]] = {}
        for one in profiles:
            for column in one.segments.get(name, []):
                held.setdefault(column.name, []).append(column)
        made[name] = [
            column_of(
                columns[0].name,
                columns[0].role,
                coarse(merged_sketches(sketch_of(column) for column in columns)),
                publish=publish,
            )
            for columns in held.values()
        ]
    return made


def _refused(what: str, why: str) -> DataError:
    return DataError(what, why=why, link=LINK, reason_code="document_invalid")
