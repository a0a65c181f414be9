"""Bare repositories of the sandbox: plumbing commands only, no checkout anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trackside.errors import ToolError
from trackside.system.process import Completed, Processes

ZERO = "0" * 40

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Sandbox",
    "GIT_AUTHOR_EMAIL": "sandbox@localhost",
    "GIT_COMMITTER_NAME": "Sandbox",
    "GIT_COMMITTER_EMAIL": "sandbox@localhost",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
}


@dataclass(frozen=True, kw_only=True)
class TreeEntry:
    """One entry of a tree; `size` is None for folders and submodules."""

    mode: str
    type: str
    sha: str
    size: int | None
    path: str


@dataclass(frozen=True, kw_only=True)
class CommitInfo:
    """A commit as the API shows it; times RFC 3339 UTC."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author_name: str
    author_email: str
    author_date: str
    committer_name: str
    committer_email: str
    committer_date: str
    message: str


class Bare:
    """One bare repository."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        self.path = path
        self._env = {**env, **_IDENTITY}
        self._processes = Processes(self._env)

    @staticmethod
    def create(path: Path, env: Mapping[str, str], default_branch: str = "main") -> Bare:
        path.parent.mkdir(parents=True, exist_ok=True)
        bare = Bare(path, env)
        bare._processes.run(["git", "init", "--quiet", "--bare", f"--initial-branch={default_branch}", path])
        for key, value in {
            "http.receivepack": "true",
            "uploadpack.allowAnySHA1InWant": "true",
            "uploadpack.allowFilter": "true",
            "receive.autogc": "false",
            "gc.auto": "0",
            "core.logAllRefUpdates": "false",
        }.items():
            bare.git("config", key, value)
        return bare

    def git(
        self, *args: str, data: bytes | None = None, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        return self._processes.run(
            ["git", f"--git-dir={self.path}", *args],
            input=data,
            check=check,
            env={**self._env, **env} if env else None,
            timeout=120,
        )

    def sha(self, rev: str, kind: str = "commit") -> str | None:
        """The object a revision names, or None; never reads options out of `rev`."""
        done = self.git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{{kind}}}", check=False)
        return done.text.strip() if done.returncode == 0 else None

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """Refs below a prefix (whole folders) with the object each points to."""
        lines = self.git("for-each-ref", "--format=%(objectname) %(refname)", prefix).text.splitlines()
        return {name: sha for sha, name in (line.split(" ", 1) for line in lines)}

    def update_ref(self, ref: str, new: str, old: str | None = None) -> bool:
        """Compare-and-swap; `old` ZERO means it must not exist. False when the race was lost."""
        return self.git("update-ref", ref, new, *([old] if old is not None else []), check=False).returncode == 0

    def delete_ref(self, ref: str) -> None:
        self.git("update-ref", "-d", ref)

    def is_ancestor(self, old: str, new: str) -> bool:
        return self.git("merge-base", "--is-ancestor", old, new, check=False).returncode == 0

    def merge_base(self, one: str, two: str) -> str | None:
        done = self.git("merge-base", one, two, check=False)
        return done.text.strip() or None

    def commit(self, sha: str) -> CommitInfo:
        fields = self.git(
            "log",
            "-1",
            "--date=format-local:%Y-%m-%dT%H:%M:%SZ",
            "--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%ad%x00%cn%x00%ce%x00%cd%x00%B",
            "--end-of-options",
            sha,
            env={"TZ": "UTC"},
        ).text.split("\0")
        return CommitInfo(
            sha=fields[0],
            tree=fields[1],
            parents=tuple(fields[2].split()),
            author_name=fields[3],
            author_email=fields[4],
            author_date=fields[5],
            committer_name=fields[6],
            committer_email=fields[7],
            committer_date=fields[8],
            message=fields[9].rstrip("\n"),
        )

    def log(self, spec: str, limit: int = 250) -> list[str]:
        """SHAs, newest first."""
        return self.git("rev-list", f"--max-count={limit}", "--end-of-options", spec).text.split()

    def tree(self, sha: str, *, recursive: bool = False, path: str = "") -> list[TreeEntry]:
        args = ["ls-tree", "-z", "--long", *(["-r", "-t"] if recursive else []), sha]
        done = self.git(*args, *(["--", path] if path else []), check=False)
        entries = []
        for line in done.stdout.split(b"\0"):
            if line:
                meta, name = line.split(b"\t", 1)
                mode, kind, oid, size = meta.decode().split()
                entries.append(
                    TreeEntry(
                        mode=mode,
                        type=kind,
                        sha=oid,
                        size=int(size) if size != "-" else None,
                        path=name.decode("utf-8", "replace"),
                    )
                )
        return entries

    def blob(self, sha: str) -> bytes:
        return self.git("cat-file", "blob", sha).stdout

    def file(self, rev: str, path: str) -> bytes | None:
        done = self.git("cat-file", "blob", f"{rev}:{path}", check=False)
        return done.stdout if done.returncode == 0 else None

    def write_blob(self, data: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", data=data).text.strip()

    def write_tree(self, entries: list[dict[str, str | None]], base: str | None) -> str:
        """A tree from path entries on top of `base`, through a temporary index; `sha` None removes."""
        index = self.path / f"index-{base64.urlsafe_b64encode(str(id(entries)).encode()).decode()}"
        env = {"GIT_INDEX_FILE": str(index)}
        try:
            self.git("read-tree", *([base] if base else ["--empty"]), env=env)
            lines = []
            for entry in entries:
                gone = entry["sha"] is None
                lines.append(f"{'0' if gone else entry['mode']} {ZERO if gone else entry['sha']}\t{entry['path']}")
            self.git("update-index", "-z", "--index-info", data=("\0".join(lines) + "\0").encode(), env=env)
            return self.git("write-tree", env=env).text.strip()
        finally:
            index.unlink(missing_ok=True)

    def write_commit(
        self, tree: str, parents: list[str], message: str, identity: Mapping[str, str] | None = None
    ) -> str:
        args = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", tree, *args, data=message.encode(), env=identity).text.strip()

    def merge_tree(self, base: str, head: str) -> str | None:
        """Tree of the merge result, or None on conflict."""
        done = self.git("merge-tree", "--write-tree", "--allow-unrelated-histories", base, head, check=False)
        if done.returncode == 0:
            return done.text.split()[0]
        if done.returncode == 1:
            return None
        raise ToolError(
            f"git merge-tree exited with status {done.returncode}", log=done.stderr.decode("utf-8", "replace")
        )

    def changed(self, base: str, head: str) -> list[dict[str, str]]:
        """Files that differ: status letter, path, blob SHA, number of lines, patch."""
        names = self.git("diff-tree", "-r", "-z", "--no-renames", "--raw", "--abbrev=40", base, head).stdout.split(
            b"\0"
        )
        numbers = self.git("diff-tree", "-r", "-z", "--no-renames", "--numstat", base, head).stdout.split(b"\0")
        counts = {}
        for line in numbers:
            if line.count(b"\t") == 2:
                added, removed, path = line.decode("utf-8", "replace").split("\t")
                counts[path] = (added.replace("-", "0"), removed.replace("-", "0"))
        found = []
        for meta, path_bytes in zip(names[::2], names[1::2], strict=False):
            path = path_bytes.decode("utf-8", "replace")
            _, _, old, new, status = meta.decode().split()
            patch = self.git("diff-tree", "-p", "--no-renames", base, head, "--", path).text
            body = patch[patch.index("@@") :] if "@@" in patch else ""
            added, removed = counts.get(path, ("0", "0"))
            found.append(
                {
                    "status": status,
                    "path": path,
                    "sha": new if status != "D" else old,
                    "added": added,
                    "removed": removed,
                    "patch": body,
                }
            )
        return found

    def fetch(self, source: Path, spec: str) -> None:
        self.git("fetch", "--quiet", "--no-tags", str(source), spec)
