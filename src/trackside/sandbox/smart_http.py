"""Git over HTTP: `git http-backend` as a CGI, with the token's permission checked and pushes reported to the hub."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from trackside.sandbox.git import ZERO
from trackside.sandbox.hub import Hub, Problem
from trackside.sandbox.state import Doc
from trackside.system.process import Processes


def actor_of(hub: Hub, header: str) -> Doc | None:
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
    if found is None:
        raise Problem(401, "Bad credentials", headers={"WWW-Authenticate": 'Basic realm="GitHub"'})
    return found


def serve(
    hub: Hub,
    *,
    repo: str,
    tail: str,
    method: str,
    query: str,
    headers: dict[str, str],
    body: bytes,
    actor: Doc | None,
    may_write: Any,
) -> tuple[int, dict[str, str], bytes]:
    """Answer one request below a repository's URL. Raises Problem 401, 403 or 404."""
    doc = hub.repo(repo)
    writes = tail == "git-receive-pack" or "service=git-receive-pack" in query
    if actor is None and (writes or doc["private"]):
        raise Problem(401, "Authentication required", headers={"WWW-Authenticate": 'Basic realm="GitHub"'})
    if writes and not may_write(actor):
        raise Problem(403, "Write access to repository not granted.")
    bare = hub.bare(repo)
    env = {
        **hub.env,
        "GIT_PROJECT_ROOT": str(bare.path),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": "/" + tail,
        "REQUEST_METHOD": method,
        "QUERY_STRING": query,
        "CONTENT_TYPE": headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": headers.get("content-encoding", ""),
        "GIT_PROTOCOL": headers.get("git-protocol", ""),
        "REMOTE_USER": actor["login"] if actor else "",
        "REMOTE_ADDR": "127.0.0.1",
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(Path(bare.path)),
    }
    processes = Processes(env)
    if tail != "git-receive-pack":
        return _answer(processes.run(["git", "http-backend"], input=body, timeout=300).stdout)
    with hub.lock:
        before = bare.refs()
        answer = _answer(processes.run(["git", "http-backend"], input=body, timeout=300).stdout)
        after = bare.refs()
        moved = {
            name: (before.get(name, ZERO), after.get(name, ZERO))
            for name in {*before, *after}
            if before.get(name) != after.get(name)
        }
        if moved and actor:
            hub.pushed(repo, moved, actor)
    return answer


def _answer(output: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = output.partition(b"\r\n\r\n")
    headers = {}
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.strip()] = value.strip()
    status = int(headers.pop("Status", "200").split()[0])
    return status, headers, body
