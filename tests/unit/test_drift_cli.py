"""`trackside drift` as a person types it: exit codes, formats, and what is said when it cannot be."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from drift_world import POLICY, parquet, rows
from trackside.cli import main
from trackside.documents.codec import load
from trackside.documents.profile import Profile
from trackside.documents.verdict import Verdict


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    (tmp_path / "trackside.yaml").write_text(POLICY)
    parquet(tmp_path / "eval/predictions.parquet", rows(rng, 5000))
    parquet(tmp_path / "production/2026-03-01.parquet", rows(rng, 1000))
    parquet(tmp_path / "production/2026-03-02.parquet", rows(rng, 1000, shift=0.7))
    parquet(tmp_path / "production/2026-03-03.parquet", rows(rng, 10))
    return tmp_path


CODES = [
    (("--as-of", "2026-03-01"), 0, "✅"),
    (("--as-of", "2026-03-01", "--fail-on", "drift"), 0, "✅"),
    (("--as-of", "2026-03-02"), 0, "🔴"),
    (("--as-of", "2026-03-02", "--fail-on", "drift"), 1, "🔴"),
    (("--as-of", "2026-03-03"), 7, "⚪"),
    (("--as-of", "2026-03-03", "--fail-on", "never"), 0, "⚪"),
    (("--as-of", "2026-03-04"), 7, "❌"),
    (("--as-of", "2026-03-04", "--fail-on", "never"), 0, "❌"),
    (("--current", "production/{date}.txt"), 7, "❌"),
    (("--as-of", "1 March"), 2, ""),
    (("--current", "{today}"), 2, ""),
    (("--reference", "missing.parquet"), 7, ""),
    (("other",), 2, ""),
]


@pytest.mark.parametrize(("words", "code", "sign"), CODES)
def test_exit_codes(
    project: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, sign: str
) -> None:
    assert main(["drift", "check", *words]) == code
    shown = capsys.readouterr()
    assert shown.out.startswith(f"## {sign}") if sign else "error:" in shown.err
    assert "Traceback" not in shown.err


def test_the_verdict_as_json_and_html(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", "check", "--as-of", "2026-03-02", "--json"]) == 0
    verdict = load(Verdict, capsys.readouterr().out.encode())
    assert (verdict.verdict, verdict.current.source) == ("drift", "production/2026-03-02.parquet")
    page = project / "report.html"
    assert main(["drift", "check", "--as-of", "2026-03-02", "--format", "html", "--out", str(page)]) == 0
    assert page.read_text().startswith("<!doctype html>")
    assert "<svg" in page.read_text()


def test_a_profile_is_a_reference(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = project / "profile.json"
    assert main(["drift", "profile", "--out", str(made)]) == 0
    assert load(Profile, made.read_bytes()).rows == 5000
    verdicts = []
    for reference in (made, project / "eval/predictions.parquet"):
        words = ["drift", "check", "--as-of", "2026-03-02", "--json", "--no-exact", "--reference", str(reference)]
        capsys.readouterr()
        assert main(words) == 0
        verdicts.append(json.loads(capsys.readouterr().out))
    assert verdicts[0]["tests"] == verdicts[1]["tests"]
    assert verdicts[0]["moved"]


def test_dry_run_says_what_would_be_read(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", "check", "--as-of", "2026-03-02", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "5,000 rows" in shown
    assert "temperature (feature, number)" in shown
    assert "production/2026-03-02.parquet, 1 files" in shown
    assert main(["drift", "check", "--as-of", "2026-03-09", "--dry-run"]) == 7


def test_a_model_that_is_not_watched(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "trackside.yaml").write_text("version: 1\nmodels: {delay: {path: model.bin}}\n")
    assert main(["drift", "check"]) == 2
    assert "drift:" in capsys.readouterr().err


def test_starting_costs_no_pandas_and_no_scipy_stats(project: Path) -> None:
    """The check itself needs neither, so that a nightly job starts quickly."""
    script = (
        "import sys; from trackside.cli import main\n"
        "code = main(['drift', 'check', '--as-of', '2026-03-02'])\n"
        "print(code, sorted({'pandas', 'dvc', 'github', 'scipy.stats', 'sqlalchemy'} & set(sys.modules)))"
    )
    source = str(Path(__file__).resolve().parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=project, capture_output=True, text=True, env={"PYTHONPATH": source}
    )
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout[-300:] + done.stderr


# Any two tables


def compared(capsys: pytest.CaptureFixture[str], *words: str) -> Verdict:
    capsys.readouterr()
    main(["drift", "compare", *words, "--json", "--fail-on", "never"])
    return load(Verdict, capsys.readouterr().out.encode())


def test_compare_needs_no_configuration(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "trackside.yaml").unlink()
    before, same, moved = "eval/predictions.parquet", "production/2026-03-01.parquet", "production/2026-03-02.parquet"
    for words, code in (
        ((before, same), 0),
        ((before, same, "--fail-on", "drift"), 0),
        ((before, moved), 0),
        ((before, moved, "--fail-on", "drift"), 1),
        ((before, moved, "--fail-on", "drift", "--feature", "carrier"), 0),
        ((before, "production/2026-03-03.parquet"), 7),
        ((before, "production/*.parquet"), 0),
        ((before, "missing.parquet"), 7),
        (("missing.parquet", moved), 7),
        (("trackside.yml", moved), 7),
        ((before, moved, "--label", "nothing"), 7),
        ((before, moved, "--key", "nothing"), 7),
        ((before, moved, "--dry-run"), 0),
    ):
        assert main(["drift", "compare", *words]) == code, words
        assert "Traceback" not in capsys.readouterr().err
    monkeyed = str(project / "deep/er")
    Path(monkeyed).mkdir(parents=True)
    found = compared(capsys, before, str(project / moved))
    assert (found.verdict, found.reference.source, found.current.rows) == ("drift", before, 1000)
    assert compared(capsys, f"../{project.name}/{before}", same).verdict == "ok"


def test_a_column_that_no_table_has(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = set()
    for flag in ("--key", "--label", "--time", "--segment"):
        words = ["drift", "compare", "eval/predictions.parquet", "production/2026-03-01.parquet", flag, "nothing"]
        assert main(words) == 7
        shown = capsys.readouterr()
        assert shown.out == ""
        assert f"fix: correct {flag} nothing" in shown.err
        said.add(shown.err.replace(flag, ""))
    (error,) = said
    assert "the reference eval/predictions.parquet has no column 'nothing'" in error


def test_what_is_said_names_the_side_and_the_reason(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, same = "eval/predictions.parquet", "production/2026-03-01.parquet"
    assert main(["drift", "compare", "missing.parquet", same]) == 7
    assert "there is no reference at missing.parquet" in capsys.readouterr().err
    changed = {**pq.read_table(same).to_pydict()}
    changed["temperature"] = [f"{one} °C" for one in changed["temperature"]]
    pq.write_table(pa.table({name: pa.array(one) for name, one in changed.items()}), "large.parquet")
    large = pq.read_table("large.parquet")
    at = large.schema.get_field_index("temperature")
    pq.write_table(large.set_column(at, "temperature", large["temperature"].cast(pa.large_string())), "large.parquet")
    assert main(["drift", "compare", before, "large.parquet", "--json"]) == 7
    shown = capsys.readouterr()
    assert json.loads(shown.out)["moved"] == ["temperature"]
    assert "why: temperature: a number in the reference, text in the current data" in shown.err
    assert main(["drift", "explain", "nothing", "--as-of", "2026-03-02"]) == 7
    assert "why: compared: " in capsys.readouterr().err


def test_names_command_no_terminal(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A column name with an escape sequence, a line that a runner obeys, and text that runs backwards."""
    name = "x\n::warning::obeyed \x1b[31m\x9b31m\u202e"
    pq.write_table(pa.table({name: np.arange(500.0), "y": np.arange(500.0)}), "before.parquet")
    pq.write_table(pa.table({"z": np.arange(500.0), "y": np.arange(500.0)}), "after.parquet")
    for words, code in (
        (("before.parquet", "after.parquet"), 7),
        (("before.parquet", "after.parquet", "--dry-run"), 0),
        (("before.parquet", "after.parquet", "--label", name), 0),
        (("after.parquet", "after.parquet", "--label", name), 7),
        ((f"{name}.parquet", "after.parquet"), 7),
    ):
        assert main(["drift", "compare", *words]) == code, words
        shown = capsys.readouterr()
        for text in (shown.out, shown.err):
            assert not set(text) & set("\x1b\x9b\u202e"), (words, text)
            assert not any(line.startswith("::") for line in text.splitlines()), (words, text)


