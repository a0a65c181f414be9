"""What many tests share: a sandbox on the loopback interface, repositories in it, its strictness after each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from sandbox_client import ALL, Api
from sweeps import remembered
from trackside.forge.github import GithubForge
from trackside.sandbox.limits import Limits
from trackside.sandbox.server import Sandbox

# On a laptop every run looks for new counter-examples; CI repeats the same ones, so that it fails for what changed.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

ENV = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
REPO = "acme/flights"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    plenty = Limits(user=10**6, app=10**6, workflow=10**6, anonymous=10**6)
    with Sandbox(tmp_path_factory.mktemp("sandbox"), ENV, limits=plenty) as running:
        running.hub.add_user("github-actions[bot]", "Bot")
        yield running


@pytest.fixture
def sandbox(server: Sandbox) -> Iterator[Sandbox]:
    """The session's server; the test fails when an exchange violated GitHub's description."""
    server.violations.clear()
    server.faults.clear()
    server.blobs.troubles.clear()
    server.blobs.given.clear()
    server.calls.clear()
    server.git_calls.clear()
    yield server
    assert not server.violations, server.violations


@pytest.fixture
def remembering() -> Iterator[None]:
    """For sweeps, see `sweeps.remembered`."""
    with remembered():
        yield


@pytest.fixture
def repo(sandbox: Sandbox, request: pytest.FixtureRequest) -> str:
    """A fresh repository with one commit on main; `ada` may write, `mallory` is a stranger."""
    name = f"acme/r{sandbox.state.next('test')}"
    sandbox.hub.add_repo(name)
    sandbox.hub.set_role(name, "ada", "write")
    sandbox.hub.add_user("mallory")
    for login in ("ada", "mallory", "acme"):
        sandbox.hub.add_token(f"token-{login}", login)
    sandbox.hub.commit_folder(name, "main", {"README.md": b"# flights\n"}, "first", user("ada"))
    return name


def user(login: str) -> dict[str, object]:
    """An actor for the hub's calls."""
    return {"login": login, "kind": "user"}


def bot_forge(sandbox: Sandbox, repo: str, permissions: dict[str, str] | None = None, **more: object) -> GithubForge:
    """A forge with a job's token, as `github-actions[bot]`."""
    held = (
        {"contents": "write", "pull-requests": "write", "checks": "write", "actions": "write"}
        if permissions is None
        else permissions
    )
    token = f"job-{sandbox.state.next('token')}"
    sandbox.hub.add_token(token, "github-actions[bot]", "workflow", held, repo)
    return GithubForge(repo, token, sandbox.api_url, **more)


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    return tmp_path


def github_client(sandbox: Sandbox, token: str) -> Any:
    """PyGithub, without retries and pauses."""
    from github import Auth, Github

    return Github(
        auth=Auth.Token(token),
        base_url=sandbox.api_url,
        retry=None,
        seconds_between_requests=0,
        seconds_between_writes=0,
    )


@pytest.fixture
def person(sandbox: Sandbox, repo: str) -> Api:
    return Api(sandbox, repo, "token-ada")


@pytest.fixture
def stranger(sandbox: Sandbox, repo: str) -> Api:
    return Api(sandbox, repo, "token-mallory")


@pytest.fixture
def job(sandbox: Sandbox, repo: str) -> Api:
    return Api(sandbox, repo, sandbox.seed.job_token(repo, ALL))


@pytest.fixture
def number(sandbox: Sandbox, repo: str) -> int:
    """An open pull request of a branch `topic`."""
    sandbox.seed.push(repo, "topic", {"t": b"t\n"}, "Change", "ada")
    return sandbox.hub.open_pull(repo, title="T", head="topic", base="main", actor=user("ada"))
