"""The software that stages run with: their Python, its packages, the operating system, the tools."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import trackside
from trackside.documents.run import Dependency, Environment
from trackside.errors import ToolError
from trackside.system.process import Processes

_PROBE = """
import importlib.metadata as m, json, platform, sys
found = sorted({f"{(d.metadata['Name'] or '?').lower().replace('_', '-')}=={d.version}" for d in m.distributions()})
print(json.dumps({"python": platform.python_version(), "packages": found, "where": sys.prefix}))
"""
_CUDNN = "nvidia-cudnn-cu"
VARIABLES = (
    "CUBLAS_WORKSPACE_CONFIG", "CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "LANG", "LC_ALL", "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED",
    "TF_DETERMINISTIC_OPS", "TZ",
)  # fmt: skip
"""What is recorded of the stages' variables: settings of threads, devices, rounding and order. None is secret."""


def stage_python(env: Mapping[str, str]) -> str:
    """The interpreter that a stage's `python` is."""
    path = env.get("PATH", "")
    return shutil.which("python", path=path) or shutil.which("python3", path=path) or sys.executable


def probe(env: Mapping[str, str], processes: Processes, cwd: Path) -> tuple[str, list[str]]:
    """Python version and sorted `name==version` lines of the stages' interpreter; empty when it cannot be asked."""
    try:
        done = processes.run([stage_python(env), "-I", "-c", _PROBE], env=env, cwd=cwd, timeout=60)
        found = json.loads(done.stdout)
        return str(found["python"]), [str(line) for line in found["packages"]]
    except (ToolError, ValueError, KeyError, TypeError):
        return "", []


def environment(
    env: Mapping[str, str],
    processes: Processes,
    *,
    cwd: Path,
    lock_file: str,
    dependencies: Sequence[Dependency],
    tools: Mapping[str, str],
) -> tuple[Environment, str]:
    """The record, and the cuDNN version among the packages (empty where it is none)."""
    python, packages = probe(env, processes, cwd)
    lock = next((d.digest for d in dependencies if d.kind == "lock" and d.path == lock_file), "")
    cudnn = next((line.partition("==")[2] for line in packages if line.startswith(_CUDNN)), "")
    made = Environment(
        python=python,
        os=_os_name(),
        kernel=platform.release(),
        architecture=platform.machine(),
        container_image=container_image(),
        lock_file=lock_file if lock else "",
        lock_digest=lock,
        packages_digest="sha256:" + hashlib.sha256("\n".join(packages).encode()).hexdigest() if packages else "",
        packages=len(packages),
        tools={"trackside": trackside.__version__, "dvc": _installed("dvc"), "git": _git(processes), **tools},
        installed=packages,
        variables={name: env[name][:200] for name in VARIABLES if env.get(name)},
    )
    return made, cudnn


def container_image(root: Path = Path("/")) -> str:
    """Image of the container this runs in: podman names it, docker only says that it is one; empty outside."""
    try:
        text = (root / "run/.containerenv").read_text(errors="replace")
    except OSError:
        return "unnamed (docker)" if (root / ".dockerenv").exists() else ""
    for line in text.splitlines():
        if line.startswith("image="):
            return line.partition("=")[2].strip().strip('"')[:500]
    return "unnamed (podman)"


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _git(processes: Processes) -> str:
    try:
        return processes.run(["git", "--version"], timeout=30).text.strip().removeprefix("git version ")
    except ToolError:
        return ""
