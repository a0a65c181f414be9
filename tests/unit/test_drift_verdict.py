"""Verdicts: how often they cry over nothing, what they find, and what hostile data does to them."""

from __future__ import annotations

import gzip
import json
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drift_world import WATCH, parquet, reference, rows, verdict_of
from trackside.config.model import DriftPolicy
from trackside.documents.codec import dump, load
from trackside.documents.profile import Profile, sketch_of
from trackside.documents.verdict import Verdict
from trackside.drift import render
from trackside.drift.profile import build
from trackside.errors import DataError


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    return reference(tmp_path_factory.mktemp("reference"), np.random.default_rng(1))


def judged(profile: Profile, folder: Path, columns: Any, policy: DriftPolicy = WATCH) -> Verdict:
    return verdict_of(profile, parquet(folder / "current.parquet", columns), policy)


# False alarms and power


def test_nothing_alarms_where_nothing_moved(tmp_path: Path) -> None:
    """Fresh references and fresh current data from the same distribution, small and large."""
    rng = np.random.default_rng(2)
    kinds: Counter[str] = Counter()
    for n, m, cases in ((1000, 200, 40), (5000, 1000, 36), (20_000, 10_000, 4)):
        for _ in range(cases):
            profile = reference(tmp_path, rng, n)
            kinds[judged(profile, tmp_path, rows(rng, m)).verdict] += 1
    print(f"80 checks of unchanged data: {dict(kinds)}")
    assert kinds == {"ok": 80}


def test_many_levels_and_many_columns_do_not_alarm_by_chance(tmp_path: Path) -> None:
    """50 levels, of which most are rare; 30 columns; heavy tails; a column that is nearly always 0."""
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.full(50, 0.3))

    def table(count: int) -> dict[str, Any]:
        made: dict[str, Any] = {f"c{at}": rng.choice([f"l{i}" for i in range(50)], count, p=shares) for at in range(10)}
        made |= {f"t{at}": rng.standard_cauchy(count) for at in range(10)}
        return made | {
            f"z{at}": np.where(rng.random(count) < 0.97, 0.0, rng.exponential(size=count)) for at in range(10)
        }

    policy = DriftPolicy(reference="r", current="c")
    kinds: Counter[str] = Counter()
    for _ in range(40):
        profile = build(parquet(tmp_path / "reference.parquet", table(1500)), policy, "m")
        kinds[judged(profile, tmp_path, table(600), policy).verdict] += 1
    print(f"40 checks of 30 unchanged columns: {dict(kinds)}")
    assert kinds["ok"] >= 39


@pytest.mark.parametrize(
    ("what", "how", "count", "least"),
    [
        ("temperature", {"shift": 0.25}, 1000, 0.25),
        ("temperature", {"shift": 0.25}, 10_000, 0.95),
        ("temperature", {"shift": 0.5}, 1000, 0.95),
        ("rain", {"rate": 0.175}, 1000, 0.9),
        ("rain", {"rate": 0.175}, 10_000, 1.0),
        ("roc_auc", {"worse": 0.5}, 1000, 0.9),
    ],
)
def test_what_matters_is_found(
    profile: Profile, tmp_path: Path, what: str, how: dict[str, float], count: int, least: float
) -> None:
    rng = np.random.default_rng(4)
    found = sum(what in judged(profile, tmp_path, rows(rng, count, **how)).moved for _ in range(40))
    print(f"{what} {how} with {count:,} rows: found in {found} of 40")
    assert found >= 40 * least


def test_a_trifle_in_many_rows_is_none(tmp_path: Path) -> None:
    """0.02 σ in a million rows has a p-value of nothing, and matters nothing."""
    rng = np.random.default_rng(5)
    policy = DriftPolicy(reference="r", current="c")
    profile = build(parquet(tmp_path / "r.parquet", {"x": rng.normal(size=500_000)}), policy, "m")
    verdict = judged(profile, tmp_path, {"x": rng.normal(0.02, 1, 500_000)}, policy)
    assert verdict.verdict == "ok"
    tests = {test.test: test for test in verdict.tests if test.heading == "features"}
    assert sorted(tests) == ["ks", "wasserstein"]
    for test in tests.values():
        assert 0 < (test.low or 0) < (test.threshold or 0)  # surely there, surely small
        assert test.q_value == pytest.approx(1.0)


