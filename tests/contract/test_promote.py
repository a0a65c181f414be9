"""Promotion and rollback over real HTTP: order, default branch, locks, comments read again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from conftest import user
from promote_world import BOT, Place, Quick, opened
from sweeps import Prepared
from trackside.documents.codec import dump
from trackside.documents.release import Release
from trackside.documents.result import Result
from trackside.errors import DataError
from trackside.forge.operations import CommitFiles, CreateTag
from trackside.registry.locks import lock_ref
from trackside.registry.locks import read as read_lock
from trackside.registry.promote_job import Dispatch
from trackside.registry.tags import message, trailers
from trackside.sandbox.server import Sandbox


@pytest.fixture
def place(sandbox: Sandbox, repo: str) -> Place:
    return opened(sandbox, repo)


def test_a_version_goes_through_the_stages_in_order(place: Place) -> None:
    early = place.ask("/promote delay prod")
    assert (early.decision, early.reason_code, early.values["exit-code"]) == ("refused", "stage_order", 3)
    assert "/promote delay@v1.1.0 staging" in place.replies()[-1]
    staged = place.ask("/promote delay staging")
    assert (staged.decision, staged.reason_code) == ("done", "promoted"), staged
    assert (staged.values["version"], staged.values["tag"]) == ("1.1.0", "delay#staging#1")
    assert place.ask("/promote delay prod").values["tag"] == "delay#prod#2"
    assert place.ask("/promote delay@v1.0.0 prod").reason_code == "stage_order"
    assert place.ask("/promote delay@v1.0.0 staging").values["tag"] == "delay#staging#3"
    assert place.ask("/promote delay@v1.0.0 prod").values["tag"] == "delay#prod#4"
    assert (place.holder("staging"), place.holder("prod")) == ("1.0.0", "1.0.0")
    again = place.ask("/promote delay@v1.1.0 prod")
    assert again.values["tag"] == "delay#prod#5", "a version that has been in the stage before may come back"
    assert "which v1.0.0 held" in place.replies()[-1]
    assert place.tags() == ["delay#prod#2", "delay#prod#4", "delay#prod#5", "delay#staging#1", "delay#staging#3"]


def test_the_tag_says_who_and_why_and_stands_at_the_versions_commit(place: Place) -> None:
    place.ask("/promote delay@1.0.0 staging")
    bare = place.sandbox.hub.bare(place.repo)
    assert bare.git("rev-parse", "refs/tags/delay#staging#1^{commit}").text.strip() == place.commits["1.0.0"]
    text = bare.git("cat-file", "-p", "refs/tags/delay#staging#1").text.partition("\n\n")[2]
    found = trailers(text)
    comment = place.sandbox.state.list("comment", place.repo)[0]["id"]
    assert found == {"Version": "1.0.0", "Actor": "ada", "Comment": str(comment), "Run": "1"}
    assert text.startswith("Give staging of delay to v1.0.0\n")


NOT_OUT: dict[str, dict[str, Any]] = {
    "release_missing": {"state": "draft", "release_id": 7},
    "tag_moved": {
        "commit": "f" * 40, "tag_object": "e" * 40, "run": "f" * 12, "statement_digest": "sha256:" + "9" * 64,
    },
}  # fmt: skip


def test_what_is_not_released_holds_no_stage(place: Place) -> None:
    record = place.released(
        Release(
            model="delay", version="1.1.0", tag="delay@v1.1.0", commit=place.commits["1.1.0"], run="r",
            state="published", bump="patch", model_digest="sha256:" + "0" * 64, created_at="2026-01-01T00:00:00Z",
        ),
        b"",
    )  # fmt: skip
    ran = 0
    for code, changes in NOT_OUT.items():
        for key, value in changes.items():
            text = dump(msgspec.structs.replace(record, **{key: value})).decode()
            files: dict[str, str | None] = {"releases/delay/1.1.0.json": text}
            with place.forge() as forge:
                (kept,) = forge.apply([CommitFiles(branch="trackside-data", message="Record", files=files)])
            assert kept.outcome in ("created", "updated")
            result = place.ask("/promote delay staging")
            assert (result.decision, result.reason_code) == ("refused", code), key
            ran += 1
    place.record(record)
    other = place.ask("/promote delay@v1.0.0 staging")
    assert (other.decision, other.reason_code) == ("refused", "release_missing"), "others of the model have a record"
    assert place.tags() == []
    assert place.ask("/promote delay staging").values["tag"] == "delay#staging#1"
    print(f"{ran} records that are not of the version")
    assert ran == 6


def test_the_release_must_still_be_there_whole(place: Place) -> None:
    record = place.released(
        Release(
            model="delay", version="1.1.0", tag="delay@v1.1.0", commit=place.commits["1.1.0"], run="r",
            state="published", model_digest="sha256:" + "0" * 64,
        ),
        b"",
    )  # fmt: skip
    place.record(record)
    hub, ada, start = place.sandbox.hub, user("ada"), Prepared(place.sandbox, place.repo)
    (asset,) = place.sandbox.state.list("asset", place.repo)

    def instead(data: bytes | None) -> None:
        hub.delete_asset(place.repo, asset["id"])
        hub.add_asset(place.repo, record.release_id, asset["name"], data, ada)

    harms: dict[str, tuple[str, Callable[[], object]]] = {
        "deleted": ("release_missing", lambda: hub.delete_release(place.repo, record.release_id, ada)),
        "a draft again": (
            "release_missing", lambda: hub.edit_release(place.repo, record.release_id, {"draft": True}, ada),
        ),
        "of another tag": (
            "release_missing",
            lambda: hub.edit_release(place.repo, record.release_id, {"tag_name": "delay@v1.0.0"}, ada),
        ),
        "a file gone": ("asset_missing", lambda: hub.delete_asset(place.repo, asset["id"])),
        "a file half there": ("asset_missing", lambda: instead(None)),
        "a file longer": ("content_mismatch", lambda: instead(b"x")),
    }  # fmt: skip
    for name, (code, harm) in harms.items():
        start.restore()
        harm()
        result = place.ask("/promote delay staging")
        assert (result.decision, result.reason_code) == ("refused", code), name
        assert "What to do:" in place.replies()[-1]
        assert place.tags() == []
    start.restore()
    assert place.ask("/promote delay staging").decision == "done"


def test_only_versions_of_the_default_branch_hold_a_stage(place: Place) -> None:
    place.version("2.0.0", "side")
    result = place.ask("/promote delay staging")
    assert (result.decision, result.reason_code) == ("refused", "not_default_branch")
    assert place.ask("/promote delay@v1.1.0 staging").decision == "done"
    assert place.tags() == ["delay#staging#1"]


def test_what_there_is_not_is_refused(place: Place) -> None:
    for inputs, code in (
        ({"model": "delay", "stage": "canary"}, "stage_unknown"),
        ({"model": "dely", "stage": "prod"}, "model_unknown"),
        ({"model": "delay", "stage": "staging", "version": "9.9.9"}, "version_unknown"),
        ({"model": "delay", "stage": "staging", "version": "../x"}, "version_unknown"),
        ({"model": "fare", "stage": "shadow"}, "version_unknown"),
        ({"model": "delay", "stage": "prod", "task": "rollback"}, "no_previous_version"),
    ):
        result = place.run(place.dispatch({"task": "promote", **inputs}, "ada"))
        assert (result.decision, result.reason_code) == ("refused", code), inputs
    assert place.tags() == []
    assert place.replies() == []


def test_rollback_gives_the_stage_back_one_by_one(place: Place) -> None:
    place.version("1.2.0")
    for number in ("1.0.0", "1.1.0", "1.2.0"):
        assert place.ask(f"/promote delay@v{number} staging").decision == "done"
    commits = place.sandbox.hub.bare(place.repo).log("refs/heads/main")
    first = place.ask("/rollback delay staging")
    assert (first.reason_code, first.values["version"]) == ("rolled_back", "1.1.0")
    assert place.ask("/rollback delay staging").values["version"] == "1.0.0"
    last = place.ask("/rollback delay staging")
    assert (last.decision, last.reason_code) == ("refused", "no_previous_version")
    assert place.holder("staging") == "1.0.0"
    assert place.ask("/promote delay@v1.2.0 staging").decision == "done"
    assert place.ask("/rollback delay staging").values["version"] == "1.0.0", "not what was taken back before"
    assert place.sandbox.hub.bare(place.repo).log("refs/heads/main") == commits, "nothing was built or committed"


def test_stages_that_other_tools_assigned_count(place: Place) -> None:
    """GTO's own tags have no trailers: the version is the one at the same commit."""
    with place.forge() as forge:
        forge.apply([CreateTag(name="delay#staging#1", commit=place.commits["1.0.0"], message="Assigning stage")])
    assert place.ask("/promote delay@v1.0.0 prod").decision == "done"
    assert place.ask("/promote delay@v1.1.0 staging").values["tag"] == "delay#staging#3"
    assert place.ask("/rollback delay staging").values["version"] == "1.0.0"


