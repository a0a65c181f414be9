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
