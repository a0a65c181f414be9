"""The metric itself: values and errors, labels that come late and apart, slices, and estimates beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trackside.cli import main
from trackside.config.model import DriftPolicy
from trackside.documents.codec import load
from trackside.documents.profile import Profile
from trackside.documents.verdict import Test as Found
from trackside.documents.verdict import Verdict
from trackside.errors import DataError
from trackside.measures.chance import benjamini_hochberg
from trackside.performance.judged import SLICES, Performed, doubted, learn, perform
from trackside.performance.labels import Rows, as_texts, join, labels_policy, read
from trackside.performance.measured import Pairs, auc, measured, pairs
from trackside.tables.sources import Data
from trackside.tables.table import Table, open_table

POLICY = DriftPolicy(
    reference="r", current="c", prediction="score", label="late", labels="l", key="id", time="at", label_time="known",
    slices=("carrier",),
)  # fmt: skip
DAY = 86_400
BINARY = ["accuracy", "brier", "f1", "log_loss", "precision", "recall", "roc_auc"]


def table(folder: Path, columns: dict[str, Any], name: str = "table.parquet") -> Table:
    """Written and read again."""
    path = folder / name
    pq.write_table(pa.table(columns), path)
    return open_table([path])


def data(folder: Path, columns: dict[str, Any]) -> Data:
    table(folder, columns, "labels.parquet")
    return Data(source="labels.parquet", files=(folder / "labels.parquet",), digest="")


def world(rows: int, seed: int, *, worse: tuple[str, ...] = (), carriers: int = 4) -> dict[str, Any]:
    """A model of two classes; for carriers in `worse` its scores say nothing."""
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 4, rows)
    carrier = rng.integers(0, carriers, rows)
    names = np.array([f"C{at}" for at in range(carriers)])[carrier]
    chance = np.where(np.isin(names, worse), 1 / 3, score)
    return {
        "id": np.arange(rows) + 1000,
        "score": score,
        "carrier": names,
        "late": (rng.random(rows) < chance).astype(np.int64),
        "at": pa.array(rng.integers(0, DAY, rows) * 1_000_000, pa.timestamp("us")),
    }


def profile(folder: Path, policy: DriftPolicy = POLICY, rows: int = 12_000, **more: Any) -> Profile:
    """Of the world as it was, as a release would carry it."""
    metrics, details = learn(table(folder, world(rows, 1, **more), "reference.parquet"), policy)
    return Profile(model="m", rows=rows, columns=[], metrics=metrics, details=json.loads(json.dumps(details)))


def of(found: Performed, test: str, segment: str | None = "") -> dict[str, Found]:
    return {
        f"{one.column} {one.segment}".strip(): one
        for one in found.tests
        if one.test == test and (segment is None or one.segment == segment)
    }


# Metrics


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=30, max_size=200))
def test_auc_is_the_mann_whitney_statistic(rows: list[tuple[bool, int]]) -> None:
    truth = np.array([float(one) for one, _ in rows])
    scores = np.array([float(two) for _, two in rows])
    ones, zeros = scores[truth == 1], scores[truth == 0]
    if min(ones.size, zeros.size) < 2:
        return
    statistic = stats.mannwhitneyu(ones, zeros).statistic
    assert auc(truth, scores).value == pytest.approx(statistic / (ones.size * zeros.size))


def test_standard_errors_are_those_of_many_samples() -> None:
    """The spread of each metric over 400 samples against the mean of its standard errors."""
    rng = np.random.default_rng(6)
    values: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    for _ in range(400):
        normal = rng.normal(size=600)
        score = 1 / (1 + np.exp(1 - normal))
        truth = (rng.random(600) < score).astype(float)
        found = dict(measured(Pairs(labels=truth, scores=score)).metrics)
        noise = normal * 3 + rng.normal(size=600)
        found |= measured(Pairs(labels=noise, scores=normal * 3), positive="").metrics
        for name, one in found.items():
            values.setdefault(name, []).append(one.value)
            errors.setdefault(name, []).append(one.error)
    assert sorted(values) == sorted([*BINARY, "mae", "rmse"])
    for name in values:
        assert np.mean(errors[name]) == pytest.approx(np.std(values[name], ddof=1), rel=0.12), name


@pytest.mark.parametrize(
    ("labels", "names", "positive"),
    [
        ([0.0, 1.0] * 30, BINARY, "1"),
        (["late", "in time"] * 30, BINARY, "late"),
        ([1.0] * 60, BINARY[:-1], "1"),
        ([0.5, 2.5, 3.0] * 20, ["mae", "rmse"], ""),
        (["a", "b", "c"] * 20, [], ""),
    ],
)
def test_the_kind_of_label_decides(labels: list[Any], names: list[str], positive: str) -> None:
    array = np.array(labels, dtype=object if isinstance(labels[0], str) else float)
    found = measured(Pairs(labels=array, scores=np.linspace(0, 1, 60)))
    assert (sorted(found.metrics), found.positive) == (names, positive)
    assert bool(found.note) == (len(names) < 2 or labels == [1.0] * 60)


def test_only_ranking_is_judged_of_scores_that_are_no_chances() -> None:
    found = measured(Pairs(labels=np.array([0.0, 1.0] * 30), scores=np.linspace(-3, 3, 60)))
    assert list(found.metrics) == ["roc_auc"]
    assert "only their ranking" in found.note


# Labels in the table


def test_labels_of_every_kind_are_read(tmp_path: Path) -> None:
    for labels, numeric in (
        (pa.array([0, 1, None, 1]), True),
        (pa.array([0.0, 1.0, float("nan"), 1.0]), True),
        (pa.array([False, True, None, True]), True),
        (pa.array(["0", "1", None, "1"]), True),
        (pa.array(["no", "yes", None, "yes"]), False),
        (pa.array(["no", "yes", None, "yes"]).dictionary_encode(), False),
    ):
        rows = read(table(tmp_path, {"s": [0.1, 0.9, 0.5, None], "y": labels}), score="s", label="y")
        assert rows.labelled.tolist() == [True, True, False, False], labels
        assert (rows.classes is None) == numeric
        found = pairs(table(tmp_path, {"s": [0.1, 0.9, 0.5, None], "y": labels}), label="y", score="s")
        assert found.rows == 2


def test_many_rows_are_thinned_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trackside.performance import labels

    monkeypatch.setattr(labels, "KEPT", 1000)
    count = 10_007
    path = tmp_path / "big.parquet"
    whole = pa.table(
        {"s": np.arange(count) / count, "y": (np.arange(count) % 2), "g": [str(n % 3) for n in range(count)]}
    )
    pq.write_table(whole, path, row_group_size=333)
    rows = read(open_table([path]), score="s", label="y", slices=("g",))
    steps = np.unique(np.diff(np.rint(rows.scores * count).astype(int)))
    assert rows.scores.size <= 2 * 1000
    assert steps.size == 1
    assert steps[0] in (8, 16)
    assert rows.numbers is not None
    assert (rows.numbers == np.rint(rows.scores * count) % 2).all()
    names = rows.slices["g"]
    assert [names.names[at] for at in names.codes] == [str(round(one * count) % 3) for one in rows.scores]


# Labels apart


@settings(max_examples=150, deadline=None)
@given(
    keys=st.lists(st.one_of(st.none(), st.integers(0, 12)), min_size=1, max_size=25),
    labels=st.lists(
        st.tuples(st.one_of(st.none(), st.integers(0, 15)), st.one_of(st.none(), st.integers(0, 2))), max_size=25
    ),
    text=st.booleans(),
)
def test_a_join_is_what_a_person_would_look_up(
    keys: list[int | None], labels: list[tuple[int | None, int | None]], text: bool
) -> None:
    """Against dictionaries: a key with labels that differ labels nothing, keys of either type meet as texts."""

    def rows(column: list[Any], *, texts: bool, values: list[Any] | None = None) -> Rows:
        from trackside.performance.labels import _keys

        hashes, keyed = _keys(
            pa.array(
                [None if one is None else str(one) for one in column] if texts else column,
                pa.string() if texts else pa.int64(),
            )
        )
        numbers = None if values is None else np.array([np.nan if one is None else one for one in values], dtype=float)
        return Rows(scores=np.full(len(column), 0.5), keys=hashes, keyed=keyed, numbers=numbers)

    held: dict[int, set[int]] = {}
    for key, label in labels:
        if key is not None and label is not None:
            held.setdefault(key, set()).add(label)
    found = join(
        rows(keys, texts=text),
        rows([key for key, _ in labels], texts=False, values=[label for _, label in labels]),
        source="l",
        key="id",
    )
    wanted = [next(iter(held[key])) if key is not None and len(held.get(key, ())) == 1 else None for key in keys]
    assert found.rows.numbers is not None
    assert [None if np.isnan(one) else int(one) for one in found.rows.numbers] == wanted
    assert found.facts.joined == sum(one is not None for one in wanted)
    assert found.facts.waiting == len(keys) - found.facts.joined
    assert found.facts.unmatched == len({key for key, some in held.items() if len(some) == 1} - set(keys))
    assert found.conflicts == sum(len(some) > 1 for some in held.values())


@pytest.mark.parametrize(
    "array",
    [pa.array([12, None]), pa.array([12.0, None]), pa.array(["12", None]), pa.array([12, None], pa.uint8())],
)
def test_keys_of_any_type_are_the_same_text(array: Any) -> None:
    assert as_texts(array).to_pylist() == ["12", None]


def test_a_whole_number_is_the_same_text_beside_any_other() -> None:
    assert as_texts(pa.array([12.0, 0.5, -3.0, float("nan"), None])).to_pylist() == ["12", "0.5", "-3", None, None]
    assert as_texts(pa.array([float("inf"), 12.0])).to_pylist() == ["inf", "12"]


def test_late_labels_are_joined_and_their_delay_is_told(tmp_path: Path) -> None:
    before, now = profile(tmp_path), world(6000, 2)
    truth = now.pop("late")
    came = np.arange(0, 6000, 2)
    known = pa.array(
        (np.array(now["at"].cast(pa.int64()))[came] // 1_000_000 + 3 * DAY) * 1_000_000, pa.timestamp("us")
    )
    extra = [10_000_000, 10_000_001]
    arrived = {
        "id": [str(one) for one in [*now["id"][came], *extra]],
        "late": [*truth[came], 0, 1],
        "known": pa.concat_arrays([known, pa.array([0, 0], pa.timestamp("us"))]),
    }
    found = perform(before, table(tmp_path, now), POLICY, labels=data(tmp_path, arrived))
    assert found.labels is not None
    assert (found.labels.rows, found.labels.joined, found.labels.waiting, found.labels.unmatched) == (
        6000,
        3000,
        3000,
        2,
    )
    assert found.labels.lag_days == {"p50": 3.0, "p90": 3.0, "max": 3.0}
    assert "3,000 of 6,000 rows" in found.problems[0]
    tests = of(found, "metric")
    assert set(tests) == {"roc_auc", "brier", "log_loss"}
    assert "on 3,000 labelled rows" in tests["roc_auc"].sentence
    assert not any(one.alarm for one in tests.values())
    assert set(of(found, "estimate")) == {"accuracy", "precision", "recall", "f1", "roc_auc", "brier", "log_loss"}
    assert found.doubts, "half of the rows have no label yet"


def test_columns_that_the_reference_does_not_know_are_doubts(tmp_path: Path) -> None:
    far = Found(heading="data_quality", column="hour", test="range", effect=0.4, extra={"now": 0.4})
    now = world(600, 11)
    del now["late"]
    found = perform(profile(tmp_path), table(tmp_path, now), POLICY)
    said = doubted(found, [far, *found.tests])
    assert said[0].startswith("40.0 % of rows have a value of hour that the reference lacks")
    assert said[1:] == list(found.doubts)
    assert doubted(Performed(), [far]) == []


def test_a_model_that_fails_is_seen_once_labels_come(tmp_path: Path) -> None:
    """Scores as ever, labels that no longer follow them: estimates see nothing, labels do, and doubt the estimates."""
    before, now = profile(tmp_path), world(6000, 3, worse=("C0", "C1", "C2", "C3"))
    truth, ids = now.pop("late"), now["id"][:2000]
    none = perform(before, table(tmp_path, now), POLICY, labels=DataError("none", reason_code="current_missing"))
    assert none.problems == ("no labels have arrived yet",)
    assert of(none, "metric") == {}
    assert abs(of(none, "estimate")["roc_auc"].effect or 0) < 0.02
    assert not any(one.alarm for one in none.tests)
    assert len(none.doubts) == 1
    found = perform(before, table(tmp_path, now), POLICY, labels=data(tmp_path, {"id": ids, "late": truth[:2000]}))
    assert of(found, "metric")["roc_auc"].alarm
    assert "concept drift" in found.doubts[0]
    assert "2,000 labelled rows" in found.doubts[0]


@pytest.mark.parametrize(
    ("labels", "column", "test", "words"),
    [
        ({"nr": [1], "late": [1]}, "id", "present", "no such column in the labels of labels.parquet"),
        ({"id": [1], "delay": [1]}, "late", "present", "no such column in the labels"),
        ({"id": np.arange(500) + 9_000_000, "late": [0, 1] * 250}, "id", "join", "not one of 500 labels joins"),
        ({"id": np.tile(np.arange(1000, 1400), 2), "late": [0, 1] * 400}, "", "", ""),
        (
            {"id": np.repeat(np.arange(1000, 1400), 2), "late": [0, 1] * 400},
            "id",
            "labels",
            "400 keys have several labels that differ; they are left out, and 0 of 600 rows have",
        ),
        (
            {"id": [*range(1000, 1600), *range(1000, 1550)], "late": [0] * 600 + [1] * 550},
            "id",
            "labels",
            "550 keys have several labels that differ; they are left out, and 50 of 600 rows have",
        ),
    ],
)
def test_labels_that_do_not_join_are_invalid_by_name(
    tmp_path: Path, labels: dict[str, Any], column: str, test: str, words: str
) -> None:
    now = world(600, 4)
    del now["late"]
    found = perform(profile(tmp_path), table(tmp_path, now), POLICY, labels=data(tmp_path, labels))
    broken = [one for one in found.tests if one.heading == "data_quality"]
    assert [(one.column, one.test, one.alarm) for one in broken] == ([(column, test, True)] if column else [])
    assert all(words in one.sentence for one in broken)
    assert {one.kind for one in broken} <= {"invalid_data"}


@pytest.mark.parametrize("disputed", [1, 99, 400])
def test_some_labels_that_differ_are_a_warning_while_enough_are_left(tmp_path: Path, disputed: int) -> None:
    now = world(600, 4)
    truth = now.pop("late")
    labels = {"id": [*now["id"], *now["id"][:disputed]], "late": [*truth, *(1 - truth[:disputed])]}
    found = perform(profile(tmp_path), table(tmp_path, now), POLICY, labels=data(tmp_path, labels))
    assert [(one.test, one.kind) for one in found.tests if one.heading == "data_quality"] == [("labels", "warning")]
    assert found.labels is not None
    assert found.labels.joined == 600 - disputed


@pytest.mark.parametrize("swapped", [False, True])
def test_whole_keys_meet_however_they_are_written(tmp_path: Path, swapped: bool) -> None:
    """A column of whole numbers becomes one of floats as soon as one is missing, and a CSV file holds it so."""
    now = world(600, 4)
    truth, ids = now.pop("late"), now["id"]
    path = tmp_path / "labels.csv"
    lines = [f"{key}.0,{label}" for key, label in zip(ids, truth, strict=True)]
    path.write_text("\n".join(["id,late", *lines, ",1", "7.5,0"]) + "\n")
    if swapped:
        now["id"] = pa.array([f"{key}.0" for key in ids])
        path.write_text("\n".join(["id,late", *(line.replace(".0,", ",") for line in lines)]) + "\n")
    labels = Data(source="labels.csv", files=(path,), digest="")
    found = perform(profile(tmp_path), table(tmp_path, now), POLICY, labels=labels)
    assert found.labels is not None
    assert (found.labels.joined, found.labels.unmatched) == (600, 0 if swapped else 1)


def test_keys_of_either_side_are_shown_where_none_meet(tmp_path: Path) -> None:
    now = world(600, 4)
    del now["late"]
    labels = {"id": [f"order-{at}" for at in range(500)], "late": [0, 1] * 250}
    found = perform(profile(tmp_path), table(tmp_path, now), POLICY, labels=data(tmp_path, labels))
    (broken,) = [one for one in found.tests if one.test == "join"]
    assert broken.sentence.endswith(": their keys are like 'order-0', those of the rows like '1000'")


def test_labels_that_are_no_table_are_invalid(tmp_path: Path) -> None:
    (tmp_path / "labels.parquet").write_bytes(b"PAR1 not at all")
    now = world(600, 5)
    found = perform(
        profile(tmp_path), table(tmp_path, now), POLICY,
        labels=Data(source="labels.parquet", files=(tmp_path / "labels.parquet",), digest=""),
    )  # fmt: skip
    assert [(one.column, one.kind) for one in found.tests if one.heading == "data_quality"] == [
        ("late", "invalid_data")
    ]
    assert found.labels is None


def test_current_data_without_a_key_cannot_be_joined(tmp_path: Path) -> None:
    now = world(600, 6)
    del now["id"]
    found = perform(profile(tmp_path), table(tmp_path, now), POLICY, labels=data(tmp_path, {"id": [1], "late": [1]}))
    assert [(one.column, one.test) for one in found.tests if one.kind == "invalid_data"] == [("id", "present")]


def test_what_labels_are_gathered_by() -> None:
    policy = labels_policy(DriftPolicy(reference="r", current="c", query="q", labels="l", labels_query="p", key="id"))
    assert (policy.current, policy.query) == ("l", "p")


# Slices


def test_a_slice_that_fails_is_found_and_the_others_are_not(tmp_path: Path) -> None:
    before = profile(tmp_path)
    found = perform(before, table(tmp_path, world(12_000, 7, worse=("C2",))), POLICY)
    assert found.doubts == ()
    assert of(found, "estimate") == {}, "all rows have labels: nothing is to be estimated"
    slices = {name: one for name, one in of(found, "metric", None).items() if one.segment}
    assert len(slices) == 4 * 3
    assert {one.segment for one in slices.values() if one.alarm} == {"carrier=C2"}
    assert slices["roc_auc carrier=C2"].alarm


def test_fifty_slices_without_change_do_not_alarm(tmp_path: Path) -> None:
    """Twenty at most are judged; corrected together, not one alarms in 30 checks of 5,000 rows."""
    before = profile(tmp_path, rows=30_000, carriers=50)
    judged = alarms = 0
    for seed in range(30):
        found = perform(before, table(tmp_path, world(5000, 100 + seed, carriers=50)), POLICY)
        tests = [one for one in found.tests if one.test == "metric"]
        q_values = benjamini_hochberg([one.p_value or 0.0 for one in tests])
        judged += len({one.segment for one in tests if one.segment})
        alarms += sum(one.alarm and q < 0.05 for one, q in zip(tests, q_values, strict=True))
    print(f"{judged} slices judged, {alarms} alarms")
    assert 0 < judged <= 30 * SLICES
    assert alarms == 0


def test_a_column_that_is_no_slice_is_told(tmp_path: Path) -> None:
    before = profile(tmp_path)
    found = perform(
        before, table(tmp_path, world(500, 8)), DriftPolicy(**{**_fields(POLICY), "slices": ("carrier", "x")})
    )
    assert any(line.startswith("slices: x is no column") for line in found.problems)


def _fields(policy: DriftPolicy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in policy.__dataclass_fields__}


# What a profile keeps


def test_a_changed_decision_waits_for_the_next_version(tmp_path: Path) -> None:
    """What the reference calls positive, current data does too: else every check would tell of a change."""
    before, now = profile(tmp_path), world(3000, 12)
    del now["late"]
    changed = DriftPolicy(**{**_fields(POLICY), "decision": 0.2})
    found, again = (perform(before, table(tmp_path, now), one) for one in (POLICY, changed))
    assert of(found, "estimate") == of(again, "estimate")


def test_nothing_is_learnt_without_labels_or_scores(tmp_path: Path) -> None:
    columns = world(200, 9)
    assert learn(table(tmp_path, columns), DriftPolicy(reference="r", current="c", prediction="score")) == ({}, {})
    assert learn(table(tmp_path, columns), DriftPolicy(reference="r", current="c", prediction="score", label="y")) == (
        {},
        {},
    )
    empty = perform(Profile(model="m", rows=1, columns=[]), table(tmp_path, columns), POLICY)
    assert empty == Performed()


DETAILS = st.recursive(
    st.one_of(st.none(), st.integers(-5, 900), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["carrier", "roc_auc", "C1", "metrics", "metric_rows", "metric_errors"]), inner, max_size=3
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["metric_errors", "positive", "slices", "cbpe", "decision"]), DETAILS, max_size=4)
)
def test_damaged_details_of_a_profile_are_no_traceback(details: dict[str, Any]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        before = Profile(model="m", rows=1, columns=[], metrics={"roc_auc": 0.7}, details=details)
        found = perform(before, table(Path(folder), world(150, 10)), POLICY)
    assert isinstance(found, Performed)


# The whole of it, as a person types it


LATE = """\
version: 1
models:
  delay:
    path: model.bin
    drift:
      reference: eval/predictions.parquet
      current: "production/{date}.parquet"
      prediction: score
      label: late
      labels: "labels/{date}.csv"
      key: id
      time: at
      label-time: known
      slices: [carrier]
      ignore: [id]
