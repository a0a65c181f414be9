"""The digest as a function: order does not matter, every value and its type does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trackside.documents.run import Dependency
from trackside.errors import ConfigError
from trackside.plan.changes import policy_changes
from trackside.plan.digest import canonical, input_digest, listing_digest
from trackside.plan.overrides import apply, by_file, names
from trackside.plan.titles import Title, parse_title, run_title
from trackside.plan.words import code, fenced

NAMES = st.text("abcd.-/", min_size=1, max_size=6)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
STAGES = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {
            "cmd": st.lists(st.text(max_size=10), max_size=2),
            "wdir": NAMES,
            "deps": st.lists(NAMES, max_size=3),
            "outs": st.lists(NAMES, max_size=3),
            "params": st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=3), max_size=2),
        }
    ),
    min_size=1,
    max_size=4,
).map(lambda stages: [{"name": name, **stage} for name, stage in stages.items()])
DEPENDENCIES = st.lists(
    st.builds(
        Dependency,
        path=NAMES,
        kind=st.sampled_from(["data", "code", "lock", "external"]),
        digest=st.text("0123456789abcdef", min_size=4, max_size=4).map(lambda text: f"sha256:{text}"),
        size=st.none() | st.integers(0),
    ),
    max_size=4,
)


def shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(list(value.items()))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def digest(stages: Any, dependencies: list[Dependency], targets: tuple[str, ...] = ("a",)) -> str:
    return input_digest(targets=targets, stages=stages, dependencies=dependencies)


@settings(max_examples=150, deadline=None, database=None)
@given(STAGES, DEPENDENCIES)
def test_neither_order_nor_sizes_count(stages: Any, dependencies: list[Dependency]) -> None:
    sizeless = [Dependency(path=d.path, kind=d.kind, digest=d.digest) for d in reversed(dependencies)]
    assert digest(shuffled(list(reversed(stages))), sizeless) == digest(stages, dependencies)
    assert digest(stages, dependencies, ("a", "b")) == digest(stages, dependencies, ("b", "a"))


@settings(max_examples=200, deadline=None, database=None)
@given(STAGES, DEPENDENCIES, st.data())
def test_any_other_value_gives_another_digest(stages: Any, dependencies: list[Dependency], data: st.DataObject) -> None:
    before = digest(stages, dependencies)
    changed = copy.deepcopy(stages)
    stage = data.draw(st.sampled_from(changed))
    key = data.draw(st.sampled_from(["cmd", "wdir", "deps", "outs", "params", "new"]))
    stage[key] = data.draw(VALUES)
    assume(canonical(stage) not in {canonical(one) for one in stages})
    assert digest(changed, dependencies) != before
    assert digest(stages, [*dependencies, Dependency(path="new!", kind="code", digest="sha256:0")]) != before
    assert digest(stages, dependencies, ("other",)) != before


def test_types_stay_apart() -> None:
    values: list[Any] = [1, 1.0, True, "1", [1], {"1": 1}, None, "", "true", 0, False]
    assert len({canonical({"v": value}) for value in values}) == len(values)


def test_a_listing_depends_on_names_contents_and_modes_not_on_order() -> None:
    rows = [("a", "00", False), ("b", "11", False)]
    base = listing_digest(rows)
    assert listing_digest(reversed(rows)) == base
    others = [
        [("a", "11", False), ("b", "00", False)],
        [("a", "00", True), ("b", "11", False)],
        [("a", "00", False)],
        [("ab", "0011", False)],
    ]
    assert len({base, *(listing_digest(rows) for rows in others)}) == 5


TREES = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.recursive(
        st.integers() | st.text(max_size=4) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, min_size=1, max_size=3),
        max_leaves=6,
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, deadline=None, database=None)
@given(TREES, st.data())
def test_an_override_changes_exactly_what_it_names(tree: dict[str, Any], data: st.DataObject) -> None:
    known = names(tree)
    name = data.draw(st.sampled_from(known))
    node: Any = tree
    for part in name.split("."):
        node = node[part]
    new: Any = {bool: not node, int: 12, float: 0.25, str: "new"}[type(node)]
    before = copy.deepcopy(tree)
    made = apply(tree, {name: new}, file="params.yaml")
    assert tree == before
    changed = [one for one in known if _value(made, one) != _value(tree, one)]
    assert changed == ([name] if node != new else [])
    with pytest.raises(ConfigError):
        apply(tree, {name + ".zz": new}, file="params.yaml")
    wrong = {bool: 1, int: True, float: "1", str: 1.5}[type(node)]
    with pytest.raises(ConfigError):
        apply(tree, {name: wrong}, file="params.yaml")


def _value(tree: Any, name: str) -> Any:
    for part in name.split("."):
        tree = tree[part]
    return tree


def test_overrides_are_grouped_by_file() -> None:
    assert by_file({"a.b": 1, "x/y.json:c": [1, "2"], "params.yaml:d": None}) == {
        "params.yaml": {"a.b": 1, "d": None},
        "x/y.json": {"c": [1, "2"]},
    }


@settings(max_examples=100, deadline=None, database=None)
@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True),
    st.integers(1, 10**9),
    st.text("0123456789abcdef", min_size=40, max_size=40),
    st.booleans(),
)
def test_titles_are_read_back(model: str, pull: int, sha: str, experiment: bool) -> None:
    title = run_title(model, pull=pull, head=sha, digest=f"sha256:{sha}", experiment=experiment)
    assert parse_title(title) == Title(model=model, pull=pull, head=sha[:12], digest=sha[:12], experiment=experiment)
    assert parse_title(title + " ") is None
    assert parse_title(run_title(model, pull=None, head=sha, digest=sha)) is None


def test_policy_changes_name_the_keys() -> None:
    before = "version: 1\nmodels: {a: {path: x}}\ntrain: {timeout-minutes: 1}\n"
    after = "version: 1\nmodels: {a: {path: x}, b: {path: y}}\ntrain: {timeout-minutes: 2}\n"
    assert policy_changes(before, after) == ["models.b.path", "train.timeout-minutes"]
    assert policy_changes(before, before + "# comment\n") == []
    assert policy_changes(None, after) == ["trackside.yaml is added"]
    assert policy_changes(before, None) == ["trackside.yaml is removed"]


@settings(max_examples=300, deadline=None, database=None)
@given(st.text(st.sampled_from("a`~\n\r @<>|\\#\x00\x1b\u2028"), max_size=40))
def test_foreign_text_cannot_leave_its_code(text: str) -> None:
    import re

    from markdown_it import MarkdownIt

    inline = MarkdownIt("gfm-like").parseInline(f"before {code(text)} after")[0]
    kinds = [child.type for child in inline.children or []]
    if text.strip("\x00\x1b\r\n ") or "`" in code(text):
        assert kinds == ["text", "code_inline", "text"], (text, code(text), kinds)
    blocks = MarkdownIt("gfm-like").parse(f"before\n\n{fenced(text)}\n\nafter")
    assert [block.type for block in blocks if block.level == 0 and block.nesting >= 0] == [
        "paragraph_open",
        "fence",
        "paragraph_open",
    ]
    assert not re.search("[\x00\x1b]", fenced(text) + code(text))
