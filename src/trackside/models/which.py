"""Which version a name means: `delay@v1.2.0`, `delay@latest`, `delay@greatest`, `delay#prod`."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from trackside.errors import ConfigError, DataError, NotFound
from trackside.registry.binding import bond
from trackside.registry.state import Event, Problem, RegistryState
from trackside.registry.story import counter
from trackside.registry.tags import read, version_tag
from trackside.registry.versions import Version

if TYPE_CHECKING:
    from trackside.documents.release import Release
    from trackside.models.source import Source

LINK = "models.md"
LONGEST = 300
NONE_YET = "merge a trained pull request, or run the workflow release.yml"
Query = Literal["version", "stage", "latest", "greatest", "model"]
_MODEL = re.compile(r"(?:[^=#@!\s]+=)?[A-Za-z0-9](?:[A-Za-z0-9/_-]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A name, understood: `query` `model` names none of its versions."""

    model: str
    query: Query
    version: Version | None = None
    stage: str = ""

    def __str__(self) -> str:
        if self.query == "version":
            return version_tag(self.model, self.version or "")
        return self.model + {"stage": f"#{self.stage}", "model": ""}.get(self.query, f"@{self.query}")


def parse_spec(text: str, *, model_alone: bool = False) -> Spec:
    """A name. `DIR:NAME`, as GTO prints the artifacts of a folder, is the same as `DIR=NAME`.

    Raises:
        ConfigError: it names nothing; with `model_alone` a model's name is one.
    """
    name = text.strip() if len(text) <= LONGEST else ""
    folder, colon, rest = name.partition(":")
    if colon and "=" not in name and "#" not in folder and "@" not in folder:
        name = f"{folder}={rest}"
    model, at, word = name.partition("@")
    if at and word in ("latest", "greatest") and _MODEL.fullmatch(model):
        return Spec(model=model, query="latest" if word == "latest" else "greatest")
    if at and word[:1].isdigit():
        name = f"{model}@v{word}"
    if model_alone and _MODEL.fullmatch(name):
        return Spec(model=name, query="model")
    tag = read(name)
    if tag is not None and tag.counter is None and tag.action in ("register", "assign"):
        if tag.version is not None:
            return Spec(model=tag.model, query="version", version=tag.version)
        return Spec(model=tag.model, query="stage", stage=tag.stage)
    raise ConfigError(
        f"{text[:100]!r} names no version",
        why="a name without a version or stage means many" if _MODEL.fullmatch(name) else "",
        remedy=f"{name}@latest, or {name}#prod"
        if _MODEL.fullmatch(name)
        else "MODEL@v1.2.3, MODEL@latest, MODEL@greatest or MODEL#STAGE",
        link=LINK,
        reason_code="spec_invalid",
    )


@dataclass(frozen=True, kw_only=True)
class Found:
    """The version that a name means.

    Args:
        event: the tag that registered it; its `commit` is what was released.
        stage: the tag that gave the stage to it, where a stage was asked for.
        retired: the tag that took the version, or the whole model, out of use.
        problems: what is wrong with these tags without leaving the answer open.
    """

    spec: Spec
    version: Version
    event: Event
    stage: Event | None = None
    retired: Event | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def model(self) -> str:
        return self.spec.model

    @property
    def commit(self) -> str:
        return self.event.commit

    @property
    def tag(self) -> str:
        """The version's name, whatever counter its tag has: `delay@v1.2.0`."""
        return version_tag(self.model, self.version)


def find(source: Source, spec: Spec) -> Found:
    """The version that a name means, from the registry's tags.

    Raises:
        NotFound: there is no such model or version (`version_unknown`), or nothing is in the stage (`stage_empty`).
        DataError: the tags leave the answer open (`registry_ambiguous`), or the registry is not all here.
    """
    state = source.state(spec.model)
    found = resolve(state if state.events_of(spec.model) else source.state(), spec)
    if spec.query in ("latest", "greatest"):
        open_ones = [
            one
            for one in unexplained(state, spec.model, source.recorded(spec.model).get(spec.model, frozenset()))
            if one.version is not None and one.version >= found.version
        ]
        if open_ones:
            raise _ambiguous(open_ones[-1])
    return found


def unexplained(state: RegistryState, model: str, known: Set[Version]) -> tuple[Problem, ...]:
    """Where tags and records of a model do not name the same versions, lowest first: which is the newest is open then.

    `known` are the versions with a record. A model without any is another tool's, and its tags are all there is.
    """
    gone = known - state.taken(model)
    strays = set(state.versions(model)) - known if known else set()
    made = []
    for version in sorted(gone | strays):
        name = version_tag(model, version)
        said = f"{name} is on record, and its tag is gone" if version in gone else f"the tag {name} has no record"
        code = "tag_missing" if version in gone else "tag_unknown"
        remedy = "git fetch --tags origin; if it is so there too: trackside models doctor"
        made.append(Problem(code=code, tag=name, message=said, remedy=remedy, model=model, version=version))
    return tuple(made)


