"""Tags and releases over real HTTP: made once, whatever is lost on the way; bytes are checked in both directions."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from conftest import bot_forge, user
from trackside.errors import DataError
from trackside.forge.github import GithubForge
from trackside.forge.operations import CreateTag, DraftRelease, FillRelease, PublishRelease, ReleaseAsset
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
