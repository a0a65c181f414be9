"""The registry of a clone: all tags by one `git for-each-ref`, and whether the clone holds them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trackside.errors import ConfigError, DataError, ToolError, TracksideError
from trackside.registry.state import Event, RegistryState
from trackside.registry.tags import read
from trackside.system.process import Processes

LINK = "registry.md"

_FIELDS = (
    "contents",  # first, for it alone may begin with a line's end; git ends a message at its first NUL
    "refname:lstrip=2",
    "objecttype",
    "objectname",
    "*objecttype",
    "*objectname",
    "taggername",
    "taggerdate:iso-strict",
)
_FORMAT = "%00".join(f"%({one})" for one in _FIELDS) + "%00"
_END = b"\0\n"
REMOTE_SECONDS = 60.0
"""How long the remote may take to list its tags."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a clone is: `tags` counts those of the registry, `origin` is the remote's address (empty: none), `partial`
    says why tags of it may never have come here (empty: all did).
    """

    shallow: bool
    partial: str
    tags: int
    origin: str


def read_clone(repo: Path, processes: Processes, *, model: str = "") -> RegistryState:
    """The registry's tags of a clone or bare repository; of one model alone where it is named.

    Raises:
        ConfigError: the folder is no git repository.
    """
    patterns = [f"refs/tags/{model}[@#]*", f"refs/tags/{model}[@#]*/**"] if model else ["refs/tags"]
    done = processes.run(["git", "-C", repo, "for-each-ref", f"--format={_FORMAT}", *patterns], check=False)
    if done.returncode:
        raise _no_tags(repo, processes, done.stderr)
    events, nested = _events(done.stdout)
    if nested:
        _unwrap(repo, processes, events, nested)
    return RegistryState(events.values())


def _events(raw: bytes) -> tuple[dict[str, Event], list[str]]:
    """Events by tag name, and the names of tags of tags."""
    found: dict[str, Event] = {}
    nested: list[str] = []
    commits: dict[str, str] = {}
    at = 0
    while (end := raw.find(_END, at)) >= 0:
        text = raw[at:end].decode("utf-8", "replace")
        at = end + len(_END)
        message, name, kind, sha, inner, target, tagger, date = text.split("\0")
        tag = read(name)
        if tag is None:
            continue
        if kind != "tag":
            commit = sha if kind == "commit" else ""
            found[name] = Event(tag=tag, name=name, object=sha, annotated=False, commit=commit)
            continue
        if inner == "tag":
            nested.append(name)
        commit = commits.setdefault(target, target) if inner == "commit" else ""  # many tags, few commits
        found[name] = Event(
            tag=tag, name=name, object=sha, annotated=True, commit=commit, message=message, tagger=tagger, date=date
        )
    return found, nested


def _unwrap(repo: Path, processes: Processes, events: dict[str, Event], nested: Sequence[str]) -> None:
    """The commits of tags of tags."""
    asked = "".join(f"{events[name].object}^{{commit}}\n" for name in nested).encode()
    told = processes.run(["git", "-C", repo, "cat-file", "--batch-check"], input=asked).text.splitlines()
    for name, line in zip(nested, told, strict=True):
        words = line.split()
        if words[1:2] == ["commit"]:
            events[name] = replace(events[name], commit=words[0])


def _no_tags(repo: Path, processes: Processes, log: bytes) -> TracksideError:
    if processes.run(["git", "-C", repo, "rev-parse", "--git-dir"], check=False).returncode:
        return ConfigError(f"{repo.resolve()} is not a git repository", remedy="run this inside a clone of the project")
    return ToolError("git could not list the tags", log=log.decode("utf-8", "replace")[-4000:])


def standing(repo: Path, processes: Processes, *, tags: int) -> Standing:
    """How much of the repository a clone holds; `tags` is how many of the registry were found in it."""
    git = ["git", "-C", str(repo)]
    shallow = processes.run([*git, "rev-parse", "--is-shallow-repository"], check=False).text.strip() == "true"
    told = processes.run([*git, "config", "--get-regexp", r"^remote\.origin\.(url|fetch|tagopt)$"], check=False).text
    keys: dict[str, list[str]] = {}
    for line in told.splitlines():
        key, _, value = line.removeprefix("remote.origin.").partition(" ")
        keys.setdefault(key, []).append(value)
    return Standing(
        shallow=shallow,
        partial=_partial(keys.get("fetch", []), keys.get("tagopt", [""])[-1]),
        tags=tags,
        origin=keys.get("url", [""])[0],
    )


def _partial(fetches: Sequence[str], option: str) -> str:
    """Why a clone lacks tags that its origin has: git brings those of fetched branches alone, unless told otherwise."""
    sources = {one.lstrip("+").partition(":")[0] for one in fetches}
    if option == "--tags" or sources & {"refs/*", "refs/tags/*"}:
        return ""
    if option == "--no-tags":
        return "was made with --no-tags"
    return "" if "refs/heads/*" in sources else "fetches neither every branch nor every tag"


def require_whole(repo: Path, processes: Processes, state: RegistryState, *, model: str = "") -> Standing:
    """Make sure that a clone can answer for the registry (for `model`): no answer is better than a wrong one.

    The origin is asked only where no tag of the registry is here, or where the clone is one of some branches
    (`--single-branch`, which `--depth` implies) or made with `--no-tags`.

    Raises:
        DataError: the clone is shallow or lacks tags that its origin has (`registry_incomplete`).
    """
    here = {one.name for one in state.events}
    if model and not here:
        here = _names(processes.run(["git", "-C", repo, "for-each-ref", "--format=%(refname)", "refs/tags"]).text)
    found = standing(repo, processes, tags=len(here))
    if found.shallow:
        remedy = "git fetch --tags --unshallow origin"
        raise _incomplete("this clone is shallow: tags of the registry may be missing", remedy)
    if found.origin and (found.partial or not here):
        why = found.partial if here else "holds no tags of the registry"
        missing = sorted(name for name in _remote_tags(repo, processes, why) - here if _of(name, model))
        if missing:
            raise _incomplete(
                f"this clone lacks {len(missing)} tags of the registry, such as {missing[0]}", "git fetch --tags origin"
            )
    return found


def _of(name: str, model: str) -> bool:
    return not model or name.startswith((f"{model}@", f"{model}#"))


def _names(text: str) -> set[str]:
    """Tags of the registry among lines that end with a ref's name."""
    names = (line.rpartition("refs/tags/")[2] for line in text.splitlines())
    return {name for name in names if read(name) is not None}


def _remote_tags(repo: Path, processes: Processes, doubt: str) -> set[str]:
    argv: list[str | Path] = ["git", "-C", repo, "ls-remote", "--refs", "--tags", "origin"]
    env = {**processes.env, "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = processes.run(argv, env=env, timeout=REMOTE_SECONDS)
    except ToolError as error:
        raise _incomplete(
            f"this clone {doubt}, and its origin cannot be asked which tags there are",
            "git config remote.origin.tagOpt --tags && git fetch origin",
            why=error.log.strip() or error.message,
        ) from error
    return _names(done.text)


def _incomplete(message: str, remedy: str, *, why: str = "") -> DataError:
    return DataError(
        message,
        why=why,
        remedy=f"{remedy}\nor ask GitHub itself: --repository OWNER/NAME (with GITHUB_TOKEN set)",
        link=LINK,
        reason_code="registry_incomplete",
    )
