"""Files to be written: what stands there already, the difference, and the writing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trackside.errors import ConfigError

Action = Literal["write", "replace", "keep", "same"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One file: `keep` is another text that stays, `replace` the same with `--force`."""

    path: str
    text: str
    before: str
    action: Action
    note: str = ""

    @property
    def diff(self) -> str:
        """Unified diff from what stands there to what is wanted."""
        old = f"a/{self.path}" if self.before else "/dev/null"
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True), self.text.splitlines(keepends=True), old, f"b/{self.path}"
        )
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def planned(root: Path, wanted: Mapping[str, str], *, force: bool, notes: Mapping[str, str]) -> tuple[Change, ...]:
    """What has to happen for each wanted file; `notes` explain files that are kept.

    Raises:
        ConfigError: a link or a folder is in the way: writing would go elsewhere.
    """
    made = []
    for path, text in wanted.items():
        there = _text(root, path)
        action: Action = "write" if there is None else "same" if there == text else "replace" if force else "keep"
        note = notes.get(path, "") if action == "keep" else ""
        made.append(Change(path=path, text=text, before=there or "", action=action, note=note))
    return tuple(made)


def _text(root: Path, path: str) -> str | None:
    target = root / path
    for one in [target, *target.parents]:
        if one == root:
            break
        if one.is_symlink() or (one.exists() and one.is_dir() == (one == target)):
            raise ConfigError(
                f"{one.relative_to(root)} is a link, or a folder where a file should be",
                why="writing there would change something else",
                remedy="move it away, then run `trackside init` again",
            )
    try:
        return target.read_text(encoding="utf-8", errors="replace") if target.exists() else None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def write(root: Path, changes: Iterable[Change]) -> None:
    """Write what is to be written. Raises ConfigError where the folder allows none."""
    for change in changes:
        if change.action not in ("write", "replace"):
            continue
        target = root / change.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(change.text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{change.path} cannot be written: {error.strerror}") from error
