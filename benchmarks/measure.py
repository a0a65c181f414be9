"""What the benchmarks share: a figure with its target, medians with spread, and the CPU time of a child process."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]  # Trackside, and the samples that the tests use

CACHE = ROOT / "build/bench-cache"
PASSED_ON = ("PIP_", "UV_", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY")
"""Settings of package indexes and certificates: what an installation may see of this machine beside PATH."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table.

    `value` and `bound` are in `unit`; without a bound the line is there for comparison. `higher` tells which side of
    the bound is good. `spread` says how the value came about.
    """

    name: str
    value: float
    unit: str
    bound: float | None = None
    higher: bool = False
    spread: str = ""

    @property
    def good(self) -> bool | None:
        """Whether the target is reached; None where there is none."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.higher else self.value <= self.bound

    @property
    def target(self) -> str:
        return "" if self.bound is None else f"{'≥' if self.higher else '≤'} {shown(self.bound, self.unit)}"

    @property
    def verdict(self) -> str:
        """How the value stands to the bound, in words for the table."""
        if self.good is None or self.bound is None:
            return ""
        share = f" ({self.value / self.bound:.2f} of it)" if self.bound else ""
        return ("ok" if self.good else "MISSED") + share


@dataclass(frozen=True, kw_only=True)
class Child:
    """A finished child: its output, CPU seconds (user and system, with the children it waited for), wall seconds, and
    the most memory that it held, in GB.
    """

    stdout: bytes
    cpu: float
    wall: float
    peak: float = 0.0


def shown(value: float, unit: str) -> str:
    """A value with its unit."""
    if unit == "×":
        return f"{value:.1f}×"
    digits = 0 if value == int(value) else 3 if value < 1 else 2 if value < 100 else 1
    return f"{value:.{digits}f} {unit}".rstrip()


def spread(values: Sequence[float], unit: str) -> str:
    """Least and greatest of several measurements, and how many there were."""
    return f"{shown(min(values), unit)} to {shown(max(values), unit)}, n = {len(values)}"


def figure(name: str, values: Sequence[float], unit: str, bound: float | None = None, *, note: str = "") -> Figure:
    """The median of several measurements, of which less is better."""
    words = spread(values, unit) + (f"; {note}" if note else "")
    return Figure(name=name, value=statistics.median(values), unit=unit, bound=bound, spread=words)


def run_child(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> Child:
    """Run to the end, in exactly this environment.

    Raises:
        RuntimeError: it ended with another status than 0.
    """
    log = cwd / ".child.err"
    started = time.perf_counter()
    with log.open("wb") as errors:
        child = subprocess.Popen([str(word) for word in argv], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=errors)
        assert child.stdout is not None
        out = child.stdout.read()
        child.stdout.close()
        _, status, used = os.wait4(child.pid, 0)  # the usage of this child alone, whatever else runs
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(errors="replace")
    log.unlink()
    if child.returncode:
        raise RuntimeError(
            f"{argv[0]} ended with {child.returncode}:\n{text[-2000:]}{out.decode(errors='replace')[-2000:]}"
        )
    return Child(stdout=out, cpu=used.ru_utime + used.ru_stime, wall=wall, peak=used.ru_maxrss * 1024 / 1e9)


def repeat(action: Callable[[], float], rounds: int) -> list[float]:
    """Measurements after one that warms caches up and is thrown away."""
    action()
    return [action() for _ in range(rounds)]


def machine_env(**more: str) -> dict[str, str]:
    """PATH and HOME with what `PASSED_ON` lists."""
    kept = {name: text for name, text in os.environ.items() if name.upper().startswith(PASSED_ON)}
    return {**kept, **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}, **more}


def core_python() -> Path:
    """The Python of the core set, as `actions/setup` installs it for the report; kept between runs."""
    CACHE.mkdir(parents=True, exist_ok=True)
    env = machine_env(RUNNER_TOOL_CACHE=str(CACHE), TRACKSIDE_BASE_PYTHON=sys.executable)
    done = run_child(["bash", ROOT / "actions/setup/setup.sh", "core"], cwd=CACHE, env=env)
    return Path(done.stdout.decode().split()[-1])


def machine() -> str:
    """Cores, processor, Python and load, on one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({names[0] if names else platform.machine()}), "
        f"{platform.python_implementation()} {platform.python_version()}, load {load}"
    )


def program(name: str) -> str:
    """A program beside this Python, else on PATH, else nothing."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name) or ""
