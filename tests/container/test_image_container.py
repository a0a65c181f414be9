"""The image stage with a real engine, a real registry and BentoML. Skipped, with a reason, where there is no engine."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from image_world import Imaged, digest
from sweeps import Killed
from trackside.errors import ForgeError, ToolError, TracksideError
from trackside.image import build as building
from trackside.image import job, smoke
from trackside.image.backends import Backend
from trackside.sandbox.server import Sandbox
from trackside.system.http import call
from trackside.system.oci import Registry

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"pandas", "scikit-learn", "scipy", "skops", "joblib", "narwhals", "threadpoolctl", "prettytable", "wcwidth"}
SERVICE = '''\
"""Halves numbers."""

import json
from pathlib import Path
from typing import Annotated

import bentoml
from pydantic import Field

from lib.rate import RATE


@bentoml.service(name="anything")
class Tiny:
    def __init__(self) -> None:
        self.model = json.loads((Path(__file__).parent / "models/tiny.json").read_text())

    @bentoml.api
    def predict(self, rows: Annotated[list[float], Field(min_length=1)]) -> list[float]:
        return [row * self.model["rate"] * RATE for row in rows]
'''
GOLDEN = "".join(
    json.dumps(line) + "\n"
    for line in (
        {"route": "/predict", "request": {"rows": [1, 2, 3]}, "response": [0.5, 1.0, 1.5]},
        {"route": "/predict", "request": {"rows": [0.25]}, "response": [0.125]},
        {"route": "/predict", "request": {"rows": []}, "refused": True},
        {"route": "/predict", "request": {"rows": ["x"]}, "refused": True},
    )
)


def light_lock() -> bytes:
    """The sample's lock without what the tiny service does not import: hash-pinned, and small."""
    blocks = re.split(r"\n(?=[a-z0-9])", (ROOT / "examples/flights/requirements-serve.txt").read_text())
    return "\n".join(one for one in blocks if one.split("==")[0] not in HEAVY).encode()


FILES = {"service.py": SERVICE.encode(), "lib/rate.py": b"RATE = 1.0\n", "requirements-serve.txt": light_lock()}


@pytest.fixture(scope="module")
def fixture() -> dict[str, str]:
    """Base image and registry, as `scripts/container-fixture.sh` has them."""
    done = subprocess.run(["bash", ROOT / "scripts/container-fixture.sh"], capture_output=True, text=True, timeout=600)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout.strip()


def forget(repository: str) -> None:
    """Take this test's images away; layers that others use stay."""
    names = docker("images", "--format", "{{.Repository}} {{.ID}}", "--filter", "label=dev.trackside.model")
    ids = [line.split()[1] for line in names.splitlines() if line.startswith((repository, "trackside/tiny "))]
    subprocess.run(["docker", "rmi", "--force", *ids], capture_output=True, check=False)


@pytest.fixture
def world(
    sandbox: Sandbox, tmp_path: Path, fixture: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Imaged]:
    repository = f"{fixture['REGISTRY']}/test/tiny{time.time_ns()}"
    made = Imaged(
        sandbox, tmp_path / "world", golden=GOLDEN, files=FILES,
        more=f"      registry: {repository}\n      base-image: {fixture['BASE_IMAGE']}\n"
        "      latency-tolerance: 100\n",  # ten requests on a busy machine say nothing
    )  # fmt: skip
    monkeypatch.setattr(smoke, "LATENCY_REQUESTS", 10)
    yield made
    forget(repository)


def registry_of(world: Imaged) -> Registry:
    return Registry(world.more.split("registry: ")[1].split("\n")[0])


def pushes(monkeypatch: pytest.MonkeyPatch, around: Callable[[Callable[[], None]], None] | None = None) -> list[str]:
    """Counts real pushes; `around` may do something before or after."""
    made: list[str] = []
    real = Backend.push

    def push(self: Backend, name: str) -> None:
        def really() -> None:
            real(self, name)
            made.append(name)

        (around or (lambda act: act()))(really)

    monkeypatch.setattr(Backend, "push", push)
    return made


