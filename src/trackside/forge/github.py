"""The one adapter to GitHub, on PyGithub's transport: retries that never double a write, typed reads, counted calls."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import quote, urlparse

from trackside.errors import Conflict, Forbidden, ForgeError, NotFound, TimedOut
from trackside.forge.apply import Applier
from trackside.forge.model import CheckRun, Comment, Commit, Job, Pull, Role, WorkflowRun
from trackside.forge.operations import Applied, Operation
from trackside.system.clock import Clock, SystemClock

BOT = "github-actions[bot]"
MAX_WAIT = 120.0
"""Longest wait in seconds that a Retry-After may ask for."""

ATTEMPTS = 4
TIMEOUT = 20


class GithubForge:
    """All of `forge/ports.py` for one repository.

    Args:
        repository: `owner/name`.
        token: never shown; held by PyGithub.
        api_url: such as `https://api.github.com`.
        viewer: login the token writes as, where known; GITHUB_TOKEN may not ask.
    """

    def __init__(
        self, repository: str, token: str, api_url: str, *, viewer: str = "", clock: Clock | None = None
    ) -> None:
        self.repository, self.calls = repository, 0
        self._token, self._api_url, self._viewer = token, api_url.rstrip("/"), viewer
        self._clock = clock or SystemClock()
        self._requester: Any = None
        self._default_branch = ""

    # Transport

    def _connect(self) -> Any:
        if self._requester is None:
            from github import Auth, Github

            local = urlparse(self._api_url).hostname in ("127.0.0.1", "localhost")
            pace: dict[str, Any] = {"seconds_between_requests": 0, "seconds_between_writes": 0} if local else {}
            client = Github(
                auth=Auth.Token(self._token), base_url=self._api_url, retry=None, timeout=TIMEOUT, per_page=100, **pace
            )
            self._requester = client.requester
        return self._requester

    def call(
        self, verb: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None, needs: str = ""
    ) -> Any:
        """One API call below the repository. Reads are retried on 5xx; writes only when GitHub refused to act (429).

        Raises:
            NotFound, Forbidden (naming `needs`), Conflict (409, 422), TimedOut (a write's fate is unknown), ForgeError.
        """
        waited = 0.0
        for attempt in range(ATTEMPTS):
            try:
                return self._once(verb, path, params, body)
            except _Refusal as refusal:
                wait = refusal.retry_after
                if wait is None and verb == "GET" and refusal.status >= 500:
                    wait = 0.2 * 2**attempt + random.uniform(0, 0.1)  # noqa: S311 - jitter
                if wait is None or waited + wait > MAX_WAIT or attempt == ATTEMPTS - 1:
                    raise refusal.error(needs) from None
                waited += wait
                self._clock.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _once(self, verb: str, path: str, params: dict[str, Any] | None, body: Any) -> Any:
        import requests
        from github import GithubException

        self.calls += 1
        url = path if path.startswith("/user") else f"/repos/{self.repository}{path}"
        try:
            headers, data = self._connect().requestJsonAndCheck(verb, url, parameters=params, input=body)
        except GithubException as error:
            raise _Refusal(error.status, error.headers or {}, error.data) from None
        except requests.exceptions.RequestException as error:
            raise _Refusal(0, {}, str(error)[:300], lost=verb != "GET") from None
        self._last_headers = headers
        return data

    def pages(
        self, path: str, *, params: dict[str, Any] | None = None, key: str = "", limit: int = 100_000
    ) -> Iterator[Any]:
        """Items of all pages, 100 a page."""
        seen = 0
        page = 1
        while True:
            data = self.call("GET", path, params={**(params or {}), "per_page": 100, "page": page})
            items = data[key] if key else data
            yield from items
            seen += len(items)
            if len(items) < 100 or seen >= limit:
                return
            page += 1

    # Reads

    def default_branch(self) -> str:
        if not self._default_branch:
            self._default_branch = str(self.call("GET", "")["default_branch"])
        return self._default_branch

    def head_of(self, branch: str) -> str:
        return str(self.call("GET", f"/git/ref/heads/{quote(branch)}")["object"]["sha"])

    def commit(self, sha: str) -> Commit:
        data = self.call("GET", f"/git/commits/{quote(sha)}")
        parents = tuple(one["sha"] for one in data["parents"])
        return Commit(sha=data["sha"], tree=data["tree"]["sha"], parents=parents, message=data["message"])

    def file(self, path: str, ref: str) -> bytes | None:
        try:
            data = self.call("GET", f"/contents/{quote(path)}", params={"ref": ref})
        except NotFound:
            return None
        if isinstance(data, list) or data.get("type") != "file":
            return None
        if data.get("encoding") == "none":
            data = self.call("GET", f"/git/blobs/{data['sha']}")
        return base64.b64decode(data["content"])

    def files(self, folder: str, ref: str) -> tuple[str, ...]:
        try:
            tree = self.call("GET", f"/git/trees/{quote(ref, safe='')}", params={"recursive": "1"})
        except NotFound:
            return ()
        prefix = folder.rstrip("/") + "/"
        return tuple(one["path"] for one in tree["tree"] if one["type"] == "blob" and one["path"].startswith(prefix))

    def pull(self, number: int) -> Pull:
        return _pull(self.call("GET", f"/pulls/{number}"))

    def pull_with_merge(self, number: int, *, wait: float = 30.0) -> Pull:
        deadline = self._clock.monotonic() + wait
        while True:
            pull = self.pull(number)
            if pull.mergeable is not None or pull.merged or pull.state != "open" or self._clock.monotonic() > deadline:
                return pull
            self._clock.sleep(1.0)

    def pulls_of_commit(self, sha: str, *, head: str = "") -> tuple[Pull, ...]:
        params = {"state": "open"} | ({"head": head} if head else {})
        return tuple(pull for pull in map(_pull, self.pages("/pulls", params=params)) if pull.head_sha == sha)

    def role(self, login: str) -> Role:
        try:
            data = self.call("GET", f"/collaborators/{quote(login, safe='')}/permission", needs="metadata: read")
        except NotFound:
            return "none"
        return str(data.get("role_name") or data["permission"])

    def viewer(self) -> str:
        if not self._viewer:
            try:
                self._viewer = str(self.call("GET", "/user")["login"])
            except (Forbidden, NotFound):
                self._viewer = BOT
        return self._viewer

    def runs(self, workflow: str, *, active: bool = False, limit: int = 100) -> tuple[WorkflowRun, ...]:
        found = self.pages(f"/actions/workflows/{quote(workflow)}/runs", key="workflow_runs", limit=limit)
        runs = tuple(map(_run, found))
        return tuple(run for run in runs if run.status != "completed") if active else runs

    def run(self, run_id: int) -> WorkflowRun:
        return _run(self.call("GET", f"/actions/runs/{run_id}"))

    def jobs(self, run_id: int) -> tuple[Job, ...]:
        return tuple(
            Job(
                id=one["id"],
                name=one["name"],
                status=one["status"],
                conclusion=one["conclusion"],
                labels=tuple(one["labels"]),
                runner=one["runner_name"] or "",
                url=one["html_url"] or "",
            )
            for one in self.pages(f"/actions/runs/{run_id}/jobs", key="jobs")
        )

    def comments(self, issue: int) -> tuple[Comment, ...]:
        return tuple(
            Comment(
                id=one["id"], author=(one["user"] or {}).get("login", ""), body=one["body"] or "", url=one["html_url"]
            )
            for one in self.pages(f"/issues/{issue}/comments")
        )

    def checks(self, sha: str, *, name: str = "") -> tuple[CheckRun, ...]:
        params = {"check_name": name} if name else {}
        return tuple(map(_check, self.pages(f"/commits/{quote(sha)}/check-runs", params=params, key="check_runs")))

    # Writes

    def apply(self, operations: Iterable[Operation], *, dry_run: bool = False) -> tuple[Applied, ...]:
        return Applier(self, self._clock).apply(operations, dry_run=dry_run)


class _Refusal(Exception):
    """An answer that is not a success; status 0: none arrived."""

    def __init__(self, status: int, headers: dict[str, str], data: Any, *, lost: bool = False) -> None:
        super().__init__(str(data)[:300])
        self.status, self.lost = status, lost
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.message = str(data.get("message", "") if isinstance(data, dict) else data)[:500]

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait where GitHub asked for it: it did not act, so sending again is safe."""
        asked = self.headers.get("retry-after", "")
        limited = self.status == 429 or (self.status == 403 and ("rate limit" in self.message.lower() or asked))
        if not limited:
            return None
        return (float(asked) if asked.replace(".", "", 1).isdigit() else 1.0) + random.uniform(0, 0.5)  # noqa: S311

    def error(self, needs: str) -> ForgeError:
        if self.status == 404:
            return NotFound(f"GitHub: {self.message or 'not found'}")
        if self.status in (401, 403):
            needs = needs or self.headers.get("x-accepted-github-permissions", "").replace("=", ": ")
            remedy = f"add to the job:\npermissions:\n  {needs}" if needs else "check the token's permissions"
            return Forbidden(
                f"GitHub refused: {self.message}", why=f"the token lacks {needs}" if needs else "", remedy=remedy
            )
        if self.status in (409, 422):
            return Conflict(f"GitHub: {self.message}")
        if self.lost or self.status >= 500:
            return TimedOut(f"GitHub did not answer properly (status {self.status or 'none'}): {self.message}")
        return ForgeError(f"GitHub answered {self.status or 'nothing'}: {self.message}")


def _pull(data: Any) -> Pull:
    head, base = data["head"], data["base"]
    return Pull(
        number=data["number"],
        title=data["title"] or "",
        state=data["state"],
        draft=bool(data.get("draft")),
        author=(data["user"] or {}).get("login", ""),
        head_repo=(head["repo"] or {}).get("full_name", ""),
        head_ref=head["ref"],
        head_sha=head["sha"],
        base_repo=base["repo"]["full_name"],
        base_ref=base["ref"],
        base_sha=base["sha"],
        merge_sha=(data.get("merge_commit_sha") or "") if data.get("mergeable") is not False else "",
        mergeable=data.get("mergeable"),
        merged=bool(data.get("merged")),
        labels=tuple(one["name"] for one in data["labels"]),
        url=data["html_url"],
    )


def _run(data: Any) -> WorkflowRun:
    return WorkflowRun(
        id=data["id"],
        title=data["display_title"],
        path=data["path"],
        event=data["event"],
        status=data["status"] or "",
        conclusion=data["conclusion"],
        head_sha=data["head_sha"],
        head_branch=data["head_branch"] or "",
        actor=(data.get("actor") or {}).get("login", ""),
        attempt=data.get("run_attempt") or 1,
        url=data["html_url"],
    )


def _check(data: Any) -> CheckRun:
    output = data["output"]
    return CheckRun(
        id=data["id"],
        name=data["name"],
        head_sha=data["head_sha"],
        status=data["status"],
        conclusion=data["conclusion"],
        external_id=data["external_id"] or "",
        title=output["title"] or "",
        summary=output["summary"] or "",
        text=output["text"] or "",
        annotations=output["annotations_count"] or 0,
        url=data["html_url"] or "",
    )
