"""The performance of a check: metrics of labelled rows against the reference, of each slice, and without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from trackside.config.model import DriftPolicy
from trackside.documents.profile import Profile
from trackside.documents.verdict import Labels, Test
from trackside.drift.words import figure, share
from trackside.errors import DataError
from trackside.measures.chance import difference
from trackside.measures.found import Found
from trackside.performance.cbpe import Calibration, calibration, doubts, expected, strange
from trackside.performance.labels import LEVELS, Coded, Joined, Rows, join, read
from trackside.performance.measured import Measured, measured, pairs_of
from trackside.performance.metrics import METRICS, MetricRow
from trackside.tables.sources import Data
from trackside.tables.table import Table, open_table

SLICES = 20
"""Levels of a column that are judged: the largest of the reference."""
SHOWN = ("accuracy", "precision", "recall", "f1", "roc_auc", "brier", "log_loss")
"""What is estimated without labels, as far as the reference has it."""
KEY = 40
"""Characters shown of a key."""
ALL = 0.95
"""Share of rows with labels from which nothing is estimated."""


@dataclass(frozen=True, kw_only=True)
class Performed:
    """What performance adds to a verdict. `tests` have p-values, but no q-values yet."""

    tests: tuple[Test, ...] = ()
    problems: tuple[str, ...] = ()
    labels: Labels | None = None
    doubts: tuple[str, ...] = ()


@dataclass
class _Made:
    tests: list[Test] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def learn(table: Table, policy: DriftPolicy) -> tuple[dict[str, float], dict[str, Any]]:
    """Metrics of the reference by name, and what a profile's details keep to judge by: their standard errors, those of
    slices, the calibration. Both are empty where the reference has no label or no score.

    Raises:
        DataError: a file cannot be read.
    """
    if not policy.prediction or policy.label not in table.types:
        return {}, {}
    rows = read(table, score=policy.prediction, label=policy.label, slices=policy.slices)
    rows = rows.chosen(rows.labelled)
    found = measured(pairs_of(rows), decision=policy.decision)
    details: dict[str, Any] = {"metrics_note": found.note} if found.note else {}
    if not found.metrics:
        return {}, details
    details |= _figures(found) | {"positive": found.positive, "decision": policy.decision}
    details["slices"] = {
        name: {
            level: _figures(one) | {"metrics": {key: each.value for key, each in one.metrics.items()}}
            for level, part in levels(rows, name)
            if part.scores.size >= policy.min_rows  # fewer are not judged, and are not for a release to name
            and (one := measured(pairs_of(part), positive=found.positive, decision=policy.decision)).metrics
        }
        for name in rows.slices
    }
    if found.positive:
        learnt = calibration(_truth(rows, found.positive), rows.scores)
        details |= {"cbpe": learnt.to_document()} if learnt is not None else {}
    return {name: one.value for name, one in found.metrics.items()}, details


def _figures(found: Measured) -> dict[str, Any]:
    return {"metric_errors": {name: one.error for name, one in found.metrics.items()}, "metric_rows": found.rows}


def levels(rows: Rows, column: str) -> list[tuple[str, Rows]]:
    """The rows of each level of a column, the largest levels first; none where it has too many."""
    coded = rows.slices.get(column)
    if coded is None or not coded.names or len(coded.names) > LEVELS:
        return []
    counts = np.bincount(coded.codes[coded.codes >= 0], minlength=len(coded.names))
    order = np.argsort(-counts, kind="stable")[:SLICES]
    return [(coded.names[at], rows.chosen(coded.codes == at)) for at in order if counts[at]]


def _truth(rows: Rows, positive: str) -> Any:
    """1 for the positive label, else 0, as doubles."""
    if rows.classes is not None:
        return np.array([name == positive for name in rows.classes.names], dtype=np.float64)[rows.classes.codes]
    return np.asarray(rows.numbers == float(positive), dtype=np.float64)


def perform(
    profile: Profile,
    table: Table,
    policy: DriftPolicy,
    *,
    labels: Data | DataError | None = None,
) -> Performed:
    """All that is known of performance on current data.

    Args:
        labels: where `policy.labels` is set, what came of gathering it.

    Raises:
        DataError: a file of the current data cannot be read.
    """
    if not profile.metrics or not policy.prediction or policy.prediction not in table.types:
        return Performed()
    made = _Made()
    rows = read(
        table,
        score=policy.prediction,
        label=policy.label,
        key=policy.key if labels is not None else "",
        time=policy.time if labels is not None else "",
        slices=policy.slices,
    )
    facts = None
    if labels is not None:
        joined = _with_labels(rows, labels, policy, made)
        rows, facts = (joined.rows, joined.facts) if joined is not None else (rows, None)
    there = rows.labelled
    now = (
        measured(pairs_of(rows), positive=_positive(profile), decision=_decision(profile, policy))
        if there.any()
        else Measured()
    )
    if now.note and now.rows:
        made.problems.append(now.note)
    if 0 < now.rows < policy.min_rows:
        made.problems.append(f"{now.rows:,} labelled rows are too few to judge the metric")
    elif now.rows:
        made.tests += metric_tests(profile.metrics, profile.details, now, policy)
        _slices(profile, rows.chosen(there), policy, made)
    if there.mean() < ALL:
        _estimates(profile, rows, now, policy, made)
    return Performed(tests=tuple(made.tests), problems=tuple(made.problems), labels=facts, doubts=tuple(made.doubts))


def doubted(found: Performed, tests: Sequence[Test]) -> list[str]:
    """Why estimates cannot be trusted, once all columns are judged; empty where nothing is estimated."""
    if not found.doubts:
        return []
    seen = [test for test in tests if test.test in ("range", "new levels") and not test.segment]
    return [*strange({test.column: test.extra.get("now", 0.0) for test in seen}), *found.doubts]


def _positive(profile: Profile) -> str | None:
    found = profile.details.get("positive")
    return found if isinstance(found, str) else None


def _decision(profile: Profile, policy: DriftPolicy) -> float:
    """The reference's: what is compared with it is called positive by the same score."""
    found = profile.details.get("decision")
    return float(found) if isinstance(found, int | float) else policy.decision


