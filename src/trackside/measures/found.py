"""What a test finds of a pair of columns: an effect, and how sure it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Found:
    """An effect with its interval; `extra` are further figures by name, shown and not judged.

    `certain` holds the effect of the samples themselves, of which sketches may hide a little; [`low`, `high`] holds
    that of what they are drawn from, and reaches from the low end of the one to the high end of the other.
    `beyond(least)` is the p-value of the hypothesis that the true effect is no larger than `least` (Murphy & Myors
    1999): with 0 it is the usual test of no difference. It is for effects above 0, or of either sign by their size.
    """

    effect: float
    low: float
    high: float
    beyond: Callable[[float], float]
    certain: tuple[float, float]
    extra: dict[str, float] = field(default_factory=dict)
