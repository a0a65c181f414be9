"""Records that somebody forged, who may write the data branch but no tag: nobody is told what only they say."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from models_world import ADA, Registry
from trackside.documents.release import Asset, Release
from trackside.documents.run import Metric
from trackside.errors import DataError
from trackside.forge.model import TagRef
from trackside.models import fetch
from trackside.registry.state import fold
from trackside.registry.story import MOST
from trackside.sandbox.server import Sandbox

GOOD, EVIL = b"good weights", b"evil weights"
STATEMENT = "provenance.intoto.json"
STEERS = "\x1b]0;pwned\x07"


def sha(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@pytest.fixture
def world(sandbox: Sandbox, repo: str, workdir: Path) -> Registry:
    return Registry(sandbox, repo, workdir)


def forge(world: Registry, good: Release, files: dict[str, bytes], **changes: object) -> None:
    """A record that names a release of the forger's own, with files of his."""
    hub, of = world.sandbox.hub, world.repo
    said = {"tag_name": "x", "name": "x", "body": "", "draft": True, "target_commitish": good.commit}
    doc = hub.add_release(of, said, ADA)
    made = []
    for one in good.assets:
        kept = world.sandbox.state.root / "blobs" / one.digest.removeprefix("sha256:")
        data = files.get(one.name) or kept.read_bytes()
        hub.add_asset(of, doc["id"], one.name, data, ADA)
        made.append(msgspec.structs.replace(one, digest=sha(data), size=len(data)))
    world.record(msgspec.structs.replace(good, release_id=doc["id"], assets=made, **changes))


def test_a_forged_record_is_not_believed(world: Registry, workdir: Path) -> None:
    good = world.version("delay", "1.0.0", GOOD)
    run = world.runs[good.run]
    other = b'{"subject": [{"digest": {"sha256": "%s"}}]}' % sha(EVIL).removeprefix("sha256:").encode()
    model, both = {"delay.skops": EVIL}, {"delay.skops": EVIL, STATEMENT: other}

    def run_too() -> None:
        forge(world, good, model, model_digest=sha(EVIL))
        artifact = msgspec.structs.replace(run.artifacts[0], digest=sha(EVIL))
        world.ran(msgspec.structs.replace(run, artifacts=[artifact]))

    def run_of_old() -> None:
        forge(world, good, both, model_digest=sha(EVIL))
        world.ran(msgspec.structs.replace(run, trackside="0.0.1"))

    ways: dict[str, Callable[[], None]] = {
        "another run": lambda: forge(world, good, model, model_digest=sha(EVIL), run="ffff"),
        "only the model": lambda: forge(world, good, model, model_digest=sha(EVIL)),
        "another statement": lambda: forge(world, good, both, model_digest=sha(EVIL), statement_digest=sha(other)),
        "another statement, unsaid": lambda: forge(world, good, both, model_digest=sha(EVIL)),
        "no statement": lambda: forge(world, good, model, model_digest=sha(EVIL), statement_digest=""),
        "the run's record too": run_too,
        "a run of an older Trackside": run_of_old,
        "another version's name": lambda: forge(world, good, model, model_digest=sha(EVIL), tag="delay@v2.0.0"),
    }
    cases = 0
    for number, (name, forgery) in enumerate(ways.items()):
        forgery()
        where = world.clone() if number % 4 else None
        out, cache = workdir / f"out{number}", str(workdir / f"cache{number}")
        for more in ((), ("--unbound",)):
            got = world.ask("get", "delay@v1.0.0", "-o", out, *more, clone=where, XDG_CACHE_HOME=cache)
            assert got.code == 7, (name, got)
            assert "fix:" in got.err
            assert not (out / "delay.skops").exists(), name
        told = world.ask("which", "delay@v1.0.0", "--digest", clone=where, XDG_CACHE_HOME=cache)
        assert (told.code, told.out) == (7, ""), (name, told)
        for command in ("which", "show"):
            said = world.ask(command, "delay@v1.0.0", "--json", clone=where, XDG_CACHE_HOME=cache)
            assert said.code == 7 or (said.json["unproven"] if command == "show" else not said.json["model_digest"])
        (line,) = world.ask("show", "delay", "--json", clone=where).json["versions"]
        assert line["unproven"]
        cases += 6
        world.ran(run)
    print(f"{cases} questions about {len(ways)} forged records")
    assert cases == 48
    world.record(good)
    clone = world.clone()
    assert world.ask("get", "delay@v1.0.0", "-o", workdir / "fine", clone=clone).code == 0
    assert (workdir / "fine/delay.skops").read_bytes() == GOOD
    assert world.ask("which", "delay@v1.0.0", "--digest", clone=clone).out == good.model_digest + "\n"
    assert world.ask("which", "delay@v1.0.0", "--json", clone=clone).json["model_digest"] == good.model_digest
    assert world.ask("show", "delay@v1.0.0", "--json", clone=clone).json["unproven"] == ""


