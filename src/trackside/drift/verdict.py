"""Sketches → verdict, pure: which tests alarm, what kind each alarm is, and the worst of them.

A test alarms when its effect is surely larger than the least that matters: the lower bound of its interval is above
that threshold, *and* the q-value (Benjamini & Hochberg over all columns) of "no larger than the threshold" is below
alpha. Large samples do not cry over trifles, small ones not over chance, and many columns not by their number. Nothing
depends on the number of rows but how wide the intervals are, so no row more or less changes the rule.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from trackside.config.model import DriftPolicy
from trackside.documents.verdict import Heading, Kind, Test
from trackside.drift.sentences import sentence, unnoticed
from trackside.drift.shapes import COLUMNS, shape
from trackside.measures.chance import benjamini_hochberg
from trackside.measures.found import Found
from trackside.measures.table import TESTS, Row, groups
from trackside.sketch.column import Sketch

if TYPE_CHECKING:
    from trackside.drift.scan import Scan
    from trackside.measures.exact import Exact

Role = Literal["feature", "prediction", "label"]
Sketches = Mapping[str, Sketch]

ORDER: tuple[Kind, ...] = ("ok", "warning", "drift", "insufficient_data", "invalid_data")
"""From best to worst."""
REASONS: Mapping[Kind, str] = {
    "ok": "drift_none",
    "warning": "drift_warning",
    "drift": "drift_found",
    "insufficient_data": "drift_insufficient",
    "invalid_data": "drift_invalid",
}
EFFECTIVE_ROWS = 1000
"""Rows n·m / (n + m) of both sides below which p-values are raised in proportion."""
HEADINGS: Mapping[Role, Heading] = {"feature": "features", "prediction": "prediction", "label": "target"}
LATER = ("missing", "range")
"""What says nothing of labels, which arrive later: not all are there yet."""
OF_SEGMENTS = ("new levels", "vanished")
"""Quality tests that are also made within a segment: what is known elsewhere may be new there."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What current data is compared with: `columns` by name with their roles; `segments` are the same of the rows that
    a segment (`carrier=UA`) has. `importance` is the model's own, by feature, in any unit.
    """

    columns: Sketches
    roles: Mapping[str, Role]
    segments: Mapping[str, Sketches] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)

    def weight(self, column: str) -> float | None:
        """A feature's share of the model's importance, 0 to 1; None where the model tells none of its features."""
        total = sum(abs(value) for value in self.importance.values())
        if not total or self.roles.get(column, "feature") != "feature":
            return None
        return abs(self.importance.get(column, 0.0)) / total


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a verdict document is filled with. `sensitivity` says what could not have been seen."""

    kind: Kind
    tests: tuple[Test, ...] = ()
    problems: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    shapes: Mapping[str, Any] = field(default_factory=dict)
    sensitivity: str = ""

    @property
    def reason_code(self) -> str:
        return REASONS[self.kind]


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """One column, whole or of a segment."""

    name: str
    role: Role
    before: Sketch
    now: Sketch
    segment: str = ""
    exact: Exact | None = None


def judge(
    reference: Reference,
    current: Scan,
    policy: DriftPolicy,
    *,
    exact: Mapping[str, Exact] | None = None,
    segments: Mapping[str, Sketches] | None = None,
    others: Sequence[Test] = (),
    problems: Sequence[str] = (),
    brief: bool = False,
) -> Judged:
    """All tests of current data against a reference.

    Args:
        exact: statistics of the rows themselves, by column, where both tables were at hand.
        segments: current columns by segment; those the reference lacks are left out.
        others: tests of the same family from elsewhere: metrics, their estimates.
        problems: what to tell beside.
        brief: leave out what judges nothing: figures that are only shown, and shapes.
    """
    enough = current.rows >= policy.min_rows
    said = list(problems)
    tests = [_fault(one) for one in current.faults]
    for name, before in reference.columns.items():
        broken = _structure(name, reference.roles[name], before, current)
        tests += [broken] if broken is not None else []
    if enough:
        pairs = list(_pairs(reference, current, exact or {}, segments or {}))
        said += [words for pair in pairs if (words := _few(pair, policy))]
        tests += [*_tested(pairs, reference, policy, brief=brief), *others]
    else:
        said.append(f"{current.rows:,} rows; at least {policy.min_rows:,} are needed")
    decided = _decided(tests, policy.alpha)
    kinds: list[Kind] = ["ok" if enough else "insufficient_data", *(test.kind for test in decided)]
    if not reference.columns:
        kinds.append("invalid_data")
        said.append("there is no column that can be compared")
    return Judged(
        kind=max(kinds, key=ORDER.index),
        tests=tuple(test for test in decided if _says(test)),
        problems=tuple(said),
        moved=_moved(decided),
        shapes=_shapes(reference, current, decided) if enough and not brief else {},
        sensitivity=_sensitivity(decided, current.rows),
    )


