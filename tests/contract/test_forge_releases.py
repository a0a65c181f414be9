"""Tags and releases over real HTTP: made once, whatever is lost on the way; bytes are checked in both directions."""

from __future__ import annotations

import hashlib
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from conftest import bot_forge, user
from sweeps import broken, cases, noted
from trackside.errors import DataError
from trackside.forge.client import Answer
from trackside.forge.github import GithubForge
from trackside.forge.operations import CreateTag, DiscardDraft, DraftRelease, FillRelease, PublishRelease, ReleaseAsset
from trackside.sandbox.server import Sandbox

TAG = "delay@v1.0.0"


@pytest.fixture
def forge(sandbox: Sandbox, repo: str) -> GithubForge:
    return bot_forge(sandbox, repo, viewer="github-actions[bot]")


def asset(folder: Path, name: str, content: bytes) -> ReleaseAsset:
    path = folder / name
    path.write_bytes(content)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    return ReleaseAsset(name=name, path=path, digest=digest, size=len(content))


def test_a_release_from_tag_to_publication(forge: GithubForge, workdir: Path) -> None:
    commit = forge.head_of("main")
    files = (asset(workdir, "model.skops", b"m" * 3_000_000), asset(workdir, "run.json", b"{}"))
    tag = CreateTag(name=TAG, commit=commit, message="delay 1.0.0\n\nRun-Id: abc\n")
    (made,) = forge.apply([tag])
    assert made.outcome == "created", made
    assert forge.tag_object(str(made.id)).commit == commit
    (drafted,) = forge.apply([DraftRelease(tag=TAG, commit=commit, title="delay 1.0.0", body="first")])
    assert drafted.outcome == "created", drafted
    number = int(drafted.id)
    assert forge.release(number).draft
    (filled,) = forge.apply([FillRelease(release_id=number, assets=files)])
    assert filled.outcome == "updated", filled
    (published,) = forge.apply([PublishRelease(release_id=number, body="last words")])
    assert published.outcome == "updated", published
    again = forge.apply(
        [
            tag,
            DraftRelease(tag=TAG, commit=commit, title="delay 1.0.0", body="first"),
            FillRelease(release_id=number, assets=files),
            PublishRelease(release_id=number, body="last words"),
        ]
    )
    assert [one.outcome for one in again] == ["unchanged"] * 4
    assert [(one.tag, one.draft, one.body) for one in forge.releases()] == [(TAG, False, "last words")]
    found = {one.name: one for one in forge.assets(number)}
    forge.download(found["model.skops"].id, workdir / "back", digest=files[0].digest)
    assert (workdir / "back").read_bytes() == b"m" * 3_000_000
    with pytest.raises(DataError, match="digest"):
        forge.download(found["run.json"].id, workdir / "other", digest=files[0].digest)
    assert not (workdir / "other").exists()
    assert [one.name for one in forge.tags("delay")] == [TAG]


def test_a_tag_elsewhere_is_never_moved(forge: GithubForge, sandbox: Sandbox, repo: str) -> None:
    first = forge.head_of("main")
    second = sandbox.hub.commit_folder(repo, "main", {"a": b"a"}, "second", user("ada"))
    forge.apply([CreateTag(name="delay#prod#1", commit=first, message="m")])
    (lost,) = forge.apply([CreateTag(name="delay#prod#1", commit=second, message="m")])
    assert (lost.outcome, lost.reason_code) == ("failed", "tag_taken")
    (ref,) = forge.tags("delay#")
    assert forge.tag_object(ref.object).commit == first


def test_a_file_that_changed_is_not_uploaded(forge: GithubForge, workdir: Path) -> None:
    commit = forge.head_of("main")
    (drafted,) = forge.apply([DraftRelease(tag=TAG, commit=commit, title="t", body="b")])
    one = asset(workdir, "model.skops", b"good")
    one.path.write_bytes(b"evil")
    (filled,) = forge.apply([FillRelease(release_id=int(drafted.id), assets=(one,))])
    assert (filled.outcome, filled.reason_code) == ("failed", "data_invalid")
    assert forge.assets(int(drafted.id)) == ()


def test_what_differs_is_replaced(forge: GithubForge, workdir: Path) -> None:
    commit = forge.head_of("main")
    (drafted,) = forge.apply([DraftRelease(tag=TAG, commit=commit, title="t", body="b")])
    number = int(drafted.id)
    forge.apply([FillRelease(release_id=number, assets=(asset(workdir, "a", b"old"),))])
    new = asset(workdir, "a", b"new")
    (filled,) = forge.apply([FillRelease(release_id=number, assets=(new,))])
    assert filled.outcome == "updated"
    assert [(one.name, one.digest) for one in forge.assets(number)] == [("a", new.digest)]


def test_what_an_interrupted_upload_left_is_replaced(
    forge: GithubForge, sandbox: Sandbox, repo: str, workdir: Path
) -> None:
    commit = forge.head_of("main")
    (drafted,) = forge.apply([DraftRelease(tag=TAG, commit=commit, title="t", body="b")])
    number = int(drafted.id)
    sandbox.hub.add_asset(repo, number, "a", None, user("ada"))
    assert [one.uploaded for one in forge.assets(number)] == [False]
    new = asset(workdir, "a", b"new")
    (filled,) = forge.apply([FillRelease(release_id=number, assets=(new,))])
    assert filled.outcome == "updated", filled
    assert [(one.name, one.digest, one.uploaded) for one in forge.assets(number)] == [("a", new.digest, True)]