def test_metrics_and_images_of_another_are_told(world: Registry) -> None:
    good = world.version("delay", "1.0.0", GOOD)
    world.image(good)
    world.promote("prod", good, 1, Image=world_image(good, "1f"))
    better = [Metric(name="auc", value=0.999, file="metrics.json", direction="max"), *good.metrics[1:]]
    world.record(msgspec.structs.replace(good, metrics=better))
    clone = world.clone()
    shown = world.ask("show", "delay@v1.0.0", clone=clone)
    assert "its metrics are not those of its run" in shown.err
    assert world.ask("which", "delay#prod", "--image", clone=clone).out.endswith("1f1f\n")
    world.record(good)
    world.image(good, "sha256:" + "ee" * 32)
    swapped = world.ask("which", "delay#prod", "--image", clone=world.clone())
    assert (swapped.code, swapped.out) == (7, "")
    assert "delay#prod#1 names" in swapped.err
    world.image(good, model_digest=sha(EVIL))
    for words in (("which", "delay@v1.0.0", "--image"), ("show", "delay@v1.0.0")):
        assert world.ask(*words, clone=world.clone()).code == 7
    (line,) = world.ask("show", "delay", "--json", clone=world.clone()).json["versions"]
    assert line["image"] == ""


def world_image(good: Release, byte: str) -> str:
    return f"registry.example.com:5000/acme/delay:{good.version}@sha256:{byte * 32}"


def test_the_released_statement_proves_where_another_trackside_worded_it(world: Registry, workdir: Path) -> None:
    """As after an update: the statement cannot be made anew from the run's record."""
    good = world.version("delay", "1.0.0", GOOD)
    world.ran(msgspec.structs.replace(world.runs[good.run], trackside="0.0.1"))
    clone = world.clone()
    assert world.ask("which", "delay@v1.0.0", "--digest", clone=clone).out == good.model_digest + "\n"
    assert world.ask("get", "delay@v1.0.0", "-o", workdir / "out", clone=clone).code == 0
    world.sandbox.calls.clear()
    assert world.ask("which", "delay@latest", "--digest", clone=clone, GITHUB_TOKEN="").code == 0
    assert world.sandbox.calls == [], "from the cache"
    assert "Trackside 0.0.1" in world.ask("show", "delay@latest", "--json", clone=clone).json["unproven"]


@pytest.mark.parametrize("light", [True, False])
def test_a_tag_that_names_no_statement_binds_nothing(world: Registry, workdir: Path, light: bool) -> None:
    good = world.version("delay", "1.0.0", GOOD)
    world.tag(good.tag, good.commit, light=light)
    clone, out = world.clone(), workdir / "out"
    refused = world.ask("get", "delay@v1.0.0", "-o", out, clone=clone)
    assert (refused.code, out.exists()) == (3, False)
    assert "--unbound" in refused.err
    assert world.ask("which", "delay@v1.0.0", "--digest", clone=clone).code == 3
    said = world.ask("which", "delay@v1.0.0", "--json", clone=clone).json
    assert (said["model_digest"], "the digest is not told" in said["problems"][-1]) == ("", True)
    assert world.ask("which", "delay@v1.0.0", clone=clone).out == "v1.0.0\n"
    taken = world.ask("get", "delay@v1.0.0", "-o", out, "--unbound", clone=clone)
    assert (taken.code, (out / "delay.skops").read_bytes()) == (0, GOOD)
    assert "--unbound" in taken.err
    assert world.ask("which", "delay@v1.0.0", "--digest", "--unbound", clone=clone).out == good.model_digest + "\n"


