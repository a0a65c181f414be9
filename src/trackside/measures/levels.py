"""Categories: Pearson's χ² of two samples, levels that came or went, and what else is told of counts by level."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from trackside.measures.chance import non_centrality, proportions, upper_tail
from trackside.measures.found import Found
from trackside.sketch.column import Sketch
from trackside.sketch.levels import LEAST_COUNT, named_as
from trackside.sketch.numbers import Floats

if TYPE_CHECKING:
    from trackside.measures.exact import Exact

LEAST_EXPECTED = 5.0
"""Cells of a table of counts that expect fewer are counted together (Cochran 1954)."""
FEW = 20
"""Numbers of no more distinct values are compared value by value, as categories are."""


CLEAR = 20
"""Of columns with too many levels to name, those count alone that have so many times the rows of any that is not named.
Which of the others are named is chance: compared by name, they all would fall back to their mean.
"""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Both columns by level: `names` (k,) of the union, the reference's first, their rows `before` and `now` (k,), and
    how many rows of either side are of levels that are not named.
    """

    names: tuple[str, ...]
    before: Floats
    now: Floats
    rest_before: float
    rest_now: float


def few_values(one: Sketch) -> bool:
    """Whether a column of numbers is one of a few values only, such as 0 and 1."""
    return one.numbers is not None and one.numbers.exact and 0 < one.numbers.keys.size <= FEW


def by_level(one: Sketch) -> tuple[Mapping[str, int], int]:
    """Counts by level and those of no named one; of numbers every value is a level."""
    if one.numbers is not None:
        values = one.numbers.lower if one.numbers.exact else np.zeros(0)
        named = {repr(float(value)): int(count) for value, count in zip(values, one.numbers.counts, strict=False)}
        return named, one.numbers.count - sum(named.values())
    if one.levels is None:
        return {}, 0
    return one.levels.counts, one.levels.rest


_last: list[tuple[Sketch, Sketch, Counts | None]] = []


def counts(before: Sketch, now: Sketch) -> Counts | None:
    """Both sides by level; None where either has no values. Rare levels published by digest are known again.

    All tests of a column ask for the same counts, one after the other, so the last ones are kept.
    """
    for one, two, made in _last[-1:]:
        if one is before and two is now:
            return made
    made = _counts(before, now)
    _last[:] = [(before, now, made)]
    return made


def _counts(before: Sketch, now: Sketch) -> Counts | None:
    known, rest = by_level(before)
    hidden = now.levels is not None and any(name.startswith("~") for name in known)
    seen, unnamed = by_level(replace(now, levels=named_as(now.levels, known)) if hidden and now.levels else now)
    found = {name: float(count) for name, count in seen.items()}
    bound = sum(one.levels.bound for one in (before, now) if one.levels is not None)
    if bound:
        known, rest, found, unnamed = _clear(known, rest, found, unnamed, bound)
    new = [name for name in found if name not in known]
    if rest:  # a level of the reference that is not named may be any of them
        unnamed += int(sum(found.pop(name) for name in new))
        new = []
    names = (*known, *new)
    made = Counts(
        names=names,
        before=np.array([float(known.get(name, 0)) for name in names]),
        now=np.array([float(found.get(name, 0.0)) for name in names]),
        rest_before=float(rest),
        rest_now=float(unnamed),
    )
    return made if made.before.sum() + rest and made.now.sum() + unnamed else None


def _clear(
    known: Mapping[str, int], rest: int, found: Mapping[str, float], unnamed: int, bound: int
) -> tuple[dict[str, int], int, dict[str, float], int]:
    """The levels that no chance named, and how many rows have others, of both sides."""
    total, other = sum(known.values()) + rest, sum(found.values()) + unnamed
    least = CLEAR * (bound + 1)
    kept = {name: count for name, count in known.items() if count > least}
    left = total - sum(kept.values())
    for name, count in found.items():  # of a level that is frequent now and was not named, `bound` rows at most were
        if name not in kept and total and count > least * max(1.0, other / total):
            kept[name] = min(known.get(name, bound), left)
            left -= kept[name]
    seen = {name: count for name, count in found.items() if name in kept}
    return kept, left, seen, round(other - sum(seen.values()))


def mostly_rare(one: Sketch) -> bool:
    """Names and ids: most values are of rare levels, so that new ones are no news."""
    named, rest = by_level(one)
    return 2 * (rest + sum(count for count in named.values() if count < LEAST_COUNT)) > sum(named.values()) + rest


def unseen(before: Counts) -> tuple[float, float]:
    """Share of rows of levels that a sample like the reference leaves unseen, and an effective number of rows for it.

    Good & Turing's estimate (Good 1953), singles by rows, with Esty's variance (1983); of the levels that are not
    named nobody knows the counts, so all of their rows may be singles.
    """
    n = float(before.before.sum()) + before.rest_before
    singles = float((before.before == 1).sum()) + before.rest_before
    pairs = float((before.before == 2).sum())
    share = singles / n
    variance = (share * (1 - share) + 2 * pairs / n) / n
    return share, min(n, share * (1 - share) / variance) if 0 < share < 1 else n