def test_a_threshold_of_the_policy_counts(profile: Profile, tmp_path: Path) -> None:
    moved = rows(np.random.default_rng(6), 5000, shift=0.4)
    assert "temperature" in judged(profile, tmp_path, moved).moved
    patient = replace(WATCH, thresholds={"temperature": 0.3, "score": 0.3, "brier": 1.0, "log_loss": 1.0, "label": 0.5})
    assert judged(profile, tmp_path, moved, patient).moved == []


def test_labels_that_are_not_there_yet(profile: Profile, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    table = rows(rng, 2000)
    none = {name: values for name, values in table.items() if name != "label"}
    assert judged(profile, tmp_path, none).verdict == "ok"
    empty = {**none, "label": pa.nulls(2000, pa.int64())}
    assert judged(profile, tmp_path, empty).verdict == "ok"
    some = {**none, "label": pa.array([int(one) if at < 40 else None for at, one in enumerate(table["label"])])}
    verdict = judged(profile, tmp_path, some)
    assert (verdict.verdict, [one for one in verdict.problems if one.startswith("label")]) == (
        "ok",
        ["label: 40 labels so far; at least 100 are needed"],
    )
    tests = judged(profile, tmp_path, none).tests
    assert {test.test for test in tests if test.heading == "performance"} == {"estimate"}


# Hostile current data: by its name, never by an exception


def _change(name: str, values: Callable[[int], Any]) -> Callable[[Path, dict[str, Any]], Path]:
    def made(path: Path, table: dict[str, Any]) -> Path:
        return parquet(path, {**table, name: values(len(table["hour"]))})

    return made


def _bytes(data: bytes, suffix: str = "") -> Callable[[Path, dict[str, Any]], Path]:
    def made(path: Path, table: dict[str, Any]) -> Path:
        del table
        path = path.with_suffix(suffix) if suffix else path
        path.write_bytes(data)
        return path

    return made


def _truncated(path: Path, table: dict[str, Any]) -> Path:
    parquet(path, table)
    path.write_bytes(path.read_bytes()[:-200])
    return path


def _holes(path: Path, table: dict[str, Any]) -> Path:
    """The middle of the file is overwritten: the schema can be read, the rows cannot."""
    parquet(path, table)
    data = bytearray(path.read_bytes())
    data[100:20_000] = bytes(19_900)
    path.write_bytes(bytes(data))
    return path


def _without(*names: str) -> Callable[[Path, dict[str, Any]], Path]:
    def made(path: Path, table: dict[str, Any]) -> Path:
        return parquet(path, {name: values for name, values in table.items() if name not in names})

    return made


def _duplicated(path: Path, table: dict[str, Any]) -> Path:
    whole = pa.table(table)
    pq.write_table(pa.Table.from_arrays([*whole.columns, whole.column(0)], names=[*table, "temperature"]), path)
    return path


def _csv(path: Path, table: dict[str, Any], change: Callable[[list[list[str]]], Any] = lambda lines: None) -> Path:
    lines = [list(table), *([str(one) for one in row] for row in zip(*table.values(), strict=True))]
    change(lines)
    path = path.with_suffix(".csv")
    path.write_text("\n".join(",".join(line) for line in lines) + "\n")
    return path


def _mixed(path: Path, table: dict[str, Any]) -> Path:
    def change(lines: list[list[str]]) -> None:
        for line in lines[1::3]:
            line[0] = "n/a?"

    return _csv(path, table, change)


def _ragged(path: Path, table: dict[str, Any]) -> Path:
    return _csv(path, table, lambda lines: lines[7].append("one more"))


def _noise(count: int) -> Any:
    values = np.random.default_rng(0).normal(size=count)
    values[::50] = np.inf
    return values


HOSTILE: dict[str, tuple[Callable[[Path, dict[str, Any]], Path], str, str]] = {
    "a column is gone": (_without("temperature"), "invalid_data", "no such column"),
    "the prediction is gone": (_without("score"), "invalid_data", "no such column"),
    "all columns are gone": (lambda path, _: parquet(path, {"other": [1] * 500}), "invalid_data", "no such column"),
    "numbers became texts": (_change("temperature", lambda n: ["warm"] * n), "invalid_data", "a number in the"),
    "numbers became texts of numbers": (_change("hour", lambda n: ["7"] * n), "invalid_data", "a number in the"),
    "texts became numbers": (_change("carrier", lambda n: list(range(n))), "invalid_data", "a category in the"),
    "numbers became dates": (
        _change("hour", lambda n: pa.array([0] * n, pa.timestamp("s"))), "invalid_data", "a number in the",
    ),
    "numbers became lists": (_change("hour", lambda n: [[1]] * n), "invalid_data", "a number in the"),
    "numbers became bytes": (_change("hour", lambda n: [b"x"] * n), "invalid_data", "a number in the"),
    "truths became 7": (_change("weekend", lambda n: [7] * n), "invalid_data", "no value is a boolean"),
    "the label became text": (_change("label", lambda n: ["late"] * n), "invalid_data", "a number in the"),
    "the label became text, in a CSV file": (
        lambda path, table: _csv(path, table | {"label": ["late"] * len(table["label"])}),
        "invalid_data", "not a number: 0 % → 100 %",
    ),
    "the label became infinite": (_change("label", lambda n: np.full(n, np.inf)), "warning", "infinite"),
    "all null": (_change("temperature", lambda n: pa.nulls(n, pa.float64())), "invalid_data", "has a value"),
    "all null without a type": (_change("carrier", lambda n: pa.nulls(n)), "invalid_data", "has a value"),
    "all NaN": (_change("temperature", lambda n: np.full(n, np.nan)), "invalid_data", "has a value"),
    "all infinite": (_change("temperature", lambda n: np.full(n, -np.inf)), "warning", "infinite"),
    "some infinite": (_change("temperature", _noise), "warning", "infinite: 0 % → 2.0 %"),
    "the largest numbers": (_change("temperature", lambda n: np.full(n, 1.7e308)), "drift", "mean"),
    "numbers beyond all bins": (_change("hour", lambda n: np.arange(n) * 10**15), "drift", "outside"),
    "a third is missing": (
        _change("carrier", lambda n: [None if at % 3 == 0 else f"c{at // 3 % 12}" for at in range(n)]),
        "warning", "missing: 0 % → 33.4 %",
    ),
    "10,000 new levels": (_change("carrier", lambda n: [f"new {at}" for at in range(n)]), "warning", "lacks: new"),
    "one level of a million signs": (_change("carrier", lambda n: ["x" * 10**6] + ["c1"] * (n - 1)), "drift", "c1"),
    "levels that harm": (
        _change("carrier", lambda n: ["<script>alert(1)</script>|`a`\n::error::x\x00\u202e", "c1"] * (n // 2)),
        "drift", "",
    ),
    "an empty file": (_bytes(b""), "invalid_data", "cannot be read"),
    "an empty CSV file": (_bytes(b"", ".csv"), "invalid_data", "empty"),
    "a header alone": (
        lambda path, table: _csv(path, {name: values[:0] for name, values in table.items()}),
        "invalid_data", "no rows",
    ),
    "no rows": (
        lambda path, table: parquet(path, {name: values[:0] for name, values in table.items()}),
        "invalid_data", "no rows",
    ),
    "99 rows": (
        lambda path, table: parquet(path, {name: values[:99] for name, values in table.items()}),
        "insufficient_data", "99 rows",
    ),
    "a truncated file": (_truncated, "invalid_data", "cannot be read"),
    "a file with a hole": (_holes, "invalid_data", "cannot be read"),
    "a picture": (_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20), "invalid_data", "cannot be read"),
    "a picture named CSV": (_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20, ".csv"), "invalid_data", "no text"),
    "a page of HTML named JSON": (_bytes(b"<html>not found</html>", ".jsonl"), "invalid_data", "cannot be read"),
    "a page of HTML named CSV": (_bytes(b"<html>\nnot found</html>\n", ".csv"), "invalid_data", "no such column"),
    "another ending": (_bytes(b"a,b\n1,2\n", ".xlsx"), "invalid_data", "no table"),
    "gzip that is none": (_bytes(b"PK\x03\x04" + b"x" * 99, ".csv.gz"), "invalid_data", ""),
    "a column twice": (_duplicated, "invalid_data", "twice"),
    "rows of different lengths": (_ragged, "invalid_data", "cannot be read"),
    "numbers mixed with words": (_mixed, "invalid_data", "not a number: 0 % → 33.4 %"),
    "lone quotes": (_bytes(b'temperature,hour\n"1,2\n3,4\n', ".csv"), "invalid_data", ""),
    "Latin-1": (_bytes("temperature,hour\nwärm,1\n".encode("latin-1"), ".csv"), "invalid_data", ""),
    "JSON of another shape": (_bytes(b'{"a": {"b": [1, 2]}}\n[1]\n', ".jsonl"), "invalid_data", "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_data_has_a_verdict(profile: Profile, tmp_path: Path, case: str) -> None:
    make, kind, words = HOSTILE[case]
    table = rows(np.random.default_rng(8), 10_000 if "10,000" in case else 500)
    verdict = verdict_of(profile, make(tmp_path / "current.parquet", table))
    said = " ".join([*verdict.problems, *(test.sentence for test in verdict.tests if test.alarm)])
    assert (verdict.verdict, words in said) == (kind, True), (verdict.verdict, said)
    again = load(Verdict, dump(verdict), limit=10**7)
    assert again == verdict
    page, text = render.page(verdict), render.markdown(verdict)
    assert len(page.encode()) < 1_000_000
    assert len(text) < 60_000
    for shown in (page, text):
        assert "<script" not in shown
        assert "\x00" not in shown
        assert "\u202e" not in shown


def test_how_many_hostile_cases_there_are() -> None:
    print(f"{len(HOSTILE)} cases of hostile data")
    assert len(HOSTILE) >= 40


NAMES = [
    "a|b",
    "`x`",
    "a\nb",
    "<img src=x onerror=alert(1)>",
    "x\u202ey",
    "@acme #1 https://e.example",
    "",
    " ",
    "ü.é",
    "::x",
]


def test_hostile_column_names(tmp_path: Path) -> None:
    """Everything that can be in a name is a column as any other, and is shown as it is."""
    rng = np.random.default_rng(9)
    policy = DriftPolicy(reference="r", current="c")
    profile = build(parquet(tmp_path / "r.parquet", {name: rng.normal(size=2000) for name in NAMES}), policy, "m")
    assert [one.name for one in profile.columns] == NAMES
    verdict = judged(profile, tmp_path, {name: rng.normal(2, 1, 2000) for name in NAMES}, policy)
    assert sorted(verdict.moved) == sorted(NAMES)
    text, page = render.markdown(verdict), render.page(verdict)
    table = [line for line in text.splitlines() if line.startswith("| ") and " feature" in line.replace("<br>", " ")]
    assert len(table) == len(NAMES)
    assert all(line.count("|") == 6 for line in table)
    for shown in (text, page):
        assert "<img" not in shown
    assert "@acme" not in text
    gone = judged(profile, tmp_path, {"other": [1.0] * 500}, policy)
    assert len(gone.moved) == len(NAMES)
    print(f"{len(NAMES)} hostile names of columns")


def test_csv_and_parquet_say_the_same(tmp_path: Path, profile: Profile) -> None:
    table = rows(np.random.default_rng(10), 1000, shift=0.5)
    one = judged(profile, tmp_path, table)
    other = verdict_of(
        profile, _csv(tmp_path / "current", {**table, "weekend": [str(x).lower() for x in table["weekend"]]})
    )
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "current.csv").read_bytes()))
    third = verdict_of(profile, packed)
    for verdict in (other, third):
        assert (verdict.verdict, verdict.moved) == (one.verdict, one.moved)
        assert [(test.column, test.test) for test in verdict.tests] == [(test.column, test.test) for test in one.tests]


