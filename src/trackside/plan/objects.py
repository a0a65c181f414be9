"""Git objects without a checkout: a bare repository that is fetched into, and a reader of one commit's tree.

Nothing of a fetched tree is ever written as a file or run: no work tree, no hooks, no filters, no submodules.
"""

from __future__ import annotations

import base64
import bisect
import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trackside.errors import ConfigError, DataError, NotFound, ToolError
from trackside.forge.model import Commit
from trackside.system.process import Processes

MAX_FILES = 500_000
"""Files of a tree; more are refused."""
MAX_BLOB = 256 * 1024 * 1024
"""Bytes of a file that is read; GitHub takes none above 100 MiB."""
_CHUNK = 64 * 1024 * 1024
_WANTED = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?|refs/[A-Za-z0-9][A-Za-z0-9._/-]*")
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_KEPT = ("PATH", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "http_proxy", "https_proxy", "no_proxy")
_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "http.followRedirects": "false",
    "protocol.allow": "never",
    "protocol.http.allow": "always",
    "protocol.https.allow": "always",
    "protocol.file.allow": "always",
    "safe.directory": "*",
}


def git_env(base: Mapping[str, str], *, url: str = "", token: str = "") -> dict[str, str]:
    """Environment for git: no user or system configuration, no prompt; the token only as a header for `url`."""
    config = dict(_CONFIG)
    if token:
        pair = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        config[f"http.{url}.extraheader"] = f"Authorization: Basic {pair}"
    env = {name: value for name, value in base.items() if name in _KEPT or name.lower() in _KEPT}
    env |= {
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_CONFIG_COUNT": str(len(config)),
    }
    for index, (key, value) in enumerate(config.items()):
        env[f"GIT_CONFIG_KEY_{index}"], env[f"GIT_CONFIG_VALUE_{index}"] = key, value
    return env


def fetch(
    git_dir: Path,
    source: str | Path,
    wanted: Sequence[str],
    *,
    processes: Processes,
    token: str = "",
    depth: int = 1,
    timeout: float = 300.0,
) -> tuple[str, ...]:
    """Bring commits into a bare repository, which is made where there is none.

    Args:
        git_dir: the bare repository.
        source: an HTTP(S) URL or the path of a local repository.
        wanted: full SHAs, or full ref names such as `refs/pull/7/merge`.
        token: sent as a header to `source` alone; never on a command line or in a file.
        depth: how many generations of history.

    Returns:
        The SHA of each, in order.

    Raises:
        NotFound: the source has no such commit or ref.
        ToolError: git failed or ran past `timeout` seconds.
        DataError: not a full SHA or ref name.
    """
    for name in wanted:
        if not _WANTED.fullmatch(name) or ".." in name:
            raise DataError(f"not a full SHA or ref name: {name[:100]!r}", reason_code="event_invalid")
    url = str(source) if "://" in str(source) else Path(source).resolve().as_uri()
    if not url.startswith(("https://", "http://", "file://")):
        raise ConfigError(f"not an HTTP(S) address or a path: {url[:200]!r}")
    env = git_env(processes.env, url=url, token=token)
    if not (git_dir / "HEAD").is_file():
        git_dir.mkdir(parents=True, exist_ok=True)
        processes.run(["git", "init", "--quiet", "--bare", "--template=", git_dir], env=env, timeout=60)
    names = [f"refs/trackside/{hashlib.sha256(name.encode()).hexdigest()[:40]}" for name in wanted]
    missing = [
        (want, name)
        for want, name in zip(wanted, names, strict=True)
        if not _SHA.fullmatch(want) or not _has(git_dir, want, name, processes, env)
    ]
    if missing:
        _fetch(git_dir, url, missing, depth=depth, processes=processes, env=env, timeout=timeout)
    done = processes.run(["git", "-C", git_dir, "rev-parse", *names], env=env, timeout=60)
    return tuple(done.text.split())


