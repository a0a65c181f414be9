"""The stages' own Python environment, made from hash-pinned requirements and kept by their digest."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trackside.documents.run import Dependency
from trackside.errors import ToolError
from trackside.system.process import Processes
from trackside.train.environment import stage_python

Run = Callable[[Sequence[str | Path], Sequence[Path]], None]
"""Runs a command confined to writing below the given folders; raises ToolError."""


def key(dependencies: Sequence[Dependency], python: str) -> str:
    """Which environment: the digests of all requirement files and the interpreter's version."""
    locks = sorted(f"{d.path} {d.digest}" for d in dependencies if d.kind == "lock")
    return hashlib.sha256("\n".join([python, *locks]).encode()).hexdigest()[:32]


def ready(envs: Path, name: str) -> Path | None:
    """`bin` of a finished environment; one whose making was killed never gets the name."""
    folder = (envs / name / "bin").resolve()
    return folder if (folder / "python").exists() else None


def make(
    envs: Path, name: str, requirements: str, *, workspace: Path, env: Mapping[str, str], processes: Processes, run: Run
) -> Path:
    """Install into a fresh folder, then give it its name in one step. Returns its `bin`.

    An environment cannot be moved (its scripts hold its path), so the name is a link to the finished folder.

    Raises:
        ToolError: no hashes, a wrong hash, nothing to download from.
    """
    found = ready(envs, name)
    if found is not None:
        return found
    envs.mkdir(parents=True, exist_ok=True)
    folder = envs / f"{name}-{secrets.token_hex(4)}"
    folder.mkdir()
    python, uv = stage_python(env), shutil.which("uv", path=env.get("PATH", ""))
    try:
        if uv:
            run([uv, "venv", "--quiet", "--no-config", "--allow-existing", "--python", python, folder], [folder])
            install: list[str | Path] = [
                uv,
                "pip",
                "install",
                "--quiet",
                "--no-config",
                "--compile-bytecode",  # stages may not write here, so that each would compile anew
                "--python",
                folder / "bin" / "python",
            ]
        else:
            run([python, "-I", "-m", "venv", folder], [folder])
            install = [
                folder / "bin" / "python",
                "-I",
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ]
        run([*install, "--require-hashes", "-r", workspace / requirements], [folder])
    except ToolError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ToolError(
            f"the environment of {requirements} could not be installed",
            log=error.log,
            why=error.message,
            remedy="pin every package with --hash; `pip install --require-hashes -r` shows the same locally",
            link="train.md",
            reason_code="environment_failed",
        ) from error
    link = envs / f"{name}.{secrets.token_hex(4)}"
    link.symlink_to(folder.name)
    link.replace(envs / name)
    for other in envs.glob(f"{name}-*"):
        if other.name != (envs / name).readlink().name and other.stat().st_mtime < folder.stat().st_mtime - 86_400:
            shutil.rmtree(other, ignore_errors=True)
    return (envs / name / "bin").resolve()
