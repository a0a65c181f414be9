"""Workflow files against the shipped ones: missing, of another version, edited, with other permissions."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import yaml

from trackside.adopt.init import OWN, WORKFLOWS, shipped_workflow, workflow_names
from trackside.doctor.place import Place
from trackside.doctor.table import Findings, Level, found

NEEDED = frozenset({"pull-request.yml", "train.yml"})
_PIN = re.compile(r"(trackside-ml/trackside(?:/[\w/-]+)?)@(\S+)([ \t]+#[^\n]*)?")
_CRON = re.compile(r"^(\s*- cron:\s*).*$", re.MULTILINE)
_BRANCHES = re.compile(r"^(\s+branches: ).*(?=# the default branch)", re.MULTILINE)
_EXTRAS = re.compile(r"^env:[^\n]*\n  TRACKSIDE_EXTRAS:[^\n]*\n\n?", re.MULTILINE)
_SHA = re.compile(r"[0-9a-f]{40}")
_LEVELS = {"none": 0, "read": 1, "write": 2}


def check(place: Place) -> Findings:
    drifting = place.config is not None and any(model.drift for model in place.config.models)
    for name in workflow_names():
        path = f"{WORKFLOWS}/{name}"
        text = place.text(path)
        if text is None and name == "drift.yml" and not drifting:
            continue
        if text is None:
            level: Level = "error" if name in NEEDED or name == "drift.yml" else "warning"
            yield found("workflows.present", level, f"{path} is missing")
        elif not OWN.search(text):
            yield found(
                "workflows.present",
                "error",
                f"{path} is not Trackside's: it uses none of its actions",
                remedy="rename it, then run trackside init: dispatches go to a workflow of this name",
            )
        else:
            yield found("workflows.present", "ok", f"{path} is there")
            yield from _compare(path, text, shipped_workflow(name))
            if place.facts is not None:
                yield from _branch(path, text, place.facts.default_branch)


def _compare(path: str, text: str, shipped: str) -> Findings:
    yield from _pins(path, text, shipped)
    mine, theirs = _neutral(text), _neutral(shipped)
    if mine == theirs:
        yield found("workflows.edited", "ok", f"{path} is as shipped")
    else:
        lines = difflib.unified_diff(
            theirs.splitlines(keepends=True), mine.splitlines(keepends=True), f"shipped/{path}", path, n=2
        )
        yield found("workflows.edited", "warning", f"{path} differs from the shipped file", detail="".join(lines))
    yield from _permissions(path, text, shipped)


def _neutral(text: str) -> str:
    """The text without what people are meant to set: the version, the time of the check, extras of DVC."""
    made = _BRANCHES.sub(r"\1… ", _CRON.sub(r"\1…", _PIN.sub(r"\1@…", text)))
    return _EXTRAS.sub("", made).replace("\r\n", "\n").rstrip() + "\n"


def _pins(path: str, text: str, shipped: str) -> Findings:
    pins = {found_[2] for found_ in _PIN.finditer(text)}
    current = {found_[2] for found_ in _PIN.finditer(shipped)}
    loose = sorted(pin for pin in pins if not _SHA.fullmatch(pin))
    if loose:
        yield found(
            "workflows.pin",
            "error",
            f"{path} uses {', '.join(loose)}: a branch or tag can be moved to other code",
            remedy="pin the commit: trackside init --force",
        )
    elif pins != current:
        listed = ", ".join(sorted(pin[:12] for pin in pins))
        wanted = ", ".join(sorted(pin[:12] for pin in current))
        yield found("workflows.pin", "warning", f"{path} is pinned to {listed}; this version ships {wanted}")
    else:
        yield found("workflows.pin", "ok", f"{path} is pinned to {next(iter(pins))[:12]}")


def _permissions(path: str, text: str, shipped: str) -> Findings:
    mine, theirs = _loaded(text), _loaded(shipped)
    if mine is None:
        yield found("workflows.permissions", "error", f"{path} is no YAML of a workflow")
        return
    wrong = 0
    for job in _jobs(theirs or {}):
        if job not in _jobs(mine):
            continue  # the difference shows it
        held, asked = _granted(mine, job), _granted(theirs or {}, job)
        for area in sorted({*held, *asked}):
            has, needs = held.get(area, "none"), asked.get(area, "none")
            if _LEVELS[has] < _LEVELS[needs]:
                wrong += 1
                yield found("workflows.permissions", "error", f"{path}: job {job} lacks `{area}: {needs}`")
            elif _LEVELS[has] > _LEVELS[needs]:
                wrong += 1
                yield found(
                    "workflows.permissions", "warning", f"{path}: job {job} has `{area}: {has}` and needs {needs}"
                )
    if not wrong:
        yield found("workflows.permissions", "ok", f"{path}: each job has what it needs and no more")


def _branch(path: str, text: str, default: str) -> Findings:
    """Whether what runs on pushes runs on those to the default branch."""
    data: dict[Any, Any] = _loaded(text) or {}
    events = data.get("on", data.get(True))  # YAML 1.1 reads `on` as true
    push = events.get("push") if isinstance(events, dict) else None
    names = push.get("branches") if isinstance(push, dict) else None
    if isinstance(names, list) and not any(fnmatchcase(default, str(name)) for name in names):
        yield found(
            "workflows.branch",
            "error",
            f"{path} waits for pushes to {', '.join(map(str, names))}, not to {default}",
            remedy=f"branches: [{default}]",
        )
    elif names:
        yield found("workflows.branch", "ok", f"{path} runs on pushes to {default}")


def _loaded(text: str) -> dict[str, Any] | None:
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and isinstance(data.get("jobs"), dict) else None


def _jobs(workflow: Mapping[str, Any]) -> Mapping[str, Any]:
    return {str(name): job for name, job in (workflow.get("jobs") or {}).items() if isinstance(job, dict)}


_ALL = (
    "actions attestations checks contents deployments discussions id-token issues packages pages pull-requests "
    "security-events statuses"
)


def _granted(workflow: Mapping[str, Any], job: str) -> dict[str, str]:
    """Permissions of a job by area; the workflow's where the job names none, write for what is not said at all."""
    given = _jobs(workflow)[job].get("permissions", workflow.get("permissions", "write-all"))
    if given in ("write-all", "read-all"):
        return dict.fromkeys(_ALL.split(), given.removesuffix("-all"))
    if not isinstance(given, dict):
        return {}
    return {str(area): level for area, level in given.items() if level in _LEVELS}
