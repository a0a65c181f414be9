"""Our view of a pipeline against DVC's own, on a checkout of the same commit."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from plan_samples import FILES, PROCESSES, commit, git, repository
from test_plan_pipeline import FULL, LINKS

from trackside.config.model import Model, TrainPolicy
from trackside.plan.objects import GitTree
from trackside.plan.pipeline import pipeline_inputs
from trackside.system.process import Processes

SCRIPT = """
import json, os, sys
from dvc.dependency import ParamsDependency
from dvc.repo import Repo

repo = Repo(sys.argv[1])
rel = lambda path: os.path.relpath(path, repo.root_dir)
made = {}
for stage in repo.index.stages:
    if not getattr(stage, "name", None):
        continue
    params = {}
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            params[rel(dep.fs_path)] = dep.read_params(flatten=bool(dep.params))
    name = stage.name if rel(stage.path) == "dvc.yaml" else rel(stage.path) + ":" + stage.name
    made[name] = {
        "cmd": stage.cmd if isinstance(stage.cmd, list) else [stage.cmd],
        "wdir": rel(stage.wdir),
        "deps": sorted(
            rel(d.fs_path) if d.protocol == "local" else d.def_path
            for d in stage.deps if not isinstance(d, ParamsDependency)
        ),
        "outs": sorted(rel(out.fs_path) for out in stage.outs),
        "params": params,
        "upstream": sorted(
            other.name if rel(other.path) == "dvc.yaml" else rel(other.path) + ":" + other.name
            for other in repo.index.graph.successors(stage) if getattr(other, "name", None)
        ),
    }
json.dump(made, open(sys.argv[2], "w"), default=str)
"""
NESTED = {
    "a/dvc.yaml": "stages:\n  s: {wdir: w, cmd: 'echo ${k}', params: [k, {../p.toml: [t.u]}], outs: [o, ../o2]}\n",
    "a/params.yaml": "k: 1e-3\n",
    "a/w/params.yaml": "k: yes\n",
    "a/p.toml": "[t]\nu = 2026-01-02\n",
    "b/dvc.yaml": "vars: [{v: [x, 'y z']}]\nstages:\n"
    "  e:\n    foreach: ${v}\n    do: {cmd: 'echo ${item}', deps: [../a/w/o], outs: ['${item}']}\n"
    "  f: {cmd: 'echo \\${HOME}', deps: [x, ../a]}\n",
}
SAMPLES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "sample": (FILES, {}),
    "full": (FULL, LINKS),
    "nested": (NESTED, {}),
}


def _ours(tree: GitTree) -> dict[str, Any]:
    made = pipeline_inputs(tree, Model(name="m", path="x"), TrainPolicy(), processes=PROCESSES)
    return {
        stage.name: {
            "cmd": list(stage.cmd),
            "wdir": stage.wdir,
            "deps": sorted(stage.deps),
            "outs": sorted({*stage.outs, *stage.metrics, *stage.plots}),
            "params": json.loads(json.dumps(stage.params)),
            "upstream": list(stage.upstream),
        }
        for stage in made.stages
    }


@pytest.mark.parametrize("name", SAMPLES)
def test_stages_are_what_dvc_itself_sees(tmp_path: Path, name: str) -> None:
    files, modes = SAMPLES[name]
    repo = repository(tmp_path / "r.git")
    sha = commit(repo, {**files, ".dvc/config": "[core]\n    analytics = false\n"}, modes=modes)
    work, answer = tmp_path / "work", tmp_path / "answer.json"
    git(repo, "worktree", "add", "--detach", "--quiet", str(work), sha)
    home = {"HOME": str(tmp_path), "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    processes = Processes({"PATH": os.environ["PATH"], **home})
    done = processes.run([sys.executable, "-c", SCRIPT, work, answer], cwd=tmp_path, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    theirs = json.loads(answer.read_text(), parse_float=float)
    ours = _ours(GitTree.open(repo, sha, PROCESSES))
    assert ours == theirs
    assert len(ours) >= 4
