"""Downloads that go on where they broke off, over real HTTP."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from test_forge_releases import QuickClock

from conftest import bot_forge
from trackside.errors import DataError, TimedOut
from trackside.forge.github import GithubForge
from trackside.forge.operations import CreateTag, DraftRelease, FillRelease, ReleaseAsset
from trackside.sandbox.blobs import Trouble
from trackside.sandbox.server import Sandbox

CONTENT = random.Random(7).randbytes(700_001)
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def forge(sandbox: Sandbox, repo: str) -> GithubForge:
    return bot_forge(sandbox, repo, viewer="github-actions[bot]", clock=QuickClock())


@pytest.fixture
def asset(forge: GithubForge, workdir: Path) -> int:
    """Id of an asset with `CONTENT`."""
    (workdir / "sent").write_bytes(CONTENT)
    commit = forge.head_of("main")
    forge.apply([CreateTag(name="m@v1.0.0", commit=commit, message="m\n")])
    (draft,) = forge.apply([DraftRelease(tag="m@v1.0.0", commit=commit, title="m", body="")])
    one = ReleaseAsset(name="m.bin", path=workdir / "sent", digest=DIGEST, size=len(CONTENT))
    forge.apply([FillRelease(release_id=int(draft.id), assets=(one,))])
    return forge.assets(int(draft.id))[0].id


def test_a_line_that_breaks_again_and_again_costs_no_byte_twice(
    sandbox: Sandbox, forge: GithubForge, asset: int, workdir: Path
) -> None:
    sandbox.blobs.troubles.append(Trouble(after=50_000, times=13))
    heard: list[int] = []
    forge.download(asset, workdir / "m", digest=DIGEST, resume=True, told=heard.append)
    assert (workdir / "m").read_bytes() == CONTENT
    given = sandbox.blobs.given
    print(f"{len(given)} answers")
    assert len(given) == 14, "more breaks than one request has attempts"
    assert sum(one.sent for one in given) == len(CONTENT)
    assert [one.status for one in given] == [200] + [206] * 13
    assert heard == sorted(heard)
    assert heard[-1] == len(CONTENT)


def test_without_resume_each_attempt_starts_anew(
    sandbox: Sandbox, forge: GithubForge, asset: int, workdir: Path
) -> None:
    sandbox.blobs.troubles.append(Trouble(after=50_000, times=2))
    forge.download(asset, workdir / "m", digest=DIGEST)
    assert (workdir / "m").read_bytes() == CONTENT
    assert [one.status for one in sandbox.blobs.given] == [200, 200, 200]


@pytest.mark.parametrize("held", [1, 4096, 700_000, 700_001])
def test_what_is_there_is_not_asked_for_again(
    sandbox: Sandbox, forge: GithubForge, asset: int, workdir: Path, held: int
) -> None:
    (workdir / "m").write_bytes(CONTENT[:held])
    forge.download(asset, workdir / "m", digest=DIGEST, resume=True)
    assert (workdir / "m").read_bytes() == CONTENT
    assert sum(one.sent for one in sandbox.blobs.given) == len(CONTENT) - held


@pytest.mark.parametrize("there", [b"x" * 100, CONTENT[:-1] + b"?", CONTENT + b"more"])
def test_other_bytes_than_the_files_are_found_by_the_digest(
    forge: GithubForge, asset: int, workdir: Path, there: bytes
) -> None:
    (workdir / "m").write_bytes(there)
    if len(there) > len(CONTENT):  # the server says how many bytes there are: start anew at once
        forge.download(asset, workdir / "m", digest=DIGEST, resume=True)
        assert (workdir / "m").read_bytes() == CONTENT
        return
    with pytest.raises(DataError) as raised:
        forge.download(asset, workdir / "m", digest=DIGEST, resume=True)
    assert raised.value.reason_code == "content_mismatch"
    assert not (workdir / "m").exists()


def test_a_line_that_brings_nothing_ends(sandbox: Sandbox, forge: GithubForge, asset: int, workdir: Path) -> None:
    sandbox.blobs.troubles.append(Trouble(after=0, times=100))
    with pytest.raises(TimedOut):
        forge.download(asset, workdir / "m", digest=DIGEST, resume=True)
    assert len(sandbox.blobs.given) == 6