def test_json_lines_and_tabs_say_the_same(tmp_path: Path, profile: Profile) -> None:
    table = rows(np.random.default_rng(10), 1000, shift=0.5)
    one = judged(profile, tmp_path, table)
    lines = [
        dict(zip(table, row, strict=True))
        for row in zip(*(np.asarray(v).tolist() for v in table.values()), strict=True)
    ]
    jsonl = tmp_path / "current.jsonl"
    jsonl.write_text("\n".join(json.dumps(line) for line in lines))
    tabs = tmp_path / "current.tsv"
    tabs.write_text("\n".join("\t".join(map(str, row)) for row in [list(table), *(line.values() for line in lines)]))
    for path in (jsonl, tabs):
        verdict = verdict_of(profile, path)
        assert (verdict.verdict, verdict.moved) == (one.verdict, one.moved)


def test_a_header_may_be_quoted(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text('"a, ""b""\nc",d\n' + "1,x\n2,y\n" * 200)
    policy = DriftPolicy(reference="r", current="c")
    made = build(path, policy, "m")
    assert {one.name: one.type for one in made.columns} == {'a, "b"\nc': "number", "d": "category"}
    assert verdict_of(made, path, policy).verdict == "ok"


def test_memory_does_not_grow_with_levels(tmp_path: Path) -> None:
    """Of 200,000 texts that are all new, those of the reference are still counted."""
    policy = DriftPolicy(reference="r", current="c")
    made = build(parquet(tmp_path / "r.parquet", {"c": ["a", "b"] * 500}), policy, "m")
    current = [f"new {at}" for at in range(200_000)] + ["a"] * 300
    verdict = judged(made, tmp_path, {"c": current}, policy)
    assert verdict.verdict == "drift"
    (chi2,) = [test for test in verdict.tests if test.test == "chi2"]
    assert "a 50.0 % → " in chi2.sentence


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(
        st.one_of(
            st.none(), st.floats(), st.floats(allow_nan=False, allow_infinity=False), st.integers(-5, 5).map(float)
        ),
        min_size=1,
        max_size=400,
    )
)
def test_any_numbers_make_a_profile_of_themselves(values: list[float | None], tmp_path_factory: Any) -> None:
    """Counts add up, JSON can carry it, and data is never unlike itself."""
    folder = tmp_path_factory.getbasetemp()
    path = parquet(folder / "any.parquet", {"x": pa.array(values, pa.float64())})
    policy = DriftPolicy(reference="r", current="c", min_rows=1)
    profile = load(Profile, dump(build(path, policy, "m")))
    (column,) = profile.columns
    finite = [one for one in values if one is not None and math.isfinite(one)]
    assert column.missing == sum(one is None or math.isnan(one) for one in values)
    assert column.infinite == sum(one is not None and math.isinf(one) for one in values)
    assert column.low == (min(finite) if finite else None)
    assert sketch_of(column).finite == len(finite)
    verdict = verdict_of(profile, path, policy)
    assert verdict.verdict == "ok", verdict
    render.page(verdict)


