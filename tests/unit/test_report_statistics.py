"""Statistics against definitions, scipy, a closed-form interval, simulated coverage, and properties."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trackside.errors import DataError
from trackside.report.names import DIRECTIONS, canonical
from trackside.report.statistics import SLICES_SHOWN, TASKS, _Scorer, compare_predictions, task_of


def auc_by_pairs(label: np.ndarray, score: np.ndarray) -> float:
    """Share of (positive, negative) pairs in the right order; ties count half."""
    difference = score[label == 1][:, None] - score[label == 0][None, :]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def ap_by_thresholds(label: np.ndarray, score: np.ndarray) -> float:
    """Sum over thresholds of recall gained times precision there."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(score.tolist()), reverse=True):
        taken = score >= threshold
        recall = float(label[taken].sum() / label.sum())
        total += (recall - before) * float(label[taken].mean())
        before = recall
    return total


def delong(label: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Difference of two correlated AUCs and its standard error (Sun & Xu 2014, by midranks)."""
    positives = int(label.sum())
    negatives = label.size - positives
    v10, v01, areas = [], [], []
    for score in (first, second):
        up, down = score[label == 1], score[label == 0]
        every = stats.rankdata(np.r_[up, down])
        areas.append((every[:positives].sum() - positives * (positives + 1) / 2) / (positives * negatives))
        v10.append((every[:positives] - stats.rankdata(up)) / negatives)
        v01.append(1 - (every[positives:] - stats.rankdata(down)) / positives)
    spread = np.cov(v10) / positives + np.cov(v01) / negatives
    return areas[1] - areas[0], float(np.sqrt(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1]))


def drawn(seed: int, rows: int, gain: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and two correlated probability scores, the second with more signal."""
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.3).astype(int)
    shared = rng.normal(size=rows)
    first = shared + 0.8 * label + 0.5 * rng.normal(size=rows)
    second = shared + (0.8 + gain) * label + 0.5 * rng.normal(size=rows)
    return label, 1 / (1 + np.exp(-first)), 1 / (1 + np.exp(-second))


def by_name(label: np.ndarray, first: np.ndarray, second: np.ndarray, **more: object) -> dict[str, object]:
    return {one.metric: one for one in compare_predictions(label, first, second, **more).metrics}


def test_published_example() -> None:
    """The four-point example of scikit-learn's documentation: ROC AUC 0.75, average precision 0.83."""
    label, score = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
    found = by_name(label, score, score)
    assert found["roc_auc"].current == pytest.approx(0.75)
    assert found["average_precision"].current == pytest.approx(0.8333, abs=1e-4)
    assert found["log_loss"].current == pytest.approx(-np.mean(np.log([0.9, 0.6, 0.35, 0.8])))
    assert found["brier"].current == pytest.approx(np.mean([0.01, 0.16, 0.4225, 0.04]))
    assert found["accuracy"].current == pytest.approx(0.75)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=4, max_size=60))
@settings(max_examples=200, deadline=None)
def test_rank_metrics_equal_their_definitions(rows: list[tuple[bool, int]]) -> None:
    label = np.array([int(positive) for positive, _ in rows])
    score = np.array([value / 8 for _, value in rows])
    scorer = _Scorer("binary", label.astype(float), score, ("roc_auc", "average_precision"))
    area, precision = scorer(np.ones(len(rows), dtype=np.int64))
    if 0 < label.sum() < label.size:
        assert area == pytest.approx(auc_by_pairs(label, score))
    if label.sum():
        assert precision == pytest.approx(ap_by_thresholds(label, score))


@given(st.integers(0, 10_000), st.sampled_from(["binary", "regression"]))
@settings(max_examples=100, deadline=None)
def test_counts_stand_for_repeated_rows(seed: int, task: str) -> None:
    rng = np.random.default_rng(seed)
    label = (rng.random(40) < 0.5).astype(float) if task == "binary" else rng.normal(size=40)
    score = rng.integers(0, 12, 40) / 12
    counts = np.bincount(rng.integers(0, 40, 40), minlength=40)
    names = TASKS[task]
    weighted = _Scorer(task, label, score, names)(counts)
    repeated = _Scorer(task, np.repeat(label, counts), np.repeat(score, counts), names)(np.ones(40, dtype=np.int64))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-9)