def new_levels(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Share of rows of levels that the reference lacks, less the share that its like lacks by chance."""
    del exact
    found = counts(before, now)
    if found is None or mostly_rare(before):
        return None
    share, rows = unseen(found)
    new = float(found.now[found.before == 0].sum()) + found.rest_now
    return proportions(share * rows, rows, new, float(found.now.sum()) + found.rest_now, level)


def vanished(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """The reference's largest level that no current row has: its share, less what it may be by now."""
    del exact
    found = counts(before, now)
    if found is None:
        return None
    gone = found.before[found.now == 0]
    n, m = float(found.before.sum()) + found.rest_before, float(found.now.sum()) + found.rest_now
    largest = float(gone.max(initial=0.0))
    hidden = min(now.levels.bound, found.rest_now) if now.levels is not None else 0.0
    one = proportions(hidden, m, largest, n, level)
    tried = max(1, int((found.before >= largest).sum()))
    return Found(
        effect=one.effect,
        low=one.low if largest else 0.0,
        high=one.high,
        beyond=lambda least: min(1.0, tried * one.beyond(least)) if largest else 1.0,
        certain=one.certain,
        extra={"before": float(gone.sum()) / n, "now": 0.0},
    )


def pooled(before: Floats, now: Floats) -> tuple[Floats, Floats]:
    """Both rows of the table of counts with its rare columns counted as one; order does not matter to any statistic."""
    total = before.sum() + now.sum()
    expected = (before + now) * min(before.sum(), now.sum()) / total
    rare = expected < LEAST_EXPECTED
    if rare.any() and expected[rare].sum() < LEAST_EXPECTED and not rare.all():
        rare[np.flatnonzero(~rare)[np.argmin(expected[~rare])]] = True
    if rare.any():
        before = np.append(before[~rare], before[rare].sum())
        now = np.append(now[~rare], now[rare].sum())
    return before, now


def comparable(found: Counts) -> tuple[Floats, Floats]:
    """Counts by level, those of no named level last; of new levels no more rows than chance brings.

    More new levels are told by a test of their own, and are no reason to retrain before someone has looked.
    """
    share, rows = unseen(found)
    m = float(found.now.sum()) + found.rest_now
    new = found.before == 0
    fresh = float(found.now[new].sum())
    cap = m * (share + 3 * math.sqrt(max(share * (1 - share), 1 / rows) / rows))
    now = np.where(new, found.now * min(1.0, cap / fresh), found.now) if fresh else found.now
    return np.append(found.before, found.rest_before), np.append(now, found.rest_now)


def chi_square(before: Sketch, now: Sketch, level: float, exact: Exact | None) -> Found | None:
    """Cohen's w of two random samples of categories: √(χ² / (nm / (n + m))), less what chance adds.

    χ² is Pearson's of the 2 x k table with rare levels pooled; its non-centrality has an exact interval, by which w
    has one. Unlike Cramér's V, w does not depend on the samples' sizes; of equal ones it is 2 V. `moved` is the share
    of rows that surely have another level: the total variation, less what chance adds at most.
    """
    del exact
    found = counts(before, now)
    if found is None or mostly_rare(before):
        return None
    every_before, every_now = comparable(found)
    if not every_now.sum():
        return None
    one, two = pooled(every_before, every_now)
    n, m = float(one.sum()), float(two.sum())
    share = n * m / (n + m)
    together = (one + two) / (n + m)
    statistic = float((share * (two / m - one / n) ** 2 / together).sum())
    freedom = one.size - 1
    half = float(np.abs(two / m - one / n).sum()) / 2
    # What chance alone adds: half the sum of |N(0, variance)| over the cells, by its mean and three of its deviations.
    variance = together * (1 - together) / share
    chance = float(np.sqrt(2 / math.pi * variance).sum()) / 2
    surely = half - chance - 3 * math.sqrt(float(variance.sum()) * (1 - 2 / math.pi) / 2)
    extra = {"moved": max(0.0, surely), "chi2": statistic, "freedom": float(freedom)}
    if freedom < 1:
        hidden = math.sqrt(2 * max(found.rest_before / n, found.rest_now / m))
        return Found(effect=0.0, low=0.0, high=1.0, beyond=lambda _: 1.0, certain=(0.0, hidden), extra=extra)
    low, high = non_centrality(statistic, freedom, level)
    effect = math.sqrt(max(0.0, statistic - freedom) / share)
    apart = math.hypot(effect, math.sqrt(2 * max(found.rest_before / n, found.rest_now / m)))
    return Found(
        effect=effect,
        low=math.sqrt(low / share),
        high=math.sqrt(high / share),
        beyond=lambda least: upper_tail(statistic, freedom, share * least * least),
        certain=(effect, apart if found.rest_before or found.rest_now else effect),
        extra=extra,
    )