def test_databases_are_compared_by_a_query(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, moved = "eval/predictions.parquet", "production/2026-03-02.parquet"
    for name, path in (("before", before), ("after", moved)):
        rows = pq.read_table(path).select(["temperature", "carrier"]).to_pydict()
        with closing(sqlite3.connect(project / f"{name}.db")) as database, database:
            database.execute("create table t (temperature real, carrier text)")
            database.executemany("insert into t values (?, ?)", zip(*rows.values(), strict=True))
    one, two = (f"sqlite:///{project}/{name}.db" for name in ("before", "after"))
    wanted = ("--query", "select * from t", "--feature", "temperature", "--feature", "carrier")
    for sides in ((one, two), (before, two), (one, moved)):
        found = compared(capsys, *sides, *wanted)
        assert (found.verdict, found.moved, found.reference.rows, found.current.rows) == (
            "drift", ["temperature"], 5000, 1000,
        )  # fmt: skip
    for words in ((one, two), (before, two), (before, moved, "--query", "select 1")):
        assert main(["drift", "compare", *words]) == 2
        assert "fix: --query" in capsys.readouterr().err


def test_a_profile_that_contradicts_itself_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each shown field of each column, also of a segment that nobody compares today."""
    (project / "trackside.yaml").write_text(POLICY + "      segments: [carrier]\n")
    assert main(["drift", "profile", "--out", "profile.json"]) == 0
    whole = json.loads((project / "profile.json").read_text())
    words = ["drift", "compare", "profile.json", "production/2026-03-01.parquet"]
    assert main(words) == 0
    segment = whole["segments"][next(iter(whole["segments"]))]
    lies = {"sketch": "x", "mode_count": -1, "distinct": 0, "low": -5.5, "high": 0, "missing": 1, "wrong": 1,
            "mean": 1e9, "deviation": None, "levels": {"x": 1}, "quantiles": {}, "rest": -1, "mode": "x",
            "entropy": [1], "count": 10**6, "first": "1970", "cadence": [1.0], "zones": ["x"]}  # fmt: skip
    told = 0
    for columns in (whole["columns"], segment):
        for column in (columns[0], columns[-1], *(one for one in columns if one["name"] == "carrier")):
            for field, lie in lies.items():
                true = column[field]
                if true == lie:
                    continue
                column[field] = lie
                (project / "profile.json").write_text(json.dumps(whole))
                column[field] = true
                capsys.readouterr()
                assert main(words) == 7, (column["name"], field)
                shown = capsys.readouterr()
                assert "cannot be read" in shown.err, shown.err
                told += 1
    print(f"{told} lies told")
    assert told > 80
    columns = whole["columns"]
    for changed in ({"columns": [*columns, columns[0]]}, {"rows": 4999}, {"rows": -1}):
        (project / "profile.json").write_text(json.dumps({**whole, **changed}))
        assert main(words) == 7


def test_exact_or_by_profiles(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both say the same of what moved; only one of them has the samples' own statistics."""
    words = ("eval/predictions.parquet", "production/2026-03-02.parquet", "--label", "label", "--prediction", "score")
    exact, profiles = compared(capsys, *words, "--exact"), compared(capsys, *words, "--no-exact")
    assert exact.moved == profiles.moved
    effects = [
        {(one.column, one.test): one.effect for one in verdict.tests if one.effect is not None}
        for verdict in (exact, profiles)
    ]
    assert effects[0].keys() == effects[1].keys()
    for name, effect in effects[0].items():
        assert effect == pytest.approx(effects[1][name], abs=0.01), name
    assert main(["drift", "profile", "--out", "profile.json"]) == 0
    stored = compared(capsys, "profile.json", *words[1:])
    assert set(stored.moved) == set(exact.moved)
    for reference, current in (("profile.json", words[1]), (words[0], "current.csv")):
        (project / "current.csv").write_text("temperature\n1\n")
        assert main(["drift", "compare", reference, current, "--exact"]) == 2


def test_pictures(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["drift", "compare", "eval/predictions.parquet", "production/2026-03-02.parquet"]
    assert main([*words, "--format", "svg", "--out", "drift.svg"]) == 0
    assert (project / "drift.svg").read_text().startswith("<svg")
    assert main([*words, "--format", "png"]) == 2
    assert main([*words, "--format", "png", "--out", "drift.png"]) == 0
    assert (project / "drift.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == ""


def test_explain_one_column(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", "explain", "temperature", "--as-of", "2026-03-02"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("## `temperature`: drift")
    assert "Since 2026-03-02" in shown
    assert "| quantile | reference | current |" in shown
    assert "| wasserstein |" in shown
    assert main(["drift", "explain", "carrier", "--as-of", "2026-03-02", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["column"], told["verdict"], told["moved"], told["since"]) == ("carrier", "ok", False, "")
    assert {"chi2", "new levels"} & {one["test"] for one in told["tests"]}
    assert len(told["shape"]["names"]) == 12
    assert main(["drift", "explain", "nothing", "--as-of", "2026-03-02"]) == 7
    assert "temperature" in capsys.readouterr().err
    assert main(["drift", "explain", "temperature", "--as-of", "2026-03-04"]) == 7


def test_explain_knows_since_when(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the verdicts on the data branch of the clone."""
    assert main(["drift", "check", "--as-of", "2026-03-02", "--json"]) == 0
    verdict = capsys.readouterr().out.replace('"as_of": "2026-03-02"', '"as_of": "2026-03-01"')
    (project / "drift/delay").mkdir(parents=True)
    (project / "drift/delay/2026-03-01.json").write_text(verdict)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-qb", "trackside-data"], ["add", "drift"], ["commit", "-qm", "x"], ["branch", "main"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    assert main(["drift", "explain", "temperature", "--as-of", "2026-03-02"]) == 0
    shown = capsys.readouterr().out
    assert "Since 2026-03-01" in shown
    assert "| 2026-03-01 |" in shown


def test_parts_and_merge(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["drift", "profile", "--out", "whole.json"]) == 0
    for number in (1, 2, 3):
        assert main(["drift", "profile", "--part", f"{number}/3", "--out", f"{number}.json"]) == 0
    assert main(["drift", "merge", "3.json", "1.json", "2.json", "--out", "merged.json"]) == 0
    merged, whole = (load(Profile, (project / name).read_bytes()) for name in ("merged.json", "whole.json"))
    assert (merged.rows, merged.digest, merged.parts) == (5000, whole.digest, None)
    assert [one.levels for one in merged.columns] == [one.levels for one in whole.columns]
    for words in (["merge", "1.json", "1.json"], ["merge", "1.json", "missing.json"], ["merge", "trackside.yaml"]):
        assert main(["drift", *words]) == 7
    assert main(["drift", "check", "--reference", "1.json", "--as-of", "2026-03-02"]) == 7
    for part in ("4/3", "0/3", "1", "a/b"):
        assert main(["drift", "profile", "--part", part]) == 2
    capsys.readouterr()
