"""The repository at its server, by git: what it holds in one question, and pushes that land whole or not at all.

A bare repository of the job is all there is here: no checkout, no tag, no branch; what is made has no name until the
server gives it one. A fetch and a push are no calls of GitHub's API.
"""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from trackside.errors import Forbidden, ForgeError, NotFound, TimedOut, ToolError, TracksideError
from trackside.forge.model import TagRef
from trackside.forge.retry import ATTEMPTS, backoff
from trackside.plan.objects import fetch, git_env
from trackside.system.clock import Clock
from trackside.system.process import Completed, Processes
from trackside.system.text import valid

T = TypeVar("T")

TIMEOUT = 300.0
"""Seconds that one question or push may take."""

NAME, EMAIL = "github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com"
"""Who makes the commits and tags: the identity of every job's token. Who asked for them stands in the records."""

LONGEST_WAIT = 30.0
"""Seconds to give way to other writers for, at most."""

LINK = "releases.md"

_LOST = (
    *("stale info", "fetch first", "non-fast-forward", "already exists", "cannot lock ref", "failed to update ref"),
    *("incorrect old value", "needs force", "reference already", "failed to lock"),
)
"""Words of a rejection that mean: another writer was faster."""
_TOGETHER = ("atomic push", "transaction failed")
"""Words for a ref that shares the fate of another one."""
_AGAIN = ("internal server error", "internal error", "timeout", "timed out", "unavailable", "try again")
_GONE = re.compile(r"repository not found|repository '.*' not found|returned error: 404")
_DENIED = re.compile(r"returned error: 40[13]|authentication failed|permission to .* denied|could not read username")


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """A tag at the server: `object` is what the ref holds, `commit` what it leads to; the same where lightweight."""

    object: str
    commit: str

    @property
    def annotated(self) -> bool:
        return self.object != self.commit


@dataclass(frozen=True, kw_only=True)
class Look:
    """Branches and tags of the server by their short names."""

    heads: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, Tagged] = field(default_factory=dict)

    def refs(self, prefix: str) -> tuple[TagRef, ...]:
        """Tags whose name starts with `prefix`."""
        return tuple(
            TagRef(name=name, object=one.object, annotated=one.annotated)
            for name, one in self.tags.items()
            if name.startswith(prefix)
        )


@dataclass(frozen=True, kw_only=True)
class Move:
    """A ref to be set to `new`, if it still is at `old` (empty: if it is not there)."""

    ref: str
    new: str
    old: str = ""


