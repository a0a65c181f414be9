"""Mean and spread of values that are seen in parts, without the squares' loss of digits.

Chan, Golub & LeVeque (1979), Updating formulae and a pairwise algorithm for computing sample variances.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_CHUNK = 1 << 16
_LARGE = 2.0**900
"""From here on sums are taken of values made smaller: 2**64 of them stay within the doubles."""
_SMALLER = 2.0**-64


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Of `count` values: `squares` is the sum of squared deviations from `mean`, infinite where doubles end."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf


def moments_of(values: npt.NDArray[np.float64]) -> Moments:
    """Of finite values, shape (n,), whatever their size."""
    chunks = (values[first : first + _CHUNK] for first in range(0, len(values), _CHUNK))
    return together(of_chunk(chunk) for chunk in chunks)


def together(parts: Iterable[Moments]) -> Moments:
    """Of all parts' values at once."""
    filled = [part for part in parts if part.count]
    if len(filled) <= 1:
        return filled[0] if filled else Moments()
    count = sum(part.count for part in filled)
    low, high = min(part.low for part in filled), max(part.high for part in filled)
    # Weights sum to one, but for rounding: halves of the largest values do not leave the doubles.
    scale = 0.5 if max(-low, high) >= _LARGE else 1.0
    mean = math.fsum(part.mean * scale * (part.count / count) for part in filled)
    mean = min(max(mean, low * scale), high * scale) / scale
    squares = 0.0
    for part in filled:
        apart = part.mean - mean
        squares += part.squares + apart * apart * part.count
    return Moments(count=count, mean=mean, squares=squares, low=low, high=high)


def of_chunk(values: npt.NDArray[np.float64]) -> Moments:
    """Of at least one finite value, all at once: quick where they fit into the cache."""
    # + 0.0: -0.0 is 0.0
    low, high = float(values.min()) + 0.0, float(values.max()) + 0.0
    if max(-low, high) < _LARGE:
        mean = float(values.sum()) / len(values)
    else:
        mean = float((values * _SMALLER).sum()) / len(values) / _SMALLER
    mean = min(max(mean, low), high)
    with np.errstate(over="ignore"):
        apart = values - mean
        np.multiply(apart, apart, out=apart)
        return Moments(count=len(values), mean=mean, squares=float(apart.sum()), low=low, high=high)
