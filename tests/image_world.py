"""A repository of the sandbox whose released model asks for an image, and the image stage over HTTP against it."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conftest import bot_forge, user
from trackside.app import Context
from trackside.documents.codec import dump, load
from trackside.documents.image import Image
from trackside.documents.release import Asset, Release
from trackside.documents.result import Result
from trackside.forge.github import GithubForge
from trackside.forge.operations import CommitFiles, CreateTag, DraftRelease, FillRelease, PublishRelease, ReleaseAsset
from trackside.image.job import stage_image
from trackside.sandbox.server import Sandbox
from trackside.system.clock import SystemClock

HELD = {"contents": "write", "pull-requests": "write", "packages": "write"}
ADA = user("ada")
GOLDEN = "".join(
    json.dumps(line) + "\n"
    for line in (
        {"route": "/predict", "request": {"rows": [1, 2]}, "response": [0.5, 1.0]},
        {"route": "/predict", "request": {"rows": "x"}, "refused": True},
    )
)
LOCK = "bentoml==1.4.39 --hash=sha256:" + "0" * 64 + "\n"
POLICY = """\
version: 1
models:
  tiny:
    path: models/tiny.json
    image:
      service: service.py:Tiny
      requirements: requirements-serve.txt
      golden: golden.jsonl
      include: [lib]
{more}"""
FILES = {
    "service.py": b"import bentoml\n",
    "lib/rate.py": b"RATE = 0.5\n",
    "requirements-serve.txt": LOCK.encode(),
    "deploy/kustomization.yaml": b"images:\n  - name: 127.0.0.1:1/acme/tiny\n    digest: sha256:" + b"0" * 64 + b"\n",
}
MODEL = b'{"rate": 0.5}\n'


class StoppedClock(SystemClock):
    """Sleeping costs no time, so that retries are quick."""

    def sleep(self, seconds: float) -> None:
        del seconds


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Imaged:
    """One repository; `more` is added to the image policy, `env` to the job's environment."""

    sandbox: Sandbox
    folder: Path
    more: str = ""
    env: dict[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=lambda: FILES)
    model: bytes = MODEL
    model_path: str = "models/tiny.json"
    golden: str = GOLDEN
    policy: str = POLICY
    said: io.StringIO = field(default_factory=io.StringIO)
    pull: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.repo = f"acme/i{self.sandbox.state.next('test')}"
        self.sandbox.hub.add_repo(self.repo)
        self.sandbox.hub.set_role(self.repo, "ada", "write")
        self.sandbox.hub.set_setting(self.repo, "actions_can_create_pull_requests", True)
        self.push({**self.files, "trackside.yaml": self.policy.replace("{more}", self.more).encode()})

    @property
    def name(self) -> str:
        return self.policy.split("models:\n  ")[1].partition(":")[0]

    def push(self, files: Mapping[str, bytes | None], branch: str = "main") -> str:
        return self.sandbox.hub.commit_folder(self.repo, branch, dict(files), "Change", ADA)

    def merge(self, files: Mapping[str, bytes | None], branch: str = "topic") -> str:
        """A merged pull request; returns the commit on `main`."""
        self.push(files, branch)
        self.pull = self.sandbox.hub.open_pull(self.repo, title="Change", head=branch, base="main", actor=ADA)
        self.sandbox.hub.merge_pull(self.repo, self.pull, ADA)
        return str(self.sandbox.hub.pull(self.repo, self.pull)["merge_commit_sha"])

    def release(self, version: str, commit: str, *, model: bytes | None = None, golden: str | None = None) -> Release:
        """As the register stage leaves it: tag, published release with its files, record."""
        model = self.model if model is None else model
        golden = self.golden if golden is None else golden
        name, folder = self.model_path.rpartition("/")[2], self.folder / f"release-{version}"
        folder.mkdir()
        (folder / name).write_bytes(model)
        (folder / "golden.jsonl").write_text(golden)
        assets = [
            Asset(name=name, role="model", digest=digest(model), size=len(model), path=self.model_path),
            Asset(name="golden.jsonl", role="golden", digest=digest(golden.encode()), size=len(golden)),
        ]
        tag = f"{self.name}@v{version}"
        with self.forge() as forge:
            made, drafted = forge.apply(
                [
                    CreateTag(name=tag, commit=commit, message=tag),
                    DraftRelease(tag=tag, commit=commit, title=tag, body="Notes.\n"),
                ]
            )
            assert (made.outcome, drafted.outcome) == ("created", "created"), (made, drafted)
            number = int(drafted.id)
            uploads = tuple(
                ReleaseAsset(name=one.name, path=folder / one.name, digest=one.digest, size=one.size) for one in assets
            )
            release = Release(
                model=self.name, version=version, tag=tag, commit=commit, run="0123456789ab", state="published",
                release_id=number, model_digest=digest(model), assets=assets, pull_request=self.pull or None,
                url=f"{self.sandbox.url}/{self.repo}/releases/tag/{tag}",
            )  # fmt: skip
            path = f"releases/{self.name}/{version}.json"
            done = forge.apply(
                [
                    FillRelease(release_id=number, assets=uploads),
                    PublishRelease(release_id=number, body="# Notes\n\nOf the model.\n"),
                    CommitFiles(branch="trackside-data", message=tag, files={path: dump(release).decode()}),
                ]
            )
            assert all(one.outcome != "failed" for one in done), done
        return release

    # The stage

    def forge(self, **more: Any) -> GithubForge:
        return bot_forge(self.sandbox, self.repo, HELD, viewer="github-actions[bot]", **more)

    def context(self, *versions: str, **inputs: str) -> Context:
        released = [{"model": self.name, "version": one, "tag": f"{self.name}@v{one}"} for one in versions]
        env = {
            **{name: text for name, text in os.environ.items() if name in ("PATH", "HOME", "LANG", "CONTAINERS_CONF")},
            **{name: text for name, text in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_CERT"))},
            "GITHUB_SERVER_URL": self.sandbox.url,
            "GITHUB_API_URL": self.sandbox.api_url,
            "GITHUB_REPOSITORY": self.repo,
            "RUNNER_TOOL_CACHE": str(self.folder / "tools"),
            "TRACKSIDE_RELEASES": json.dumps(released),
            "TRACKSIDE_OUT": str(self.folder / "out"),
            **self.env,
            **{"TRACKSIDE_" + name.upper(): text for name, text in inputs.items()},
        }
        return Context(env=env, out=self.said)

    def build(self, *versions: str, forge: GithubForge | None = None, **inputs: str) -> Result:
        """One run of the stage. Without `forge` it makes its own, as the job does."""
        with forge or self.forge() as used, pytest.MonkeyPatch.context() as patch:
            patch.setattr("trackside.stages.forge_of", lambda *_: used)
            return stage_image(self.context(*versions, github_token=used._token, **inputs))

    # What is there

    def image(self, version: str) -> Image | None:
        data = self.sandbox.hub.bare(self.repo).file("trackside-data", f"images/{self.name}/{version}.json")
        return load(Image, data) if data else None

    def assets(self, version: str) -> dict[str, bytes]:
        """The release's files by name, as anybody may download them."""
        (found,) = self.sandbox.state.list("release", self.repo, tag_name=f"{self.name}@v{version}")
        made = {}
        with self.forge() as forge:
            for one in forge.assets(found["id"]):
                forge.download(one.id, self.folder / "asset", digest=one.digest)
                assert one.name not in made, "two files of one name"
                made[one.name] = (self.folder / "asset").read_bytes()
        return made

    def body(self, version: str) -> str:
        return str(self.sandbox.state.list("release", self.repo, tag_name=f"{self.name}@v{version}")[0]["body"])

    def comments(self) -> list[str]:
        return [str(one["body"]) for one in self.sandbox.state.list("comment", self.repo)]

    def end_state(self, version: str) -> dict[str, Any]:
        """All that is told of an image, without what is measured or dated."""
        image = self.image(version)
        assets = self.assets(version)
        return {
            "record": timeless(image) if image else None,
            "files": {n: timeless(load(Image, d)) if n == "image.json" else digest(d) for n, d in assets.items()},
            "body": self.body(version),
            "comments": self.comments(),
        }


def timeless(image: Image) -> dict[str, Any]:
    smoke = msgspec.structs.replace(image.smoke, latency_seconds=[], latency_ratio=None)
    found: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(image, built_at="", smoke=smoke))
    return found
