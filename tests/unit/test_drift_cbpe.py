"""Performance without labels: NannyML's figures on the sample project, closed forms, coverage, and doubts.

`tests/golden/cbpe.json` is made by `benchmarks/golden_cbpe.py`: the sample's predictions (counts of labels by score)
and what NannyML estimates of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from trackside.performance.cbpe import (
    Calibration,
    calibration,
    calibration_error,
    doubts,
    expected,
    interval,
    pooled,
    strange,
)
from trackside.performance.measured import Estimate, Pairs, auc, measured
from trackside.sketch.values import Floats

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden/cbpe.json").read_text())


def rows(month: int) -> tuple[Floats, Floats]:
    """Labels and scores of a month of the sample project."""
    counts = np.array(GOLDEN["months"][str(month)])
    scores = np.repeat(counts[:, 0], (counts[:, 1] + counts[:, 2]).astype(int))
    truth = np.concatenate([np.repeat([0.0, 1.0], [int(zeros), int(ones)]) for _, zeros, ones in counts])
    return truth, scores


def learnt(month: int) -> Calibration:
    found = calibration(*rows(month))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def reference() -> Calibration:
    return learnt(GOLDEN["reference"])


@pytest.mark.parametrize("month", range(5, 13))
def test_estimates_are_those_of_nannyml(reference: Calibration, month: int) -> None:
    assert reference.helps == GOLDEN["calibrated"]
    found = expected(reference, rows(month)[1], decision=GOLDEN["decision"])
    peer = GOLDEN["estimates"][str(month)]
    assert set(peer) == {"roc_auc", "f1", "precision", "recall", "accuracy"}
    apart = {name: abs(found.metrics[name].value - figures["value"]) for name, figures in peer.items()}
    print(month, max(apart.values()))
    assert max(apart.values()) < 1e-3, apart


def test_a_shipped_calibration_estimates_the_same(reference: Calibration) -> None:
    again = Calibration.from_document(json.loads(json.dumps(reference.to_document())))
    assert again is not None
    assert len(json.dumps(reference.to_document())) < 20_000
    scores = rows(7)[1]
    one, other = expected(reference, scores, decision=0.25), expected(again, scores, decision=0.25)
    assert {name: round(found.value, 7) for name, found in one.metrics.items()} == {
        name: round(found.value, 7) for name, found in other.metrics.items()
    }


@pytest.mark.parametrize(
    "document",
    [None, {}, [], {"helps": True}, "x", 3],
)
def test_what_is_no_calibration_is_none(document: object) -> None:
    assert Calibration.from_document(document) is None


def test_damaged_calibrations_are_none(reference: Calibration) -> None:
    good = reference.to_document()
    for name in ("left", "right", "chance", "rows"):
        for bad in ([], good[name][1:], ["x"], None, [float("nan")] * len(good[name])):
            if name == "chance" and bad and len(bad) == len(good[name]):
                continue  # of a chance that is no number the estimate is none either
            assert Calibration.from_document({**good, name: bad}) is None, (name, bad)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(40, 400), levels=st.integers(2, 50))
def test_steps_are_isotonic_regression(seed: int, size: int, levels: int) -> None:
    """Equal to scipy's on scores with ties counted as one; rising, within 0..1, and mean of the labels."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, size) / levels
    truth = (rng.random(size) < 0.2 + 0.6 * scores).astype(np.float64)
    found = calibration(truth, scores)
    if found is None:
        assert min(truth.sum(), size - truth.sum()) < 10
        return
    unique, codes = np.unique(scores, return_inverse=True)
    weights = np.bincount(codes).astype(float)
    wanted = isotonic_regression(np.bincount(codes, weights=truth) / weights, weights=weights).x
    every = Calibration(left=found.left, right=found.right, chance=found.chance, rows=found.rows, helps=True, error=0.0)
    assert np.allclose(every.chances(unique), wanted, atol=1e-12)
    assert (np.diff(found.chance) > 0).all()
    assert found.rows.sum() == size
    assert every.chances(scores).mean() == pytest.approx(truth.mean(), abs=1e-12)


