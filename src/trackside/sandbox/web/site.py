"""The pages as one object: address in, page out, the same for the server and for an exported copy."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from trackside.sandbox.hub import Hub
from trackside.sandbox.problem import Problem
from trackside.sandbox.state import Doc
from trackside.sandbox.web import assets, text
from trackside.sandbox.web.markdown import Links, render


@dataclass(frozen=True, kw_only=True)
class Page:
    """An HTML page: template, `<title>` and what the template shows. `tab` is the repository tab that it belongs to."""

    template: str
    title: str
    data: Mapping[str, Any] = field(default_factory=dict)
    tab: str = ""
    status: int = 200


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Bytes of a file. They never run: see the policy that the server sends along."""

    data: bytes
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Moved:
    """The page stands elsewhere."""

    path: str


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request for a page: who looks at which address. `static`: for an exported copy, without forms."""

    site: Site
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    login: str | None
    static: bool = False

    @property
    def hub(self) -> Hub:
        return self.site.hub

    @property
    def repo(self) -> str:
        return f"{self.params['owner']}/{self.params['repo']}"

    def doc(self, kind: str, name: str) -> Doc:
        """The document whose key stands in the address. Raises Problem 404."""
        found = self.hub.state.get(kind, self.repo, self.params[name])
        if found is None:
            raise missing()
        return found


def visible(ask: Ask, doc: Doc) -> bool:
    """Whether the person sees a repository."""
    return not doc["private"] or (ask.login is not None and ask.hub.role(doc["full_name"], ask.login) != "none")


def writes(ask: Ask) -> bool:
    """Whether the person may write."""
    return ask.login is not None and ask.hub.role(ask.repo, ask.login) in ("write", "maintain", "admin")


def missing() -> Problem:
    """404 for pages."""
    return Problem(404, "Not Found")


Handler = Callable[[Ask], Page | Raw | Moved]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row of the table of pages; `{name:path}` takes slashes."""

    template: str
    handler: Handler

    @property
    def pattern(self) -> re.Pattern[str]:
        return _pattern(self.template)


@lru_cache(maxsize=64)
def _pattern(template: str) -> re.Pattern[str]:
    parts = re.split(r"(\{[^}]+\})", template)
    made = ""
    for part in parts:
        if part.startswith("{"):
            name, _, kind = part[1:-1].partition(":")
            made += f"(?P<{name}>{ {'path': '.+', 'int': '[0-9]+'}.get(kind, '[^/]+') })"
        else:
            made += re.escape(part)
    return re.compile(made)


class Site:
    """Finds, makes and renders pages.

    Args:
        hub: the sandbox's state and git.
        table: pages; the first match counts.
        mermaid: Mermaid's browser bundle; None shows charts as text.
    """

    def __init__(self, hub: Hub, table: list[Entry], mermaid: Path | None = None) -> None:
        self.hub, self.table, self.mermaid = hub, table, mermaid
        self._environment = Environment(
            loader=PackageLoader("trackside.sandbox.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= text.FILTERS
        self._environment.globals |= {"sandbox_has_mermaid": mermaid is not None}

    def get(
        self, path: str, query: Mapping[str, str], login: str | None, *, static: bool = False
    ) -> Page | Raw | Moved:
        """The page at a decoded path. Problems become error pages."""
        try:
            for entry in self.table:
                found = entry.pattern.fullmatch(path)
                if found:
                    ask = Ask(site=self, path=path, params=found.groupdict(), query=query, login=login, static=static)
                    self._permit(ask)
                    return entry.handler(ask)
            raise missing()
        except Problem as problem:
            return error(problem.status, problem.message)

    def _permit(self, ask: Ask) -> None:
        """A private repository exists only for its people."""
        if "owner" in ask.params and "repo" in ask.params:
            doc = self.hub.repo(ask.repo)
            if doc["private"] and (ask.login is None or self.hub.role(ask.repo, ask.login) == "none"):
                raise missing()

    def html(self, page: Page, path: str, login: str | None, *, static: bool = False) -> str:
        """The page's HTML."""
        repo = self._repo_of(path) if page.status == 200 else None
        return self._environment.get_template(page.template).render(
            page.data,
            title=page.title,
            tab=page.tab,
            here=path,
            login=login,
            static=static,
            repo=repo,
            counts=self._counts(repo["full_name"]) if repo else {},
            people=[] if static else self.people(),
            md=partial(self.markdown, repo["full_name"] if repo else "", ref=repo["default_branch"] if repo else ""),
        )

    def _repo_of(self, path: str) -> Doc | None:
        words = path.split("/")
        return self.hub.state.get("repo", "", "/".join(words[1:3])) if len(words) > 2 else None

    def _counts(self, repo: str) -> dict[str, int]:
        state = self.hub.state
        return {
            "pulls": len(state.list("issue", repo, state="open", is_pull=True)),
            "issues": len(state.list("issue", repo, state="open", is_pull=False)),
            "releases": len(state.list("release", repo, draft=False)),
        }

    def people(self) -> list[str]:
        """Logins that a person may act as."""
        return [str(doc["login"]) for doc in self.hub.state.list("user", "", type="User")]

    def markdown(self, repo: str, source: str | None, *, ref: str = "") -> Markup:
        """A text of a repository as safe HTML; `ref` is where relative links start."""
        base = "/" + quote(repo)
        links = Links(
            reference=partial(self._reference, repo),
            base=f"{base}/blob/{quote(ref)}",
            raw=f"{base}/raw/{quote(ref)}",
            home=self.hub.url,
            former=tuple(str(doc["url"]) for doc in self.hub.state.list("address", "")),
        )
        return render(source, links)

    def _reference(self, repo: str, kind: str, value: str) -> str | None:
        state = self.hub.state
        if kind == "number":
            issue = state.get("issue", repo, int(value))
            return f"/{quote(repo)}/{'pull' if issue['is_pull'] else 'issues'}/{int(value)}" if issue else None
        if kind == "sha":
            return f"/{quote(repo)}/commit/{value}" if repo and self.hub.bare(repo).sha(value) else None
        user = state.get("user", "", value)
        return f"/{quote(user['login'])}" if user else None


def error(status: int, message: str, details: list[str] | None = None) -> Page:
    """A page that says what went wrong."""
    title = {403: "Not allowed", 404: "Page not found", 422: "That cannot be done"}.get(status, "That did not work")
    data = {"message": message, "details": details or [], "status": status}
    return Page(template="error.html.j2", title=title, data=data, status=status)


def asset(site: Site, name: str) -> Raw | None:
    """A file of `/_static/`."""
    kind = assets.TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    if name == assets.MERMAID:
        return Raw(data=site.mermaid.read_bytes(), media_type=kind) if site.mermaid else None
    data = assets.own(name)
    return Raw(data=data, media_type=kind) if data is not None else None
