"""`trackside reproduce --repository`: no clone at all; code, tags and records come from GitHub itself."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from reproduce_samples import Bench, origin_of
from train_samples import OUTSIDE

from trackside.app import Context
from trackside.documents.codec import load
from trackside.documents.reproduction import Restoration
from trackside.errors import ConfigError, Refused
from trackside.reproduce.run import Wish, reproduce
from trackside.sandbox.server import Sandbox


def test_a_version_of_a_repository_that_is_only_named(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    bench, run = Bench.make(origin_of(tmp_path), tmp_path / "a")
    release = bench.release(run)
    bare = sandbox.hub.bare(repo)
    refs = ["HEAD:refs/heads/work", f"refs/tags/{release.tag}", "refs/heads/trackside-data"]
    OUTSIDE.run(["git", "-C", bench.clone, "push", "-q", bare.path, *refs])
    env = {
        **bench.env,
        "GITHUB_API_URL": sandbox.api_url,
        "GITHUB_SERVER_URL": sandbox.url,
        "GITHUB_TOKEN": "token-ada",
    }
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
