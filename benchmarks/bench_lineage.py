"""`trackside lineage` over 1,000 and 5,000 runs, each fifth of which became a version with an image and a promotion.

CPU is that of the whole process with git, which it starts. Every run keeps its lock file, 150 packages and 60 lines of
log: about 12 kB.
"""

from __future__ import annotations

import hashlib
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from measure import ROOT, Figure, core_python, figure, machine_env, run_child

from trackside.documents.codec import dump
from trackside.documents.image import Image, Smoke
from trackside.documents.release import Release
from trackside.documents.run import (
    Artifact,
    Dependency,
    Environment,
    Metric,
    Restore,
    Run,
    Source,
    StageRun,
    Trigger,
)

SIZES = (1_000, 5_000)
ROUNDS = 5
VERSION = 5
"""Every so many runs one becomes a version."""
READ_BY = 50
"""Runs that read the same data."""


def measure(*, quick: bool) -> list[Figure]:
    sizes = (100,) if quick else SIZES
    python, env = core_python(), machine_env(PYTHONPATH=str(ROOT / "src"))
    made: list[Figure] = []
    took: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        for size in sizes:
            repo = Path(name) / f"r{size}"
            write(repo, size)
            rounds = 1 if quick else ROUNDS
            us = [python, "-P", "-m", "trackside", "lineage"]
            for words, expected in (
                (["--data", digest("raw 0")], f"{min(READ_BY, size) // VERSION} versions learnt from it"),
                (["--data", "data/test.csv"], f"{size // VERSION:,} versions were only judged on it"),
                (["delay#prod"], "delay@v1."),
            ):
                runs = [run_child([*us, *words], cwd=repo, env=env) for _ in range(rounds + (rounds > 1))][-rounds:]
                assert expected in runs[0].stdout.decode(), runs[0].stdout
                asked = "md5:…" if words[-1].startswith("md5:") else words[-1]
                label = f"{size:,} runs: `lineage {' '.join([*words[:-1], asked])}`"
                made.append(figure(f"{label}, CPU", [one.cpu for one in runs], "s"))
            took.append(statistics.median(one.cpu for one in runs))
            made.append(figure(f"{label}, peak memory", [one.peak for one in runs], "GB"))
    if not quick:
        name = f"`lineage delay#prod`: growth from {sizes[0]:,} to {sizes[1]:,} runs"
        made.append(Figure(name=name, value=took[1] / took[0], unit="×"))
    return made


def digest(text: str) -> str:
    return "md5:" + hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def write(repo: Path, runs: int) -> None:
    """A repository with records and tags, packed as in a fresh clone."""
    subprocess.run(["git", "init", "-q", "-b", "main", repo], check=True)
    stream = b"".join(_stream(runs))
    subprocess.run(["git", "-C", repo, "fast-import", "--quiet"], input=stream, check=True)
    subprocess.run(["git", "-C", repo, "pack-refs", "--all"], check=True)
    subprocess.run(["git", "-C", repo, "gc", "--quiet"], check=True)


def _stream(runs: int) -> Iterator[bytes]:
    who = b"Ada <ada@example.org> 1700000000 +0000"
    yield b"commit refs/heads/main\nmark :1\ncommitter %s\ndata 2\nx\n\n" % who
    yield b"commit refs/heads/trackside-data\ncommitter %s\ndata 2\nx\n" % who
    for number in range(runs):
        run = _run(number)
        yield _file(f"runs/delay/{run.id}.json", dump(run))
        if number % VERSION == 0:
            version = f"1.{number // VERSION}.0"
            release, image = _released(run, version)
            yield _file(f"releases/delay/{version}.json", dump(release))
            yield _file(f"images/delay/{version}.json", dump(image))
    for count, number in enumerate(range(0, runs, VERSION), 1):
        version = f"1.{number // VERSION}.0"
        stage = "prod" if count % 2 else "staging"
        for name, trailer in (
            (f"delay@v{version}", f"Run-Id: {number:012x}"),
            (f"delay#{stage}#{count}", f"Version: {version}\nActor: ada"),
        ):
            text = f"Done\n\n{trailer}\n".encode()
            yield b"tag %s\nfrom :1\ntagger %s\ndata %d\n%s\n" % (name.encode(), who, len(text), text)


def _file(path: str, data: bytes) -> bytes:
    return b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)


def _run(number: int) -> Run:
    raw, weights = digest(f"raw {number // READ_BY}"), digest(f"weights {number}")
    lock = "schema: '2.0'\nstages:\n" + "".join(
        f"  {name}:\n    cmd: python {name}.py\n    deps:\n    - path: {read}\n      hash: md5\n      md5: {md5[4:]}\n"
        f"    outs:\n    - path: {made}\n      hash: md5\n      md5: {digest(f'{made} {number}')[4:]}\n"
        for name, read, md5, made in (
            ("prepare", "data/raw.csv", raw, "data/train.csv"),
            ("train", "data/train.csv", digest(f"data/train.csv {number}"), "model.bin"),
            ("evaluate", "data/test.csv", digest("test"), "metrics.json"),
        )
    )
    return Run(
        id=f"{number:012x}",
        model="delay",
        status="succeeded",
        reason_code="trained",
        input_digest=f"sha256:{number:064x}",
        source=Source(repository="acme/flights", commit=f"{number:040x}", pull_request=number + 1),
        trigger=Trigger(event="workflow_dispatch"),
        started_at=f"2026-01-01T00:00:{number % 60:02d}Z",
        finished_at="2026-01-01T01:00:00Z",
        params={f"train.p{place}": place for place in range(40)},
        stages=[StageRun(name=name, command="", outcome="executed") for name in ("prepare", "train", "evaluate")],
        dependencies=[
            Dependency(path="data/raw.csv", kind="data", digest=raw),
            Dependency(path="data/test.csv", kind="data", digest=digest("test")),
        ],
        environment=Environment(
            python="3.12.4", os="linux", installed=[f"package-{place}==1.{place}.0" for place in range(150)]
        ),
        metrics=[Metric(name=f"m{place}", value=place / 7, file="metrics.json") for place in range(20)],
        artifacts=[
            Artifact(path="model.bin", role="model", digest=f"sha256:{number:064x}", size=9, dvc_digest=weights)
        ],
        restore=Restore(dvc_lock=lock),
        log_tail="one line of the log of a training\n" * 60,
    )


def _released(run: Run, version: str) -> tuple[Release, Image]:
    release = Release(
        model="delay",
        version=version,
        tag=f"delay@v{version}",
        commit=run.source.commit,
        run=run.id,
        state="published",
        model_digest=run.artifacts[0].digest,
        pull_request=run.source.pull_request,
    )
    digest_ = "sha256:" + hashlib.sha256(version.encode()).hexdigest()
    image = Image(
        model="delay",
        version=version,
        tag=release.tag,
        commit=release.commit,
        run=run.id,
        model_digest=release.model_digest,
        inputs_digest=digest_,
        bento="delay",
        service="service.py:Delay",
        reference=f"ghcr.io/acme/delay:{version}",
        digest=digest_,
        smoke=Smoke(requests=1, passed=1, bad_requests=0, bad_refused=0),
    )
    return release, image
