"""Where GTO 1.10.1 is wrong, or sees only by a clock: each class of docs/registry.md, asserted for both.

Most are an ordinary history that was spoiled in one way. What is right is what GTO says of it unspoiled.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from gto import api
from gto.exceptions import ManyVersions
from gto.versions import SemVer
from tag_histories import COMMITS, Made, World, history, of_gto, of_us

from trackside.errors import DataError
from trackside.registry import tags
from trackside.registry.clone import read_clone, require_whole
from trackside.registry.state import RegistryState
from trackside.registry.tags import message, stage_tag, version_tag
from trackside.registry.versions import Version
from trackside.system.process import Processes

HISTORIES = 25
"""Of each class."""
PROCESSES = Processes(dict(os.environ))
PAGE = Path(__file__).resolve().parents[2] / "docs/registry.md"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("gto") / "r.git")


Spoil = Callable[[list[Made], random.Random], list[Made]]


def lightweight(made: list[Made], dice: random.Random) -> list[Made]:
    return [replace(one, annotated=dice.random() < 0.5) for one in made]


def skewed(made: list[Made], dice: random.Random) -> list[Made]:
    return [replace(one, at=one.at + dice.choice((0, -100_000, 100_000))) for one in made]


def same_second(made: list[Made], dice: random.Random) -> list[Made]:
    del dice
    return [replace(one, at=0) for one in made]


def elsewhere(made: list[Made], dice: random.Random) -> list[Made]:
    """Deregistrations that point at another commit than their version's."""
    return [replace(one, commit=(one.commit + 1) % COMMITS) if _is(one, "deregister") else one for one in made]


def one_commit(made: list[Made], dice: random.Random) -> list[Made]:
    """Two versions of a model at one commit; stage tags name their version, as ours do."""
    said = [(one, tag) for one in made if (tag := tags.read(one.name)) is not None]
    versions = {(tag.model, one.commit): str(tag.version) for one, tag in said if tag.version is not None}
    named = []
    for one in made:
        of = versions.get((_model(one), one.commit), "")
        stage = _is(one, "assign") or _is(one, "unassign")
        named.append(
            replace(one, commit=0, text=message("t", {"Version": of})) if stage and of else replace(one, commit=0)
        )
    return named


def created(made: list[Made], dice: random.Random) -> list[Made]:
    return [*made, Made("other@created", 0, 9)]


def without_tagger(made: list[Made], dice: random.Random) -> list[Made]:
    return [replace(one, tagger=False) for one in made]


def other_bytes(made: list[Made], dice: random.Random) -> list[Made]:
    """A message in Latin-1."""
    return [replace(one, text=one.text.replace("made", "m\udce4de").replace("what", "w\udce4s")) for one in made]


def inside(made: list[Made], dice: random.Random) -> list[Made]:
    """Tags of tags."""
    return [replace(one, inside=dice.random() < 0.5) for one in made]


def _model(one: Made) -> str:
    found = tags.read(one.name)
    return found.model if found else ""


def _is(one: Made, action: str) -> bool:
    found = tags.read(one.name)
    return found is not None and found.action == action


def plain(seed: int) -> list[Made]:
    """A history that both read alike: all commits that have a stage have a version, nothing is in use again."""
    made = [one for one in history(seed) if not _is(one, "deprecate") and "+" not in one.name]
    versioned = {(_model(one), one.commit) for one in made if _is(one, "register")}
    return [one for one in made if "#" not in one.name.partition("@")[0] or (_model(one), one.commit) in versioned]


