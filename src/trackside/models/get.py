"""`trackside models get`: a version's model, fetched, joined, verified and looked into before anybody is given it."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trackside.documents.codec import MAX_BYTES
from trackside.documents.release import Release
from trackside.errors import ConfigError, DataError, NotFound, Refused
from trackside.models.bound import cache_of, need_bound
from trackside.models.cache import folder_alone
from trackside.models.fetch import Fetcher
from trackside.models.layout import emit, printable, size
from trackside.models.version import tell
from trackside.models.which import LINK, Found, Spec, confirm, find
from trackside.registry.read import fetch, fetch_model
from trackside.store.layout import FETCH_DATA
from trackside.train.files import digest
from trackside.trust.gate import SAFE_FORMATS, scan

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.models.source import Source

SCHEMA = "trackside.get/1"
ASIDE = ".trackside-get"
"""Folder within the target's where files are put together; a killed `get` leaves it to the next one."""
LONGEST = 200
"""Bytes of a file's name: file systems take 255."""
SHOWN = 20
"""Names of a refusal that are listed."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for. `everything`: the other files of the release too; `trust`: names that a pickle may import;
    `unbound`: also where the tag does not bear out the record.
    """

    spec: Spec
    folder: Path
    everything: bool = False
    trust: tuple[str, ...] = ()
    unbound: bool = False
    force: bool = False
    quiet: bool = False
    dry_run: bool = False


def get(context: Context, source: Source, wish: Wish) -> int:
    """Fetch, verify, look into, and only then put into the folder.

    Raises:
        NotFound: no such version, no published release of it, or a file of it is gone.
        DataError: something is not what was released.
        Refused: the model could run code when it is loaded (`model_unsafe`), or nothing but the data branch says what
            the version is (`record_unbound`).
        ConfigError: the folder has another file of that name (`target_exists`), or cannot be written.
    """
    found = find(source, wish.spec)
    release = _published(source, found)
    confirm(found, release)
    tell(found)
    cache = cache_of(context)
    wanted = [one for one in release.assets if wish.everything or one.role in ("model", "manifest")]
    quiet = wish.quiet or context.json
    try:
        need_bound(context, source, found, release, unbound=wish.unbound)
        _apart(release)
        fetcher = Fetcher(context=context, source=source, cache=cache, release=release, wanted=wanted, quiet=quiet)
        document = _planned(fetcher, wish) if wish.dry_run else _got(fetcher, wish)
    except (DataError, NotFound) as error:
        error.remedy = error.remedy or "trackside models doctor"
        raise
    except OSError as error:
        where = error.filename or wish.folder
        raise ConfigError(
            f"{where}: {error.strerror or error}",
            remedy="choose another folder with -o, or another cache with XDG_CACHE_HOME",
            link=LINK,
        ) from error
    _say(context, {"schema": SCHEMA, "repository": source.repository, **_identity(found, release), **document})
    return 0


def _published(source: Source, found: Found) -> Release:
    release = source.release(found.model, found.version)
    if release is not None and release.state == "published" and any(one.role == "model" for one in release.assets):
        return release
    damaged = next((one.why for one in source.problems if f"/{found.version}.json" in one.path), "")
    raise NotFound(
        f"{found.tag} has no published release",
        why=damaged
        or (f"its release is only {release.state}" if release is not None else "the data branch has no record of it"),
        remedy=f"{FETCH_DATA}; then: trackside models doctor",
        link=LINK,
        reason_code="release_missing",
    )


def _identity(found: Found, release: Release) -> dict[str, Any]:
    return {
        "model": found.model,
        "version": f"v{found.version}",
        "tag": found.event.name,
        "commit": found.commit,
        "digest": release.model_digest,
    }


def target_name(release: Release) -> str:
    """What the model is called where it is put: the last part of its path. Raises DataError for what no model is."""
    return _plain(next(one.path for one in release.assets if one.role == "model").rpartition("/")[2])


def _apart(release: Release) -> None:
    """That no file of a release takes another's place, on any file system. Raises DataError."""
    others = [one.name for one in release.assets if one.role != "model"]
    names = [target_name(release), *others]
    assets = [one.name for one in release.assets]
    for told in (names, assets):
        plain = [unicodedata.normalize("NFKC", one).casefold() for one in told]
        twice = next((name for at, name in enumerate(plain) if name in plain[:at]), "")
        if twice:
            raise DataError(
                f"two files of {release.tag} are called {printable(twice)[:100]!r}",
                why="one would take the place of the other",
                link=LINK,
                reason_code="document_invalid",
            )


def _plain(name: str) -> str:
    """A file's name that hides nothing and leads nowhere. Raises DataError."""
    odd = not name or name.startswith(".") or "/" in name or "\\" in name or printable(name) != name
    if odd or len(name.encode()) > LONGEST:
        raise DataError(f"{printable(name)[:100]!r} is no name of a file", link=LINK, reason_code="document_invalid")
    return name


def _planned(fetcher: Fetcher, wish: Wish) -> dict[str, Any]:
    lacking = {one.name for one in fetcher.lacking()}
    return {
        "dry_run": True,
        "path": str(wish.folder / target_name(fetcher.release)),
        "size": sum(one.size for one in fetcher.wanted),
        "fetched": sum(one.size for one in fetcher.wanted if one.name in lacking),
        "files": [one.name for one in fetcher.wanted],
    }


