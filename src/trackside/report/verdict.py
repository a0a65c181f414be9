"""One metric against its baseline, its tolerance and its bounds."""

from __future__ import annotations

from collections.abc import Sequence

from trackside.config.model import MetricPolicy
from trackside.documents.report import Gate, MetricRow, MetricVerdict
from trackside.documents.run import Interval, Metric, Status

BLOCKING: frozenset[MetricVerdict] = frozenset({"failed_bound", "regressed", "gone"})
"""Verdicts that fail the gate where the policy names the metric."""


def is_judged(rule: MetricPolicy) -> bool:
    """A metric without direction and bounds is shown, never judged."""
    return rule.direction != "none" or rule.minimum is not None or rule.maximum is not None


def judge(
    rule: MetricPolicy,
    old: Metric | None,
    new: Metric | None,
    *,
    interval: Interval | None = None,
    gated: bool = False,
    compared: bool = True,
) -> MetricRow:
    """The row of one metric.

    Bounds come first; then, with d the change for the better, t the tolerance and [low, high] the interval of d:

    - regressed: d < -t, and with an interval high < -t
    - improved: d > t, and with an interval low > 0
    - inconclusive: the interval reaches below -t without lying there
    - unchanged: everything else
    """
    baseline = old.value if old else None
    current = new.value if new else None
    delta = current - baseline if current is not None and baseline is not None else None
    verdict, reason = _verdict(rule, old, new, interval, compared=compared)
    return MetricRow(
        name=rule.name,
        file=rule.file,
        direction=rule.direction,
        baseline=baseline,
        current=current,
        delta=delta,
        verdict=verdict,
        reason=reason,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        tolerance=rule.tolerance if rule.direction != "none" else None,
        minimum=rule.minimum,
        maximum=rule.maximum,
        gated=gated,
    )


def _verdict(
    rule: MetricPolicy, old: Metric | None, new: Metric | None, interval: Interval | None, *, compared: bool
) -> tuple[MetricVerdict, str]:
    if new is None:
        return "gone", f"not in {rule.file} any more" if old else f"not in {rule.file}"
    if new.value is None:
        return "failed_bound" if is_judged(rule) else "changed", "not a finite number"
    if rule.minimum is not None and new.value < rule.minimum:
        return "failed_bound", f"below the minimum {rule.minimum:g}"
    if rule.maximum is not None and new.value > rule.maximum:
        return "failed_bound", f"above the maximum {rule.maximum:g}"
    if not compared:
        return "new", ""
    if old is None or old.value is None:
        return "new", "not in the baseline" if old is None else "the baseline is not a finite number"
    delta = new.value - old.value
    if rule.direction == "none":
        return ("unchanged", "") if delta == 0 else ("changed", "")
    return _directed(rule, delta, interval)


def _directed(rule: MetricPolicy, delta: float, interval: Interval | None) -> tuple[MetricVerdict, str]:
    better, tolerance = (delta if rule.direction == "max" else -delta), rule.tolerance
    margin = max(tolerance, 0.0)
    if interval is None or interval.low is None or interval.high is None:
        if exceeds(-better, margin):
            return "regressed", f"worse by more than {tolerance:g}" if tolerance else "worse"
        return ("improved", "") if exceeds(better, margin) else ("unchanged", "")
    low, high = (interval.low, interval.high) if rule.direction == "max" else (-interval.high, -interval.low)
    if high < -margin:
        return "regressed", f"worse by more than {tolerance:g}" if tolerance else "worse"
    if low < -margin:
        return "inconclusive", "may be worse" + (f" by more than {tolerance:g}" if tolerance else "")
    if low > 0 and exceeds(better, margin):
        return "improved", ""
    return "unchanged", ""


def exceeds(value: float, margin: float) -> bool:
    """Greater beyond the rounding of a subtraction: 0.70 - 0.69 does not exceed 0.01."""
    return value > margin + 1e-12 * max(1.0, abs(margin))


def gate_of(rows: Sequence[MetricRow], *, status: Status, experiment: bool) -> Gate:
    """An experiment decides nothing; a run that did not succeed fails; else the metrics of the policy decide."""
    if experiment:
        return "neutral"
    if status != "succeeded" or any(row.gated and row.verdict in BLOCKING for row in rows):
        return "failed"
    return "passed"