def _with_labels(rows: Rows, labels: Data | DataError, policy: DriftPolicy, made: _Made) -> Joined | None:
    """Rows with the labels that came apart. Labels that cannot be read or joined are invalid data, by name."""
    try:
        if isinstance(labels, DataError):
            raise labels
        table = open_table(labels.files)
        found = read(table, label=policy.label, key=policy.key, time=policy.label_time)
    except DataError as error:
        if error.reason_code == "current_missing":
            made.problems.append("no labels have arrived yet")
        else:
            made.tests.append(_broken(policy.label, "labels", ": ".join(filter(None, (error.message, error.why)))))
        return None
    for name in (policy.key, policy.label):
        if name not in table.types:
            made.tests.append(_broken(name, "present", f"no such column in the labels of {labels.source}"))
            return None
    if rows.keyed is None or not rows.keyed.any():
        made.tests.append(_broken(policy.key, "present", "no row of the current data has a key to join labels on"))
        return None
    if policy.label_time and policy.label_time not in table.types:
        made.problems.append(f"{policy.label_time}: no such column in the labels of {labels.source}")
    joined = join(rows, found, source=labels.source, key=policy.key)
    facts = joined.facts
    if not facts.joined and facts.unmatched >= policy.min_rows:
        words = f"not one of {facts.unmatched:,} labels joins one of {facts.rows:,} rows"
        words += f": their keys are like {found.example[:KEY]!r}, those of the rows like {rows.example[:KEY]!r}"
        made.tests.append(_broken(policy.key, "join", words))
    if joined.conflicts:
        words = f"{joined.conflicts:,} keys have several labels that differ; they are left out"
        usable = facts.joined >= policy.min_rows or joined.disputed < policy.min_rows
        if not usable:
            words += f", and {facts.joined:,} of {facts.rows:,} rows have a label left to judge by"
        made.tests.append(_broken(policy.key, "labels", words, warning=usable))
    made.problems.append(
        f"labels: {facts.joined:,} of {facts.rows:,} rows have one ({share(facts.joined / max(1, facts.rows))})"
        + (f", {facts.unmatched:,} labels are of no row" if facts.unmatched else "")
        + (f"; half came within {figure(facts.lag_days['p50'])} days" if facts.lag_days else "")
    )
    return joined


def _broken(column: str, test: str, words: str, *, warning: bool = False) -> Test:
    return Test(
        heading="data_quality",
        column=column,
        test=test,
        effect=None,
        alarm=True,
        kind="warning" if warning else "invalid_data",
        sentence=words,
    )