def _got(fetcher: Fetcher, wish: Wish) -> dict[str, Any]:
    release, target = fetcher.release, wish.folder / target_name(fetcher.release)
    wish.folder.mkdir(parents=True, exist_ok=True)
    others = [one for one in fetcher.wanted if one.role != "model" and _plain(one.name)] if wish.everything else []
    already = _stays(target, release.model_digest, force=wish.force)
    stay = [one for one in others if _stays(wish.folder / one.name, one.digest, force=wish.force)]
    there = already and len(stay) == len(others)
    if there:
        gate = look_into(target, wish.trust, tag=release.tag)
    else:
        fetcher.bring()
        with _aside(wish.folder) as aside:
            _by_manifest(fetcher, aside / "manifest")
            made = fetch_model(fetcher, release, aside / "model")
            gate = look_into(made, wish.trust, tag=release.tag)
            for role in sorted({one.role for one in others}):
                fetch(fetcher, release, role, aside / "other")
            _place(made, target, release.model_digest, force=wish.force)
            for asset in others:
                _place(aside / "other" / asset.name, wish.folder / asset.name, asset.digest, force=wish.force)
    return {
        "dry_run": False,
        "there": there,
        "path": str(target),
        "size": sum(one.size for one in fetcher.wanted),
        "fetched": fetcher.fetched,
        "files": [str(target), *(str(wish.folder / one.name) for one in others)],
        "gate": gate,
    }


@contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """An empty folder within the target's that no other `get` uses; what a killed one left in it goes."""
    with folder_alone(folder):
        aside = folder / ASIDE
        _remove(aside)
        aside.mkdir()
        try:
            yield aside
        finally:
            _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _by_manifest(fetcher: Fetcher, aside: Path) -> None:
    """That the manifest names the parts as the record does, in the same order.

    Raises:
        DataError: it does not (`content_mismatch`).
    """
    release = fetcher.release
    parts = sorted((one for one in release.assets if one.role == "model" and one.part), key=lambda one: one.part)
    if not parts:
        return
    (path,) = fetch(fetcher, release, "manifest", aside)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise LookupError("it is too large")
        told = msgspec.json.decode(path.read_bytes())
        named = [(str(one["name"]), str(one["digest"])) for one in told["parts"]]
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError) as error:
        raise DataError(
            f"the manifest of {release.tag} is damaged", link=LINK, reason_code="document_invalid"
        ) from error
    numbers = [one.part for one in parts]
    if named != [(one.name, one.digest) for one in parts] or numbers != list(range(1, len(parts) + 1)):
        raise DataError(
            f"the manifest of {release.tag} names other parts than its record",
            remedy="trackside models doctor",
            link=LINK,
            reason_code="content_mismatch",
        )


def look_into(path: Path, trust: Sequence[str], *, tag: str) -> dict[str, int]:
    """What the gate found in a model file, or in each file of a folder.

    Raises:
        Refused: a pickle imports what nobody trusts, or a part cannot be read (`model_unsafe`).
    """
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    seen = [scan(one, trust) for one in files]
    unknown = sorted({str(name) for one in seen for name in one.unknown})
    problems = [text for one in seen for text in one.problems]
    if unknown or problems:
        listed = ", ".join(unknown[:SHOWN]) + (f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else "")
        why = "; ".join(part for part in (f"it imports {listed}" if unknown else "", *problems[:5]) if part)
        flags = " ".join(f"--trust {name}" for name in unknown[:SHOWN])
        raise Refused(
            f"the model of {tag} could run code when it is loaded: it is not handed over",
            why=printable(why),
            remedy=(f"if you have read these names and trust them: {printable(flags)}\n" if flags else "")
            + f"better: save the model as {SAFE_FORMATS}",
            link=LINK,
            reason_code="model_unsafe",
        )
    return {"pickles": sum(one.pickles for one in seen), "imports": len({name for one in seen for name in one.allowed})}


def _stays(target: Path, wanted: str, *, force: bool) -> bool:
    """Whether the file is there already. Raises ConfigError: another one is, and may not be replaced."""
    if not target.exists() and not target.is_symlink():
        return False
    if _same(target, wanted):
        return True
    if not force:
        raise ConfigError(
            f"{target} exists and is another file",
            remedy="--force replaces it, -o chooses another folder",
            link=LINK,
            reason_code="target_exists",
        )
    return False


def _place(made: Path, target: Path, wanted: str, *, force: bool) -> None:
    """Move to where it belongs, at once and whole; what is there already stays where it is the same."""
    if _stays(target, wanted, force=force):
        return
    if target.is_dir() and not target.is_symlink():
        target.rename(made.with_name(made.name + ".old"))  # goes with the folder aside
    elif made.is_dir():
        target.unlink(missing_ok=True)
    made.replace(target)


def _same(target: Path, wanted: str) -> bool:
    try:
        return not target.is_symlink() and digest(target.name, target.parent)[0] == wanted
    except DataError:
        return False


def _say(context: Context, document: dict[str, Any]) -> None:
    if context.json:
        emit(context, document)
        return
    name = f"{document['model']}@{document['version']}"
    weight, came = size(document["size"]), document["fetched"]
    if document["dry_run"]:
        context.say(printable(f"would put {name} to {document['path']}: {weight}, {size(came)} of it to fetch"))
        return
    gate = document["gate"]
    found = f"{gate['pickles']} pickles, {gate['imports']} known imports" if gate["pickles"] else "no pickle in it"
    how = "there already" if document["there"] else "from the cache" if not came else f"{size(came)} fetched"
    context.say(printable(f"{name} is at {document['path']}"))
    context.say(printable(f"  {weight}, {how}; {document['digest']} as trained; {found}"))
    for path in document["files"][1:]:
        context.say(printable(f"  {path}"))
