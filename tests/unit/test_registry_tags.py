"""The grammar of registry tags, the order of versions, and what a heap of tags says."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.forge.model import TagObject, TagRef
from trackside.registry import tags, versions
from trackside.registry.state import fold
from trackside.registry.tags import Tag
from trackside.registry.versions import Version

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,8}[A-Za-z0-9])?", fullmatch=True)
NUMBERS = st.integers(0, 10**6)
VERSIONS = st.builds(Version, NUMBERS, NUMBERS, NUMBERS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("delay@v1.1.0", Tag(action="register", model="delay", version=Version(1, 1, 0))),
        ("delay@v1.1.0!#4", Tag(action="deregister", model="delay", version=Version(1, 1, 0), counter=4)),
        ("delay@v1.1.0-rc.1", Tag(action="register", model="delay", version=Version(1, 1, 0, "rc.1"))),
        ("delay#prod#3", Tag(action="assign", model="delay", stage="prod", counter=3)),
        ("delay#prod!#4", Tag(action="unassign", model="delay", stage="prod", counter=4)),
        ("delay#prod", Tag(action="assign", model="delay", stage="prod")),
        ("delay@deprecated#5", Tag(action="deprecate", model="delay", counter=5)),
        ("models=delay@v1.0.0", Tag(action="register", model="models=delay", version=Version(1, 0, 0))),
    ],
)
def test_what_a_name_says(name: str, expected: Tag) -> None:
    assert tags.read(name) == expected
    assert str(expected) == name


@pytest.mark.parametrize(
    "name",
    [
        "v1.0.0",
        "delay",
        "delay@1.0.0",
        "delay@v1.0",
        "delay@v01.0.0",
        "-delay@v1.0.0",
        "delay@v1.0.0#",
        "delay##3",
        "delay@latest",
        "delay@deprecated!",
        "de lay@v1.0.0",
        "delay@v1.0.0\n",
        "delay#pro.d",
        "@v1.0.0",
        "a=@v1.0.0",
    ],
)
def test_other_tags_are_none_of_the_registrys(name: str) -> None:
    assert tags.read(name) is None


@given(NAMES, VERSIONS, NAMES, st.integers(0, 10**6))
def test_written_names_are_read_back(model: str, version: Version, stage: str, counter: int) -> None:
    registered = tags.read(tags.version_tag(model, version))
    assert registered == Tag(action="register", model=model, version=version)
    assigned = tags.read(tags.stage_tag(model, stage, counter))
    assert assigned == Tag(action="assign", model=model, stage=stage, counter=counter)


@given(st.text(max_size=60))
def test_any_text_is_read_without_error(text: str) -> None:
    found = tags.read(text)
    assert found is None or tags.read(str(found)) == found


@given(st.text(max_size=40), st.dictionaries(st.from_regex(r"[A-Z][a-z]{1,8}", fullmatch=True), st.text(max_size=40)))
def test_a_value_of_a_trailer_makes_no_other_trailer(title: str, values: dict[str, str]) -> None:
    found = tags.trailers(tags.message(title or "t", values))
    wanted = {key: " ".join(text.split()) for key, text in values.items() if text.strip()}
    if title.split():
        assert found == wanted


def test_a_signature_begins_a_line() -> None:
    text = tags.message("t", {"Reason": "see -----BEGIN x", "Run": "7"})
    assert tags.trailers(text + "-----BEGIN PGP SIGNATURE-----\nA: b\n")["Run"] == "7"
    assert tags.trailers(text) == {"Reason": "see -----BEGIN x", "Run": "7"}


def test_versions_are_ordered_as_semver_says() -> None:
    told = "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1"
    rising = [found for one in told.split() if (found := versions.parse(one)) is not None]
    assert len(rising) == 9
    shuffled = random.Random(7).sample(rising, 9)
    assert sorted(shuffled) == rising


@pytest.mark.parametrize(
    ("taken", "bump", "expected"),
    [
        ([], "patch", "1.0.0"),
        (["1.0.0"], "patch", "1.0.1"),
        (["1.9.0", "1.10.0", "1.2.7"], "minor", "1.11.0"),
        (["1.9.3"], "major", "2.0.0"),
        (["2.0.0-rc.1", "1.0.0"], "patch", "2.0.0"),
    ],
)
def test_the_following_version(taken: list[str], bump: versions.Bump, expected: str) -> None:
    known = [found for one in taken if (found := versions.parse(one)) is not None]
    assert str(versions.following(known, bump)) == expected


def assign(stage: str, counter: int, version: str = "", commit: str = "c", undo: bool = False) -> TagObject:
    name = tags.stage_tag("delay", stage, counter, unassign=undo)
    return TagObject(sha=name, name=name, commit=commit, message=tags.message("m", {"Version": version}))


def register(version: str, commit: str) -> TagObject:
    name = tags.version_tag("delay", version)
    return TagObject(sha=name, name=name, commit=commit, message="m\n")


def test_who_is_and_was_in_a_stage() -> None:
    objects = [
        register("1.0.0", "c1"),
        register("1.1.0", "c2"),
        assign("prod", 1, "1.0.0", "c1"),
        assign("prod", 2, "", "c2"),  # as GTO writes it
        assign("staging", 3, "1.1.0", "c2"),
        assign("staging", 10, "", "c2", undo=True),
        assign("other", 4, "9.9.9"),
    ]
    refs = [TagRef(name=one.name, object=one.sha, annotated=True) for one in objects]
    refs += [TagRef(name="delay@v3.0.0", object="light", annotated=False)]
    refs += [TagRef(name="delay2@v7.0.0", object="x", annotated=True), TagRef(name="v1", object="y", annotated=True)]
    known = {one.name: one for one in objects}
    cases = 0
    for seed in range(50):
        state = fold(random.Random(seed).sample(refs, len(refs)), known)
        assert [str(one) for one in state.versions("delay")] == ["1.0.0", "1.1.0", "3.0.0"]
        assert str(max(state.taken("delay"))) == "3.0.0"
        assert str(state.holder("delay", "prod")) == "1.1.0"
        assert str(state.previous_holder("delay", "prod")) == "1.0.0"
        assert state.holder("delay", "staging") is None
        assert str(state.previous_holder("delay", "staging")) == "1.1.0"
        assert state.holder("delay", "other") is None
        assert state.next_counter("delay") == 11
        assert state.next_counter("unknown") == 1
        cases += 1
    print(f"{cases} orders of {len(refs)} tags")
    assert cases == 50
