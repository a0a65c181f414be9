"""One check: read the current data once, count it, judge it against the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from trackside.config.model import DriftPolicy
from trackside.documents.profile import Profile
from trackside.documents.verdict import Verdict, Window
from trackside.drift.exactly import exactly, sortable
from trackside.drift.faults import Keys, Times, gone, zones
from trackside.drift.profile import Known, Side, counted, known, lacking, narrowed, profile_of
from trackside.drift.renamed import likely
from trackside.drift.scan import Progress, Scan, scan
from trackside.drift.segments import segmented
from trackside.drift.together import together
from trackside.drift.verdict import Judged, Sketches, judge, undecided
from trackside.errors import DataError
from trackside.performance.judged import Performed, doubted, perform
from trackside.sketch.column import Sketch
from trackside.sketch.values import kind_of
from trackside.tables.placeholders import fill
from trackside.tables.sources import Data, shown_url
from trackside.tables.table import Table, open_table

if TYPE_CHECKING:
    from trackside.measures.exact import Exact

REFERENCE = ("reference_invalid", "document_invalid")
"""Reasons that are the reference's, so that nothing is said of the current data."""
CANDIDATES = 200
"""New columns that are looked at where one is missing."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is checked: which model against which version, and for which day."""

    model: str
    as_of: str
    checked_at: str
    version: str = ""
    commit: str = ""
    workflow_run: str = ""


@dataclass(frozen=True, kw_only=True)
class How:
    """`exact` sorts the rows of both tables where they are at hand; else sketches are compared, and sorted only where
    they cannot tell.
    """

    exact: bool = True
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True)
class _Compared:
    """Both sides as counted."""

    known: Known
    current: Scan
    exact: Mapping[str, Exact] = field(default_factory=dict)
    segments: Mapping[str, Sketches] = field(default_factory=dict)


def check(
    reference: Profile | Side,
    data: Data | DataError,
    policy: DriftPolicy,
    asked: Asked,
    how: How | None = None,
    *,
    labels: Data | DataError | None = None,
) -> Verdict:
    """The verdict on current data, without its streak; on data that is missing or no table it is `invalid_data`.
    `labels` are what came of gathering those that arrive apart.

    Raises:
        DataError: the reference cannot be used.
    """
    how = how or How()
    in_vain: list[str] = []
    if isinstance(reference, Profile):
        reference, in_vain = narrowed(reference, policy)
        profile = reference
    else:
        profile = Profile(model=reference.model, rows=0, columns=[], source=reference.source, digest=reference.digest)
    in_vain += _left_out(reference, policy)
    current, performed = Scan(rows=0), Performed()
    problem: DataError | None = None
    try:
        if isinstance(data, DataError):
            raise data
        table = open_table(data.files)
        found = _compared(reference, table, policy, how)
        profile, current = found.known.profile, found.current
        if not current.rows:
            why = "the files hold no more than names of columns, or the query finds nothing"
            raise DataError("the current data has no rows", why=why, link="drift.md", reason_code="current_empty")
        if current.rows >= policy.min_rows:
            performed = perform(found.known.profile, table, policy, labels=labels)
        judged = _judged(found, performed, reference, table, policy, how)
    except DataError as error:
        if error.reason_code in REFERENCE:
            raise
        problem = error
        words = ": ".join(part for part in (error.message, error.why) if part)
        judged = Judged(kind="invalid_data", problems=(words,))
    source = data.source if not isinstance(data, DataError) else shown_url(fill(policy.current, asked.as_of))
    reason = judged.reason_code
    if problem is not None and problem.reason_code != "data_invalid":
        reason = problem.reason_code
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
        sensitivity=judged.sensitivity,
        labels=performed.labels,
        doubts=doubted(performed, judged.tests),
        commit=asked.commit,
        workflow_run=asked.workflow_run,
    )


def _left_out(reference: Profile | Side, policy: DriftPolicy) -> list[str]:
    """The reference's columns that no test can look at."""
    known = reference.details.get("left_out") if isinstance(reference, Profile) else list(reference.left_out)
    names = [str(one)[:60] for one in known if one not in policy.ignore] if isinstance(known, list) else []
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return [f"not compared, since nested, binary or empty: {', '.join(names[:10])}{more}"] if names else []


def _compared(reference: Profile | Side, table: Table, policy: DriftPolicy, how: How) -> _Compared:
    if isinstance(reference, Side) and policy.key and policy.key not in {**reference.table.types, **table.types}:
        raise lacking(reference.table, reference.source, policy.key)
    if isinstance(reference, Profile):
        before = known(reference)
    elif how.exact and reference.table.columnar and table.columnar:
        return _sorted(reference, table, policy, how)
    else:
        before = known(counted(reference, policy, progress=how.progress))
    current, segments = observe(table, before, policy, how.progress)
    return _Compared(known=before, current=current, segments=segments)


