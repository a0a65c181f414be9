"""The machines of the sandbox: each takes one job at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A machine that takes jobs asking for a subset of its labels; `kind` names its home folder and tool cache."""

    name: str
    labels: frozenset[str]
    kind: str

    @property
    def hosted(self) -> bool:
        return self.kind == "hosted"

    def home(self, event: str) -> str:
        """Folder of its tool cache; hosted jobs of a pull request's own workflow files have another one."""
        return f"{self.kind}-pull-request" if self.hosted and event == "pull_request" else self.kind

    def fits(self, labels: Iterable[str]) -> bool:
        return {label.lower() for label in labels} <= {label.lower() for label in self.labels}


HOSTED = Runner(name="Hosted 1", labels=frozenset({"ubuntu-latest", "ubuntu-24.04", "ubuntu-22.04"}), kind="hosted")
GPU = Runner(name="gpu-1", labels=frozenset({"self-hosted", "linux", "x64", "gpu"}), kind="self-hosted")


class Pool:
    """Who is free."""

    def __init__(self, runners: Iterable[Runner]) -> None:
        self.runners = tuple(runners)
        self._busy: set[str] = set()
        self._moved = threading.Condition()

    def has(self, labels: Iterable[str]) -> bool:
        """Whether any runner, free or not, has all labels."""
        wanted = list(labels)
        return any(runner.fits(wanted) for runner in self.runners)

    def take(self, labels: Iterable[str], given_up: Callable[[], bool]) -> Runner | None:
        """Wait for a free runner with all labels; None when `given_up()` became true first."""
        wanted = list(labels)

        def free() -> Runner | None:
            return next((one for one in self.runners if one.name not in self._busy and one.fits(wanted)), None)

        with self._moved:
            self._moved.wait_for(lambda: given_up() or free() is not None)
            found = None if given_up() else free()
            if found is not None:
                self._busy.add(found.name)
            return found

    def give_back(self, runner: Runner) -> None:
        with self._moved:
            self._busy.discard(runner.name)
            self._moved.notify_all()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        with self._moved:
            self._moved.notify_all()
