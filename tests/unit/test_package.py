"""The wheel holds all that commands need, and they work from it without a checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/trackside"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from a copy without network."""
    source = tmp_path_factory.mktemp("source")
    for name in ("src", "actions", "requirements", "workflows"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", "action.yml"):
        shutil.copy(ROOT / name, source / name)
    script = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, out], cwd=source, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(["git", "ls-files", "-z", PACKAGE], cwd=ROOT, capture_output=True, text=True, check=True)
    expected = {path.removeprefix("src/") for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()}
    for link in (PACKAGE / "shipped").iterdir():
        inside = [path for path in link.rglob("*") if path.is_file()] if link.is_dir() else [link]
        expected |= {str(path.relative_to(ROOT / "src")) for path in inside}
    assert expected <= names, sorted(expected - names)
    assert "trackside/shipped/workflows/train.yml" in expected
    assert len(expected) > 200


def test_commands_work_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    site, project = tmp_path / "site", tmp_path / "project"
    zipfile.ZipFile(wheel).extractall(site)
    project.mkdir()
    env = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"}

    def type_(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "trackside", *words], cwd=project, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text("import sys; sys.modules['uvicorn'] = None\n")
    lacking = subprocess.run(
        [sys.executable, "-m", "trackside", "sandbox"],
        cwd=project,
        env=env | {"PYTHONPATH": f"{site}:{tmp_path}"},
        capture_output=True,
        text=True,
    )
    assert lacking.returncode == 2
    assert "pip install '.[sandbox]'" in lacking.stderr
    assert "Traceback" not in lacking.stderr
    made = type_("init", "--command", "python train.py", "--output", "model.pkl")
    assert "wrote    trackside.yaml" in made
    for name in ("pull-request.yml", "train.yml"):
        assert (project / ".github/workflows" / name).read_bytes() == (ROOT / "workflows" / name).read_bytes()
    assert "valid" in type_("check")
    script = (
        "import sys; from pathlib import Path; from trackside.demo.world import SHIPPED; "
        "from trackside.sandbox.actions.dispatcher import export_actions; export_actions(SHIPPED, Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", script, tmp_path / "actions"], env=env, check=True)
    for path in ("action.yml", "actions/setup/setup.sh", "requirements/core.txt", "src/trackside/cli.py"):
        assert (tmp_path / "actions" / path).is_file(), path
