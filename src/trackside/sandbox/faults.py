"""Faults on request: status codes with headers, answers lost after the write was done, latency."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["before", "lost", "latency"]


@dataclass(kw_only=True)
class Fault:
    """`before`: answer `status` instead of acting. `lost`: act, then drop the connection. `latency`: wait, then act."""

    method: str
    path: re.Pattern[str]
    mode: Mode
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    skip: int = 0
    times: int = 1


class Faults:
    """A list of faults; each fires `times` times after `skip` matching requests."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.fired = 0

    def add(
        self,
        method: str,
        path: str,
        *,
        mode: Mode = "before",
        status: int = 502,
        headers: dict[str, str] | None = None,
        seconds: float = 0.0,
        skip: int = 0,
        times: int = 1,
    ) -> None:
        """`path` is a regular expression searched in the request's path."""
        fault = Fault(
            method=method,
            path=re.compile(path),
            mode=mode,
            status=status,
            headers=headers or {},
            seconds=seconds,
            skip=skip,
            times=times,
        )
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that hits this request, if any."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.method in (method, "*") and fault.path.search(path):
                    if fault.skip > 0:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    self.fired += 1
                    return fault
        return None
