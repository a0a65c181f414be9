"""Bare repositories of the sandbox: plumbing commands only, no checkout anywhere."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from trackside.errors import ToolError
from trackside.system.process import Completed, Processes

ZERO = "0" * 40
_SHA = re.compile(r"[0-9a-f]{40}")
_OPERATOR = re.compile(r"[~^:]|@\{")
"""What makes an expression out of a ref's name."""

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Sandbox",
    "GIT_AUTHOR_EMAIL": "sandbox@localhost",
    "GIT_COMMITTER_NAME": "Sandbox",
    "GIT_COMMITTER_EMAIL": "sandbox@localhost",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
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


@dataclass(frozen=True, kw_only=True)
class TagInfo:
    """A tag: the object it names, the commit that this leads to; tagger and message only of annotated ones."""

    name: str
    sha: str
    commit: str
    annotated: bool
    tagger: str
    date: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """A file that differs: git's status letter, blob SHA (the old one when deleted), lines, patch where asked for."""

    status: str
    path: str
    sha: str
    added: int
    removed: int
    patch: str = ""


class Bare:
    """One bare repository."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        self.path = path
        self.env = {**env, **_IDENTITY}
        self._processes = Processes(self.env)

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
            "receive.hideRefs": "refs/pull",
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
            env={**self.env, **env} if env else None,
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

    def typed_refs(self, prefix: str) -> dict[str, tuple[str, str]]:
        """Refs below a prefix (whole folders) with the object each points to and its kind."""
        lines = self.git("for-each-ref", "--format=%(objectname) %(objecttype) %(refname)", prefix).text.splitlines()
        return {name: (sha, kind) for sha, kind, name in (line.split(" ", 2) for line in lines)}

    def tags(self) -> list[TagInfo]:
        """All tags, newest first; dates RFC 3339 UTC."""
        parts = ("refname:lstrip=2", "objecttype", "objectname", "*objectname", "taggername",
                 "creatordate:format-local:%Y-%m-%dT%H:%M:%SZ", "contents")  # fmt: skip
        form = "%00".join(f"%({part})" for part in parts) + "%00%01"
        done = self.git("for-each-ref", "--sort=-creatordate", f"--format={form}", "refs/tags/", env={"TZ": "UTC"})
        made = []
        for row in done.text.split("\0\x01\n")[:-1]:
            name, kind, sha, commit, tagger, date, message = row.split("\0")
            annotated = kind == "tag"
            made.append(
                TagInfo(
                    name=name, sha=sha, commit=commit or sha, annotated=annotated, tagger=tagger, date=date,
                    message=message.strip() if annotated else "",
                )
            )  # fmt: skip
        return made

    def update_ref(self, ref: str, new: str, old: str | None = None) -> bool:
        """Compare-and-swap; `old` ZERO means it must not exist. False when the race was lost."""
        return self.git("update-ref", ref, new, *([old] if old is not None else []), check=False).returncode == 0

    def delete_ref(self, ref: str) -> None:
        """Delete a ref; one that is gone is no error."""
        self.git("update-ref", "-d", ref, check=False)

    def kind(self, sha: str) -> str | None:
        """`commit`, `tree`, `blob` or `tag`, or None where there is no such object or it is not a full SHA."""
        if not _SHA.fullmatch(sha):
            return None
        done = self.git("cat-file", "-t", sha, check=False)
        return done.text.strip() if done.returncode == 0 else None

    def write_tag(self, name: str, target: str, kind: str, message: str, tagger: str) -> str:
        """An annotated tag object without a ref; `tagger` is `Name <email> seconds +0000`."""
        text = f"object {target}\ntype {kind}\ntag {name}\ntagger {tagger}\n\n{message}\n"
        return self.git("hash-object", "-t", "tag", "-w", "--stdin", data=text.encode()).text.strip()

    def tag(self, sha: str) -> dict[str, str] | None:
        """Fields of an annotated tag object: object, type, tag, name, email, date, message."""
        if self.kind(sha) != "tag":
            return None
        head, _, message = self.git("cat-file", "tag", sha).text.partition("\n\n")
        fields = dict(line.split(" ", 1) for line in head.splitlines())
        person, _, stamp = fields["tagger"].rpartition("> ")
        name, _, email = person.partition(" <")
        date = datetime.fromtimestamp(int(stamp.split()[0]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        shown = {key: fields[key] for key in ("object", "type", "tag")}
        return shown | {"name": name, "email": email, "date": date, "message": message.rstrip("\n")}

    def count(self, spec: str) -> int:
        """How many commits a range holds."""
        return int(self.git("rev-list", "--count", "--end-of-options", spec).text)

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

    def log(self, spec: str, limit: int = 250, *, path: str | None = None) -> list[str]:
        """SHAs, newest first; with `path` only of commits that change it."""
        filtered = ["--", f":(literal){path}"] if path else []
        return self.git("rev-list", f"--max-count={limit}", "--end-of-options", spec, *filtered).text.split()

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

    def entry(self, rev: str, path: str) -> TreeEntry | None:
        """What stands at a path of a revision."""
        found = self.tree(rev, path=path)
        return found[0] if len(found) == 1 and found[0].path == path else None

    def blob(self, sha: str) -> bytes:
        return self.git("cat-file", "blob", sha).stdout

    def file(self, rev: str, path: str) -> bytes | None:
        found = self.entry(rev, path)
        return self.blob(found.sha) if found and found.type == "blob" else None

    def write_blob(self, data: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", data=data).text.strip()

    def write_tree(self, entries: list[dict[str, str | None]], base: str | None) -> str:
        """A tree from path entries on top of `base`, through a temporary index; `sha` None removes."""
        index = self.path / f"index-{uuid.uuid4().hex}"
        env = {"GIT_INDEX_FILE": str(index)}
        try:
            self.git("read-tree", *([base] if base else ["--empty"]), env=env)
            lines = []
            for entry in entries:
                gone = entry["sha"] is None
                lines.append(f"{'0' if gone else entry['mode']} {ZERO if gone else entry['sha']}\t{entry['path']}")
            if lines:
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

    def changed(self, base: str, head: str, *, patches: bool = False) -> list[Change]:
        """Files that differ between two commits or trees; a rename shows as removed and added."""
        names = self.git("diff-tree", "-r", "-z", "--no-renames", "--raw", "--abbrev=40", base, head).stdout.split(
            b"\0"
        )
        counts = self._line_counts(base, head)
        found = []
        for meta, raw in zip(names[::2], names[1::2], strict=False):
            path = raw.decode("utf-8", "replace")
            _, _, old, new, status = meta.decode().split()
            added, removed = counts.get(path, (0, 0))
            patch = ""
            if patches:
                text = self.git("diff-tree", "-p", "--no-renames", base, head, "--", f":(literal){path}").text
                patch = text[text.index("@@") :].rstrip("\n") if "\n@@" in text else ""
            sha = old if status == "D" else new
            found.append(Change(status=status, path=path, sha=sha, added=added, removed=removed, patch=patch))
        return found

    def _line_counts(self, base: str, head: str) -> dict[str, tuple[int, int]]:
        counts = {}
        for line in self.git("diff-tree", "-r", "-z", "--no-renames", "--numstat", base, head).stdout.split(b"\0"):
            if line.count(b"\t") == 2:
                added, removed, path = line.decode("utf-8", "replace").split("\t")
                counts[path] = (int(added.replace("-", "0")), int(removed.replace("-", "0")))
        return counts

    def fetch(self, source: Path, spec: str) -> None:
        self.git("fetch", "--quiet", "--no-tags", str(source), spec)


class Still(Bare):
    """A repository that nobody writes to meanwhile: git is asked each question once."""

    def __init__(self, path: Path, env: Mapping[str, str]) -> None:
        super().__init__(path, env)
        self._answers: dict[tuple[object, ...], Completed] = {}

    def git(
        self, *args: str, data: bytes | None = None, check: bool = True, env: Mapping[str, str] | None = None
    ) -> Completed:
        question = (args, data, check, tuple(sorted((env or {}).items())))
        if question not in self._answers:
            self._answers[question] = super().git(*args, data=data, check=check, env=env)
        return self._answers[question]

    def sha(self, rev: str, kind: str = "commit") -> str | None:
        # Addresses try many names of branches and tags that do not exist: one listing knows them all.
        if rev.startswith("refs/") and not _OPERATOR.search(rev):
            known = self.refs()
            if not any(prefix + rev in known for prefix in ("", "refs/", "refs/tags/", "refs/heads/")):
                return None
        return super().sha(rev, kind)