class QuickClock:
    """Sleeps cost no time, so that retries are quick."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        del seconds


def test_every_fault_at_every_call_of_every_operation(sandbox: Sandbox, repo: str, workdir: Path) -> None:
    bare = sandbox.hub.bare(repo)
    commit = bare.sha("refs/heads/main") or ""
    files = (asset(workdir, "a", b"a" * 2000), asset(workdir, "b", b"b"))
    done = 0

    def quick() -> GithubForge:
        return bot_forge(sandbox, repo, viewer="github-actions[bot]", clock=QuickClock(), timeout=30)

    def whole(tag: str, forge: GithubForge) -> int:
        """Tag, draft, fill, publish as one piece of work; the release's number."""
        (tagged,) = forge.apply([CreateTag(name=tag, commit=commit, message="m")])
        (drafted,) = forge.apply([DraftRelease(tag=tag, commit=commit, title="t", body="b")])
        if "failed" in (tagged.outcome, drafted.outcome):
            return 0
        number = int(drafted.id)
        (filled,) = forge.apply([FillRelease(release_id=number, assets=files)])
        if filled.outcome != "failed":
            forge.apply([PublishRelease(release_id=number, body="last")])
        return number

    first = quick()
    methods = noted(first)
    whole("m@v0.0.1", first)
    for index, case in enumerate(cases(tuple(methods))):
        tag = f"m@v1.0.{index}"
        broken(case, sandbox, quick(), lambda forge, tag=tag: whole(tag, forge))
        number = whole(tag, quick())
        (doc,) = sandbox.state.list("release", repo, tag_name=tag)
        assert (doc["id"], doc["draft"], doc["body"]) == (number, False, "last"), case
        held = {one["name"]: one["digest"] for one in sandbox.state.list("asset", repo, release=number)}
        assert held == {one.name: one.digest for one in files}, case
        assert bare.git("rev-parse", f"refs/tags/{tag}^{{commit}}").text.strip() == commit, case
        assert bare.git("cat-file", "-t", f"refs/tags/{tag}").text.strip() == "tag", case
        sandbox.state.delete("release", repo, number)  # a short list is quick
        done += 1
    print(f"{done} cases at {len(methods)} calls")
    assert done == len(list(cases(methods))) >= 30


def test_writers_at_once_keep_to_their_own_drafts(sandbox: Sandbox, repo: str) -> None:
    """Drafts may share a tag: each writer finds the one with its words again, and throws away no published one."""
    commit = sandbox.hub.bare(repo).sha("refs/heads/main") or ""
    rounds = 8
    for number in range(rounds):
        tag, made, barrier = f"m@v1.0.{number}", dict[int, list[Any]](), threading.Barrier(3)

        def write(
            index: int, tag: str = tag, made: dict[int, list[Any]] = made, barrier: threading.Barrier = barrier
        ) -> None:
            forge = bot_forge(sandbox, repo, viewer="github-actions[bot]")
            draft = DraftRelease(tag=tag, commit=commit, title="t", body=f"by {index}")
            barrier.wait()
            (tagged,) = forge.apply([CreateTag(name=tag, commit=commit, message="m")])
            made[index] = [tagged, *forge.apply([draft, draft])]

        threads = [threading.Thread(target=write, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(one.outcome != "failed" for row in made.values() for one in row)
        assert all(again.outcome == "unchanged" and again.id == drafted.id for _, drafted, again in made.values())
        there = sandbox.state.list("release", repo, tag_name=tag)
        assert sorted(one["id"] for one in there) == sorted(int(row[1].id) for row in made.values())
        forge = bot_forge(sandbox, repo, viewer="github-actions[bot]")
        ids = [int(made[index][1].id) for index in range(3)]
        forge.apply([PublishRelease(release_id=ids[0], body="last")])
        outcomes = [one.outcome for one in forge.apply([DiscardDraft(release_id=one) for one in [*ids, ids[2]]])]
        assert outcomes == ["unchanged", "updated", "updated", "unchanged"]
        assert [one["id"] for one in sandbox.state.list("release", repo, tag_name=tag)] == ids[:1]
    print(f"{rounds} rounds of 3 writers")
    assert rounds == 8


def test_a_long_list_of_tags_that_github_pages(forge: GithubForge) -> None:
    """GitHub describes no paging of this list; should it page, nothing is lost."""
    rows = [{"ref": f"refs/tags/m@v1.0.{n}", "object": {"sha": "a" * 40, "type": "tag"}} for n in range(250)]
    asked: list[Any] = []

    def send(method: str, path: str, query: Any, body: Any) -> Answer:
        asked.append(query)
        page = query.get("page", 1)
        link = {"link": '<x>; rel="next"'} if page < 3 else {}
        return Answer(status=200, headers=link, text=json.dumps(rows[(page - 1) * 100 : page * 100]))

    forge.client._send = send
    assert [one.name for one in forge.tags("m@")] == [f"m@v1.0.{n}" for n in range(250)]
    assert asked == [{}, {"page": 2}, {"page": 3}]


def test_the_pull_request_whose_merge_a_commit_is_comes_first(sandbox: Sandbox, repo: str, forge: GithubForge) -> None:
    hub, ada = sandbox.hub, user("ada")
    hub.commit_folder(repo, "dev", {"dev": b"x"}, "dev", ada)
    hub.bare(repo).update_ref("refs/heads/topic", hub.bare(repo).sha("refs/heads/dev") or "")
    hub.commit_folder(repo, "topic", {"topic": b"x"}, "topic", ada)
    merges = []
    for number, (head, base) in enumerate((("topic", "dev"), ("dev", "main")), 1):
        assert hub.open_pull(repo, title=head, head=head, base=base, actor=ada) == number
        hub.merge_pull(repo, number, ada)
        merges.append(str(hub.pull(repo, number)["merge_commit_sha"]))
    assert [[one.number for one in forge.merged_by(sha)] for sha in merges] == [[1, 2], [2]]
