"""Repairs: killed or failing anywhere and done again they end alike; they need the right, and delete nothing needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from doctor_cases import asset, deleted_tag, draft, lightweight, moved
from doctor_world import GIT, World, building
from registry_world import NOW, StoppedClock

from conftest import user
from sweeps import KILL, Case, Deadly, Killed, Prepared, broken, cases, noted
from trackside.doctor.place import DoctorForge
from trackside.errors import TracksideError
from trackside.forge.operations import DiscardRemnant
from trackside.models.reading import Patient, Server
from trackside.models.treat import Visit, Wish, visit
from trackside.registry.release import waiting
from trackside.registry.remote import Remote
from trackside.sandbox.server import Sandbox
from trackside.system.process import Processes

FIX = Wish(repo=Path(), fix=True)


@pytest.fixture(scope="module")
def built(server: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Prepared]]:
    yield from building(server, tmp_path_factory.mktemp("repair"))


@pytest.fixture
def world(built: tuple[World, Prepared], sandbox: Sandbox, tmp_path: Path) -> World:
    assert not sandbox.violations
    built[1].restore()
    return World(at=built[0].at, clone=tmp_path / "clone", commits=built[0].commits)


def forge_of(world: World, token: str = "token-ada") -> DoctorForge:
    return DoctorForge(world.at.repo, token, world.sandbox.api_url, StoppedClock())


def treated(world: World, forge: DoctorForge, processes: Processes, folder: Path, wish: Wish = FIX) -> Visit:
    """One run of the doctor against the server alone."""
    url, token, clock = f"{world.sandbox.url}/{world.at.repo}", "token-ada", StoppedClock()
    with forge:
        folder.mkdir()
        remote = Remote(folder / "job.git", url, token=token, processes=processes, clock=clock)
        server = Server(forge=forge, remote=remote, url=url, token=token, folder=folder, writes=True)
        return visit(Patient(processes=processes, clock=clock, server=server), wish)


def much_harm(world: World) -> None:
    """Every kind of repair at the server at once, but for jobs: tag, record, draft, remnant, publication."""
    deleted_tag(world, draft=True)
    world.write(None, "1.0.0")
    draft(world, "delay@v1.0.7", waiting("delay", "1.0.7"))
    world.forced("delay#staging#5", world.commits[0])
    asset(world, "more.bin", None, instead=False)


def state(world: World) -> Any:
    return world.at.end_state(), sorted(world.bare.refs("refs/trackside/replaced/"))


@pytest.mark.usefixtures("remembering")
def test_broken_anywhere_and_done_again_it_ends_alike(
    built: tuple[World, Prepared], world: World, tmp_path: Path
) -> None:
    much_harm(world)
    harmed = Prepared(world.sandbox, world.at.repo)
    forge, processes = forge_of(world), Deadly(GIT.env)
    methods = noted(forge)
    once = treated(world, forge, processes, tmp_path / "once")
    assert (once.problems, Counter(one.outcome for one in once.done)) == (0, {"done": 6})
    wanted, counted = state(world), Counter[str]()
    tried = [*cases(methods, reads=False), *(Case(kind=f"git {KILL}", number=one) for one in range(processes.seen))]
    for number, case in enumerate(tried):
        harmed.restore()
        if case.kind.startswith("git"):
            with pytest.raises(Killed):
                treated(world, forge_of(world), Deadly(GIT.env, case.number), tmp_path / f"broken-{number}")
        else:
            folder = tmp_path / f"broken-{number}"

            def work(forge: Any, folder: Path = folder) -> None:
                with suppress(TracksideError):
                    treated(world, forge, GIT, folder)

            broken(case, world.sandbox, forge_of(world), work)
        again = treated(world, forge_of(world), GIT, tmp_path / f"again-{number}")
        assert again.problems == 0, (case, [one.what for one in again.left])
        assert state(world) == wanted, case
        counted[case.kind] += 1
    print(f"{len(methods)} API calls, {processes.seen} commands of git: {sum(counted.values())} cases {dict(counted)}")
    assert sum(counted.values()) == len(tried) >= 20


def test_without_the_right_nothing_is_written(world: World) -> None:
    much_harm(world)
    world.fresh()
    before = world.everything()
    said = world.doctor("--fix", token="token-mallory")
    assert said.code == 3
    repairs = said.document["repairs"]
    assert {one["outcome"] for one in repairs} == {"refused"}
    assert {one["reason_code"] for one in repairs} == {"rights_missing"}
    assert world.everything() == before
    assert "draft_left" in said.notes  # drafts are not seen, which is said


def test_a_plan_writes_nothing(world: World) -> None:
    much_harm(world)
    world.fresh()
    before, tags = world.everything(), world.git("for-each-ref")
    said = world.doctor("--dry-run")
    assert said.code == 1
    assert Counter(one["outcome"] for one in said.document["repairs"]) == {"planned": len(said.document["repairs"])}
    assert len(said.document["repairs"]) >= 4
    assert (world.everything(), world.git("for-each-ref")) == (before, tags)


def test_a_tag_comes_back_as_the_very_same_object(world: World) -> None:
    before = world.bare.refs("refs/tags/")
    for harm in (lightweight, lambda world: deleted_tag(world, draft=False)):
        harm(world)
        world.fresh() if not world.clone.exists() else None
        assert world.doctor("--fix").code == 0
        assert world.bare.refs("refs/tags/") == before


def test_what_a_moved_tag_was_is_kept(world: World) -> None:
    before = world.bare.refs("refs/tags/")
    moved(world)
    held = world.bare.refs("refs/tags/delay@v1.0.1")["refs/tags/delay@v1.0.1"]
    world.fresh()
    said = world.doctor()
    (row,) = [one for one in said.document["findings"] if one["code"] == "tag_moved"]
    assert world.commits[0] in row["what"]
    assert world.commits[1] in row["what"]
    assert world.doctor("--fix", "--force").code == 0
    assert world.bare.refs("refs/tags/") == before
    assert world.bare.refs("refs/trackside/replaced/") == {f"refs/trackside/replaced/delay@v1.0.1/{held}": held}


def test_a_record_comes_back_as_it_was(world: World) -> None:
    before = world.at.records()
    for text in ("", "{"):
        for version in ("1.0.0", "1.0.1"):
            world.write(None, version, text)
    world.fresh()
    assert world.doctor("--fix").code == 0
    again = world.at.records()
    assert [one.created_at[:19] for one in again] == [one.created_at[:19] for one in before]
    assert [_told(one) for one in again] == [_told(one) for one in before]


def _told(record: Any) -> Any:
    return {**msgspec.to_builtins(record), "created_at": "", "pull_request": None}


def test_a_record_that_names_another_tag_is_damaged(world: World) -> None:
    before = world.record("1.0.1")
    world.write(msgspec.structs.replace(before, tag="delay@v1.0.0"))
    world.fresh()
    assert world.doctor().problems == {"record_damaged"}
    assert world.doctor("--fix").code == 0
    assert world.record("1.0.1").tag == before.tag


def test_files_that_prove_nothing_restore_nothing(world: World) -> None:
    """A release whose run is not the tag's: the record stays away, and the doctor says why."""
    world.write(None, "1.0.1")
    other = world.at.asset("run.json", world.record("1.0.0").release_id)
    number = next(one["id"] for one in world.at.releases() if one["tag_name"] == "delay@v1.0.1")
    (old,) = world.sandbox.state.list("asset", world.at.repo, release=number, name="run.json")
    world.sandbox.hub.delete_asset(world.at.repo, old["id"])
    world.sandbox.hub.add_asset(world.at.repo, number, "run.json", other, user("ada"))
    world.fresh()
    said = world.doctor("--fix")
    assert (said.code, said.problems) == (1, {"record_missing"})
    (row,) = said.document["repairs"]
    assert (row["outcome"], row["reason_code"]) == ("failed", "content_mismatch")
    assert [one.version for one in world.at.records()] == ["1.0.0"]


