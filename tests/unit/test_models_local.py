"""`trackside models` as people start it: in a project of GTO, without trackside.yaml, records or a remote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
DVC = """\
artifacts:
  delay: {path: models/delay.pkl, type: model, desc: "遅延 → late?", labels: [tabular]}
"""


def git(folder: Path, *argv: str) -> None:
    own = ["git", "-C", str(folder), "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run([*own, *argv], check=True, env=ENV, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / ".gto").write_text("stages: [dev, prod]\n")
    (folder / "dvc.yaml").write_text(DVC, encoding="utf-8")
    (folder / "sub/dvc.yaml").write_text("artifacts: {fare: {path: fare.pkl, type: model, desc: Fares}}\n")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    for name in ("delay@v0.1.0", "delay#dev#1", "sub=fare@v1.0.0", "old@v1.0.0", "old@deprecated"):
        git(folder, "tag", "-a", name, "-m", name)
    git(folder, "commit", "-q", "--allow-empty", "-m", "second")
    for name in ("delay@v0.2.0", "delay#prod#2", "delay#dev!#3"):
        git(folder, "tag", "-a", name, "-m", name)
    return folder


def ask(folder: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "trackside", "models", *argv]
    return subprocess.run(words, cwd=folder, env={**ENV, **env}, capture_output=True, encoding="utf-8", timeout=60)


def test_a_project_of_gto(project: Path) -> None:
    found = {one["model"]: one for one in json.loads(ask(project, "--json").stdout)["models"]}
    delay, fare, old = found["delay"], found["sub=fare"], found["old"]
    assert (delay["latest"], delay["description"], delay["path"]) == ("v0.2.0", "遅延 → late?", "models/delay.pkl")
    assert (fare["path"], fare["type"]) == ("sub/fare.pkl", "model")
    assert old["deprecated"]
    shown = json.loads(ask(project, "show", "delay", "--json").stdout)
    assert {name: one["version"] for name, one in shown["stages"].items()} == {"dev": "v0.1.0", "prod": "v0.2.0"}
    assert [one["version"] for one in shown["versions"]] == ["v0.2.0", "v0.1.0"]
    assert "no release" not in ask(project, "show", "delay").stdout, "a registry of tags alone lacks none"
    assert ask(project, "which", "sub:fare@latest").stdout == "v1.0.0\n"
    got = ask(project, "get", "delay#prod")
    assert (got.returncode, "Traceback" in got.stderr) == (4, False)
    assert "no published release" in got.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_terminal_is_too_old(project: Path, encoding: str) -> None:
    done = ask(project, "list", PYTHONIOENCODING=encoding, COLUMNS="80")
    assert (done.returncode, done.stderr) == (0, "")
    assert ("遅延" in done.stdout) == (encoding == "utf-8")


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("show",), 2, "MODEL[@VERSION]"),
        (("which", "delay"), 2, "delay@latest"),
        (("list", "--repository", "x"), 2, "OWNER/NAME"),
        (("list", "--repository", "acme/x"), 2, "GITHUB_TOKEN"),
        (("show", "delay", "-n", "x"), 2, "not a number"),
        (("list", "--repo", "/nonexistent"), 2, "git repository"),
        (("which", "delay@latest", "--commit", "--image"), 2, "not allowed with"),
        (("frobnicate",), 2, "invalid choice"),
    ],
)
def test_mistakes_are_told_without_a_traceback(project: Path, argv: tuple[str, ...], code: int, words: str) -> None:
    done = ask(project, *argv)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_registry_is_no_error(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert "no models yet" in ask(tmp_path, "list").stdout
    assert json.loads(ask(tmp_path, "--json").stdout)["models"] == []
    assert "nothing has happened" in ask(tmp_path, "history").stdout
