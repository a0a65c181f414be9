"""The reference, once and for all: what a drift check needs to know of the table that a model was judged on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from trackside.config.model import DriftPolicy
from trackside.documents.profile import Column, Parts, Profile, Role, column_of, sketch_of
from trackside.drift.faults import Times, zones
from trackside.drift.scan import Progress, scan
from trackside.drift.seasons import of_reference
from trackside.drift.segments import levels_of, segmented
from trackside.drift.verdict import Reference, Sketches, judge
from trackside.errors import DataError
from trackside.performance.judged import learn
from trackside.performance.metrics import METRICS
from trackside.sketch.column import Sketch
from trackside.sketch.values import Kind, kind_of
from trackside.system.files import sha256_of
from trackside.tables.table import Table, open_table

MAX_BYTES = 32 * 1024 * 1024
"""A profile larger than this is refused: some 2,000 columns of numbers."""

METRIC_NAMES = frozenset(row.name for row in METRICS)
_INDEX = re.compile(r"__index_level_\d+__")
"""How pandas stores row numbers: they are no feature."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """An opened reference table: its columns' `roles`, and their `kinds`, None where the values must tell."""

    table: Table
    roles: Mapping[str, Role]
    kinds: Mapping[str, Kind | None]
    model: str
    source: str = ""
    digest: str = ""
    left_out: tuple[str, ...] = ()
    importance: Mapping[str, float] = field(default_factory=dict)


def opened(
    table: Table,
    policy: DriftPolicy,
    model: str,
    *,
    source: str = "",
    digest: str = "",
    importance: Mapping[str, float] | None = None,
) -> Side:
    """What of a table is compared. `policy` names the columns: `features` (empty: all others), `ignore`, `prediction`,
    `label`. `importance` is the model's own, by feature.

    Raises:
        DataError: a named column is missing.
    """
    roles = roles_of(table.types, policy)
    asked = [*roles, *policy.segments, *((policy.time,) if policy.time else ())]
    missing = [name for name in asked if name not in table.types]
    if missing:
        raise lacking(table, source, missing[0])
    kinds: dict[str, Kind | None] = {name: kind_of(table.types[name]) for name in roles}
    if table.loose:
        kinds = dict.fromkeys(roles)
    left_out = [] if table.loose else sorted(name for name, kind in kinds.items() if kind is None)
    return Side(
        table=table,
        roles=roles,
        kinds={name: kind for name, kind in kinds.items() if name not in left_out},
        model=model,
        source=source,
        digest=digest,
        left_out=tuple(left_out),
        importance=importance or {},
    )


def lacking(table: Table, source: str, name: str) -> DataError:
    """The error of a column that was asked for and that a reference table lacks."""
    return DataError(
        f"the reference {source or table.parts[0].name} has no column {name[:100]!r}",
        why="columns: " + ", ".join(sorted(table.types))[:300],
        remedy="correct the name, in models.<name>.drift of trackside.yaml or in the flag",
        link="drift.md",
        reason_code="reference_invalid",
    )