def test_intervals_agree_with_scipy() -> None:
    """Percentile bootstrap of scipy over the same rows; the bounds differ by resampling noise only."""
    label, first, second = drawn(3, 600)
    cases = 0
    found = by_name(label, first, second, resamples=4000, seed=1)
    for name in ("roc_auc", "brier", "log_loss", "accuracy"):
        scorers = {
            "roc_auc": auc_by_pairs,
            "brier": lambda y, s: float(np.mean((s - y) ** 2)),
            "log_loss": lambda y, s: float(-np.mean(y * np.log(s) + (1 - y) * np.log(1 - s))),
            "accuracy": lambda y, s: float(np.mean((s >= 0.5) == (y == 1))),
        }
        score = scorers[name]

        def difference(index: np.ndarray, score: object = score) -> float:
            rows = index.astype(int)
            return score(label[rows], second[rows]) - score(label[rows], first[rows])

        theirs = stats.bootstrap(
            (np.arange(600),), difference, n_resamples=2000, method="percentile", vectorized=False, rng=7
        ).confidence_interval
        ours = found[name]
        width = theirs.high - theirs.low
        assert abs(ours.low - theirs.low) < 0.12 * width, name
        assert abs(ours.high - theirs.high) < 0.12 * width, name
        cases += 1
    print(f"{cases} metrics against scipy.stats.bootstrap")
    assert cases == 4


def test_auc_interval_agrees_with_delong() -> None:
    cases = 0
    for seed in range(10):
        label, first, second = drawn(seed, 2500)
        delta, error = delong(label, first, second)
        ours = by_name(label, first, second, metrics=["roc_auc"], seed=seed)["roc_auc"]
        assert ours.delta == pytest.approx(delta, abs=1e-9)
        assert ours.high - ours.low == pytest.approx(2 * 1.96 * error, rel=0.15)
        assert (ours.high + ours.low) / 2 == pytest.approx(delta, abs=0.4 * error)
        cases += 1
    print(f"{cases} tables against DeLong's interval")
    assert cases == 10


@pytest.mark.parametrize("metric", ["roc_auc", "mae"])
def test_coverage_is_near_the_level(metric: str) -> None:
    """Intervals at 90 % hold the true difference in 84 to 96 % of 300 simulated tables."""
    made = _binary if metric == "roc_auc" else _regression
    label, first, second = made(10**6, 200_000)
    population = compare_predictions(label, first, second, metrics=[metric], resamples=2).metrics[0].delta
    cases = 300
    held = 0
    for seed in range(cases):
        label, first, second = made(seed, 250)
        one = compare_predictions(label, first, second, metrics=[metric], level=0.9, resamples=300, seed=seed).metrics[
            0
        ]
        held += one.low <= population <= one.high
    print(f"{metric}: {held} of {cases} intervals hold the true difference {population:.4f}")
    assert 0.84 * cases <= held <= 0.96 * cases