class Remote:
    """A server's repository and the bare repository here. The token goes to the server alone, as a header by
    environment: on no command line, in no file.

    Args:
        git_dir: the bare repository; made where there is none.
        url: address for git, or a local path.
    """

    def __init__(self, git_dir: Path, url: str, *, token: str, processes: Processes, clock: Clock) -> None:
        self.git_dir, self.url = git_dir, url
        self._token, self._processes, self._clock = token, processes, clock
        self._env = git_env(processes.env, url=url, token=token)
        self._random = random.Random()  # noqa: S311 - spreads writers that failed together, guards nothing
        self._took = 0.0

    # Reading

    def look(self) -> Look:
        """All branches and tags, by one question.

        Raises:
            Forbidden, NotFound, TimedOut, ToolError: see `push`.
        """
        argv = ["git", "ls-remote", "--quiet", "--heads", "--tags", "--", self.url]
        done = self._persist(lambda: self._processes.run(argv, env=self._env, timeout=TIMEOUT))
        heads: dict[str, str] = {}
        held: dict[str, str] = {}
        behind: dict[str, str] = {}
        for line in done.text.splitlines():
            sha, _, ref = line.partition("\t")
            if ref.startswith("refs/heads/"):
                heads[ref.removeprefix("refs/heads/")] = sha
            elif ref.endswith("^{}"):
                behind[ref.removeprefix("refs/tags/").removesuffix("^{}")] = sha
            else:
                held[ref.removeprefix("refs/tags/")] = sha
        tags = {name: Tagged(object=sha, commit=behind.get(name, sha)) for name, sha in held.items()}
        return Look(heads=heads, tags=tags)

    def fetch(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Bring commits here, see `plan.objects.fetch`; those that are here cost nothing."""
        return self._persist(
            lambda: fetch(self.git_dir, self.url, wanted, processes=self._processes, token=self._token)
        )

    def copy_tags(self, model: str = "") -> None:
        """Bring all tags here (those of a model), with their objects and commits but no files; by one fetch.

        Raises:
            Forbidden, NotFound, TimedOut, ToolError: see `push`.
        """
        if not (self.git_dir / "HEAD").is_file():
            self.git_dir.mkdir(parents=True, exist_ok=True)
            argv: list[str | Path] = ["git", "init", "--quiet", "--bare", "--template=", self.git_dir]
            self._processes.run(argv, env=self._env, timeout=TIMEOUT)
        patterns = [f"refs/tags/{model}{mark}*" for mark in "@#"] if model else ["refs/tags/*"]
        argv = [
            "git",
            "-C",
            self.git_dir,
            "fetch",
            "--quiet",
            "--prune",
            "--force",
            "--no-write-fetch-head",
            "--no-tags",
        ]
        argv += ["--filter=tree:0", "--no-write-fetch-head", "--no-recurse-submodules", "--", self.url]
        argv += [f"+{one}:{one}" for one in patterns]
        self._persist(lambda: self._processes.run(argv, env=self._env, timeout=TIMEOUT))

    def file(self, commit: str, path: str) -> bytes | None:
        """A file of a commit that was fetched; None where it has none."""
        out = self._git("cat-file", "--batch", input=f"{commit}:{path}\n".encode()).stdout
        head, _, rest = out.partition(b"\n")
        fields = head.rsplit(b" ", 2)
        return rest[: int(fields[2])] if len(fields) == 3 and fields[1] == b"blob" else None

    # Making

    def commit(self, tip: str, files: Mapping[str, str | None], message: str, when: datetime) -> str:
        """A commit with files laid over those of `tip` (None takes one away; an empty `tip` begins a history). It has
        no name yet.
        """
        ref = f"refs/trackside/made/{uuid.uuid4().hex}"
        lines = [f"commit {ref}", "mark :1", f"committer {_person(when)}", *_data(message)]
        lines += [f"from {tip}"] if tip else []
        for path, text in files.items():
            lines += [f"D {path}"] if text is None else [f"M 100644 inline {path}", *_data(text)]
        lines += ["get-mark :1", f"reset {ref}", f"from {'0' * 40}", ""]  # the name is gone before anybody sees it
        return self._git("fast-import", "--quiet", "--date-format=raw", input="\n".join(lines).encode()).text.strip()

    def tag(self, name: str, commit: str, message: str, when: datetime) -> str:
        """An annotated tag object: the same one for the same words and time. It has no name yet."""
        text = f"object {commit}\ntype commit\ntag {name}\ntagger {_person(when)}\n\n{valid(message)}"
        return self._git("hash-object", "-t", "tag", "-w", "--stdin", input=text.encode()).text.strip()

    def _git(self, *words: str, input: bytes | None = None) -> Completed:
        return self._processes.run(
            ["git", "-C", self.git_dir, *words], env=git_env(self._processes.env), input=input, timeout=TIMEOUT
        )

    # Writing

    def push(self, moves: Sequence[Move]) -> bool:
        """Set all refs, or none; False where another writer was faster.

        A push without an answer is sent again: where it had landed, the server says that nothing is left to do.

        Raises:
            Forbidden: the token may not push, or a rule of the repository refuses these refs.
            NotFound: no such repository.
            TimedOut: no answer to repeated attempts, which the next run resolves by looking.
            ToolError: git is missing, or the server takes no atomic pushes.
        """
        leases = [f"--force-with-lease={one.ref}:{one.old}" for one in moves]
        argv = ["git", "-C", str(self.git_dir), "push", "--porcelain", "--atomic", "--no-verify", *leases]
        argv += ["--recurse-submodules=no", "--", self.url, *(f"{one.new}:{one.ref}" for one in moves)]

        def send() -> bool:
            started = self._clock.monotonic()
            done = self._processes.run(argv, env=self._env, timeout=TIMEOUT, check=False)
            self._took = self._clock.monotonic() - started
            return done.returncode == 0 or _rejected(done)

        return self._persist(send)

    def give_way(self, attempt: int) -> None:
        """Wait after lost race `attempt` (from 1) for as long as some pushes here take, at random: who wait alike meet
        again.
        """
        most = min(LONGEST_WAIT, self._took * 2.0 ** min(attempt + 1, 5))
        self._clock.sleep(self._random.random() * most)

    def _persist(self, work: Callable[[], T]) -> T:
        """Do it, again where the way there or the server failed. Raises TimedOut after `ATTEMPTS`."""
        said = ""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return work()
            except ToolError as error:
                if error.reason_code not in ("tool_failed", "tool_timed_out"):
                    raise
                failure, said = _failure(error, self.url), _last(error.log) or error.message
            if failure is not None:
                raise failure
            if attempt < ATTEMPTS:
                self._clock.sleep(backoff(attempt, self._random.random()))
        raise TimedOut(
            f"git got no answer from {self.url}",
            why=f"the last of {ATTEMPTS} attempts: {said}",
            remedy="check the network and GitHub's status page, then run the job again",
            link=LINK,
        )


def _person(when: datetime) -> str:
    return f"{NAME} <{EMAIL}> {int(when.timestamp())} +0000"


def _data(text: str) -> list[str]:
    """A text as git's import stream has it: its length in bytes first."""
    text = valid(text)
    return [f"data {len(text.encode())}", text]


def _rejected(done: Completed) -> bool:
    """What a push that did not land means: False for a lost race.

    Raises:
        Forbidden: the server refuses these refs for good.
        ToolError: anything else.
    """
    rows = [line.split("\t") for line in done.text.splitlines() if line.startswith("!\t")]
    said = [row[-1].lower() for row in rows]
    why = [words for words in said if not any(one in words for one in _TOGETHER)]
    log = done.stderr.decode("utf-8", "replace")[-8000:]
    if said and not why and "cannot lock ref" in log.lower():
        return False
    if not why or any(one in words for one in _AGAIN for words in why):
        raise ToolError("git push failed", log=log)
    if all(any(one in words for one in _LOST) for words in why):
        return False
    refs = ", ".join(sorted(row[1].partition(":")[2] for row in rows))
    told = [line.removeprefix("remote:").strip() for line in log.splitlines() if line.startswith("remote:")]
    raise Forbidden(
        f"the server refuses the push to {refs}",
        why=" ".join([*filter(None, told), *why])[-600:],
        remedy="let the workflow's token write there: Settings → Rules → Rulesets (or Branches), bypass list of the "
        "rules for tags MODEL@v* and for the data branch; required signatures and reviews cannot hold for them",
        link=LINK,
        reason_code="push_refused",
    )


def _failure(error: ToolError, url: str) -> TracksideError | None:
    """The error that a failed question or push becomes; None where it is worth another attempt."""
    log, last = error.log.lower(), _last(error.log)
    if _DENIED.search(log):
        return Forbidden(
            f"git may not reach {url} so",
            why=last,
            remedy="permissions:\n  contents: write",
            link="security.md",
        )
    if _GONE.search(log):
        return NotFound(f"no repository at {url}", why=last, link="security.md")
    if "does not support --atomic" in log:
        return ForgeError(
            f"{url} takes no atomic pushes",
            why="a version's tag and record must land together",
            remedy="update GitHub Enterprise Server",
            link=LINK,
        )
    return None


def _last(log: str) -> str:
    return log.strip().rpartition("\n")[2][-300:]
