"""Where current data comes from → what a table is opened from.

A source is one of: a path or glob of the checkout (or an absolute one of the runner), a target that DVC tracks, an
`http(s)://` address, a path of any file system that fsspec knows, or an SQLAlchemy URL with a query. Placeholders for
dates are filled first, `${NAME}` in URLs from `TRACKSIDE_REMOTE_ENV` last: what is shown or recorded never holds a
credential.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from trackside.config.model import DriftPolicy
from trackside.errors import ConfigError, DataError, ToolError
from trackside.system.files import sha256_of
from trackside.system.process import Processes
from trackside.tables.placeholders import fill
from trackside.tables.readers import File, Part
from trackside.tables.table import ending
from trackside.train.scrub import MASK

FILES = 10_000
"""Files that a glob may find."""
_NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, kw_only=True)
class Data:
    """Current data. `source` names it without secrets; `digest` is of the bytes of files on this machine, and empty
    for what is read in place.
    """

    source: str
    files: tuple[Path | File | Part, ...]
    digest: str


@dataclass(frozen=True, kw_only=True)
class Places:
    """What sources are read through: `root` is the checkout, `folder` an own one for what is fetched. `credentials`
    fill `${NAME}` and reach DVC and the drivers of object stores, nothing else. Without `digests` no file is read for
    its digest.
    """

    root: Path
    folder: Path
    processes: Processes
    credentials: Mapping[str, str] = field(default_factory=dict)
    say: Callable[[str], None] = print
    digests: bool = True


def gather(policy: DriftPolicy, as_of: str | date, places: Places) -> Data:
    """Current data of a day, fetched where it is not here.

    Raises:
        ConfigError: the source cannot be meant: unknown placeholder, credential or scheme.
        DataError: there is no such data (`current_missing`).
        ToolError: a server, database or data remote failed.
    """
    text = fill(policy.current, as_of)
    scheme = scheme_of(text, policy.query)
    places.folder.mkdir(parents=True, exist_ok=True)
    if not scheme:
        return _local(text, places)
    if scheme in ("http", "https"):
        return _download(text, places)
    shown, url = shown_url(text), expanded(text, places.credentials)
    if not policy.query:
        from trackside.tables.remote import found

        files = found(url, shown=shown, scheme=scheme, credentials=places.credentials)
        return Data(source=shown, files=tuple(files), digest="")
    from trackside.tables.sql import Query

    query = Query(url, fill(policy.query, as_of), shown=shown, secrets=places.credentials)
    return Data(source=shown, files=(query,), digest="")


def scheme_of(text: str, query: str) -> str:
    """A source's scheme in lower case, empty for a path. Raises ConfigError where it cannot be meant."""
    found = _SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    if not scheme and query:
        raise ConfigError(
            "a query needs an SQLAlchemy URL", remedy="current: postgresql+psycopg://${DB}/sales", link="drift.md"
        )
    if scheme not in ("", "http", "https") and not query:
        from trackside.tables.remote import knows

        if not knows(scheme):
            raise ConfigError(
                f"{scheme}:// needs a query: it is no file system that is read directly",
                remedy="query: SELECT …",
                link="drift.md",
            )
    return scheme


def _data(source: str, files: list[Path], places: Places) -> Data:
    """One file's digest, or that of all of them in order."""
    if not places.digests:
        return Data(source=source, files=tuple(files), digest="")
    digests = [sha256_of(path) for path in files]
    whole = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return Data(source=source, files=tuple(files), digest=digests[0] if len(digests) == 1 else f"sha256:{whole}")


def expanded(text: str, credentials: Mapping[str, str]) -> str:
    """`${NAME}` replaced. Raises ConfigError for a name that TRACKSIDE_REMOTE_ENV lacks."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in credentials:
            raise ConfigError(
                f"${{{found[1]}}} is not among the names of TRACKSIDE_REMOTE_ENV",
                remedy=f"add the line {found[1]}=… to that secret of the environment `training`",
                link="drift.md",
            )
        return credentials[found[1]]

    return _NAME.sub(value, text)


def names_in(text: str) -> set[str]:
    """Names of the credentials that a source asks for."""
    return set(_NAME.findall(text))


def shown_url(text: str) -> str:
    """A URL as it may be shown: no password, no query string (it often holds a signature)."""
    head, mark, _ = text.partition("?")
    return re.sub(r"(?<=://)[^/@]*@", f"{MASK}@", head) + (f"?{MASK}" if mark else "")


def without(text: str, credentials: Mapping[str, str]) -> str:
    """Text of a driver or server without the values of credentials, and without anything that looks like a login."""
    for value in sorted(credentials.values(), key=len, reverse=True):
        if len(value) >= 3:
            text = text.replace(value, MASK)
    return re.sub(r"(?<=://)[^/@\s]*@", f"{MASK}@", text)


def _local(text: str, places: Places) -> Data:
    """A path, a glob, or what DVC tracks under that name."""
    absolute = posixpath.isabs(text)
    if not absolute and (".." in text.split("/") or "\\" in text):
        raise ConfigError(f"{text[:200]!r} leads out of the repository", link="drift.md")
    path = Path(text) if absolute else places.root / text
    if re.search(r"[*?\[]", text) and not path.exists():
        base = Path("/") if absolute else places.root
        found = _inside(sorted(_globbed(base, text.lstrip("/"))), places, absolute=absolute)
    elif path.is_dir():
        found = _inside(sorted(path.rglob("*")), places, absolute=absolute)
    elif path.is_file() and path.suffix != ".dvc":
        found = _inside([path], places, absolute=absolute)
    else:
        from trackside.tables.tracked import tracked

        found = [] if absolute else tracked(text, places)
    if not found:
        raise DataError(
            f"there is no current data at {text[:200]}",
            why="no such file in the checkout, and DVC tracks none by that name",
            link="drift.md",
            reason_code="current_missing",
        )
    return _data(text, found, places)


def _globbed(base: Path, pattern: str) -> list[Path]:
    made: list[Path] = []
    for one in base.glob(pattern):
        made.append(one)
        if len(made) > FILES:
            raise DataError(f"the pattern finds more than {FILES:,} files", link="drift.md")
    return made


def _inside(paths: list[Path], places: Places, *, absolute: bool) -> list[Path]:
    """Tables only; a link of the checkout may not lead out of it."""
    made = []
    for path in paths:
        if not path.is_file() or not (len(paths) == 1 or ending(path.name)):
            continue
        if not absolute and not path.resolve().is_relative_to(places.root.resolve()):
            raise ConfigError(f"{path.name} is a link out of the repository", link="drift.md")
        made.append(path)
    return made


def _download(text: str, places: Places) -> Data:
    from trackside.tables.web import download

    shown = shown_url(text)
    name = posixpath.basename(shown.partition("?")[0]) or "current"
    path = places.folder / re.sub(r"[^A-Za-z0-9._-]", "_", name)[-100:]
    try:
        download(expanded(text, places.credentials), path, shown=shown)
    except (DataError, ToolError) as error:
        error.why = without(error.why, places.credentials)
        raise
    return _data(shown, [path], places)
