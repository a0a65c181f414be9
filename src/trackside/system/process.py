"""The one place that starts child processes: argv lists only, never a shell string.

Children lead a process group of their own, so that a time-out or a signal takes the whole tree with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from trackside.errors import ToolError

GRACE_SECONDS = 10.0
"""How long a child may clean up between SIGTERM and SIGKILL."""


@dataclass(frozen=True, kw_only=True)
class Completed:
    """A finished child."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as UTF-8; undecodable bytes are replaced."""
        return self.stdout.decode("utf-8", "replace")


class Child:
    """A running child whose output (stdout and stderr as one stream) is read line by line."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._popen.poll()

    def lines(self) -> Iterator[str]:
        """Each line of output without its newline, as it arrives, until the child closes it."""
        stream: IO[bytes] | None = self._popen.stdout
        if stream is not None:
            with stream:
                for raw in stream:
                    yield raw.decode("utf-8", "replace").rstrip("\r\n")

    def wait(self, timeout: float | None = None) -> int:
        """Exit status. Raises TimeoutError after `timeout` seconds; the child goes on."""
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired as expired:
            raise TimeoutError(f"{self._popen.args!r} still runs after {timeout} s") from expired

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the child's whole process group; a group that is gone is no error."""
        try:
            os.killpg(self._popen.pid, number)
        except ProcessLookupError:
            return

    def stop(self, grace: float = GRACE_SECONDS) -> int:
        """SIGTERM, then SIGKILL after `grace` seconds, for the whole group. Returns the exit status."""
        self.signal_group(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(grace)
        self.signal_group(signal.SIGKILL)
        status = self._popen.wait()
        for stream in (self._popen.stdout, self._popen.stderr):
            if stream is not None:
                stream.close()
        return status


class Processes:
    """Starts children. `env` is their whole environment unless a call gives another one."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        input: bytes | None = None,
        timeout: float | None = None,
        check: bool = True,
    ) -> Completed:
        """Run to the end and capture both streams.

        Raises:
            ToolError: the program is missing, ran past `timeout` seconds, or (with `check`) exited non-zero.
        """
        words = tuple(str(word) for word in argv)
        popen = self._start(
            words,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            stdout, stderr = popen.communicate(input, timeout)
        except BaseException as error:
            Child(popen).stop(grace=1.0)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ToolError(
                    f"{words[0]} ran past {timeout:g} s and was stopped", reason_code="tool_timed_out"
                ) from None
            raise
        done = Completed(argv=words, returncode=popen.returncode, stdout=stdout, stderr=stderr)
        if check and done.returncode != 0:
            raise ToolError(
                f"`{' '.join(words[:3])}` exited with status {done.returncode}",
                log=(stderr or stdout).decode("utf-8", "replace")[-8000:],
            )
        return done

    def spawn(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Child:
        """Start and return at once; with `on_line`, a thread hands every output line over.

        Raises:
            ToolError: the program is missing.
        """
        words = tuple(str(word) for word in argv)
        child = Child(self._start(words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT))
        if on_line is not None:
            handler = on_line

            def pump() -> None:
                for line in child.lines():
                    handler(line)

            threading.Thread(target=pump, daemon=True, name=f"lines-{words[0]}").start()
        return child

    def _start(
        self, words: tuple[str, ...], *, cwd: Path | None, env: Mapping[str, str] | None, stdin: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                words,
                cwd=cwd,
                env=dict(self.env if env is None else env),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            if cwd is not None and not cwd.is_dir():
                raise ToolError(f"folder {cwd} does not exist", reason_code="tool_missing") from error
            raise ToolError(
                f"{words[0]} is not installed",
                remedy=f"install {words[0]} and put it on PATH",
                reason_code="tool_missing",
            ) from error
