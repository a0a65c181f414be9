"""The classifier of sides: nothing where nothing moved, and what no single column shows, by the columns that did it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trackside.measures.domain import FOLDS, THRESHOLD, auc, domain
from trackside.sketch.numbers import Floats

LEVEL = 0.95


def table(rng: np.random.Generator, rows: int, together: float) -> dict[str, Floats]:
    """Six columns, of which the first two are correlated; one has missing values, one is of codes."""
    found = rng.normal(size=(rows, 6))
    found[:, 1] = together * found[:, 0] + np.sqrt(1 - together**2) * found[:, 1]
    found[rng.random(rows) < 0.1, 2] = np.nan
    found[:, 3] = rng.integers(0, 40, rows)
    return {f"c{at}": found[:, at] for at in range(6)}


def test_nothing_is_told_of_unchanged_tables() -> None:
    rng = np.random.default_rng(1)
    cases = above = alarms = 0
    for rows in (100, 600):
        for _ in range(40):
            found = domain(table(rng, rows, 0.6), table(rng, rows, 0.6), LEVEL)
            assert found is not None
            cases += 1
            above += found.low > 0
            alarms += found.low > THRESHOLD
    print(f"{cases} unchanged tables, {above} intervals above none, {alarms} alarms")
    assert cases == 80
    assert above <= 4
    assert alarms == 0


def test_columns_that_no_longer_move_together_are_found() -> None:
    rng = np.random.default_rng(2)
    found = domain(table(rng, 3000, 0.6), table(rng, 3000, 0.0), LEVEL)
    assert found is not None
    assert found.low > THRESHOLD
    assert found.beyond(THRESHOLD) < 1e-6
    assert sorted(found.extra, key=lambda name: -found.extra[name])[:2] in (["c0", "c1"], ["c1", "c0"])
    assert sum(found.extra.values()) == pytest.approx(1)


def test_it_says_the_same_of_the_same_rows() -> None:
    one, two = (table(np.random.default_rng(seed), 500, 0.5) for seed in (3, 4))
    first, second = domain(one, two, LEVEL), domain(one, two, LEVEL)
    assert first is not None
    assert second is not None
    assert (first.effect, first.low, first.extra) == (second.effect, second.low, second.extra)


def test_hostile_columns_have_an_answer() -> None:
    rng = np.random.default_rng(5)
    columns = {
        "all missing": np.full(300, np.nan),
        "constant": np.ones(300),
        "infinite": np.where(rng.random(300) < 0.5, np.inf, -np.inf),
        "far": np.where(rng.random(300) < 0.5, 1e308, -1e308),
    }
    found = domain(columns, columns, LEVEL)
    assert found is not None
    assert np.isfinite([found.effect, found.low, found.high]).all()
    assert domain(columns, {}, LEVEL) is None
    few = {"x": np.arange(10.0 * FOLDS - 1)}
    assert domain(few, few, LEVEL) is None


def test_the_area_and_its_error_are_right() -> None:
    """The area is Mann and Whitney's; the spread over samples is the mean of the errors."""
    rng = np.random.default_rng(6)
    areas, errors = [], []
    for _ in range(500):
        truth = rng.random(200) < 0.4
        score = np.round(rng.normal(size=200) + 0.7 * truth, 1)
        area, variance = auc(truth, score)
        areas.append(area)
        errors.append(variance**0.5)
    expected = stats.mannwhitneyu(score[truth], score[~truth]).statistic / (truth.sum() * (~truth).sum())
    assert area == pytest.approx(expected, rel=1e-12)
    assert float(np.mean(errors)) == pytest.approx(float(np.std(areas, ddof=1)), rel=0.1)