def _sorted(side: Side, table: Table, policy: DriftPolicy, how: How) -> _Compared:
    """Numbers and dates of both tables pair by pair; everything else is counted."""
    kinds = {name: kind for name, kind in side.kinds.items() if kind is not None}
    chosen = {
        name: kind
        for name, kind in sortable(kinds, [side.table, table]).items()
        if kind_of(table.types[name]) in ({"number": ("number", "boolean")}.get(kind, (kind,)))
    }
    found = exactly(side.table, table, chosen, how.progress)
    rest = {name: kind for name, kind in kinds.items() if name not in chosen}
    times = [Times(policy.time)] if policy.time else []
    counted_rest = scan(side.table, rest, sinks=times, progress=how.progress)
    sketches = {name: found.before.get(name) or counted_rest.columns[name] for name in kinds}
    by = {name: sketches[name] for name in policy.segments if name in sketches}
    profile = profile_of(
        side,
        policy,
        side.table.rows or 0,
        sketches,
        times=times[0] if times else None,
        segments=segmented(side.table, _levels(by), kinds, how.progress) if by else {},
        publish=False,
    )
    before = known(profile, sketches)
    current, segments = observe(table, before, policy, how.progress, already=found.now)
    return _Compared(known=before, current=current, exact=found.exact, segments=segments)


def _levels(sketches: Sketches) -> dict[str, list[str]]:
    from trackside.drift.segments import levels_of

    return {name: levels_of(one) for name, one in sketches.items()}


def observe(
    table: Table,
    before: Known,
    policy: DriftPolicy,
    progress: Progress | None = None,
    *,
    already: Sketches | None = None,
) -> tuple[Scan, dict[str, dict[str, Sketch]]]:
    """Count the profile's columns in current data, in one pass, and look for what is wrong with its rows. Second, the
    columns by segment, in another pass.

    Args:
        already: columns that were counted before.

    Raises:
        DataError: what cannot be read.
    """
    done = dict(already or {})
    faults = [gone(name) for name in (policy.key, policy.time) if name and name not in table.types]
    keys = [Keys(policy.key)] if policy.key and policy.key in table.types else []
    times = [Times(policy.time)] if policy.time and policy.time in table.types else []
    rest = {name: kind for name, kind in before.kinds.items() if name not in done}
    found = scan(table, rest, sinks=[*keys, *times], progress=progress)
    columns = {**done, **found.columns}
    faults += [fault for one in keys for fault in one.faults()]
    faults += [fault for one in times for fault in one.faults(before.profile.details)]
    for name, now in columns.items():
        faults += zones(name, before.reference.columns[name].zones, now.zones)
    by: dict[str, list[str]] = {}
    for segment in before.reference.segments:
        column, _, level = segment.partition("=")
        by.setdefault(column, []).append(level)
    segments = segmented(table, by, {name: one.kind for name, one in columns.items()}, progress) if by else {}
    return replace(found, columns=columns, faults=tuple(dict.fromkeys(faults))), segments


def _judged(
    found: _Compared, performed: Performed, side: Profile | Side, table: Table, policy: DriftPolicy, how: How
) -> Judged:
    """Judge; what the sketches leave open is sorted where the reference's rows are at hand, and judged again."""
    reference, current = found.known.reference, found.current
    exact = dict(found.exact)
    if isinstance(side, Side) and not exact:
        kinds = sortable(found.known.kinds, [side.table, table])
        open_ones = {name: kinds[name] for name in undecided(reference, current, policy) if name in kinds}
        if open_ones:
            exact = dict(exactly(side.table, table, open_ones, how.progress).exact)
    problems = [*renamed(found.known, table, current, policy), *performed.problems]
    others = list(performed.tests)
    if isinstance(side, Side) and policy.multivariate and current.rows >= policy.min_rows:
        features = {name: kind for name, kind in found.known.kinds.items() if reference.roles[name] == "feature"}
        one = together(side.table, table, features, policy.alpha, how.progress)
        others += [one] if one is not None else []
    return judge(
        reference,
        current,
        policy,
        exact=exact,
        segments=found.segments,
        others=others,
        problems=problems,
    )


def renamed(before: Known, table: Table, current: Scan, policy: DriftPolicy) -> list[str]:
    """For every missing column, which new one it may have become."""
    if not current.absent:
        return []
    new = {
        name: kind_of(kind)
        for name, kind in table.types.items()
        if name not in before.kinds and name not in policy.ignore and kind_of(kind) is not None
    }
    few = dict(list(new.items())[:CANDIDATES])
    candidates = scan(table, dict.fromkeys(few) if table.loose else few).columns
    words = []
    for name in current.absent:
        other = likely(name, before.reference.columns[name], candidates)
        if other:
            words.append(f"{name} may have been renamed: the current data has {other}, which the reference lacks")
    return words
