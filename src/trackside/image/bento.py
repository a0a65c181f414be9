"""A Bento from the service's files and the released model, made by BentoML in the service's own environment."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from trackside.config.model import ImagePolicy
from trackside.errors import ConfigError, ToolError
from trackside.image.backends import Service, build_failed
from trackside.image.recipe import MAKE
from trackside.system.files import sha256_of
from trackside.system.http import free_port
from trackside.system.process import Processes

BUILD_SECONDS = 300.0


def source_files(checkout: Path, policy: ImagePolicy) -> list[str]:
    """The service's file and what `include` names, as sorted paths in the checkout; links and escapes are refused.

    Raises:
        ConfigError: the service's file or the lock is missing, a pattern matches nothing or leads outside.
    """
    root = checkout.resolve()
    found: set[str] = set()
    for pattern in [policy.service.partition(":")[0], policy.requirements, *policy.include]:
        if PurePosixPath(pattern).is_absolute() or ".." in PurePosixPath(pattern).parts:
            raise ConfigError(f"image.include: {pattern!r} leads outside the repository", link="image.md")
        matched = [path for top in root.glob(pattern) for path in (top.rglob("*") if top.is_dir() else [top])]
        files = [path for path in matched if path.is_file()]
        if not files:
            raise ConfigError(f"image: nothing in the repository matches {pattern!r}", link="image.md")
        for path in files:
            if not path.resolve().is_relative_to(root):
                raise ConfigError(f"image: {path.relative_to(root)} links to outside the repository", link="image.md")
            if "__pycache__" not in path.parts and ".git" not in path.relative_to(root).parts:
                found.add(str(path.relative_to(root)))
    return sorted(found)


def sources_of(checkout: Path, files: list[str]) -> dict[str, str]:
    """sha256 by path."""
    return {name: sha256_of(checkout / name) for name in files}


def stage(checkout: Path, files: list[str], model: Path, model_path: str, folder: Path) -> None:
    """Lay out what the Bento is made of: the repository's files, then the released model where it belongs."""
    for name in files:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(checkout / name, target)
    target = folder / model_path
    target.parent.mkdir(parents=True, exist_ok=True)
    if model.is_dir():
        shutil.copytree(model, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(model, target)


def build(python: Path, folder: Path, told: str, *, work: Path, processes: Processes) -> Path:
    """Build the staged folder on this machine, without a container. Returns the Bento's folder.

    Args:
        python: has the service's packages.
        told: see `recipe.words`.

    Raises:
        ToolError: with BentoML's own words.
    """
    (work / "make.py").write_text(MAKE)
    (work / "words.json").write_text(told)
    home = work / "bentoml"
    home.mkdir()
    try:
        processes.run(
            [python, work / "make.py", folder, work / "words.json", work / "bento"],
            cwd=folder,
            env={**(env := bento_env(processes.env, home)), "PATH": f"{work / 'tools'}:{env.get('PATH', '')}"},
            timeout=BUILD_SECONDS,
        )
    except ToolError as error:
        raise build_failed("the Bento", error.log or error.message) from error
    return work / "bento"


def bento_env(env: Mapping[str, str], home: Path) -> dict[str, str]:
    """No telemetry, and homes that are thrown away."""
    kept = {name: text for name, text in env.items() if name in ("PATH", "LANG", "TMPDIR")}
    return {
        **kept,
        "HOME": str(home),
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def served(python: Path, bento: Path, home: Path, processes: Processes) -> Iterator[Service]:
    """The Bento served by this machine, without a container, on a free port of the loopback interface."""
    port = free_port()
    lines: deque[str] = deque(maxlen=60)
    child = processes.spawn(
        [python, "-m", "bentoml", "serve", bento, "--host", "127.0.0.1", "--port", str(port)],
        cwd=bento / "src",
        env=bento_env(processes.env, home),
        on_line=lines.append,
    )
    try:
        yield Service(
            url=f"http://127.0.0.1:{port}",
            runs=lambda: child.returncode is None,
            log=lambda: "\n".join(lines)[-6000:],
        )
    finally:
        child.stop(grace=5.0)
