"""One check: read the current data once, count it against the reference, judge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trackside.config.model import DriftPolicy
from trackside.documents.profile import Column, Profile
from trackside.documents.verdict import Verdict, Window
from trackside.drift.columns import Observed, kind_of
from trackside.drift.performance import Measured, measured, pairs
from trackside.drift.placeholders import fill
from trackside.drift.profile import narrowed
from trackside.drift.sources import Data, shown_url
from trackside.drift.tables import Table, open_table
from trackside.drift.verdict import REASONS, Current, Judged, judge
from trackside.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is checked: which model against which version, and for which day."""

    model: str
    as_of: str
    checked_at: str
    version: str = ""
    commit: str = ""
    workflow_run: str = ""


def check(profile: Profile, data: Data | DataError, policy: DriftPolicy, asked: Asked) -> Verdict:
    """The verdict on current data, without its streak; on data that is missing or no table it is `invalid_data`."""
    profile, in_vain = narrowed(profile, policy)
    problem: DataError | None = None
    current = Current(rows=0)
    judged = Judged(kind="invalid_data")
    reason = ""
    try:
        if isinstance(data, DataError):
            raise data
        table = open_table(data.files)
        current = observe(table, profile)
        judged = judge(profile, current, policy, _performance(table, profile, current))
        reason = judged.reason_code
    except DataError as error:
        problem = error
        words = ": ".join(part for part in (error.message, error.why) if part)
        judged = Judged(kind="invalid_data", problems=(words,))
        reason = error.reason_code if error.reason_code != "data_invalid" else REASONS["invalid_data"]
    source = data.source if not isinstance(data, DataError) else shown_url(fill(policy.current, asked.as_of))
    return Verdict(
        model=asked.model,
        verdict=judged.kind,
        reason_code=reason,
        as_of=asked.as_of,
        checked_at=asked.checked_at,
        reference=Window(source=profile.source, rows=profile.rows, digest=profile.digest, version=asked.version),
        current=Window(
            source=source,
            rows=0 if problem else current.rows,
            digest="" if isinstance(data, DataError) else data.digest,
        ),
        tests=list(judged.tests),
        problems=[*judged.problems, *in_vain],
        moved=list(judged.moved),
        shapes=dict(judged.shapes),
        commit=asked.commit,
        workflow_run=asked.workflow_run,
    )


def observe(table: Table, profile: Profile) -> Current:
    """Count the profile's columns in current data: one pass. Raises DataError for what cannot be read."""
    absent = tuple(one.name for one in profile.columns if one.name not in table.types)
    retyped = {}
    for one in profile.columns:
        if one.name not in absent and not _comparable(one, table):
            retyped[one.name] = str(table.types[one.name])
    columns = {one.name: _empty(one) for one in profile.columns if one.name not in absent and one.name not in retyped}
    rows = 0
    names = list(columns) or list(table.types)[:1]
    for batch in table.batches(names):
        size = max((len(array) for array in batch.values()), default=0)
        rows += size
        for name, seen in columns.items():
            if name in batch:
                seen.add(batch[name])
            else:
                seen.add_absent(size)
    return Current(rows=rows, columns=columns, absent=absent, retyped=retyped)


def _empty(column: Column) -> Observed:
    return Observed(
        kind=column.type,
        edges=np.asarray(column.edges, dtype=np.float64) if column.edges else None,
        known=frozenset(column.levels) if column.type in ("category", "boolean") else None,
    )


def _comparable(column: Column, table: Table) -> bool:
    """Whether values can be of the reference's kind. Text of a CSV file is told by its values; nulls are any kind."""
    found = table.types[column.name]
    if table.loose or str(found) == "null":
        return True
    kind = kind_of(found)
    if column.type == "boolean":
        return kind in ("boolean", "number")
    if column.type == "number":
        return kind in ("number", "boolean")
    return kind == column.type


def _performance(table: Table, profile: Profile, current: Current) -> Measured | None:
    """The reference's metrics on current rows that have a label; None where there are no labels yet."""
    names = {one.role: one.name for one in profile.columns}
    label, score = names.get("label", ""), names.get("prediction", "")
    if not profile.metrics or any(one not in current.columns for one in (label, score)):
        return None
    if not current.columns[label].finite:
        return None
    positive = profile.details.get("positive")
    return measured(pairs(table, label=label, score=score), positive=positive if isinstance(positive, str) else None)
