"""The image stage over real HTTP: what it reads, what it tells, once, whatever fails. The slow middle, building and
testing the image, stands still here; `tests/container` and `tests/unit/test_image_*` do that for real.
"""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from image_world import FILES, GOLDEN, Imaged, StoppedClock
from sweeps import Prepared, broken, cases, noted
from trackside.documents.image import Smoke
from trackside.errors import ConfigError, DataError, NotFound, ToolError, TracksideError
from trackside.forge.github import GithubForge
from trackside.image import build as building
from trackside.image.backends import Backend
from trackside.image.build import BuildJob, Built
from trackside.image.recipe import Inputs
from trackside.sandbox.server import Sandbox

ENGINE = """#!/bin/sh
case "$1" in
  info) echo fine ;;
  image) case "$*" in *RepoDigests*) echo '["python@sha256:5'"$(printf '%063d' 0)"'"]' ;; *) echo sha256:base ;; esac ;;
  *) echo "no $1 here" >&2; exit 1 ;;
esac
"""
"""As much of docker as is asked before something is built."""


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[BuildJob]:
    """What building comes to, at once; the jobs that got so far."""
    jobs: list[BuildJob] = []

    def contained(work: Any, job: BuildJob, backend: Backend, inputs: Inputs) -> Built:
        jobs.append(job)
        assert job.model_file.read_bytes() == (job.work / "release" / job.model.path).read_bytes()
        smoke = Smoke(requests=1, passed=1, bad_requests=2, bad_refused=2, latency_seconds=[0.004] * 5)
        image = work.document(inputs, smoke)
        if job.registry is not None:
            name = f"{job.registry.repository}:v{job.release.version}"
            image = msgspec.structs.replace(image, reference=name, digest=inputs.digest)
        return Built(image=image, sbom=b'{"bomFormat": "CycloneDX"}\n', pushed=job.registry is not None)

    monkeypatch.setattr(building, "_contained", contained)
    return jobs


@pytest.fixture
def engine(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "docker"
    program.write_text(ENGINE)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "git").symlink_to(shutil.which("git") or "git")
    return {"PATH": str(folder)}  # whatever else this machine has


@pytest.fixture
def world(sandbox: Sandbox, tmp_path: Path, engine: dict[str, str], built: list[BuildJob]) -> Imaged:
    del built
    return Imaged(sandbox, tmp_path / "world", more="      registry: 127.0.0.1:1/acme/tiny\n", env=engine)


def test_what_is_told_of_an_image(world: Imaged, built: list[BuildJob]) -> None:
    commit = world.merge({"lib/rate.py": b"RATE = 1 / 2\n"})
    release = world.release("1.0.0", commit)
    world.push({"service.py": b"raise SystemExit('of a later commit')\n"})
    before = len(world.sandbox.calls)
    result = world.build("1.0.0")
    writes = [one for one in world.sandbox.calls[before:] if one.method != "GET"]
    assert (result.decision, result.reason_code) == ("done", "image_built"), world.said.getvalue()
    image = world.image("1.0.0")
    assert image is not None
    assert (image.commit, image.tag, image.run) == (commit, "tiny@v1.0.0", release.run)
    assert image.model_digest == release.model_digest
    assert image.base_digest == "sha256:5" + "0" * 63
    assert result.values["images"] == [
        {"model": "tiny", "version": "1.0.0", "digest": image.digest, "reference": image.reference, "pushed": True,
         "container": True},
    ]  # fmt: skip
    assert set(world.assets("1.0.0")) == {"tiny.json", "golden.jsonl", "image.json", "sbom.cdx.json"}
    assert json.loads(world.assets("1.0.0")["image.json"])["digest"] == image.digest
    place = f"`{image.reference}@{image.digest}`"  # as it is, to be copied
    assert world.body("1.0.0").startswith(f"# Notes\n\nOf the model.\n\n<!-- trackside:image -->\n**Image** {place} (")
    (comment,) = world.comments()
    assert image.digest in comment
    assert "1 of 1 recorded answers, 2 bad requests refused" in comment
    (job,) = built
    print(f"{result.api_calls} API calls, {len(writes)} writes")
    assert result.api_calls <= 60
    assert len(writes) <= 20
    assert job.golden == GOLDEN


