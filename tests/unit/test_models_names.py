"""Which version a name means: the grammar, answers from tags, and never a wrong one where tags contradict."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.documents.release import Release
from trackside.errors import ConfigError, DataError, NotFound
from trackside.forge.model import TagObject, TagRef
from trackside.models.history import course, entry
from trackside.models.version import image_reference
from trackside.models.which import Spec, confirm, latest, parse_spec, resolve
from trackside.registry.state import RegistryState, fold
from trackside.registry.tags import message
from trackside.registry.versions import Version


def registry(*rows: str) -> RegistryState:
    """Rows `NAME COMMIT [Key=value …]`; `~NAME` is a lightweight tag. Days follow each other."""
    refs, objects = [], {}
    for day, row in enumerate(rows, 1):
        name, commit, *said = row.split()
        light, name = name.startswith("~"), name.removeprefix("~")
        sha = commit * 40 if light else f"{day:040x}"
        refs.append(TagRef(name=name, object=sha, annotated=not light))
        if not light:
            trailers = dict(one.replace("_", " ").split("=", 1) for one in said)
            date = trailers.pop("Date", f"2026-01-{min(day, 28):02d}T00:00:00Z")
            text = message("x", trailers)
            objects[name] = TagObject(sha=sha, name=name, commit=commit * 40, message=text, tagger="Bot", date=date)
    return fold(refs, objects)


STATE = registry(
    "delay@v1.0.0 a",
    "delay@v1.1.0 b",
    "delay@v1.10.0 c",
    "delay@v2.0.0-rc.1 d",
    "delay#prod#1 a Version=1.0.0 Actor=ada Reason=first_one",
    "delay#staging#2 b Version=1.1.0 Actor=bob",
    "delay#prod#3 b Version=1.1.0 Actor=ada",
    "delay#prod#4 a Version=1.0.0 Actor=eve Rolled-Back=1.1.0",
    "delay#canary#5 b Version=1.1.0",
    "delay#canary!#6 b",
    "models/sub=fare@v0.1.0 a",
    "old@v1.0.0 a",
    "old@deprecated#1 a Reason=replaced",
)


@pytest.mark.parametrize(
    ("text", "version", "stage"),
    [
        ("delay@v1.1.0", "1.1.0", ""),
        ("delay@1.1.0", "1.1.0", ""),
        (" delay@v1.1.0 ", "1.1.0", ""),
        ("delay@latest", "2.0.0-rc.1", ""),
        ("delay@greatest", "2.0.0-rc.1", ""),
        ("delay#prod", "1.0.0", "delay#prod#4"),
        ("delay#staging", "1.1.0", "delay#staging#2"),
        ("models/sub=fare@latest", "0.1.0", ""),
        ("models/sub:fare@v0.1.0", "0.1.0", ""),
    ],
)
def test_names_and_their_versions(text: str, version: str, stage: str) -> None:
    found = resolve(STATE, parse_spec(text))
    assert str(found.version) == version
    assert (found.stage.name if found.stage else "") == stage
    assert found.commit == {"1.1.0": "b", "2.0.0-rc.1": "d"}.get(version, "a") * 40
    assert parse_spec(str(found.spec)) == found.spec


@pytest.mark.parametrize(
    ("text", "reason", "words"),
    [
        ("delay@v9.0.0", "version_unknown", "v1.10.0"),
        ("dely@latest", "version_unknown", "delay"),
        ("delay#canary", "stage_empty", "staging"),
        ("delay#nowhere", "stage_empty", "no version ever was"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(text: str, reason: str, words: str) -> None:
    with pytest.raises(NotFound) as raised:
        resolve(STATE, parse_spec(text))
    assert raised.value.reason_code == reason
    assert words in raised.value.render()


HOSTILE = (
    *("", "delay", "delay@", "@v1.0.0", "#prod", "delay#", "delay@v1", "delay@v1.2.3.4", "delay@v01.2.3", "-o@v1.0.0"),
    *("--help#prod", "../x@v1.0.0", "a b@latest", "delay@v1.0.0\n", "delay@v1.0.0!", "delay#prod!", "delay#prod#3"),
    *(
        "delay@deprecated",
        "delay@v1.0.0#2",
        "délai#prod",
        "delay#prod;rm",
        "delay@$(id)",
        "\x1b[2Jx@latest",
        "x" * 5000,
    ),
    *("delay@v" + "9" * 5000 + ".0.0", "a=b=c@latest", "delay@latest@latest", "delay::x@latest", ":@latest", "\0#\0"),
)


def test_hostile_names_are_usage_errors_or_name_something() -> None:
    named = 0
    for text in HOSTILE:
        if text == "delay@v1.0.0\n":  # a line feed at the end, as of `$(cat file)`, is forgiven
            assert str(parse_spec(text)) == text.strip()
            named += 1
            continue
        with pytest.raises(ConfigError) as raised:
            parse_spec(text)
        assert raised.value.reason_code == "spec_invalid", text
        assert "@latest" in raised.value.remedy
    print(f"{len(HOSTILE) - named} names refused")
    assert len(HOSTILE) - named >= 25


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="ab@#=v1.0-!/: \n", max_size=14))
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    try:
        spec = parse_spec(text, model_alone=True)
    except ConfigError:
        return
    assert parse_spec(str(spec), model_alone=True) == spec
    assert not any(char.isspace() for char in spec.model + spec.stage)


@pytest.mark.parametrize(
    ("rows", "asked", "reason"),
    [
        (("m@v1.0.0 a", "m@v1.1.0 b", "m#prod#2 a Version=1.0.0", "m#prod!#2 a"), "m#prod", "registry_ambiguous"),
        (("m@v1.0.0 a", "m@v1.0.0#1 a", "m@v1.0.0!#1 a"), "m@latest", "registry_ambiguous"),
        (("m@v1.0.0 a", "m#prod#1 a Version=1.1.0"), "m#prod", "registry_ambiguous"),
        (("m@v1.0.0 a", "m#prod#1 c"), "m#prod", "registry_ambiguous"),
        (("m@v1.0.0 a", "m@v1.0.0#2 b"), "m@v1.0.0", "registry_ambiguous"),
        (("m@v1.0.0 a", "m@v1.1.0 b", "m#prod#1 b Version=1.0.0"), "m#prod", "registry_ambiguous"),
        (("m@v1.0.0 a", "m@v1.0.0!#2 a", "m#prod#1 a Version=1.0.0"), "m#prod", "stage_empty"),
    ],
)
def test_contradictions_are_never_an_answer(rows: tuple[str, ...], asked: str, reason: str) -> None:
    state = registry(*rows)
    with pytest.raises((DataError, NotFound)) as raised:
        resolve(state, parse_spec(asked))
    assert raised.value.reason_code == reason
    assert raised.value.remedy


def test_clocks_decide_nothing() -> None:
    rows = (
        "m@v1.0.0 a Date=2030-01-01T00:00:00Z",
        "m@v1.1.0 b Date=2020-01-01T00:00:00Z",
        "m#prod#1 a Version=1.0.0 Date=2030-01-01T00:00:00Z",
        "m#prod#2 b Version=1.1.0 Date=1990-01-01T00:00:00Z",
    )
    state = registry(*rows)
    assert str(resolve(state, parse_spec("m#prod")).version) == "1.1.0"
    assert str(latest(state, "m")) == "1.1.0"
    same = [row.partition(" Date=")[0] + " Date=2026-01-01T00:00:00Z" for row in rows]
    assert str(resolve(registry(*same[::-1]), parse_spec("m#prod")).version) == "1.1.0"


def test_latest_is_by_number_greatest_by_version() -> None:
    state = registry("m@v2.0.0#1 a", "m@v1.5.0#2 b", "m@v1.4.0 c")
    assert str(resolve(state, parse_spec("m@latest")).version) == "1.5.0"
    assert str(resolve(state, parse_spec("m@greatest")).version) == "2.0.0"


def test_what_is_out_of_use_is_found_by_its_own_name_only() -> None:
    state = registry("m@v1.0.0 a", "m@v1.1.0 b", "m@v1.1.0!#1 b Reason=leaks")
    found = resolve(state, parse_spec("m@v1.1.0"))
    assert found.retired is not None
    assert found.retired.trailers["Reason"] == "leaks"
    assert str(resolve(state, parse_spec("m@latest")).version) == "1.0.0"
    old = resolve(STATE, parse_spec("old@v1.0.0"))
    assert old.retired is not None
    assert old.retired.name == "old@deprecated#1"


def test_a_tag_that_was_moved_is_found_by_the_record() -> None:
    found = resolve(STATE, parse_spec("delay@v1.0.0"))
    release = Release(model="delay", version="1.0.0", tag="delay@v1.0.0", commit="a" * 40, run="r", state="published")
    confirm(found, release)
    confirm(found, None)
    for changed in ({"commit": "b" * 40}, {"tag_object": "f" * 40}):
        moved = Release(
            **{**{f: getattr(release, f) for f in release.__struct_fields__ if f != "schema"}, **changed}  # type: ignore[arg-type]
        )
        with pytest.raises(DataError) as raised:
            confirm(found, moved)
        assert raised.value.reason_code == "tag_moved"


def test_the_log_says_who_did_what_and_why() -> None:
    told = [entry(STATE, event) for event in course(STATE, "delay")]
    assert [(one.what, one.actor, one.reason) for one in told] == [
        ("registered v1.0.0", "Bot", ""),
        ("registered v1.1.0", "Bot", ""),
        ("registered v1.10.0", "Bot", ""),
        ("registered v2.0.0-rc.1", "Bot", ""),
        ("promoted v1.0.0 to prod", "ada", "first one"),
        ("promoted v1.1.0 to staging", "bob", ""),
        ("promoted v1.1.0 to prod", "ada", ""),
        ("gave prod back to v1.0.0, from v1.1.0", "eve", ""),
        ("promoted v1.1.0 to canary", "Bot", ""),
        ("emptied canary", "Bot", ""),
    ]
    out = [entry(STATE, event).what for event in course(STATE, "old")]
    assert out == ["registered v1.0.0", "took the model out of use"]


def test_versions_stand_where_their_date_is_but_before_what_names_them() -> None:
    state = registry(
        "m#prod#1 a Version=1.0.0 Date=2026-01-05T00:00:00Z",
        "m#prod#2 b Version=1.1.0 Date=2026-01-02T00:00:00Z",
        "m@v1.0.0 a Date=2026-01-01T00:00:00Z",
        "m@v1.1.0 b Date=2030-01-01T00:00:00Z",
        "m@v1.2.0 c Date=2026-01-09T00:00:00Z",
    )
    assert [one.name for one in course(state, "m")] == ["m@v1.0.0", "m#prod#1", "m@v1.1.0", "m#prod#2", "m@v1.2.0"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_log_holds_every_event_once_in_the_order_of_numbers(data: st.DataObject) -> None:
    days = st.integers(1, 28)
    rows = [f"m@v1.{n}.0 a Date=2026-01-{data.draw(days):02d}T00:00:00Z" for n in range(4)]
    for number in range(1, data.draw(st.integers(0, 6)) + 1):
        version, day = data.draw(st.integers(0, 3)), data.draw(days)
        rows.append(f"m#prod#{number} a Version=1.{version}.0 Date=2026-01-{day:02d}T00:00:00Z")
    state = registry(*data.draw(st.permutations(rows)))
    events = course(state, "m")
    assert sorted(one.name for one in events) == sorted(one.name for one in state.events)
    numbers = [one.tag.counter for one in events if one.tag.counter is not None]
    assert numbers == sorted(numbers)
    seen: set[Version | None] = set()
    for one in events:
        seen.add(one.tag.version)
        if one.tag.stage:
            assert state.version_of(one) in seen


def test_lightweight_tags_are_events_without_a_witness() -> None:
    state = registry("~m@v1.0.0 a", "m#prod#1 a Version=1.0.0")
    found = resolve(state, parse_spec("m#prod"))
    assert str(found.version) == "1.0.0"
    assert [one.code for one in found.problems] == ["lightweight"]


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("ghcr.io/acme/delay:1.0", "ghcr.io/acme/delay"),
        ("ghcr.io/acme/delay", "ghcr.io/acme/delay"),
        ("host:5000/acme/delay", "host:5000/acme/delay"),
        ("host:5000/acme/delay:1.0", "host:5000/acme/delay"),
        ("host:5000/acme/delay:1.0@sha256:aa", "host:5000/acme/delay"),
    ],
)
def test_images_by_what_cannot_be_moved(reference: str, name: str) -> None:
    assert image_reference(reference, "sha256:bb") == f"{name}@sha256:bb"
    assert image_reference(reference, "") == ""
    assert image_reference("", "sha256:bb") == ""


def test_a_spec_is_written_as_it_is_read() -> None:
    assert str(Spec(model="m", query="model")) == "m"
    assert str(parse_spec("d:m#prod")) == "d=m#prod"
