"""GitHub's workflow commands: outputs, job summary, annotations, masks and groups of log lines.

Nothing is ever written to GITHUB_ENV: what lands there becomes the environment of every later step.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO

from trackside.errors import DataError
from trackside.system.text import byte_length, clean, cut

SUMMARY_LIMIT = 1024 * 1024
"""Bytes of a step's summary; GitHub drops the whole summary of a step that writes more."""

SHORTEST_MASK = 4
"""Lines of a multi-line secret below this many characters are not masked: they would hide half the log."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")

Level = Literal["error", "warning", "notice"]


class WorkflowCommands:
    """Talks to the runner. Outside of a workflow, outputs and summaries go nowhere and messages are plain lines.

    Args:
        env: the environment; GITHUB_ACTIONS, GITHUB_OUTPUT and GITHUB_STEP_SUMMARY are read.
        stream: where log lines go, normally standard output.
    """

    def __init__(self, env: Mapping[str, str], stream: TextIO) -> None:
        self.active = env.get("GITHUB_ACTIONS") == "true"
        self._output = env.get("GITHUB_OUTPUT", "")
        self._summary = env.get("GITHUB_STEP_SUMMARY", "")
        self._stream = stream

    def outputs(self, values: Mapping[str, str]) -> None:
        """Set outputs of the step, whatever lines the values hold.

        Raises:
            DataError: a name that is no output name.
        """
        for name in values:
            if not _NAME.fullmatch(name):
                raise DataError(f"{name!r} is no name for an output")
        if self._output:
            _append(Path(self._output), "".join(_assignment(name, value) for name, value in values.items()))

    def summary(self, markdown: str) -> bool:
        """Append to the job summary; what is beyond the limit is cut. False when something was left out."""
        if not self._summary:
            return False
        path = Path(self._summary)
        there = path.stat().st_size if path.is_file() else 0
        whole = clean(markdown).rstrip("\n") + "\n"
        text = cut(whole, SUMMARY_LIMIT - there, byte_length)
        _append(path, text)
        return text == whole

    def annotate(
        self, level: Level, message: str, *, title: str = "", file: str = "", line: int = 0, column: int = 0
    ) -> None:
        """A message that GitHub shows on the run, and on the line of the file where one is named."""
        if not self.active:
            where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
            self._print(f"{level}: {where}{title + ': ' if title else ''}{clean(message)}")
            return
        properties = {"title": title, "file": file, "line": str(line or ""), "col": str(column or "")}
        given = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
        self._print(f"::{level}{' ' + given if given else ''}::{_data(message)}")

    def mask(self, secret: str) -> None:
        """Hide a secret, and each line of it, in the log from now on. Does nothing outside of a workflow."""
        if not self.active:
            return
        whole = secret.strip()
        lines = [line.strip() for line in secret.splitlines()]
        for value in dict.fromkeys([whole, *(line for line in lines if len(line) >= SHORTEST_MASK)]):
            if value:
                self._print(f"::add-mask::{_data(value)}")

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Fold the log lines printed within."""
        self._print(f"::group::{_data(title)}" if self.active else clean(title))
        try:
            yield
        finally:
            if self.active:
                self._print("::endgroup::")

    @contextmanager
    def untrusted(self) -> Iterator[None]:
        """Log lines printed within are text, even when they look like commands."""
        token = secrets.token_hex(16)
        if self.active:
            self._print(f"::stop-commands::{token}")
        try:
            yield
        finally:
            if self.active:
                self._print(f"::{token}::")

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def _assignment(name: str, value: str) -> str:
    """`name<<delimiter`, the value, the delimiter: random, so that no value can end it early."""
    delimiter = f"end-{secrets.token_hex(16)}"
    return f"{name}<<{delimiter}\n{clean(value)}\n{delimiter}\n"


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(text)


def _data(text: str) -> str:
    return clean(text).replace("%", "%25").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
