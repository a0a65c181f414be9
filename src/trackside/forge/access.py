"""Which repository is asked where, with which token: from the environment and the clone's origin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trackside.errors import ToolError
from trackside.system.process import Processes

PUBLIC, PUBLIC_API = "github.com", "https://api.github.com"
_ORIGIN = re.compile(
    r"^(?:https?://(?:[^/@]+@)?|ssh://git@|git@)(?P<host>[^/:]+(?::\d+)?)[/:](?P<name>[^/]+/[^/]+?)(?:\.git)?/?$"
)


@dataclass(frozen=True, kw_only=True)
class Access:
    """Which repository is asked where, with which token."""

    repository: str
    token: str
    api: str


def access(env: Mapping[str, str], repository: str, origin: tuple[str, str]) -> Access | str:
    """Or why GitHub is not asked. A clone's origin alone never decides where a token is sent."""
    token = env.get("TRACKSIDE_GITHUB_TOKEN") or env.get("GH_TOKEN") or env.get("GITHUB_TOKEN") or ""
    host, name = origin
    api = env.get("GITHUB_API_URL", "")
    own = env.get("GH_HOST", "")
    if not api and own and own != PUBLIC:
        api = f"https://{own}/api/v3"
        token = env.get("GH_ENTERPRISE_TOKEN") or env.get("GITHUB_ENTERPRISE_TOKEN") or token
    if not repository and not api and host not in ("", PUBLIC):
        return f"the clone's origin is at {host}; name it with GH_HOST or GITHUB_API_URL if it is yours"
    repository = repository or name or env.get("GITHUB_REPOSITORY", "")
    if not repository:
        return "the clone has no origin on GitHub"
    return Access(repository=repository, token=token, api=api or PUBLIC_API) if token else "there is no token"


def origin_of(root: Path, processes: Processes) -> tuple[str, str]:
    """Host and `owner/name` of the clone's `origin`; empty where there is none."""
    try:
        done = processes.run(["git", "-C", root, "remote", "get-url", "origin"], check=False)
    except ToolError:
        return "", ""
    match = _ORIGIN.match(done.text.strip())
    return (match["host"].removeprefix("www."), match["name"]) if match else ("", "")


def server_of(env: Mapping[str, str]) -> str:
    """Where GitHub's pages and repositories are, without a slash at the end."""
    host = env.get("GH_HOST", "")
    given = env.get("GITHUB_SERVER_URL") or (f"https://{host}" if host else f"https://{PUBLIC}")
    return given.rstrip("/")