def resolve(state: RegistryState, spec: Spec) -> Found:
    """`find` on tags that were read."""
    if not state.events_of(spec.model):
        raise unknown_model(state, spec.model)
    holds = _holder(state, spec) if spec.query == "stage" else None
    version = state.version_of(holds) if holds is not None else _asked(state, spec)
    event = state.version_event(spec.model, version) if version is not None else None
    if version is None or event is None:
        raise _no_version(state, spec)
    about = [
        one for one in state.problems(spec.model) if one.version == version or (spec.stage and one.stage == spec.stage)
    ]
    doubt = _contested(state, spec.model, version)
    if doubt is not None:
        raise _ambiguous(doubt)
    retired = state.deregistered(spec.model).get(version) or state.deprecated(spec.model)
    return Found(spec=spec, version=version, event=event, stage=holds, retired=retired, problems=tuple(about))


def confirm(found: Found, release: Release | None) -> None:
    """That the tag is the one that was made when the version was registered, and the record the one that it names.

    Raises:
        DataError: the tag was moved since (`tag_moved`), or the record is another (`record_differs`).
    """
    if release is None:
        return
    event, seen = found.event, bond(found.event, release)
    if seen.state == "differs":
        raise DataError(
            f"the record of {found.tag} is not the one that its tag names",
            why=seen.why,
            remedy="trackside models doctor",
            link=LINK,
            reason_code="record_differs",
        )
    if seen.state == "moved":
        raise DataError(
            f"the tag {event.name} is not the one that the release was made with",
            why=seen.why,
            remedy=f"git fetch --force origin 'refs/tags/{event.name}:refs/tags/{event.name}'; if it is so there too: "
            "trackside models doctor",
            link=LINK,
            reason_code="tag_moved",
        )


def undecided(state: RegistryState, model: str, stage: str) -> Problem | None:
    """Why nobody is told which version is in a stage, or that none is; None where the tags are clear."""
    problem, holds = state.ambiguous(model, stage), state.holder_event(model, stage)
    if problem is not None or holds is None:
        return problem
    version = state.version_of(holds)
    about = [one for one in state.problems(model) if one.tag == holds.name and one.code.startswith("stage_")]
    if version is not None:
        differs = (one for one in about if one.code == "stage_commit_differs")
        return _contested(state, model, version) or next(differs, None)
    said = f"{holds.name} names no version"
    remedy = "promote a version that is registered"
    unknown = Problem(code="stage_without_version", tag=holds.name, message=said, remedy=remedy, model=model)
    return about[0] if about else unknown


def _contested(state: RegistryState, model: str, version: Version) -> Problem | None:
    """Why nobody can tell what a version is."""
    about = (one for one in state.problems(model) if one.version == version)
    return next((one for one in about if one.ambiguous or one.code == "version_moved"), None)


def _holder(state: RegistryState, spec: Spec) -> Event:
    problem = undecided(state, spec.model, spec.stage)
    if problem is not None:
        raise _ambiguous(problem)
    holds = state.holder_event(spec.model, spec.stage)
    if holds is None:
        known = state.stages(spec.model)
        raise NotFound(
            f"no version of {spec.model} is in {spec.stage}",
            why="" if spec.stage in known else "no version ever was",
            remedy=f"stages: {', '.join(known) or 'none yet'}",
            link=LINK,
            reason_code="stage_empty",
        )
    return holds


def latest(state: RegistryState, model: str) -> Version | None:
    """The version that was registered last: by its tag's counter, and by the version where tags have none."""

    def order(version: Version) -> tuple[int, Version]:
        event = state.version_event(model, version)
        return (-1 if event is None else counter(event)), version

    return max(state.versions(model), key=order, default=None)


def _asked(state: RegistryState, spec: Spec) -> Version | None:
    if spec.query == "version":
        return spec.version
    unsure = next((one for one in state.problems(spec.model) if one.ambiguous and not one.stage), None)
    if unsure is not None:  # the version that it is about may be the one
        raise _ambiguous(unsure)
    return latest(state, spec.model) if spec.query == "latest" else max(state.versions(spec.model), default=None)


def _no_version(state: RegistryState, spec: Spec) -> NotFound:
    known = state.versions(spec.model)
    return NotFound(
        f"{spec.model} has no version {spec.version}" if spec.version else f"{spec.model} has no version",
        remedy="versions: " + (", ".join(f"v{one}" for one in known[-10:]) or "none"),
        link=LINK,
        reason_code="version_unknown",
    )


def _ambiguous(problem: Problem) -> DataError:
    return DataError(problem.message, remedy=problem.remedy, link=LINK, reason_code="registry_ambiguous")


def unknown_model(state: RegistryState, model: str) -> NotFound:
    """The error for a model that no tag names; `state` is of all models."""
    from difflib import get_close_matches

    near = get_close_matches(model, state.models(), 3, 0.6) or list(state.models()[:10])
    return NotFound(
        f"the registry has no model {model!r}",
        remedy=f"models: {', '.join(near)}"
        if near
        else "merge a trained pull request, or run the workflow release.yml",
        link=LINK,
        reason_code="version_unknown",
    )