@pytest.mark.parametrize("name", ["delay.skops", "DELAY.skops", "manifest.json"])
def test_no_file_takes_the_place_of_another(world: Registry, workdir: Path, name: str) -> None:
    """A record whose other files are called as the model is, or as one another."""
    good = world.version("delay", "1.0.0", GOOD)
    model = msgspec.structs.replace(good.assets[0], name="m.bin")
    other = Asset(name=name, role="golden", digest=sha(EVIL), size=len(EVIL))
    twice = [other] if name == "manifest.json" else []
    world.record(msgspec.structs.replace(good, assets=[model, *good.assets[1:], other, *twice]))
    clone, out = world.clone(), workdir / "out"
    for more in ((), ("--all",), ("--all", "--force"), ("--dry-run",)):
        got = world.ask("get", "delay@v1.0.0", "-o", out, *more, clone=clone)
        assert (got.code, out.exists()) == (7, False), (more, got)
        assert "two files" in got.err


def test_a_name_of_a_metric_does_not_steer_the_terminal(world: Registry) -> None:
    odd = [Metric(name=f"auc{STEERS}", value=0.9, file="m.json", direction="max")]
    world.version("delay", "1.0.0", GOOD, metrics=odd)
    clone = world.clone()
    for words in (("show", "delay"), ("show", "delay@v1.0.0"), ("list",), ("history", "delay")):
        for columns in (0, 80):
            said = world.ask(*words, clone=clone, columns=columns)
            assert said.code == 0
            assert not any(char in said.out + said.err for char in "\x1b\x07\x9b")


def test_a_number_without_end_blocks_no_stage(world: Registry) -> None:
    """Somebody's tag whose number leaves no room for the next: it does not count, and is told."""
    first, second = world.version("delay", "1.0.0", b"one"), world.version("delay", "1.1.0", b"two")
    world.promote("staging", first, 1)
    for digits in (19, 236):
        world.tag(f"delay#staging#{'9' * digits}", second.commit, {"Version": "1.1.0", "Actor": "eve"})
    world.promote("staging", second, 2)
    clone = world.clone()
    assert world.ask("which", "delay#staging", clone=clone).out == "v1.1.0\n"
    problems = world.ask("show", "delay", "--json", clone=clone).json["problems"]
    assert [one["code"] for one in problems] == ["counter_too_large"] * 2
    found = world.ask("doctor", "--json", clone=clone)
    assert sum(one["code"] == "counter_too_large" for one in found.json["findings"]) == 2


def test_a_file_that_changes_in_the_cache_is_not_handed_over(
    world: Registry, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the check of the cache and the copy: what is copied is what is checked."""
    big = random.Random(5).randbytes(200_000)
    world.version("delay", "1.0.0", big)
    clone, out = world.clone(), workdir / "out"
    assert world.ask("get", "delay@v1.0.0", "--all", "-o", workdir / "first", clone=clone).code == 0
    copy, changed = fetch.shutil.copyfile, []

    def slow(source: Path, to: Path) -> None:
        if source.name not in changed:
            changed.append(source.name)
            source.write_bytes(EVIL)
        copy(source, to)

    monkeypatch.setattr(fetch.shutil, "copyfile", slow)
    got = world.ask("get", "delay@v1.0.0", "--all", "-o", out, clone=clone)
    assert (got.code, "changed in the cache" in got.err) == (7, True), got
    assert len(changed) == 1
    assert [one for one in out.rglob("*") if one.is_file()] == []


def test_the_highest_number_leaves_none_for_the_next() -> None:
    """The tag counts, and whoever would make the next one is told which to delete."""
    refs = [TagRef(name=f"m#prod#{number}", object="a" * 40, annotated=True) for number in (MOST, MOST + 1, 7)]
    state = fold(refs)
    assert [one.tag.counter for one in state.events_of("m")] == [7, MOST]
    with pytest.raises(DataError) as error:
        state.next_counter("m")
    assert (error.value.reason_code, f"m#prod#{MOST}" in error.value.remedy) == ("counter_exhausted", True)
    assert fold(refs[2:]).next_counter("m") == 8
