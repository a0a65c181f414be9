"""The service's packages from its hash-pinned lock: wheels only, unpacked for the image, or as an environment here."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from trackside.errors import ConfigError, DataError, ToolError
from trackside.system.process import Processes

INSTALL_SECONDS = 1800.0
_TARGET = re.compile(r"(3\.\d+) (\d+\.\d+) (\w+)")
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==\S+", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Target:
    """What wheels must fit: Python `3.11`, glibc `2.36`, machine `x86_64`."""

    python: str
    glibc: str
    machine: str

    @property
    def platform(self) -> str:
        return f"{self.machine}-manylinux_{self.glibc.replace('.', '_')}"


PROBE = (
    "python3",
    "-c",
    "import sys, platform; print('%d.%d' % sys.version_info[:2], platform.libc_ver()[1], platform.machine())",
)


def target_of(printed: str, base: str) -> Target:
    """What `PROBE` printed in the base image. Raises ConfigError for an image without Python 3 and glibc."""
    found = _TARGET.fullmatch(printed.strip())
    if found is None:
        raise ConfigError(
            f"the base image {base} has no python3 on glibc",
            remedy="image:\n  base-image: python:3.12-slim-bookworm",
            link="image.md",
        )
    return Target(python=found[1], glibc=found[2], machine=found[3])


def check_lock(text: str, name: str) -> None:
    """Raises DataError unless every line pins a package by hash, and BentoML is among them."""
    rows = (line.strip() for line in text.replace("\\\n", " ").splitlines())
    lines = [line for line in rows if line and not line.startswith("#")]
    options = [line.split()[0] for line in lines if line.startswith("-")]
    if options:
        raise DataError(
            f"{name} has options ({', '.join(options[:5])})",
            why="a lock only pins: the runner's own configuration says where packages come from",
            remedy="uv pip compile --no-emit-index-url --no-emit-find-links …",
            link="image.md",
        )
    bare = [line.split()[0] for line in lines if "--hash=" not in line]
    if bare:
        raise DataError(
            f"{name} has requirements without a hash: {', '.join(bare[:5])}",
            remedy="uv pip compile --universal --generate-hashes requirements-serve.in -o requirements-serve.txt",
            link="image.md",
        )
    if "bentoml" not in {found.lower() for found in _PINNED.findall(text)}:
        raise DataError(f"{name} does not pin bentoml, which serves the model", link="image.md")


def unpack(lock: Path, target: Target, folder: Path, processes: Processes) -> None:
    """Install into `folder` for another machine; nothing is compiled. Raises ToolError where a wheel is missing."""
    words = ["--target", str(folder), "--python-version", target.python, "--python-platform", target.platform]
    _install(words, lock, processes)
    readable(folder)


def readable(folder: Path) -> None:
    """Let any user read what the runner's umask may have closed: the image's user is another one."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))


def environment(lock: Path, cache: Path, processes: Processes) -> Path:
    """`python` of an environment on this machine that holds the locked packages, made once for each lock.

    It is installed aside and then named by a link, so that a killed installation is never used.
    """
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:24]
    name = cache / digest
    if not (name / "bin/python").exists():
        cache.mkdir(parents=True, exist_ok=True)
        aside = cache / f"{digest}-{secrets.token_hex(4)}"
        try:
            processes.run([*_uv(), "venv", "--quiet", "--no-config", "--python", sys.executable, aside])
            _install(["--python", str(aside / "bin/python"), "--compile-bytecode"], lock, processes)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        link = aside.with_suffix(".link")
        link.symlink_to(aside.name)
        link.replace(name)
    return name / "bin/python"


def _install(words: list[str], lock: Path, processes: Processes) -> None:
    common = [
        "--quiet",
        "--no-config",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--link-mode",
        "copy",
    ]
    processes.run([*_uv(), "pip", "install", *common, *words, "--requirement", lock], timeout=INSTALL_SECONDS)


def _uv() -> list[str]:
    """uv, which fits wheels to another machine; it comes with the requirement set `image`."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise ToolError(
            "uv is not installed",
            remedy="pip install --require-hashes -r requirements/image.txt",
            reason_code="tool_missing",
        )
    return [found]
