"""Git over HTTP: `git http-backend` as a CGI, with the token's permission checked and pushes reported to the hub."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from trackside.sandbox.access import CHALLENGE, actor_of, permit
from trackside.sandbox.faults import Fault
from trackside.sandbox.git import ZERO
from trackside.sandbox.hub import Hub
from trackside.sandbox.problem import Problem
from trackside.system.process import Processes

SERVICES = ("info/refs", "git-upload-pack", "git-receive-pack")
TIMEOUT = 600
Answer = tuple[int, dict[str, str], bytes]


def serve(
    hub: Hub, repo: str, tail: str, *, method: str, query: str, headers: Mapping[str, str], body: bytes
) -> Answer:
    """Answer one request below a repository's URL. Raises Problem 401, 403 or 404."""
    actor = actor_of(hub, headers.get("authorization", ""))
    writes = "git-receive-pack" in (tail, query.removeprefix("service="))
    try:
        permit(hub, repo, actor, "contents:write" if writes else "contents:read")
    except Problem as problem:
        # git asks for credentials only after a 401, also for what stays hidden without them.
        if actor is None and problem.status == 404 and hub.state.get("repo", "", repo):
            raise Problem(401, "Authentication required", headers=CHALLENGE) from None
        raise
    bare = hub.bare(repo)
    env = {
        **bare.env,
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
    }

    def run() -> Answer:
        return _answer(Processes(env).run(["git", "http-backend"], input=body, timeout=TIMEOUT, check=False).stdout)

    if tail != "git-receive-pack" or actor is None:
        return run()
    with hub.lock:
        before = bare.refs()
        answer = run()
        after = bare.refs()
        moved = {
            name: (before.get(name, ZERO), after.get(name, ZERO))
            for name in sorted({*before, *after})
            if before.get(name) != after.get(name)
        }
        hub.pushed(repo, moved, actor)
    return answer


def hindered(fault: Fault | None, work: Callable[[], Answer]) -> Answer | None:
    """Answer with the planned fault in the way; None when the connection is to be cut. Raises Problem like `serve`."""
    if fault is None:
        return work()
    broken = (fault.status, dict(fault.headers), b"Fault injected by the sandbox")
    if fault.mode == "drop":
        return None
    if fault.mode == "before":
        return broken
    if fault.mode == "latency":
        time.sleep(fault.seconds)
        return work()
    work()
    time.sleep(fault.seconds if fault.mode == "lost" else 0.0)
    return None if fault.mode == "lost" else broken


def _answer(output: bytes) -> Answer:
    """Status, headers and body of a CGI's output."""
    head, found, body = output.partition(b"\r\n\r\n")
    if not found:
        raise Problem(500, "git http-backend gave no answer")
    headers = {}
    for line in head.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.strip()] = value.strip()
    status = int(headers.pop("Status", "200").split()[0])
    return status, headers, body