def _binary(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return drawn(seed, rows)


def _regression(seed: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label, noise = rng.normal(size=rows), rng.normal(size=rows)
    return label, label + noise, label + 0.9 * noise + 0.2 * rng.normal(size=rows)


@given(st.integers(0, 2**32 - 1), st.integers(60, 200))
@settings(max_examples=40, deadline=None)
def test_swapping_the_models_mirrors_everything(seed: int, rows: int) -> None:
    label, first, second = drawn(seed, rows)
    there = compare_predictions(label, first, second, resamples=200, seed=5).metrics
    back = compare_predictions(label, second, first, resamples=200, seed=5).metrics
    for one, other in zip(there, back, strict=True):
        assert one.delta == pytest.approx(-other.delta)
        assert one.low == pytest.approx(-other.high)
        assert one.high == pytest.approx(-other.low)


def test_the_same_model_twice_differs_by_nothing() -> None:
    label, first, _ = drawn(1, 400)
    for one in compare_predictions(label, first, first).metrics:
        assert (one.delta, one.low, one.high) == (0.0, 0.0, 0.0)


def test_the_same_seed_gives_the_same_intervals() -> None:
    label, first, second = drawn(1, 400)
    groups = {"hour": np.arange(400) % 4}
    assert compare_predictions(label, first, second, slices=groups, seed=9) == compare_predictions(
        label, first, second, slices=groups, seed=9
    )


def test_regression_metrics() -> None:
    label = np.array([1.0, 2.0, 3.0, 5.0])
    score = np.array([1.0, 2.5, 2.0, 5.5])
    found = by_name(label, score, score)
    assert found["mae"].current == pytest.approx(0.5)
    assert found["rmse"].current == pytest.approx(np.sqrt(1.5 / 4))
    assert found["r2"].current == pytest.approx(1 - 1.5 / np.sum((label - label.mean()) ** 2))


def test_the_slice_with_the_surest_harm_comes_first() -> None:
    label, first, second = drawn(2, 6000, gain=0.2)
    rng = np.random.default_rng(0)
    carrier = rng.choice(["AA", "HA", "UA"], 6000)
    second = np.where(carrier == "HA", rng.random(6000), second)
    tiny = np.where(np.arange(6000) < 20, "rare", "usual")
    made = compare_predictions(label, first, second, metrics=["roc_auc"], slices={"carrier": carrier, "kind": tiny})
    assert [(made.slices[0].column, made.slices[0].value)] == [("carrier", "HA")]
    assert made.slices[0].high < 0
    assert "rare" not in {one.value for one in made.slices}
    assert len(made.slices) <= SLICES_SHOWN


def test_losses_rank_slices_by_their_own_direction() -> None:
    rng = np.random.default_rng(0)
    label = rng.normal(size=2000)
    origin = np.where(np.arange(2000) % 2, "JFK", "EWR")
    first = label + rng.normal(size=2000)
    second = first + np.where(origin == "JFK", 1.0, 0.0)
    made = compare_predictions(label, first, second, metrics=["mae"], slices={"origin": origin})
    assert made.slices[0].value == "JFK"
    assert made.slices[0].low > 0


def test_degenerate_tables_give_no_interval() -> None:
    label = np.array([0] * 59 + [1])
    score = np.linspace(0, 1, 60)
    one = by_name(label, score, score[::-1].copy(), metrics=["roc_auc"])["roc_auc"]
    assert one.delta == pytest.approx(-1.0)
    assert one.low is None  # a third of the resamples have no positive row
    assert by_name(np.zeros(60, dtype=int), score, score, metrics=["roc_auc"])["roc_auc"].current is None


@pytest.mark.parametrize(
    ("label", "first", "second", "word"),
    [
        ([0, 1], [0.1], [0.2, 0.3], "same rows"),
        ([], [], [], "at least one"),
        ([0, 1, float("nan")], [0.1] * 3, [0.1] * 3, "missing"),
        ([0, 1], [0.1, float("inf")], [0.1, 0.2], "baseline"),
        ([0, 1], [0.1, 0.2], ["x", "y"], "current"),
        (["a", "b", "c"], [0.1] * 3, [0.1] * 3, "3 classes"),
        (np.array(["a", None, "b"], dtype=object), [0.1] * 3, [0.1] * 3, "mixes types"),
    ],
)
def test_unusable_predictions_are_explained(label: object, first: object, second: object, word: str) -> None:
    with pytest.raises(DataError, match=word):
        compare_predictions(label, first, second)


def test_tasks_and_names() -> None:
    assert task_of(["late", "on time"]) == "binary"
    assert task_of([True, False]) == task_of([0, 0]) == task_of([3, 7, 3]) == "binary"
    assert task_of([0.5, 1.5, 2.5]) == "regression"
    assert canonical("eval.test.AUC") == "roc_auc"
    assert canonical("R2-Score") == "r2"
    assert canonical("rows") is None
    assert {name for names in TASKS.values() for name in names} == set(DIRECTIONS)


def test_text_labels_take_the_larger_class_as_positive() -> None:
    found = by_name(
        np.array(["no", "yes", "no", "yes"]), np.array([0.1, 0.9, 0.2, 0.8]), np.array([0.1, 0.9, 0.2, 0.8])
    )
    assert found["roc_auc"].current == 1.0


def test_scores_that_are_no_probabilities_leave_out_what_needs_them() -> None:
    made = compare_predictions([0, 1] * 40, np.arange(80.0), np.arange(80.0)[::-1])
    assert {one.metric for one in made.metrics} == {"roc_auc", "average_precision"}
    assert "brier" in made.note


def test_thirty_thousand_rows_are_quick() -> None:
    label, first, second = drawn(0, 30_000)
    start = time.process_time()
    compare_predictions(label, first, second, metrics=["roc_auc"])
    spent = time.process_time() - start
    print(f"30,000 rows x 1000 resamples: {spent:.2f} s")
    assert spent < 6  # about 1 s on a quiet core
