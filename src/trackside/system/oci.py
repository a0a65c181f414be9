"""Reads a container registry (OCI distribution API, version 2): the digest that counts is the one it gives back."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from trackside.errors import ConfigError, ForgeError
from trackside.system.http import Response, call

_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
_REFERENCE = re.compile(r"(?P<host>[a-z0-9.-]+(?::\d+)?)/(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class Found:
    """An image as the registry has it: digests of its manifest and of its config, which is the image's id for the
    tools that build; compressed `size` in bytes, labels.
    """

    digest: str
    config: str
    size: int
    labels: dict[str, str]


class Registry:
    """One repository of a registry, such as `ghcr.io/acme/delay`.

    Args:
        username, password: what to authenticate with; empty for a public or local one.

    Raises:
        ConfigError: `repository` names no registry and repository.
    """

    def __init__(self, repository: str, username: str = "", password: str = "") -> None:
        found = _REFERENCE.fullmatch(repository)
        if found is None:
            raise ConfigError(
                f"{repository!r} is no repository of a registry",
                remedy="image:\n  registry: ghcr.io/acme/delay",
                link="image.md",
            )
        self.repository = repository
        self._host, self._name = found["host"], found["name"]
        local = self._host.split(":")[0] in ("127.0.0.1", "localhost")
        self._root = f"{'http' if local else 'https'}://{self._host}/v2/{self._name}"
        self._login = (username, password)
        self._authorization = ""

    def find(self, reference: str) -> Found | None:
        """The image of a tag or digest; None where there is none. Raises ForgeError."""
        answer = self._get(f"/manifests/{reference}", _MANIFESTS)
        if answer.status == 404:
            return None
        manifest = self._good(answer, reference)
        digest = "sha256:" + hashlib.sha256(answer.body).hexdigest()  # the name of these bytes, whoever else names them
        if answer.headers.get("docker-content-digest", digest) != digest:
            raise ForgeError(f"{self._host} gives other bytes for {reference} than the digest that it names")
        if "config" not in manifest:  # an index of several platforms: not one of ours
            return Found(digest=digest, config="", size=0, labels={})
        config = self._good(self._get(f"/blobs/{manifest['config']['digest']}", "*/*"), "its configuration")
        labels = (config.get("config") or {}).get("Labels") or {}
        size = sum(int(one["size"]) for one in manifest["layers"])
        return Found(digest=digest, config=str(manifest["config"]["digest"]), size=size, labels=labels)

    def _good(self, answer: Response, what: str) -> dict[str, Any]:
        found = answer.json()
        if answer.status in (401, 403):
            raise _refused(self._host, f"it answered {answer.status}")
        if answer.status != 200 or not isinstance(found, dict):
            raise ForgeError(f"{self._host} answered {answer.status} for {what} of {self._name}")
        return found

    def _get(self, path: str, accept: str) -> Response:
        headers = {"Accept": accept}
        answer = call("GET", self._root + path, headers=headers | self._authorized())
        if answer.status == 401 and not self._authorization:
            self._authorization = self._authorize(answer.headers.get("www-authenticate", ""))
            answer = call("GET", self._root + path, headers=headers | self._authorized())
        return answer

    def _authorized(self) -> dict[str, str]:
        return {"Authorization": self._authorization} if self._authorization else {}

    def _authorize(self, challenge: str) -> str:
        """Basic, or a bearer token from the server that the registry names."""
        basic = "Basic " + base64.b64encode(":".join(self._login).encode()).decode()
        if not challenge.lower().startswith("bearer"):
            return basic
        asked = dict(_CHALLENGE.findall(challenge))
        if not asked.get("realm", "").startswith(self._root.partition("://")[0] + "://"):
            raise ForgeError(f"{self._host} names no safe token server", reason_code="registry_refused")
        query = urlencode({"service": asked.get("service", ""), "scope": f"repository:{self._name}:pull"})
        headers = {"Authorization": basic} if self._login[1] else {}
        answer = call("GET", f"{asked.get('realm', '')}?{query}", headers=headers)
        try:
            made = json.loads(answer.body)
            return "Bearer " + str(made.get("token") or made["access_token"])
        except (ValueError, KeyError, AttributeError):
            raise _refused(self._host, f"its token server answered {answer.status}") from None


def _refused(host: str, why: str) -> ForgeError:
    return ForgeError(
        f"{host} does not let this job in",
        why=why,
        remedy="with:\n  registry-username: ${{ github.actor }}\n  registry-password: ${{ github.token }}",
        link="image.md",
        reason_code="registry_refused",
    )