def test_a_lightweight_tag_of_a_stage_counts(place: Place) -> None:
    bare = place.sandbox.hub.bare(place.repo)
    bare.git("update-ref", "refs/tags/delay#staging#4", place.commits["1.0.0"])
    assert place.ask("/promote delay@v1.1.0 prod").reason_code == "stage_order"
    assert place.ask("/promote delay@v1.0.0 prod").values["tag"] == "delay#prod#5"
    assert "already" in place.ask("/promote delay@v1.0.0 staging").message


def test_where_the_tags_leave_open_who_holds_a_stage_nothing_is_guessed(place: Place) -> None:
    assert place.ask("/promote delay@v1.0.0 staging").decision == "done"
    with place.forge() as forge:
        for tag in ("delay#staging#7", "delay#staging!#7"):
            forge.apply([CreateTag(name=tag, commit=place.commits["1.1.0"], message="Of two tools at once")])
    before = place.tags("delay")
    for command in ("/rollback delay staging", "/deprecate delay@v1.1.0", "/deprecate delay@v1.0.0"):
        with pytest.raises(DataError) as told:
            place.ask(command)
        assert told.value.reason_code == "registry_ambiguous"
        assert "not done" in place.replies()[-1]
        assert "/promote delay@v… staging" in place.replies()[-1]
    assert place.tags("delay") == before
    assert place.ask("/promote delay@v1.1.0 staging").values["tag"] == "delay#staging#8", "one more tag decides it"
    assert place.ask("/deprecate delay@v1.0.0").decision == "done"


