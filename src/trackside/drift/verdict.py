"""Counts → verdict, pure: which tests alarm, what kind each alarm is, and the worst of them.

A test alarms when its effect is surely larger than the least that matters: the lower bound of its interval is above
that threshold, *and* the q-value (Benjamini & Hochberg over the columns) of "no larger than the threshold" is below
alpha. Large samples do not cry over trifles, small ones not over chance, and many columns not by their number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from trackside.config.model import DriftPolicy
from trackside.documents.profile import Column, Profile
from trackside.documents.verdict import Heading, Kind, Test
from trackside.drift import measures
from trackside.drift.columns import Observed
from trackside.drift.measures import Found
from trackside.drift.performance import Measured
from trackside.drift.shapes import COLUMNS, shape
from trackside.drift.tests import METRICS, TESTS, MetricRow, Row
from trackside.drift.words import figure, sentence

ORDER: tuple[Kind, ...] = ("ok", "warning", "drift", "insufficient_data", "invalid_data")
"""From best to worst."""
REASONS: Mapping[Kind, str] = {
    "ok": "drift_none",
    "warning": "drift_warning",
    "drift": "drift_found",
    "insufficient_data": "drift_insufficient",
    "invalid_data": "drift_invalid",
}
HEADINGS: Mapping[str, Heading] = {"feature": "features", "prediction": "prediction", "label": "target"}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a verdict document is filled with."""

    kind: Kind
    tests: tuple[Test, ...] = ()
    problems: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    shapes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reason_code(self) -> str:
        return REASONS[self.kind]


@dataclass(frozen=True, kw_only=True)
class Current:
    """Current data as counted: `columns` by name; `absent` ones no file has, `retyped` ones by their found type."""

    rows: int
    columns: Mapping[str, Observed] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    retyped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Tested:
    test: Test
    weight: float = 0.0


def judge(profile: Profile, current: Current, policy: DriftPolicy, performance: Measured | None = None) -> Judged:
    """All tests of current data against a reference."""
    enough = current.rows >= policy.min_rows
    level = 1 - policy.alpha
    tested: list[_Tested] = []
    problems: list[str] = []
    for column in profile.columns:
        broken = _structure(column, current)
        if broken is not None:
            tested.append(_Tested(broken, weight=float("inf")))
        elif enough and column.name in current.columns:
            tested += _column(column, current.columns[column.name], policy, level, problems)
    if not enough:
        problems.append(f"{current.rows:,} rows; at least {policy.min_rows:,} are needed")
    elif performance is not None:
        tested += _metrics(profile, performance, policy, level, problems)
    tests = _decided([one.test for one in tested], policy.alpha)
    kinds: list[Kind] = ["ok" if enough else "insufficient_data", *(test.kind for test in tests)]
    kind = max(kinds, key=ORDER.index)
    alarmed = sorted(
        (
            (ORDER.index(test.kind), one.weight, test.column)
            for test, one in zip(tests, tested, strict=True)
            if test.alarm
        ),
        key=lambda row: (-row[0], -row[1], row[2]),
    )
    return Judged(
        kind=kind,
        tests=tuple(test for test in tests if _says(test)),
        problems=tuple(problems),
        moved=tuple(dict.fromkeys(name for _, _, name in alarmed)),
        shapes=_shapes(profile, current, tests) if enough else {},
    )


def _structure(column: Column, current: Current) -> Test | None:
    """A column that cannot be compared at all. A label may be missing: it arrives later."""
    if column.role == "label" and column.name not in current.retyped:
        return None
    if column.name in current.absent:
        test, words = "present", "no such column in the current data"
    elif column.name in current.retyped:
        test, words = "type", f"a {column.type} in the reference, {current.retyped[column.name]} in the current data"
    else:
        seen = current.columns.get(column.name)
        if seen is None or not seen.rows or seen.missing < seen.rows or column.missing == column.count:
            return None
        test = "present" if not seen.wrong else "type"
        words = f"not one of {seen.rows:,} rows has a value" if not seen.wrong else f"no value is a {column.type}"
    return Test(
        heading="data_quality",
        column=column.name,
        test=test,
        effect=None,
        alarm=True,
        kind="invalid_data",
        sentence=words,
    )


