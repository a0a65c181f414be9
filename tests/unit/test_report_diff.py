"""Verdicts, and the difference of two commits read from git alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import ENV
from report_samples import CONFIG, MODEL, baseline, better, experiment, inconclusive, worse
from trackside.config.model import MetricPolicy
from trackside.documents.report import MetricRow
from trackside.documents.run import Dependency, Interval, Metric
from trackside.errors import ConfigError, DataError, NotFound
from trackside.report import text
from trackside.report.build import build_report
from trackside.report.diff import diff_commits, metric_rows, value_rows
from trackside.report.local import report_between, write
from trackside.report.plots import MAX_POINTS, plots_of
from trackside.report.snapshot import GitMetrics, git_reader, snapshots
from trackside.report.values import flatten, lock_dependencies, metrics_of, parse
from trackside.report.verdict import gate_of, judge
from trackside.system.process import Processes

PROCESSES = Processes(
    {
        **ENV,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.test",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.test",
    }
)
UP = MetricPolicy(name="auc", file="m.json", direction="max", minimum=0.6, tolerance=0.01)
DOWN = MetricPolicy(name="loss", file="m.json", direction="min", maximum=1.0, tolerance=0.01)


def metric(value: float | None, rule: MetricPolicy = UP) -> Metric:
    return Metric(name=rule.name, value=value, file=rule.file, direction=rule.direction)


def interval(low: float, high: float) -> Interval:
    return Interval(metric="roc_auc", baseline=None, current=None, delta=(low + high) / 2, low=low, high=high)


VERDICTS = [
    # rule, baseline, current, interval, verdict
    (UP, 0.70, 0.72, None, "improved"),
    (UP, 0.70, 0.705, None, "unchanged"),
    (UP, 0.70, 0.69, None, "unchanged"),  # exactly the tolerance, whatever 0.70 - 0.69 is in binary
    (UP, 0.70, 0.6899, None, "regressed"),
    (UP, 0.70, 0.59, None, "failed_bound"),
    (UP, 0.50, 0.60, None, "improved"),  # the bound itself is within it
    (UP, 0.70, None, None, "failed_bound"),
    (UP, 0.70, 0.72, (0.011, 0.029), "improved"),
    (UP, 0.70, 0.72, (-0.005, 0.045), "unchanged"),
    (UP, 0.70, 0.72, (-0.02, 0.06), "inconclusive"),
    (UP, 0.70, 0.68, (-0.03, -0.011), "regressed"),
    (UP, 0.70, 0.68, (-0.03, -0.005), "inconclusive"),
    (UP, 0.70, 0.699, (-0.004, 0.002), "unchanged"),
    (UP, 0.70, 0.55, (-0.2, -0.1), "failed_bound"),
    (DOWN, 0.50, 0.45, None, "improved"),
    (DOWN, 0.50, 0.52, None, "regressed"),
    (DOWN, 0.50, 1.01, None, "failed_bound"),
    (DOWN, 0.50, 0.52, (0.011, 0.03), "regressed"),
    (DOWN, 0.50, 0.52, (0.0, 0.04), "inconclusive"),
    (DOWN, 0.50, 0.48, (-0.03, -0.011), "improved"),
    (MetricPolicy(name="rows", file="m.json"), 10.0, 11.0, None, "changed"),
    (MetricPolicy(name="rows", file="m.json"), 10.0, 10.0, None, "unchanged"),
    (MetricPolicy(name="rows", file="m.json"), 10.0, None, None, "changed"),
]


def test_verdicts() -> None:
    for rule, old, new, bounds, verdict in VERDICTS:
        row = judge(rule, metric(old, rule), metric(new, rule), interval=interval(*bounds) if bounds else None)
        assert row.verdict == verdict, (rule.name, old, new, bounds, row)
    print(f"{len(VERDICTS)} verdicts")


def test_metrics_that_come_and_go() -> None:
    assert judge(UP, None, metric(0.7)).verdict == "new"
    assert judge(UP, metric(0.7), None).verdict == "gone"
    assert judge(UP, None, metric(0.5)).verdict == "failed_bound"
    assert judge(UP, None, metric(0.7), compared=False).verdict == "new"
    assert judge(UP, None, metric(0.5), compared=False).verdict == "failed_bound"
    (row,) = metric_rows(None, [], [UP])
    assert (row.verdict, row.gated, row.reason) == ("gone", True, "not in m.json")


values = st.floats(-10, 10, allow_nan=False).map(lambda value: round(value, 3))


@given(values, values, st.floats(0, 1).map(lambda value: round(value, 3)))
def test_max_and_min_mirror_each_other(old: float, new: float, tolerance: float) -> None:
    up = MetricPolicy(name="m", file="f", direction="max", tolerance=tolerance)
    down = MetricPolicy(name="m", file="f", direction="min", tolerance=tolerance)
    there = judge(up, metric(old, up), metric(new, up)).verdict
    assert there == judge(down, metric(-old, down), metric(-new, down)).verdict
    back = judge(up, metric(new, up), metric(old, up)).verdict
    assert {there, back} in ({"improved", "regressed"}, {"unchanged"})


@given(values, values, st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_narrow_interval_agrees_with_the_point(old: float, new: float, tolerance: float, width: float) -> None:
    rule = MetricPolicy(name="m", file="f", direction="max", tolerance=tolerance)
    around = interval(new - old - width, new - old + width)
    sure, point = (judge(rule, metric(old, rule), metric(new, rule), interval=one).verdict for one in (around, None))
    opposite = {("improved", "regressed"), ("regressed", "improved")}
    assert (sure, point) not in opposite
    if sure == "regressed":
        assert point == "regressed"
    if sure == "improved":
        assert point == "improved"


def test_the_gate() -> None:
    rows = metric_rows(baseline().metrics, worse().metrics, MODEL.metrics)
    assert gate_of(rows, status="succeeded", experiment=False) == "failed"
    assert gate_of(rows, status="succeeded", experiment=True) == "neutral"
    assert gate_of([], status="failed", experiment=False) == "failed"
    assert gate_of([], status="succeeded", experiment=False) == "passed"
    free = [MetricRow(name="x", file="f", direction="max", baseline=1, current=0, delta=-1, verdict="regressed")]
    assert gate_of(free, status="succeeded", experiment=False) == "passed"


def test_an_interval_of_another_metric_is_not_shown() -> None:
    """The same name over another split has other values: its interval would mislead."""
    report = build_report(better(), model=MODEL, config=CONFIG, baseline=baseline())
    assert next(row for row in report.metrics if row.name == "roc_auc").low == 0.0112
    other = [Metric(name="roc_auc", value=0.75, file="metrics.json", direction="max")]
    report = build_report(better(metrics=other), model=MODEL, config=CONFIG, baseline=baseline())
    assert next(row for row in report.metrics if row.name == "roc_auc").low is None


def test_a_comparison_with_another_baseline_is_left_out() -> None:
    report = build_report(better(), model=MODEL, config=CONFIG, baseline=baseline(id="another00000"))
    assert report.comparison is None


def test_inconclusive_passes_and_warns() -> None:
    report = build_report(inconclusive(), model=MODEL, config=CONFIG, baseline=baseline())
    assert report.gate == "passed"
    assert report.headline.startswith("not clear: roc_auc")


def test_experiments_are_neutral() -> None:
    assert build_report(experiment(), model=MODEL, config=CONFIG, baseline=baseline()).gate == "neutral"


# Files


def test_yaml_is_read_as_dvc_reads_it() -> None:
    assert parse("p.yaml", b"a: 1e-3\nb: on\nc: .5\nd: 10\nh: 1:30\ne: 2020-01-01\nf: yes\ng: true\n") == {
        "a": 0.001, "b": "on", "c": 0.5, "d": 10, "h": "1:30", "e": "2020-01-01", "f": "yes", "g": True,
    }  # fmt: skip
    assert parse("p.toml", b"[train]\nlr = 0.1\n") == {"train": {"lr": 0.1}}
    assert parse("m.json", b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    "data", [b"\xff", b"{", b"a: [", b"a: !!python/object/apply:os.system [id]", b"[" * 100_000], ids=str
)
def test_unreadable_files_are_explained(data: bytes) -> None:
    for name in ("m.json", "m.yaml", "m.toml"):
        with pytest.raises(DataError, match="cannot be read"):
            parse(name, data[:100_000] if name != "m.yaml" else data[:2000])


def test_aliases_do_not_multiply() -> None:
    lines = ["a0: &a0 {x: 1, y: 2}"] + [f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}" for i in range(1, 30)]
    with pytest.raises(DataError, match="more than"):
        flatten(parse("p.yaml", "\n".join(lines).encode()))


def test_metrics_are_numbers_only() -> None:
    data = b'{"auc": 0.7, "n": 3, "ok": true, "name": "x", "list": [1], "bad": NaN, "deep": {"f1": 0.5}}'
    found = {one.name: one.value for one in metrics_of("m.json", data)}
    assert found == {"auc": 0.7, "n": 3.0, "bad": None, "deep.f1": 0.5}


def test_value_rows_tell_true_from_one() -> None:
    rows = value_rows({"a": 1, "b": True, "c": 1, "d": None}, {"a": 1.0, "b": 1, "e": 2, "d": None})
    assert [row.name for row in rows] == ["b", "c", "e"]


# Plots


def test_plots_of_every_form() -> None:
    roc = [{"fpr": i / 500, "tpr": (i / 500) ** 0.5} for i in range(501)]
    files = {
        "plots/roc.json": json.dumps({"roc": roc}),
        "plots/pr.json": json.dumps({"recall": [0, 0.5, 1], "precision": [1, 0.8, 0.4]}),
        "plots/loss.tsv": "step\ttrain\tvalid\n0\t1\t1.1\n1\t0.5\t0.7\n2\t0.25\t0.6\n",
        "plots/confusion.csv": "actual,predicted\n1,1\n1,0\n0,0\n0,0\n",
        "plots/junk.json": '{"a": [1, 2], "b": {}}',
        "plots/nan.json": '[{"x": NaN, "y": 1}, {"x": 1, "y": 2}]',
        "plots/text.csv": "name\nfoo\nbar\n",
        "plots/image.png": "\x89PNG",
    }
    made = {plot.title: plot for plot in plots_of({"plots/roc.json": json.dumps(roc[:3])}, files)}
    assert list(made) == ["Confusion matrix", "train (loss)", "valid (loss)", "y (nan)", "Precision and recall", "ROC"]
    assert [series.name for series in made["ROC"].series] == ["baseline", "this run"]
    assert len(made["ROC"].series[1].x) == MAX_POINTS
    assert (made["ROC"].series[1].x[0], made["ROC"].series[1].x[-1]) == (0, 1)
    assert made["Confusion matrix"].current_matrix == [[2, 0], [1, 1]]
    assert made["train (loss)"].series[0].y == [1, 0.5, 0.25]


@given(st.dictionaries(st.sampled_from(["a.json", "b.csv", "c.tsv"]), st.text(max_size=300), max_size=3))
def test_any_text_is_a_plot_or_nothing(files: dict[str, str]) -> None:
    for plot in plots_of(files, files):
        assert plot.series or plot.current_matrix


# Git


PIPELINE = """\
stages:
  train:
    cmd: python train.py
    deps: [train.py, data/flights.csv]
    params: [train.lr, {extra.toml: [depth]}]
    metrics:
      - ${out}/metrics.json: {cache: false}
    plots:
      - plots/roc.json: {x: fpr, y: tpr}
