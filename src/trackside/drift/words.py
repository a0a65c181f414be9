"""What a test found, as a sentence. Plain text: names in it are a stranger's and are escaped where it is shown."""

from __future__ import annotations

from trackside.documents.profile import Column
from trackside.drift.columns import Observed
from trackside.drift.measures import Found, counts_by_level

SHOWN = 3
"""Levels that a sentence names."""


def share(value: float) -> str:
    """A share as people read it: `3.4 %`, `0.02 %`."""
    percent = 100 * value
    if percent and abs(percent) < 0.005:
        return "under 0.01 %"
    digits = 0 if abs(percent) >= 99.95 or percent == 0 else 1 if abs(percent) >= 1 else 2
    return f"{percent:.{digits}f} %"


def figure(value: float | None) -> str:
    """Four digits, without an exponent where that is short."""
    if value is None:
        return "?"
    return f"{value:,.0f}" if 10_000 <= abs(value) < 1e12 else f"{value:.4g}"


def sentence(test: str, reference: Column, seen: Observed, found: Found) -> str:
    """One test of one column in words."""
    if test == "ks":
        moved = found.extra.get("mean_shift")
        sigma = f" ({moved + 0.0:+.2f} σ)".replace("-0.00", "+0.00") if moved is not None else ""
        outside = seen.below + seen.above
        beyond = f"; {share(outside / seen.finite)} outside of the reference's range" if outside else ""
        return f"mean {figure(reference.mean)} → {figure(seen.mean)}{sigma}{beyond}"
    if test == "chi2":
        return _levels(reference, seen)
    if test == "new levels":
        new = sorted(
            ((name, count) for name, count in seen.levels.items() if name not in reference.levels),
            key=lambda one: (-one[1], one[0]),
        )
        names = ", ".join(name[:40] or "(empty)" for name, _ in new[:SHOWN])
        more = f" and {len(new) - SHOWN:,} more" if len(new) > SHOWN else ""
        return (
            f"{share(found.extra['now'])} of rows in levels that the reference lacks: {names}{more}"
            if new
            else "none is new"
        )
    what = {"missing": "missing", "wrong type": f"not a {reference.type}", "infinite": "infinite"}[test]
    return f"{what}: {share(found.extra['before'])} → {share(found.extra['now'])}"


def _levels(reference: Column, seen: Observed) -> str:
    names, before, now = counts_by_level(reference, seen)
    p, q = before / before.sum(), now / now.sum()
    order = sorted(range(len(names)), key=lambda at: (-abs(q[at] - p[at]), at))
    shown = [
        f"{(names[at][:40] or '(empty)') if at < len(names) - 1 else 'others'} {share(p[at])} → {share(q[at])}"
        for at in order[:SHOWN]
        if p[at] != q[at]
    ]
    gone = [name for name, b, n in zip(names[:-1], p, now, strict=False) if n == 0 and b >= 0.01]
    lost = f"; gone: {', '.join(one[:40] or '(empty)' for one in gone[:SHOWN])}" if gone else ""
    return ", ".join(shown) + lost
