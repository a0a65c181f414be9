"""act's JSON lines → a job's steps, result, summary and a log that people read."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trackside.sandbox.hub import now

Doc = dict[str, Any]

CAPTURE = "Sandbox: capture outputs"
"""Name of the step that the sandbox adds; it is not shown."""
_CONCLUSIONS = {"success": "success", "failure": "failure", "skipped": "skipped"}


def step_name(step: Doc) -> str:
    """What GitHub calls a step that has no name."""
    if step.get("name"):
        return str(step["name"])
    return f"Run {step['uses']}" if "uses" in step else "Run " + str(step.get("run", "")).strip().split("\n")[0]


class Masks:
    """Replaces secrets by `***`: each value, and each line of one."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        texts = {part.strip() for text in secrets.values() for part in (text, *text.splitlines()) if part.strip()}
        self.holds = re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True)))) if texts else None

    def hide(self, text: str) -> str:
        return self.holds.sub("***", text) if self.holds else text

    def in_text(self, text: str) -> bool:
        return bool(self.holds and self.holds.search(text))


class JobLog:
    """Takes act's output line by line.

    The log file grows while the job runs; `close` writes it anew in the order of the steps, since act reports late
    lines of a step after the next one began. A line `##[step]NAME` opens each step.
    """

    def __init__(
        self, path: Path, steps: list[Doc], names: list[str], masks: Masks, changed: Callable[[list[Doc]], None]
    ) -> None:
        self.path, self.masks, self._changed = path, masks, changed
        self.result = ""
        self.running: int | None = None
        """Place of the step under way."""
        ids = [str(step.get("id") or place) for place, step in enumerate(steps)]
        self._places = {name: place for place, name in enumerate(ids)}
        self.steps: list[Doc] = [
            {
                "number": place + 1,
                "name": masks.hide(name),
                "status": "queued",
                "conclusion": None,
                "started_at": None,
                "completed_at": None,
            }
            for place, name in enumerate(names)
        ]
        self._parts: list[list[str]] = [[] for _ in range(len(steps) + 2)]
        self._file = path.open("w", encoding="utf-8")
        self._lock = threading.Lock()

    def write(self, text: str, place: int = -1) -> None:
        """Add lines to a step's part; -1 is the part before the first step."""
        text = self.masks.hide(text if text.endswith("\n") else text + "\n")
        with self._lock:
            if not self._file.closed:
                self._parts[place + 1].append(text)
                self._file.write(text)
                self._file.flush()

    def feed(self, line: str) -> None:
        """One line of act's output."""
        try:
            entry = json.loads(line)
        except ValueError:
            self.write(line)
            return
        if not isinstance(entry, dict):
            return
        if "jobResult" in entry:
            self.result = str(entry["jobResult"])
        place = self._place(entry)
        if place is not None:
            self._step(place, entry)
        elif entry.get("level") == "error" and not entry.get("stepid"):
            self.write(f"##[error]{str(entry.get('msg', '')).strip()}")

    def _place(self, entry: Doc) -> int | None:
        found = entry.get("stepID")
        return self._places.get(str(found[0])) if isinstance(found, list) and found else None

    def _step(self, place: int, entry: Doc) -> None:
        message = str(entry.get("msg", ""))
        if place >= len(self.steps):
            return
        whole = len(entry["stepID"]) == 1 and entry.get("stage") == "Main"
        if entry.get("command") == "summary":
            with (self.path.parent / "summary.md").open("a", encoding="utf-8") as summary:
                summary.write(self.masks.hide(str(entry.get("content", ""))))
        elif "command" in entry:
            if entry["command"] in ("error", "warning", "notice", "debug", "group", "endgroup"):
                self.write(str(entry.get("raw", "")), place)
        elif entry.get("raw_output"):
            self.write(message, place)
        elif whole and "stepResult" in entry:
            self._finish(place, _CONCLUSIONS.get(entry["stepResult"], "failure"))
        elif whole and message.startswith("⭐ Run Main"):
            self._begin(place)
        elif entry.get("level") == "error" and message:
            self.write(f"##[error]{message.strip()}", place)

    def _begin(self, place: int) -> None:
        for before in range(place):
            if self.steps[before]["status"] == "queued":
                self.steps[before].update(status="completed", conclusion="skipped")
        self.steps[place].update(status="in_progress", started_at=now())
        self.running = place
        self.write(f"##[step]{self.steps[place]['name']}", place)
        self._changed(self.steps)

    def _finish(self, place: int, conclusion: str) -> None:
        step = self.steps[place]
        step.update(status="completed", conclusion=conclusion, completed_at=now())
        step["started_at"] = step["started_at"] or step["completed_at"]
        self.running = None
        self._changed(self.steps)

    def close(self, interrupted: int | None) -> None:
        """Settle what is still open; `interrupted` is the place of the step that a cancel stopped."""
        for place, step in enumerate(self.steps):
            if place == interrupted:
                step.update(status="completed", conclusion="cancelled", completed_at=step["completed_at"] or now())
            elif step["status"] == "in_progress":
                step.update(status="completed", conclusion="failure", completed_at=now())
            elif step["status"] == "queued":
                step.update(status="completed", conclusion="skipped")
        with self._lock:
            self._file.close()
        self.path.write_text("".join(text for part in self._parts for text in part), encoding="utf-8")
        self._changed(self.steps)
