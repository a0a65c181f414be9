"""A Bento from the service's files and the released model, made by BentoML in the service's own environment."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from trackside.config.model import ImagePolicy
from trackside.errors import ConfigError
from trackside.image.backends import Service
from trackside.image.recipe import bentofile
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


def build(
    python: Path, folder: Path, policy: ImagePolicy, *, name: str, version: str, model_path: str, processes: Processes
) -> tuple[str, Path]:
    """Build the staged folder. Returns the Bento's tag and its folder. Raises ToolError with BentoML's own words."""
    home = folder.parent / "bentoml"
    home.mkdir()
    include = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    (folder / "bentofile.yaml").write_text(bentofile(policy.service, name, policy.requirements, include))
    env = bento_env(processes.env, home)
    words: list[str | Path] = [
        python,
        "-m",
        "bentoml",
        "build",
        "--bentofile",
        "bentofile.yaml",
        "--version",
        version,
        "--output",
        "tag",
    ]
    processes.run([*words, Path()], cwd=folder, env=env, timeout=BUILD_SECONDS)
    made = home / "bentos" / name.lower() / version
    return f"{name.lower()}:{version}", made


def bento_env(env: Mapping[str, str], home: Path) -> dict[str, str]:
    """No telemetry, and homes that are thrown away."""
    kept = {name: text for name, text in env.items() if name in ("PATH", "LANG", "TMPDIR")}
    return {**kept, "HOME": str(home), "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}


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
