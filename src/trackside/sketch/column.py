"""One column of a table as counted: what every test looks at, of the reference and of the current data alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trackside.sketch.levels import Levels
from trackside.sketch.numbers import Numbers

Kind = Literal["number", "category", "datetime", "boolean"]


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """`rows` are all; `missing` are nulls, NaN and `wrong` values, which are not of the column's kind; `infinite` ones
    are of numbers. Categories and booleans have `levels`; numbers have `numbers`; dates have `numbers` of their seconds
    since 1970 (UTC). `lengths` are of texts, in characters.
    """

    kind: Kind
    rows: int = 0
    missing: int = 0
    infinite: int = 0
    wrong: int = 0
    numbers: Numbers | None = None
    levels: Levels | None = None
    lengths: Numbers | None = None

    @property
    def finite(self) -> int:
        """Values that the distribution is made of."""
        return self.rows - self.missing - self.infinite
