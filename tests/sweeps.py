"""Every fault at every API call and git request: notes those of a piece of work, then breaks each of them in turn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trackside.forge.github import GithubForge
from trackside.sandbox.git import Bare
from trackside.sandbox.server import Sandbox
from trackside.system.process import Completed, Processes

ANY: dict[str, dict[str, Any]] = {"502 for good": {"status": 502, "times": 12}}
WRITES: dict[str, dict[str, Any]] = {"502": {"status": 502}, "lost after the write": {"mode": "lost"}}
GIT: dict[str, dict[str, Any]] = {
    "502 for good": {"status": 502, "times": 40},
    "502": {"status": 502},
    "cut before": {"mode": "drop"},
    "lost after": {"mode": "lost"},
}
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

    forge.client._send = noting
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


class Deadly(Processes):
    """Counts the commands of git that reach out, and dies once number `at` of them (from 0) has ended."""

    def __init__(self, env: Mapping[str, str], at: int = -1) -> None:
        super().__init__(env)
        self.at, self.seen = at, 0

    def run(self, argv: Sequence[str | Path], **more: Any) -> Completed:
        done = super().run(argv, **more)
        if {"ls-remote", "fetch", "push"} & {str(word) for word in argv[:4]}:
            self.seen += 1
            if self.seen == self.at + 1:
                raise Killed
        return done


def git_cases(requests: int, commands: int) -> Iterator[Case]:
    """All faults of all requests of git, and a kill after each of its commands."""
    for number in range(requests):
        for kind in GIT:
            yield Case(kind=kind, number=number)
    for number in range(commands):
        yield Case(kind=KILL, number=number)


def git_broken(case: Case, sandbox: Sandbox, env: Mapping[str, str], work: Callable[[Processes], Any]) -> None:
    """Do the work once while the case's fault of git is planned; a kill is swallowed."""
    sandbox.faults.clear()
    fired, processes = sandbox.faults.fired, Deadly(env, case.number if case.kind == KILL else -1)
    if case.kind != KILL:
        sandbox.faults.add("*", "", after=case.number, git=True, **{"times": 1, **GIT[case.kind]})
    dead = False
    try:
        work(processes)
    except Killed:
        dead = True
    assert dead if case.kind == KILL else sandbox.faults.fired > fired, f"{case} never happened"
    sandbox.faults.clear()


class Prepared:
    """A repository as it stands now, to go back to before each case: its documents, numbers and refs."""

    def __init__(self, sandbox: Sandbox, repo: str) -> None:
        self.state, self.bare, self.repo = sandbox.state, sandbox.hub.bare(repo), repo
        ask = self.state._db.execute
        self.docs = ask("SELECT kind, repo, key, seq, body FROM docs WHERE repo = ?", (repo,)).fetchall()
        self.counters = ask("SELECT value, name FROM counters WHERE name LIKE ?", (f"%:{repo}",)).fetchall()
        self.refs = self.bare.refs()

    def restore(self) -> None:
        """Objects stay: nobody finds one without a name."""
        with self.state.transaction():
            ask = self.state._db.execute
            ask("DELETE FROM docs WHERE repo = ?", (self.repo,))
            ask("DELETE FROM counters WHERE name LIKE ?", (f"%:{self.repo}",))
            self.state._db.executemany("INSERT INTO docs VALUES (?, ?, ?, ?, ?)", self.docs)
            self.state._db.executemany("INSERT INTO counters (value, name) VALUES (?, ?)", self.counters)
        gone = [f"delete {name}\n" for name in self.bare.refs() if name not in self.refs]
        kept = [f"update {name} {sha}\n" for name, sha in self.refs.items()]
        self.bare.git("update-ref", "--stdin", data="".join([*gone, *kept]).encode())


_OBJECT = re.compile(r"[0-9a-f]{40}(\.\.[0-9a-f]{40})?(\^\{\w+\})?")
_READS = ("cat-file", "diff-tree", "log", "ls-tree", "merge-base", "rev-list", "rev-parse")


@contextmanager
def remembered() -> Iterator[None]:
    """Git is asked once for what never changes: questions about objects by their full names that had an answer.

    Starting git is most of what a sweep costs.
    """
    ask, known = Bare.git, dict[Any, Completed]()

    def git(self: Bare, *args: str, **more: Any) -> Completed:
        named = args[1 : args.index("--")] if "--" in args else args[1:]
        words = [one for one in named if not one.startswith("-") and one not in ("blob", "commit", "tag", "tree")]
        if args[0] not in _READS or not words or more.get("data") or not all(map(_OBJECT.fullmatch, words)):
            return ask(self, *args, **more)
        question = (self.path, args, tuple(sorted((more.get("env") or {}).items())))
        if question not in known:
            answer = ask(self, *args, **more)
            if answer.returncode:
                return answer
            known[question] = answer
        return known[question]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bare, "git", git)
        yield
