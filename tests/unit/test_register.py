"""Register on merge, over real HTTP with real git and DVC: one release a changed model, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml
from registry_world import Trained

from trackside.documents.codec import load
from trackside.documents.run import Run
from trackside.registry import read
from trackside.sandbox.server import Sandbox


@pytest.fixture
def place(sandbox: Sandbox, repo: str, tmp_path: Path) -> Trained:
    return Trained(sandbox, repo, tmp_path)


def test_a_merge_becomes_a_release(place: Trained) -> None:
    commit = place.start()
    run = place.trained(commit)
    result = place.register(place.pushed(commit))
    assert (result.decision, result.reason_code) == ("done", "released"), place.said.getvalue()
    assert result.values["released"] == [{"model": "delay", "version": "1.0.0", "tag": "delay@v1.0.0"}]
    (release,) = place.releases()
    assert (release["tag_name"], release["draft"]) == ("delay@v1.0.0", False)
    (record,) = place.records()
    assert (record.state, record.commit, record.run, record.release_id) == ("published", commit, run.id, release["id"])
    assert place.tags() == ["delay@v1.0.0"]
    names = {one.name: one.role for one in record.assets}
    assert names == {
        "model.bin": "model", "run.json": "run", "provenance.intoto.json": "statement", "README.md": "card",
    }  # fmt: skip
    assert load(Run, place.asset("run.json", record.release_id)) == run
    statement = place.asset("provenance.intoto.json", record.release_id)
    assert json.loads(statement)["subject"][0]["digest"]["sha256"] == record.model_digest.removeprefix("sha256:")
    tag = place.sandbox.hub.bare(place.repo).git("cat-file", "-p", "refs/tags/delay@v1.0.0").text
    assert f"Run-Id: {run.id}\n" in tag
    assert f"Statement-Sha256: {hashlib.sha256(statement).hexdigest()}\n" in tag
    card = place.asset("README.md", record.release_id).decode()
    block = yaml.safe_load(card.split("---\n")[1])
    assert block["license"] == "apache-2.0"
    assert block["model-index"][0]["results"][0]["metrics"][0] == {"type": "auc", "name": "auc", "value": 0.7}
    for words in ("Only three airports", "data/raw.csv", "gh release download", "open('model.bin')"):
        assert words in card
    with place.forge() as forge:
        found = read.need(forge, "delay")
        path = read.fetch_model(forge, found, place.folder / "back")
    assert path == place.folder / "back/model.bin"
    assert path.read_bytes() == b"weights"
    writes = [one for one in place.sandbox.calls if one.method != "GET"]
    print(f"{result.api_calls} API calls")
    assert result.api_calls <= 60
    assert len(writes) > 0