def test_what_is_out_of_use_is_not_made_again(world: World) -> None:
    deleted_tag(world, draft=False)
    world.tagged("delay@v1.0.1!#7", world.commits[1], "out of use\n", StoppedClock().now())
    world.fresh()
    said = world.doctor("--fix")
    assert "tag_missing" not in said.problems
    assert "delay@v1.0.1" not in world.at.tags()


def test_a_whole_file_is_no_remnant(world: World) -> None:
    number = world.record("1.0.1").release_id
    held = world.sandbox.state.list("asset", world.at.repo, release=number)
    with forge_of(world) as forge:
        done = forge.apply([DiscardRemnant(asset_id=one["id"]) for one in held] + [DiscardRemnant(asset_id=10**9)])
    assert [one.outcome for one in done] == ["unchanged"] * (len(held) + 1)
    assert world.sandbox.state.list("asset", world.at.repo, release=number) == held


def test_words_for_people(world: World) -> None:
    lightweight(world)
    world.fresh()
    said = world.say("doctor")
    assert said.code == 1
    assert "PROBLEM    lightweight: delay@v1.0.1 is a lightweight tag" in said.out
    assert "1 problem, 1 of them for --fix" in said.out
    fixed = world.say("doctor", "delay", "--fix")
    assert (fixed.code, fixed.out.splitlines()[0].split()[0]) == (0, "DONE")
    assert f"nothing is wrong with {world.at.repo}" in fixed.out
    assert world.say("doctor", "--force").reason == "config_invalid"
    assert "another model's" not in world.say("doctor", "other").out
    alone = world.say("doctor", token="")
    assert (alone.code, alone.out.splitlines()[-1]) == (0, "nothing is wrong with what was looked at")
    nowhere = world.say("doctor", token="", folder=world.clone.parent)
    assert (nowhere.code, nowhere.reason) == (2, "config_invalid")


