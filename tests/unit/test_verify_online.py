"""`models verify` over real HTTP: what GitHub holds of a version, and what somebody did to it there."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from registry_world import Trained

from conftest import bot_forge
from sandbox_client import Api
from sweeps import remembered
from trackside.app import Context
from trackside.documents.release import Release
from trackside.models.source import source_of
from trackside.models.which import parse_spec
from trackside.sandbox.server import Sandbox
from trackside.sandbox.signing import ROOT, Authority
from trackside.trust.verify import Wish, verify
from verify_world import GIT, git, imaged, signed

READER = {"contents": "read", "attestations": "read"}


@dataclasses.dataclass
class Online:
    """A released, signed version at the sandbox and a clone of it."""

    place: Trained
    sandbox: Sandbox
    release: Release
    clone: Path
    root: Path
    bundle: str

    def env(self) -> dict[str, str]:
        forge = bot_forge(self.sandbox, self.place.repo, READER)
        return {
            **GIT,
            "GITHUB_API_URL": self.sandbox.api_url,
            "GITHUB_SERVER_URL": self.sandbox.url,
            "GITHUB_TOKEN": forge._token,
            "TRACKSIDE_TRUSTED_ROOT": str(self.root),
        }

    def verify(self, *, api: bool = False, **wish: Any) -> tuple[int, dict[str, Any]]:
        out = io.StringIO()
        context = Context(env=self.env(), out=out, json=True)
        source = source_of(context, self.clone, self.place.repo if api else "")
        asked = Wish(spec=parse_spec(self.release.tag), repo=None if api else self.clone, **wish)
        return verify(context, source, asked), json.loads(out.getvalue())

    def failed(self, **wish: Any) -> set[str]:
        code, said = self.verify(**wish)
        assert code == (0 if said["verified"] else 7)
        return {one["name"] for one in said["checks"] if one["state"] == "failed"}

    def asset(self, name: str) -> dict[str, Any]:
        (found,) = self.sandbox.state.list("asset", self.place.repo, release=self.release.release_id, name=name)
        return found

    def put(self, kind: str, document: dict[str, Any], **changes: Any) -> None:
        self.sandbox.state.put(kind, self.place.repo, document["id"], document | changes)

    @property
    def owner(self) -> Api:
        return Api(self.sandbox, self.place.repo, "token-acme")


@pytest.fixture(scope="module")
def built(server: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Online]:
    folder = tmp_path_factory.mktemp("online")
    name = f"acme/o{server.state.next('test')}"
    server.hub.add_repo(name)
    server.hub.add_token("token-acme", "acme")
    place = Trained(server, name, folder)
    place.limit = 6
    commit = place.start()
    place.trained(commit, b"weights")
    place.register(place.pushed(commit))
    (release,) = place.records()
    imaged(place, release, tmp_path_factory.mktemp("image"))
    git(folder, "clone", "--quiet", f"{server.url}/{name}", "clone")
    authority = Authority(folder / "authority")
    statement = place.asset("provenance.intoto.json", release.release_id)
    bundle = signed(place, server, release, statement, authority, folder / "work")
    with remembered():
        yield Online(place, server, release, folder / "clone", authority.folder / ROOT, bundle)


@pytest.fixture
def online(built: Online, sandbox: Sandbox) -> Iterator[Online]:
    """The version as it was released, whatever the test before did to it."""
    repo, state = built.place.repo, sandbox.state
    kept = {kind: state.list(kind, repo) for kind in ("release", "asset", "attestation")}
    yield built
    for kind, documents in kept.items():
        for one in state.list(kind, repo):
            state.delete(kind, repo, one["id"])
        for one in documents:
            state.put(kind, repo, one["id"], one)


def attest(online: Online, bundle: str) -> None:
    token = online.sandbox.seed.job_token(online.place.repo, {"attestations": "write"})
    answer = Api(online.sandbox, online.place.repo, token)("POST", "/attestations", {"bundle": json.loads(bundle)})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("api", [False, True])
def test_what_github_holds_is_verified(online: Online, api: bool, tmp_path: Path) -> None:
    code, said = online.verify(api=api)
    unknown = {one["name"] for one in said["checks"] if one["state"] == "unknown"}
    assert (code, said["verified"], said["failed"]) == (0, True, 0), said
    assert unknown == {"signature"} | ({"commit"} if api else set())
    attest(online, online.bundle)
    code, said = online.verify(api=api, signed=True)
    assert (code, said["failed"]) == (0, 0)
    assert {one["name"] for one in said["checks"]} >= {"release", "files", "image", "bom", "manifest"}
    before = len(online.sandbox.calls)
    folder = tmp_path / "downloaded"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights")
    assert online.verify(api=api, folder=folder)[0] == 0  # the model is here, the rest is fetched
    fetched = [one.path for one in online.sandbox.calls[before:] if "/releases/assets/" in one.path]
    assert len(fetched) == len(online.release.assets)  # all but two parts, and the image's two files
    (folder / "model.bin").write_bytes(b"Weights")
    assert online.failed(api=api, folder=folder) == {"model"}


def test_an_asset_that_was_replaced_is_found_each_one(online: Online) -> None:
    """Somebody with write access uploads another file under the old name."""
    cases = 0
    for asset in online.release.assets:
        old = online.asset(asset.name)
        online.sandbox.hub.delete_asset(online.place.repo, old["id"])
        new = online.sandbox.hub.add_asset(
            online.place.repo, online.release.release_id, asset.name, b"poison", {"login": "acme", "kind": "user"}
        )
        assert f"file {asset.name}" in online.failed(), asset.name
        online.sandbox.state.delete("asset", online.place.repo, new["id"])
        online.put("asset", old)
        cases += 1
    for name in ("image.json", "sbom.cdx.json"):
        old = online.asset(name)
        online.sandbox.hub.delete_asset(online.place.repo, old["id"])
        assert {"image"} & online.failed() or name == "sbom.cdx.json"
        online.put("asset", old)
        cases += 1
    assert online.failed() == set()
    print(f"{cases} replaced files")
    assert cases == len(online.release.assets) + 2


def test_what_is_wrong_with_the_release_is_found(online: Online) -> None:
    repo, number = online.place.repo, online.release.release_id
    release = online.sandbox.state.get("release", repo, number)
    assert release is not None
    online.put("release", release, draft=True)
    with_write = online.failed()
    assert "release" in with_write
    online.put("release", release, tag_name="delay@v9.0.0")
    assert "release" in online.failed()
    online.put("release", release)
    model = online.asset(online.release.assets[0].name)
    online.put("asset", model, state="starter")
    assert f"file {model['name']}" in online.failed()
    online.sandbox.state.delete("asset", repo, model["id"])
    assert f"file {model['name']}" in online.failed()
    online.put("asset", model)
    who = {"login": "acme", "kind": "user"}
    extra = online.sandbox.hub.add_asset(repo, number, "setup.sh", b"#!/bin/sh\n", who)
    assert online.failed() == {"files"}
    online.sandbox.state.delete("asset", repo, extra["id"])
    online.sandbox.state.delete("release", repo, number)
    assert "release" in online.failed()
    online.put("release", release)
    assert online.failed() == set()


def test_an_attestation_at_github_counts_only_where_it_is_verified(online: Online, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    statement = online.place.asset("provenance.intoto.json", online.release.release_id)
    attest(online, signed(online.place, online.sandbox, online.release, statement, other, tmp_path / "work"))
    assert online.failed() == {"signature"}
    assert online.verify(signed=True)[0] == 7
    attest(online, online.bundle)
    assert online.failed() == set()


def test_the_command_says_it_to_people_and_to_tools(online: Online, tmp_path: Path) -> None:
    def said(*words: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "trackside", "models", "verify", *words]
        return subprocess.run(command, cwd=online.clone, env=online.env(), capture_output=True, text=True)

    good = said("delay@v1.0.0")
    assert good.returncode == 0, good.stderr
    assert good.stdout.rstrip().endswith("delay@v1.0.0 is verified: 30 ok, 1 unknown"), good.stdout
    assert "fetching model.bin.part01 (6 bytes)" in good.stdout
    signature = next(line for line in good.stdout.splitlines() if "signature" in line)
    assert signature.startswith("unknown")
    assert "attest" in signature
    model = online.asset("model.bin.part01")
    online.put("asset", model, digest="sha256:" + "b" * 64)
    bad = said("delay@v1.0.0", "--json")
    assert bad.returncode == 7
    document = json.loads(bad.stdout)
    assert (document["schema"], document["verified"]) == ("trackside.verification/1", False)
    (row,) = [one for one in document["checks"] if one["state"] == "failed"]
    assert (row["name"], row["expected"]) == ("file model.bin.part01", model["digest"])
    assert "b" * 64 in row["found"]
    for words, code, told in (
        (("delay@v9.0.0",), 4, "no version 9.0.0"),
        (("delay#prod",), 4, "prod"),
        (("delay",), 2, "delay"),
        (("delay@v1.0.0", "--offline"), 2, "--dir"),
        (("delay@v1.0.0", "--offline", "--dir", tmp_path / "none"), 2, "no folder"),
        (("delay@v1.0.0", "--offline", "--dir", tmp_path), 7, ""),
    ):
        done = said(*words)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        assert told in done.stderr
        assert "Traceback" not in done.stderr
