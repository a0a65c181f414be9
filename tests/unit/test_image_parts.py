"""Recipe, lock, bill of materials, notes and the search for a container tool."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import stat
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.config.model import ImagePolicy
from trackside.documents.image import Image, Smoke
from trackside.errors import ConfigError, DataError, ForgeError, ToolError
from trackside.image import backends, packages, publish, recipe, sbom
from trackside.image.bento import source_files
from trackside.system.http import call, free_port
from trackside.system.oci import Registry
from trackside.system.process import Processes

INPUTS = recipe.Inputs(
    model="Delay", version="1.0.0+5", commit="c" * 40, run="0123456789ab", model_digest="sha256:" + "d" * 64,
    service="serve/app.py:Late", base_digest="sha256:" + "b" * 64, requirements_digest="sha256:" + "e" * 64,
    sources={"serve/app.py": "sha256:" + "f" * 64}, repository="https://github.com/acme/flights",
)  # fmt: skip


def test_everything_that_decides_an_image_is_in_its_digest() -> None:
    changed = {
        "model": "other", "version": "1.0.1", "commit": "d" * 40, "model_digest": "sha256:0", "service": "a.py:B",
        "base_digest": "sha256:0", "requirements_digest": "sha256:0", "sources": {"serve/app.py": "sha256:0"},
    }  # fmt: skip
    digests = {dataclasses.replace(INPUTS, **{name: value}).digest for name, value in changed.items()}
    assert len(digests | {INPUTS.digest}) == len(changed) + 1
    assert re.fullmatch("sha256:[0-9a-f]{64}", INPUTS.digest)
    assert dataclasses.replace(INPUTS, version="2.0.0").packages_digest == INPUTS.packages_digest
    assert dataclasses.replace(INPUTS, base_digest="sha256:0").packages_digest != INPUTS.packages_digest


def test_what_the_bento_is_told() -> None:
    told = json.loads(recipe.words(INPUTS, "lock.txt", "models/m.bin"))
    assert told["service"] == "serve.app:Late"
    assert (told["name"], told["model"], told["requirements"]) == ("delay", "models/m.bin", "lock.txt")
    assert re.fullmatch(r"1\.0\.0_5-[0-9a-f]{8}", told["version"]), "a Bento's version knows no plus sign"
    compile(recipe.MAKE, "make.py", "exec")
    for service in ("my-service.py:A", "a/1b.py:A", "a b.py:A"):
        with pytest.raises(ConfigError, match="cannot import"):
            recipe.import_string(service)


@given(st.text(max_size=60))
def test_no_label_can_end_its_line(text: str) -> None:
    """Names and commits of a repository cannot add instructions to the recipe."""
    made = recipe.service_file("trackside/packages:1", {"dev.trackside.model": text})
    assert len(made.splitlines()) == len(
        recipe.service_file("trackside/packages:1", {"dev.trackside.model": ""}).splitlines()
    )
    (label,) = [line for line in made.splitlines() if line.startswith("LABEL ")]
    assert re.fullmatch(r'LABEL "dev\.trackside\.model"="(?:[^"\\]|\\.)*"', label)


@pytest.mark.parametrize(
    "image", ["", "a b", "a\nRUN x", "$BASE", "-a", "A/b", "a:b:c", "a@sha256:0", "../a", "a AS built"]
)
def test_no_base_image_can_add_to_the_recipe(image: str) -> None:
    with pytest.raises(ConfigError, match="no name of an image"):
        recipe.packages_file(image)


@pytest.mark.parametrize(
    "image",
    ["python:3.12-slim-bookworm", "ghcr.io/acme/base@sha256:" + "a" * 64, "127.0.0.1:5055/a/b:v1", "a", "a/b_c.d:E-f"],
)
def test_names_of_images(image: str) -> None:
    assert recipe.packages_file(image).startswith(f"FROM {image}\n")


def test_the_recipes_hold_the_promises() -> None:
    made = recipe.service_file("trackside/packages:1", INPUTS.labels())
    last = made.split("\nFROM ")[-1]
    for words in ("USER 10001:10001", "HEALTHCHECK", "DO_NOT_TRACK=True", "BENTOML_HOME=/tmp/bentoml", "EXPOSE 3000"):
        assert words in last
    assert last.index("/made/model") < last.index("/made/bento"), "the code is the last layer"
    assert "RUN" not in last, "nothing is run in the final image"


def test_a_lock_pins_everything_by_hash() -> None:
    good = "bentoml==1.4.39 \\\n    --hash=sha256:0 \\\n    --hash=sha256:1\n"
    good += "    # via a service\n"
    good += "numpy==2 ; python_version < '3.12' --hash=sha256:2\n"
    packages.check_lock(good, "lock.txt")
    for text, words in (
        (good + "requests\n", "without a hash: requests"),
        (good + "x @ https://example.com/x.whl\n", "without a hash: x"),
        ("numpy==2 --hash=sha256:2\n", "does not pin bentoml"),
        (good + "--index-url https://example.com/simple\n", "options (--index-url)"),
        (good + "-e .\n", "options (-e)"),
        (good + "  --find-links=x --hash=sha256:3\n", "options (--find-links=x)"),
    ):
        with pytest.raises(DataError, match=re.escape(words)):
            packages.check_lock(text, "lock.txt")


def test_a_closed_umask_does_not_close_the_packages(tmp_path: Path) -> None:
    (tmp_path / "site/bin").mkdir(parents=True)
    (tmp_path / "site/a.py").write_text("a")
    (tmp_path / "site/bin/run").write_text("a")
    (tmp_path / "site/out").symlink_to("/etc/shadow")
    for path, mode in (("site/bin/run", 0o700), ("site/a.py", 0o600), ("site/bin", 0o700), ("site", 0o700)):
        (tmp_path / path).chmod(mode)
    packages.readable(tmp_path / "site")
    modes = {
        path: (tmp_path / path).stat().st_mode & 0o777 for path in ("site", "site/bin", "site/a.py", "site/bin/run")
    }
    assert modes == {"site": 0o755, "site/bin": 0o755, "site/a.py": 0o644, "site/bin/run": 0o755}


def test_the_target_of_a_base_image() -> None:
    target = packages.target_of("3.11 2.36 x86_64\n", "python:3")
    assert (target.python, target.platform) == ("3.11", "x86_64-manylinux_2_36")
    for printed in ("", "3.12  x86_64", "python3: not found"):
        with pytest.raises(ConfigError, match="no python3 on glibc"):
            packages.target_of(printed, "alpine")


def test_files_of_the_service(tmp_path: Path) -> None:
    for name in ("service.py", "lock.txt", "src/a.py", "src/b/c.py", "src/__pycache__/a.pyc", "other.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    policy = ImagePolicy(service="service.py:A", requirements="lock.txt", golden="g", include=("src",))
    assert source_files(tmp_path, policy) == ["lock.txt", "service.py", "src/a.py", "src/b/c.py"]
    only = dataclasses.replace(policy, include=("src/*.py",))
    assert source_files(tmp_path, only) == ["lock.txt", "service.py", "src/a.py"]
    for pattern in ("../x", "/etc/hostname", "nothing/*"):
        with pytest.raises(ConfigError):
            source_files(tmp_path, dataclasses.replace(policy, include=(pattern,)))
    (tmp_path / "src/out.py").symlink_to("/etc/hostname")
    with pytest.raises(ConfigError, match="links to outside"):
        source_files(tmp_path, policy)


def test_the_bill_of_materials_is_valid() -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    python = sbom.python_packages("Simple_DI\t0.1\nbentoml\t1.4.39\nbentoml\t1.4.39\nbroken\n")
    debian = sbom.debian_packages("libc6\t2.36-9+deb12u14\tamd64\ng++\t4:12.2.0-3\tamd64\nremoved\t\tamd64\n")
    assert python == [("bentoml", "1.4.39"), ("simple-di", "0.1")]
    assert len(debian) == 2
    for container, os_packages in ((True, debian), (False, [])):
        made = sbom.bom(
            model="delay", version="1.0.0", container=container, inputs_digest=INPUTS.digest,
            made_at=datetime(2026, 1, 1, tzinfo=UTC), python=python, debian=os_packages,
        )  # fmt: skip
        assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made.decode()) is None
        raw = json.loads(made)
        names = {one["name"]: one["value"] for one in raw["metadata"]["component"]["properties"]}
        assert names["trackside:os-packages"] == ("2" if container else "not scanned")
        assert {one["name"] for one in raw["components"]} >= {"bentoml", "simple-di"}


def image(**changes: object) -> Image:
    plain = {
        "model": "delay", "version": "1.0.0", "tag": "delay@v1.0.0", "commit": "c" * 40, "run": "r",
        "model_digest": "sha256:" + "d" * 64, "inputs_digest": INPUTS.digest, "bento": "delay:1.0.0-1",
        "service": "a.py:B",
        "smoke": Smoke(requests=2, passed=2, bad_requests=1, bad_refused=1, latency_ratio=1.02),
        "reference": "ghcr.io/acme/delay:v1.0.0", "digest": "sha256:" + "a" * 64, "size": 500_000_000,
    }  # fmt: skip
    return Image(**{**plain, **changes})


@given(st.text(max_size=200))
def test_the_line_of_the_notes_is_one(body: str) -> None:
    once = publish.with_line(body, image())
    assert publish.with_line(once, image()) == once
    other = publish.with_line(once, image(digest="sha256:" + "9" * 64))
    assert "9" * 64 in other
    assert "a" * 64 not in other


def test_what_is_said_of_an_image() -> None:
    said = publish.sentence(image())
    assert "`ghcr.io/acme/delay:v1.0.0@sha256:" + "a" * 64 + "` (500 MB): 2 of 2 recorded answers" in said
    assert "latency 1.02 times" in said
    assert "pushed nowhere" in publish.sentence(image(reference="", digest=""))
    assert "served without a container" in publish.sentence(image(container=False))
    hostile = publish.sentence(image(reference="x` <b>@everyone</b> `"))
    assert "<b>" not in hostile
    assert "@everyone" not in hostile


# Container tools


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text("#!/bin/sh\n" + text)
    (folder / name).chmod(stat.S_IRWXU)


def test_what_is_missing_is_named_and_what_hangs_is_left(tmp_path: Path) -> None:
    program(tmp_path, "docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1\n")
    program(tmp_path, "podman", "exec /bin/sleep 600\n")
    started = time.monotonic()
    found, missing = backends.find("auto", Processes({"PATH": str(tmp_path)}))
    assert time.monotonic() - started < 200, "a third of what the one that hangs would sleep"
    assert found is None
    assert [one.name for one in missing] == ["docker", "podman", "buildah"]
    assert "Cannot connect to the Docker daemon" in missing[0].why
    assert "ran past" in missing[1].why
    assert "not installed" in missing[2].why


def test_the_first_that_works_is_taken(tmp_path: Path) -> None:
    program(tmp_path, "docker", "exit 1\n")
    for name in ("podman", "buildah"):
        program(tmp_path, name, "exit 0\n")
    processes = Processes({"PATH": str(tmp_path)})
    found, missing = backends.find("auto", processes)
    assert found is not None
    assert (found.name, [one.name for one in missing]) == ("podman", ["docker"])
    found, _ = backends.find("buildah", processes)
    assert isinstance(found, backends.Buildah)
    assert backends.find("none", processes) == (None, [])
    with pytest.raises(ConfigError, match="none of auto, docker"):
        backends.find("/bin/sh", processes)


def test_a_failed_build_and_push_show_the_words_of_the_tool(tmp_path: Path) -> None:
    program(tmp_path, "docker", 'echo "step 3: no space left"; echo "denied: token lacks write" >&2; exit 1\n')
    backend = backends.Backend(name="docker", processes=Processes({"PATH": str(tmp_path)}))
    with pytest.raises(ToolError) as caught:
        backend.build(tmp_path, "trackside/x:1")
    assert caught.value.reason_code == "image_build_failed"
    assert "denied: token lacks write" in caught.value.render()
    with pytest.raises(ToolError) as caught:
        backend.push("ghcr.io/acme/x:v1")
    assert caught.value.reason_code == "push_failed"
    assert "packages: write" in caught.value.render()
    assert "denied: token lacks write" in caught.value.render()


def test_credentials_are_shown_to_the_tool_by_a_folder_alone(tmp_path: Path) -> None:
    program(tmp_path, "podman", 'echo "$*" >>"$LOG"; echo "$DOCKER_CONFIG $REGISTRY_AUTH_FILE" >>"$LOG"\n')
    log = tmp_path / "log"
    processes = Processes({"PATH": str(tmp_path), "LOG": str(log)})
    backend = backends.Backend(name="podman", processes=processes, login=tmp_path / "login")
    backend.push("127.0.0.1:5000/acme/x:v1")
    backend.push("ghcr.io/acme/x:v1")
    folder = tmp_path / "login"
    assert log.read_text().splitlines() == [
        "push --tls-verify=false 127.0.0.1:5000/acme/x:v1",
        f"{folder} {folder}/config.json",
        "push ghcr.io/acme/x:v1",
        f"{folder} {folder}/config.json",
    ]


@pytest.mark.parametrize("name", ["ghcr.io", "acme/", "https://ghcr.io/a", "ghcr.io/A", "ghcr.io/a:v1", "x/y z", ""])
def test_what_is_no_registry_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no repository of a registry"):
        Registry(name)


def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    del tmp_path
    with pytest.raises(ForgeError, match="no answer"):
        Registry("127.0.0.1:1/acme/x").find("v1")
    assert os.sep


BASE = "#!/bin/sh\ncase \"$*\" in *RepoDigests*) echo '%s' ;; *) echo sha256:id ;; esac\n"


@pytest.mark.parametrize(
    ("digests", "expected"),
    [
        ("null", "sha256:id"),
        ('["elsewhere/copy@sha256:1"]', "sha256:id"),
        ('["elsewhere/copy@sha256:1", "python@sha256:2"]', "sha256:2"),
        ('["docker.io/library/python@sha256:3"]', "sha256:3"),
        ('["mypython@sha256:4"]', "sha256:id"),
    ],
)
def test_a_base_is_pinned_by_the_registry_it_is_named_after(tmp_path: Path, digests: str, expected: str) -> None:
    program(tmp_path, "docker", BASE % digests)
    backend = backends.Backend(name="docker", processes=Processes({"PATH": str(tmp_path)}))
    for reference in ("python:3.12-slim", "python", "python@sha256:" + "0" * 64):
        assert backend.digest_of_base(reference) == expected


REGISTRY = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
import base64, hashlib
MODE = sys.argv[2]
CONFIG = json.dumps({"config": {"Labels": {"a": "b"}}}).encode()
NAME = "sha256:" + hashlib.sha256(CONFIG).hexdigest()
MANIFEST = json.dumps({"config": {"digest": NAME}, "layers": [{"size": 3}, {"size": 4}]}).encode()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        host = self.headers["Host"]
        basic = "Basic " + base64.b64encode(b"ada:pass").decode()
        given = self.headers.get("Authorization", "")
        if self.path.startswith("/token"):
            good = given == basic and "repository%3Aacme%2Fx%3Apull" in self.path
            return self.reply(200 if good else 403, b'{"token": "t1"}' if good else b"{}")
        if MODE in ("bearer", "elsewhere") and given != "Bearer t1":
            realm = f"http://{host}/token" if MODE == "bearer" else "ftp://evil.example/token"
            return self.reply(401, b"{}", {"WWW-Authenticate": f'Bearer realm="{realm}",service="r"'})
        if MODE == "basic" and given != basic:
            return self.reply(401, b"{}", {"WWW-Authenticate": "Basic"})
        if self.path.endswith("/blobs/" + NAME):
            return self.reply(200, CONFIG)
        if not self.path.endswith("/manifests/v1"):
            return self.reply(404, b"{}")
        named = "sha256:" + ("0" * 64 if MODE == "lying" else hashlib.sha256(MANIFEST).hexdigest())
        self.reply(503 if MODE == "down" else 200, MANIFEST, {"Docker-Content-Digest": named})
    def reply(self, status, body, headers={}):
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.mark.parametrize(
    ("mode", "login", "words"),
    [
        ("open", ("", ""), ""),
        ("bearer", ("ada", "pass"), ""),
        ("basic", ("ada", "pass"), ""),
        ("bearer", ("ada", "wrong"), "does not let this job in"),
        ("basic", ("", ""), "does not let this job in"),
        ("elsewhere", ("ada", "pass"), "no safe token server"),
        ("lying", ("", ""), "gives other bytes"),
        ("down", ("", ""), "answered 503"),
    ],
)
def test_what_a_registry_answers(mode: str, login: tuple[str, str], words: str) -> None:
    port = free_port()
    child = Processes({"PATH": ""}).spawn([sys.executable, "-I", "-c", REGISTRY, str(port), mode])
    try:
        registry = Registry(f"127.0.0.1:{port}/acme/x", *login)
        for _ in range(200):
            try:
                call("GET", f"http://127.0.0.1:{port}/v2/")
                break
            except ForgeError:
                time.sleep(0.05)
        if words:
            with pytest.raises(ForgeError, match=words):
                registry.find("v1")
            return
        found = registry.find("v1")
        assert found is not None
        assert (found.labels, found.size) == ({"a": "b"}, 7)
        assert re.fullmatch("sha256:[0-9a-f]{64}", found.digest)
        assert registry.find("v2") is None
    finally:
        child.stop(grace=0.2)
