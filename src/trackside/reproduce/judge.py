"""Outputs, metrics and stages of a run against those of the same run trained again. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from trackside.config.model import MetricPolicy
from trackside.documents.reproduction import MetricAgain, OutputAgain, StageAgain, Verdict
from trackside.documents.run import Metric, Run
from trackside.plan.pipeline import ResolvedStage


@dataclass(frozen=True, kw_only=True)
class Judged:
    """`verdict` and the rows that it rests on."""

    verdict: Verdict
    outputs: list[OutputAgain]
    metrics: list[MetricAgain]
    stages: list[StageAgain]

    @property
    def origins(self) -> list[str]:
        return [one.name for one in self.stages if one.origin]


def judge(
    recorded: Run, again: Run, policies: Sequence[MetricPolicy] = (), stages: Sequence[ResolvedStage] = ()
) -> Judged:
    """Hold a run against the record.

    It is `identical` when every recorded output has the same bytes; `within_tolerance` when bytes differ, no output is
    missing, the policy names metrics, and each of them is within its tolerance in either direction.

    Args:
        policies: which metrics decide, and by how much they may be off.
        stages: of the pipeline, in the order in which they run.
    """
    outputs = _outputs(recorded, again)
    metrics = _metrics(recorded, again, policies)
    judged = [one.status for one in metrics if one.tolerance is not None]
    counted = [one.status for one in outputs if one.status != "added"]
    verdict: Verdict = "differs"
    if counted and set(counted) == {"identical"}:
        verdict = "identical"
    elif judged and "differs" not in judged and "missing" not in counted:
        verdict = "within_tolerance"
    return Judged(verdict=verdict, outputs=outputs, metrics=metrics, stages=_stages(recorded, again, outputs, stages))


def _outputs(recorded: Run, again: Run) -> list[OutputAgain]:
    then = {one.path: one for one in recorded.artifacts}
    now = {one.path: one for one in again.artifacts}
    made = []
    for path, old in then.items():
        new = now.get(path)
        made.append(
            OutputAgain(
                path=path,
                role=old.role,
                status="missing" if new is None else "identical" if new.digest == old.digest else "differs",
                recorded=old.digest,
                again=new.digest if new else "",
                recorded_size=old.size,
                size=new.size if new else 0,
            )
        )
    made += [
        OutputAgain(path=path, role=new.role, status="added", again=new.digest, size=new.size)
        for path, new in now.items()
        if path not in then
    ]
    return made


def _metrics(recorded: Run, again: Run, policies: Sequence[MetricPolicy]) -> list[MetricAgain]:
    """Those of the policy first, in its order; then what else either run has."""
    then = {(one.file, one.name): one for one in recorded.metrics}
    now = {(one.file, one.name): one for one in again.metrics}
    tolerances = {(one.file, one.name): one.tolerance for one in policies}
    return [
        _metric(key, then.get(key), now.get(key), tolerances.get(key))
        for key in dict.fromkeys([*tolerances, *then, *now])
    ]


def _metric(key: tuple[str, str], old: Metric | None, new: Metric | None, tolerance: float | None) -> MetricAgain:
    """A metric that both runs have as NaN is the same; one that only one run has differs."""
    recorded, again = old.value if old else None, new.value if new else None
    difference = again - recorded if recorded is not None and again is not None else None
    row = MetricAgain(
        name=key[1],
        file=key[0],
        status="identical",
        recorded=recorded,
        again=again,
        difference=difference,
        tolerance=tolerance,
    )
    if old is not None and new is not None and recorded == again:
        return row
    if tolerance is None:
        return msgspec.structs.replace(row, status="not_judged")
    off = abs(difference) if difference is not None else math.inf
    close = off <= tolerance or math.isclose(off, tolerance)
    return msgspec.structs.replace(row, status="within_tolerance" if close else "differs")


def _stages(
    recorded: Run, again: Run, outputs: Sequence[OutputAgain], stages: Sequence[ResolvedStage]
) -> list[StageAgain]:
    then = {one.name: one for one in recorded.stages}
    now = {one.name: one for one in again.stages}
    status = {one.path: one.status for one in outputs if one.status != "added"}
    same: dict[str, bool | None] = {}
    made = []
    for stage in stages:
        known = [status[path] for path in (*stage.outs, *stage.metrics, *stage.plots) if path in status]
        same[stage.name] = all(one == "identical" for one in known) if known else None
        origin = same[stage.name] is False and all(same.get(name) is True for name in stage.upstream)
        old, new = then.get(stage.name), now.get(stage.name)
        made.append(
            StageAgain(
                name=stage.name,
                outcome=new.outcome if new else "not_run",
                seconds=new.seconds if new else 0.0,
                recorded_seconds=old.seconds if old and old.outcome == "executed" else 0.0,
                same=same[stage.name],
                origin=origin,
            )
        )
    return made