def test_files_are_those_of_the_released_commit(
    world: Imaged, built: list[BuildJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, bytes] = {}

    def inputs(work: Any, base: str) -> Inputs:
        seen.update({str(p.relative_to(work.job.checkout)): p.read_bytes()
                     for p in work.job.checkout.rglob("*") if p.is_file()})  # fmt: skip
        return real(work, base)

    real = building._Build.inputs
    monkeypatch.setattr(building._Build, "inputs", inputs)
    commit = world.merge({"lib/rate.py": b"RATE = 1 / 2\n"})
    world.release("1.0.0", commit)
    world.push({"service.py": b"later\n", "lib/rate.py": b"later\n"})
    world.build("1.0.0")
    assert (seen["service.py"], seen["lib/rate.py"]) == (FILES["service.py"], b"RATE = 1 / 2\n")
    assert len(built) == 1


def test_the_same_inputs_are_built_once(world: Imaged, built: list[BuildJob]) -> None:
    world.release("1.0.0", world.merge({"a": b"a"}))
    first = world.build("1.0.0")
    before, calls = world.end_state("1.0.0"), len(world.sandbox.calls)
    again = world.build("1.0.0")
    assert (again.decision, again.reason_code) == ("done", "image_unchanged")
    assert again.values["images"] == [{**first.values["images"][0], "pushed": False}]
    assert (world.end_state("1.0.0"), len(built)) == (before, 1)
    assert [one.method for one in world.sandbox.calls[calls:] if one.method != "GET"] == []
    world.release("1.0.1", world.merge({"lib/rate.py": b"RATE = 0.25 * 2\n"}, "other"))
    world.build("1.0.1")
    assert len(built) == 2, "another commit is another image"


def test_the_last_image_before_is_compared_with(world: Imaged, built: list[BuildJob]) -> None:
    for version in ("1.0.0", "1.10.0", "1.2.0"):
        world.release(version, world.merge({"a": version.encode()}, f"to-{version}"))
        world.build(version)
    world.release("1.11.0-rc.1", world.merge({"a": b"rc"}, "rc"))
    world.build("1.11.0-rc.1")
    assert [job.previous.version if job.previous else "" for job in built] == ["", "1.0.0", "1.0.0", "1.10.0"]


def test_its_deployment_is_proposed_once(sandbox: Sandbox, tmp_path: Path, engine: dict[str, str], built: Any) -> None:
    more = "      registry: 127.0.0.1:1/acme/tiny\n      deploy: {file: deploy/kustomization.yaml}\n"
    world = Imaged(sandbox, tmp_path / "world", more=more, env=engine)
    world.release("1.0.0", world.merge({"a": b"a"}))
    for _ in range(2):
        assert world.build("1.0.0").decision == "done", world.said.getvalue()
    image = world.image("1.0.0")
    assert image is not None
    (proposal,) = [one for one in sandbox.state.list("pull", world.repo) if one["number"] != world.pull]
    branch = "refs/heads/trackside/deploy/tiny"
    assert image.digest in (sandbox.hub.bare(world.repo).file(branch, "deploy/kustomization.yaml") or b"").decode()
    assert proposal["number"] > world.pull
    assert len(built) == 1


def test_a_late_job_does_not_propose_an_older_image(
    sandbox: Sandbox, tmp_path: Path, engine: dict[str, str], built: Any
) -> None:
    more = "      registry: 127.0.0.1:1/acme/tiny\n      deploy: {file: deploy/kustomization.yaml}\n"
    world = Imaged(sandbox, tmp_path / "world", more=more, env=engine)
    for version in ("1.0.0", "1.1.0"):
        world.release(version, world.merge({"a": version.encode()}, f"to-{version}"))
    for version in ("1.1.0", "1.0.0", "1.0.0"):  # the older one's job ends last, and is run again
        assert world.build(version).decision == "done", world.said.getvalue()
    assert "a newer version has an image" in world.said.getvalue()
    about = [sandbox.hub.issue(world.repo, one["number"])["title"] for one in sandbox.state.list("pull", world.repo)]
    assert [one for one in about if one.startswith("Deploy")] == ["Deploy tiny 1.1.0"]


def test_one_model_does_not_stop_the_others(world: Imaged, built: list[BuildJob]) -> None:
    world.release("1.0.0", world.merge({"a": b"a"}))
    with pytest.raises(NotFound, match=r"no published release 9\.9\.9"):
        world.build("9.9.9", "1.0.0")
    assert world.image("1.0.0") is not None
    assert len(built) == 1


def test_nothing_to_do(world: Imaged) -> None:
    assert world.build().reason_code == "image_not_asked"
    world.push({"trackside.yaml": b"version: 1\nmodels:\n  tiny: {path: models/tiny.json}\n"})
    assert world.build("1.0.0").reason_code == "image_not_asked"


def test_what_cannot_be_built_is_explained(sandbox: Sandbox, world: Imaged, built: list[BuildJob]) -> None:
    with pytest.raises(NotFound, match="no published release"):
        world.build("9.9.9")
    with pytest.raises(ConfigError, match="backend 'dockr' is none of"):
        world.build("1.0.0", backend="dockr")
    with pytest.raises(ToolError) as caught:
        world.build("1.0.0", backend="podman")
    assert caught.value.reason_code == "backend_missing"
    release = world.release("1.0.0", world.merge({"a": b"a"}))
    (asset,) = [
        one for one in sandbox.state.list("asset", world.repo, release=release.release_id) if one["name"] == "tiny.json"
    ]
    sandbox.hub.delete_asset(world.repo, asset["id"])
    with pytest.raises(NotFound) as gone:
        world.build("1.0.0")
    assert gone.value.reason_code == "asset_missing"
    world.release("1.0.1", world.merge({"requirements-serve.txt": b"bentoml==1.4.39\n"}, "bare"))
    with pytest.raises(DataError, match="without a hash: bentoml"):
        world.build("1.0.1")
    world.release("1.0.2", world.merge({"requirements-serve.txt": b"numpy==2 --hash=sha256:0\n"}, "other"))
    with pytest.raises(DataError, match="does not pin bentoml"):
        world.build("1.0.2")
    world.release(
        "1.0.3", world.merge({"lib/rate.py": None, "requirements-serve.txt": FILES["requirements-serve.txt"]}, "x")
    )
    with pytest.raises(ConfigError, match="matches 'lib'"):
        world.build("1.0.3")
    assert built == []
    assert world.comments() == []


def test_a_link_does_not_lead_out_of_the_commit(
    sandbox: Sandbox, world: Imaged, built: list[BuildJob], tmp_path: Path
) -> None:
    bare = sandbox.hub.bare(world.repo)
    (tmp_path / "target").write_text("/etc/hostname")
    sha = bare.git("hash-object", "-w", str(tmp_path / "target")).text.strip()
    bare.git("read-tree", "main")
    bare.git("update-index", "--add", "--cacheinfo", f"120000,{sha},lib/outside.py")
    tree = bare.git("write-tree").text.strip()
    commit = bare.git("-c", "user.name=a", "-c", "user.email=a@b.example", "commit-tree", tree, "-p", "main", "-m", "x")
    bare.git("update-ref", "refs/heads/main", commit.text.strip())
    world.release("1.0.0", commit.text.strip())
    with pytest.raises(ConfigError, match="links to outside"):
        world.build("1.0.0")
    assert built == []


@pytest.mark.parametrize(("registry", "seen"), [("ghcr.io", True), ("registry.example.com", False)])
def test_the_token_of_github_is_shown_to_github_alone(
    world: Imaged, monkeypatch: pytest.MonkeyPatch, registry: str, seen: bool
) -> None:
    from trackside.image import backends, job

    found: list[Any] = []
    real = backends.find

    def find(wanted: str, processes: Any, login: Path | None) -> Any:
        found.append(login and (json.loads((login / "config.json").read_text()), login.stat().st_mode & 0o777))
        return real(wanted, processes, login)

    monkeypatch.setattr(backends, "find", find)
    with world.forge() as forge:
        token = forge._token
        text = world.policy.replace("{more}", f"      registry: {registry}/acme/tiny\n")
        world.push({"trackside.yaml": text.encode()})
        monkeypatch.setattr("trackside.stages.forge_of", lambda *_: forge)
        for password in (token, "a password of its own"):
            job.stage_image(world.context(registry_username="ada", registry_password=password, github_token=token))
    assert [bool(one) for one in found] == [seen, True]
    for auth, mode in filter(None, found):
        assert set(auth["auths"]) == {registry}
        assert mode == 0o700


@pytest.mark.usefixtures("remembering")
def test_every_fault_at_every_call_ends_in_the_same_image(
    sandbox: Sandbox, world: Imaged, built: list[BuildJob]
) -> None:
    """After one re-run the end is that of a run without faults."""
    commit = world.merge({"a": b"a"})

    def quick() -> GithubForge:
        return world.forge(clock=StoppedClock(), timeout=30)

    world.release("1.0.0", commit)
    world.build("1.0.0")
    world.release("1.0.1", commit)  # finds the image of the first
    prepared, forge = Prepared(sandbox, world.repo), quick()
    methods = noted(forge)
    world.build("1.0.1", forge=forge)
    expected, swept = world.end_state("1.0.1"), list(cases(methods))
    for case in swept:
        prepared.restore()
        assert (world.image("1.0.1"), list(world.assets("1.0.1"))) == (None, ["tiny.json", "golden.jsonl"])
        broken(case, sandbox, quick(), lambda forge: _swallowed(world, "1.0.1", forge))
        again = world.build("1.0.1", forge=quick())
        assert again.decision == "done", (case, again)
        assert world.end_state("1.0.1") == expected, case
    print(f"{len(methods)} API calls, {len(swept)} cases, {len(built)} builds")
    assert len(swept) >= len(methods) * 2 >= 20


def _swallowed(place: Imaged, version: str, forge: GithubForge) -> None:
    try:
        place.build(version, forge=forge)
    except TracksideError:
        return
