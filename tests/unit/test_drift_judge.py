"""The judge on sketches: what alarms, what ranks first, what is told beside, and how often it cries over nothing."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import accuracy
from accuracy_world import Column, columns, normal, of_levels

from trackside.config.model import DriftPolicy
from trackside.documents import verdict as document
from trackside.drift.scan import Fault, Scan
from trackside.drift.verdict import Judged, Reference, judge, undecided
from trackside.measures.exact import exact_of
from trackside.sketch.column import Sketch
from trackside.sketch.levels import Levels
from trackside.sketch.numbers import Floats, Numbers

POLICY = DriftPolicy(reference="r", current="c")


def number(values: Floats, missing: int = 0) -> Sketch:
    finite = np.sort(values[np.isfinite(values)])
    infinite = int(values.size - finite.size)
    numbers = Numbers.of_sorted(finite)
    return Sketch(kind="number", rows=values.size + missing, missing=missing, infinite=infinite, numbers=numbers)


def category(**counts: int) -> Sketch:
    found = {name: count for name, count in counts.items() if count}
    return Sketch(kind="category", rows=sum(counts.values()), levels=Levels(counts=found, distinct=len(found)))


def judged(before: dict[str, Sketch], now: dict[str, Sketch], policy: DriftPolicy = POLICY, **roles: str) -> Judged:
    known = {name: roles.get(name, "feature") for name in before}
    rows = max((one.rows for one in now.values()), default=0)
    return judge(Reference(columns=before, roles=known), Scan(rows=rows, columns=now), policy)  # type: ignore[arg-type]


def of(found: Judged, column: str, test: str) -> document.Test:
    (one,) = [one for one in found.tests if (one.column, one.test) == (column, test)]
    return one


# Alarms


def test_a_slice_of_the_study() -> None:
    """What `make bench-accuracy` measures, a few of each: no false alarm, and what matters is found."""
    nothing: Counter[str] = Counter()
    for n, m, cases in ((300, 200, 12), (1000, 1000, 6), (10_000, 10_000, 2)):
        nothing.update(accuracy.nothing(7, n, m, cases))
    print(f"20 checks of 30 unchanged columns: {dict(nothing)}")
    assert nothing["any"] <= 1
    for name in ("a shift of .25 σ", "a rate of 10 % becomes 17.5 % (0 or 1)"):
        found = accuracy.moved(8, name, 2000, 8)
        print(f"{name}: {found['any']} of 8")
        assert found["any"] >= 6
    assert accuracy.trifle(9, 1_000_000, 2)["any"] == 0


def test_the_same_table_is_never_drift() -> None:
    rng = np.random.default_rng(1)
    for rows in (100, 3000):
        table = {one.name: one.draw(rng, rows) for one in columns()}
        found = judged(table, table)
        assert (found.kind, found.moved) == ("ok", ())
        assert all(test.p_value == 1.0 for test in found.tests if test.heading != "data_quality" and not test.effect)


NUMBERS = st.lists(
    st.one_of(st.floats(allow_nan=False, width=64), st.integers(-3, 3).map(float)), min_size=0, max_size=60
)


@settings(deadline=None, max_examples=60)
@given(before=NUMBERS, now=NUMBERS, missing=st.integers(0, 20))
def test_any_numbers_have_a_verdict(before: list[float], now: list[float], missing: int) -> None:
    """Also the largest, infinite and denormal ones: bounds in order, and no warning of numpy."""
    one, two = (number(np.array(side, dtype=np.float64), missing) for side in (before, now))
    found = judged({"x": one}, {"x": two}, replace(POLICY, min_rows=1))
    for test in found.tests:
        if test.effect is not None and test.low is not None and test.high is not None:
            assert test.low <= test.effect + 1e-9
            assert test.effect <= test.high + 1e-9


def test_a_shift_is_told_in_deviations() -> None:
    rng = np.random.default_rng(2)
    found = judged({"x": number(rng.normal(size=9000))}, {"x": number(rng.normal(0.5, 1, 9000))})
    assert (found.kind, found.moved) == ("drift", ("x",))
    test = of(found, "x", "wasserstein")
    assert test.alarm
    assert test.effect == pytest.approx(0.5, abs=0.06)
    assert "σ" in test.sentence
    first = next(one for one in found.tests if one.heading == "features")
    assert {"psi", "jensen_shannon", "hellinger", "cramer_von_mises", "anderson_darling"} <= set(first.extra)


def test_numbers_of_few_values_are_judged_by_their_shares() -> None:
    rng = np.random.default_rng(3)
    before, now = ((rng.random(4000) < rate).astype(np.float64) for rate in (0.1, 0.2))
    found = judged({"x": number(before)}, {"x": number(now)})
    assert [one.test for one in found.tests if one.alarm] == ["chi2"]
    assert of(found, "x", "chi2").sentence.startswith(("1 ", "0 "))


def test_a_level_that_comes_or_goes_is_told() -> None:
    before = {"c": category(a=5000, b=4800, c=200)}
    found = judged(before, {"c": category(a=5000, b=4800, z=200)})
    assert {one.test for one in found.tests if one.alarm} == {"new levels", "vanished"}
    assert (found.kind, found.moved) == ("warning", ("c",))
    assert "z" in of(found, "c", "new levels").sentence
    assert of(found, "c", "vanished").sentence == "gone: c"


def test_a_value_that_no_sensor_has_is_out_of_range() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=5000)
    broken = np.where(rng.random(5000) < 0.03, -999.0, rng.normal(size=5000))
    found = judged({"x": number(values)}, {"x": number(broken)})
    assert of(found, "x", "range").alarm
    assert of(found, "x", "range").sentence.startswith("outside of the reference's range: 0 % → ")


# Thresholds, weights, words


def test_a_threshold_by_column_or_by_test_counts() -> None:
    rng = np.random.default_rng(5)
    before, now = {"x": number(rng.normal(size=9000))}, {"x": number(rng.normal(0.4, 1, 9000))}
    assert judged(before, now).moved == ("x",)
    patient = replace(POLICY, thresholds={"x": 0.3})  # of D; of the Wasserstein distance as many times over
    assert judged(before, now, patient).moved == ()
    assert of(judged(before, now, patient), "x", "wasserstein").threshold == pytest.approx(0.3 * 0.08 / 0.05)
    only = replace(POLICY, thresholds={"x:wasserstein": 2.0})
    assert [one.test for one in judged(before, now, only).tests if one.alarm] == ["ks"]


def test_drift_that_matters_ranks_first() -> None:
    rng = np.random.default_rng(6)
    before = {name: number(rng.normal(size=5000)) for name in ("little", "much", "score")}
    now = {name: number(rng.normal(by, 1, 5000)) for name, by in (("little", 1.0), ("much", 0.5), ("score", 0.5))}
    roles = {"little": "feature", "much": "feature", "score": "prediction"}
    scan = Scan(rows=5000, columns=now)
    plain = judge(Reference(columns=before, roles=roles), scan, POLICY)  # type: ignore[arg-type]
    assert plain.moved[0] == "little"
    known = Reference(columns=before, roles=roles, importance={"little": -0.1, "much": 0.9})  # type: ignore[arg-type]
    found = judge(known, scan, POLICY)
    assert found.moved == ("score", "much", "little")
    assert (of(found, "much", "ks").weight, of(found, "score", "ks").weight) == (0.9, None)


def test_what_would_go_unnoticed_is_told() -> None:
    rng = np.random.default_rng(7)
    small = {"x": number(rng.normal(size=420)), "c": category(a=210, b=210)}
    large = {"x": number(rng.normal(size=90_000)), "c": category(a=45_000, b=45_000)}
    few, many = judged(large, small), judged(large, large)
    assert few.sensitivity.startswith("At n = 420 a shift below 0.")
    for test in ("wasserstein", "ks"):
        one, two = of(few, "x", test), of(many, "x", test)
        assert one.detectable is not None
        assert two.detectable is not None
        assert one.detectable > two.detectable > (two.threshold or 0)
    shift = of(few, "x", "wasserstein").detectable or 0.0
    noticed = sum(
        "x" in judged(large, {"x": number(rng.normal(shift, 1, 420)), "c": small["c"]}).moved for _ in range(60)
    )
    print(f"{few.sensitivity} Found in {noticed} of 60 checks.")
    assert noticed >= 52


# What cannot be judged


def test_what_is_wrong_with_the_data_is_no_ok() -> None:
    before = {"x": number(np.arange(500.0)), "label": number(np.arange(500.0) % 2)}
    roles = {"x": "feature", "label": "label"}
    reference = Reference(columns=before, roles=roles)  # type: ignore[arg-type]

    def kinds(scan: Scan) -> tuple[str, list[str]]:
        found = judge(reference, scan, POLICY)
        return found.kind, [one.sentence for one in found.tests if one.alarm]

    good = before["x"]
    assert kinds(Scan(rows=500, columns=before)) == ("ok", [])
    assert kinds(Scan(rows=500, columns={"x": good}, absent=("label",))) == ("ok", [])
    assert kinds(Scan(rows=500, absent=("x", "label"))) == ("invalid_data", ["no such column in the current data"])
    retyped = Scan(rows=500, columns={"x": good}, retyped={"label": "string"})
    assert kinds(retyped) == ("invalid_data", ["a number in the reference, string in the current data"])
    empty = Sketch(kind="number", rows=500, missing=500, numbers=Numbers())
    assert kinds(Scan(rows=500, columns={"x": empty})) == ("invalid_data", ["not one of 500 rows has a value"])
    wrong = replace(empty, wrong=500)
    assert kinds(Scan(rows=500, columns={"x": wrong})) == ("invalid_data", ["no value is a number"])
    fault = Fault(column="id", test="duplicates", words="40 of 500 keys come twice")
    assert kinds(Scan(rows=500, columns=before, faults=(fault,))) == ("invalid_data", [fault.words])
    soft = replace(fault, kind="warning")
    assert kinds(Scan(rows=500, columns=before, faults=(soft,))) == ("warning", [fault.words])
    assert kinds(Scan(rows=99, columns={"x": number(np.arange(99.0))}))[0] == "insufficient_data"


# Segments, and what sketches cannot tell


def test_segments_are_judged_in_the_same_family() -> None:
    rng = np.random.default_rng(8)
    whole = number(rng.normal(size=4000))
    parts = {f"carrier={one}": {"x": number(rng.normal(size=1000))} for one in "abcd"}
    reference = Reference(columns={"x": whole}, roles={"x": "feature"}, segments=parts)
    now = {**parts, "carrier=b": {"x": number(rng.normal(1.0, 1, 1000))}, "carrier=new": {"x": whole}}
    found = judge(reference, Scan(rows=4000, columns={"x": whole}), POLICY, segments=now)
    alarmed = {one.segment for one in found.tests if one.alarm}
    assert (found.kind, found.moved, alarmed) == ("drift", ("x",), {"carrier=b"})
    assert {one.segment for one in found.tests} == {"", *parts}


def test_only_what_a_sketch_hides_is_looked_up() -> None:
    """Columns of which the certified interval straddles the threshold are named; the exact statistics decide them."""
    rng = np.random.default_rng(9)
    rows = {name: (rng.normal(size=60_000), rng.normal(by, 1, 60_000)) for name, by in (("same", 0.0), ("far", 1.0))}
    reference = Reference(
        columns={name: number(one) for name, (one, _) in rows.items()}, roles=dict.fromkeys(rows, "feature")
    )
    scan = Scan(rows=60_000, columns={name: number(two) for name, (_, two) in rows.items()})
    assert undecided(reference, scan, POLICY) == ()
    plain = judge(reference, scan, POLICY)
    low = of(plain, "far", "ks").low or 0.0
    close = replace(POLICY, thresholds={"far:ks": low + 1e-5})
    assert undecided(reference, scan, close) == ("far",)
    exact = {name: exact_of(np.sort(one), np.sort(two)) for name, (one, two) in rows.items()}
    found = judge(reference, scan, close, exact=exact)
    assert of(found, "far", "ks").effect == pytest.approx(exact["far"].ks, abs=1e-12)
    assert abs((of(plain, "far", "ks").effect or 0.0) - exact["far"].ks) < 1e-3


def test_the_family_is_the_columns_of_the_check() -> None:
    """The same column alone and among fifty that did not move: its q-value grows with their number."""
    rng = np.random.default_rng(10)
    made = Column(name="x", quantile=normal)
    one, two = made.draw(rng, 3000), number(rng.normal(0.2, 1, 3000))
    others = {f"c{at}": of_levels(f"c{at}", np.ones(4)).draw(rng, 3000) for at in range(50)}
    alone, among = judged({"x": one}, {"x": two}), judged({"x": one, **others}, {"x": two, **others})
    assert of(alone, "x", "ks").p_value == of(among, "x", "ks").p_value
    assert (of(alone, "x", "ks").q_value or 0) < (of(among, "x", "ks").q_value or 0)


def test_labels_of_other_levels_are_told() -> None:
    found = judged({"y": category(a=2000, b=1000)}, {"y": category(c=2000, d=1000)}, y="label")
    assert found.kind != "ok"
    assert of(found, "y", "new levels").alarm


def test_levels_that_change_places_between_segments_are_told() -> None:
    one, two = category(x=2000), category(y=2000)
    both = category(x=2000, y=2000)
    reference = Reference(columns={"c": both}, roles={"c": "feature"}, segments={"s=A": {"c": one}, "s=B": {"c": two}})
    found = judge(
        reference, Scan(rows=4000, columns={"c": both}), POLICY, segments={"s=A": {"c": two}, "s=B": {"c": one}}
    )
    assert found.kind != "ok"
    assert {test.segment for test in found.tests if test.alarm} == {"s=A", "s=B"}


def test_nothing_to_compare_is_never_ok() -> None:
    found = judged({}, {"x": number(np.arange(500.0))})
    assert (found.kind, found.problems) == ("invalid_data", ("there is no column that can be compared",))
