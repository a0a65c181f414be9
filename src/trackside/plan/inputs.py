"""A dependency's digest: data from `.dvc` files, code and lock files from git objects, URLs by name."""

from __future__ import annotations

import bisect
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trackside.documents.run import Dependency
from trackside.errors import ConfigError
from trackside.plan.digest import canonical, listing_digest, sha256
from trackside.plan.graph import Outs
from trackside.plan.objects import GitTree, ancestors
from trackside.plan.paths import inside, is_url
from trackside.plan.resolve import Tracked

MAX_LINKS = 1_000
_DVC_OWN = ("dvc.lock",)


@dataclass
class Found:
    """What was gathered: dependencies by (path, kind), paths that are missing, files that are executable."""

    dependencies: dict[tuple[str, str], Dependency] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    executable: set[str] = field(default_factory=set)

    def add(self, other: Found) -> None:
        self.dependencies.update(other.dependencies)
        self.missing |= other.missing
        self.executable |= other.executable

    def put(self, dependency: Dependency) -> None:
        self.dependencies[dependency.path, dependency.kind] = dependency


class InputReader:
    """Looks dependencies up in one tree; each is read once."""

    def __init__(self, tree: GitTree, tracked: Sequence[Tracked], outs: Outs) -> None:
        self._tree, self._outs = tree, outs
        self._tracked = {item.path: item for item in tracked}
        self._tracked_paths = sorted(self._tracked)
        self._known: dict[str, Found] = {}

    def inputs(self, path: str) -> Found:
        """What `path` stands for, less what a stage of the pipeline makes. Raises ConfigError."""
        if path not in self._known:
            self._known[path] = self._inputs(path)
        return self._known[path]

    def _inputs(self, path: str) -> Found:
        found = Found()
        if self._outs.covering(path):
            return found
        if is_url(path):
            found.put(Dependency(path=path, kind="external", digest=sha256(path.encode())))
            return found
        holder = next((folder for folder in ancestors(path) if folder in self._tracked), "")
        inner = [holder] if holder else self._tracked_below(path)
        for name in inner:
            self._put_data(self._tracked[name], found)
        if holder:
            return found
        target = self._tree.resolve(path)
        if target is None:
            if not inner and not self._outs.below(path):
                found.missing.add(path)
        elif target in self._tree.entries:
            self._put_file(path, target, "code", found)
        else:
            self._put_folder(path, target, found)
        return found

    def lock(self, path: str) -> Found:
        """A requirements file, and those that it includes with `-r` or `-c`. Raises ConfigError."""
        found = Found()
        waiting = [inside("", path, file="trackside.yaml")]
        while waiting:
            name = waiting.pop()
            if (name, "lock") in found.dependencies or name in found.missing:
                continue
            target = self._tree.resolve(name)
            if target is None or target not in self._tree.entries:
                found.missing.add(name)
                continue
            self._put_file(name, target, "lock", found)
            text = self._tree.read([target])[target].decode("utf-8", "replace")
            for match in re.finditer(r"^\s*(?:-r|-c|--requirement|--constraint)(?:\s+|=)(\S+)", text, re.MULTILINE):
                if not is_url(match[1]):
                    waiting.append(inside(posixpath.dirname(name), match[1], file=name))
        return found

    def _tracked_below(self, path: str) -> Sequence[str]:
        if path == ".":
            return self._tracked_paths
        start = bisect.bisect_left(self._tracked_paths, path + "/")
        return self._tracked_paths[start : bisect.bisect_left(self._tracked_paths, path + "0", start)]

    def _put_data(self, tracked: Tracked, found: Found) -> None:
        out = tracked.out
        size = out.get("size") if isinstance(out.get("size"), int) else None
        files = out.get("nfiles") if isinstance(out.get("nfiles"), int) else None
        digest = _data_digest(out)
        if digest:
            found.put(Dependency(path=tracked.path, kind="data", digest=digest, size=size, files=files))
        elif tracked.deps:
            found.put(Dependency(path=tracked.path, kind="external", digest=sha256(canonical(list(tracked.deps)))))
        else:
            found.missing.add(tracked.path)

    def _put_file(self, path: str, target: str, kind: Any, found: Found) -> None:
        entry = self._tree.entries[target]
        digest = "sha256:" + self._tree.digests([target])[target]
        found.put(Dependency(path=path, kind=kind, digest=digest, size=entry.size))
        if entry.mode == "100755":
            found.executable.add(path)

    def _put_folder(self, path: str, target: str, found: Found) -> None:
        """A folder's files as one dependency, less what stages make in it."""
        members = self._members(target)
        made = set(self._outs.below(path))
        rows = {name: real for name, real in members.items() if not (made and self._is_made(path, name))}
        digests = self._tree.digests({real for real in rows.values() if real})
        listing = [
            (name, digests.get(real, ""), bool(real) and self._tree.entries[real].mode == "100755")
            for name, real in rows.items()
        ]
        size = sum(self._tree.entries[real].size for real in rows.values() if real)
        found.put(Dependency(path=path, kind="code", digest=listing_digest(listing), size=size, files=len(listing)))

    def _is_made(self, folder: str, name: str) -> bool:
        return bool(self._outs.covering(name if folder == "." else f"{folder}/{name}"))

    def _members(self, folder: str) -> dict[str, str]:
        """Files below a folder: path within it → path of the content; links are followed, broken ones give ``""``."""
        made: dict[str, str] = {}
        links = 0
        waiting: list[tuple[str, str, tuple[str, ...]]] = [("", folder, (folder,))]
        while waiting:
            prefix, place, trail = waiting.pop()
            start = 0 if place == "." else len(place) + 1
            for path in self._tree.under(place):
                name = prefix + path[start:]
                if posixpath.basename(path) in _DVC_OWN:
                    continue
                if self._tree.entries[path].mode != "120000":
                    made[name] = path
                    continue
                links += 1
                target = self._tree.resolve(path)
                if links > MAX_LINKS or (target in trail and target is not None):
                    raise ConfigError(f"symbolic links in {folder!r} form a loop or are too many", link="pipelines.md")
                if target is None or target in self._tree.entries:
                    made[name] = target or ""
                else:
                    waiting.append((name + "/", target, (*trail, target)))
        return made


def _data_digest(out: Mapping[str, Any]) -> str:
    """DVC's digest of a tracked output, whichever its remote gives; empty when there is none."""
    for key in ("md5", "etag", "checksum", "version_id"):
        value = out.get(key)
        if isinstance(value, str) and value:
            return f"{key}:{value}"
    files = out.get("files")
    return sha256(canonical(files)) if isinstance(files, list) and files else ""
