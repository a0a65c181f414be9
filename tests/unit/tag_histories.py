"""Made-up histories of registry tags, a repository that holds one after the other, and how GTO understands it."""

from __future__ import annotations

import hashlib
import random
import subprocess
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gto.base import BaseRegistryState
from gto.constants import VersionSort
from gto.registry import GitRegistry

from trackside.forge.model import TagObject, TagRef
from trackside.registry.state import RegistryState
from trackside.registry.tags import message

COMMITS = 8
START = 1_700_000_000
"""Unix time after which the made-up tags were made; commits are older."""


@dataclass(frozen=True)
class Made:
    """A tag to be: `commit` counts the repository's commits, `at` is in seconds after START; lightweight without."""

    name: str
    commit: int
    at: int = 0
    annotated: bool = True
    text: str = "made by hand\n"
    tagger: bool = True
    inside: bool = False
    """The tag is one of another tag, which points at the commit."""


@dataclass
class Story:
    """A history on its way: what was done so far, as somebody who uses GTO would do it."""

    model: str
    tags: list[Made]
    at: dict[str, int]
    live: dict[str, int]
    assigned: set[tuple[str, int]]
    counter: int = 0

    def names(self) -> set[str]:
        return {one.name for one in self.tags}


class World:
    """A bare repository whose tags are replaced as a whole; tag objects are written once and stay."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", folder], check=True)
        self.commits: list[str] = []
        tree = self._object(b"tree", b"")
        for number in range(COMMITS):
            who = b"n <n@example.org> %d +0000" % (START - 1000 + number)
            parents = b"parent %s\n" % self.commits[-1].encode() if self.commits else b""
            body = b"tree %s\n%sauthor %s\ncommitter %s\n\nc\n" % (tree.encode(), parents, who, who)
            self.commits.append(self._object(b"commit", body))
        self.hold(())

    def _object(self, kind: bytes, body: bytes) -> str:
        raw = b"%s %d\0%s" % (kind, len(body), body)
        sha = hashlib.sha1(raw).hexdigest()
        path = self.path / "objects" / sha[:2] / sha[2:]
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(zlib.compress(raw, 1))
        return sha

    def hold(self, tags: Iterable[Made]) -> None:
        """Have these tags and no others."""
        lines = [f"{self.commits[-1]} refs/heads/main\n"]
        lines += [f"{self.object_of(one)} refs/tags/{one.name}\n" for one in tags]
        (self.path / "packed-refs").write_text("".join(sorted(lines, key=lambda line: line[41:])))

    def object_of(self, one: Made) -> str:
        """What the ref of a tag holds."""
        if not one.annotated:
            return self.commits[one.commit]
        sha = self._tag(one, self.commits[one.commit], "commit")
        return self._tag(one, sha, "tag") if one.inside else sha

    def _tag(self, one: Made, target: str, kind: str) -> str:
        tagger = f"tagger n <n@example.org> {START + one.at} +0000\n" if one.tagger else ""
        head = f"object {target}\ntype {kind}\ntag {one.name}\n{tagger}\n"
        return self._object(b"tag", head.encode() + one.text.encode("utf-8", "surrogateescape"))

    def refs(self, tags: Sequence[Made]) -> tuple[list[TagRef], dict[str, TagObject]]:
        """The same tags as GitHub tells them."""
        refs = [TagRef(name=one.name, object=self.object_of(one), annotated=one.annotated) for one in tags]
        objects = {
            one.name: TagObject(sha=ref.object, name=one.name, commit=self.commits[one.commit], message=one.text)
            for one, ref in zip(tags, refs, strict=True)
            if one.annotated
        }
        return refs, objects


Answer = dict[str, tuple[tuple[str, ...], str, dict[str, str], bool]]
"""By model: registered versions, the highest, who holds each stage that somebody holds, whether it is in use.

