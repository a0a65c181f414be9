"""Deploy proposals over real HTTP: one pull request a model, here or in another repository, whatever fails."""

from __future__ import annotations

import difflib
import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from test_forge_faults import FastClock

from conftest import bot_forge, user
from sweeps import broken, cases, noted
from trackside.app import Context
from trackside.config.model import DeployTarget, ImagePolicy, Model
from trackside.deploy.job import propose
from trackside.documents.image import Image, Smoke
from trackside.forge.github import GithubForge
from trackside.forge.operations import Applied
from trackside.sandbox.server import Sandbox

BOT = "github-actions[bot]"
HELD = {"contents": "write", "pull-requests": "write"}
FILE, BRANCH = "deploy/kustomization.yaml", "trackside/deploy/delay"
OLD = "sha256:" + "0" * 64
TEXT = f"# prod\nimages:\n  - name: ghcr.io/acme/delay\n    digest: {OLD} # by pull requests\n"
POLICY = ImagePolicy(service="s.py:S", requirements="r.txt", golden="g.jsonl", deploy=DeployTarget(file=FILE))
MODEL = Model(name="delay", path="model.bin", image=POLICY)


def image(number: int) -> Image:
    return Image(
        model="delay", version=f"1.{number}.0", tag=f"delay@v1.{number}.0", commit="c" * 40, run="0123456789ab",
        model_digest="sha256:" + "d" * 64, inputs_digest="sha256:" + "e" * 64, bento="b", service="s.py:S",
        reference=f"ghcr.io/acme/delay:1.{number}.0", digest="sha256:" + f"{number:02}" * 32,
        smoke=Smoke(requests=5, passed=5, bad_requests=2, bad_refused=2),
    )  # fmt: skip


def context(sandbox: Sandbox, **inputs: str) -> Context:
    env = {"GITHUB_SERVER_URL": sandbox.url, "GITHUB_API_URL": sandbox.api_url}
    return Context(env=env | {f"TRACKSIDE_{name.upper()}": text for name, text in inputs.items()}, out=io.StringIO())


def started(sandbox: Sandbox, files: Mapping[str, bytes] | None = None) -> str:
    name = f"acme/d{sandbox.state.next('test')}"
    sandbox.hub.add_repo(name)
    sandbox.hub.set_role(name, "ada", "write")
    sandbox.hub.set_setting(name, "actions_can_create_pull_requests", True)
    made = {FILE: TEXT.encode()} if files is None else dict(files)
    sandbox.hub.commit_folder(name, "main", made, "first", user("ada"))
    return name


def forge_of(sandbox: Sandbox, repo: str, **more: Any) -> GithubForge:
    return bot_forge(sandbox, repo, HELD, viewer=BOT, **more)


def file_of(sandbox: Sandbox, repo: str) -> str:
    return (sandbox.hub.bare(repo).file(f"refs/heads/{BRANCH}", FILE) or b"").decode()


def lines(text: str) -> list[str]:
    return [line for line in difflib.ndiff(TEXT.splitlines(), text.splitlines()) if line[:1] in "+-"]


def test_each_release_updates_the_one_pull_request(sandbox: Sandbox) -> None:
    repo = started(sandbox)
    with forge_of(sandbox, repo) as forge:
        for number in (1, 2, 3):
            (applied,) = propose(context(sandbox), forge, MODEL, image(number))
            assert applied.outcome == ("created" if number == 1 else "updated"), applied.error
            assert lines(file_of(sandbox, repo)) == [
                f"-     digest: {OLD} # by pull requests",
                f"+     digest: {image(number).digest} # by pull requests",
            ]
        calls = forge.calls
        (again,) = propose(context(sandbox), forge, MODEL, image(3))
        print(f"{calls} API calls for three releases, {forge.calls - calls} to look again")
        assert again.outcome == "unchanged"
    (pull,) = sandbox.state.list("pull", repo)
    about = sandbox.hub.issue(repo, pull["number"])
    assert (about["title"], sorted(about["labels"])) == ("Deploy delay 1.3.0", ["deploy", "trackside"])
    for words in (image(3).digest, "delay%40v1.3.0", "5 of 5 recorded requests", "0123456789ab"):
        assert words in about["body"], words


def test_what_is_deployed_already_is_not_proposed(sandbox: Sandbox) -> None:
    repo = started(sandbox, {FILE: TEXT.replace(OLD, image(1).digest).encode()})
    with forge_of(sandbox, repo) as forge:
        (applied,) = propose(context(sandbox), forge, MODEL, image(1))
    assert (applied.outcome, applied.reason_code, sandbox.state.list("pull", repo)) == (
        "skipped", "nothing_to_propose", [],
    )  # fmt: skip


