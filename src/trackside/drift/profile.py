"""The reference, once and for all: what a drift check needs to know of the table that a model was judged on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from trackside.config.model import DriftPolicy
from trackside.documents.profile import Column, Profile
from trackside.drift.columns import (
    BINS,
    SAMPLE,
    Floats,
    Kind,
    Observed,
    edges_of,
    finite_of,
    kind_of,
    numbers,
    texts_of,
)
from trackside.drift.tables import Table, open_table
from trackside.drift.tests import METRICS
from trackside.errors import DataError
from trackside.system.files import sha256_of

MAX_BYTES = 32 * 1024 * 1024
"""A profile larger than this is refused: some 2,000 columns of numbers."""

METRIC_NAMES = frozenset(row.name for row in METRICS)
_INDEX = re.compile(r"__index_level_\d+__")
"""How pandas stores row numbers: they are no feature."""

Role = Literal["feature", "prediction", "label"]


def build(path: Path, policy: DriftPolicy, model: str) -> Profile:
    """The profile of a reference table, read in two passes with bounded memory.

    `policy` names the columns: `features` (empty: all others), `ignore`, `prediction`, `label`. The metrics of the
    reference come from its label and prediction, where it has both.

    Raises:
        DataError: not a table, no rows, or a named column is missing.
    """
    table = open_table([path])
    roles = roles_of(table.types, policy)
    missing = [name for name in roles if name not in table.types]
    if missing:
        raise DataError(
            f"the reference {path.name} has no column {missing[0][:100]!r}",
            why="columns: " + ", ".join(sorted(table.types))[:300],
            remedy="correct models.<name>.drift in trackside.yaml",
            link="drift.md",
            reason_code="reference_invalid",
        )
    kinds = _kinds(table, list(roles))
    left_out = sorted(name for name, kind in kinds.items() if kind is None)
    chosen = {name: kind for name, kind in kinds.items() if kind is not None}
    columns = _columns(table, chosen, roles)
    rows = columns[0].count if columns else 0
    if not rows:
        raise DataError(
            f"the reference {path.name} has no rows to compare with", link="drift.md", reason_code="reference_invalid"
        )
    details: dict[str, Any] = {"left_out": left_out} if left_out else {}
    metrics: dict[str, float] = {}
    if policy.prediction and policy.label:
        from trackside.drift.performance import measured, pairs

        found = measured(pairs(table, label=policy.label, score=policy.prediction))
        metrics = {name: one.value for name, one in found.metrics.items()}
        details |= {"metric_errors": {name: one.error for name, one in found.metrics.items()}} if metrics else {}
        details |= {"metric_rows": found.rows, "positive": found.positive} if metrics else {}
        details |= {"metrics_note": found.note} if found.note else {}
    return Profile(
        model=model,
        rows=rows,
        columns=columns,
        source=policy.reference,
        digest=sha256_of(path),
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
    features = policy.features or [name for name in names if name not in special and not _INDEX.fullmatch(name)]
    made: dict[str, Role] = {name: "feature" for name in features if name not in policy.ignore and name not in special}
    return made | special


def narrowed(profile: Profile, policy: DriftPolicy) -> tuple[Profile, list[str]]:
    """The profile as today's policy wants it: what it ignores by now is left out. Second, what it names in vain."""
    kept = [
        one
        for one in profile.columns
        if one.role != "feature"
        or (one.name not in policy.ignore and (not policy.features or one.name in policy.features))
    ]
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
    return msgspec.structs.replace(profile, columns=kept), words


def _kinds(table: Table, names: Sequence[str]) -> dict[str, Kind | None]:
    """By Arrow's types; of a text file by all of its values, read once more."""
    if not table.loose:
        return {name: kind_of(table.types[name]) for name in names}
    left: dict[str, list[Kind]] = {name: ["boolean", "number", "datetime"] for name in names}
    seen: set[str] = set()
    for batch in table.batches(names):
        for name, array in batch.items():
            if array.null_count < len(array):
                seen.add(name)
                left[name] = [kind for kind in left[name] if not _strangers(array, kind)]
    return {name: (left[name] or ["category"])[0] if name in seen else None for name in names}


def _strangers(array: Any, kind: Kind) -> bool:
    """Whether a text column holds values that are not of a kind; 0 and 1 alone are numbers."""
    if kind == "boolean":
        return texts_of(array, boolean=True)[1] > 0 or numbers(array)[1] == 0
    if kind == "number":
        return numbers(array)[1] > 0
    seen = Observed(kind="datetime")
    seen.add(array)
    return seen.wrong > 0


@dataclass
class _Sample:
    """Every n-th finite value, n doubling as the column grows; and all values while they are few."""

    stride: int = 1
    offset: int = 0
    parts: list[Floats] = field(default_factory=list)
    size: int = 0
    values: Floats | None = field(default_factory=lambda: np.zeros(0))
    low: float = np.inf
    high: float = -np.inf

    def add(self, array: Any) -> None:
        finite = finite_of(numbers(array)[0])
        if not finite.size:
            return
        self.low, self.high = min(self.low, float(finite.min())), max(self.high, float(finite.max()))
        if self.values is not None:
            values = np.union1d(self.values, finite)
            self.values = values if values.size <= BINS else None
        kept = finite[self.offset :: self.stride]
        self.offset = (self.offset - finite.size) % self.stride
        self.parts.append(kept)
        self.size += kept.size
        if self.size > 2 * SAMPLE:
            whole = np.concatenate(self.parts)[::2]
            self.offset += 0 if self.size % 2 == 0 else self.stride
            self.stride *= 2
            self.parts, self.size = [whole], whole.size

    def edges(self) -> Floats | None:
        if not self.size:
            return None
        return edges_of(self.values if self.values is not None else np.concatenate(self.parts), self.low, self.high)


def _columns(table: Table, kinds: dict[str, Kind], roles: dict[str, Role]) -> list[Column]:
    samples = {name: _Sample() for name, kind in kinds.items() if kind == "number"}
    if samples:
        for batch in table.batches(list(samples)):
            for name, array in batch.items():
                samples[name].add(array)
    seen = {
        name: Observed(kind=kind, edges=samples[name].edges() if kind == "number" else None)
        for name, kind in kinds.items()
    }
    for batch in table.batches(list(seen)):
        for name, array in batch.items():
            seen[name].add(array)
    made = []
    for name, one in seen.items():
        found = samples[name].values if name in samples else None
        distinct = 0 if name not in samples else int(found.size) if found is not None else -1
        made.append(one.column(name, roles[name], distinct=distinct))
    return made
