"""The sample's image beside what BentoML makes by default, on the same base; and a build after a change of code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from measure import CACHE, ROOT, Figure, figure

from trackside.config.model import ImagePolicy, Model
from trackside.documents.release import Release
from trackside.image import build as building
from trackside.image.backends import Backend, find
from trackside.image.build import BuildJob
from trackside.image.recipe import Inputs
from trackside.system.clock import SystemClock
from trackside.system.process import Processes

SHARE, REBUILD_SECONDS = 0.5, 10.0
ROUNDS = 5
MODEL_BYTES = 640_000
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
STAND_IN = """\
FROM {base}
COPY ca.crt /etc/ssl/certs/ca-certificates.crt
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt PIP_CERT=/etc/ssl/certs/ca-certificates.crt PATH=/base/bin:$PATH
RUN python3 -m venv /base
"""
"""The base as the default recipe wants it, with pip and this machine's certificates."""


def measure(*, quick: bool) -> list[Figure]:
    """Raises RuntimeError where there is no engine, with the fixture's reason."""
    fixture = ROOT / "scripts/container-fixture.sh"
    done = subprocess.run(["bash", fixture], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    base = dict(line.split("=", 1) for line in done.stdout.splitlines())["BASE_IMAGE"]
    backend, _ = find("docker", Processes(dict(os.environ)))
    if backend is None:
        raise RuntimeError("docker does not answer")
    with tempfile.TemporaryDirectory() as name:
        project = sample(Path(name) / "project")
        first = built(backend, base, project, Path(name) / "first")
        megabytes = backend.size(first) / 1e6
        walls = []
        for turn in range(1 if quick else ROUNDS):
            service = project / "service.py"
            service.write_text(service.read_text() + f"\n# change {time.time_ns()}\n")
            started = time.monotonic()
            made = built(backend, base, project, Path(name) / f"turn{turn}")
            walls.append(time.monotonic() - started)
            backend._run("rmi", "--force", made, check=False)
        default = backend.size(default_image(backend, base, first, Path(name) / "default")) / 1e6
        share = backend.size(base) / 1e6
    return [
        Figure(name="image that `bentoml containerize` makes by default", value=default, unit="MB"),
        Figure(
            name="image of the sample project", value=megabytes, unit="MB", spread=f"the base is {share:.0f} MB of it"
        ),
        Figure(name="image, share of the default's size", value=megabytes / default, unit="", bound=SHARE),
        figure("image built anew after a change of code alone", walls, "s", REBUILD_SECONDS),
    ]


def sample(folder: Path) -> Path:
    """The sample project as its service needs it; the model's bytes are not looked at before a request comes."""
    source = ROOT / "examples/flights"
    shutil.copytree(source / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("service.py", "requirements-serve.txt"):
        shutil.copyfile(source / name, folder / name)
    return folder


def built(backend: Backend, base: str, project: Path, work: Path) -> str:
    """The local name of the image of the project as it is now."""
    work.mkdir()
    model = work / "delay.skops"
    model.write_bytes(b"m" * MODEL_BYTES)
    policy = ImagePolicy(
        service="service.py:DelayService",
        requirements="requirements-serve.txt",
        golden="golden.jsonl",
        base_image=base,
        include=("src/flights/*.py",),
    )
    release = Release(
        model="delay", version="1.0.0", tag="delay@v1.0.0", commit="0" * 40, run="bench", state="published",
        model_digest="sha256:" + "0" * 64,
    )  # fmt: skip
    job = BuildJob(
        model=Model(name="delay", path="models/delay.skops", image=policy),
        policy=policy,
        release=release,
        repository="https://github.com/acme/flights",
        checkout=project,
        golden="",
        model_file=model,
        backend=backend,
        registry=None,
        previous=None,
        work=work,
        cache=CACHE / "service",
        processes=backend.processes,
        clock=SystemClock(),
        say=lambda words: None,
    )
    builder = building._Build(job=job)
    inputs: Inputs = builder.inputs(backend.digest_of_base(base))
    return building._built(builder, job, backend, inputs)


def default_image(backend: Backend, base: str, image: str, folder: Path) -> str:
    """The same Bento by BentoML's own recipe, with `FROM` and the build cache as this machine has them."""
    folder.mkdir()
    copy = backend._run("create", image)
    backend._run("cp", f"{copy}:/bento/.", folder)
    backend._run("rm", copy)
    recipe = (folder / "env/docker/Dockerfile").read_text()
    stand_in = "trackside-fixture/default-base"
    shutil.copyfile(CERTIFICATES, folder / "ca.crt")
    (folder / "Base").write_text(STAND_IN.format(base=base))
    network = ["--network", "host"]
    backend._run("build", *network, "--file", folder / "Base", "--tag", stand_in, folder, timeout=1800)
    (folder / "ca.crt").unlink()
    recipe = re.sub(r"^FROM \S+", f"FROM {stand_in}", recipe, count=1, flags=re.MULTILINE)
    recipe = re.sub(r"--mount=\S+ ", "", recipe)
    (folder / "Dockerfile").write_text(recipe)
    tag = "trackside-fixture/default"
    backend._run("build", *network, "--file", folder / "Dockerfile", "--tag", tag, folder, timeout=1800)
    return tag