# Who asks


def test_the_comment_is_read_again_and_nothing_else_is_believed(place: Place) -> None:
    ran = 0

    def refused(inputs: dict[str, str], code: str, actor: str = BOT) -> None:
        nonlocal ran
        result = place.run(place.dispatch(inputs, actor))
        assert (result.decision, result.reason_code) == ("refused", code), result
        ran += 1

    hub = place.sandbox.hub
    good = place.say("/promote delay staging")
    refused({"task": "rollback", "comment": good}, "identity_mismatch")
    refused({"task": "promote", "comment": "999999999"}, "comment_gone")
    refused({"task": "promote", "comment": "1; id"}, "identity_mismatch")
    refused({"task": "promote", "comment": place.say("/promote delay staging", "bob")}, "permission_missing")
    refused({"task": "promote", "comment": place.say("/promote delay staging", "eve")}, "permission_missing")
    refused({"task": "promote", "comment": place.say("/promote delay staging", BOT)}, "identity_mismatch")
    refused({"task": "promote", "comment": place.say("looks good")}, "identity_mismatch")
    edited = place.say("/promote delay@v1.0.0 staging")
    doc = hub.comment(place.repo, int(edited)) | {"body": "/promote delay@v1.1.0 staging"}
    later = (datetime.now(UTC) + timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    place.sandbox.state.put("comment", place.repo, edited, doc | {"updated_at": later})
    refused({"task": "promote", "comment": edited}, "comment_edited")
    old = place.say("/promote delay staging")
    stamp = (datetime.now(UTC) - timedelta(hours=25)).strftime("%Y-%m-%dT%H:%M:%SZ")
    stale = hub.comment(place.repo, int(old)) | {"created_at": stamp, "updated_at": stamp}
    place.sandbox.state.put("comment", place.repo, old, stale)
    refused({"task": "promote", "comment": old}, "comment_old")
    hub.set_role(place.repo, "ada", "write")  # between the gate and the job
    refused({"task": "promote", "comment": good}, "permission_missing")
    hub.set_role(place.repo, "ada", "maintain")
    refused({"task": "promote", "model": "delay", "stage": "staging"}, "permission_missing")
    refused({"task": "promote", "model": "delay", "stage": "staging"}, "permission_missing", "bob")
    assert place.tags() == []
    forged = place.run(
        place.dispatch({"task": "promote", "comment": good, "model": "fare", "stage": "prod", "version": "9.0.0"})
    )
    assert forged.values["tag"] == "delay#staging#1", "arguments come from the comment itself"
    by_hand = place.run(place.dispatch({"task": "promote", "model": "delay", "stage": "prod", "reason": "Go"}, "ada"))
    assert by_hand.decision == "done"
    print(f"{ran} refusals")
    assert ran == 12


def test_a_comment_is_followed_once_however_often_it_is_passed_on(place: Place) -> None:
    for number in ("1.0.0", "1.1.0"):
        place.ask(f"/promote delay@v{number} staging")
    comment = place.say("/rollback delay staging")
    for _ in range(3):
        result = place.run(place.dispatch({"task": "rollback", "comment": comment}))
        assert (result.decision, result.values["version"]) == ("done", "1.0.0")
    assert len(place.tags()) == 3
    assert len([one for one in place.replies() if f"comment={comment}" in one]) == 1
    by_hand = place.dispatch({"task": "promote", "model": "delay", "stage": "staging"}, "ada", run="77")
    for _ in range(2):
        assert place.run(by_hand).values["tag"] == "delay#staging#4"


def aged(place: Place, comment: str, minutes: int) -> None:
    """The comment was written so many minutes ago."""
    stamp = (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    doc = place.sandbox.hub.comment(place.repo, int(comment)) | {"created_at": stamp, "updated_at": stamp}
    place.sandbox.state.put("comment", place.repo, comment, doc)


def test_a_comment_is_not_followed_on_what_its_author_never_saw(place: Place) -> None:
    """Somebody passes an old comment on again, by a dispatch of their own."""
    assert place.ask("/promote delay staging").decision == "done"
    held = place.say("/promote delay staging")
    already = place.run(place.dispatch({"task": "promote", "comment": held}))
    assert "holds" in already.message
    place.version("1.2.0")
    aged(place, held, 5)
    result = place.run(place.dispatch({"task": "promote", "comment": held}, "bob"))
    assert (result.decision, result.reason_code) == ("refused", "comment_old"), result
    assert "delay v1.2.0 was released after the comment was written" in place.replies()[-1]
    assert "/promote delay@v1.2.0 staging" in place.replies()[-1]
    back = place.say("/rollback delay staging")
    refused = place.run(place.dispatch({"task": "rollback", "comment": back}))
    assert refused.reason_code == "no_previous_version"
    assert place.ask("/promote delay@v1.2.0 staging").decision == "done"
    aged(place, back, 5)
    result = place.run(place.dispatch({"task": "rollback", "comment": back}, "bob"))
    assert (result.decision, result.reason_code) == ("refused", "comment_old"), result
    named = place.say("/promote delay@v1.0.0 staging")
    aged(place, named, 5)
    assert place.run(place.dispatch({"task": "promote", "comment": named}, "bob")).decision == "done", "it is named"
    assert place.holder("staging") == "1.0.0"


def test_when_a_version_was_released_is_what_github_says(place: Place) -> None:
    """Neither the tagger's clock nor the record's."""
    commit = place.version("1.2.0")
    comment = place.say("/promote delay staging")
    record = Release(
        model="delay", version="1.2.0", tag="delay@v1.2.0", commit=commit, run="r", state="published",
        model_digest="sha256:" + "0" * 64, created_at="2020-01-01T00:00:00Z",
    )  # fmt: skip
    place.record(place.released(record, b""))
    (release,) = place.sandbox.state.list("release", place.repo)
    later = (datetime.now(UTC) + timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    place.sandbox.state.put("release", place.repo, release["id"], release | {"published_at": later})
    result = place.run(place.dispatch({"task": "promote", "comment": comment}))
    assert (result.decision, result.reason_code) == ("refused", "comment_old"), result
    place.sandbox.state.put("release", place.repo, release["id"], release)
    assert place.run(place.dispatch({"task": "promote", "comment": comment})).decision == "done"


def test_a_comment_is_known_again_however_much_came_after_it(place: Place) -> None:
    comment = place.say("/promote delay@v1.0.0 staging")
    done = place.run(place.dispatch({"task": "promote", "comment": comment}))
    bare = place.sandbox.hub.bare(place.repo)
    for number in range(2, 27):
        version = f"1.{number % 2}.0"
        text = message("Give", {"Version": version, "Actor": "ada", "Run": f"9{number}"})
        env = {"GIT_COMMITTER_NAME": "ada", "GIT_COMMITTER_EMAIL": "ada@x.test"}
        bare.git("tag", "-a", f"delay#staging#{number}", place.commits["1.1.0"], "-m", text, env=env)
    again = place.run(place.dispatch({"task": "promote", "comment": comment}, "bob"))
    assert (again.decision, again.values["tag"]) == ("done", done.values["tag"])
    assert len(place.tags()) == 26, "nothing was given a second time"


def test_a_rollback_leads_to_what_was_released(place: Place) -> None:
    """The tag of the version before was moved to another commit of the default branch."""
    for number in ("1.0.0", "1.1.0"):
        assert place.ask(f"/promote delay@v{number} staging").decision == "done"
    start = Prepared(place.sandbox, place.repo)
    first, evil = place.commits["1.0.0"], place.commit("main", {"m": b"evil"})
    record = Release(
        model="delay", version="1.0.0", tag="delay@v1.0.0", commit=first, run="r", state="published",
        model_digest="sha256:" + "0" * 64,
    )  # fmt: skip
    for recorded, run in ((False, "r"), (True, "r"), (True, "other")):
        start.restore()
        if recorded:
            place.record(place.released(record, b""))
        place.drop(["delay@v1.0.0"])
        place.tag("1.0.0", first if run == "other" else evil, run=run)
        result = place.ask("/rollback delay staging")
        assert (result.decision, result.reason_code) == ("refused", "tag_moved"), (recorded, run, result)
        assert len(place.tags()) == 2
    start.restore()
    place.record(place.released(record, b""))
    assert place.ask("/rollback delay staging").values["version"] == "1.0.0"


# At once


def test_two_at_once_one_wins_and_the_other_is_told_who_is_at_it(place: Place) -> None:
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
    comment = place.say("/promote delay@v1.1.0 staging")
    dispatch = place.dispatch({"task": "promote", "comment": comment})
    thread = threading.Thread(target=lambda: first.append(place.run(dispatch, forge)))
    thread.start()
    assert inside.wait(30)
    place.sandbox.hub.set_role(place.repo, "mia", "maintain")
    second = place.ask("/promote delay@v1.0.0 staging", "mia")
    other = place.run(place.dispatch({"task": "promote", "model": "delay", "stage": "prod"}, "mia"))
    go_on.set()
    thread.join(30)
    assert (second.decision, second.reason_code) == ("refused", "lock_held")
    assert "is being changed by ada since" in second.message
    assert "promote delay 1.1.0" in place.replies()[-2] + place.replies()[-1]
    assert other.reason_code == "stage_order", "another stage has a lock of its own"
    assert first[0].decision == "done"
    assert place.tags() == ["delay#staging#1"]
    assert place.holder("staging") == "1.1.0"


def test_races_leave_one_tag_for_each_that_was_told_so(place: Place) -> None:
    rounds, people = 6, 4
    refused = done = 0
    for _ in range(rounds):
        before = len(place.tags())
        results: list[Result] = []
        gate = threading.Barrier(people)
        dispatches = [
            place.dispatch({"task": "promote", "comment": place.say(f"/promote delay@v1.{index % 2}.0 staging")})
            for index in range(people)
        ]

        def work(dispatch: Dispatch, gate: threading.Barrier = gate, results: list[Result] = results) -> None:
            gate.wait()
            results.append(place.run(dispatch, place.forge(clock=Quick())))

        threads = [threading.Thread(target=work, args=(one,)) for one in dispatches]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(results) == people
        assert {one.reason_code for one in results} <= {"promoted", "lock_held"}
        tags = {one.values["tag"] for one in results if one.decision == "done"} - {""}
        assert len(place.tags()) - before == len(tags)
        done += sum(one.decision == "done" for one in results)
        refused += sum(one.decision == "refused" for one in results)
    print(f"{rounds} rounds of {people}: {done} done, {refused} refused")
    assert done >= rounds
    counters = [int(one.rpartition("#")[2]) for one in place.tags()]
    assert len(set(counters)) == len(counters)
    with place.forge() as forge:
        lock = read_lock(forge, forge.ref(lock_ref("delay", "staging")) or "")
    assert lock is not None
    assert lock.state == "free"
