"""Files of a branch in a clone, by git's objects alone: nothing is checked out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from trackside.errors import ToolError
from trackside.system.process import Processes

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


class CloneFiles:
    """Reads git objects of a clone or bare repository, each question one `git cat-file --batch`.

    Args:
        repository: folder of the clone, or of the bare repository.
        ref: a full ref (`refs/...`), a full SHA, or a branch: its remote-tracking ref of `origin` comes first, being
            the newer.
    """

    def __init__(self, repository: Path, ref: str, processes: Processes) -> None:
        self._git = ["git", "-C", str(repository)]
        exact = ref.startswith("refs/") or _SHA.fullmatch(ref)
        self._refs = [ref] if exact else [f"refs/remotes/origin/{ref}", f"refs/heads/{ref}"]
        self._processes = processes

    def read(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The files that exist, by path. Paths hold no white space."""
        names = [f"{ref}:{path}" for path in paths for ref in self._refs]
        found = self._objects(names)
        made: dict[str, bytes] = {}
        for path in paths:
            data = next((found[name] for ref in self._refs if (name := f"{ref}:{path}") in found), None)
            if data is not None:
                made[path] = data
        return made

    def under(self, folder: str, wanted: Callable[[str], bool]) -> dict[str, bytes]:
        """The files below a folder whose path is wanted; empty where there is no such branch.

        Raises:
            ToolError: the folder is no git repository.
        """
        ref = next((one for one in self._refs if self._exists(one)), None)
        if ref is None:
            return {}
        listing = self._processes.run([*self._git, "ls-tree", "-r", "-z", "--full-tree", ref, "--", f"{folder}/"])
        names: dict[str, str] = {}
        for line in listing.stdout.split(b"\0"):
            meta, _, raw = line.partition(b"\t")
            path = raw.decode("utf-8", "replace")
            if wanted(path):
                names[path] = meta.split()[2].decode()
        found = self._objects(list(names.values()))
        return {path: found[name] for path, name in names.items() if name in found}

    def _exists(self, ref: str) -> bool:
        words = [*self._git, "rev-parse", "--quiet", "--verify", f"{ref}^{{commit}}"]
        done = self._processes.run(words, check=False)
        if done.returncode > 1:
            raise ToolError(f"{self._git[2]} is no git repository", log=done.stderr.decode("utf-8", "replace"))
        return done.returncode == 0

    def _objects(self, names: Sequence[str]) -> dict[str, bytes]:
        """Blobs by object name; what is missing or no blob is left out. Names hold no white space."""
        asked = "".join(f"{name}\n" for name in names).encode()
        out = self._processes.run([*self._git, "cat-file", "--batch"], input=asked).stdout
        found: dict[str, bytes] = {}
        at = 0
        for name in names:
            end = out.index(b"\n", at)
            header, at = out[at:end].split(b" "), end + 1
            if len(header) == 3:
                size = int(header[2])
                if header[1] == b"blob":
                    found[name] = out[at : at + size]
                at += size + 1
        return found
