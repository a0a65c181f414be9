"""What a test found, as a sentence. Plain text: names in it are a stranger's and are escaped where it is shown."""

from __future__ import annotations

import numpy as np

from trackside.drift.words import figure, share
from trackside.measures import levels, quality
from trackside.measures.found import Found
from trackside.sketch.column import Sketch

SHOWN = 3
"""Levels that a sentence names."""
GONE = 0.01
"""Share of the reference from which a level that is gone is named."""


def sentence(test: str, before: Sketch, now: Sketch, found: Found) -> str:
    """One test of one column in words."""
    if test in ("ks", "wasserstein"):
        return _numbers(before, now, found)
    if test == "chi2":
        return _levels(before, now)
    if test == "new levels":
        return _new(before, now, found)
    if test == "vanished":
        gone = _gone(before, now, 0.0)
        return f"gone: {_named(gone)}" if gone else "none is gone"
    if test == "length":
        one, two = before.lengths, now.lengths
        return f"characters: mean {figure(one.mean if one else None)} → {figure(two.mean if two else None)}"
    what = {
        "missing": "missing",
        "wrong type": f"not a {before.kind}",
        "infinite": "infinite",
        "range": "outside of the reference's range",
        "pattern": "texts of a format that the reference lacks",
    }.get(test, test)
    return f"{what}: {share(found.extra['before'])} → {share(found.extra['now'])}"


def _numbers(before: Sketch, now: Sketch, found: Found) -> str:
    one, two = before.numbers, now.numbers
    moved = found.extra.get("mean_shift")
    sigma = f" ({moved + 0.0:+.2f} σ)".replace("-0.00", "+0.00") if moved is not None else ""
    outside = quality.outside(before, now)
    beyond = f"; {share(outside / now.finite)} outside of the reference's range" if outside else ""
    return f"mean {figure(one.mean if one else None)} → {figure(two.mean if two else None)}{sigma}{beyond}"


def _new(before: Sketch, now: Sketch, found: Found) -> str:
    made = levels.counts(before, now)
    if made is None:
        return ""
    new = [(made.names[at], made.now[at]) for at in np.flatnonzero(made.before == 0) if made.now[at] > 0]
    if not new and not made.rest_now:
        return "none is new"
    new.sort(key=lambda one: (-one[1], one[0]))
    said = f"{share(found.extra['now'])} of rows in levels that the reference lacks"
    return f"{said}: {_named([one for one, _ in new])}" if new else said


def _named(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(shown_level(name) for name in names[:SHOWN]) + more


def shown_level(name: str, characters: int = 40) -> str:
    """A level's name as people see it; of numbers without the digits that a float needs and nobody reads."""
    return name[:characters].removesuffix(".0") or "(empty)"


def _gone(before: Sketch, now: Sketch, least: float) -> list[str]:
    made = levels.counts(before, now)
    if made is None:
        return []
    total = made.before.sum() + made.rest_before
    order = np.argsort(-made.before, kind="stable")
    return [made.names[at] for at in order if made.now[at] == 0 and made.before[at] > least * total]


def _levels(before: Sketch, now: Sketch) -> str:
    made = levels.counts(before, now)
    if made is None:
        return ""
    p = np.append(made.before, made.rest_before) / (made.before.sum() + made.rest_before)
    q = np.append(made.now, made.rest_now) / (made.now.sum() + made.rest_now)
    names = (*made.names, "")
    order = sorted(range(len(names)), key=lambda at: (-abs(q[at] - p[at]), at))
    shown = [
        f"{shown_level(names[at]) if at < len(names) - 1 else 'others'} {share(p[at])} → {share(q[at])}"
        for at in order[:SHOWN]
        if p[at] != q[at]
    ]
    gone = _gone(before, now, GONE)
    lost = f"; gone: {', '.join(shown_level(one) for one in gone[:SHOWN])}" if gone else ""
    return ", ".join(shown) + lost


def unnoticed(rows: int, shift: float | None, rate: float | None, missing: float | None) -> str:
    """What the check could not have seen, of its most and least sensitive columns."""
    parts = []
    if shift is not None:
        parts.append(f"a shift below {shift:.2g} σ")
    if rate is not None:
        parts.append(f"a change of categories below w = {rate:.2g}")
    if missing is not None:
        parts.append(f"{share(missing)} more missing values")
    if not parts:
        return ""
    said = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " or " + parts[-1]
    return f"At n = {rows:,} {said} would go unnoticed."
