"""Drift on the data branch: verdicts by model and day, snoozes, the heartbeat. Pure, but for what a caller reads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import msgspec

from trackside.documents.codec import Document, dump, load
from trackside.documents.verdict import Verdict
from trackside.errors import DataError
from trackside.forge.operations import CommitFiles
from trackside.store.layout import DATA_BRANCH

HEARTBEAT = "heartbeat/drift.json"
MAX_BYTES = 4 * 1024 * 1024
"""Of one verdict: thousands of columns."""

SEASON_RECENT, SEASON_DAYS, SEASON_YEARS = 62, 14, 3
"""Days back, days around the same date of earlier years, and years, of which verdicts are read."""

_MODEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9])?")
_PATH = re.compile(r"drift/([^/]+)/(\d{4}-\d{2}-\d{2})\.json", re.ASCII)
_PASSING = ("checked_at", "workflow_run", "commit")
"""What differs between two checks of the same data."""


class Snooze(Document, frozen=True, kw_only=True):
    """Until when a model's drift is kept quiet: an RFC 3339 time, whose wish, and where it was said."""

    schema: Literal["trackside.snooze/1"] = "trackside.snooze/1"
    until: str
    by: str = ""
    why: str = ""


def folder(model: str) -> str:
    """Where a model's verdicts lie. Raises DataError for a name that no model has."""
    if not _MODEL.fullmatch(model):
        raise DataError(f"{model[:100]!r} is no name of a model", reason_code="document_invalid")
    return f"drift/{model}"


def verdict_path(model: str, as_of: str) -> str:
    """`drift/delay/2026-01-31.json`. Raises DataError for another form of date."""
    path = f"{folder(model)}/{as_of}.json"
    if not _PATH.fullmatch(path):
        raise DataError(f"{as_of[:40]!r} is no date", reason_code="document_invalid")
    return path


def snooze_path(model: str) -> str:
    return f"{folder(model)}/snooze.json"


@dataclass(frozen=True, kw_only=True)
class DriftHistory:
    """What the data branch holds of one model: verdicts oldest first, and its snooze."""

    verdicts: tuple[Verdict, ...] = ()
    snooze: Snooze | None = None
    problems: tuple[str, ...] = ()

    def of(self, as_of: str) -> Verdict | None:
        return next((one for one in self.verdicts if one.as_of == as_of), None)

    def before(self, as_of: str) -> tuple[Verdict, ...]:
        """Verdicts of earlier days, newest first."""
        return tuple(one for one in reversed(self.verdicts) if one.as_of < as_of)

    def newest(self, as_of: str) -> bool:
        """Whether no later day has a verdict."""
        return all(one.as_of <= as_of for one in self.verdicts)

    def snoozed(self, now: datetime) -> Snooze | None:
        """The snooze, while it lasts."""
        return self.snooze if self.snooze is not None and _moment(self.snooze.until, now) > now else None


def history(model: str, files: Mapping[str, bytes]) -> DriftHistory:
    """Files of the data branch by path → history of a model. A damaged file is left out and named."""
    verdicts: list[Verdict] = []
    snooze: Snooze | None = None
    problems: list[str] = []
    for path, data in sorted(files.items()):
        found = _PATH.fullmatch(path)
        try:
            if path == snooze_path(model):
                snooze = load(Snooze, data, name=path)
            elif found is not None and found[1] == model:
                verdict = load(Verdict, data, name=path, limit=MAX_BYTES)
                if (verdict.model, verdict.as_of) != (model, found[2]):
                    raise DataError(f"{path} holds another verdict")
                verdicts.append(verdict)
        except DataError as error:
            problems.append(f"{path}: {error.why or error.message}")
    return DriftHistory(verdicts=tuple(verdicts), snooze=snooze, problems=tuple(problems))


def wanted(model: str, paths: Iterable[str], limit: int) -> list[str]:
    """Of a data branch's paths, those of the model's snooze and its newest `limit` verdicts."""
    own = sorted(path for path in paths if (found := _PATH.fullmatch(path)) is not None and found[1] == model)
    return [*own[-limit:], snooze_path(model)]


def seasons(model: str, paths: Iterable[str], as_of: str) -> list[str]:
    """Verdicts by which the season of a day is known: the weeks before it, the same time of earlier years, and every
    seventh check of the year before, to tell what is usual at other times.
    """
    day = date.fromisoformat(as_of)
    made = []
    for path in sorted(paths):
        found = _PATH.fullmatch(path)
        if found is None or found[1] != model:
            continue
        try:
            back = (day - date.fromisoformat(found[2])).days
        except ValueError:
            continue
        year = round(back / 365.25)
        near = 1 <= year <= SEASON_YEARS and abs(back - 365.25 * year) <= SEASON_DAYS
        if 0 < back <= SEASON_RECENT or near or (0 < back <= 366 + SEASON_DAYS and back % 7 == 3):
            made.append(path)
    return made


def same(one: Verdict, other: Verdict) -> bool:
    """Whether two verdicts say the same of the same data."""
    blank = dict.fromkeys(_PASSING, "")
    return msgspec.structs.replace(one, **blank) == msgspec.structs.replace(other, **blank)


def operations_for(
    verdicts: Iterable[tuple[Verdict, Verdict | None]], *, now: datetime, branch: str = DATA_BRANCH
) -> CommitFiles:
    """The one commit of a check: each verdict unless the one on record says the same, and the day of the heartbeat.

    Args:
        verdicts: new ones, each with what is on record for that model and day.
    """
    rows = list(verdicts)
    beat = {"schema": "trackside.heartbeat/1", "at": now.strftime("%Y-%m-%dT00:00:00Z")}
    files: dict[str, str | None] = {HEARTBEAT: json.dumps(beat, indent=2, sort_keys=True) + "\n"}
    for new, old in rows:
        if old is None or not same(new, old):
            files[verdict_path(new.model, new.as_of)] = dump(new).decode()
    said = ", ".join(f"{new.model} {new.verdict.replace('_', ' ')}" for new, _ in rows)
    return CommitFiles(branch=branch, message=f"Drift check: {said}" if said else "Drift check", files=files)


def _moment(text: str, now: datetime) -> datetime:
    """A time that cannot be read has passed."""
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return now
    return made if made.tzinfo is not None else made.replace(tzinfo=now.tzinfo)
