"""Runs one command confined: output shown as text, last lines kept, stopped in time with all that it started."""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackside.errors import ToolError
from trackside.system.clock import Clock
from trackside.system.process import Child, Completed, Processes
from trackside.train import confine
from trackside.train.hardware import Sampler
from trackside.train.scrub import masked

GRACE_SECONDS = 4.0
"""Between SIGTERM and SIGKILL: a cancelled job has 10 s altogether."""
TAIL_LINES, TAIL_CHARACTERS, LINE_CHARACTERS = 200, 16_000, 2_000
HEARTBEAT_SECONDS = 30.0


class TimedOutRun(Exception):
    """The deadline passed."""


@dataclass
class Tail:
    """The last lines of a log, bounded and without secrets."""

    secrets: Sequence[str] = ()
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))

    def add(self, line: str) -> str:
        """Keep a line; returns it as it may be shown."""
        safe = masked(line, self.secrets)[:LINE_CHARACTERS]
        self.lines.append(safe)
        return safe

    def text(self) -> str:
        """At most `TAIL_CHARACTERS`, from the start of a line."""
        kept: list[str] = []
        room = TAIL_CHARACTERS
        for line in reversed(self.lines):
            room -= len(line) + 1
            if room < 0:
                break
            kept.append(line)
        return "\n".join(reversed(kept))


@dataclass(frozen=True, kw_only=True)
class Confined:
    """Where commands run and what they may write. `write` None leaves them free, as on one's own machine.

    Below `hide` they may read only what is in `read` or `write`.
    """

    workspace: Path
    env: Mapping[str, str]
    write: Sequence[Path] | None
    processes: Processes
    clock: Clock
    say: Callable[[str], None]
    tail: Tail
    deadline: float
    sampler: Sampler | None = None
    hide: Sequence[Path] = ()
    read: Sequence[Path] = ()

    def argv(self, words: Sequence[str | Path], more: Sequence[Path] = ()) -> list[str]:
        write = None if self.write is None else [str(path) for path in (*self.write, *more)]
        hide, read = [str(path) for path in self.hide], [str(path) for path in self.read]
        options = json.dumps({"write": write, "hide": hide, "read": read, "grace": GRACE_SECONDS - 1})
        return [sys.executable, "-I", str(Path(confine.__file__)), options, *map(str, words)]

    def run(
        self,
        words: Sequence[str | Path],
        *,
        more: Sequence[Path] = (),
        on_line: Callable[[str], None] | None = None,
        label: str = "",
    ) -> int:
        """Exit status of the command. Everything it started is gone when this returns or raises.

        Raises:
            TimedOutRun: the deadline passed first.
        """
        child = self.processes.spawn(self.argv(words, more), cwd=self.workspace, env=self.env)
        if self.sampler is not None:
            self.sampler.pid = child.pid
        pump = threading.Thread(target=self._pump, args=(child, on_line), daemon=True, name="log")
        pump.start()
        try:
            return self._wait(child, label)
        except BaseException:
            child.stop(GRACE_SECONDS)
            raise
        finally:
            pump.join(5)
            if self.sampler is not None:
                self.sampler.pid = None

    def checked(self, words: Sequence[str | Path], more: Sequence[Path] = ()) -> None:
        """Like `run`, for commands that must succeed. Raises ToolError."""
        status = self.run(words, more=more)
        if status != 0:
            raise ToolError(f"`{Path(words[0]).name}` exited with status {status}", log=self.tail.text()[-4000:])

    def _wait(self, child: Child, label: str) -> int:
        started = beat = self.clock.monotonic()
        while True:
            now = self.clock.monotonic()
            if now > self.deadline:
                raise TimedOutRun
            if label and now - beat >= HEARTBEAT_SECONDS:
                beat = now
                self.say(progress(label, now - started, self.sampler))
            try:
                return child.wait(min(1.0, max(0.01, self.deadline - now)))
            except TimeoutError:
                continue

    def _pump(self, child: Child, on_line: Callable[[str], None] | None) -> None:
        try:
            for line in child.lines():
                if on_line is not None:
                    on_line(line)
                self.say(shown(self.tail.add(line)))
        except (ValueError, OSError):
            return  # the stream was closed while the child was stopped


class Within(Processes):
    """Starts children in a place, for questions to programs that a stage's packages may have changed."""

    def __init__(self, place: Confined) -> None:
        super().__init__(place.env)
        self.place = place

    def run(self, argv: Sequence[str | Path], **more: Any) -> Completed:
        return super().run(self.place.argv(argv), **more)


def shown(line: str) -> str:
    """A line of foreign output as text: it starts with no `::` and holds no `##[`, which the runner would obey."""
    return "  | " + "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line).replace(
        "##[", "# #["
    )


def progress(label: str, seconds: float, sampler: Sampler | None) -> str:
    """`train · 0:12:30 · GPU 93 % · 12.1 GiB`."""
    whole = int(seconds)
    parts = [label, f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"]
    if sampler is not None and sampler.seen.now is not None:
        parts.append(f"GPU {sampler.seen.now:.0%}")
    if sampler is not None and sampler.seen.peak_gpu_memory:
        parts.append(f"GPU memory up to {sampler.seen.peak_gpu_memory / 2**30:.1f} GiB")
    if sampler is not None and sampler.seen.peak_memory:
        parts.append(f"memory up to {sampler.seen.peak_memory / 2**30:.1f} GiB")
    return " · ".join(parts)
