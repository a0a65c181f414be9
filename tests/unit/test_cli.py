"""The command line on a laptop: what a person types, what it prints, how it ends."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from plan_samples import commit, git

from report_samples import POLICY, baseline, better, comparison, experiment, failed
from trackside.cli import main
from trackside.documents.codec import dump
from trackside.documents.run import Run
from trackside.errors import ConfigError
from trackside.sandbox.server import Sandbox
from trackside.store.layout import run_path

Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Say:
    """Type a command in the project's folder: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def typed(*words: str) -> tuple[int, str, str]:
        try:
            code = main(words)
        except SystemExit as stop:
            code = int(str(stop.code))
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return typed


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone with a policy and two runs, one of them on the data branch."""
    git(tmp_path, "init", "--quiet", "-b", "main")
    commit(tmp_path, {"trackside.yaml": POLICY}, ref="refs/heads/main")
    git(tmp_path, "reset", "--quiet", "--hard")
    old = baseline()
    commit(tmp_path, {run_path(old.model, old.id): dump(old)}, ref="refs/heads/trackside-data")
    keep(tmp_path, better(started_at="2026-03-01T11:00:00Z"))
    return tmp_path


def keep(root: Path, run: Run) -> None:
    """A run as `trackside train` leaves it."""
    path = root / ".trackside/runs" / run.model / f"{run.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(dump(run))


def test_runs_are_listed_newest_first(project: Path, say: Say) -> None:
    code, out, _ = say("runs", "list")
    assert code == 0
    head, *rows = out.splitlines()
    assert [row.split()[0] for row in rows] == [better().id, baseline().id]
    assert head.split()[:4] == ["run", "model", "status", "from"]
    for figure in ("0.6903", "0.7051"):
        row = next(row for row in rows if figure in row)
        assert row.index(figure) + len(figure) == head.index("roc_auc") + len("roc_auc"), (
            "figures end below the heading"
        )
    code, out, _ = say("runs", "list", "--json", "-n", "1")
    assert [one["id"] for one in json.loads(out)] == [better().id]
    assert "no runs of 'other'" in say("runs", "list", "other")[1]


def test_a_run_is_shown_by_the_beginning_of_its_id(project: Path, say: Say) -> None:
    code, out, _ = say("runs", "show", better().id[:6])
    assert code == 0
    for word in (better().id, better().source.commit, better().input_digest, "METRICS", "roc_auc", "STAGES", "OUTPUTS"):
        assert word in out
    code, out, _ = say("runs", "show", better().id, "--json")
    assert msgspec.json.decode(out, type=Run).artifacts == better().artifacts
    keep(project, experiment())
    assert "experiment" in say("runs", "show", experiment().id)[1]


def test_runs_are_compared_and_exported(project: Path, say: Say) -> None:
    code, out, _ = say("runs", "compare", baseline().id, better().id)
    assert code == 0
    line = next(line for line in out.splitlines() if line.startswith("roc_auc"))
    assert line.split() == ["roc_auc", "0.6903", "0.7051", "+0.0148", "better"]
    code, out, _ = say("runs", "compare", baseline().id, better().id, "--json")
    assert json.loads(out)["baseline"] == baseline().id
    code, out, _ = say("runs", "export", better().id)
    assert json.loads(out)["predicateType"] == "https://slsa.dev/provenance/v1"


def test_a_document_cannot_write_to_the_terminal(project: Path, say: Say) -> None:
    bad = msgspec.structs.replace(better(), id="0123456789ab", params={"x": "\x1b]0;title\x07"}, model="delay")
    keep(project, msgspec.structs.replace(bad, metrics=[msgspec.structs.replace(bad.metrics[0], name="a\x1b[2Jb")]))
    for words in (["list"], ["show", bad.id], ["compare", better().id, bad.id]):
        code, out, _ = say("runs", *words)
        assert code == 0
        assert "\x1b" not in out


def test_a_damaged_record_is_named_and_left_out(project: Path, say: Say) -> None:
    (project / ".trackside/runs/delay/bad.json").write_text("{")
    code, out, err = say("runs", "list")
    assert code == 0
    assert better().id in out
    assert "bad.json is left out" in err


def test_reports_prefer_recorded_runs(project: Path, say: Say) -> None:
    code, out, _ = say("report", baseline().id, better().id)
    assert code == 0
    assert "0.690" in out
    assert "0.705" in out
    here = git(project, "rev-parse", "main").strip()
    keep(project, msgspec.structs.replace(better(), source=msgspec.structs.replace(better().source, commit=here)))
    code, out, _ = say("report", baseline().id, "main", "--format", "json")
    assert json.loads(out)["run"] == better().id
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    lock = msgspec.structs.replace(better().restore, dvc_lock="schema: '2.0'\n")
    keep(project, msgspec.structs.replace(better(), restore=lock))
    code, out, _ = say("report", baseline().id, "--format", "json")
    assert json.loads(out)["run"] == better().id


def test_a_report_takes_the_run_that_rows_were_compared_with(project: Path, say: Say) -> None:
    here = git(project, "rev-parse", "main")
    first = baseline(id="aaaaaaaaaaaa", source=msgspec.structs.replace(baseline().source, commit=here))
    dirty = msgspec.structs.replace(first.source, dirty=True)
    for run in (
        first,
        msgspec.structs.replace(first, id="bbbbbbbbbbbb", source=dirty, started_at="2026-04-01T00:00:00Z"),
    ):
        keep(project, run)
    for compared in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
        rows = msgspec.structs.replace(comparison(), baseline_run=compared)
        keep(project, better(comparison=rows))
        made = json.loads(say("report", "main", better().id, "--format", "json")[1])
        assert made["baseline_run"] == compared
        assert made["comparison"] is not None


def test_a_report_of_the_work_tree(project: Path, say: Say) -> None:
    (project / "metrics.json").write_text('{"roc_auc": 0.72, "log_loss": 0.5, "brier": 0.1, "rows": 3}')
    code, out, _ = say("report", baseline().id)
    assert code == 0
    assert "0.720" in out
    code, out, err = say("report", "--fail")
    assert (code, err) == (0, ""), "several recorded runs are no reason to fail"
    code, out, _ = say("report", "--format", "html", "--out", "report.html")
    assert code == 0
    assert (project / "report.html").read_text().startswith("<!doctype html>")
    (project / "metrics.json").write_text('{"roc_auc": 0.1, "log_loss": 0.5, "brier": 0.1, "rows": 3}')
    assert say("report", "--fail")[0] == 1


def test_mistakes_are_explained(project: Path, say: Say) -> None:
    keep(project, failed())
    (project / "latin.yaml").write_bytes(b"version: 1\nmodels: {m\xe9: {path: x}}\n")
    cases = [
        (("runs", "show", "zz"), 2, "no recorded run 'zz'"),
        (("runs", "show", ""), 2, "no recorded run ''"),
        (("runs", "list", "--repo", "nowhere"), 2, "is not a git repository"),
        (("runs",), 2, "ACTION"),
        (("report", "nope"), 4, "no commit 'nope'"),
        (("report", "--model", "x"), 2, "one of: delay"),
        (("train", "x"), 2, "one of: delay"),
        (("train", "-S", "a"), 2, "is not NAME=VALUE"),
        (("check", "nope.yaml"), 2, "does not exist"),
        (("schema", "nope"), 2, "invalid choice"),
        (("check", "latin.yaml"), 2, "latin.yaml:2:11: not UTF-8"),
        (("check", "."), 2, "does not exist"),
        (("sandbox", "--repo", "project"), 2, "is not OWNER/NAME"),
        (("sandbox", "--port", "99999"), 2, "is not a port"),
        (("sandbox", "--port", "0", "--import", "nowhere"), 2, "is not a git repository"),
        (("runs", "list", "-n", "-1"), 2, "not a number above 0"),
        (("report", "--out", "nowhere/x.md"), 2, "cannot be written"),
    ]
    for words, code, text in cases:
        found, _, err = say(*words)
        assert found == code, (words, err)
        assert text in err
    print(f"{len(cases)} mistakes")
    assert len(cases) == 17


def test_mistakes_outside_of_a_project(tmp_path: Path, say: Say) -> None:
    cases = [("runs", "list"), ("runs", "show", "a"), ("report",), ("train",), ("check",)]
    for words in cases:
        code, _, err = say(*words)
        assert code == 2, (words, err)
        assert "fix: " in err
    (tmp_path / "trackside.yaml").write_text(POLICY)
    for words in (("train",), ("report",)):
        code, _, err = say(*words)
        assert code == 2, (words, err)
        assert "is not a git repository" in err
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    code, _, err = say("train")
    assert code == 2
    assert "commit" in err


def test_training_alone_needs_an_admission(tmp_path: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKSIDE_PHASE", "pull")
    code, out, err = say("stage", "train")
    assert code == 2
    assert "holds no admission" in err
    assert "not_admitted" in out


def test_a_port_in_use_is_explained(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        sandbox = Sandbox(tmp_path, {}, port=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="cannot be taken"):
            sandbox.start()