def test_a_reference_that_is_none(tmp_path: Path) -> None:
    good = parquet(tmp_path / "r.parquet", rows(np.random.default_rng(1), 500))
    for path, policy in (
        (tmp_path / "missing.parquet", WATCH),
        (
            parquet(tmp_path / "empty.parquet", {"x": pa.nulls(0, pa.float64())}),
            DriftPolicy(reference="r", current="c"),
        ),
        (good, replace(WATCH, features=("temprature",))),
        (good, replace(WATCH, prediction="p")),
    ):
        with pytest.raises(DataError):
            build(path, policy, "m")


def test_columns_are_chosen_by_the_policy(tmp_path: Path) -> None:
    path = parquet(tmp_path / "r.parquet", rows(np.random.default_rng(1), 500))
    made = build(path, replace(WATCH, features=("hour", "rain", "score"), ignore=("rain",)), "m")
    assert {one.name: one.role for one in made.columns} == {"hour": "feature", "score": "prediction", "label": "label"}
    assert {"brier", "log_loss", "roc_auc"} <= set(made.metrics)


def test_what_is_ignored_by_now_needs_no_new_release(profile: Profile, tmp_path: Path) -> None:
    table = {**rows(np.random.default_rng(6), 5000), "temperature": np.full(5000, 9.0)}
    assert judged(profile, tmp_path, table).moved == ["temperature"]
    for policy in (replace(WATCH, ignore=("temperature",)), replace(WATCH, features=("hour",))):
        verdict = judged(profile, tmp_path, table, policy)
        assert (verdict.verdict, verdict.problems) == ("ok", [])
    vain = replace(WATCH, features=("hour", "new"), thresholds={"roc_auc": 0.1, "hour": 0.1, "huor": 0.1})
    assert [one.partition(":")[0] for one in judged(profile, tmp_path, table, vain).problems] == ["new", "thresholds"]


def test_row_numbers_of_pandas_are_no_feature(tmp_path: Path) -> None:
    path = parquet(tmp_path / "r.parquet", {"x": [1.0, 2.0] * 100, "__index_level_0__": list(range(200))})
    made = build(path, DriftPolicy(reference="r", current="c"), "m")
    assert [one.name for one in made.columns] == ["x"]


def test_rare_levels_are_not_named(tmp_path: Path) -> None:
    """A profile is published with the release: a level of a few rows may be a person. It is still known again."""
    levels = ["common"] * 400 + ["rare"] * 4 + ["Ada Lovelace"]
    policy = DriftPolicy(reference="r", current="c")
    made = build(parquet(tmp_path / "r.parquet", {"c": levels}), policy, "m")
    assert list(made.columns[0].levels.values()) == [400, 4, 1]
    assert b"Lovelace" not in dump(made)
    assert b"rare" not in dump(made)
    verdict = judged(made, tmp_path, {"c": levels}, policy)
    assert (verdict.verdict, [test.test for test in verdict.tests]) == ("ok", ["new levels", "chi2"])
    assert verdict.tests[0].sentence == "none is new"
