"""Two sides → rows of what differs: metrics with a verdict each, parameters, data. Pure; the order never varies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from trackside.config.model import MetricPolicy, Model
from trackside.documents.report import DataRow, MetricRow, ValueRow
from trackside.documents.run import Comparison, Dependency, Interval, Metric
from trackside.report.names import canonical
from trackside.report.snapshot import GitMetrics, git_reader, snapshots
from trackside.report.verdict import is_judged, judge
from trackside.system.process import Processes


@dataclass(frozen=True, kw_only=True)
class Diff:
    """What differs between two commits; equal parameters and data are left out, metrics are all there."""

    metrics: list[MetricRow]
    params: list[ValueRow]
    data: list[DataRow]

    def json(self) -> bytes:
        """Stable bytes: rows in their order, keys sorted."""
        plain = {"metrics": self.metrics, "params": self.params, "data": self.data}
        return msgspec.json.encode(plain, order="sorted")


def diff_commits(
    repository: Path, baseline: str, current: str, *, processes: Processes, model: Model | None = None
) -> Diff:
    """Metrics, parameters and data of two commits (empty: the working tree), without DVC; also in shallow clones.

    Raises:
        NotFound: a commit exists neither here nor at the remote.
        DataError: a file cannot be read.
    """
    old, new = snapshots(git_reader(repository, processes), [baseline, current], model)
    return diff(old, new, model=model)


def diff(old: GitMetrics, new: GitMetrics, *, model: Model | None = None) -> Diff:
    return Diff(
        metrics=metric_rows(old.metrics, new.metrics, model.metrics if model else ()),
        params=value_rows(old.params, new.params),
        data=data_rows(old.dependencies, new.dependencies),
    )


SEVERITY = ("failed_bound", "regressed", "gone", "inconclusive", "improved", "changed", "new", "unchanged")
"""Verdicts in the order in which a reader needs them."""


def metric_rows(
    old: Iterable[Metric] | None,
    new: Iterable[Metric],
    policies: Sequence[MetricPolicy] = (),
    comparison: Comparison | None = None,
) -> list[MetricRow]:
    """A row for every metric of either side and every metric of the policy, worst first, gated ones before others.

    `old` None: there is no baseline, so that nothing is new, gone or changed and only bounds can be judged.
    """
    rules = {(rule.name, rule.file): rule for rule in policies}
    before = {(one.name, one.file): one for one in old or ()}
    after = {(one.name, one.file): one for one in new}
    rank = {key: index for index, key in enumerate(rules)}
    rows = [
        judge(
            rules.get(key) or MetricPolicy(name=key[0], file=key[1]),
            before.get(key),
            after.get(key),
            interval=interval_for(key[0], before.get(key), after.get(key), comparison) if key in rules else None,
            gated=key in rules and is_judged(rules[key]),
            compared=old is not None,
        )
        for key in {**rules, **before, **after}
    ]
    return sorted(
        rows,
        key=lambda row: (
            SEVERITY.index(row.verdict) if row.gated else len(SEVERITY) + SEVERITY.index(row.verdict),
            rank.get((row.name, row.file), len(rank)),
            row.file,
            row.name,
        ),
    )


def interval_for(name: str, old: Metric | None, new: Metric | None, comparison: Comparison | None) -> Interval | None:
    """The interval of a metric, if what the predictions give agrees with what the metrics files say.

    A metric of another split or threshold may bear the same name: its interval would mislead.
    """
    if comparison is None or old is None or new is None or old.value is None or new.value is None:
        return None
    for one in comparison.metrics:
        if one.low is None or one.high is None or one.baseline is None or one.current is None:
            continue
        if canonical(name) == one.metric and _close(one.baseline, old.value) and _close(one.current, new.value):
            return one
    return None


def _close(left: float, right: float) -> bool:
    """Equal up to the rounding of metrics files (four digits)."""
    return abs(left - right) <= max(1e-4, 1e-3 * abs(right))


def value_rows(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[ValueRow]:
    """What differs, by name."""
    return [
        ValueRow(name=name, baseline=old.get(name), current=new.get(name))
        for name in sorted({*old, *new})
        if name not in old or name not in new or not _same_value(old[name], new[name])
    ]


def _same_value(left: Any, right: Any) -> bool:
    """`1` and `True` differ, `1` and `1.0` do not."""
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def data_rows(old: Iterable[Dependency], new: Iterable[Dependency]) -> list[DataRow]:
    """Dependencies whose digest differs, by path."""
    before, after = ({one.path: one for one in side} for side in (old, new))
    rows = []
    for path in sorted({*before, *after}):
        left, right = before.get(path), after.get(path)
        if left and right and left.digest == right.digest:
            continue
        known = right or left
        rows.append(
            DataRow(
                path=path,
                kind=known.kind if known else "",
                baseline_digest=left.digest if left else "",
                current_digest=right.digest if right else "",
                baseline_size=left.size if left else None,
                current_size=right.size if right else None,
            )
        )
    return rows
