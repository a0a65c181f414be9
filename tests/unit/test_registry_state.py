"""The fold of tags: the same for every order of refs, as a plain replay says it, and its doubts with their way out."""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from gto.tag import parse_name
from hypothesis import given, settings
from hypothesis import strategies as st
from tag_histories import Made

from trackside.errors import ConfigError, DataError
from trackside.forge.model import TagObject, TagRef
from trackside.registry import tags
from trackside.registry.clone import read_clone, require_whole
from trackside.registry.state import RegistryState, fold
from trackside.registry.tags import message
from trackside.registry.versions import Version, parse
from trackside.system.process import Processes

PROCESSES = Processes(dict(os.environ))
DATE = "2025-01-01T00:00:{:02}Z"
COMMITS = st.integers(0, 3)
SAID = st.sampled_from(("", "1.0.0", "1.1.0", "9.9.9"))
NAMES = st.builds(
    "{}{}{}".format,
    st.sampled_from(("m", "m", "m", "d=m")),
    st.sampled_from(("@v1.0.0", "@v1.1.0", "@v1.1.0!", "@v1.0.0!", "#prod", "#prod!", "#dev", "#dev!", "@deprecated")),
    st.sampled_from(("", "", "#1", "#2", "#3", "#4", "#04", "#11")),
)
MADE = st.builds(
    lambda name, commit, at, annotated, said: Made(name, commit, at, annotated, message("t", {"Version": said})),
    NAMES,
    COMMITS,
    st.integers(0, 10**6),
    st.booleans(),
    SAID,
)
HEAPS = st.lists(MADE, min_size=2, max_size=14, unique_by=lambda one: one.name)


def told(heap: list[Made]) -> tuple[list[TagRef], dict[str, TagObject]]:
    refs = [TagRef(name=one.name, object=f"{one.commit}", annotated=one.annotated) for one in heap]
    objects = {
        one.name: TagObject(
            sha="s", name=one.name, commit=f"{one.commit}", message=one.text, date=f"2026-11-21T{at:06}"
        )
        for at, one in enumerate(heap)
        if one.annotated
    }
    return refs, objects


def answers(state: RegistryState) -> object:
    """Everything that a state can be asked."""
    made: list[object] = [state.models(), [one.name for one in state.events], state.problems()]
    for model in (*state.models(), "unknown"):
        made += [state.versions(model), sorted(state.taken(model)), state.next_counter(model)]
        made += [state.deprecated(model), state.deregistered(model)]
        made += [state.version_event(model, one) for one in sorted(state.taken(model))]
        for stage in state.stages(model):
            made += [state.history(model, stage), state.holder_event(model, stage), state.ambiguous(model, stage)]
            made += [state.holder(model, stage), state.previous_holder(model, stage)]
        made += [state.stages_of(model, one) for one in state.versions(model)]
    return made


seen: Counter[str] = Counter()


@settings(max_examples=500, deadline=None, derandomize=True)
@given(HEAPS, st.randoms(use_true_random=False))
def heaps(heap: list[Made], dice: random.Random) -> None:
    refs, objects = told(heap)
    state = fold(refs, objects)
    first = answers(state)
    for _ in range(2):
        dice.shuffle(refs)
        again = fold(refs, dict(dice.sample(sorted(objects.items()), len(objects))))
        assert answers(again) == first
    for model in state.models():
        for stage in state.stages(model):
            assert state.holder_event(model, stage) == replayed(state, model, stage)
            seen["stages"] += 1
    seen["heaps"] += 1
    seen.update(one.code for one in state.problems())


def replayed(state: RegistryState, model: str, stage: str) -> object:
    """Who holds a stage by going through its events from the oldest on."""
    standing: list[tuple[object, object, object]] = []  # what is assigned, at which commit, by which event
    for event in reversed(state.history(model, stage)):
        story = state._of(model)
        version = story.version_of(event)
        key = version or event.commit or event.name
        if event.tag.action == "assign":
            standing = [row for row in standing if row[0] != key]
            standing.append((key, event.commit, event))
        else:
            both = event.commit and not event.trailers.get("Version")
            standing = [row for row in standing if row[0] != key and not (both and row[1] == event.commit)]
    live = state.versions(model)
    kept = [row for row in standing if not isinstance(row[0], Version) or row[0] in live]
    return kept[-1][2] if kept else None


