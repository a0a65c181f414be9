"""Records for the tests of the lineage: runs, releases and images as short calls, and hypothesis strategies of them."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from hypothesis import strategies as st

from trackside.documents.image import Image, Smoke
from trackside.documents.release import Release
from trackside.documents.run import Artifact, Dependency, Environment, Restore, Run, Source, StageRun, Trigger
from trackside.lineage.graph import Deployed, Holding, Records, Registered


def md5(text: str) -> str:
    return "md5:" + hashlib.md5(text.encode()).hexdigest()


def sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def commit(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()


def data(path: str, content: str, **more: Any) -> Dependency:
    return Dependency(path=path, kind="data", digest=more.pop("digest", md5(content)), **more)


def model_file(content: str, path: str = "model.bin") -> Artifact:
    return Artifact(path=path, role="model", digest=sha256(content), size=len(content), dvc_digest=md5(content))


def run(name: str, *reads: Dependency, model: str = "delay", made: list[Artifact] | None = None, **more: Any) -> Run:
    """A run that made `weights of <name>`; its commit is named after it."""
    given = Run(
        id=name,
        model=model,
        status="succeeded",
        reason_code="trained",
        input_digest=sha256(name),
        source=Source(repository="acme/flights", commit=commit(name)),
        trigger=Trigger(event="workflow_dispatch"),
        started_at="2026-01-01T00:00:00Z",
        finished_at="2026-01-01T00:01:00Z",
        dependencies=list(reads),
        environment=Environment(python="3.12.4", os="linux"),
        artifacts=[model_file(f"weights of {name}")] if made is None else made,
    )
    return msgspec.structs.replace(given, **more)


def release(version: str, of: str, *, model: str = "delay", **more: Any) -> Release:
    more = {"state": "published", "commit": commit(of), **more}
    return Release(model=model, version=version, tag=f"{model}@v{version}", run=of, **more)


def image(version: str, of: str, *, model: str = "delay") -> Image:
    digest = sha256(f"image {model} {version}")
    return Image(
        model=model,
        version=version,
        tag=f"{model}@v{version}",
        commit=commit(of),
        run=of,
        model_digest=sha256(of),
        inputs_digest=sha256(of),
        bento="b",
        service="s",
        reference=f"ghcr.io/acme/{model}:{version}@{digest}",
        digest=digest,
        smoke=Smoke(requests=1, passed=1, bad_requests=0, bad_refused=0),
    )


def holds(version: str, stage: str, number: int, *, model: str = "delay", until: str = "") -> Holding:
    return Holding(model=model, stage=stage, version=version, tag=f"{model}#{stage}#{number}", until=until)


LOCK = """\
schema: '2.0'
stages:
  prepare:
    cmd: python prepare.py
    deps:
    - path: data/raw.csv
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 12
    outs:
    - path: data/train.csv
      hash: md5
      md5: 1123456789abcdef0123456789abcdef
      size: 10
  train:
    cmd: python train.py
    deps:
    - path: data/train.csv
      hash: md5
      md5: 1123456789abcdef0123456789abcdef
      size: 10
    - path: train.py
      hash: md5
      md5: 2123456789abcdef0123456789abcdef
      size: 10
    outs:
    - path: model.bin
      hash: md5
      md5: 3123456789abcdef0123456789abcdef
      size: 10
  evaluate:
    cmd: python evaluate.py
    deps:
    - path: data/test.csv
      hash: md5
      md5: 4123456789abcdef0123456789abcdef.dir
      size: 10
      nfiles: 1
    - path: model.bin
      hash: md5
      md5: 3123456789abcdef0123456789abcdef
      size: 10
    outs:
    - path: metrics.json
      hash: md5
      md5: 5123456789abcdef0123456789abcdef
      size: 10
"""


def staged(name: str, *reads: Dependency, **more: Any) -> Run:
    """A run of the pipeline in `LOCK`, which keeps its lock file."""
    code = Dependency(path="train.py", kind="code", digest=sha256("train.py"))
    stages = [StageRun(name=one, command="", outcome="executed") for one in ("prepare", "train", "evaluate")]
    return run(name, *reads, code, stages=stages, **{"restore": Restore(dvc_lock=LOCK), **more})


# Strategies: few names, so that records meet each other

_FEW = st.integers(0, 5)
_MODELS = st.sampled_from(["delay", "fuse", "DIR=x"])
_DATA = st.builds(
    lambda n, kind: Dependency(path=f"d{n}", kind=kind, digest=md5(f"c{n}")),
    _FEW,
    st.sampled_from(["data", "code", "lock", "external"]),
)
_EATS = st.builds(lambda n: data(f"in{n}", f"weights of r{n}"), _FEW)
_EATS_SHA = st.builds(lambda n: data(f"in{n}", "", digest=sha256(f"weights of r{n}")), _FEW)


@st.composite
def records(draw: st.DrawFn) -> Records:
    """Records of at most six runs, also such that name records which are not there, and runs that read each other."""
    runs = {}
    for n in draw(st.lists(_FEW, unique=True)):
        reads = draw(st.lists(st.one_of(_DATA, _EATS, _EATS_SHA), max_size=3))
        restored = f"r{draw(_FEW)}" if draw(st.booleans()) else ""
        runs[n] = run(f"r{n}", *reads, restored_from=restored, model=draw(_MODELS))
    releases, images, tags, stages, files = [], [], [], [], []
    for n in draw(st.lists(_FEW, unique=True)):
        of, model = draw(_FEW), runs[n].model if n in runs else draw(_MODELS)
        if draw(st.booleans()):
            releases.append(release(f"1.{n}.0", f"r{of}", model=model, pull_request=draw(st.sampled_from([None, 7]))))
        else:
            tags.append(Registered(model=model, version=f"1.{n}.0", tag=f"{model}@v1.{n}.0", commit=commit(f"r{of}")))
        if draw(st.booleans()):
            images.append(image(f"1.{n}.0", f"r{of}", model=model))
            digests = frozenset({images[-1].digest})
            files.append(Deployed(repository="", branch="main", file="k.yaml", digests=digests))
        if draw(st.booleans()):
            stages.append(holds(f"1.{n}.0", "prod", n, model=model, until=draw(st.sampled_from(["", "delay#prod#9"]))))
    return Records(
        runs=list(runs.values()), releases=releases, images=images, registered=tags, holdings=stages, deployed=files
    )
