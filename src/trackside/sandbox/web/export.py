"""A copy of a repository's pages as plain files, with relative links, that opens from disk."""

from __future__ import annotations

import hashlib
import html
import os.path
import re
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from trackside.sandbox.web import assets
from trackside.sandbox.web.pages import TABLE
from trackside.sandbox.web.site import Moved, Page, Raw, Site, asset

if TYPE_CHECKING:
    from trackside.sandbox.server import Sandbox

MAX_PAGES = 5000
_STARTS = (
    "", "/activity", "/pulls", "/pulls?state=all", "/issues", "/issues?state=all", "/labels", "/actions", "/releases",
    "/tags", "/deployments", "/branches", "/commits",
)  # fmt: skip
_TAG = re.compile(r"<[a-zA-Z][^<>]*>")
_ADDRESS = re.compile(r'(?<=\s)(href|src)="([^"]*)"')
_PLAIN = re.compile(r"[^A-Za-z0-9._-]")


def export(sandbox: Sandbox, repo: str, out: Path, mermaid: Path | None = None) -> int:
    """Write every page that can be reached from a repository's home below `out`; `index.html` is the home.

    Links to pages outside the repository lose their target. `mermaid` is the bundle from `assets.ensure_mermaid`.
    Pages show the repository as it was at the first look: what is pushed meanwhile may be missing.

    Returns:
        The number of pages written.
    """
    return _Copy(Site(sandbox.hub.still(), TABLE, mermaid), repo, out).write()


class _Copy:
    """One export: a walk over the pages, each address → one file."""

    def __init__(self, site: Site, repo: str, out: Path) -> None:
        self.site, self.repo, self.out = site, repo, out
        self.files: dict[str, str] = {}
        self.todo: deque[tuple[str, Page | Raw]] = deque()

    def write(self) -> int:
        self.out.mkdir(parents=True, exist_ok=True)
        for name in [*assets.names(), assets.MERMAID]:
            found = asset(self.site, name)
            if found is not None:
                (self.out / "_static").mkdir(exist_ok=True)
                (self.out / "_static" / name).write_bytes(found.data)
        for start in _STARTS:
            self.file_of(f"/{quote(self.repo)}{start}")
        while self.todo:
            self._one(*self.todo.popleft())
        return sum(name.endswith(".html") for name in self.files.values())

    def file_of(self, address: str) -> str | None:
        """The file of an address, which is then due to be written; None for what is not copied."""
        parts = urlsplit(address)
        path = unquote(parts.path).rstrip("/")
        query = urlencode(parse_qsl(parts.query))
        key = f"{path}?{query}" if query else path
        if key in self.files:
            return self.files[key] or None
        root = f"/{self.repo}"
        if not (path == root or path.startswith(root + "/")) or path in (root + "/compare", root + "/issues/new"):
            return None
        if len(self.files) >= MAX_PAGES:
            return None
        found = self.site.get(path, dict(parse_qsl(query)), None, static=True)
        if isinstance(found, Moved):
            self.files[key] = ""
            self.files[key] = self.file_of(found.path) or ""
            return self.files[key] or None
        if isinstance(found, Page) and found.status != 200:
            self.files[key] = ""
            return None
        self.files[key] = _name(path.removeprefix(root), query, raw=isinstance(found, Raw))
        self.todo.append((key, found))
        return self.files[key]

    def _one(self, key: str, found: Page | Raw) -> None:
        target = self.out / self.files[key]
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(found, Raw):
            target.write_bytes(found.data)
        else:
            text = self.site.html(found, key.partition("?")[0], None, static=True)
            target.write_text(_TAG.sub(lambda tag: self._tag(tag[0], self.files[key]), text), encoding="utf-8")

    def _tag(self, tag: str, source: str) -> str:
        return _ADDRESS.sub(lambda found: self._link(found[1], html.unescape(found[2]), source), tag)

    def _link(self, name: str, address: str, source: str) -> str:
        """An attribute with the address made relative; a title instead of it where there is no page."""
        if not address.startswith("/"):
            return f'{name}="{html.escape(address)}"'
        if address.startswith("/_static/"):
            target: str | None = address[1:]
        else:
            target = self.file_of(address)
        if target is None:
            return 'data-not-copied=""'
        fragment = urlsplit(address).fragment
        relative = quote(os.path.relpath(target, Path(source).parent))
        return f'{name}="{html.escape(relative + ("#" + fragment if fragment else ""))}"'


def _name(path: str, query: str, *, raw: bool) -> str:
    """A file name without surprises: odd characters give way to a digest, so that names stay apart."""
    steps = [_step(step) for step in path.split("/") if step]
    if raw:
        return "/".join(steps)
    if query:
        steps.append("query-" + hashlib.sha256(query.encode()).hexdigest()[:10])
    return "/".join([*steps, "index.html"])


def _step(step: str) -> str:
    plain = _PLAIN.sub("_", step)[:80]
    if plain == step and plain.strip("."):
        return plain
    return f"{plain.strip('.')}-{hashlib.sha256(step.encode()).hexdigest()[:10]}"