CLASSES: dict[str, tuple[Spoil, str]] = {
    "lightweight": (lightweight, ""),
    "clock": (skewed, ""),
    "second": (same_second, ""),
    "deregistered-elsewhere": (elsewhere, "ManyVersions"),
    "two-versions": (one_commit, "ManyVersions"),
    "created": (created, "KeyError"),
    "no-tagger": (without_tagger, "AttributeError"),
    "encoding": (other_bytes, "UnicodeDecodeError"),
    "tag-of-a-tag": (inside, ""),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_what_spoils_gto_does_not_spoil_us(world: World, kind: str) -> None:
    spoil, error = CLASSES[kind]
    cases = wrong = 0
    kinds: set[str] = set()
    seed = 0
    while cases < HISTORIES:
        seed += 1
        made = plain(seed)
        if len(made) < 5:
            continue
        world.hold(made)
        right = of_gto(world.path, whole=False)
        assert not isinstance(right, str)
        world.hold(spoil(made, random.Random(seed)))
        ours, theirs = of_us(read_clone(world.path, PROCESSES)), of_gto(world.path)
        assert ours == right, (seed, ours, right)
        cases += 1
        wrong += theirs != right
        kinds |= {theirs} if isinstance(theirs, str) else set()
    print(f"{kind}: {cases} histories, GTO wrong in {wrong}, errors {sorted(kinds)}")
    assert wrong >= 3
    assert kinds == ({error} if error else set()), kinds
    assert f'<a id="{kind}"></a>' in PAGE.read_text()


def doubts(state: RegistryState) -> set[tuple[str, str, bool]]:
    return {(one.code, one.tag, one.ambiguous) for one in state.problems()}


def listed(kind: str) -> None:
    assert f'<a id="{kind}"></a>' in PAGE.read_text()


def state_of(world: World, made: list[Made]) -> RegistryState:
    world.hold(made)
    return read_clone(world.path, PROCESSES)


def test_a_deprecation_without_a_number(world: World) -> None:
    """GTO writes it so; whether the model was used again only clocks tell."""
    made = [Made("a@v1.0.0", 1, 10), Made("a@deprecated", 1, 20)]
    state = state_of(world, made)
    assert of_us(state) == of_gto(world.path)
    assert of_us(state)["a"][3] is False
    assert not doubts(state)
    made.append(Made("a@v2.0.0", 2, 30))
    state = state_of(world, made)
    theirs = of_gto(world.path)
    assert isinstance(theirs, dict)
    assert theirs["a"][3] is True
    assert of_us(state)["a"][3] is False
    assert doubts(state) == {("counter_missing", "a@deprecated", False)}
    made += [Made("a@deprecated#1", 1, 40), Made("a#prod#2", 2, 50)]  # what the remedy says, then a promotion
    state = state_of(world, made)
    assert of_us(state) == of_gto(world.path)
    assert of_us(state)["a"][3] is True
    assert not doubts(state)
    listed("deprecated")


def test_a_stage_without_a_number_among_others_with_one(world: World) -> None:
    made = [Made("a@v1.0.0", 1, 1), Made("a@v2.0.0", 2, 2), Made("a#prod#1", 2, 3), Made("a#prod", 1, 4)]
    state = state_of(world, made)
    theirs = of_gto(world.path)
    assert isinstance(theirs, dict)
    assert theirs["a"][2] == {"prod": "v1.0.0"}
    assert of_us(state)["a"][2] == {"prod": "v2.0.0"}
    assert doubts(state) == {("counter_missing", "a#prod", False)}
    state = state_of(world, [*made, Made("a#prod#2", 1, 5)])
    assert of_us(state) == of_gto(world.path)
    assert not doubts(state)
    listed("simple")


def test_two_events_of_one_number(world: World) -> None:
    """GTO takes the younger clock; of one second the assignment is lost. Here nobody is told a holder."""
    made = [Made("a@v1.0.0", 1, 1), Made("a#prod#3", 1, 9), Made("a#prod!#3", 1, 5)]
    state = state_of(world, made)
    theirs = of_gto(world.path)
    assert isinstance(theirs, dict)
    assert theirs["a"][2] == {"prod": "v1.0.0"}
    assert doubts(state) == {("counter_twice", "a#prod!#3", True)}
    problem = state.ambiguous("a", "prod")
    assert problem is not None
    assert "a#prod!#4" in problem.remedy
    state = state_of(world, [*made, Made("a#prod#4", 1, 10)])
    assert of_us(state) == of_gto(world.path)
    assert not doubts(state)
    # No doubt where both say the same, or where the stage is another.
    for others in ([Made("a#prod#03", 1, 5)], [Made("a#dev#3", 1, 5)], [Made("a@v1.0.0!#3", 1), Made("a@v1.0.0#4", 1)]):
        assert not doubts(state_of(world, [*made[:2], *others])), others
    listed("number-twice")


def test_a_version_that_moved(world: World) -> None:
    """GTO shows it twice, and fails when asked for it."""
    made = [Made("a@v1.0.0", 1, 1), Made("a@v1.0.0#2", 2, 3), Made("a#prod#3", 2, 4)]
    state = state_of(world, made)
    theirs = of_gto(world.path)
    assert isinstance(theirs, dict)
    assert theirs["a"][0] == ("v1.0.0", "v1.0.0")
    with pytest.raises(ManyVersions):
        api.assign(str(world.path), "a", "dev", version="v1.0.0")
    assert of_us(state) == {"a": (("v1.0.0",), "v1.0.0", {"prod": "v1.0.0"}, True)}
    assert doubts(state) == {("version_moved", "a@v1.0.0#2", False)}
    found = state.version_event("a", Version(1, 0, 0))
    assert found is not None
    assert found.commit == world.commits[2]
    listed("moved")


def test_its_function_for_a_stage_answers_by_height(world: World) -> None:
    """`gto show` gives the stage to what was assigned last, `api.find_versions_in_stage` to the highest version."""
    made = [Made("a@v2.0.0", 2, 1), Made("a@v1.0.0", 1, 2), Made("a#prod#1", 2, 3), Made("a#prod#2", 1, 4)]
    state = state_of(world, made)
    assert of_us(state) == of_gto(world.path)
    assert of_us(state)["a"][2] == {"prod": "v1.0.0"}
    (found,) = api.find_versions_in_stage(str(world.path), "a", "prod")
    assert found.version == "v2.0.0"
    listed("api")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a version, as an origin."""
    folder = tmp_path / "origin"
    git("init", "-q", "-b", "main", folder)
    for number in (1, 2):
        git("-C", folder, "commit", "-q", "--allow-empty", "-m", f"c{number}")
    git("-C", folder, "tag", "-a", "-m", "r", "delay@v1.0.0", "HEAD~1")
    return folder


def git(*words: str | Path) -> None:
    who = {f"GIT_{role}_{what}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *words], check=True, env={**os.environ, **who}, capture_output=True)


def test_a_clone_that_lacks_tags(project: Path, tmp_path: Path) -> None:
    """GTO registers v0.0.1 there although there is v1.0.0; here it is no answer but an error with the way out."""
    cases = 0
    for name, words in {"shallow": ["--depth=1"], "tagless": ["--no-tags"], "both": ["--depth=1", "--no-tags"]}.items():
        clone = tmp_path / name
        git("clone", "-q", *words, project.as_uri(), clone)
        assert api.show(str(clone)) == {}
        state = read_clone(clone, PROCESSES)
        with pytest.raises(DataError) as error:
            require_whole(clone, PROCESSES, state)
        assert error.value.reason_code == "registry_incomplete"
        assert error.value.exit_code == 7
        command = error.value.remedy.splitlines()[0]
        git("-C", clone, *command.split()[1:])
        require_whole(clone, PROCESSES, read_clone(clone, PROCESSES))
        assert [str(one) for one in read_clone(clone, PROCESSES).versions("delay")] == ["1.0.0"]
        cases += 1
    clone = tmp_path / "registers"
    git("clone", "-q", "--no-tags", project.as_uri(), clone)
    assert api.register(str(clone), "delay", "HEAD", author="a", author_email="a@example.org").version == "v0.0.1"
    print(f"{cases} clones")
    listed("clone")


def test_tags_that_we_write_are_read_by_gto(world: World) -> None:
    """Names and messages as `registry` makes them, in random histories of promotions and rollbacks."""
    cases = 0
    for seed in range(100):
        dice = random.Random(seed)
        versions = [Version(1, number, 0) for number in range(dice.randint(1, COMMITS))]
        made = [
            Made(version_tag("delay", one), at, at, text=message(f"Version {one}", {"Run-Id": "3f2", "Actor": "ada"}))
            for at, one in enumerate(versions)
        ]
        for number in range(1, dice.randint(2, 12)):
            version, stage = dice.choice(versions), dice.choice(("staging", "prod"))
            said = message(f"Give {stage} to v{version}", {"Version": str(version), "Actor": "ada", "Reason": "it's Δ"})
            undo = dice.random() < 0.2
            name = stage_tag("delay", stage, number, unassign=undo)
            made.append(Made(name, versions.index(version), 100 + number, text=said))
        if dice.random() < 0.3:
            made.append(Made("delay@v1.0.0!#77", 0, 200, text=message("Out of use", {"Reason": "wrong data"})))
        if dice.random() < 0.2:
            made.append(Made("delay@deprecated#78", 0, 201, text=message("Out of use", {"Actor": "ada"})))
        state = state_of(world, made)
        assert of_us(state) == of_gto(world.path, whole=seed % 10 == 0), seed
        assert {one.code for one in state.problems()} <= {"stage_of_deregistered"}
        assert all(SemVer.is_valid(f"v{one}") for one in versions)
        cases += len(made)
    print(f"{cases} tags of 100 histories")
    assert cases > 500
