"""Which events start a workflow: types, branches, tags, paths and their patterns. Pure.

Rules: "Workflow syntax for GitHub Actions" and "Events that trigger workflows" in GitHub's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from trackside.sandbox.actions.workflow import triggers
from trackside.sandbox.bus import HookEvent

Doc = dict[str, Any]

DIFF_FILES = 300
"""GitHub looks at no more changed files than these."""
_DEFAULT_TYPES = {
    "pull_request": ("opened", "synchronize", "reopened"),
    "pull_request_target": ("opened", "synchronize", "reopened"),
    "merge_group": ("checks_requested",),
}
_SKIP = re.compile(r"\[(?:skip ci|ci skip|no ci|skip actions|actions skip)\]|^skip-checks: *true *$", re.MULTILINE)


def starts(workflow: Doc, event: HookEvent, changed: Callable[[], list[str]]) -> bool:
    """Whether an event starts the workflow; `changed` gives the paths that it touches, and is called only if asked."""
    filters = triggers(workflow).get(event.name)
    if filters is None:
        return False
    types = filters.get("types") or _DEFAULT_TYPES.get(event.name)
    if types and event.action and event.action not in _listed(types):
        return False
    match event.name:
        case "push":
            # A deleted branch is judged by its own name; its run is about the default branch.
            return _push(filters, str(event.payload.get("ref") or event.ref), changed)
        case "pull_request" | "pull_request_target":
            return _names(filters, "branches", event.payload["pull_request"]["base"]["ref"]) and _paths(
                filters, changed
            )
        case "merge_group":
            base = str(event.payload["merge_group"]["base_ref"]).removeprefix("refs/heads/")
            return _names(filters, "branches", base)
        case "workflow_run":
            source = event.payload["workflow_run"]
            named = filters.get("workflows")
            return (named is None or source["name"] in _listed(named)) and _names(
                filters, "branches", source["head_branch"] or ""
            )
        case "schedule":
            return event.payload["schedule"] in filters["cron"]
    return True


def skips(message: str) -> bool:
    """Whether a head commit's message asks that `push` and `pull_request` start nothing."""
    return _SKIP.search(message) is not None


def _push(filters: Doc, ref: str, changed: Callable[[], list[str]]) -> bool:
    kind, name = ("tags", ref[10:]) if ref.startswith("refs/tags/") else ("branches", ref[11:])
    other = "branches" if kind == "tags" else "tags"
    if _asked(filters, other) and not _asked(filters, kind):
        return False
    # Paths are not looked at for tags.
    return _names(filters, kind, name) and (kind == "tags" or _paths(filters, changed))


def _asked(filters: Doc, kind: str) -> bool:
    return kind in filters or f"{kind}-ignore" in filters


def _names(filters: Doc, kind: str, name: str) -> bool:
    if kind in filters:
        return matches(_listed(filters[kind]), name)
    return not matches(_listed(filters.get(f"{kind}-ignore") or []), name)


def _paths(filters: Doc, changed: Callable[[], list[str]]) -> bool:
    if "paths" in filters:
        return any(matches(_listed(filters["paths"]), path) for path in changed()[:DIFF_FILES])
    if "paths-ignore" in filters:
        return any(not matches(_listed(filters["paths-ignore"]), path) for path in changed()[:DIFF_FILES])
    return True


def _listed(found: Any) -> list[str]:
    return [str(one) for one in found] if isinstance(found, list | tuple) else [str(found)]


def matches(patterns: list[str], text: str) -> bool:
    """GitHub's filter patterns: `*`, `**`, `?`, `+`, `[]`, `\\`, and `!` that takes back; the last match decides."""
    found = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        if _regex(pattern[1:] if negated else pattern).fullmatch(text):
            found = not negated
    return found


@lru_cache(maxsize=512)
def _regex(pattern: str) -> re.Pattern[str]:
    atoms: list[str] = []
    place = 0
    while place < len(pattern):
        char = pattern[place]
        step = 1
        if char == "\\" and place + 1 < len(pattern):
            atoms.append(re.escape(pattern[place + 1]))
            step = 2
        elif pattern.startswith("**/", place) and (place == 0 or pattern[place - 1] == "/"):
            atoms.append("(?:.*/)?")
            step = 3
        elif pattern.startswith("**", place):
            atoms.append(".*")
            step = 2
        elif char == "*":
            atoms.append("[^/]*")
        elif char in "?+" and atoms:
            atoms[-1] = f"(?:{atoms[-1]}){char}"
        elif char == "[" and (end := pattern.find("]", place + 2)) > 0:
            inner = re.sub(r"([\\^\[\]&~|])", r"\\\1", pattern[place + 1 : end])
            atoms.append(f"[{inner}]" if _readable(inner) else re.escape(pattern[place : end + 1]))
            step = end + 1 - place
        else:
            atoms.append(re.escape(char))
        place += step
    return re.compile("".join(atoms), re.DOTALL)


def _readable(inner: str) -> bool:
    try:
        re.compile(f"[{inner}]")
    except re.error:
        return False
    return True