def test_two_releases(world: Imaged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL_FOR_TEST", "secret-index.example")
    pushed = pushes(monkeypatch)
    world.release("1.0.0", world.merge({"a": b"a"}))
    started = time.monotonic()
    result = world.build("1.0.0", backend="docker")
    first_seconds = time.monotonic() - started
    assert (result.decision, result.reason_code) == ("done", "image_built"), world.said.getvalue()
    first = world.image("1.0.0")
    assert first is not None
    assert (first.container, first.backend) == (True, "docker")
    assert (first.smoke.requests, first.smoke.passed) == (2, 2)
    assert (first.smoke.bad_requests, first.smoke.bad_refused) == (3, 3)
    assert len(first.smoke.latency_seconds) == 5

    # What counts is what the registry holds: its manifest's bytes have that digest, its config is the tested image.
    registry = registry_of(world)
    page = f"http://{registry.repository.replace('/', '/v2/', 1)}/manifests/v1.0.0"
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    manifest = call("GET", page, headers=accept)
    assert digest(manifest.body) == first.digest
    reference = f"{registry.repository}@{first.digest}"
    docker("pull", "--quiet", reference)
    (found,) = json.loads(docker("image", "inspect", reference))
    assert found["Id"] == manifest.json()["config"]["digest"]
    config = found["Config"]
    assert config["User"] == "10001:10001"
    assert "readyz" in " ".join(config["Healthcheck"]["Test"])
    assert {"BENTOML_DO_NOT_TRACK=True", "BENTOML_HOME=/tmp/bentoml"} <= set(config["Env"])
    assert {name: text for name, text in config["Labels"].items() if "trackside" in name or "image." in name} == {
        "org.opencontainers.image.title": "tiny",
        "org.opencontainers.image.version": "1.0.0",
        "org.opencontainers.image.revision": first.commit,
        "org.opencontainers.image.source": f"{world.sandbox.url}/{world.repo}",
        "dev.trackside.model": "tiny@v1.0.0",
        "dev.trackside.run": first.run,
        "dev.trackside.model-digest": first.model_digest,
        "dev.trackside.inputs": first.inputs_digest,
    }
    look = (
        "for p in cc gcc g++ make git pip uv; do command -v $p; done; ls / /opt /bento; cat /bento/src/models/tiny.json"
    )
    inside = docker("run", "--rm", "--network", "none", "--entrypoint", "sh", reference, "-c", look)
    assert world.model.decode().strip() in inside
    assert not re.search(r"^/(usr/)?bin/", inside, re.M), f"tools that build things are left: {inside}"
    assert not {"make.py", "words.json", "source", "tools"} & set(inside.split())
    history = docker("history", "--no-trunc", reference)
    assert "secret" not in history
    assert "job-" not in history

    # The bill of materials, by the strict schema.
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    bill = world.assets("1.0.0")["sbom.cdx.json"].decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    purls = {one["purl"] for one in json.loads(bill)["components"]}
    assert "pkg:pypi/bentoml@1.4.39" in purls
    assert any(one.startswith("pkg:deb/debian/libc6@") for one in purls)
    assert len([one for one in purls if one.startswith("pkg:pypi/")]) >= 40

    # The same inputs: nothing is built or pushed.
    again = world.build("1.0.0", backend="docker")
    assert (again.reason_code, pushed) == ("image_unchanged", [f"{registry.repository}:v1.0.0"])

    # Other code: packages and model stay, the latency is held against the last image.
    world.release("1.0.1", world.merge({"lib/rate.py": b"RATE = 2 / 2\n"}, "code"))
    started = time.monotonic()
    world.build("1.0.1", backend="docker")
    seconds = time.monotonic() - started
    second = world.image("1.0.1")
    assert second is not None
    assert second.smoke.compared_with == first.digest
    assert second.smoke.latency_ratio is not None
    layers = [one["digest"] for one in call("GET", page.replace("1.0.0", "1.0.1"), headers=accept).json()["layers"]]
    old = [one["digest"] for one in manifest.json()["layers"]]
    assert layers[:-2] == old[:-2], "only the last layers are new"
    assert layers[:-1] == old[:-1], "the model's layer is the same"
    text = world.said.getvalue()
    assert text.count("laying the packages") <= 1
    print(f"{first.size / 1e6:.0f} MB; {first_seconds:.1f} s, then {seconds:.1f} s with both smoke tests")


Around = Callable[[Callable[[], None]], None]


def killed_before(act: Callable[[], None]) -> None:
    raise Killed


def killed_after(act: Callable[[], None]) -> None:
    act()
    raise Killed


def lost_after(act: Callable[[], None]) -> None:
    act()
    raise ToolError("docker ran past 1800 s and was stopped", reason_code="tool_timed_out")


def refused(act: Callable[[], None]) -> None:
    raise ToolError("`docker push` exited with status 1", log="received unexpected HTTP status: 502 Bad Gateway")


FAULTS: dict[str, tuple[Around, int]] = {
    "killed before the push": (killed_before, 1),
    "killed after it": (killed_after, 0),
    "time-out after it": (lost_after, 0),
    "502 of the registry": (refused, 1),
}


def test_every_fault_at_the_push_ends_in_one_push(world: Imaged) -> None:
    commit = world.merge({"a": b"a"})
    registry, seen = registry_of(world), []
    for number, (name, (fault, later)) in enumerate(FAULTS.items()):
        version = f"1.0.{number}"
        world.release(version, commit)
        with pytest.MonkeyPatch.context() as patch:
            first = pushes(patch, fault)
            with pytest.raises((Killed, ToolError)):
                world.build(version, backend="docker")
        assert world.image(version) is None
        left = registry.find(f"v{version}")
        with pytest.MonkeyPatch.context() as patch:
            again = pushes(patch)
            result = world.build(version, backend="docker")
        assert (result.decision, len(again)) == ("done", later), name
        image, there = world.image(version), registry.find(f"v{version}")
        assert image is not None
        assert there is not None
        assert there.digest == image.digest
        assert left is None or left.digest == image.digest, f"{name}: pushed twice"
        assert world.build(version, backend="docker").reason_code == "image_unchanged"
        seen.append((name, len(first) + len(again)))
    print(f"{len(seen)} faults at the push: {seen}")
    assert [count for _, count in seen] == [1, 1, 1, 1]


def test_what_the_registry_says_is_believed(world: Imaged) -> None:
    """Somebody else pushes the same tag between the push and the look at it: that is no success."""
    world.release("1.0.0", world.merge({"a": b"a"}))
    base = re.search(r"base-image: (\S+)", world.more)
    assert base is not None

    def overtaken(act: Callable[[], None]) -> None:
        act()
        name = f"{registry_of(world).repository}:v1.0.0"
        docker("tag", base[1], name)
        docker("push", name)

    with pytest.MonkeyPatch.context() as patch:
        pushes(patch, overtaken)
        with pytest.raises(ForgeError) as caught:
            world.build("1.0.0", backend="docker")
    assert caught.value.reason_code == "push_lost"
    assert world.image("1.0.0") is None
    assert world.build("1.0.0", backend="docker").reason_code == "image_built"


BROKEN = {
    "every prediction fails, yet it is ready": (
        "return [row * self.model", "raise RuntimeError('weights are gone') or [row * self.model", "answered 500",
    ),
    "wrong answers": ('self.model["rate"] * RATE', 'self.model["rate"] * 1.01', "recorded was 0.5"),
    "wrong type": ("-> list[float]:\n        return [row", "-> list[str]:\n        return [str(row", "text"),
    "its start fails over and over": ("self.model = json", "raise OSError('damaged') ; self.model = json", "not ready"),
}  # fmt: skip


def test_a_bad_service_is_not_pushed(world: Imaged, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = pushes(monkeypatch)
    monkeypatch.setattr(job, "BuildJob", functools.partial(building.BuildJob, ready_seconds=15.0))
    for number, (name, (old, new, words)) in enumerate(BROKEN.items()):
        text = SERVICE.replace(old, new)
        assert text != SERVICE
        if name == "wrong type":
            text = text.replace("RATE for row in rows]", "RATE) for row in rows]")
        version = f"2.0.{number}"
        world.release(version, world.merge({"service.py": text.encode()}, f"bad{number}"))
        with pytest.raises(ToolError) as caught:
            world.build(version, backend="docker")
        assert caught.value.reason_code == "smoke_failed", (name, caught.value.render())
        assert words in caught.value.render(), name
        assert world.image(version) is None
        assert registry_of(world).find(f"v{version}") is None
    assert pushed == []
    print(f"{len(BROKEN)} bad services")


def test_a_build_that_fails_shows_why(world: Imaged) -> None:
    text = SERVICE.replace("import bentoml\n", "import bentoml\nimport of_nothing\n")
    world.release("1.0.0", world.merge({"service.py": text.encode()}))
    with pytest.raises(TracksideError) as caught:
        world.build("1.0.0", backend="docker")
    assert caught.value.reason_code == "image_build_failed"
    assert "of_nothing" in caught.value.render()


def test_without_a_container_and_then_with_one(world: Imaged) -> None:
    world.release("1.0.0", world.merge({"a": b"a"}))
    result = world.build("1.0.0", backend="none")
    assert (result.decision, result.reason_code) == ("done", "bento_served"), world.said.getvalue()
    image = world.image("1.0.0")
    assert image is not None
    assert (image.container, image.digest, image.backend) == (False, "", "")
    assert (image.smoke.passed, image.smoke.bad_refused) == (2, 3)
    assert "served without a container" in world.body("1.0.0")
    bill = json.loads(world.assets("1.0.0")["sbom.cdx.json"])
    names = {one["name"]: one["value"] for one in bill["metadata"]["component"]["properties"]}
    assert names["trackside:os-packages"] == "not scanned"
    assert world.build("1.0.0", backend="none").reason_code == "bento_served"
    before = os.umask(0o077)  # a runner that lets nobody else read its files: the image's user must
    try:
        with_one = world.build("1.0.0", backend="docker")
    finally:
        os.umask(before)
    assert with_one.reason_code == "image_built"
    image = world.image("1.0.0")
    assert image is not None
    assert image.container
    assert image.digest
    assert world.body("1.0.0").count("<!-- trackside:image -->") == 1
    assert "served without a container" not in world.body("1.0.0")
    assert len(world.comments()) == 1


def test_a_service_that_ends_is_told(fixture: dict[str, str], tmp_path: Path) -> None:
    """An image whose command ends at once has no port; the error holds its last words."""
    from trackside.image.backends import find
    from trackside.image.smoke import wait_ready
    from trackside.system.clock import SystemClock
    from trackside.system.process import Processes

    (tmp_path / "Containerfile").write_text(
        f'FROM {fixture["BASE_IMAGE"]}\nEXPOSE 3000\nCMD ["python3", "-c", "raise SystemExit(\'no model here\')"]\n'
    )
    backend, _ = find("docker", Processes(dict(os.environ)))
    assert backend is not None
    backend.build(tmp_path, "trackside/ends:test")
    # It may end before or after its port is known: then waiting tells it.
    with pytest.raises(ToolError) as caught, backend.started("trackside/ends:test") as service:
        wait_ready(service, SystemClock(), 30.0)
    assert caught.value.reason_code == "smoke_failed"
    assert "no model here" in caught.value.render() + caught.value.log
    docker("rmi", "--force", "trackside/ends:test")
