"""Deprecation, the reading of long histories, and races of promotion, rollback and deprecation, over real HTTP."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from conftest import bot_forge
from promote_world import Place, Quick, opened
from trackside.documents.result import Result
from trackside.forge.operations import CreateTag
from trackside.registry import read
from trackside.registry.locks import lock_ref
from trackside.registry.locks import read as read_lock
from trackside.registry.stage_tags import StageTags
from trackside.registry.tags import message
from trackside.registry.versions import Version, parse
from trackside.sandbox.server import Sandbox

TAGGER = {"GIT_COMMITTER_NAME": "ada", "GIT_COMMITTER_EMAIL": "ada@x.test"}


@pytest.fixture
def place(sandbox: Sandbox, repo: str) -> Place:
    return opened(sandbox, repo)


def asked(place: Place, task: str, **inputs: str) -> Result:
    return place.run(place.dispatch({"task": task, "model": "delay", **inputs}, "ada"))


def test_a_version_is_taken_out_of_use_by_a_tag(place: Place) -> None:
    result = place.ask("/deprecate delay@v1.1.0 it's trained on the wrong year: `2023` @mia #1")
    assert (result.decision, result.reason_code) == ("done", "deprecated"), result
    tag = result.values["tag"]
    assert tag == "delay@v1.1.0!#1"
    said = place.said(tag)
    assert said["Reason"] == "it's trained on the wrong year: `2023` @mia #1"
    assert (said["Version"], said["Actor"], said["Run"]) == ("1.1.0", "ada", "1")
    assert "v1.1.0 of `delay` is out of use. Tag `delay@v1.1.0!#1`" in place.replies()[-1]
    assert "2023" not in place.replies()[-1]
    with place.forge() as forge:
        state = read.state(forge, "delay")
    assert [str(one) for one in state.versions("delay")] == ["1.0.0"]
    assert place.sandbox.hub.bare(place.repo).refs("refs/tags/delay@v1.1.0")
    refused = place.ask("/promote delay@v1.1.0 staging")
    assert (refused.decision, refused.reason_code) == ("refused", "version_deprecated")
    assert "delay@v1.1.0!#1" in place.replies()[-1]
    latest = place.ask("/promote delay staging")
    assert latest.values["version"] == "1.0.0", "the newest is the newest in use"
    again = asked(place, "deprecate", version="1.1.0")
    assert (again.decision, again.values["tag"]) == ("done", tag)
    assert place.tags("@v1.1.0!") == [tag]


def test_what_holds_a_stage_stays_in_use(place: Place) -> None:
    assert asked(place, "promote", stage="staging", version="1.0.0").decision == "done"
    with place.forge() as forge:  # a stage that another tool knows, of a GTO tag without trailers
        forge.apply([CreateTag(name="delay#shadow#9", commit=place.commits["1.1.0"], message="Assigning stage")])
    for version, stage in (("1.0.0", "staging"), ("1.1.0", "shadow")):
        result = place.ask(f"/deprecate delay@v{version}")
        assert (result.decision, result.reason_code) == ("refused", "version_in_stage"), version
        assert f"delay v{version} is in {stage}" in place.replies()[-1]
        assert f"/rollback delay {stage}" in place.replies()[-1]
    assert place.tags("!") == []
    assert asked(place, "promote", stage="staging", version="1.1.0").decision == "done"
    assert asked(place, "deprecate", version="1.0.0").decision == "done"
    back = asked(place, "rollback", stage="staging")
    assert back.reason_code == "no_previous_version", "a version that is out of use is passed over"


def test_a_whole_model_is_deprecated_and_a_promotion_takes_it_up_again(place: Place) -> None:
    assert asked(place, "promote", stage="staging").decision == "done"
    result = place.ask("/deprecate delay replaced by fare")
    assert (result.decision, result.values["tag"], result.values["version"]) == ("done", "delay@deprecated#2", "")
    assert "`delay` is out of use" in place.replies()[-1]
    assert asked(place, "deprecate").values["tag"] == "delay@deprecated#2"
    with place.forge() as forge:
        assert read.state(forge, "delay").deprecated("delay") is not None
    assert asked(place, "promote", stage="staging", version="1.0.0").decision == "done"
    with place.forge() as forge:
        assert read.state(forge, "delay").deprecated("delay") is None


def test_what_cannot_be_deprecated(place: Place) -> None:
    for inputs, code in (
        ({"version": "9.9.9"}, "version_unknown"),
        ({"version": "../x"}, "version_unknown"),
        ({"version": "latest"}, "version_unknown"),
        ({"model": "dely"}, "model_unknown"),
        ({"model": "fare"}, "version_unknown"),
    ):
        result = asked(place, "deprecate", **inputs)
        assert (result.decision, result.reason_code) == ("refused", code), inputs
    by_bob = place.run(place.dispatch({"task": "deprecate", "model": "delay"}, "bob"))
    assert by_bob.reason_code == "permission_missing"
    assert place.tags("!") + place.tags("deprecated") == []


def test_a_comment_deprecates_once(place: Place) -> None:
    comment = place.say("/deprecate delay@v1.1.0")
    for _ in range(2):
        done = place.run(place.dispatch({"task": "deprecate", "comment": comment}))
        assert done.values["tag"] == "delay@v1.1.0!#1"
    with place.forge() as forge:  # taken up again by hand, as GTO does it
        text = message("Take up again", {"Actor": "mia"})
        forge.apply([CreateTag(name="delay@v1.1.0#2", commit=place.commits["1.1.0"], message=text)])
    place.run(place.dispatch({"task": "deprecate", "comment": comment}))
    assert place.tags("@v1.1.0!") == ["delay@v1.1.0!#1"], "the old comment does not undo that"
    assert place.ask("/promote delay@v1.1.0 staging").decision == "done"


# Long histories


def many(place: Place, count: int, seed: int = 1) -> list[tuple[str, str]]:
    """`count` promotions of staging between three versions, straight into git; version and tag of each."""
    place.version("1.2.0")
    bare, rng, made = place.sandbox.hub.bare(place.repo), random.Random(seed), list[tuple[str, str]]()
    for number in range(1, count + 1):
        version = rng.choice([one for one in ("1.0.0", "1.1.0", "1.2.0") if not made or one != made[-1][0]])
        text = message("Give", {"Version": version, "Actor": "ada", "Run": str(number)})
        tag = f"delay#staging#{number}"
        bare.git("tag", "-a", tag, place.commits[version], "-m", text, env=TAGGER)
        made.append((version, tag))
    return made


def test_a_version_that_was_in_the_stage_long_ago_may_go_on(place: Place) -> None:
    place.version("1.3.0")
    assert asked(place, "promote", stage="staging", version="1.3.0").decision == "done"
    place.drop(["delay#staging#1"])
    text = message("Give", {"Version": "1.3.0", "Actor": "ada", "Run": "9"})
    with place.forge() as forge:
        forge.apply([CreateTag(name="delay#staging#0", commit=place.commits["1.3.0"], message=text)])
    many(place, 40)
    assert asked(place, "promote", stage="prod", version="1.3.0").decision == "done"


def test_only_as_many_tags_are_read_as_tell(place: Place) -> None:
    made = many(place, 64)
    with place.forge() as forge:
        tags = StageTags(forge, "delay")
        calls = forge.calls
        newest = parse(made[-1][0])
        assert newest is not None
        assert tags.holder("staging").holder("delay", "staging") == newest
        assert forge.calls - calls == 1
        assert newest in tags.ever("staging", newest)
        assert forge.calls - calls == 1
        tags.before("staging")
        assert forge.calls - calls <= 4
        assert Version(9, 0, 0) not in tags.ever("staging", Version(9, 0, 0))
        assert forge.calls - calls == 64, "never is told by all of them"
        assert tags.recent("staging", datetime(2100, 1, 1, tzinfo=UTC))[0].name == made[-1][1]


def test_rollbacks_agree_with_a_stack_however_little_is_read(place: Place) -> None:
    """Random promotions and rollbacks, the tags read anew for each: against a list that is kept by hand."""
    rng, held, ran = random.Random(7), list[str](), 0
    for number in ("1.2.0", "1.3.0"):
        place.version(number)
    for _ in range(24):
        if held and rng.random() < 0.5:
            result = asked(place, "rollback", stage="staging")
            if len(held) < 2:
                assert result.reason_code == "no_previous_version"
            else:
                held.pop()
                assert (result.decision, result.values["version"]) == ("done", held[-1])
        else:
            version = rng.choice(sorted(place.commits))
            assert asked(place, "promote", stage="staging", version=version).decision == "done"
            if not held or held[-1] != version:
                held.append(version)
        ran += 1
        assert place.holder("staging") == held[-1]
    print(f"{ran} changes")
    assert ran == 24
    (last,) = [one for one in place.deployed()["delay/staging"] if one[1] == "success"]
    assert last[0] == max(place.tags(), key=lambda one: int(one.rpartition("#")[2]))


# At once


def test_promotion_rollback_and_deprecation_at_once(place: Place) -> None:
    """Whoever is first: nothing that is out of use holds a stage, each that was told so left its tag, no lock stays."""
    rounds, done, held_up = 6, 0, 0
    for one in range(2, 2 + rounds):
        place.version(f"1.{one}.0")
    asked(place, "promote", stage="staging", version="1.0.0")
    asked(place, "promote", stage="staging", version="1.1.0")
    codes: dict[str, int] = {}
    for one in range(2, 2 + rounds):
        number, before = f"1.{one}.0", set(place.tags("delay"))
        wishes = [
            {"task": "promote", "stage": "staging", "version": number},
            {"task": "deprecate", "version": number},
            {"task": "rollback", "stage": "staging"},
            {"task": "promote", "stage": "prod", "version": "1.1.0"},
        ]
        results: list[Result] = []
        gate = threading.Barrier(len(wishes))

        def work(
            wish: dict[str, str], run: str, gate: threading.Barrier = gate, results: list[Result] = results
        ) -> None:
            gate.wait()
            for attempt in range(60):  # whoever is held up asks again
                dispatch = place.dispatch({"model": "delay", **wish}, "ada", run=f"{run}{attempt:02}")
                results.append(place.run(dispatch, place.forge(clock=Quick())))
                if results[-1].reason_code != "lock_held":
                    return

        threads = [threading.Thread(target=work, args=(wish, f"{one}0{index}")) for index, wish in enumerate(wishes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert sum(result.reason_code != "lock_held" for result in results) == len(wishes)
        for result in results:
            codes[result.reason_code] = codes.get(result.reason_code, 0) + 1
        told = {result.values["tag"] for result in results if result.decision == "done"}
        done += sum(result.decision == "done" for result in results)
        held_up += sum(result.reason_code == "lock_held" for result in results)
        new = set(place.tags("delay")) - before
        assert new <= told, "no tag that nobody was told of"
        assert told <= set(place.tags("delay")) | {""}
        with place.forge() as forge:
            state = read.state(forge, "delay")
            gone = set(state.deregistered("delay"))
            for stage in ("staging", "prod"):
                assert state.holder("delay", stage) not in gone
                named = forge.ref(lock_ref("delay", stage))
                lock = read_lock(forge, named) if named else None
                assert lock is None or lock.state == "free"
            assert state.problems("delay") == ()
    print(f"{rounds} rounds of {len(wishes)}: {done} done, {held_up} held up: {codes}")
    assert set(codes) <= {
        "promoted", "rolled_back", "deprecated", "lock_held", "version_in_stage", "version_deprecated",
        "no_previous_version", "stage_order",
    }  # fmt: skip
    assert done >= 2 * rounds


def test_a_deprecation_waits_for_no_promotion_of_any_stage(place: Place) -> None:
    """While a promotion to prod is under way, the version that it is about cannot be taken out of use."""
    asked(place, "promote", stage="staging", version="1.1.0")
    inside, go_on = threading.Event(), threading.Event()
    forge = place.forge()
    send = forge.client._send

    def slow(method: str, path: str, *rest: Any) -> Any:
        if method == "POST" and path.endswith("/git/tags"):
            inside.set()
            assert go_on.wait(30)
        return send(method, path, *rest)

    forge.client._send = slow
    first: list[Result] = []
    dispatch = place.dispatch({"task": "promote", "model": "delay", "stage": "prod"}, "ada")
    thread = threading.Thread(target=lambda: first.append(place.run(dispatch, forge)))
    thread.start()
    assert inside.wait(30)
    place.sandbox.hub.set_role(place.repo, "mia", "maintain")
    second = place.run(place.dispatch({"task": "deprecate", "model": "delay", "version": "1.1.0"}, "mia"))
    go_on.set()
    thread.join(30)
    assert (second.decision, second.reason_code) == ("refused", "lock_held")
    assert first[0].decision == "done"
    later = place.run(place.dispatch({"task": "deprecate", "model": "delay", "version": "1.1.0"}, "mia"))
    assert later.reason_code == "version_in_stage"
    with place.forge() as reader:  # the locks that it had taken before it met the other are free again
        lock = read_lock(reader, reader.ref(lock_ref("delay", "staging")) or "")
        other = read_lock(reader, reader.ref(lock_ref("delay", "prod")) or "")
    assert [one.state for one in (lock, other) if one is not None] == ["free", "free"]


def test_deployments_that_could_not_be_written_come_with_the_next_run(place: Place) -> None:
    place.sandbox.faults.clear()
    place.sandbox.faults.add("POST", "/deployments", status=502, times=20)
    dispatch = place.dispatch({"task": "promote", "comment": place.say("/promote delay staging")})
    lost = place.run(dispatch, place.forge(clock=Quick()))
    place.sandbox.faults.clear()
    assert (lost.decision, lost.reason_code) == ("done", "promoted"), "the tag is what counts"
    assert "deployments do not show it yet" in place.replies()[-1]
    assert place.deployed() == {}
    assert place.run(dispatch).decision == "done"
    assert place.deployed() == {"delay/staging": [("delay#staging#1", "success")]}
    assert "deployments" not in place.replies()[-1]
    old = place.dispatch({"task": "promote", "model": "delay", "stage": "staging", "version": "1.0.0"}, "ada", run="50")
    place.run(old)
    asked(place, "promote", stage="staging", version="1.1.0")
    place.run(old)
    assert place.deployed()["delay/staging"][-1] == ("delay#staging#3", "success"), (
        "a late re-run shows who holds it now"
    )
    assert len(place.deployed()["delay/staging"]) == 3


def test_without_the_permission_for_deployments_a_promotion_is_done_all_the_same(place: Place) -> None:
    held = {"contents": "write", "issues": "write", "pull-requests": "write"}
    forge = bot_forge(place.sandbox, place.repo, held, viewer="github-actions[bot]")
    result = place.run(place.dispatch({"task": "promote", "model": "delay", "stage": "staging"}, "ada"), forge)
    assert (result.decision, result.reason_code) == ("done", "promoted")
    assert "deployments do not show it yet (forbidden)" in result.message
