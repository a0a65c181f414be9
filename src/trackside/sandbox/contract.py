"""GitHub's own OpenAPI description as a judge of requests, answers and webhook payloads, through openapi-core.

Quirks that the judge knows: path parameters are percent-encoded before matching (refs and file paths hold slashes);
webhooks live under `x-webhooks` (OpenAPI 3.0 has no place for them) and are judged as requests of made-up paths;
error statuses that every operation may answer are not listed at each; labels may be sent as a bare list; paging of
matching refs is asked for by clients and ignored by GitHub; an interrupted upload leaves a `starter` asset.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import quote

Doc = dict[str, Any]

HOST = "https://api.github.com"
_ANYWHERE = frozenset({400, 401, 403, 404, 405, 409, 422, 429})
_BARE_LISTS = frozenset({"/repos/{owner}/{repo}/issues/{issue_number}/labels"})
_UNPAGED = "/repos/{owner}/{repo}/git/matching-refs/{ref}"
_NO_LABEL = "/repos/{owner}/{repo}/releases/{release_id}/assets"


@dataclass(kw_only=True)
class Asked:
    """A request as openapi-core reads it."""

    template: str
    method: str
    path: str
    parameters: Any
    body: bytes | None
    content_type: str = "application/json"
    host_url: str = HOST


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A response as openapi-core reads it."""

    status_code: int
    data: bytes | None
    content_type: str = "application/json"
    headers: Mapping[str, Any] = field(default_factory=dict)


class Contract:
    """The description of github.com's REST API and webhooks."""

    def __init__(self) -> None:
        self._judges: dict[str, Any] = {}

    @cached_property
    def description(self) -> Doc:
        packed = (files("trackside.sandbox") / "data" / "api.github.com.json.gz").read_bytes()
        loaded: Doc = json.loads(gzip.decompress(packed))
        loaded["paths"] |= {
            f"/x-webhooks/{name}": {"post": _plain(hook)} for name, hook in loaded["x-webhooks"].items()
        }
        # Its text speaks of `starter` assets, its schema forgets them.
        schemas = loaded["components"]["schemas"]
        schemas["release-asset"]["properties"]["state"]["enum"].append("starter")
        return loaded

    def _judge(self, template: str) -> Any:
        """A judge of one path: among all of them, the search for a request's path would take longer than the rest."""
        from openapi_core import Config, OpenAPI

        if template not in self._judges:
            # Judging the description itself takes a minute and is its publisher's affair.
            unjudged: Any = None
            alone = self.description | {"paths": {template: self.description["paths"][template]}}
            self._judges[template] = OpenAPI.from_dict(alone, config=Config(spec_validator_cls=unjudged))
        return self._judges[template]

    def operation(self, template: str, method: str) -> Doc:
        """The operation object. Raises KeyError for an operation that GitHub does not have."""
        found: Doc = self.description["paths"][template][method.lower()]
        return found

    def query_names(self, template: str, method: str) -> frozenset[str]:
        """The query parameters that an operation knows."""
        names = set()
        for parameter in self.operation(template, method).get("parameters", []):
            resolved = parameter
            if "$ref" in parameter:
                resolved = self.description["components"]["parameters"][parameter["$ref"].rsplit("/", 1)[1]]
            if resolved["in"] == "query":
                names.add(resolved["name"])
        return frozenset(names)

    def request(self, template: str, method: str, params: Mapping[str, str], query: Mapping[str, str], raw: bytes,
                content_type: str = "application/json") -> Asked:  # fmt: skip
        """A request to be judged; `params` are the decoded path parameters."""
        from openapi_core.datatypes import RequestParameters
        from werkzeug.datastructures import Headers, ImmutableMultiDict

        path = re.sub(r"\{(\w+)\}", lambda found: quote(params[found[1]], safe=""), template)
        if template in _BARE_LISTS and raw.lstrip().startswith(b"["):
            raw = b'{"labels":' + raw + b"}"
        if template == _UNPAGED:
            query = {name: value for name, value in query.items() if name not in ("per_page", "page")}
        if template == _NO_LABEL:
            query = {name: value for name, value in query.items() if name != "label" or value}
        return Asked(
            template=template,
            method=method.lower(),
            path=path,
            parameters=RequestParameters(
                query=ImmutableMultiDict(query), header=Headers(), cookie=ImmutableMultiDict()
            ),
            body=raw or None,
            content_type=content_type,
        )

    def request_errors(self, asked: Asked) -> list[str]:
        """What is wrong with a request: unknown or mistyped query parameters, a body off its schema."""
        unknown = sorted(set(asked.parameters.query) - self.query_names(asked.template, asked.method))
        wrong = [f"query parameter {name!r} is not known" for name in unknown]
        return wrong + _told(self._judge(asked.template).iter_request_errors(asked))

    def response_errors(
        self, asked: Asked, status: int, data: bytes, content_type: str = "application/json"
    ) -> list[str]:
        """What is wrong with an answer: a status that the operation does not list, a body off its schema."""
        answered = Answered(status_code=status, data=data or None, content_type=content_type)
        return _told(
            self._judge(asked.template).iter_response_errors(asked, answered),
            quiet=status in _ANYWHERE or status >= 500,
        )

    def payload_errors(self, event: str, payload: Doc) -> list[str]:
        """What is wrong with a webhook payload; an event or action that GitHub does not have is wrong too."""
        action = payload.get("action")
        name = (event.removesuffix("_target") + (f"-{action}" if action else "")).replace("_", "-")
        template = f"/x-webhooks/{name}"
        if template not in self.description["paths"]:
            return [f"there is no webhook {name}"]
        asked = self.request(template, "POST", {}, {}, json.dumps(payload).encode())
        return _told(self._judge(asked.template).iter_request_errors(asked))


@lru_cache(maxsize=1)
def contract() -> Contract:
    """The one description of this process: parsing it takes half a second."""
    return Contract()


def _plain(hook: Doc) -> Doc:
    """A webhook's operation without its header parameters: the sandbox hands payloads over inside the process."""
    return {key: value for key, value in hook["post"].items() if key != "parameters"}


def _told(errors: Iterable[Exception], *, quiet: bool = False) -> list[str]:
    """The errors as sentences; `quiet` forgives a status that is not listed or has another body."""
    said: list[str] = []
    for error in errors:
        if quiet and type(error).__name__ in ("ResponseNotFound", "DataContentTypeNotFound", "InvalidData"):
            continue
        details = getattr(error.__cause__, "schema_errors", None) or getattr(error, "schema_errors", None)
        if not details:
            said.append(f"{error} ({error.__cause__})"[:400] if error.__cause__ else str(error)[:400])
            continue
        for detail in details:
            where = "".join(f"[{part!r}]" for part in detail.absolute_path)
            reasons = sorted({f"{one.json_path}: {one.message[:120]}" for one in detail.context or []})
            said.append(f"body{where}: {detail.message[:200]}" + (f" ({'; '.join(reasons[:4])})" if reasons else ""))
    return said
