"""Every fault at every API call: notes the calls of a piece of work, then breaks each of them in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trackside.forge.github import GithubForge
from trackside.sandbox.server import Sandbox

ANY: dict[str, dict[str, Any]] = {"502 for good": {"status": 502, "times": 12}}
WRITES: dict[str, dict[str, Any]] = {"502": {"status": 502}, "lost after the write": {"mode": "lost"}}
KILL = "killed after it"
"""A kill before a call is one after the call before it."""


class Killed(BaseException):
    """Stands for SIGKILL: nothing that catches errors catches it."""


def noted(forge: GithubForge) -> list[str]:
    """A list that the method of every request of the forge is added to from now on."""
    send, made = forge.client._send, list[str]()

    def noting(method: str, *request: Any) -> Any:
        made.append(method)
        return send(method, *request)

    forge.client._send = noting  # type: ignore[assignment]
    return made


@dataclass(frozen=True)
class Case:
    """One broken attempt: `kind` of fault at request `number`, counted from 0."""

    kind: str
    number: int


def cases(methods: Sequence[str], *, reads: bool = True) -> Iterator[Case]:
    """All faults of all calls; those that only a write can tell apart are left out for reads.

    `reads` False leaves reads out: for a second scenario, which reads like the first one.
    """
    for number, method in enumerate(methods):
        if method == "GET" and not reads:
            continue
        for kind in (*ANY, *(WRITES if method != "GET" else ()), KILL):
            yield Case(kind=kind, number=number)


def broken(case: Case, sandbox: Sandbox, forge: GithubForge, work: Callable[[GithubForge], Any]) -> None:
    """Do the work once while the case's fault is planned; whatever comes of it is swallowed."""
    sandbox.faults.clear()
    fired, dead = sandbox.faults.fired, False
    if case.kind == KILL:
        _kill_at(forge, case.number)
    else:
        sandbox.faults.add("*", "", after=case.number, **{"times": 1, **(ANY | WRITES)[case.kind]})
    try:
        work(forge)
    except Killed:
        dead = True
    assert dead if case.kind == KILL else sandbox.faults.fired > fired, f"{case} never happened"
    sandbox.faults.clear()


def _kill_at(forge: GithubForge, number: int) -> None:
    """Let the forge die once its `number`th request was answered."""
    send, seen = forge.client._send, [0]

    def deadly(*request: Any) -> Any:
        answer = send(*request)
        seen[0] += 1
        if seen[0] > number:
            raise Killed
        return answer

    forge.client._send = deadly