def test_the_fold_does_not_depend_on_the_order_of_refs() -> None:
    seen.clear()
    heaps()
    print(dict(seen))
    assert seen["heaps"] >= 500
    assert seen["stages"] >= 500
    assert {"lightweight", "counter_twice", "counter_missing", "stage_without_version"} <= set(seen)
    assert {"stage_of_unregistered", "stage_of_deregistered", "stage_commit_differs", "version_moved"} <= set(seen)


PIECES = (
    *("a", "B", "7", "-", "_", "/", ".", "=", "@", "#", "!", "v", "@v", "@v1.2.3", "#prod", "#4", "0", "01", "10"),
    *("1.2.3", "-rc.1", "-0", "-01", "+b", "+", "..", "@deprecated", "@latest", " ", "é", "٣", "\n", "model", "d/e.f="),
)
PARTS = (("", "/n", "_1", "-"), ("@v1.2.3", "@v0.0.1-rc.1+b", "#prod", "@deprecated"), ("", "!"), ("", "#4", "#04"))


def test_the_grammar_is_that_of_gto() -> None:
    """Names made of its pieces: both read them alike, or neither does."""
    dice = random.Random(11)
    cases: Counter[str] = Counter()
    for number in range(25_000):
        name = "".join(dice.choices(PIECES, k=dice.randint(1, 6)))
        if number % 2:  # as it should be, but for a piece too many
            name = "m" + "".join(dice.choice(part) for part in PARTS)
            at = dice.randint(0, len(name))
            name = name[:at] + dice.choice(("", "", *PIECES)) + name[at:]
        ours = tags.read(name)
        if not name.isascii() or name.endswith("\n"):  # its digits are those of every script; no ref ends a line
            assert ours is None
            continue
        theirs = parse_name(name, raise_on_fail=False)
        assert (ours is None) == (not theirs), name
        if ours is not None:
            cases[ours.action] += 1
            assert ours.action == theirs["action"].value, name
            assert ours.model.replace("=", ":") == theirs["name"], name
            assert (f"v{ours.version}" if ours.version else None) == theirs.get("version"), name
            assert (ours.stage or None) == theirs.get("stage"), name
            assert ours.counter == theirs.get("counter"), name
    print(f"25,000 names, read: {dict(cases)}")
    assert min(cases[one] for one in ("register", "deregister", "assign", "unassign", "deprecate")) >= 20


SEMVER = (
    *("0.0.4", "1.2.3", "10.20.30", "1.1.2-prerelease+meta", "1.1.2+meta", "1.1.2+meta-valid", "1.0.0-alpha"),
    *("1.0.0-alpha.0valid", "1.0.0-alpha-a.b-c-somethinglong+build.1-aef.1-its-okay", "1.0.0-rc.1+build.123"),
    *(
        "2.0.0+build.1848",
        "1.2.3----RC-SNAPSHOT.12.9.1--.12+788",
        "1.0.0+0.build.1-rc.10000aaa-kk-0.1",
        "1.0.0-0A.is.legal",
    ),
    "99999999999999999999999.999999999999999999.99999999999999999",
)
NOT_SEMVER = (
    *("1", "1.2", "1.2.3-0123", "1.2.3-0123.0123", "1.1.2+.123", "+invalid", "-invalid", "alpha", "1.0.0-alpha_beta"),
    *(
        "1.0.0-alpha..",
        "01.1.1",
        "1.01.1",
        "1.1.01",
        "1.2.3.DEV",
        "1.2-SNAPSHOT",
        "1.2.31.2.3----RC",
        "1.0.0-",
        "1.0.0+",
    ),
    *("1.2.3 ", "1.2.3\n", "١.0.0", "1" * 1001),
)


def test_versions_are_those_of_semver_2() -> None:
    """Examples of semver.org's own suite."""
    for text in SEMVER:
        assert str(parse(text)) == text
        assert tags.read(f"m@v{text}") is not None
    for text in NOT_SEMVER:
        assert parse(text) is None, text
    one, other = parse("1.0.0+a"), parse("1.0.0+b")
    assert one is not None
    assert other is not None
    assert (one < other, one == other) == (True, False)


