"""`trackside drift` as a person types it: exit codes, formats, and what is said when it cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
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