def made_up(world: World, version: str, *, commit: str, files: dict[str, bytes], **other: Any) -> None:
    """What takes no more than the right to push to the data branch and to draft: a version that nobody registered."""
    number = draft(world, f"delay@v{version}", "")
    for name, data in files.items():
        world.sandbox.hub.add_asset(world.at.repo, number, name, data, user("mallory"))
    old = world.record("1.0.1")
    kept = [one for one in old.assets if one.name in files]
    fields = {"tag": f"delay@v{version}", "version": version, "commit": commit, "release_id": number, "assets": kept}
    world.write(msgspec.structs.replace(old, tag_object="", **{**fields, **other}))


def test_a_record_alone_makes_neither_tag_nor_release(world: World) -> None:
    """Without `--force` a record counts as far as its release proves it, on the default branch; why is told."""
    side = world.sandbox.hub.commit_folder(world.at.repo, "side", {"evil.py": b"evil"}, "Aside", user("mallory"))
    old = world.record("1.0.1")
    files = {one.name: world.at.asset(one.name, old.release_id) for one in old.assets}
    names = ("model.bin", "run.json", "provenance.intoto.json")
    whole = {name: files[name] for name in names}
    other = {name: world.at.asset(name, world.record("1.0.0").release_id) for name in names}
    main, out = world.commits[1], "is the one that delay@v1.0.1 was made of"
    tried = {
        "7.0.0": (side, {}, {}, "carries no provenance.intoto.json and no run.json"),
        "7.0.1": (main, {"model.bin": files["model.bin"]}, {}, "carries no provenance.intoto.json and no run.json"),
        "7.0.2": (main, whole, {}, out),
        "7.0.3": (main, other, {"run": "another"}, "does not prove it (record statement, run, statement, "),
        "7.0.4": (main, whole, {"run": "another"}, "does not prove it (run, statement run)"),
        "7.0.5": (
            main,
            whole,
            {"run": "another", "model_digest": "sha256:" + "0" * 64},
            "is not the one that it names",
        ),
    }
    for version, (commit, given, fields, _) in tried.items():
        made_up(world, version, commit=commit, files=given, **fields)
    world.fresh()
    before = world.everything()
    said = world.doctor("--fix")
    print(f"{len(tried)} records that were made up")
    assert (said.code, said.document["repairs"], world.everything()) == (1, [], before)
    found = {one["subject"]: one for one in said.document["findings"] if one["code"] == "tag_missing"}
    assert sorted(found) == [f"delay@v{version}" for version in tried]
    for version, (*_, why) in tried.items():
        row = found[f"delay@v{version}"]
        assert row["force"]
        assert "--force is asked, since" in row["why"]
        assert why in row["why"]
        assert f"releases/delay/{version}.json" in row["remedy"]
    assert all(one["force"] for one in said.document["findings"] if one["code"] == "release_unpublished")


