"""Differential test against GTO 1.10.1: the same state wherever it is right; the rest is in test_registry_gto_wrong.

The two ways in which an ordinary history, made by its own commands, is not read alike are told apart here.
"""

from __future__ import annotations

import os
import random
from collections import Counter

import pytest
from tag_histories import Answer, Made, World, history, of_gto, of_us

from trackside.registry import tags
from trackside.registry.clone import read_clone
from trackside.registry.state import RegistryState, fold
from trackside.registry.tags import Tag
from trackside.registry.versions import parse
from trackside.system.process import Processes

HISTORIES = 1000
WHOLE = 20
"""Of so many histories one is read by GTO with all its steps; of the others with those that read tags."""
PROCESSES = Processes(dict(os.environ))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("gto") / "r.git")


def told(made: list[Made]) -> list[tuple[Made, Tag]]:
    return [(one, tag) for one in made if (tag := tags.read(one.name)) is not None]


def never_unassigned(made: list[Made]) -> set[str]:
    """Stage tags by which a commit without a version was given a stage that was taken from it again."""
    versioned = {(tag.model, one.commit) for one, tag in told(made) if tag.version is not None}
    given: dict[tuple[str, str, int], list[str]] = {}
    gone: set[str] = set()
    for one, tag in told(made):
        if tag.stage and (tag.model, one.commit) not in versioned:
            names = given.setdefault((tag.model, tag.stage, one.commit), [])
            names.append(one.name)
            if tag.action == "unassign":
                gone.update(names)
    return gone


def revived_without_number(made: list[Made]) -> set[str]:
    """Models that were deprecated with a number, and then used by tags without a number alone."""
    open_for: dict[str, bool] = {}
    for _, tag in told(made):
        if tag.action == "deprecate":
            open_for[tag.model] = False
        elif tag.model in open_for and tag.counter is not None:
            del open_for[tag.model]
        elif tag.model in open_for:
            open_for[tag.model] = True
    return {model for model, used in open_for.items() if used}


def rank(text: str) -> object:
    """Of a version, without its build metadata, which semver does not rank."""
    version = parse(text)
    return version and version.key()[:-1]


def alike(ours: Answer, theirs: Answer) -> bool:
    """The same answers; of versions that semver ranks alike any may be the highest."""
    if {model: rank(row[1]) for model, row in ours.items()} != {model: rank(row[1]) for model, row in theirs.items()}:
        return False
    return {model: (set(row[0]), *row[2:]) for model, row in ours.items()} == {
        model: (set(row[0]), *row[2:]) for model, row in theirs.items()
    }


def in_any_order(world: World, made: list[Made], state: RegistryState, seed: int) -> None:
    """The fold of the same tags as GitHub tells them, shuffled, says what the clone says."""
    refs, objects = world.refs(made)
    random.Random(seed).shuffle(refs)
    other = fold(refs, objects)
    assert [one.name for one in other.events] == [one.name for one in state.events]
    assert of_us(other) == of_us(state)
    assert [(one.tag, one.commit, one.trailers) for one in other.events] == [
        (one.tag, one.commit, one.trailers) for one in state.events
    ]


def test_the_same_state_where_gto_is_right(world: World) -> None:
    cases: Counter[str] = Counter()
    sizes = wrong = 0
    for seed in range(HISTORIES):
        made = history(seed)
        sizes += len(made)
        world.hold(made)
        state = read_clone(world.path, PROCESSES)
        in_any_order(world, made, state, seed)
        ours, theirs = of_us(state), of_gto(world.path, whole=seed % WHOLE == 0)
        assert not isinstance(theirs, str), (seed, theirs)
        revived, dead = revived_without_number(made), never_unassigned(made)
        doubted = {one.model for one in state.problems() if one.code == "counter_missing"}
        assert doubted == revived, (seed, doubted, revived)  # never silently
        ours = {model: (*row[:3], row[3] or model in revived) for model, row in ours.items()}
        if dead:
            wrong += not alike(ours, theirs)
            world.hold(one for one in made if one.name not in dead)
            repaired = of_gto(world.path, whole=False)
            assert not isinstance(repaired, str)
            stages = {model: row[2] for model, row in repaired.items()}
            assert {model: row[2] for model, row in ours.items()} == {model: stages.get(model, {}) for model in ours}
            cases["a commit without a version is never unassigned"] += 1
            continue
        assert alike(ours, theirs), (seed, [(one.name, one.commit) for one in made], ours, theirs)
        cases["in use again by a tag without a number" if revived else "alike"] += 1
    print(f"{HISTORIES} histories, {sizes} tags, {HISTORIES // WHOLE} with all steps of GTO: {dict(cases)}")
    assert cases["alike"] >= 500
    assert wrong >= 50, wrong
    assert sum(cases.values()) == HISTORIES
