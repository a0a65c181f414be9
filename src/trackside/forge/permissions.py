"""Which `permissions:` line of a workflow a REST call needs, for the remedy of a 403."""

from __future__ import annotations

import re

_AREAS: tuple[tuple[str, str], ...] = (
    (r"/(check-runs|check-suites)", "checks"),
    (r"/actions/", "actions"),
    (r"/(pulls|issues)(/|\?|$)", "pull-requests"),
    (r"/(git|contents|branches)(/|\?|$)", "contents"),
)
"""First match wins; comments on pull requests are `issues` in the path and `pull-requests` in the permission."""


def needed(method: str, path: str, accepted: str = "") -> str:
    """The line to add, such as `checks: write`; empty when unknown.

    Args:
        path: below `/repos/{owner}/{repo}`.
        accepted: GitHub's `X-Accepted-GitHub-Permissions` header (`a=write,b=read; c=write`): its first alternative
            is used where the path is not in the table.
    """
    level = "read" if method == "GET" else "write"
    for pattern, area in _AREAS:
        if re.search(pattern, path):
            return f"{area}: {level}"
    first = accepted.split(";")[0].split(",")[0].strip()
    name, _, given = first.partition("=")
    return f"{name.replace('_', '-')}: {given}" if name and given else ""


def remedy(line: str) -> str:
    """What to change when a token lacks a permission."""
    if not line:
        return "use a token that may do this"
    return f"add to the job in the workflow file:\npermissions:\n  {line}"