def undecided(reference: Reference, current: Scan, policy: DriftPolicy) -> tuple[str, ...]:
    """Columns of which the sketches cannot tell whether a test alarms, since what they hide may tip it."""
    found = []
    if current.rows >= policy.min_rows:
        for pair in _pairs(reference, current, {}, {}):
            for row in _rows(pair, policy):
                one = row.function(pair.before, pair.now, 1 - policy.alpha, None)
                if one is None or row.threshold is None:
                    continue
                threshold = _threshold(row, pair, policy)
                hidden = one.certain[1] - one.certain[0]
                if hidden > 0 and one.low <= threshold < one.low + hidden:
                    found.append(pair.name)
    return tuple(dict.fromkeys(found))


def _fault(one: Any) -> Test:
    return _broken(one.column, one.test, one.words, one.kind)


def _broken(column: str, test: str, words: str, kind: Kind = "invalid_data") -> Test:
    return Test(heading="data_quality", column=column, test=test, effect=None, alarm=True, kind=kind, sentence=words)


def _structure(name: str, role: Role, before: Sketch, current: Scan) -> Test | None:
    """A column that cannot be compared at all. A label may be missing: it arrives later."""
    if name in current.retyped:
        words = f"a {before.kind} in the reference, {current.retyped[name]} in the current data"
        return _broken(name, "type", words)
    if role == "label":
        return None
    if name in current.absent:
        return _broken(name, "present", "no such column in the current data")
    now = current.columns.get(name)
    if now is None or not now.rows or now.missing < now.rows or before.missing == before.rows:
        return None
    if now.wrong:
        return _broken(name, "type", f"no value is a {before.kind}")
    return _broken(name, "present", f"not one of {now.rows:,} rows has a value")


def _pairs(
    reference: Reference, current: Scan, exact: Mapping[str, Exact], segments: Mapping[str, Sketches]
) -> Iterator[_Pair]:
    for name, before in reference.columns.items():
        if name in current.columns and _structure(name, reference.roles[name], before, current) is None:
            yield _Pair(
                name=name,
                role=reference.roles[name],
                before=before,
                now=current.columns[name],
                exact=exact.get(name),
            )
    for segment, columns in segments.items():
        for name, now in columns.items():
            known = reference.segments.get(segment, {}).get(name)
            if known is not None and name in reference.roles:
                yield _Pair(name=name, role=reference.roles[name], before=known, now=now, segment=segment)


def _few(pair: _Pair, policy: DriftPolicy) -> str:
    """Why a distribution is not compared."""
    if pair.segment or (pair.role == "label" and not pair.now.finite):
        return ""
    if pair.now.finite < policy.min_rows:
        if pair.role == "label":
            return f"{pair.name}: {pair.now.finite:,} labels so far; at least {policy.min_rows:,} are needed"
        return f"{pair.name}: {pair.now.finite:,} values are too few to compare their distribution"
    return ""


def _rows(pair: _Pair, policy: DriftPolicy) -> list[Row]:
    """The tests of a column: by its type, and whether it is of a few values only."""
    groups_of = groups(pair.before)
    few = pair.now.finite < policy.min_rows
    return [
        row
        for row in TESTS
        if groups_of & frozenset(row.applies)
        and not (few and not row.quality)
        and not (pair.role == "label" and row.name in LATER)
        and not (pair.segment and row.quality and row.name not in OF_SEGMENTS)
    ]


def _threshold(row: Row, pair: _Pair, policy: DriftPolicy) -> float:
    """A column's own threshold is that of its first test, in whose unit it is given; the other's moves along."""
    own = row.threshold or 0.0
    if (given := policy.thresholds.get(f"{pair.name}:{row.name}")) is not None:
        return given
    if row.quality or (given := policy.thresholds.get(pair.name)) is None:
        return own
    first = next(one.threshold for one in TESTS if not one.quality and groups(pair.before) & frozenset(one.applies))
    return given * own / (first or own)


def _tested(pairs: Sequence[_Pair], reference: Reference, policy: DriftPolicy, *, brief: bool) -> list[Test]:
    """Every test that judges; the first of a column's distribution carries the figures of those that do not."""
    rows = [(pair, _rows(pair, policy)) for pair in pairs]
    family = {
        quality: max(1, sum(row.judges and row.quality == quality for _, some in rows for row in some))
        for quality in (True, False)
    }
    made: list[Test] = []
    for pair, some in rows:
        begin = len(made)
        shown: dict[str, float] = {}
        for row in some:
            if (pair.segment or brief) and not row.judges:
                continue
            found = row.function(pair.before, pair.now, 1 - policy.alpha, pair.exact)
            if found is None:
                continue
            if not row.judges:
                shown[row.name] = _short(found.effect)
                continue
            made.append(
                _test(row, pair, found, policy, policy.alpha / family[row.quality], reference.weight(pair.name))
            )
        for at in range(begin, len(made)):
            if made[at].heading != "data_quality":
                made[at] = msgspec.structs.replace(made[at], extra={**shown, **made[at].extra})
                break
    return made


