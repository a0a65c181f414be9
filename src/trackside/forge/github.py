"""The adapter: PyGithub carries the requests (authentication, pooling, pacing), Trackside decides what follows them.

PyGithub's own retries stay off: they re-send creations after a 5xx, which doubles comments. Its objects are not used
either, since reading one of their attributes may cost a request that nobody counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from trackside import __version__
from trackside.errors import ForgeError
from trackside.forge.attestations import AttestationReads
from trackside.forge.client import Answer, Client, Download, NoAnswer, Upload
from trackside.forge.deployments import DeploymentReads
from trackside.forge.drafts import Drafts
from trackside.forge.read import ACTIONS_LOGIN
from trackside.forge.talk import Reactions
from trackside.forge.write import Writes
from trackside.system.clock import Clock, SystemClock

if TYPE_CHECKING:
    from github import Github

TIMEOUT = 20
"""Seconds to wait for an answer. GitHub ends its work on a request after 10 s, so no write lands after this."""

SECONDS_BETWEEN_REQUESTS = 0.25
SECONDS_BETWEEN_WRITES = 1.0


class GithubForge(Writes, AttestationReads, DeploymentReads):
    """GitHub over HTTP; implements `forge.ports.Forge`. Use as a context manager, or `close()` it.

    Args:
        repository: `owner/name`.
        token: what to authenticate with; empty reads public repositories.
        api_url: `https://api.github.com`, or `https://HOST/api/v3`.
        clock: time and sleep.
        viewer: login that the token writes as, where it is known; spares a look-up. For an App it is `<slug>[bot]`;
            when not given, it is learned from what the token writes first.
        timeout: seconds to wait for an answer.
        max_rate_limit_wait: most seconds that one request waits for rate limits.
    """

    def __init__(
        self,
        repository: str,
        token: str,
        api_url: str = "https://api.github.com",
        clock: Clock | None = None,
        *,
        viewer: str = "",
        timeout: int = TIMEOUT,
        max_rate_limit_wait: float = 300.0,
    ) -> None:
        self.repository = repository
        self.client = Client(repository, self._send, clock or SystemClock(), max_rate_limit_wait=max_rate_limit_wait)
        self._api_url = api_url.rstrip("/")
        self._token = token
        self._timeout = timeout
        self._github: Github | None = None
        # A GITHUB_TOKEN may not ask who it is. An App's token starts alike: a guess until something is written.
        self._viewer = viewer or (ACTIONS_LOGIN if token.startswith("ghs_") else "")
        self._default_branch = self._git_url = ""
        self._reactions = Reactions()
        self._drafts = Drafts()

    @property
    def calls(self) -> int:
        """Requests sent so far, repetitions included."""
        return self.client.calls

    @calls.setter
    def calls(self, count: int) -> None:
        self.client.calls = count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        if self._github is not None:
            self._github.close()
            self._github = None

    def _connect(self) -> Github:
        if self._github is None:
            from github import Auth, Github

            local = _is_loopback(urlsplit(self._api_url).hostname or "")
            self._github = Github(
                auth=Auth.Token(self._token) if self._token else None,
                base_url=self._api_url,
                timeout=self._timeout,
                user_agent=f"trackside/{__version__}",
                retry=None,
                seconds_between_requests=0 if local else SECONDS_BETWEEN_REQUESTS,
                seconds_between_writes=0 if local else SECONDS_BETWEEN_WRITES,
            )
        return self._github

    def _send(self, method: str, path: str, query: Mapping[str, Any], body: Any) -> Answer:
        from requests.exceptions import RequestException

        if isinstance(body, Upload | Download):
            from trackside.forge.streams import transfer

            url = path if "://" in path else self._api_url + path
            return transfer(method, url, query, body, token=self._token, timeout=self._timeout)
        try:
            status, headers, text = self._connect().requester.requestJson(
                method, path, parameters=dict(query), input=body
            )
        except RequestException as error:
            raise NoAnswer(f"{type(error).__name__}: {error}"[:300]) from error
        except RuntimeError as error:  # a redirect to another host, which PyGithub does not follow
            raise ForgeError(f"{method} {path} was redirected", why=str(error)[:300]) from error
        return Answer(status=status, headers=headers, text=text)


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine, whose server asks for no pacing."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