def test_a_proven_record_off_the_default_branch_takes_force(world: World) -> None:
    deleted_tag(world, draft=True)
    side = world.sandbox.hub.commit_folder(world.at.repo, "side", {"evil.py": b"evil"}, "Aside", user("mallory"))
    world.write(msgspec.structs.replace(world.record("1.0.1"), commit=side))
    world.fresh()
    before = world.everything()
    said = world.doctor("--fix")
    assert (said.document["repairs"], world.everything()) == ([], before)
    (row,) = [one for one in said.document["findings"] if one["code"] == "tag_missing"]
    assert f"commit {side[:12]} is not on main" in row["why"]
    assert world.doctor("--fix", "--force").document["repairs"][0]["outcome"] == "done"


def test_a_lightweight_tag_does_not_get_a_made_up_record_s_words(world: World) -> None:
    lightweight(world)
    world.write(msgspec.structs.replace(world.record("1.0.1"), run="another"))
    world.fresh()
    said = world.doctor("--fix")
    assert (said.document["repairs"], said.problems) == ([], {"lightweight"})


def test_a_model_that_nobody_has_is_no_healthy_one(world: World) -> None:
    world.fresh()
    assert world.doctor("delay").code == 0
    for words in (("nosuch",), ("nosuch", "--offline"), ("nosuch", "--fix")):
        said = world.doctor(*words)
        assert (said.code, said.reason) == (4, "version_unknown"), words
        assert "models: delay" in said.error
    assert (world.doctor("no such").code, world.doctor("../x").code) == (2, 2)
    for name in ("delay@v1.0.0", "delay@v1.0.1", *(f"delay#{stage}" for stage in ("staging#1", "prod#2"))):
        world.git("tag", "--delete", name)
    for name in ("staging#3", "prod#4"):
        world.git("tag", "--delete", f"delay#{name}")
    tagless = world.doctor("nosuch", token="")
    assert (tagless.code, tagless.problems) == (1, {"clone_tagless"})


def test_a_stage_tag_that_was_deleted_or_moved_is_seen_by_its_deployment(world: World) -> None:
    """Each tag here is wrong without any trace in git but its number, if that."""
    assert world.promote("1.0.0", "live") == "promoted"
    assert world.promote("1.0.1", "live") == "promoted"
    first, second = "delay#live#5", "delay#live#6"
    held = world.bare.refs("refs/tags/")

    def now() -> tuple[set[str], set[str]]:
        """Problems and notes; two promotions of a test may be of one second."""
        said = world.doctor("--repository", world.at.repo, folder=world.clone.parent)
        return said.problems, said.notes - {"clock_disorder"}

    assert now() == (set(), set())
    world.gone(second)
    assert now() == ({"stage_tag_missing"}, set())
    world.forced(second, held[f"refs/tags/{second}"])
    world.gone(first)
    assert now() == (set(), {"stage_tag_missing", "counter_gap"})
    world.forced(first, held[f"refs/tags/{first}"])
    world.tagged(second, world.commits[0], "by hand\n", NOW)
    assert now() == ({"stage_tag_moved"}, set())
    world.tagged(second, world.commits[1], "by hand\n\nVersion: 1.0.0\n", NOW)
    assert "stage_tag_moved" in now()[0]
    assert world.promote("1.0.1", "live") == "promoted"
    assert now() == (set(), {"stage_tag_moved"})
