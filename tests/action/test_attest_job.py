"""The job `attest` of the shipped release workflow, run by act; Sigstore's own library verifies what it leaves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ENV, bot_forge, user
from trackside.documents.release import Asset, Release
from trackside.sandbox.actions.dispatcher import Dispatcher
from trackside.sandbox.attesting import authority
from trackside.sandbox.server import Sandbox
from trackside.sandbox.signing import ROOT
from trackside.train.provenance import PREDICATE, STATEMENT
from trackside.trust.attest import write
from trackside.trust.signatures import Trust, attested

pytestmark = pytest.mark.act

SHIPPED = Path(__file__).resolve().parents[2] / "workflows/release.yml"
MODEL, CARD = hashlib.sha256(b"weights").hexdigest(), hashlib.sha256(b"card").hexdigest()


@pytest.fixture
def dispatcher(sandbox: Sandbox) -> Iterator[Dispatcher]:
    made = sandbox.dispatcher = Dispatcher(sandbox.hub, ENV, {}, grace=(0.3, 0.3))
    made.start()
    yield made
    made.stop()
    sandbox.dispatcher = None
    sandbox.bus._listeners.clear()


def released(version: str, run: str) -> tuple[Release, bytes]:
    statement: dict[str, Any] = {
        "_type": STATEMENT,
        "subject": [{"name": "models/model one.bin", "digest": {"sha256": MODEL}}],
        "predicateType": PREDICATE,
        "predicate": {"buildDefinition": {"internalParameters": {"run": run}}, "runDetails": {}},
    }
    data = json.dumps(statement).encode()
    made = Release(
        model="delay",
        version=version,
        tag=f"delay@v{version}",
        commit="c" * 40,
        run=run,
        state="published",
        model_digest=f"sha256:{MODEL}",
        statement_digest="sha256:" + hashlib.sha256(data).hexdigest(),
        assets=[Asset(name="README.md", role="card", digest=f"sha256:{CARD}", size=4)],
    )
    return made, data


def workflow(folder: Path, releases: list[Release]) -> dict[str, bytes]:
    """The shipped file, whose first job leaves what `register` would leave."""
    made: dict[Any, Any] = yaml.safe_load(SHIPPED.read_text())
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
    listed = json.dumps([{"model": one.model, "version": one.version, "tag": one.tag} for one in releases])
    lines = [f"mkdir -p 'trackside-register/{Path(name).parent}'" for name in files]
    env = {f"FILE_{number}": text for number, text in enumerate(files.values())}
    lines += [f"printf '%s' \"$FILE_{n}\" > 'trackside-register/{name}'" for n, name in enumerate(files)]
    lines += ['echo "released=$RELEASED" >> "$GITHUB_OUTPUT"']
    upload = made["jobs"]["register"]["steps"][-1]
    run = {"id": "register", "shell": "bash", "env": {**env, "RELEASED": listed}, "run": "\n".join(lines)}
    made["jobs"]["register"] |= {"steps": [run, upload], "permissions": {}}
    kept = {name: made["jobs"][name] for name in ("register", "attest")}
    text = yaml.safe_dump({"name": made["name"], "on": made[True], "permissions": {}, "jobs": kept})
    return {".github/workflows/release.yml": text.encode()}


def jobs(sandbox: Sandbox, repo: str) -> list[str]:
    return sorted(f"{one['key']} {one['conclusion']}" for one in sandbox.state.list("job", repo))


def logs(sandbox: Sandbox, repo: str) -> str:
    return "\n".join((sandbox.state.root / one["log"]).read_text() for one in sandbox.state.list("job", repo))


def test_each_released_version_is_attested(sandbox: Sandbox, repo: str, dispatcher: Dispatcher, workdir: Path) -> None:
    made = [released("1.0.0", "0123456789ab"), released("1.1.0", "ba9876543210")]
    for release, statement in made:
        write(workdir, release, statement)
    sandbox.hub.commit_folder(repo, "main", workflow(workdir, [one for one, _ in made]), "release", user("ada"))
    assert dispatcher.wait_idle(90)
    assert jobs(sandbox, repo) == ["attest success"] * 2 + ["register success"], logs(sandbox, repo)
    trust = Trust(root=authority(sandbox.state.root).folder / ROOT)
    with bot_forge(sandbox, repo, {"attestations": "read"}) as forge:
        for release, statement in made:
            good = attested(forge, release, repository=repo, server=sandbox.url, trust=trust)
            assert good is not None
            assert good.signer == f"{sandbox.url}/{repo}/.github/workflows/release.yml@refs/heads/main"
            assert good.statement["predicate"] == json.loads(statement)["predicate"]
            names = {one["name"]: one["digest"]["sha256"] for one in good.statement["subject"]}
            assert names == {"models/modelone.bin": MODEL, "README.md": CARD}
        assert len(forge.attestations(f"sha256:{CARD}")) == 2


@pytest.mark.parametrize("switch", ["off", "nothing"])
def test_it_is_left_out_where_asked_and_where_nothing_was_released(
    sandbox: Sandbox, repo: str, dispatcher: Dispatcher, workdir: Path, switch: str
) -> None:
    release, statement = released("1.0.0", "0123456789ab")
    write(workdir, release, statement)
    if switch == "off":
        dispatcher.set_variable(repo, "TRACKSIDE_ATTEST", "off")
    files = workflow(workdir, [release] if switch == "off" else [])
    sandbox.hub.commit_folder(repo, "main", files, "release", user("ada"))
    assert dispatcher.wait_idle(60)
    assert jobs(sandbox, repo) == ["attest skipped", "register success"], logs(sandbox, repo)
    assert sandbox.state.list("attestation", repo) == []
