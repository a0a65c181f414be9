"""Faults on request: status codes with headers, answers lost after the write was done, latency, cut connections."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["before", "after_write", "lost", "latency", "drop", "partial"]


@dataclass(kw_only=True)
class Fault:
    """One planned fault.

    `before`: answer `status` instead of acting. `after_write`: act, then answer `status`. `lost`: act, wait `seconds`,
    then cut the connection, which is what a time-out after the write looks like. `latency`: wait `seconds`, then act.
    `drop`: cut the connection without acting. `partial`: an upload breaks off inside GitHub, leaves a `starter` asset
    and is answered with `status`.
    """

    method: str
    path: re.Pattern[str]
    mode: Mode
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    after: int = 0
    times: int = 1
    git: bool = False


class Faults:
    """A list of faults; each fires `times` times after letting `after` matching requests pass."""

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
        after: int = 0,
        times: int = 1,
        git: bool = False,
    ) -> None:
        """`method` may be `*`; `path` is a regular expression searched in the path below `/api/v3`.

        With `git` the fault is for requests of git instead, whose path is that of the repository with its query
        (`/acme/flights/info/refs?service=git-receive-pack`, `/acme/flights/git-receive-pack`).
        """
        fault = Fault(
            method=method,
            path=re.compile(path),
            mode=mode,
            status=status,
            headers=headers or {},
            seconds=seconds,
            after=after,
            times=times,
            git=git,
        )
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def take(self, method: str, path: str, *, git: bool = False) -> Fault | None:
        """The fault that hits this request, if any."""
        with self._lock:
            for fault in self._faults:
                if fault.git != git:
                    continue
                if fault.times > 0 and fault.method in (method, "*") and fault.path.search(path):
                    if fault.after > 0:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    self.fired += 1
                    return fault
        return None
