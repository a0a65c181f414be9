"""`trackside models list, show, history, which`: a clone and the API say the same, readable at 80 and 120 columns."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from models_world import ADA, Registry
from trackside.models.layout import width
from trackside.sandbox.server import Sandbox

POLICY = b"""\
version: 1
models:
  delay:
    path: models/delay.skops
    metrics: {auc: {file: metrics.json, direction: max}}
    promotion: [staging, prod]
    card: {description: "Is a flight late by 15 minutes or more? A probability for each.", tags: [tabular]}
"""
GTO = {".gto": b"stages: [dev, prod]\n", "dvc.yaml": b"artifacts: {fare: {path: fare.pkl, type: model, desc: Fares}}\n"}
DIGEST = "sha256:" + "1f" * 32
LONG = "the first one that is good enough for everybody who asked for it in the last review"


@pytest.fixture
def world(sandbox: Sandbox, repo: str, workdir: Path) -> Registry:
    """`delay` with three versions, two stages and an image; `fare` of tags alone; `old`, which is out of use."""
    made = Registry(sandbox, repo, workdir)
    first = made.version("delay", "1.0.0", b"one", auc=0.9, loss=0.3)
    second = made.version("delay", "1.1.0", b"two", auc=0.912, loss=0.35, previous="1.0.0")
    made.version("delay", "1.2.0", b"three", auc=0.905, loss=0.2, state="draft")
    made.image(second, DIGEST)
    made.promote("prod", second, 1, Reason="rushed")
    made.promote("staging", second, 2, Actor="bob")
    made.promote("prod", first, 3, Reason=LONG, **{"Rolled-Back": "1.1.0", "Comment": "99"})
    made.tag("fare@v0.1.0", first.commit)
    made.tag("fare#dev#1", first.commit)
    made.tag("old@v1.0.0", first.commit)
    made.tag("old@deprecated#1", first.commit, {"Actor": "eve", "Reason": "replaced by delay"})
    made.sandbox.hub.commit_folder(repo, "main", {"trackside.yaml": POLICY, **GTO}, "Policy", ADA)
    return made


QUESTIONS = (
    ("list",),
    ("list", "fare"),
    ("show", "delay"),
    ("show", "fare"),
    ("show", "old"),
    ("show", "delay@v1.1.0"),
    ("show", "delay#prod"),
    ("show", "fare@latest"),
    ("history",),
    ("history", "delay"),
    ("history", "delay", "-n", "2"),
    ("which", "delay#prod"),
    ("which", "delay@latest", "--commit"),
    ("which", "delay#staging", "--image"),
    ("which", "fare#dev", "--commit"),
    ("which", "old@v1.0.0"),
)
REFUSED = (("show", "nope"), ("history", "nope"), ("list", "nope"), ("which", "delay@v9.9.9"), ("which", "fare#prod"))


def test_a_clone_and_github_answer_alike(world: Registry) -> None:
    clone = world.clone()
    for words in (*QUESTIONS, *REFUSED):
        for more in ((), ("--json",)) if words[0] in ("show", "history") else (("--json",),):
            here, there = world.ask(*words, *more, clone=clone), world.ask(*words, *more)
            assert here.code == there.code, (words, here, there)
            assert here.err == there.err, words
            if more and words in QUESTIONS:
                one, other = here.json, there.json
                assert one.pop("repository") == other.pop("repository") == world.repo
                assert one == other, words
            else:
                assert here.out == there.out, words
    print(f"{len(QUESTIONS) + len(REFUSED)} questions, two ways")
    assert all(world.ask(*words, clone=clone).code == 4 for words in REFUSED)


@pytest.mark.parametrize("columns", [80, 120])
def test_every_line_fits_the_terminal(world: Registry, columns: int) -> None:
    clone = world.clone()
    for words in QUESTIONS:
        said = world.ask(*words, clone=clone, columns=columns)
        keys = ("digest  ", "image  ", "page  ")  # what is copied is never cut
        lines = [line for line in said.out.splitlines() if not line.startswith(keys)]
        if words[0] != "which":
            assert max(map(width, lines)) <= columns, words
        assert said.err == "" or "deprecated" in said.err


def test_what_list_says(world: Registry) -> None:
    clone = world.clone()
    rows = [line.split("  ") for line in world.ask("list", clone=clone, columns=200).out.splitlines()]
    found = {row[0]: [cell.strip() for cell in row if cell.strip()] for row in rows}
    assert list(found) == ["MODEL", "delay", "fare", "old"]
    assert found["MODEL"] == ["MODEL", "LATEST", "STAGES", "AGE", "TYPE", "DESCRIPTION"]
    assert found["delay"][1:3] == ["v1.2.0 of 3", "staging v1.1.0, prod v1.0.0"]
    assert "Is a flight late" in found["delay"][-1]
    assert found["fare"][-2:] == ["model", "Fares"]
    assert found["old"][-1] == "DEPRECATED"
    (fare,) = world.ask("list", "fare", "--json", clone=clone).json["models"]
    assert fare["stages"] == {"dev": "v0.1.0"}
    assert fare["path"] == "fare.pkl"
    assert world.ask("--json", clone=clone).json == world.ask("list", "--json", clone=clone).json


def test_what_show_says(world: Registry) -> None:
    clone = world.clone()
    text = world.ask("show", "delay", clone=clone, columns=120).out
    lines = text.splitlines()
    assert lines[0].startswith("delay: Is a flight late")
    stages = [line.split() for line in lines[lines.index(next(one for one in lines if one.startswith("STAGE"))) + 1 :]]
    assert stages[0][:2] == ["staging", "v1.1.0"]
    assert "bob" in stages[0]
    assert stages[1][:2] == ["prod", "v1.0.0"]
    head = next(line for line in lines if line.startswith("VERSION"))
    assert "auc ↑" in head
    assert "loss ↓" in head
    v12, v11, v10 = (next(line for line in lines if line.startswith(f"v1.{n}.0")) for n in (2, 1, 0))
    assert "draft" in v12
    assert "0.905 -0.007!" in v12
    assert "0.912 +0.012" in v11
    assert "0.35 +0.05!" in v11
    assert "1f1f1f1f1f1f" in v11
    assert "prod" in v10
    assert "! worse" in text
    found = world.ask("show", "delay", "--json", clone=clone).json
    assert found["stages"]["prod"]["reason"] == LONG
    by = {one["version"]: one for one in found["versions"]}
    assert by["v1.1.0"]["image_digest"] == DIGEST
    assert by["v1.1.0"]["stages"] == ["staging"]
    (auc, loss, rows) = by["v1.1.0"]["metrics"]
    assert (auc["verdict"], loss["verdict"], rows["verdict"]) == ("better", "worse", "")
    assert auc["change"] == pytest.approx(0.012)
    one = world.ask("show", "delay", "-n", "1", clone=clone).out
    assert "2 older versions" in one
    assert "0.905 -0.007!" in one, "what is not shown still tells what changed"
    world.data({"releases/delay/1.0.0.json": None})
    assert "no release" in world.ask("show", "delay@v1.0.0", clone=world.clone()).out
    assert "DEPRECATED" in world.ask("show", "old", clone=clone).out
    assert "replaced by delay" in world.ask("show", "old", clone=clone).out


def test_what_a_version_says(world: Registry) -> None:
    text = world.ask("show", "delay@v1.1.0", clone=world.clone()).out
    for words in ("in staging", "#7", "r110", "registry.example.com:5000/acme/delay@" + DIGEST, "12 of 12 requests"):
        assert words in text
    assert text.count("promoted v1.1.0 to") == 2
    assert "delay.skops" in text
    assert "better" in text


def test_what_history_says(world: Registry) -> None:
    clone = world.clone()
    told = world.ask("history", "delay", "--json", clone=clone).json["events"]
    assert [(one["action"], one["version"], one["stage"]) for one in told] == [
        ("assign", "v1.0.0", "prod"),
        ("assign", "v1.1.0", "staging"),
        ("assign", "v1.1.0", "prod"),
        ("register", "v1.2.0", ""),
        ("register", "v1.1.0", ""),
        ("register", "v1.0.0", ""),
    ]
    assert told[0]["text"] == "gave prod back to v1.0.0, from v1.1.0"
    assert told[0]["reason"] == LONG
    assert told[0]["trailers"]["Comment"] == "99"
    assert len(world.ask("history", "delay", "-n", "2", "--json", clone=clone).json["events"]) == 2
    assert len(world.ask("history", "--json", clone=clone).json["events"]) == 10
    assert "comment 99" in world.ask("history", "delay", clone=clone).out


def test_what_which_says(world: Registry) -> None:
    clone = world.clone()
    commit = world.records["delay@v1.0.0"].commit
    for words, said in (
        (("delay#prod",), "v1.0.0"),
        (("delay#prod", "--commit"), commit),
        (("delay#prod", "--digest"), world.records["delay@v1.0.0"].model_digest),
        (("delay@latest",), "v1.2.0"),
        (("fare#dev",), "v0.1.0"),
        (("fare@v0.1.0", "--commit"), commit),
    ):
        got = world.ask("which", *words, clone=clone)
        assert (got.code, got.out, got.err) == (0, said + "\n", ""), words
    for words, reason in ((("fare#dev", "--digest"), "no record"), (("delay#prod", "--image"), "no image")):
        got = world.ask("which", *words, clone=clone)
        assert (got.code, got.out) == (4, "")
        assert reason in got.err


DOUBTS = {
    "assigned and taken back by one number": ["tw@v1.0.0", "tw#prod#3", "tw#prod!#3"],
    "the same after an assignment": ["tw@v1.0.0", "tw#prod#1", "tw#prod!#3", "tw#prod#3"],
    "of a commit without a version": ["tw@v1.0.0", "elsewhere tw#prod#1"],
    "of a version registered at two commits": ["tw@v1.0.0#1", "elsewhere tw@v1.0.0#2", "elsewhere tw#prod#3"],
    "of a version and of another commit": ["tw@v1.0.0", "elsewhere tw#prod#1 1.0.0"],
}


@pytest.mark.parametrize("kind", DOUBTS)
def test_where_which_gives_no_answer_nobody_is_given_one(world: Registry, kind: str) -> None:
    """`list` and `show` print `?`, neither a version nor that nobody is in the stage."""
    bare = world.sandbox.hub.bare(world.repo)
    here, elsewhere = world.records["delay@v1.0.0"].commit, bare.git("rev-parse", "main").text.strip()
    for name in DOUBTS[kind]:
        tag, _, version = name.removeprefix("elsewhere ").partition(" ")
        world.tag(tag, elsewhere if name.startswith("elsewhere") else here, {"Version": version} if version else {})
    clone = world.clone()
    asked = world.ask("which", "tw#prod", clone=clone)
    assert (asked.code, asked.out) == (7, "")
    assert world.ask("list", "tw", "--json", clone=clone).json["models"][0]["stages"] == {"prod": "?"}
    assert "prod ?" in world.ask("list", "tw", clone=clone, columns=120).out
    shown = world.ask("show", "tw", "--json", clone=clone).json
    assert shown["stages"]["prod"]["version"] == "?"
    assert [one["stages"] for one in shown["versions"]] == [[]]
    row = next(line for line in world.ask("show", "tw", clone=clone, columns=200).out.splitlines() if "prod" in line)
    assert row.split()[:2] == ["prod", "?"]
    assert len(row.split()) > 4, "and why"


def test_hostile_words_steer_neither_terminal_nor_runner(world: Registry) -> None:
    bad = "\x1b[2J\x1b]0;own\x07 ::set-output name=x::y\r\n##[error]x \u202e\ud83d\ude00 \x00"
    bad = bad.encode("utf-16", "surrogatepass").decode("utf-16").replace("\0", "").replace("\r\n", " ")
    release = world.records["delay@v1.1.0"]
    metrics = [msgspec.structs.replace(one, name=one.name + bad) for one in release.metrics]
    world.record(msgspec.structs.replace(release, run=bad))
    refused = world.ask("which", "delay@v1.1.0", clone=world.clone())
    assert refused.code == 7
    assert not [char for char in refused.err if not char.isprintable() and char != "\n"]
    assert "##[" not in refused.err
    world.record(msgspec.structs.replace(release, metrics=metrics, url=bad))
    world.promote("prod", release, 9, Reason=bad, Actor=bad, Comment=bad)
    world.image(release, DIGEST, reference=f"host/{bad}:1", bento=bad)
    text = f"artifacts: {{delay: {{path: {json.dumps(bad)}, type: {json.dumps(bad)}, desc: {json.dumps(bad)}}}}}\n"
    world.sandbox.hub.commit_folder(world.repo, "main", {"dvc.yaml": text.encode(), "trackside.yaml": None}, "x", ADA)
    asked = 0
    for clone in (world.clone(), None):
        for words in QUESTIONS:
            for more in ({}, {"GITHUB_ACTIONS": "true"}) if clone else ({"GITHUB_ACTIONS": "true"},):
                got = world.ask(*words, clone=clone, columns=100, **more)
                assert got.code == 0, got.err
                assert not [char for char in got.out + got.err if not char.isprintable() and char != "\n"], words
                if more:
                    assert not [line for line in got.out.splitlines() if line.lstrip().startswith("::")], words
                    assert "##[" not in got.out
                asked += 1
    print(f"{asked} answers")
    assert asked == 48


def test_tag_names_of_others_are_left_alone(world: Registry) -> None:
    clone = world.clone()
    before = world.ask("list", "--json", clone=clone).json
    names = ("v1.0.0", "release-1", "delay@1.0", "delay@v1", "x#", "délai@v1.0.0", "delay@v01.0.0", "a=b=c@v1.0.0")
    for name in (*names, "-x@v1.0.0", "delay#pro.d", "refs/heads/main", "x" * 200):
        world.sandbox.hub.bare(world.repo).git("update-ref", f"refs/tags/{name}", "main")
    assert world.ask("list", "--json", clone=world.clone()).json == before


def test_damaged_records_are_told_and_left_out(world: Registry) -> None:
    broken = {
        "releases/delay/1.0.0.json": b"{",
        "images/delay/1.1.0.json": b'{"schema": "trackside.image/9"}',
        "releases/delay/1.1.0.json": b"[]" * 10,
    }
    for clone in (None, "clone"):
        world.data(broken)
        got = world.ask("show", "delay", clone=world.clone() if clone else None)
        assert got.code == 0
        assert got.err.count("is left out") >= 2
        assert "no release" in got.out


def test_questions_write_nothing(world: Registry) -> None:
    clone = world.clone()
    before = {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()}
    world.sandbox.calls.clear()
    for words in QUESTIONS:
        world.ask(*words, clone=clone)
    assert {path: path.read_bytes() for path in clone.rglob("*") if path.is_file()} == before
    assert world.sandbox.calls == [], "a clone answers by itself"
    for words in QUESTIONS[::4]:
        world.ask(*words)
    assert {one.method for one in world.sandbox.calls} <= {"GET"}