# A clone


def git(*words: str | Path, input: bytes | None = None) -> str:
    who = {f"GIT_{role}_{what}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *words], check=True, env={**os.environ, **who}, capture_output=True, input=input)
    return done.stdout.decode().strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with two commits, and a bare origin."""
    folder, origin = tmp_path / "clone", tmp_path / "origin.git"
    git("init", "-q", "-b", "main", folder)
    for number in (1, 2):
        git("-C", folder, "commit", "-q", "--allow-empty", "-m", f"c{number}")
    git("clone", "-q", "--bare", folder, origin)
    git("-C", folder, "remote", "add", "origin", origin)
    git("-C", folder, "fetch", "-q", "origin")
    return folder


def test_every_odd_tag_is_read(clone: Path) -> None:
    def tag(name: str, at: str, *, body: bytes = b"m\n", kind: bytes = b"commit") -> None:
        head = b"object %s\ntype %s\ntag %s\ntagger a <a@b> 1700000000 +0100\n\n" % (at.encode(), kind, name.encode())
        sha = git("-C", clone, "hash-object", "-t", "tag", "-w", "--literally", "--stdin", input=head + body)
        git("-C", clone, "update-ref", f"refs/tags/{name}", sha)

    tip, before = git("-C", clone, "rev-parse", "main"), git("-C", clone, "rev-parse", "main~1")
    blob = git("-C", clone, "hash-object", "-w", "--stdin", input=b"x")
    tag("m@v1.0.0", before, body=b"Title\n\nVersion: 1.0.0\n")
    tag("m@v1.1.0", tip, body=b"cut\0here\n\nActor: nobody\n")
    tag("m@v1.2.0", git("-C", clone, "rev-parse", "refs/tags/m@v1.0.0"), kind=b"tag")
    tag("m@v1.3.0", blob, kind=b"blob")
    tag("m#eu/west#7", tip, body=b"\n\n\n")
    tag("m2@v1.0.0", tip, body=b"Latin \xe4\n\nActor: ada\n")
    tag("d/e.f=m@v1.0.0", tip)
    git("-C", clone, "tag", "m@v1.4.0", tip)
    git("-C", clone, "tag", "m@v1.5.0", blob)
    git("-C", clone, "tag", "-a", "-m", "no model", "v1", tip)
    state = read_clone(clone, PROCESSES)
    assert state.models() == ("d/e.f=m", "m", "m2")
    found = {one.name: one for one in state.events_of("m")}
    assert {name: one.commit for name, one in found.items()} == {
        "m@v1.0.0": before,
        "m@v1.1.0": tip,
        "m@v1.2.0": before,
        "m@v1.3.0": "",
        "m@v1.4.0": tip,
        "m@v1.5.0": "",
        "m#eu/west#7": tip,
    }
    assert found["m@v1.0.0"].trailers == {"Version": "1.0.0"}
    assert (found["m@v1.0.0"].title, found["m@v1.0.0"].tagger) == ("Title", "a")
    assert found["m@v1.0.0"].date == "2023-11-14T23:13:20+01:00"
    assert found["m@v1.1.0"].trailers == {}
    assert [one.trailers for one in state.events_of("m2")] == [{"Actor": "ada"}]
    assert {one.tag for one in state.problems("m") if one.code == "lightweight"} == {"m@v1.4.0", "m@v1.5.0"}
    for model in (*state.models(), "unknown"):
        alone = read_clone(clone, PROCESSES, model=model)
        assert alone.events == state.events_of(model)
        assert alone.models() in ((model,), ())


def test_whether_a_clone_is_whole(clone: Path, tmp_path: Path) -> None:
    """An empty answer is one only where the origin has nothing either, or there is no origin."""
    assert not require_whole(clone, PROCESSES, read_clone(clone, PROCESSES)).shallow
    git("-C", clone, "tag", "-a", "-m", "r", "m@v1.0.0")
    git("-C", clone, "push", "-q", "origin", "m@v1.0.0")
    assert require_whole(clone, PROCESSES, read_clone(clone, PROCESSES)).tags == 1
    # Another model has tags here: that this one has none is the answer.
    assert require_whole(clone, PROCESSES, read_clone(clone, PROCESSES, model="n"), model="n").tags == 1
    git("-C", clone, "tag", "-d", "m@v1.0.0")
    cases: list[tuple[str, str]] = [("lacks 1 tags of the registry, such as m@v1.0.0", "")]
    assert lacking(clone) == cases[0]
    git("-C", clone, "remote", "set-url", "origin", str(tmp_path / "gone.git"))
    message, why = lacking(clone)
    assert "cannot be asked" in message
    assert "gone.git" in why
    git("-C", clone, "remote", "remove", "origin")
    assert require_whole(clone, PROCESSES, read_clone(clone, PROCESSES)).origin == ""
    with pytest.raises(ConfigError, match="is not a git repository"):
        read_clone(tmp_path, Processes({**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}))


def lacking(clone: Path) -> tuple[str, str]:
    with pytest.raises(DataError) as error:
        require_whole(clone, PROCESSES, read_clone(clone, PROCESSES))
    assert error.value.reason_code == "registry_incomplete"
    assert " --tags" in error.value.remedy
    return error.value.message.removeprefix("this clone "), error.value.why


NARROW = {
    "one branch": (["--single-branch"], [], "fetches neither every branch nor every tag"),
    "was shallow": (["--depth=1"], ["fetch", "-q", "--unshallow"], "fetches neither every branch nor every tag"),
    "some tags": (["--no-tags"], ["fetch", "-q", "origin", "tag", "m@v1.0.0"], "was made with --no-tags"),
    "bare": (["--bare", "--single-branch"], [], "fetches neither every branch nor every tag"),
}


@pytest.fixture
def branched(clone: Path) -> Path:
    """An origin with a tag on main, and two on another branch alone."""
    git("-C", clone, "tag", "-a", "-m", "r", "m@v1.0.0", "main")
    git("-C", clone, "checkout", "-q", "-b", "side")
    git("-C", clone, "commit", "-q", "--allow-empty", "-m", "side")
    for name in ("m@v9.0.0", "m#prod#9"):
        git("-C", clone, "tag", "-a", "-m", "r", name)
    git("-C", clone, "push", "-q", "--tags", "origin", "side")
    return clone.parent / "origin.git"


@pytest.mark.parametrize("kind", NARROW)
def test_a_clone_that_need_not_have_every_tag_asks_its_origin(branched: Path, tmp_path: Path, kind: str) -> None:
    """Some tags are here: nothing else tells that others are not."""
    options, more, why = NARROW[kind]
    folder = tmp_path / "narrow"
    git("clone", "-q", *options, "-b", "main", branched.as_uri(), folder)
    if more:
        git("-C", folder, *more)
    assert [one.name for one in read_clone(folder, PROCESSES).events] == ["m@v1.0.0"]
    assert lacking(folder) == ("lacks 2 tags of the registry, such as m#prod#9", "")
    assert require_whole(folder, PROCESSES, read_clone(folder, PROCESSES, model="n"), model="n").partial == why
    with pytest.raises(DataError, match="lacks 2 tags"):
        require_whole(folder, PROCESSES, read_clone(folder, PROCESSES, model="m"), model="m")
    git("-C", folder, "fetch", "-q", "--tags", "origin")
    assert require_whole(folder, PROCESSES, read_clone(folder, PROCESSES)).tags == 3
    git("-C", folder, "config", "remote.origin.url", str(tmp_path / "gone.git"))
    message, _ = lacking(folder)
    assert message == f"{why}, and its origin cannot be asked which tags there are"


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        ([], {}),
        (["--mirror"], {}),
        (["--single-branch"], {"tagOpt": "--tags"}),
        (["--single-branch"], {"fetch": "+refs/tags/*:refs/tags/*"}),
    ],
)
def test_a_clone_that_fetches_every_tag_asks_nobody(
    branched: Path, tmp_path: Path, options: list[str], keys: dict[str, str]
) -> None:
    folder = tmp_path / "whole"
    git("clone", "-q", *options, "-b", "main", branched.as_uri(), folder)
    for key, value in keys.items():
        git("-C", folder, "config", "--add", f"remote.origin.{key}", value)
    git("-C", folder, "fetch", "-q", "origin")
    git("-C", folder, "config", "remote.origin.url", str(tmp_path / "gone.git"))
    found = require_whole(folder, PROCESSES, read_clone(folder, PROCESSES))
    assert (found.tags, found.partial) == (3, "")


def test_nothing_is_taken_back_before_it_was_done() -> None:
    """Tags without a number stand before all others, but for those that undo: they follow what they undo."""
    cases = 0
    for names, versions, prod in (
        (["d@v1.0.0", "d#prod#1", "d#prod!"], ["1.0.0"], None),
        (["d@v1.0.0", "d#prod", "d#prod!"], ["1.0.0"], None),
        (["d@v1.0.0#1", "d#prod#2", "d@v1.0.0!"], [], None),
        (["d@v1.0.0", "d#prod#1", "d#prod!", "d#prod#2"], ["1.0.0"], "1.0.0"),
        (["d@v1.0.0!", "d@v1.0.0#1", "d@v1.0.0#2"], ["1.0.0"], None),
    ):
        for order in (names, names[::-1]):
            state = fold([TagRef(name=name, object="c", annotated=False) for name in order])
            assert [str(one) for one in state.versions("d")] == versions, order
            assert (str(state.holder("d", "prod") or "") or None) == prod, order
            cases += 1
    print(f"{cases} heaps of tags")


def test_the_remedy_of_a_doubt_ends_it(clone: Path) -> None:
    """The commands that problems name are run as they stand."""
    cases = 0
    for number, (made, code) in enumerate(
        (
            (["m@v1.0.0", "m#prod#1", "m#prod!#1"], "counter_twice"),
            (["m@v1.0.0#1", "m@v1.0.0!#1"], "counter_twice"),
            (["m@v1.0.0", "m@deprecated", "m@v1.1.0"], "counter_missing"),
            (["m@v1.0.0", "light m#prod#2"], "lightweight"),
        )
    ):
        for at, name in enumerate(made):
            words = name.removeprefix("light ")
            options = [] if name.startswith("light ") else ["-a", "-m", "t"]
            at_commit = "main~1" if words.startswith("m@v1.1") else "main"
            when = {"GIT_COMMITTER_DATE": f"2025-11-2{number + 1}T06:00:{at:02}Z", "GIT_COMMITTER_NAME": "a"}
            env = {**os.environ, **when, "GIT_COMMITTER_EMAIL": "a@example.org"}
            subprocess.run(["git", "-C", clone, "tag", *options, words, at_commit], check=True, env=env)
        (problem,) = read_clone(clone, PROCESSES).problems()
        assert problem.code == code
        command = problem.remedy[problem.remedy.index("git tag") :]
        env = {**os.environ, "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org"}
        subprocess.run(["bash", "-ec", command], cwd=clone, check=True, env=env, capture_output=True)
        assert read_clone(clone, PROCESSES).problems() == (), command
        there = read_clone(clone.parent / "origin.git", PROCESSES)
        assert [one.name for one in there.events], "it was pushed"
        for tag in git("-C", clone, "tag").split():
            git("-C", clone, "tag", "-d", tag)
            git("-C", clone, "push", "-q", "origin", f":refs/tags/{tag}")
        cases += 1
    print(f"{cases} remedies")


def test_a_large_registry_of_one_stage() -> None:
    """Thousands of promotions that were all taken back: answers cost no more than their events."""
    made = [Made("m@v1.0.0", 1), Made("m@v1.1.0", 2)]
    for number in range(1, 5001, 2):
        made += [Made(f"m#prod#{number}", 2, number), Made(f"m#prod!#{number + 1}", 2, number)]
    state = fold(*told(made))
    assert state.holder("m", "prod") is None
    assert state.previous_holder("m", "prod") == Version(1, 1, 0)
    assert state.problems() == ()
    assert state.next_counter("m") == 5001
