"""Which `permissions:` line of a workflow a REST call needs, for the remedy of a 403."""

from __future__ import annotations

import re

_AREAS: tuple[tuple[str, str], ...] = (
    (r"(check-runs|check-suites)|commits/[^/]+/check-runs", "checks"),
    (r"actions/", "actions"),
    (r"attestations(/|$)", "attestations"),
    (r"pulls/[^/]+/merge$", "contents"),
    (r"issues$", "issues"),
    (r"(pulls|issues)(/|$)", "pull-requests"),
    (r"deployments(/|$)", "deployments"),
    (r"(git|contents|branches)(/|$)", "contents"),
)
"""First match at the start of the path wins; a pull request's comments are `issues` in the path."""

_REPOSITORY = re.compile(r"(/repos/[^/]+/[^/]+)?/")


def needed(method: str, path: str, accepted: str = "") -> str:
    """The line to add, such as `checks: write`; empty when unknown.

    Args:
        path: with or without `/repos/{owner}/{repo}` in front.
        accepted: GitHub's `X-Accepted-GitHub-Permissions` header (`a=write,b=read; c=write`): its first alternative
            is used where the path is not in the table.
    """
    level = "read" if method == "GET" else "write"
    below = _REPOSITORY.sub("", path, count=1)
    for pattern, area in _AREAS:
        if re.match(pattern, below):
            return f"{area}: {level}"
    first = accepted.split(";")[0].split(",")[0].strip()
    name, _, given = first.partition("=")
    return f"{name.replace('_', '-')}: {given}" if name and given else ""


def remedy(line: str) -> str:
    """What to change when a token lacks a permission."""
    if not line:
        return "use a token that may do this"
    return f"add to the job in the workflow file:\npermissions:\n  {line}"