def elsewhere(other: str) -> Model:
    return replace(MODEL, image=replace(POLICY, deploy=DeployTarget(file=FILE, repository=other)))


def test_another_repository_needs_an_app(sandbox: Sandbox) -> None:
    repo, other = started(sandbox, {"a": b"a"}), started(sandbox)
    with forge_of(sandbox, repo) as forge:
        (refused,) = propose(context(sandbox), forge, elsewhere(other), image(1))
        assert (refused.outcome, refused.reason_code) == ("failed", "forbidden")
        assert "deploy-token" in refused.error
        sandbox.hub.add_user("ml-app[bot]", "Bot")
        sandbox.hub.add_token("ghs_deploy", "ml-app[bot]", "app", HELD, other)
        (applied,) = propose(context(sandbox, deploy_token="ghs_deploy"), forge, elsewhere(other), image(1))
    assert applied.outcome == "created", applied.error
    assert (len(sandbox.state.list("pull", other)), sandbox.state.list("pull", repo)) == (1, [])
    about = sandbox.hub.issue(other, int(applied.id))
    assert about["user"] == "ml-app[bot]"
    assert f"{sandbox.url}/{repo}/commit/" in about["body"]
    assert "close and reopen" not in about["body"]


@pytest.mark.parametrize(
    ("files", "deploy", "words"),
    [
        ({"a": b"a"}, DeployTarget(file=FILE), "has no file"),
        ({FILE: b"images: []\n"}, DeployTarget(file=FILE), "does not name the image"),
        ({FILE: b"\xff\xfe"}, DeployTarget(file=FILE), "no UTF-8"),
        ({FILE: b"a: 1\n"}, DeployTarget(file=FILE, key="image.digest"), "no value"),
        ({FILE: TEXT.encode()}, DeployTarget(file=FILE, branch="prod"), "has no file"),
    ],
)
def test_a_policy_that_does_not_fit_is_told(
    sandbox: Sandbox, files: dict[str, bytes], deploy: DeployTarget, words: str
) -> None:
    repo = started(sandbox, files)
    with forge_of(sandbox, repo) as forge:
        (applied,) = propose(context(sandbox), forge, replace(MODEL, image=replace(POLICY, deploy=deploy)), image(1))
    assert applied.outcome == "failed"
    assert words in applied.error
    assert sandbox.hub.bare(repo).sha(f"refs/heads/{BRANCH}") is None


def test_no_file_no_proposal(sandbox: Sandbox) -> None:
    repo = started(sandbox)
    with forge_of(sandbox, repo) as forge:
        assert propose(context(sandbox), forge, replace(MODEL, image=replace(POLICY, deploy=None)), image(1)) == ()
        assert forge.calls == 0


@pytest.mark.parametrize("what", ["first", "next"])
def test_after_any_fault_one_re_run_ends_as_without(sandbox: Sandbox, what: str) -> None:
    def fresh() -> str:
        repo = started(sandbox)
        if what == "next":
            with forge_of(sandbox, repo) as forge:
                propose(context(sandbox), forge, MODEL, image(1))
            sandbox.hub.commit_folder(repo, "main", {"b": b"b"}, "second", user("ada"))
        return repo

    def work(forge: GithubForge) -> Applied:
        return propose(context(sandbox), forge, MODEL, image(2))[0]

    def shown(repo: str) -> Any:
        bare = sandbox.hub.bare(repo)
        tip = bare.commit(bare.sha(f"refs/heads/{BRANCH}") or "")
        based = list(tip.parents) == [bare.sha("refs/heads/main")]
        pulls = [sandbox.hub.issue(repo, pull["number"]) for pull in sandbox.state.list("pull", repo)]
        told = [(one["state"], one["title"], one["body"].replace(repo, "REPO"), sorted(one["labels"])) for one in pulls]
        return tip.tree, tip.message, based, told

    repo = fresh()
    with forge_of(sandbox, repo) as forge:
        methods = noted(forge)
        work(forge)
    expected, ran = shown(repo), 0
    for case in cases(methods, reads=what == "first"):
        repo = fresh()
        with forge_of(sandbox, repo, clock=FastClock()) as forge:
            broken(case, sandbox, forge, work)
        with forge_of(sandbox, repo) as forge:
            assert work(forge).outcome in ("created", "updated", "unchanged"), case
        assert shown(repo) == expected, case
        ran += 1
    print(f"{ran} faults at {len(methods)} API calls of the {what} deploy proposal")
    assert ran == len(list(cases(methods, reads=what == "first"))) >= 16