def _column(column: Column, seen: Observed, policy: DriftPolicy, level: float, problems: list[str]) -> list[_Tested]:
    made: list[_Tested] = []
    label = column.role == "label"
    few = seen.finite < policy.min_rows
    if few and not label:
        problems.append(f"{column.name}: {seen.finite:,} values are too few to compare their distribution")
    if few and label and seen.finite:
        problems.append(f"{column.name}: {seen.finite:,} labels so far; at least {policy.min_rows:,} are needed")
    for row in TESTS:
        later = label and row.name in ("missing", "new levels")  # of those that are there chi2 tells the levels
        if column.type not in row.applies or later or (few and not row.heading):
            continue
        found = row.function(column, seen, level)
        if found is None:
            continue
        threshold = row.threshold if row.heading else policy.thresholds.get(column.name, row.threshold)
        oriented = found if row.one_sided or found.effect >= 0 else _mirrored(found)
        test = Test(
            heading=row.heading or HEADINGS[column.role],
            column=column.name,
            test=row.name,
            effect=oriented.effect,
            low=oriented.low,
            high=oriented.high,
            threshold=threshold,
            p_value=found.beyond(threshold) if oriented.effect > 0 else 1.0,
            alarm=oriented.low > threshold
            and (row.floor is None or found.extra.get(row.floor[0], 0.0) >= row.floor[1]),
            kind=_kind_of(row),
            sentence=sentence(row.name, column, seen, found),
            unit=row.unit,
            extra={name: float(f"{value:.6g}") for name, value in found.extra.items()},
        )
        made.append(_Tested(test, weight=oriented.low / threshold if threshold else oriented.low))
    return made


def _kind_of(row: Row) -> Kind:
    """Broken pipelines are no drift: retraining on their data would make things worse."""
    if row.heading is None:
        return "drift"
    return "invalid_data" if row.name == "wrong type" else "warning"


def _mirrored(found: Found) -> Found:
    return replace(found, effect=-found.effect, low=-found.high, high=-found.low)


def _metrics(
    profile: Profile, measured: Measured, policy: DriftPolicy, level: float, problems: list[str]
) -> list[_Tested]:
    errors = profile.details.get("metric_errors")
    known = errors if isinstance(errors, dict) else {}
    if measured.note and measured.rows:
        problems.append(measured.note)
    if not measured.rows or measured.rows < policy.min_rows:
        return []
    made = []
    for row in METRICS:
        now, before = measured.metrics.get(row.name), profile.metrics.get(row.name)
        error = known.get(row.name, 0.0)
        if now is None or before is None or not isinstance(error, int | float):
            continue
        found = measures.difference(before, float(error), now.value, now.error, level)
        oriented = found if row.worse > 0 else _mirrored(found)
        threshold = policy.thresholds.get(row.name, row.threshold * (abs(before) if row.relative else 1.0))
        made.append(
            _Tested(_metric_test(row, oriented, found, threshold, measured.rows), oriented.low / (threshold or 1.0))
        )
    return made


def _metric_test(row: MetricRow, oriented: Found, found: Found, threshold: float, rows: int) -> Test:
    before, now = found.extra["before"], found.extra["now"]
    return Test(
        heading="performance",
        column=row.name,
        test="metric",
        effect=oriented.effect,
        low=oriented.low,
        high=oriented.high,
        threshold=threshold,
        p_value=found.beyond(threshold) if oriented.effect > 0 else 1.0,
        alarm=oriented.low > threshold,
        kind="drift",
        sentence=f"{figure(before)} → {figure(now)} on {rows:,} labelled rows",
        unit="change for the worse",
        extra={name: float(f"{value:.6g}") for name, value in found.extra.items()},
    )


def _decided(tests: list[Test], alpha: float) -> list[Test]:
    """Tests with their q-values; what is no alarm has the kind `ok`.

    Data quality is a family of its own, so that its many clean columns do not weaken the other tests.
    """
    q_values: dict[int, float] = {}
    for quality in (True, False):
        family = [
            at
            for at, test in enumerate(tests)
            if test.p_value is not None and (test.heading == "data_quality") == quality
        ]
        found = measures.benjamini_hochberg([tests[at].p_value or 0.0 for at in family])
        q_values |= dict(zip(family, found, strict=True))
    made = []
    for at, test in enumerate(tests):
        alarm = test.alarm and q_values.get(at, 0.0) < alpha
        made.append(
            msgspec.structs.replace(test, q_value=q_values.get(at), alarm=alarm, kind=test.kind if alarm else "ok")
        )
    return made


def _says(test: Test) -> bool:
    """Whether a test is worth keeping: of thousands of clean columns the quality tests are not."""
    return test.heading != "data_quality" or test.effect is None or test.effect != 0


def _shapes(profile: Profile, current: Current, tests: list[Test]) -> dict[str, Any]:
    """Those that alarmed first, then by effect."""
    rank = {
        test.column: (test.alarm, (test.low or 0.0) / (test.threshold or 1.0), test.effect or 0.0)
        for test in tests
        if test.test in ("ks", "chi2")
    }
    columns = [one for one in profile.columns if one.name in rank]
    made: dict[str, Any] = {}
    for column in sorted(columns, key=lambda one: rank[one.name], reverse=True)[:COLUMNS]:
        found = shape(column, current.columns[column.name])
        if found:
            made[column.name] = found
    return made