"""
LOCK = """\
schema: '2.0'
stages:
  train:
    cmd: python train.py
    deps:
    - {{path: data/flights.csv, md5: '{0}', size: {1}}}
    - {{path: train.py, md5: '22222222222222222222222222222222', size: 10}}
    - {{path: data/prepared, md5: 33333333333333333333333333333333.dir, size: 10, nfiles: 2}}
  prepare:
    cmd: x
    outs:
    - {{path: data/prepared, md5: 33333333333333333333333333333333.dir}}
"""


def git(folder: Path, *words: str) -> str:
    return PROCESSES.run(["git", "-C", folder, *words]).text.strip()


def commit(folder: Path, files: dict[str, str | None], message: str) -> str:
    for name, content in files.items():
        path = folder / name
        if content is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    first = {
        "dvc.yaml": PIPELINE,
        "params.yaml": "train: {lr: 0.1, trees: [1, 2]}\nout: eval\n",
        "extra.toml": "depth = 4\n",
        "eval/metrics.json": '{"roc_auc": 0.70, "rows": 10}',
        "plots/roc.json": '[{"fpr": 0, "tpr": 0}, {"fpr": 1, "tpr": 1}]',
        "dvc.lock": LOCK.format("1" * 32, 100),
    }
    commit(folder, first, "first")
    second = {
        "params.yaml": "train: {lr: 1e-2, trees: [1, 2]}\nout: eval\n",
        "extra.toml": "depth = 6\n",
        "eval/metrics.json": '{"roc_auc": 0.72, "f1": 0.5}',
        "dvc.lock": LOCK.format("4" * 32, 120),
    }
    commit(folder, second, "second")
    return folder


def test_two_commits_without_a_checkout(project: Path) -> None:
    made = diff_commits(project, "HEAD~1", "HEAD", processes=PROCESSES)
    assert {(row.name, row.verdict, row.baseline, row.current) for row in made.metrics} == {
        ("roc_auc", "changed", 0.70, 0.72),
        ("rows", "gone", 10.0, None),
        ("f1", "new", None, 0.5),
    }
    assert [(row.name, row.baseline, row.current) for row in made.params] == [
        ("extra.toml:depth", 4, 6),
        ("train.lr", 0.1, 0.01),
    ]
    (row,) = made.data
    assert (row.path, row.baseline_size, row.current_size) == ("data/flights.csv", 100, 120)


def test_a_pointer_file_is_newer_than_the_lock(project: Path) -> None:
    pointer = "outs:\n- {md5: '55555555555555555555555555555555', size: 130, path: flights.csv}\n"
    commit(project, {"data/flights.csv.dvc": pointer}, "new data")
    (row,) = diff_commits(project, "HEAD~1", "HEAD", processes=PROCESSES).data
    assert (row.baseline_digest, row.current_digest) == ("md5:" + "4" * 32, "md5:" + "5" * 32)


def test_the_working_tree_is_an_empty_name(project: Path) -> None:
    (project / "eval/metrics.json").write_text('{"roc_auc": 0.5}')
    made = diff_commits(project, "HEAD", "", processes=PROCESSES)
    assert {row.name: row.current for row in made.metrics} == {"roc_auc": 0.5, "f1": None}


def test_a_shallow_clone_fetches_what_it_lacks(project: Path, tmp_path: Path) -> None:
    base, head = git(project, "rev-parse", "HEAD~1"), git(project, "rev-parse", "HEAD")
    git(project, "config", "uploadpack.allowAnySHA1InWant", "true")
    shallow = tmp_path / "shallow"
    PROCESSES.run(["git", "clone", "-q", "--depth=1", project.as_uri(), shallow])
    assert git(shallow, "rev-list", "--count", "HEAD") == "1"
    made = diff_commits(shallow, base, head, processes=PROCESSES)
    assert made.json() == diff_commits(project, base, head, processes=PROCESSES).json()
    with pytest.raises(NotFound, match="no commit"):
        diff_commits(shallow, "0" * 40, head, processes=PROCESSES)


@pytest.mark.parametrize("revision", ["--upload-pack=x", "a b", "a\nb", "a..b", "-x"])
def test_revisions_that_are_none_are_refused(project: Path, revision: str) -> None:
    with pytest.raises(ConfigError, match="not a revision"):
        diff_commits(project, revision, "HEAD", processes=PROCESSES)


def test_files_outside_of_the_repository_are_not_read(project: Path) -> None:
    commit(project, {"dvc.yaml": "metrics: [../secret.json, /etc/hostname, eval/metrics.json]\n"}, "outside")
    (project.parent / "secret.json").write_text('{"secret": 1}')
    (found,) = snapshots(git_reader(project, PROCESSES), [""])
    assert {one.file for one in found.metrics} == {"eval/metrics.json"}
    (project / "link.json").symlink_to(project.parent / "secret.json")
    assert git_reader(project, PROCESSES)([("", "link.json")]) == [None]


def test_the_same_bytes_over_hash_seeds(project: Path) -> None:
    program = (
        "import sys, os; from pathlib import Path; from trackside.report.diff import diff_commits as diff; "
        "from trackside.system.process import Processes as P; "
        "sys.stdout.buffer.write(diff(Path(sys.argv[1]), 'HEAD~1', 'HEAD', processes=P(dict(os.environ))).json())"
    )
    source = str(Path(__file__).parents[2] / "src")
    seen: set[bytes] = set()
    for seed in range(5):
        env = {**ENV, "PYTHONHASHSEED": str(seed), "PYTHONPATH": source}
        done = subprocess.run([sys.executable, "-c", program, str(project)], env=env, capture_output=True, check=True)
        seen.add(done.stdout)
    print("5 hash seeds")
    assert len(seen) == 1
    assert b"roc_auc" in seen.pop()


def test_lock_dependencies_leave_out_what_stages_make() -> None:
    found = lock_dependencies(LOCK.format("1" * 32, 100).encode())
    assert found == [
        Dependency(path="data/flights.csv", kind="data", digest="md5:" + "1" * 32, size=100),
        Dependency(path="train.py", kind="data", digest="md5:" + "2" * 32, size=10),
    ]


def test_a_local_report_of_two_commits(project: Path) -> None:
    model = MODEL.__class__(
        name="delay", path="m", metrics=(MetricPolicy(name="roc_auc", file="eval/metrics.json", direction="max"),)
    )
    report = report_between(project, "HEAD~1", "HEAD", model=model, processes=PROCESSES)
    assert report.headline == "better: roc_auc 0.700 → 0.720 (+0.020)"
    assert report.gate == "passed"
    assert [plot.title for plot in report.plots] == ["ROC"]
    for form in ("md", "html", "json"):
        assert "roc_auc" in write(report, form)
    with pytest.raises(ConfigError, match="no report format"):
        write(report, "pdf")


def test_a_local_report_of_two_runs(project: Path) -> None:
    report = report_between(project, baseline(), better(), model=MODEL, config=CONFIG, processes=PROCESSES)
    assert report.headline == "better: roc_auc 0.690 → 0.705 (+0.015)"
    assert report.baseline_note == ""
    mixed = report_between(project, "HEAD", better(), model=MODEL, processes=PROCESSES)
    assert mixed.baseline == "metrics tracked in git at HEAD"
    assert mixed.baseline_note.endswith("without intervals.")


def test_an_empty_commit_says_nothing(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "empty")
    (found,) = snapshots(git_reader(tmp_path, PROCESSES), ["HEAD"])
    assert found == GitMetrics(commit="HEAD")


# Words


@pytest.mark.parametrize(
    ("value", "places", "shown"),
    [
        (None, 4, "–"), (0.0, 4, "0"), (0.70123, 3, "0.701"), (27004.0, 4, "27,004"), (1234.56, 4, "1,234.6"),
        (-0.5, 2, "−0.50"), (1e12, 4, "1e+12"), (3e-7, 4, "3e-07"), (12.0, 3, "12"), (-0.0003, 3, "0.000"),
    ],
)  # fmt: skip
def test_numbers(value: Any, places: int, shown: str) -> None:
    assert text.number(value, places) == shown


def test_sizes_and_times() -> None:
    assert [text.size(n) for n in (0, 999, 1000, 29_000_000, 3_400_000_000, 5 * 10**12)] == [
        "0 B", "999 B", "1 kB", "29 MB", "3.4 GB", "5 TB",
    ]  # fmt: skip
    assert [text.duration(s) for s in (0.04, 42, 200, 7500)] == ["0.0 s", "42 s", "3 min 20 s", "2 h 5 min"]