def _has(git_dir: Path, sha: str, name: str, processes: Processes, env: Mapping[str, str]) -> bool:
    done = processes.run(["git", "-C", git_dir, "rev-parse", "--quiet", "--verify", name], env=env, check=False)
    return done.text.strip() == sha


def _fetch(
    git_dir: Path,
    url: str,
    missing: Sequence[tuple[str, str]],
    *,
    depth: int,
    processes: Processes,
    env: Mapping[str, str],
    timeout: float,
) -> None:
    options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--force"]
    specs = [f"{want}:{name}" for want, name in missing]
    try:
        processes.run(
            ["git", "-C", git_dir, "fetch", *options, f"--depth={depth}", "--", url, *specs], env=env, timeout=timeout
        )
    except ToolError as error:
        gone = ("not our ref", "couldn't find remote ref", "no such remote ref", "unadvertised object")
        if any(words in error.log.lower() for words in gone):
            raise NotFound(
                "the repository no longer has " + ", ".join(want for want, _ in missing),
                why=error.log.strip()[-500:],
                remedy="push again, or re-run the newest workflow run of the pull request",
                reason_code="commit_gone",
            ) from error
        if error.reason_code != "tool_failed":
            raise
        raise ToolError(
            f"git could not fetch from {url}",
            log=error.log,
            why=error.log.strip().rpartition("\n")[2][-300:],
            remedy="permissions:\n  contents: read",
            link="security.md",
        ) from error


def read_commit(git_dir: Path, sha: str, processes: Processes) -> Commit:
    """A commit with its tree and parents, from the object itself: true in shallow repositories too. Raises NotFound."""
    if not _SHA.fullmatch(sha):
        raise DataError(f"not a full SHA: {sha[:100]!r}", reason_code="event_invalid")
    done = processes.run(
        ["git", "-C", git_dir, "cat-file", "commit", sha], env=git_env(processes.env), check=False, timeout=60
    )
    if done.returncode != 0:
        raise NotFound(f"no commit {sha[:12]} here", why=done.stderr.decode("utf-8", "replace")[-300:])
    header, _, message = done.text.partition("\n\n")
    fields = [line.partition(" ")[::2] for line in header.splitlines()]
    return Commit(
        sha=sha,
        tree=next(value for key, value in fields if key == "tree"),
        parents=tuple(value for key, value in fields if key == "parent"),
        message=message,
    )


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file of a tree. `mode` is git's: 100644, 100755, 120000 (symbolic link) or 160000 (submodule, no size)."""

    path: str
    mode: str
    sha: str
    size: int