A stage that a commit without a version holds names the commit."""


def of_gto(path: Path, *, whole: bool = True) -> Answer | str:
    """What GTO says of a repository, as `gto show` computes it; the kind of error where it says nothing.

    Not `whole`: without the step that looks for `artifacts.yaml` in each commit, which takes most of the time.
    """
    try:
        with GitRegistry.from_url(str(path)) as registry:
            state = BaseRegistryState()
            for manager in (registry.artifact_manager, registry.version_manager, registry.stage_manager):
                state = manager.update_state(state)
            if whole:
                state = registry.get_state()
            found: Answer = {}
            for name, one in state.get_artifacts().items():
                latest = one.get_latest_version(registered_only=True)
                stages = one.get_vstages(sort=VersionSort.Timestamp)
                found[name.replace(":", "=")] = (
                    tuple(row.version for row in one.get_versions(ascending=True)),
                    latest.version if latest else "",
                    {stage: rows[0].version for stage, rows in stages.items()},
                    one.is_active,
                )
            return found
    except Exception as error:  # of whatever kind: it answers for no model then
        return type(error).__name__


def of_us(state: RegistryState) -> Answer:
    """The same questions, asked of Trackside."""
    found: Answer = {}
    for model in state.models():
        versions = tuple(f"v{one}" for one in state.versions(model))
        holders = {}
        for stage in state.stages(model):
            event = state.holder_event(model, stage)
            if event is not None:
                version = state.version_of(event)
                holders[stage] = event.commit if version is None else f"v{version}"
        found[model] = (versions, versions[-1] if versions else "", holders, state.deprecated(model) is None)
    return found


def history(seed: int) -> list[Made]:
    """A history as GTO's own commands leave it: a clock that runs, one version at a commit, numbers where it writes
    them. Names, versions, stages and the order of commands are anybody's.
    """
    dice = random.Random(seed)
    names = dice.sample(["delay", "models=delay", "nlp/large-1", "a", "x_1", "deep/er.dir=m-2"], dice.randint(1, 2))
    stories = [Story(name, [], {}, {}, set()) for name in names]
    clock = 0
    for _ in range(dice.randint(2, 16)):
        clock += dice.randint(1, 5000)
        step(dice.choice(stories), dice, clock)
    return [one for story in stories for one in story.tags]


def step(story: Story, dice: random.Random, clock: int) -> None:
    """One command; one that GTO would refuse is not run."""
    free = [one for one in range(COMMITS) if one not in story.at.values()]
    gone = [one for one in story.at if one not in story.live]
    what = dice.choices(("register", "assign", "unassign", "deregister", "again", "ahead", "deprecate"), WEIGHTS)[0]
    stage = dice.choice(("prod", "staging", "eu/west", "dev-2"))
    name, commit = "", 0
    if what == "register" and free:
        version = next(text for _ in range(99) if (text := _version(dice)) not in story.at)
        commit = dice.choice(free)
        story.at[version] = story.live[version] = commit
        name = f"{story.model}@{version}"
    elif what == "assign" and story.live:
        commit = dice.choice(list(story.live.values()))
        name = f"{story.model}#{stage}#{_next(story)}"
        story.assigned.add((stage, commit))
    elif what == "unassign" and story.assigned:
        stage, commit = dice.choice(sorted(story.assigned))
        name = f"{story.model}#{stage}!#{_next(story)}"
    elif what == "deregister" and story.live:
        version = dice.choice(list(story.live))
        commit = story.live.pop(version)
        numbered = f"{story.model}@{version}!" in story.names() or dice.random() < 0.3
        name = f"{story.model}@{version}!" + (f"#{_next(story)}" if numbered else "")
        if not numbered and any(one.name.startswith(f"{story.model}@{version}!#") for one in story.tags):
            name += f"#{_next(story)}"
    elif what == "again" and gone:
        version = dice.choice(gone)
        commit = story.live[version] = story.at[version]
        name = f"{story.model}@{version}#{_next(story)}"
    elif what == "ahead" and free:  # `gto assign --skip-registration`
        commit = dice.choice(free)
        name = f"{story.model}#{stage}#{_next(story)}"
        story.assigned.add((stage, commit))
    elif what == "deprecate" and story.tags:
        commit = story.tags[-1].commit
        name = f"{story.model}@deprecated#{_next(story)}"
    if name:
        text = message("what was done", {"Reason": "because"} if dice.random() < 0.5 else {})
        story.tags.append(Made(name, commit, clock, text=text))


WEIGHTS = (6, 8, 3, 2, 2, 1, 1)


def _next(story: Story) -> int:
    story.counter += 1
    return story.counter


def _version(dice: random.Random) -> str:
    ends = dice.choices(("", "-rc.1", "-alpha", "-alpha.10", "-0.x", "+gpu", "-rc.2+b-7.001"), (8, 1, 1, 1, 1, 1, 1))[0]
    return f"v{dice.randint(0, 3)}.{dice.randint(0, 12)}.{dice.randint(0, 3)}{ends}"
