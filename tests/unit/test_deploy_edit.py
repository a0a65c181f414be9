"""The digest in a file that deploys: at most two lines change, and what is read back is what was wanted."""

from __future__ import annotations

import difflib
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trackside.deploy.edit import Target, edit, split
from trackside.errors import ConfigError
from trackside.system.yaml_text import load

OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "a1" * 32
TARGET = Target.of("delay", "ghcr.io/acme/delay:1.1.0", "1.1.0", NEW)


def changed(old: str, new: str) -> list[str]:
    """Lines that are new, without their sign."""
    return [line[2:] for line in difflib.ndiff(old.split("\n"), new.split("\n")) if line.startswith("+ ")]


def gone(old: str, new: str) -> int:
    return sum(line.startswith("- ") for line in difflib.ndiff(old.split("\n"), new.split("\n")))


KUSTOMIZE = f"""\
# Who runs where.
resources: [deployment.yaml]
images:
  - name: other
    newTag: "7"
  # the model
  - name: ghcr.io/acme/delay   # by its full name
    newTag: 1.0.0
    digest: {OLD} # set by pull requests
namePrefix: prod-
"""
HELM = f"""\
image:
  repository: ghcr.io/acme/delay
  tag: "1.0.0"   # for people
  digest: "{OLD}"
replicas: 2
"""
PLAIN = f"""\
spec:
  template:
    spec:
      containers:
      - name: web
        image: nginx:1
      - {{name: delay, image: 'ghcr.io/acme/delay:1.0.0@{OLD}'}} # ours
"""


def test_a_kustomization_changes_its_digest_and_tag() -> None:
    made = edit(KUSTOMIZE, TARGET, file="k")
    assert changed(KUSTOMIZE, made) == ["    newTag: 1.1.0", f"    digest: {NEW} # set by pull requests"]
    assert edit(made, TARGET, file="k") == made


@pytest.mark.parametrize(
    ("entry", "lines"),
    [
        ("- name: ghcr.io/acme/delay", ["- name: ghcr.io/acme/delay", f"  digest: {NEW}"]),
        ("- name: delay  # short\n  newName: eu.gcr.io/x/delay", [f"  digest: {NEW}"]),
        ("-   newName: ghcr.io/acme/delay\n    name: web", [f"    digest: {NEW}"]),
        ("- {name: ghcr.io/acme/delay, newTag: '1.0.0'} # one line", [
            f"- {{name: ghcr.io/acme/delay, newTag: '1.1.0', digest: {NEW}}} # one line"]),
        ("- name: delay\n  newTag: 1.0.0", ["  newTag: 1.1.0", f"  digest: {NEW}"]),
    ],
)  # fmt: skip
def test_an_entry_without_a_digest_gets_one(entry: str, lines: list[str]) -> None:
    for newline in ("\n", "\r\n"):
        text = f"images:\n{entry}\nnamePrefix: x\n".replace("\n", newline)
        made = edit(text, TARGET, file="k")
        assert len(changed(text, made)) <= 2
        assert [line.rstrip("\r") for line in changed(text, made)][-1] == lines[-1]
        assert yaml.safe_load(made)["images"][0]["digest"] == NEW
        assert edit(made, TARGET, file="k") == made
        assert newline == "\n" or "\n" not in made.replace("\r\n", "")


def test_helm_values_keep_everything_else() -> None:
    made = edit(HELM, TARGET, file="values.yaml", key="image.digest")
    assert changed(HELM, made) == ['  tag: "1.1.0"   # for people', f'  digest: "{NEW}"']


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("image: {tag: 1.0.0}\n", "image.tag", f"image: {{tag: 1.1.0@{NEW}}}"),
        ("image: ghcr.io/acme/delay:1.0.0 # x\n", "image", f"image: ghcr.io/acme/delay:1.1.0@{NEW} # x"),
        (f"image: registry:5000/delay@{OLD}\n", "image", f"image: registry:5000/delay@{NEW}"),
        ("image: mirror.local/delay\n", "image", f"image: mirror.local/delay@{NEW}"),
        ("digest:\n", "digest", f"digest: {NEW}"),
        ("image:\n", "image", f"image: ghcr.io/acme/delay:1.1.0@{NEW}"),
        (f"a.b: {{digest: {OLD}}}\n", "a.b.digest", f"a.b: {{digest: {NEW}}}"),
    ],
)
def test_a_key_is_set_as_its_old_value_was(text: str, key: str, line: str) -> None:
    assert changed(text, edit(text, TARGET, file="v.yaml", key=key)) == [line]


