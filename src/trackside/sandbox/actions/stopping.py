"""Stops a job the way GitHub's runner does: SIGINT, SIGTERM, SIGKILL to the step; then what it left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

_PROC = Path("/proc")


def _parents() -> dict[int, tuple[int, str]]:
    """Every process: id → (parent, state letter)."""
    found = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in brackets may hold spaces and brackets.
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                found[int(entry.name)] = (int(parent), state)
    return found


def _living(parents: dict[int, tuple[int, str]], pids: set[int]) -> set[int]:
    return {pid for pid in pids if pid in parents and parents[pid][1] not in "ZX"}


def _below(parents: dict[int, tuple[int, str]], root: int) -> set[int]:
    """All descendants of a process."""
    found: set[int] = set()
    layer = {root}
    while layer:
        layer = {pid for pid, (parent, _) in parents.items() if parent in layer} - found
        found |= layer
    return found


def _send(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def end_step(act: int, *, interrupt: float, terminate: float, touch: bool = True) -> None:
    """Stop what act runs at this moment, and let act go on with the steps that run after a cancel.

    The step's own process gets SIGINT, `interrupt` seconds later SIGTERM, `terminate` seconds later its whole tree gets
    SIGKILL; without `touch` the step is left alone. act stands still meanwhile, so that it begins no other step; then
    SIGINT tells it that the job is cancelled.
    """
    if not touch:
        _send({act}, signal.SIGINT)
        return
    _send({act}, signal.SIGSTOP)
    try:
        entries = {pid for pid, (parent, _) in _parents().items() if parent == act}
        for number, seconds in ((signal.SIGINT, interrupt), (signal.SIGTERM, terminate)):
            _send(_living(_parents(), entries), number)
            if _wait_gone(entries, seconds):
                break
        _send(_below(_parents(), act), signal.SIGKILL)
    finally:
        _send({act}, signal.SIGINT)
        _send({act}, signal.SIGCONT)


def _wait_gone(pids: set[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _living(_parents(), pids):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)
    return True


def kill_tree(act: int) -> None:
    """Kill act and everything below it, at once."""
    _send({act}, signal.SIGSTOP)
    _send(_below(_parents(), act), signal.SIGKILL)
    _send({act}, signal.SIGKILL)


def end_orphans(mark: str) -> int:
    """Kill processes that a job left behind, known by RUNNER_TRACKING_ID in their environment; returns how many."""
    wanted = f"RUNNER_TRACKING_ID={mark}".encode()
    found = set()
    for pid, (_, state) in _parents().items():
        with contextlib.suppress(OSError):
            if state not in "ZX" and wanted in (_PROC / str(pid) / "environ").read_bytes().split(b"\0"):
                found.add(pid)
    _send(found, signal.SIGKILL)
    return len(found)
