"""Files that pages load: what ships with the package, and Mermaid's browser bundle, fetched once into a cache."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from trackside.errors import DataError, ToolError
from trackside.system.process import Processes

MERMAID = "mermaid.min.js"
MERMAID_VERSION = "12.3.0"
MERMAID_INTEGRITY = "sha512-4113TdXeLAsMruJ79OpFL5O8+LTFXhQqZ260rF3tgUmiNAtRm4Uume04I+65PRN6yZ69J4f8rVYWW8zRk65UYw=="
"""Of the package's archive, as the registry's metadata states it for this version."""

_MEMBER = "package/dist/mermaid.min.js"
TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


def own(name: str) -> bytes | None:
    """A file that ships with the package, or None."""
    path = files("trackside.sandbox.web") / "static" / name
    return path.read_bytes() if name and "/" not in name and path.is_file() else None


def names() -> list[str]:
    """Names of the files that ship with the package."""
    return sorted(one.name for one in (files("trackside.sandbox.web") / "static").iterdir())


def cached_mermaid(cache: Path) -> Path | None:
    """The bundle where an earlier `ensure_mermaid` left it."""
    path = cache / f"mermaid-{MERMAID_VERSION}" / MERMAID
    return path if path.is_file() else None


def ensure_mermaid(cache: Path, env: Mapping[str, str]) -> Path | None:
    """Mermaid's bundle in the cache folder, fetched with npm where it is not there yet.

    Args:
        cache: any folder; the bundle lands below it.
        env: environment for npm; PATH has to lead to it.

    Returns:
        The file, or None without npm or without a network: pages then show the charts' source text.

    Raises:
        DataError: the archive is not the one whose digest is pinned here.
    """
    known = cached_mermaid(cache)
    if known is not None:
        return known
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as name:
        folder = Path(name)
        argv = ["npm", "pack", f"mermaid@{MERMAID_VERSION}", "--silent", "--ignore-scripts", "--pack-destination", name]
        try:
            Processes(env).run(argv, cwd=folder, timeout=180)
        except ToolError:
            return None
        archive = folder / f"mermaid-{MERMAID_VERSION}.tgz"
        if not archive.is_file():
            return None
        bundle = bundle_of(archive.read_bytes())
        made = folder / "made"
        made.mkdir()
        (made / MERMAID).write_bytes(bundle)
        target = cache / f"mermaid-{MERMAID_VERSION}"
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)
    return target / MERMAID


def bundle_of(archive: bytes, integrity: str = MERMAID_INTEGRITY) -> bytes:
    """The browser bundle inside an npm archive. Raises DataError unless the archive has the given integrity."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if found != integrity:
        raise DataError(
            f"npm delivered another mermaid {MERMAID_VERSION} than the one that is pinned",
            why=f"expected {integrity}, got {found}",
            remedy="check the registry that npm is set to use; charts are shown as text until then",
        )
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        member = tar.extractfile(_MEMBER)
        if member is None:
            raise DataError(f"mermaid {MERMAID_VERSION} holds no {_MEMBER}")
        return member.read()
