"""Every fault at every API call: counts the calls of a piece of work, then breaks each of them in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from trackside.forge.github import GithubForge
from trackside.sandbox.server import Sandbox

FAULTS: dict[str, dict[str, Any]] = {
    "502": {"status": 502},
    "502 for good": {"status": 502, "times": 12},
    "lost after the write": {"mode": "lost"},
}
KILLS = ("killed before", "killed after")


class Killed(BaseException):
    """Stands for SIGKILL: nothing that catches errors catches it."""


def kill_at(forge: GithubForge, number: int, *, after: bool) -> None:
    """Let the forge die at its `number`th request (from 0): before it is sent, or after it was answered."""
    send, seen = forge.client._send, [0]

    def deadly(*request: Any) -> Any:
        seen[0] += 1
        if seen[0] - 1 == number and not after:
            raise Killed
        answer = send(*request)
        if seen[0] - 1 == number and after:
            raise Killed
        return answer

    forge.client._send = deadly


@dataclass(frozen=True)
class Case:
    """One broken attempt: `kind` of fault at request `number`."""

    kind: str
    number: int


def cases(calls: int) -> Iterator[Case]:
    for number in range(calls):
        for kind in (*FAULTS, *KILLS):
            yield Case(kind=kind, number=number)


def broken(case: Case, sandbox: Sandbox, forge: GithubForge, work: Callable[[GithubForge], Any]) -> None:
    """Do the work once while the case's fault is planned; whatever comes of it is swallowed."""
    sandbox.faults.clear()
    fired = sandbox.faults.fired
    if case.kind in KILLS:
        kill_at(forge, case.number, after=case.kind.endswith("after"))
    else:
        sandbox.faults.add("*", "", after=case.number, **{"times": 1, **FAULTS[case.kind]})
    dead = False
    try:
        work(forge)
    except Killed:
        dead = True
    assert dead if case.kind in KILLS else sandbox.faults.fired > fired, f"{case} never happened"
    sandbox.faults.clear()
