"""Figures as people read them."""

from __future__ import annotations


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
