"""A workflow file: what starts it, with which inputs, and the jobs in it. Pure."""

from __future__ import annotations

import re
from typing import Any

import yaml

from trackside.sandbox.bus import HookEvent

Doc = dict[str, Any]

_DEFAULT_TYPES = {
    "pull_request": ("opened", "synchronize", "reopened"),
    "pull_request_target": ("opened", "synchronize", "reopened"),
    "merge_group": ("checks_requested",),
}


class _Loader(yaml.SafeLoader):
    """YAML 1.2 booleans only: `on` stays text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:bool"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$", re.IGNORECASE), list("tTfF"))


def parse(text: str) -> Doc:
    """The file as data. Raises yaml.YAMLError or ValueError."""
    loaded = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    if not isinstance(loaded, dict) or not isinstance(loaded.get("jobs"), dict) or "on" not in loaded:
        raise ValueError("a workflow needs `on` and `jobs`")
    return loaded


def triggers(workflow: Doc) -> dict[str, Doc]:
    """Event name → its filters."""
    on = workflow["on"]
    if isinstance(on, str):
        return {on: {}}
    if isinstance(on, list):
        return {name: {} for name in on}
    return {
        name: filters if isinstance(filters, dict) else {} for name, filters in on.items() if name != "schedule"
    } | ({"schedule": {"cron": [row["cron"] for row in on["schedule"]]}} if "schedule" in on else {})


def starts(workflow: Doc, event: HookEvent, changed: list[str]) -> bool:
    """Whether an event starts the workflow. `changed`: paths that the event's commits touch."""
    filters = triggers(workflow).get(event.name)
    if filters is None:
        return False
    types = filters.get("types") or _DEFAULT_TYPES.get(event.name)
    types = [types] if isinstance(types, str) else types
    if types and event.action and event.action not in types:
        return False
    if event.name == "push":
        is_tag = event.ref.startswith("refs/tags/")
        name = event.ref.split("/", 2)[2]
        kinds = ("tags", "branches") if is_tag else ("branches", "tags")
        if any(f"{kinds[1]}{end}" in filters for end in ("", "-ignore")) and not any(
            f"{kinds[0]}{end}" in filters for end in ("", "-ignore")
        ):
            return False
        if not _passes(filters, kinds[0], [name]):
            return False
        return is_tag or _passes(filters, "paths", changed)
    if event.name in ("pull_request", "pull_request_target"):
        base = event.payload["pull_request"]["base"]["ref"]
        return _passes(filters, "branches", [base]) and _passes(filters, "paths", changed)
    return True


def _passes(filters: Doc, name: str, values: list[str]) -> bool:
    chosen, ignored = filters.get(name), filters.get(f"{name}-ignore")
    if chosen is not None:
        return any(matches(_listed(chosen), one) for one in values)
    if ignored is not None:
        return any(not matches(_listed(ignored), one) for one in values)
    return True


def _listed(found: Any) -> list[str]:
    return [found] if isinstance(found, str) else [str(one) for one in found]


def matches(patterns: list[str], text: str) -> bool:
    """GitHub's filter patterns: `*`, `**`, `?`, `+`, `[]`, and `!` that takes back; the last match decides."""
    found = False
    for pattern in patterns:
        negated = pattern.startswith("!")
        if re.fullmatch(_regex(pattern[1:] if negated else pattern), text):
            found = not negated
    return found


def _regex(pattern: str) -> str:
    out, place = "", 0
    while place < len(pattern):
        char = pattern[place]
        if pattern.startswith("**/", place):
            out, place = out + "(?:.*/)?", place + 3
            continue
        if pattern.startswith("**", place):
            out, place = out + ".*", place + 2
            continue
        if char == "[" and "]" in pattern[place:]:
            end = pattern.index("]", place)
            out, place = out + "[" + pattern[place + 1 : end].replace("\\", "\\\\") + "]", end + 1
            continue
        out += "[^/]*" if char == "*" else char if char in "?+" else re.escape(char)
        place += 1
    return out


def checked_inputs(workflow: Doc, given: dict[str, str]) -> dict[str, str]:
    """Inputs of a dispatch with defaults filled in. Raises ValueError with GitHub's words."""
    filters = triggers(workflow).get("workflow_dispatch")
    if filters is None:
        raise ValueError("Workflow does not have 'workflow_dispatch' trigger")
    declared: Doc = filters.get("inputs") or {}
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise ValueError(f"Unexpected inputs provided: {unknown}")
    complete = {}
    for name, rule in declared.items():
        rule = rule or {}
        text = given.get(name, "")
        if not text and rule.get("required") and "default" not in rule:
            raise ValueError(f"Required input '{name}' not provided")
        if not text:
            default = rule.get("default", "false" if rule.get("type") == "boolean" else "")
            text = str(default).lower() if isinstance(default, bool) else str(default)
        if rule.get("type") == "choice" and text not in map(str, rule.get("options", [])):
            raise ValueError(f"Provided value '{text}' for input '{name}' not in the list of allowed values")
        if rule.get("type") == "boolean" and text not in ("true", "false"):
            raise ValueError(f"Provided value '{text}' for input '{name}' is not a boolean")
        complete[name] = text
    return complete


def permissions(workflow: Doc, job: Doc) -> dict[str, str]:
    """What a job's token may do: the job's own block, else the workflow's, else reading contents and packages."""
    granted = job.get("permissions", workflow.get("permissions"))
    if granted is None:
        return {"contents": "read", "packages": "read", "metadata": "read"}
    names = ("actions", "checks", "contents", "deployments", "issues", "packages", "pull-requests", "statuses")
    if isinstance(granted, str):
        level = {"read-all": "read", "write-all": "write"}.get(granted)
        return {**dict.fromkeys(names, level), "metadata": "read"} if level else {}
    return {str(name): str(level) for name, level in granted.items()} | {"metadata": "read"}


def order(jobs: Doc) -> list[str]:
    """Job keys, each after what it needs. Raises ValueError for a cycle or an unknown name."""
    done: list[str] = []
    waiting = {key: set(needs(job)) for key, job in jobs.items()}
    while waiting:
        ready = [key for key, missing in waiting.items() if missing <= set(done)]
        if not ready:
            raise ValueError(f"jobs {sorted(waiting)} need each other or a job that does not exist")
        done += ready
        for key in ready:
            del waiting[key]
    return done


def needs(job: Doc) -> list[str]:
    found = job.get("needs") or []
    return [found] if isinstance(found, str) else list(found)
