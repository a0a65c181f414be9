"""`trackside reproduce --repository`: no clone at all; code, tags and records come from GitHub itself."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from reproduce_samples import SERVER, Bench, changed, origin_of, run_path
from train_samples import OUTSIDE

import trackside
from conftest import bot_forge
from trackside.app import Context
from trackside.documents.codec import dump, load
from trackside.documents.reproduction import Restoration
from trackside.errors import ConfigError, Refused
from trackside.forge.operations import DraftRelease, FillRelease, PublishRelease, ReleaseAsset
from trackside.registry.release import statement_of
from trackside.reproduce.run import Wish, reproduce
from trackside.reproduce.subject import find_subject
from trackside.sandbox.server import Sandbox


def _env(bench: Bench, sandbox: Sandbox) -> dict[str, str]:
    return {
        **bench.env,
        "GITHUB_API_URL": sandbox.api_url,
        "GITHUB_SERVER_URL": sandbox.url,
        "GITHUB_TOKEN": "token-ada",
    }


def test_a_version_of_a_repository_that_is_only_named(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    bench, run = Bench.make(origin_of(tmp_path), tmp_path / "a")
    release = bench.release(run)
    bare = sandbox.hub.bare(repo)
    refs = ["HEAD:refs/heads/work", f"refs/tags/{release.tag}", "refs/heads/trackside-data"]
    OUTSIDE.run(["git", "-C", bench.clone, "push", "-q", bare.path, *refs])
    env = _env(bench, sandbox)
    for name in (release.tag, "delay@latest", run.id, run.id[:7]):
        out = io.StringIO()
        wish = Wish(name=name, repo=tmp_path, repository=repo, dry_run=True)
        assert reproduce(Context(env=env, out=out, json=True), wish) == 0
        made = load(Restoration, out.getvalue().encode())
        assert (made.run, made.commit, made.code) == (run.id, run.source.commit, "origin")
        assert [(one.path, one.source) for one in made.data] == [("data/raw.csv", "store")]
    bench.git("tag", "--force", "--annotate", "--message", "moved", release.tag, "HEAD")
    OUTSIDE.run(["git", "-C", bench.clone, "push", "-q", "--force", bare.path, f"refs/tags/{release.tag}"])
    wish = Wish(name=release.tag, repo=tmp_path, repository=repo)
    with pytest.raises(Refused) as caught:
        reproduce(Context(env=env, out=io.StringIO(), json=True), wish)
    assert (caught.value.exit_code, caught.value.reason_code) == (3, "not_verified")
    with pytest.raises(ConfigError, match="has no recorded run"):
        reproduce(Context(env=env), Wish(name="ffffffffffff", repo=tmp_path, repository=repo))
    assert bench.left() == []


@pytest.mark.parametrize("wrote", ["0.0.1", trackside.__version__])
def test_a_statement_that_another_build_of_trackside_wrote(
    sandbox: Sandbox, repo: str, tmp_path: Path, wrote: str
) -> None:
    """It cannot be made anew byte for byte: the released one is fetched and judged, and counts only if it fits. Two
    builds may call themselves by one version.
    """
    bench, run = Bench.make(origin_of(tmp_path), tmp_path / "a")
    run = changed(run, trackside=wrote)
    said = statement_of(run, SERVER) + b"\n"
    tag = "delay@v1.0.0"
    files = {"provenance.intoto.json": said, "run.json": dump(run)}
    bare = sandbox.hub.bare(repo)
    with bot_forge(sandbox, repo) as forge:
        OUTSIDE.run(["git", "-C", bench.clone, "push", "-q", bare.path, "HEAD:refs/heads/main", "--force"])
        draft = DraftRelease(tag=tag, commit=run.source.commit, title="delay 1.0.0", body="on its way\n")
        (drafted,) = forge.apply([draft])
        release = bench.release(run, said=said, release_id=int(drafted.id))
        OUTSIDE.run(
            ["git", "-C", bench.clone, "push", "-q", bare.path, f"refs/tags/{tag}", "refs/heads/trackside-data"]
        )
        context = Context(env=_env(bench, sandbox))
        with pytest.raises(Refused, match="does not fit") as caught:
            find_subject(context, tag, tmp_path, repo)
        assert "the released statement cannot be had" in caught.value.why
        assets = []
        for name, data in files.items():
            path = tmp_path / name
            path.write_bytes(data)
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            assets.append(ReleaseAsset(name=name, path=path, digest=digest, size=len(data)))
        (filled,) = forge.apply([FillRelease(release_id=release.release_id, assets=tuple(assets))])
        assert filled.outcome != "failed", filled.error
        (public,) = forge.apply([PublishRelease(release_id=release.release_id, body="out\n")])
        assert public.outcome != "failed", public.error
    found = find_subject(context, tag, tmp_path, repo)
    assert (found.run, found.release) == (run, release)
    other = changed(run, params={"lr": 0.5})
    bench.commit_data({run_path(run): dump(other).decode()})
    OUTSIDE.run(["git", "-C", bench.clone, "push", "-q", bare.path, "refs/heads/trackside-data"])
    with pytest.raises(Refused) as caught:
        find_subject(context, tag, tmp_path, repo)
    assert caught.value.reason_code == "not_verified"
