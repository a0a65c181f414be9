"""Values replaced in YAML text: what is read back is what was wanted, and no other byte moved."""

from __future__ import annotations

import difflib
import math
from datetime import date
from typing import Any

import pytest
import ruamel.yaml
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trackside.errors import ConfigError
from trackside.system.yaml_text import changed, load, path_of, replace, same, spots

TEXT = """\
# What is trained, and on what.
prepare:   # months
  train_from: 1
  train_to: 010      # ten
  since: 2013-05-01
features: [hour, "carrier", 'dest']
train: {learning_rate: 1e-3, l2: .5, seed: 2013, name: yes}
empty:
nested:
- a
-   k.dotted: "two"
    long: &shared text
other: *shared
"""


def lines(old: str, new: str) -> list[str]:
    return [line for line in difflib.ndiff(old.splitlines(), new.splitlines()) if line[:1] in "+-"]


@pytest.mark.parametrize(
    ("name", "new", "expected"),
    [
        ("prepare.train_to", 11, "  train_to: 11      # ten"),
        ("prepare.since", date(2013, 6, 1), "  since: 2013-06-01"),
        ("features.1", "dest", "features: [hour, \"dest\", 'dest']"),
        ("features.2", "it's", "features: [hour, \"carrier\", 'it''s']"),
        ("features.0", "a, b", 'features: ["a, b", "carrier", \'dest\']'),
        ("train.learning_rate", 1e-05, "train: {learning_rate: 1.0e-05, l2: .5, seed: 2013, name: yes}"),
        ("train.name", "no", "train: {learning_rate: 1e-3, l2: .5, seed: 2013, name: no}"),
        ("train.name", "true", 'train: {learning_rate: 1e-3, l2: .5, seed: 2013, name: "true"}'),
        ("train.name", "1e5", 'train: {learning_rate: 1e-3, l2: .5, seed: 2013, name: "1e5"}'),
        ("empty", "full", "empty: full"),
        ("nested.0", True, "- true"),
        ("nested.1.k.dotted", "sha256:ab", '-   k.dotted: "sha256:ab"'),
    ],
)
def test_one_value_changes_on_its_line(name: str, new: Any, expected: str) -> None:
    made = replace(TEXT, path_of(load(TEXT, file="f"), name), new, file="f")
    removed, added = lines(TEXT, made)[0], [line for line in lines(TEXT, made) if line.startswith("+")]
    assert (removed[0], added) == ("-", [f"+ {expected}"])


def test_what_is_there_already_changes_nothing() -> None:
    assert replace(TEXT, ("prepare", "train_to"), 10, file="f") == TEXT
    assert replace(TEXT, ("train", "name"), "yes", file="f") == TEXT


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other", "not written out"),
        ("nested.1.long", "cannot be changed alone"),
        ("prepare", "no groups"),
        ("features", "no groups"),
        ("features.3", "there is no"),
        ("gone.at.all", "there is no 'gone'"),
    ],
)
def test_what_cannot_be_changed_alone_is_refused(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        replace(TEXT, path_of(load(TEXT, file="f"), name), "x", file="f")


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2\n", "a: !!python/object:os.system {}\n", "- &a [*a]\n", "\x01"])
def test_broken_text_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigError):
        replace(text, ("a",), 1, file="f")


def test_a_block_of_text_is_left_alone() -> None:
    with pytest.raises(ConfigError, match="block of text"):
        replace("a: |\n  one\n  two\n", ("a",), "x", file="f")


def test_line_ends_and_marks_stay() -> None:
    assert replace("\ufeffa: 1\r\nb: 2 # x\r\n", ("b",), 3, file="f") == "\ufeffa: 1\r\nb: 3 # x\r\n"


# Properties

SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=True, allow_infinity=True),
    st.none(),
    st.dates(date(1900, 1, 1), date(2100, 1, 1)),
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from(
        ["yes", "010", "1e3", "0o7", "1:30", "~", "null", "a: b", "a #b", "- a", "*a", "&a", "!t", "@x", "", " "]
    ),
)
KEYS = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=5)
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))
STYLES = st.tuples(st.sampled_from([None, False, True]), st.sampled_from([None, "'", '"']), st.integers(2, 6))


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, tuple[Any, ...], Any]:
    """A YAML text with comments, a path to one of its scalars, and a new value."""
    data = draw(st.dictionaries(KEYS, DOCUMENTS, min_size=1, max_size=4))
    flow, style, indent = draw(STYLES)
    text = yaml.safe_dump(
        data,
        default_flow_style=flow,
        default_style=style,
        indent=indent,
        sort_keys=False,
        allow_unicode=True,
        width=10**6,
    )
    if flow is not True:
        text = f"# head: {draw(KEYS)}\n{text}# tail\n"
    places = sorted(spots(text, file="f"), key=repr) or [()]
    return text, draw(st.sampled_from(places)), draw(SCALARS)


@given(cases())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_only_the_wanted_value_changes(case: tuple[str, tuple[Any, ...], Any]) -> None:
    text, path, new = case
    before = load(text, file="f")
    try:
        made = replace(text, path, new, file="f")
    except ConfigError:
        spot = spots(text, file="f").get(path)
        assert spot is None or spot.alias or spot.style in ("|", ">") or "&" in text, "refused without need"
        return
    assert same(load(made, file="f"), changed(before, path, new, file="f"))
    spot = spots(text, file="f")[path]
    assert made.startswith(text[: spot.start]), "something before the value moved"
    assert made.endswith(text[spot.end :]), "something behind the value moved"


@given(SCALARS)
@settings(max_examples=400, deadline=None)
def test_another_reader_of_yaml_1_2_agrees(new: Any) -> None:
    made = replace("a: 1 # one\nb: x\n", ("a",), new, file="f")
    read = ruamel.yaml.YAML(typ="safe", pure=True).load(made)["a"]
    if isinstance(new, float) and math.isnan(new):
        assert math.isnan(read)
    else:
        assert (read, type(read)) == (new, type(new)), made