class GitTree:
    """All files of one commit, by path; contents are read in batches."""

    def __init__(self, git_dir: Path, commit: str, entries: Mapping[str, Entry], processes: Processes) -> None:
        self.git_dir, self.commit, self.entries = git_dir, commit, entries
        self._processes = processes
        self._env = git_env(processes.env)
        self._paths = sorted(entries)

    @classmethod
    def open(cls, git_dir: Path, commit: str, processes: Processes) -> GitTree:
        """The tree of a commit. `git_dir` may be a bare repository or a checkout's folder.

        Raises:
            NotFound: no such commit here.
            ConfigError: more than `MAX_FILES` files.
        """
        if not _SHA.fullmatch(commit):
            raise DataError(f"not a full SHA: {commit[:100]!r}", reason_code="event_invalid")
        done = processes.run(
            ["git", "-C", git_dir, "ls-tree", "-r", "-z", "-l", "--full-tree", commit],
            env=git_env(processes.env),
            check=False,
            timeout=300,
        )
        if done.returncode != 0:
            raise NotFound(f"no commit {commit[:12]} here", why=done.stderr.decode("utf-8", "replace")[-300:])
        rows = done.stdout.split(b"\0")[:-1]
        if len(rows) > MAX_FILES:
            raise ConfigError(f"the tree has {len(rows):,} files; at most {MAX_FILES:,} are read")
        entries = {}
        for row in rows:
            meta, _, raw = row.partition(b"\t")
            mode, _kind, sha, size = meta.decode().split()
            path = raw.decode("utf-8", "surrogateescape")
            entries[path] = Entry(path=path, mode=mode, sha=sha, size=0 if size == "-" else int(size))
        return cls(git_dir, commit, entries, processes)

    def paths(self) -> Sequence[str]:
        """All files, sorted."""
        return self._paths

    def under(self, folder: str) -> Sequence[str]:
        """All files below a folder, sorted; `""` or `"."` is the root."""
        if folder in ("", "."):
            return self._paths
        prefix = folder.rstrip("/") + "/"
        start = bisect.bisect_left(self._paths, prefix)
        return self._paths[start : bisect.bisect_left(self._paths, folder.rstrip("/") + "0", start)]

    def is_folder(self, path: str) -> bool:
        return bool(self.under(path))

    def resolve(self, path: str) -> str | None:
        """Where a path leads once symbolic links are followed: a file or folder of this tree, else None.

        None also for links that leave the tree or form a loop.
        """
        path = posixpath.normpath(path)
        for _ in range(40):
            if path.startswith(("/", "../")) or path == "..":
                return None
            link = next((p for p in ancestors(path) if p in self.entries and self.entries[p].mode == "120000"), None)
            if link is None:
                return path if path in self.entries or self.is_folder(path) else None
            target = self.read([link])[link].decode("utf-8", "surrogateescape")
            rest = path[len(link) :].lstrip("/")
            path = posixpath.normpath(posixpath.join(posixpath.dirname(link), target, rest))
        return None

    def read(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Contents by path, in one pass of `git cat-file --batch`. Links give their target, submodules their SHA.

        Raises:
            ConfigError: a file above `MAX_BLOB` bytes, or all together above four times that.
        """
        wanted = [self.entries[path] for path in paths]
        if sum(entry.size for entry in wanted) > 4 * MAX_BLOB:
            raise ConfigError("the files that are read at once are too large together")
        made = {}
        for chunk in _chunks(wanted):
            made.update(self._read(chunk))
        return made

    def digests(self, paths: Iterable[str]) -> dict[str, str]:
        """Hex sha256 of contents by path; memory stays near one chunk or one file."""
        made = {}
        for chunk in _chunks([self.entries[path] for path in paths]):
            made.update({path: hashlib.sha256(data).hexdigest() for path, data in self._read(chunk).items()})
        return made

    def _read(self, entries: Sequence[Entry]) -> dict[str, bytes]:
        made = {entry.path: entry.sha.encode() for entry in entries if entry.mode == "160000"}
        blobs = [entry for entry in entries if entry.mode != "160000"]
        if not blobs:
            return made
        asked = "".join(f"{entry.sha}\n" for entry in blobs).encode()
        out = self._processes.run(
            ["git", "-C", self.git_dir, "cat-file", "--batch"], env=self._env, input=asked, timeout=600
        ).stdout
        place = 0
        for entry in blobs:
            end = out.index(b"\n", place)
            fields = out[place:end].split()
            if len(fields) != 3:
                raise NotFound(f"the repository lacks the content of {entry.path!r}")
            place = end + 1 + int(fields[2])
            made[entry.path] = out[end + 1 : place]
            place += 1
        return made


def ancestors(path: str) -> Iterator[str]:
    """`a`, `a/b`, `a/b/c` for `a/b/c`."""
    place = path.find("/")
    while place != -1:
        yield path[:place]
        place = path.find("/", place + 1)
    yield path


def _chunks(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    total = 0
    for entry in entries:
        if entry.size > MAX_BLOB:
            raise ConfigError(
                f"{entry.path!r} has {entry.size:,} bytes; at most {MAX_BLOB:,} are read from git",
                remedy=f"track it with DVC: dvc add {entry.path}",
            )
        if chunk and total + entry.size > _CHUNK:
            yield chunk
            chunk, total = [], 0
        chunk.append(entry)
        total += entry.size
    if chunk:
        yield chunk
