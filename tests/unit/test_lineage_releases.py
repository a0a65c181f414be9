"""`trackside lineage` of versions that the register stage released: from a clone, and from the server itself."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import msgspec
import pytest
from registry_world import ADA, Trained, quick

from conftest import ENV
from trackside.app import Context
from trackside.documents.codec import dump
from trackside.documents.image import Image, Smoke
from trackside.documents.lineage import Lineage
from trackside.documents.run import Dependency
from trackside.errors import NotFound
from trackside.forge.operations import CreateTag
from trackside.lineage.ask import Question, ask
from trackside.registry.tags import message, stage_tag
from trackside.sandbox.server import Sandbox

__all__ = ["quick"]
FIRST, SECOND = "md5:" + "1" * 32, "md5:" + "2" * 32
IMAGE = "sha256:" + "a" * 64
DEPLOY = b"    image:\n      service: service.py:Delay\n      requirements: r.txt\n      golden: g.jsonl\n"
DEPLOY += b"      deploy: {file: k.yaml}\n"


@pytest.fixture
def place(sandbox: Sandbox, repo: str, tmp_path: Path, quick: None) -> Trained:
    """Two versions of two data sets, released by the stage; the second is in `prod` and deployed."""
    made = Trained(sandbox, repo, tmp_path)
    one = made.start()
    raw = Dependency(path="data/raw.csv", kind="data", digest=FIRST)
    made.trained(one, dependencies=[raw])
    assert made.register(made.pushed(one)).reason_code == "released", made.said.getvalue()
    two = made.change(0.3)
    made.trained(two, b"other weights", dependencies=[msgspec.structs.replace(raw, digest=SECOND)])
    assert made.register(made.pushed(two)).reason_code == "released", made.said.getvalue()
    with made.forge() as forge:
        for number, version, commit in ((1, "1.0.0", one), (2, "1.0.1", two)):
            body = message(f"prod is {version}", {"Version": version, "Actor": "ada"})
            forge.apply([CreateTag(name=stage_tag("delay", "prod", number), commit=commit, message=body)])
    image = Image(
        model="delay", version="1.0.1", tag="delay@v1.0.1", commit=two, run="r", model_digest="", inputs_digest="",
        bento="b", service="s", reference=f"ghcr.io/acme/delay:1.0.1@{IMAGE}", digest=IMAGE,
        smoke=Smoke(requests=1, passed=1, bad_requests=0, bad_refused=0),
    )  # fmt: skip
    sandbox.hub.commit_folder(repo, "trackside-data", {"images/delay/1.0.1.json": dump(image)}, "Image", ADA)
    policy = made.policy.encode() + DEPLOY
    made.push({"trackside.yaml": policy, "k.yaml": f"images:\n- digest: {IMAGE}\n".encode()})
    return made


def asked(place: Trained, where: str, **question: str) -> Lineage:
    """The answer as a document: of a new clone, or of GitHub itself."""
    out, env = io.StringIO(), dict(ENV)
    folder = place.folder / "clone"
    if where == "clone" and not folder.exists():
        url = f"{place.sandbox.url}/{place.repo}"
        subprocess.run(["git", "clone", "--quiet", url, str(folder)], env=ENV, check=True)
    if where == "server":
        env |= {"GITHUB_API_URL": place.sandbox.api_url, "GITHUB_TOKEN": "token-acme"}
    repository = place.repo if where == "server" else ""
    repo = folder if where == "clone" else place.folder
    assert ask(Context(env=env, out=out), Question(**question), form="json", repo=repo, repository=repository) == 0
    return msgspec.json.decode(out.getvalue(), type=Lineage)


def test_released_versions(place: Trained) -> None:
    for where in ("clone", "server"):
        place.sandbox.calls.clear()
        found = asked(place, where, data=SECOND)
        calls = len(place.sandbox.calls)
        (version,) = found.versions
        assert (version.version, version.use, version.stages) == ("delay@v1.0.1", "learnt", ["delay#prod"])
        assert version.images == [f"ghcr.io/acme/delay:1.0.1@{IMAGE}"]
        assert [one.endswith(":k.yaml") for one in version.deployed] == [True]
        assert (found.counts.in_stage, found.counts.deployed, found.complete) == (1, 1, True)
        (old,) = asked(place, where, data=FIRST).versions
        assert (old.version, old.stages, old.held, old.images) == ("delay@v1.0.0", [], ["delay#prod"], [])
        spec = asked(place, where, spec="delay#prod")
        assert f"data:{SECOND}" in {node.id for node in spec.nodes}
        assert spec.question == "delay#prod is delay@v1.0.1"
        with pytest.raises(NotFound):
            asked(place, where, spec="delay@v7.0.0")
        print(f"{where}: {calls} API calls")
        assert calls <= 8
