"""DVC as a child process: in the workspace without credentials, and a clean room where objects move with them.

Credentials never meet a file of the checkout: objects are fetched and pushed by digest from a folder that holds
nothing but the policy's remotes and generated `.dvc` files. Neither the pull request's `.dvc/config`, its git
configuration and hooks, its imports nor its Python files have any say there.
"""

from __future__ import annotations

import configparser
import hashlib
import io
import json
import posixpath
import re
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trackside.errors import ConfigError, DataError, ToolError
from trackside.system.process import Processes
from trackside.train.state import scratch, write

TRANSFER_SECONDS = 6 * 3600.0
FILES = ("GOOGLE_APPLICATION_CREDENTIALS",)
"""Credentials that may be given as JSON instead of a path."""
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


def argv(*words: str | Path) -> list[str | Path]:
    """DVC of this interpreter; `-I` keeps modules of the working folder and of HOME out."""
    return [sys.executable, "-I", "-m", "dvc", *words]


def quiet(env: Mapping[str, str], state: Path) -> dict[str, str]:
    """`env` plus what keeps DVC from the user's and the machine's configuration, and from phoning home."""
    empty = scratch(state, "no-config")
    return {
        **env,
        "DVC_NO_ANALYTICS": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(empty),
        "DVC_SYSTEM_CONFIG_DIR": str(empty),
        "DVC_SITE_CACHE_DIR": str(scratch(state, "work/site-cache")),
    }


@dataclass(frozen=True, kw_only=True, order=True)
class Object:
    """Content in DVC's store: `digest` is `md5:<hex>` or `md5:<hex>.dir`; `legacy` objects are of DVC 2."""

    digest: str
    legacy: bool = False

    def __post_init__(self) -> None:
        if not _MD5.fullmatch(self.digest.removeprefix("md5:")):
            raise DataError(f"not a digest of DVC: {self.digest[:100]!r}")

    @property
    def md5(self) -> str:
        return self.digest.removeprefix("md5:")

    def path(self, cache: Path) -> Path:
        root = cache if self.legacy else cache / "files" / "md5"
        return root / self.md5[:2] / self.md5[2:]


def members(obj: Object, cache: Path) -> dict[str, Object] | None:
    """A folder's files by relative path, `{"": obj}` for a file; None when the listing is not there.

    Raises:
        DataError: the listing is no listing, or a path leaves the folder.
    """
    if not obj.md5.endswith(".dir"):
        return {"": obj}
    try:
        rows = json.loads(obj.path(cache).read_bytes())
        made = {str(row["relpath"]): Object(digest=f"md5:{row['md5']}", legacy=obj.legacy) for row in rows}
    except OSError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the listing {obj.digest} is damaged", why=str(error)[:200]) from error
    for name in made:
        if name.startswith("/") or ".." in name.split("/") or posixpath.normpath(name) != name:
            raise DataError(f"the listing {obj.digest} names {name[:100]!r}")
    return made


def there(obj: Object, cache: Path) -> bool:
    """Whether an object, and for a folder all its files, lie in the cache."""
    found = members(obj, cache)
    return found is not None and all(one.path(cache).is_file() for one in found.values())


def intact(obj: Object, cache: Path) -> bool:
    """Whether content has the digest it is filed under (that of DVC 2 cannot be told this way and counts as intact)."""
    found = members(obj, cache)
    if found is None:
        return False
    return all(
        one.legacy or file_md5(one.path(cache)) == one.md5.removesuffix(".dir") for one in {obj, *found.values()}
    )


def file_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Remotes:
    """The policy's DVC configuration, with paths that hold wherever it is written to."""

    config: configparser.ConfigParser
    cache: Path

    @property
    def default(self) -> str:
        return self.config.get("core", "remote", fallback="")

    def names(self) -> list[str]:
        return [
            match[1] for section in self.config.sections() if (match := re.fullmatch(r"'?remote \"(.+)\"'?", section))
        ]


def remotes(text: str, workspace: Path) -> Remotes:
    """Read a `.dvc/config`; relative paths in it start at the workspace's `.dvc`.

    Raises:
        ConfigError: not readable.
    """
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=("#", ";"), strict=False)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ConfigError(".dvc/config of the default branch cannot be read", why=str(error)[:300]) from error
    base = workspace / ".dvc"
    for section in parser.sections():
        url = parser.get(section, "url", fallback="")
        if (
            section.strip("'").startswith("remote ")
            and url
            and "://" not in url
            and not re.match(r"[\w.-]+@?[\w.-]*:", url)
        ):
            parser.set(section, "url", str((base / url).resolve()))
    given = parser.get("cache", "dir", fallback="")
    return Remotes(config=parser, cache=(base / given).resolve() if given else base.resolve() / "cache")


def room_config(found: Remotes) -> bytes:
    """The configuration of the clean room: the policy's remotes, our cache, no git."""
    made = configparser.ConfigParser(interpolation=None)
    made.read_dict({name: dict(found.config.items(name)) for name in found.config.sections()})
    for section, values in {
        "core": {"no_scm": "true", "analytics": "false", "autostage": "false", "check_update": "false"},
        "cache": {"dir": str(found.cache)},
    }.items():
        if not made.has_section(section):
            made.add_section(section)
        for name, value in values.items():
            made.set(section, name, value)
    text = io.StringIO()
    made.write(text)
    return text.getvalue().encode()


def transfer(
    direction: Literal["fetch", "push"],
    objects: Iterable[Object],
    found: Remotes,
    *,
    state: Path,
    env: Mapping[str, str],
    processes: Processes,
) -> str:
    """Move objects between cache and remote, with the credentials in `env`. Returns what DVC said (the caller checks).

    Raises:
        ToolError: DVC failed for another reason than objects that the remote lacks.
    """
    wanted = sorted(set(objects))
    if not wanted or not found.default:
        return ""
    room = state / "room"
    shutil.rmtree(room, ignore_errors=True)
    write(room / ".dvc" / "config", room_config(found))
    for number, obj in enumerate(wanted):
        out: dict[str, Any] = {"path": f"o{number}", "md5": obj.md5}
        if not obj.legacy:
            out["hash"] = "md5"
        write(room / f"o{number}.dvc", json.dumps({"outs": [out]}).encode())
    try:
        known = quiet({**env, **_files(env, room)}, scratch(state, "room-state"))
        done = processes.run(argv(direction), cwd=room, env=known, timeout=TRANSFER_SECONDS, check=False)
    finally:
        shutil.rmtree(room, ignore_errors=True)
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    if done.returncode != 0 and "ailed to fetch" not in said and "do not exist" not in said:
        raise ToolError(
            f"the data remote did not answer dvc {direction}",
            log=said[-4000:],
            remedy="check the remote in .dvc/config of the default branch and its credentials in TRACKSIDE_REMOTE_ENV",
            link="train.md",
            reason_code="remote_failed",
        )
    return said


def _files(env: Mapping[str, str], room: Path) -> dict[str, str]:
    """Credentials that a library reads from a file, given as JSON: written for as long as the transfer takes."""
    made = {}
    for name in FILES:
        if env.get(name, "").lstrip().startswith("{"):
            path = room / f"{name}.json"
            path.touch(0o600)
            path.write_text(env[name], encoding="utf-8")
            made[name] = str(path)
    return made
