"""The DVC remote: whether there is one, and whether it answers a child process in time."""

from __future__ import annotations

import configparser
import re
import sys
from urllib.parse import urlsplit

from trackside.doctor.place import Place
from trackside.doctor.table import Findings, found
from trackside.errors import ToolError

SECONDS = 30.0
_OPEN = ("", "http", "https", "file")
_EXTRAS = {"s3": "s3", "gs": "gs", "azure": "azure", "ssh": "ssh", "gdrive": "gdrive", "oss": "oss", "webdav": "webdav"}


def check(place: Place) -> Findings:
    url = default_url(place)
    if not url:
        yield found("remote.configured", "error", "DVC has no default remote: data and models have no place")
        return
    yield found("remote.configured", "ok", f"the data remote is {url}")
    if not place.here:
        yield found(
            "remote.reachable", "unknown", "the remote is asked from a clone only", remedy="run this in a clone"
        )
        return
    if place.offline and urlsplit(url).scheme not in ("", "file"):
        yield found("remote.reachable", "unknown", "not asked: --offline", remedy="run it without --offline")
        return
    yield from _asked(place, url)


def default_url(place: Place) -> str:
    """The address of DVC's default remote, without credentials; empty where there is none."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(place.text(".dvc/config") or "")
    except configparser.Error:
        return ""
    section = f'remote "{parser.get("core", "remote", fallback="")}"'
    for name in (section, f"'{section}'"):
        if parser.has_option(name, "url"):
            return _clean(parser.get(name, "url"))
    return ""


def _clean(url: str) -> str:
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def needs_credentials(url: str) -> bool:
    """Whether a remote of this kind is usually closed: not a folder, not plain HTTP."""
    return bool(url) and urlsplit(url).scheme not in _OPEN


def _asked(place: Place, url: str) -> Findings:
    words = [sys.executable, "-I", "-c", _SCRIPT, str(place.root)]
    env = {name: text for name, text in place.env.items() if not name.startswith(("GITHUB_", "GH_", "TRACKSIDE_"))}
    try:
        done = place.processes.run(
            words, env={**env, "DVC_NO_ANALYTICS": "1"}, cwd=place.root, timeout=SECONDS, check=False
        )
    except ToolError as error:
        yield found("remote.reachable", "error", f"{url} did not answer within {SECONDS:.0f} s", detail=error.message)
        return
    said = re.sub(r"://[^/@\s]+@", "://…@", done.stderr.decode("utf-8", "replace").strip()[-2000:])
    if done.returncode == 0:
        yield found("remote.reachable", "ok", f"{url} answers")
    elif done.returncode == 3:
        yield found(
            "remote.reachable",
            "unknown",
            "DVC is not installed here",
            remedy="in a clone of Trackside: pip install '.[train]'",
        )
    elif done.returncode == 4:
        extra = _EXTRAS.get(urlsplit(url).scheme, urlsplit(url).scheme)
        yield found(
            "remote.reachable",
            "error",
            f"DVC here lacks what {url} needs",
            remedy=f"here: pip install 'dvc[{extra}]'; in jobs: TRACKSIDE_EXTRAS: {extra}",
            detail=said,
        )
    else:
        yield found("remote.reachable", "error", f"{url} does not answer", detail=said)


_SCRIPT = """\
import sys
try:
    from dvc.repo import Repo
except ImportError:
    sys.exit(3)
try:
    with Repo(sys.argv[1]) as repo:
        remote = repo.cloud.get_remote()
        there = remote.fs.exists(remote.path)
        if not there and remote.fs.protocol == "local":
            sys.exit(f"{remote.path} is not there")
        if not there and remote.fs.protocol in ("http", "https"):
            remote.fs.info(remote.path)
except Exception as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    missing = "RemoteMissingDepsError" in type(error).__name__ or isinstance(error, ImportError)
    sys.exit(4 if missing else 1)
"""