def build(
    path: Path,
    policy: DriftPolicy,
    model: str,
    *,
    part: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> Profile:
    """The profile of a reference table, or of one part of several, read with bounded memory.

    The metrics of the reference come from its label and prediction, where it has both; parts have none.

    Raises:
        ConfigError: there is no such part.
        DataError: not a table, no rows, or a named column is missing.
    """
    side = opened(open_table([path]), policy, model, source=policy.reference or path.name, digest=sha256_of(path))
    return counted(side, policy, part=part, progress=progress)


def counted(
    side: Side, policy: DriftPolicy, *, part: tuple[int, int] | None = None, progress: Progress | None = None
) -> Profile:
    """Scan a reference. Raises like `build`."""
    table = side.table.share(*part) if part else side.table
    times = [Times(policy.time)] if policy.time else []
    found = scan(table, side.kinds, sinks=times, progress=progress)
    sketches = found.columns
    if side.table.loose and not part:
        sketches = {name: one for name, one in sketches.items() if one.finite or one.infinite}
    by = {name: levels_of(one) for name, one in _deciding(side, policy, sketches, part).items()}
    kinds = {name: one.kind for name, one in sketches.items()}
    made = profile_of(
        side,
        policy,
        found.rows,
        sketches,
        times=times[0] if times else None,
        segments=segmented(table, by, kinds, progress) if by else {},
        part=part,
    )
    return made if part or not policy.time else _seasonal(made, side, policy, kinds)


def _seasonal(profile: Profile, side: Side, policy: DriftPolicy, kinds: Mapping[str, Kind]) -> Profile:
    """With what the reference's own weekdays and months are like."""
    reference = known(profile).reference
    found = of_reference(side.table, kinds, policy.time, lambda scan: judge(reference, scan, policy, brief=True).tests)
    if not found.cells:
        return profile
    return msgspec.structs.replace(profile, details={**profile.details, "seasons": found.to_document()})


def _deciding(side: Side, policy: DriftPolicy, sketches: Sketches, part: tuple[int, int] | None) -> Sketches:
    """The columns whose levels make segments, of the whole table also where one part is counted."""
    if not part or not policy.segments:
        return {name: sketches[name] for name in policy.segments if name in sketches}
    return scan(side.table, {name: side.kinds.get(name) for name in policy.segments}).columns


def profile_of(
    side: Side,
    policy: DriftPolicy,
    rows: int,
    sketches: Sketches,
    *,
    times: Times | None = None,
    segments: Mapping[str, Sketches] | None = None,
    part: tuple[int, int] | None = None,
    publish: bool = True,
) -> Profile:
    """The document of a counted reference. Without `publish`, and of a part, rare levels keep their names.

    Raises:
        DataError: it has no rows, or a column of times that nobody can order.
    """
    if not rows and not part:
        raise DataError(
            f"the reference {side.source} has no rows to compare with", link="drift.md", reason_code="reference_invalid"
        )
    held = {name: one.zones for name, one in sketches.items()}
    if times is not None:
        held[times.name] = tuple(sorted(times.zones))
    for name, found in held.items():
        for fault in zones(name, (), found):
            raise DataError(
                f"the reference's column {name[:100]!r}: {fault.words}",
                link="drift.md",
                reason_code="reference_invalid",
            )
    publish = publish and part is None
    details: dict[str, Any] = {}
    left_out = sorted({*side.left_out, *(name for name in side.kinds if name not in sketches)})
    if left_out:
        details["left_out"] = left_out
    if times is not None:
        details |= times.details
    if side.importance:
        details["importance"] = {name: value for name, value in side.importance.items() if name in side.roles}
    metrics: dict[str, float] = {}
    if part is None:
        metrics, more = learn(side.table, policy)
        details |= more
    return Profile(
        model=side.model,
        rows=rows,
        columns=[column_of(name, side.roles[name], one, publish=publish) for name, one in sketches.items()],
        segments={
            segment: [column_of(name, side.roles[name], one, publish=publish) for name, one in columns.items()]
            for segment, columns in (segments or {}).items()
        },
        parts=Parts(counted=[part[0]], total=part[1]) if part else None,
        source=side.source,
        digest=side.digest,
        metrics=metrics,
        details=details,
    )


def roles_of(names: Sequence[str] | dict[str, Any], policy: DriftPolicy) -> dict[str, Role]:
    """Columns to compare, in the table's order, with what each is for. Named ones come also where they are missing."""
    special: dict[str, Role] = {}
    if policy.prediction:
        special[policy.prediction] = "prediction"
    if policy.label:
        special[policy.label] = "label"
    # An id has no distribution, and time goes on; a column may have no name.
    rest = {*special, *(name for name in (policy.key, policy.time) if name)}
    features = policy.features or [name for name in names if name not in rest and not _INDEX.fullmatch(name)]
    made: dict[str, Role] = {name: "feature" for name in features if name not in policy.ignore and name not in special}
    return made | special


def narrowed(profile: Profile, policy: DriftPolicy) -> tuple[Profile, list[str]]:
    """The profile as today's policy wants it: what it ignores by now is left out. Second, what it names in vain."""
    kept = [one for one in profile.columns if _wanted(one, policy)]
    known = {one.name for one in profile.columns}
    words = [
        f"{name}: the reference has no such column; a version released from now on carries it"
        for name in (*policy.features, policy.prediction, policy.label)
        if name and name not in known
    ]
    words += [
        f"thresholds: {name} is neither a column of the reference nor a metric"
        for name in policy.thresholds
        if name not in known and name not in METRIC_NAMES
    ]
    segments = {
        segment: [one for one in columns if _wanted(one, policy)]
        for segment, columns in profile.segments.items()
        if segment.partition("=")[0] in policy.segments
    }
    return msgspec.structs.replace(profile, columns=kept, segments=segments), words


def _wanted(column: Column, policy: DriftPolicy) -> bool:
    return column.role != "feature" or (
        column.name not in policy.ignore and (not policy.features or column.name in policy.features)
    )


@dataclass(frozen=True, kw_only=True)
class Known:
    """A profile with its sketches read."""

    profile: Profile
    reference: Reference
    kinds: Mapping[str, Kind] = field(default_factory=dict)


def known(profile: Profile, sketches: Mapping[str, Sketch] | None = None) -> Known:
    """What a profile holds; `sketches` are those it was made of, where they are at hand.

    Raises:
        DataError: a sketch cannot be read, or it is the profile of a part.
    """
    if profile.parts is not None:
        raise DataError(
            f"the profile is of parts {', '.join(map(str, profile.parts.counted))} of {profile.parts.total}",
            remedy="trackside drift merge PART... --out drift-profile.json",
            link="drift.md",
            reason_code="reference_invalid",
        )
    columns = {one.name: (sketches or {}).get(one.name) or sketch_of(one) for one in profile.columns}
    importance = profile.details.get("importance")
    return Known(
        profile=profile,
        reference=Reference(
            columns=columns,
            roles={one.name: one.role for one in profile.columns},
            segments={
                segment: {one.name: sketch_of(one) for one in held} for segment, held in profile.segments.items()
            },
            importance=importance if isinstance(importance, dict) else {},
        ),
        kinds={name: one.kind for name, one in columns.items()},
    )