def _prudence(row: Row, pair: _Pair) -> float:
    """What a p-value is divided by, continuous in the rows. In large samples the threshold keeps chance out; in small
    ones it lies within the noise, and `alpha` alone would let one unchanged check in a hundred alarm.
    """
    n, m = (pair.before.rows, pair.now.rows) if row.quality else (pair.before.finite, pair.now.finite)
    return min(1.0, n * m / (max(1, n + m) * EFFECTIVE_ROWS)) or 1.0


def _test(row: Row, pair: _Pair, found: Found, policy: DriftPolicy, tail: float, weight: float | None) -> Test:
    threshold = _threshold(row, pair, policy)
    oriented = found if row.rises or found.effect >= 0 else _mirrored(found)
    prudence = _prudence(row, pair)
    least = row.detect(pair.before, pair.now, threshold, tail * prudence) if row.detect is not None else None
    return Test(
        heading="data_quality" if row.quality else HEADINGS[pair.role],
        column=pair.name,
        test=row.name,
        effect=_finite(oriented.effect),
        low=_finite(oriented.low),
        high=_finite(oriented.high),
        threshold=threshold,
        p_value=min(1.0, found.beyond(threshold) / prudence) if oriented.effect > 0 else 1.0,
        alarm=oriented.low > threshold and (row.floor is None or found.extra.get(row.floor[0], 0.0) >= row.floor[1]),
        kind=_kind_of(row),
        sentence=sentence(row.name, pair.before, pair.now, found),
        unit=row.unit,
        extra={name: _short(value) for name, value in found.extra.items()},
        detectable=None if least is None else _short(least),
        weight=None if weight is None else _short(weight),
        segment=pair.segment,
    )


def _kind_of(row: Row) -> Kind:
    """Broken pipelines are no drift: retraining on their data would make things worse."""
    if not row.quality:
        return "drift"
    return "invalid_data" if row.invalid else "warning"


def _mirrored(found: Found) -> Found:
    return replace(found, effect=-found.effect, low=-found.high, high=-found.low)


def _short(value: float) -> float:
    return _finite(float(f"{value:.6g}"))


def _finite(value: float) -> float:
    """As JSON can hold it: columns of the largest numbers are infinitely far apart."""
    return max(-sys.float_info.max, min(sys.float_info.max, value))


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
        found = benjamini_hochberg([tests[at].p_value or 0.0 for at in family])
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


def _strength(test: Test) -> float:
    """How many times over a test's effect surely matters; of a column that cannot be judged, more than any."""
    if test.effect is None:
        return float("inf")
    low = test.low or 0.0
    return low / test.threshold if test.threshold else low


def _moved(tests: Sequence[Test]) -> tuple[str, ...]:
    """Columns that alarmed: the graver first, then those that the model relies on, then the stronger.

    A column's strength counts by its share of the model's importance, where that is known; what is no feature counts
    in full.
    """
    rank: dict[str, tuple[int, float]] = {}
    for test in tests:
        if test.alarm:
            key = (ORDER.index(test.kind), _strength(test) * (1.0 if test.weight is None else test.weight))
            rank[test.column] = max(key, rank.get(test.column, key))
    return tuple(sorted(rank, key=lambda name: (-rank[name][0], -rank[name][1], name)))


def _shapes(reference: Reference, current: Scan, tests: Sequence[Test]) -> dict[str, Any]:
    """Those that alarmed first, then by strength."""
    rank: dict[str, tuple[bool, float, float]] = {}
    for test in tests:
        if test.heading in HEADINGS.values() and not test.segment and test.column in reference.columns:
            key = (test.alarm, _strength(test), test.effect or 0.0)
            rank[test.column] = max(key, rank.get(test.column, key))
    made: dict[str, Any] = {}
    for name in sorted(rank, key=lambda one: rank[one], reverse=True)[:COLUMNS]:
        found = shape(reference.columns[name], current.columns[name])
        if found:
            made[name] = found
    return made


def _sensitivity(tests: Sequence[Test], rows: int) -> str:
    """By the least sensitive column of each kind, in words."""

    def most(name: str) -> float | None:
        found = [one.detectable for one in tests if one.test == name and not one.segment and one.detectable is not None]
        return max(found, default=None)

    return unnoticed(rows, most("wasserstein"), most("chi2"), most("missing"))
