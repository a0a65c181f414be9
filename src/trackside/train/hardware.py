"""The machine: processor, memory and GPUs, and how hard a run uses them. No error of NVML ever breaks training."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trackside.documents.run import Gpu, Hardware
from trackside.system.clock import Clock
from trackside.train.confine import descendants

T = TypeVar("T")
PERIOD_SECONDS = 1.0


def load_nvml() -> Any:
    """nvidia-ml-py's module, or None where it is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml


class Gpus:
    """NVML behind one door: every call may fail, then there is no value.

    Args:
        module: nvidia-ml-py's module (or anything with its functions), or None.
        visible: value of CUDA_VISIBLE_DEVICES; indices or UUIDs, also shortened ones. Empty means all.
    """

    def __init__(self, module: Any, visible: str = "") -> None:
        self._nvml = module
        self.handles: list[tuple[int, Any]] = []
        if module is not None and self._try(lambda: (module.nvmlInit(), True)[1], False):
            count = self._try(module.nvmlDeviceGetCount, 0)
            found = [(index, self._try(module.nvmlDeviceGetHandleByIndex, None, index)) for index in range(count)]
            wanted = [word.strip() for word in visible.split(",") if word.strip()]
            self.handles = [
                (index, handle) for index, handle in found if handle is not None and self._wanted(index, handle, wanted)
            ]

    def _wanted(self, index: int, handle: Any, wanted: list[str]) -> bool:
        if not wanted:
            return True
        uuid = self._uuid(handle)
        return any(word == str(index) or (word.startswith("GPU-") and uuid.startswith(word)) for word in wanted)

    def _try(self, call: Callable[..., T], otherwise: T, *args: Any) -> T:
        try:
            return call(*args)
        except Exception:  # NVMLError, a missing symbol of an old driver, a library that is half installed
            return otherwise

    def _uuid(self, handle: Any) -> str:
        return self._try(lambda: _text(self._nvml.nvmlDeviceGetUUID(handle)), "")

    def describe(self) -> tuple[list[Gpu], str, str]:
        """GPUs, driver version, and CUDA version that the driver supports."""
        if not self.handles:
            return [], "", ""
        nvml = self._nvml
        made = [
            Gpu(
                index=index,
                name=self._try(lambda h: _text(nvml.nvmlDeviceGetName(h)), "unknown", handle),
                uuid=self._uuid(handle),
                memory_bytes=self._try(lambda h: int(nvml.nvmlDeviceGetMemoryInfo(h).total), 0, handle),
                compute_capability=self._try(
                    lambda h: ".".join(map(str, nvml.nvmlDeviceGetCudaComputeCapability(h))), "", handle
                ),
            )
            for index, handle in self.handles
        ]
        driver = self._try(lambda: _text(nvml.nvmlSystemGetDriverVersion()), "")
        cuda = self._try(lambda: int(nvml.nvmlSystemGetCudaDriverVersion()), 0)
        return made, driver, f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda else ""

    def utilisation(self) -> float | None:
        """Mean over the GPUs, 0..1."""
        return _mean(self._each(lambda h: self._nvml.nvmlDeviceGetUtilizationRates(h).gpu / 100))

    def memory(self) -> int | None:
        """Bytes in use on all GPUs together."""
        used = self._each(lambda h: int(self._nvml.nvmlDeviceGetMemoryInfo(h).used))
        return int(sum(used)) if used else None

    def energy(self) -> float | None:
        """Joules since the driver was loaded, all GPUs; None where a GPU does not count it (before Volta)."""
        joules = self._each(lambda h: self._nvml.nvmlDeviceGetTotalEnergyConsumption(h) / 1000)
        return sum(joules) if joules and len(joules) == len(self.handles) else None

    def power(self) -> float | None:
        """Watts, all GPUs."""
        watts = self._each(lambda h: self._nvml.nvmlDeviceGetPowerUsage(h) / 1000)
        return sum(watts) if watts else None

    def _each(self, call: Callable[[Any], float | None]) -> list[float]:
        found = (self._try(call, None, handle) for _, handle in self.handles)
        return [value for value in found if value is not None]

    def close(self) -> None:
        if self._nvml is not None:
            self._try(self._nvml.nvmlShutdown, None)


def hardware(gpus: Gpus, *, runner: str = "", cudnn: str = "") -> Hardware:
    """The machine as it is now."""
    found, driver, cuda = gpus.describe()
    return Hardware(
        cpu=_cpu(), cores=os.cpu_count() or 0, memory_bytes=_memory(), gpus=found, driver=driver, cuda=cuda,
        cudnn=cudnn if found else "", runner=runner,
    )  # fmt: skip


class Sampled(msgspec.Struct, kw_only=True):
    """What was seen during a run: means over samples, peaks in bytes, joules; None where nothing was measured."""

    utilisation: float | None = None
    now: float | None = None
    peak_gpu_memory: int | None = None
    energy: float | None = None
    peak_memory: int | None = None


class Sampler:
    """Looks at GPUs and at the memory of the running command in a thread of its own."""

    def __init__(self, gpus: Gpus, clock: Clock, period: float = PERIOD_SECONDS) -> None:
        self._gpus, self._clock, self._period = gpus, clock, period
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="sampler")
        self.pid: int | None = None
        self._sum = 0.0
        self._count = 0
        self._joules = 0.0
        self._measured = False
        self._first = gpus.energy()
        self._last = clock.monotonic()
        self.seen = Sampled()

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        self.sample()

    def _loop(self) -> None:
        while not self._stop.wait(self._period):
            self.sample()

    def sample(self) -> None:
        """Take one sample. Energy is the difference of the GPUs' own counters, else power times time."""
        seen, gpus = self.seen, self._gpus
        now = self._clock.monotonic()
        rate = gpus.utilisation()
        if rate is not None:
            self._sum, self._count = self._sum + rate, self._count + 1
            seen.now, seen.utilisation = rate, self._sum / self._count
        seen.peak_gpu_memory = _larger(seen.peak_gpu_memory, gpus.memory())
        watts, counter = gpus.power(), gpus.energy()
        if watts is not None:
            self._joules, self._measured = self._joules + watts * (now - self._last), True
        if counter is not None and self._first is not None:
            seen.energy = max(0.0, counter - self._first)
        elif self._measured:
            seen.energy = self._joules
        self._last = now
        if self.pid is not None:
            seen.peak_memory = _larger(seen.peak_memory, resident([self.pid, *descendants(self.pid)]))


def resident(pids: Iterable[int]) -> int | None:
    """Bytes resident in memory of these processes together (shared pages count for each); None when all are gone."""
    page = os.sysconf("SC_PAGE_SIZE")
    found = []
    for pid in pids:
        try:
            found.append(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page)
        except (OSError, IndexError, ValueError):
            continue
    return sum(found) if found else None


def _larger(old: int | None, new: int | None) -> int | None:
    return new if old is None else old if new is None else max(old, new)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int:
    """Bytes of memory, or the control group's limit where that is smaller."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return whole
    return min(whole, int(limit)) if limit.isdigit() else whole