def test_slow_pooling_ends_as_scipys_does() -> None:
    """A long rise with a low end is pooled from its end, one block at a time: more passes than are made."""
    values = np.concatenate((np.arange(1.0, 501.0), [-30_000.0, 0.5, 600.0]))
    weights = np.linspace(1, 3, values.size)
    heads, sums, sizes = pooled(values * weights, weights)
    wanted = isotonic_regression(values, weights=weights).x
    assert np.allclose(np.repeat(sums / sizes, np.diff(np.append(heads, values.size))), wanted)
    assert 2 < heads.size < values.size - 50


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), decision=st.sampled_from([0.2, 0.5, 0.8]))
def test_of_certain_chances_the_estimate_is_the_metric(seed: int, decision: float) -> None:
    """Where every chance is 0 or 1, the expected metrics are those of these labels."""
    rng = np.random.default_rng(seed)
    unique, chance = np.sort(rng.random(30)), rng.permutation([0.0, 1.0] * 15)
    sizes = rng.integers(1, 9, 30)
    scores, truth = np.repeat(unique, sizes), np.repeat(chance, sizes)
    found = Calibration(left=unique, right=unique, chance=chance, rows=np.ones(30), helps=True, error=0.0)
    made = expected(found, scores, decision=decision).metrics
    called = scores >= decision
    hits = float((called & (truth == 1)).sum())
    assert made["accuracy"].value == pytest.approx(float((called == truth).mean()))
    assert made["brier"].value == pytest.approx(float(((scores - truth) ** 2).mean()))
    assert made["recall"].value == pytest.approx(hits / truth.sum())
    assert ("precision" in made) == bool(called.any())
    if called.any():
        assert made["precision"].value == pytest.approx(hits / called.sum())
        assert made["f1"].value == pytest.approx(2 * hits / (called.sum() + truth.sum()))
    assert made["roc_auc"].value == pytest.approx(auc(truth, scores).value)


def test_intervals_hold_what_the_labels_say_later() -> None:
    """Of new samples of the same world, 95 % intervals hold the metric about 19 times in 20: 200 worlds, 7 metrics."""
    rng = np.random.default_rng(4)
    held: dict[str, int] = {}
    worlds = 200

    def world(size: int, tilt: float) -> tuple[Floats, Floats]:
        scores = rng.beta(1 + tilt, 3, size)
        return (rng.random(size) < scores**1.5).astype(np.float64), scores

    for _ in range(worlds):
        found = calibration(*world(4000, 1.0))
        assert found is not None
        assert found.helps
        truth, scores = world(1500, 2.0)  # another mix of scores, which mean the same
        told = expected(found, scores, decision=0.5).metrics
        values = {name: one.value for name, one in measured(Pairs(labels=truth, scores=scores)).metrics.items()}
        assert set(told) == set(values)
        for name, one in told.items():
            low, high = interval(one, 0.95, bounded=name != "log_loss")
            held[name] = held.get(name, 0) + (low <= values[name] <= high)
    print({name: count / worlds for name, count in held.items()})
    assert len(held) == 7
    assert all(0.90 <= count / worlds <= 1.0 for count in held.values()), held


def test_scores_that_are_calibrated_are_left_alone() -> None:
    """Of a hundred rows with score 0.05 five are 1, and so on: no step could be nearer."""
    scores = np.repeat(np.arange(1, 20) / 20, 100)
    truth = np.concatenate([np.repeat([1.0, 0.0], [5 * at, 100 - 5 * at]) for at in range(1, 20)])
    assert calibration_error(truth, scores) == pytest.approx(0.0, abs=1e-12)
    found = calibration(truth, scores)
    assert found is not None
    assert not found.helps
    assert (found.chances(scores) == scores).all()
    made = expected(found, scores, decision=0.5).metrics
    assert made["roc_auc"].value == pytest.approx(auc(truth, scores).value, abs=1e-12)


def test_no_estimate_of_what_is_no_chance() -> None:
    truth = np.array([0.0, 1.0] * 50)
    assert calibration(truth, np.linspace(-1, 2, 100)) is None
    assert calibration(np.zeros(100), np.linspace(0, 1, 100)) is None
    found = calibration(truth, np.linspace(0, 1, 100))
    assert found is not None
    assert "within 0..1" in expected(found, np.array([0.5, 1.5]), decision=0.5).note
    assert expected(found, np.zeros(0), decision=0.5).metrics == {}


def test_when_it_cannot_be_trusted_is_said() -> None:
    one = {"roc_auc": Estimate(value=0.80, error=0.01)}
    always = doubts({}, one, labelled=0)
    assert len(always) == 1
    assert "concept drift" in always[0]
    assert strange({"x": 0.01}) == []
    outside = strange({"x": 0.3, "y": 0.06, "z": 0.5, "w": 0.07, "v": 0.0})
    assert [line.split(" that")[0] for line in outside[:2]] == [
        "50.0 % of rows have a value of z",
        "30.0 % of rows have a value of x",
    ]
    assert "1 more columns" in outside[3]
    missed = doubts({"roc_auc": Estimate(value=0.70, error=0.01)}, one, labelled=500)
    assert "500 labelled rows roc_auc is 0.7, estimated 0.8" in missed[0]
    assert len(doubts({"roc_auc": Estimate(value=0.79, error=0.01)}, one, labelled=500)) == 1


def test_november_of_the_sample_is_doubted_once_labels_come(reference: Calibration) -> None:
    """Labels of November show that late flights were overestimated: the estimate alone could not know."""
    truth, scores = rows(11)
    told = expected(reference, scores, decision=0.25)
    was = measured(Pairs(labels=truth, scores=scores))
    said = doubts(was.metrics, told.metrics, labelled=was.rows)
    assert any("concept drift" in line and "labelled rows" in line for line in said[:-1])
