"""Git repositories for the tests of plan: real commits, written without a work tree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from trackside.config.model import Model, TrainPolicy
from trackside.plan.objects import GitTree
from trackside.plan.pipeline import PipelineInputs, pipeline_inputs
from trackside.system.process import Processes

PROCESSES = Processes({"PATH": os.environ["PATH"]})
MODEL = Model(name="delay", path="model.bin", stages=("evaluate",))
TRAIN = TrainPolicy(requirements="requirements.txt")

DVC_YAML = """\
vars:
  - config.json
stages:
  prepare:
    cmd: python src/prepare.py --months ${months}
    deps: [src/prepare.py, data/raw.csv]
    outs: [data/prepared]
  train:
    cmd: python src/train.py
    deps: [src/train.py, src/lib, data/prepared/train.csv]
    params: [train.lr, train.depth]
    outs: [model.bin]
  evaluate:
    cmd: python src/evaluate.py
    deps: [src/evaluate.py, model.bin, data/prepared]
    params:
      - extra.toml: [threshold]
    metrics:
      - metrics.json: {cache: false}
  other:
    cmd: python src/other.py ${name}
    deps: [src/other.py]
    outs: [other.bin]
"""

FILES: dict[str, str] = {
    "README.md": "# flights\n",
    "dvc.yaml": DVC_YAML,
    "params.yaml": "months: 3\ntrain: {lr: 0.1, depth: 4, unused: 1}\nseed: 7\n",
    "extra.toml": "threshold = 0.5\nnote = 'x'\n",
    "config.json": '{"name": "n"}',
    "requirements.txt": "-r base.txt\nnumpy==2.0\n",
    "base.txt": "scipy==1.14\n",
    "data/raw.csv.dvc": "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 12\n  hash: md5\n  path: raw.csv\n",
    "data/.gitignore": "/raw.csv\n",
    "src/prepare.py": "print('prepare')\n",
    "src/train.py": "print('train')\n",
    "src/evaluate.py": "print('evaluate')\n",
    "src/other.py": "print('other')\n",
    "src/lib/a.py": "A = 1\n",
    "src/lib/deep/b.py": "B = 1\n",
    "trackside.yaml": "version: 1\nmodels:\n  delay: {path: model.bin, stages: [evaluate]}\n",
}

_ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "t"), ("EMAIL", "t@example.org"), ("DATE", "1700000000 +0000"))
    },
}
_GIT = Processes(_ENV)


def repository(path: Path) -> Path:
    """An empty bare repository."""
    _GIT.run(["git", "init", "--quiet", "--bare", "-b", "main", path])
    return path


def commit(
    repo: Path,
    files: Mapping[str, str | bytes],
    *,
    parents: tuple[str, ...] = (),
    modes: Mapping[str, str] | None = None,
    ref: str = "",
) -> str:
    """A commit with exactly these files. A mode of 160000 takes the text as the submodule's SHA."""
    stream: list[bytes] = []
    name = ref or "refs/heads/scratch"
    _GIT.run(["git", "-C", repo, "update-ref", "-d", name])
    stream.append(f"commit {name}\ncommitter t <t@example.org> 1700000000 +0000\ndata 1\nm\n".encode())
    for index, parent in enumerate(parents):
        stream.append(f"{'merge' if index else 'from'} {parent}\n".encode())
    stream.append(b"deleteall\n")
    for file, text in files.items():
        mode = (modes or {}).get(file, "100644")
        data = text.encode() if isinstance(text, str) else text
        named = file.encode("utf-8", "surrogateescape")
        if mode == "160000":
            stream.append(f"M {mode} {data.decode()} {file}\n".encode())
            continue
        stream.append(f"M {mode} inline ".encode() + named + f"\ndata {len(data)}\n".encode() + data + b"\n")
    _GIT.run(["git", "-C", repo, "fast-import", "--quiet", "--force"], input=b"".join(stream))
    return _GIT.run(["git", "-C", repo, "rev-parse", name]).text.strip()


def git(repo: Path, *words: str) -> str:
    return _GIT.run(["git", "-C", repo, *words]).text.strip()


def inputs(
    repo: Path,
    files: Mapping[str, str | bytes],
    *,
    model: Model = MODEL,
    train: TrainPolicy = TRAIN,
    overrides: Mapping[str, object] | None = None,
    modes: Mapping[str, str] | None = None,
) -> PipelineInputs:
    """The inputs of a commit made of these files."""
    tree = GitTree.open(repo, commit(repo, files, modes=modes), PROCESSES)
    return pipeline_inputs(tree, model, train, overrides, processes=PROCESSES)