def metric_tests(
    before: Mapping[str, float], details: Mapping[str, Any], now: Measured, policy: DriftPolicy, *, segment: str = ""
) -> list[Test]:
    """Each metric of labelled rows against the reference's. `details` holds its standard errors."""
    known = details.get("metric_errors")
    errors = known if isinstance(known, Mapping) else {}
    made = []
    for row in METRICS:
        was, one, error = before.get(row.name), now.metrics.get(row.name), errors.get(row.name, 0.0)
        if one is None or not isinstance(was, int | float) or not isinstance(error, int | float):
            continue
        found = difference(float(was), float(error), one.value, one.error, 1 - policy.alpha)
        made.append(_metric_test(row, found, policy, now.rows, segment))
    return made


def _metric_test(row: MetricRow, found: Found, policy: DriftPolicy, rows: int, segment: str) -> Test:
    before, now = found.extra["before"], found.extra["now"]
    worse = found if row.worse > 0 else replace(found, effect=-found.effect, low=-found.high, high=-found.low)
    threshold = policy.thresholds.get(row.name, row.threshold * (abs(before) if row.relative else 1.0))
    return Test(
        heading="performance",
        column=row.name,
        test="metric",
        effect=worse.effect,
        low=worse.low,
        high=worse.high,
        threshold=threshold,
        p_value=found.beyond(threshold) if worse.effect > 0 else 1.0,
        alarm=worse.low > threshold,
        kind="drift",
        sentence=f"{figure(before)} → {figure(now)} on {rows:,} labelled rows",
        unit="change for the worse",
        extra={name: float(f"{value:.6g}") for name, value in found.extra.items()},
        segment=segment,
    )


def _slices(profile: Profile, rows: Rows, policy: DriftPolicy, made: _Made) -> None:
    """The metric in each slice that both sides have enough rows of."""
    known = profile.details.get("slices")
    if not policy.slices or not isinstance(known, Mapping):
        return
    for name in policy.slices:
        before, coded = known.get(name), rows.slices.get(name)
        if not isinstance(before, Mapping) or coded is None:
            made.problems.append(f"slices: {name} is no column of {'the reference' if coded else 'the current data'}")
            continue
        for level, part in _like(rows, coded, before):
            figures = before[level]
            if part.scores.size < policy.min_rows or not isinstance(figures, Mapping):
                continue
            if not isinstance(figures.get("metric_rows"), int) or figures["metric_rows"] < policy.min_rows:
                continue
            now = measured(pairs_of(part), positive=_positive(profile), decision=_decision(profile, policy))
            metrics = figures.get("metrics")
            if isinstance(metrics, Mapping):
                made.tests += metric_tests(metrics, figures, now, policy, segment=f"{name}={level}")


def _like(rows: Rows, coded: Coded, before: Mapping[str, Any]) -> Sequence[tuple[str, Rows]]:
    places = {name: at for at, name in enumerate(coded.names)}
    return [(level, rows.chosen(coded.codes == places[level])) for level in before if level in places]


def _estimates(profile: Profile, rows: Rows, now: Measured, policy: DriftPolicy, made: _Made) -> None:
    """What the metrics are expected to be over all rows, labelled or not."""
    learnt = Calibration.from_document(profile.details.get("cbpe"))
    scores = rows.scores[np.isfinite(rows.scores)]
    if learnt is None or scores.size < policy.min_rows:
        return
    found = expected(learnt, scores, decision=_decision(profile, policy))
    if found.note:
        made.problems.append(found.note)
        return
    errors = profile.details.get("metric_errors")
    for name in SHOWN:
        one, before = found.metrics.get(name), profile.metrics.get(name)
        if one is None or before is None:
            continue
        error = errors.get(name, 0.0) if isinstance(errors, Mapping) else 0.0
        change = difference(before, float(error), one.value, one.error, 1 - policy.alpha)
        made.tests.append(_estimate(name, change, found.rows))
    there = rows.labelled
    known = expected(learnt, rows.scores[there], decision=_decision(profile, policy)).metrics if there.any() else {}
    made.doubts += doubts(now.metrics, known, labelled=now.rows)


def _estimate(name: str, found: Found, rows: int) -> Test:
    """A figure that is shown and not judged: it rests on what it cannot see."""
    better = name not in ("brier", "log_loss")
    worse = replace(found, effect=-found.effect, low=-found.high, high=-found.low) if better else found
    return Test(
        heading="performance",
        column=name,
        test="estimate",
        effect=worse.effect,
        low=worse.low,
        high=worse.high,
        sentence=f"{figure(found.extra['before'])} → {figure(found.extra['now'])} expected of {rows:,} rows (CBPE)",
        unit="change for the worse",
        extra={key: float(f"{value:.6g}") for key, value in found.extra.items()},
    )