def test_a_list_is_named_by_place() -> None:
    made = edit(PLAIN, TARGET, file="d.yaml", key="spec.template.spec.containers.1.image")
    assert changed(PLAIN, made) == [f"      - {{name: delay, image: 'ghcr.io/acme/delay:1.1.0@{NEW}'}} # ours"]


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("a: 1\n", "", "does not name the image"),
        ("images: []\n", "", "no entry"),
        ("images:\n- name: delay\n- name: x/delay\n", "", "2 entries"),
        ("a: 1\n", "image.digest", "no value"),
        ("image: {digest: x}\n", "image", "a group"),
        (f"a: &d {OLD}\nb: {{digest: *d}}\n", "b.digest", "not written out"),
        ("a: [\n", "a", "f:"),
        ("- 1\n", "", "does not name"),
    ],
)
def test_a_file_that_does_not_name_it_is_told(text: str, key: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        edit(text, TARGET, file="f", key=key)
    assert words in error.value.render()


def test_only_digests_are_deployed() -> None:
    with pytest.raises(ConfigError, match="no digest"):
        Target.of("delay", "ghcr.io/acme/delay:1.1.0", "1.1.0", "latest")


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("delay", ("delay", "", "")),
        ("localhost:5000/a/delay", ("localhost:5000/a/delay", "", "")),
        ("localhost:5000/a/delay:1", ("localhost:5000/a/delay", "1", "")),
        (f"a/b:2@{OLD}", ("a/b", "2", OLD)),
    ],
)
def test_references_are_taken_apart(reference: str, parts: tuple[str, str, str]) -> None:
    assert split(reference) == parts


# Properties

WORDS = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=6)
NAMES = st.sampled_from(["name", "newTag", "newName", "digest"])
VALUES = st.sampled_from(["1.0.0", '"2"', "'3'", OLD, f'"{OLD}"', "x/y"])


@st.composite
def kustomizations(draw: st.DrawFn) -> str:
    """Entries in block or flow style, comments between them, ours somewhere among them."""
    lines = [f"# {draw(WORDS)}", "images:"]
    ours = draw(st.integers(0, 3))
    for place in range(4):
        name = "ghcr.io/acme/delay" if place == ours else f"x/{place}{draw(WORDS)}"
        more = draw(st.lists(NAMES.filter(lambda one: one != "name"), unique=True, max_size=3))
        fields = [f"name: {name}", *(f"{key}: {draw(VALUES)}" for key in more)]
        order = draw(st.permutations(fields))
        note = draw(st.sampled_from(["", " # note", "   # a: b"]))
        if draw(st.booleans()):
            lines.append(f"- {{{', '.join(order)}}}{note}")
        else:
            gap = " " * draw(st.integers(1, 4))
            lines += [f"-{gap}{order[0]}{note}", *(f" {gap}{one}{note}" for one in order[1:])]
        lines += draw(st.lists(st.just("# between"), max_size=1))
    return "\n".join([*lines, "other: [1, 2]", ""])


@given(kustomizations())
@settings(max_examples=400, deadline=None)
def test_any_kustomization_changes_in_two_lines_at_most(text: str) -> None:
    made = edit(text, TARGET, file="k")
    before, after = load(text, file="k"), load(made, file="k")
    place = next(at for at, one in enumerate(before["images"]) if one["name"] == "ghcr.io/acme/delay")
    entry = dict(before["images"][place])
    expected = entry | {"digest": NEW} | ({"newTag": "1.1.0"} if isinstance(entry.get("newTag"), str) else {})
    assert after["images"][place] == expected
    after["images"][place] = entry
    assert after == before
    assert len(changed(text, made)) <= 2
    assert gone(text, made) <= 2
    assert edit(made, TARGET, file="k") == made


@given(
    st.dictionaries(WORDS, st.dictionaries(WORDS, st.one_of(st.integers(), WORDS), max_size=3), max_size=4),
    WORDS,
    WORDS,
)
@settings(max_examples=300, deadline=None)
def test_any_values_file_changes_in_one_line(values: dict[str, Any], group: str, key: str) -> None:
    assume(key not in ("tag", "digest"))
    values.setdefault(group, {})[key] = OLD
    text = "# values\n" + yaml.safe_dump(values, sort_keys=False)
    made = edit(text, TARGET, file="v", key=f"{group}.{key}")
    assert (len(changed(text, made)), gone(text, made)) == (1, 1)
    values[group][key] = NEW
    assert yaml.safe_load(made) == values
