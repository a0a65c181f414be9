"""Who may do what: tokens, roles and the permission that each endpoint needs."""

from __future__ import annotations

import base64
import binascii

from trackside.sandbox.core import ROLES, Core
from trackside.sandbox.problem import Problem, not_found
from trackside.sandbox.state import Doc

CLOSED = frozenset({"administration", "environments", "secrets"})
"""What nobody reads without the permission, in public repositories either."""

CHALLENGE = {"WWW-Authenticate": 'Basic realm="GitHub"'}


def actor_of(hub: Core, header: str) -> Doc | None:
    """The token document behind an Authorization header (`Basic`, `Bearer` or `token`). Raises Problem 401."""
    if not header:
        return None
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            value = ""
    found = hub.state.get("token", "", value.strip())
    if found is None or (found.get("expires_at") or "9") <= hub.now():
        raise Problem(401, "Bad credentials", headers=CHALLENGE)
    return found


def options(needs: str) -> list[tuple[str, str]]:
    """`issues:write|pull_requests:write` as pairs: any one of them is enough."""
    return [(part.partition(":")[0], part.partition(":")[2]) for part in needs.split("|")]


def permit(hub: Core, repo: str, actor: Doc | None, needs: str, role: str = "") -> None:
    """Check a request on a repository.

    Args:
        needs: permissions, any of which is enough.
        role: least role of a person; by default `read` to read and `write` to write.

    Raises:
        Problem: 404 for what the caller may not see, 401 without a token, 403 naming the permission.
    """
    doc = hub.repo(repo)
    reads = all(level == "read" for _, level in options(needs))
    if not _sees(hub, doc, actor):
        raise not_found()
    closed = any(permission in CLOSED for permission, _ in options(needs))
    if reads and not doc["private"] and not closed:
        return
    if actor is None:
        raise Problem(401, "Requires authentication", headers=CHALLENGE)
    accepted = {"x-accepted-github-permissions": "; ".join(f"{one}={level}" for one, level in options(needs))}
    if actor["permissions"] is not None:
        if actor["repo"] not in ("", repo) or not any(held(actor, *one) for one in options(needs)):
            whom = "personal access token" if actor["kind"] == "user" else "integration"
            raise Problem(403, f"Resource not accessible by {whom}", headers=accepted)
        if actor["kind"] != "user":
            return
    if needs == "checks:write" and actor["kind"] == "user":
        raise Problem(403, "You must authenticate via a GitHub App.", headers=accepted)
    least = role or ("read" if reads else "write")
    if ROLES.index(hub.role(repo, actor["login"])) < ROLES.index(least):
        raise Problem(403, "Must have admin rights to Repository.", headers=accepted)


def held(actor: Doc, permission: str, level: str) -> bool:
    """Whether a token with listed permissions has one; names are read with `-` or `_`."""
    if permission == "metadata":
        return True
    given = {name.replace("-", "_"): value for name, value in actor["permissions"].items()}.get(permission, "none")
    return given == "write" or (given == "read" and level == "read")


def allowed(hub: Core, repo: str, actor: Doc | None, needs: str, role: str = "") -> bool:
    """`permit` as a question."""
    try:
        permit(hub, repo, actor, needs, role)
    except Problem:
        return False
    return True


def role_of(hub: Core, repo: str, actor: Doc | None) -> str:
    """The role that a token acts with, for the `permissions` part of a repository."""
    if actor is None:
        return "read"
    if actor["permissions"] is None:
        return hub.role(repo, actor["login"])
    writes = actor["repo"] in ("", repo) and held(actor, "contents", "write")
    return "write" if writes else "read"


def _sees(hub: Core, doc: Doc, actor: Doc | None) -> bool:
    if not doc["private"]:
        return True
    if actor is None:
        return False
    if actor["permissions"] is not None and actor["repo"] not in ("", doc["full_name"]):
        return False
    return actor["kind"] != "user" or hub.role(doc["full_name"], actor["login"]) != "none"
