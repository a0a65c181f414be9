"""Installing the core lock from nothing, by the script that the actions use: seconds and bytes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import ROOT, Figure, figure, machine_env, program, run_child

SECONDS_TARGET, MEGABYTES_TARGET = 10.0, 30.0
ROUNDS = 3
SETUP = ROOT / "actions/setup/setup.sh"
BROUGHT_BY_VENV = re.compile(r"(pip|setuptools|_distutils_hack|pkg_resources|distutils-precedence)\b.*|_virtualenv\..*")

ASK = "import uv; print(uv.find_uv_bin())"


def measure(*, quick: bool) -> list[Figure]:
    """With pip always, and with uv where this machine has it. Every package comes over the network."""
    rounds = 1 if quick else ROUNDS
    made = []
    for tool in ("pip", "uv"):
        if tool == "uv" and not uv():
            continue
        rows = [install(tool) for _ in range(rounds)]
        walls, cpus, sizes = zip(*rows, strict=True)
        note = f"CPU {min(cpus):.1f} to {max(cpus):.1f} s"
        made += [
            figure(f"cold install of the core lock with {tool}", walls, "s", SECONDS_TARGET, note=note),
            figure(f"installed size of the core lock with {tool}", sizes, "MB", MEGABYTES_TARGET),
        ]
    return made


def install(tool: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and megabytes (10⁶ bytes) of an environment made with no cache at all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = machine_env(
            RUNNER_TOOL_CACHE=str(folder / "tools"),
            TRACKSIDE_BASE_PYTHON=sys.executable,
            PIP_NO_CACHE_DIR="1",
            UV_NO_CACHE="1",
            PATH=path_for(tool, folder / "bin"),
        )
        done = run_child(["bash", SETUP, "core"], cwd=folder, env=env)
        return done.wall, done.cpu, megabytes(Path(done.stdout.decode().split()[-1]).parents[1])


def path_for(tool: str, folder: Path) -> str:
    """A PATH on which `uv` is found, or is not found."""
    folder.mkdir()
    parts = [part for part in os.environ["PATH"].split(":") if part and not (Path(part) / "uv").exists()]
    if tool == "uv":
        (folder / "uv").symlink_to(uv())
    return ":".join([str(folder), *parts])


def uv() -> str:
    """The `uv` program itself, not a launcher script that chooses between several; empty where there is none."""
    found = program("uv")
    if found and Path(found).read_bytes()[:2] == b"#!":
        told = subprocess.run(["python3", "-c", ASK], env=machine_env(), capture_output=True, text=True)
        found = told.stdout.strip()
    return found


def megabytes(home: Path) -> float:
    """What the lock brought: all files of site-packages but those of pip itself, compiled ones included."""
    (packages,) = home.glob("lib/python3*/site-packages")
    brought = [path for path in packages.iterdir() if not BROUGHT_BY_VENV.fullmatch(path.name)]
    files = [file for path in brought for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6
