"""`actions/setup/setup.sh`: runs in every job, before anything else, in a workspace that strangers may have filled."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "actions/setup/setup.sh"
NAMES = ("sys.py", "venv.py", "ensurepip.py", "pip.py", "encodings.py", "site.py", "sitecustomize.py", "uv.toml")


@pytest.mark.parametrize("set_name", ["core", "plan", "train"])
def test_nothing_of_the_workspace_is_imported(tmp_path: Path, set_name: str) -> None:
    mark, workspace = tmp_path / "MARK", tmp_path / "workspace"
    workspace.mkdir()
    for name in NAMES:
        (workspace / name).write_text(f"open({str(mark)!r}, 'w')\n")
    lock = hashlib.sha256((ROOT / f"requirements/{set_name}.txt").read_bytes()).hexdigest()[:16]
    version = "{}.{}.{}".format(*sys.version_info[:3])
    made = tmp_path / "tools/trackside" / f"{set_name}-{version}-{lock}" / "bin"
    made.mkdir(parents=True)
    (made / "python").symlink_to(sys.executable)
    done = subprocess.run(
        ["bash", SCRIPT, set_name],
        cwd=workspace,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "TRACKSIDE_BASE_PYTHON": getattr(sys, "_base_executable", sys.executable),
            "RUNNER_TOOL_CACHE": str(tmp_path / "tools"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(made / "python")
    assert (tmp_path / "output").read_text().splitlines() == [f"python={made / 'python'}", f"source={ROOT / 'src'}"]
    assert not mark.exists()


@pytest.mark.parametrize("set_name", ["", "sandbox", "../core", "core; id", "core train"])
def test_other_sets_are_refused(tmp_path: Path, set_name: str) -> None:
    done = subprocess.run(
        ["bash", SCRIPT, set_name], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


def made(tools: Path, name: str, locks: list[str]) -> Path:
    """An environment that is there already, as setup.sh would name it."""
    data = b"".join((ROOT / f"requirements/{lock}.txt").read_bytes() for lock in locks)
    version = "{}.{}.{}".format(*sys.version_info[:3])
    folder = tools / "trackside" / f"{name}-{version}-{hashlib.sha256(data).hexdigest()[:16]}" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    return folder / "python"


def run(tmp_path: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TRACKSIDE_BASE_PYTHON": getattr(sys, "_base_executable", sys.executable),
        "RUNNER_TOOL_CACHE": str(tmp_path / "tools"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        **more,
    }
    return subprocess.run(["bash", SCRIPT, *words], cwd=tmp_path, env=env, capture_output=True, text=True)


EXTRAS = [
    ("train", "s3", "train-s3", ["train", "remote-s3"]),
    ("drift", " gs  azure ", "drift-gs-azure", ["drift", "remote-gs", "remote-azure"]),
    ("train", "ssh", "train-ssh", ["train", "remote-ssh"]),
    ("plan", "s3", "plan", ["plan"]),
    ("core", "s3", "core", ["core"]),
    ("train", "", "train", ["train"]),
]


@pytest.mark.parametrize(("set_name", "extras", "name", "locks"), EXTRAS)
def test_extras_are_sets_of_their_own(
    tmp_path: Path, set_name: str, extras: str, name: str, locks: list[str]
) -> None:  # fmt: skip
    python = made(tmp_path / "tools", name, locks)
    done = run(tmp_path, set_name, TRACKSIDE_EXTRAS=extras)
    assert (done.returncode, done.stdout.strip()) == (0, str(python)), done.stderr


@pytest.mark.parametrize("extras", ["../core", "s3;id", "$(id)", "*", "dev", "s3 x"])
def test_unknown_extras_are_refused(tmp_path: Path, extras: str) -> None:
    done = run(tmp_path, "train", TRACKSIDE_EXTRAS=extras)
    assert done.returncode == 2
    assert "use s3, gs, azure or ssh" in done.stderr
    assert not (tmp_path / "tools").exists()


def test_locks_of_extras_fit_those_of_the_sets() -> None:
    """The same version wherever a package stands in both, so that both files can be installed together."""

    def pins(name: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for line in (ROOT / f"requirements/{name}.txt").read_text().splitlines():
            package, equals, version = line.partition("==")
            if equals and not line.startswith(" "):
                found.setdefault(package, set()).add(version.split()[0])
        return found

    compared = 0
    for base in ("train", "drift"):
        for extra in ("s3", "gs", "azure", "ssh"):
            one, other = pins(base), pins(f"remote-{extra}")
            assert other
            assert {name: (one[name], other[name]) for name in set(one) & set(other) if one[name] != other[name]} == {}
            compared += 1
    assert compared == 8


def test_the_default_set_is_that_of_the_stage(tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text('{"inputs": {"task": "check"}}')
    python = made(tmp_path / "tools", "drift", ["drift"])
    done = run(tmp_path, "default", "", GITHUB_EVENT_NAME="workflow_dispatch", GITHUB_EVENT_PATH=str(event))
    assert (done.returncode, done.stdout.strip()) == (0, str(python)), done.stderr
    assert (tmp_path / "output").read_text().splitlines()[2:] == ["stage=drift", "mode="]
    core = made(tmp_path / "tools", "core", ["core"])
    done = run(tmp_path, "default", "report", GITHUB_EVENT_NAME="workflow_dispatch", GITHUB_EVENT_PATH=str(event))
    assert done.stdout.strip() == str(core)
    done = run(tmp_path, "default", "train; id", GITHUB_EVENT_NAME="push", GITHUB_EVENT_PATH=str(event))
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no stage 'train; id'" in done.stderr