"""


def test_labels_that_come_days_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A day is checked before its labels are there, with them, and with those of another table."""
    monkeypatch.chdir(tmp_path)
    for folder in ("eval", "production", "labels"):
        (tmp_path / folder).mkdir()
    (tmp_path / "trackside.yaml").write_text(LATE)
    table(tmp_path, world(12_000, 1), "eval/predictions.parquet")
    now = world(6000, 3, worse=("C2",))
    truth = now.pop("late")
    now["at"] = pa.array(np.sort(np.array(now["at"].cast(pa.int64()))) + 9 * DAY * 1_000_000, pa.timestamp("us"))
    table(tmp_path, now, "production/2026-03-02.parquet")

    def check(code: int) -> Verdict:
        assert main(["drift", "check", "--as-of", "2026-03-02", "--json"]) == code
        return load(Verdict, capsys.readouterr().out.encode())

    early = check(0)
    assert "no labels have arrived yet" in early.problems
    assert {one.test for one in early.tests if one.heading == "performance"} == {"estimate"}
    assert len(early.doubts) == 1
    assert early.verdict == "ok"
    lines = [f"{one},{label},1970-01-13T00:00:00" for one, label in zip(now["id"], truth, strict=True)]
    (tmp_path / "labels/2026-03-02.csv").write_text("\n".join(["id,late,known", *lines]) + "\n")
    late = check(0)
    assert late.labels is not None
    assert (late.labels.joined, late.labels.waiting) == (6000, 0)
    assert 2 < late.labels.lag_days["p50"] < 3
    assert late.verdict == "drift"
    assert {one.segment for one in late.tests if one.alarm} >= {"carrier=C2"}
    assert late.doubts == []
    assert main(["drift", "check", "--as-of", "2026-03-02"]) == 0
    assert "carrier=C2" in capsys.readouterr().out
    other = "\n".join(["id,late,known", *(f"{at + 9_000_000},1,2026-03-02" for at in range(500))])
    (tmp_path / "labels/2026-03-02.csv").write_text(other + "\n")
    wrong = check(7)
    assert wrong.verdict == "invalid_data"
    assert [one.sentence for one in wrong.tests if one.test == "join"] == [
        "not one of 500 labels joins one of 6,000 rows: their keys are like '9000000', those of the rows like '1000'"
    ]
