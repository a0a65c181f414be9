"""The champion on the challenger's data, through real git and DVC: same rows, same evaluation, nothing else touched."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from train_samples import MODEL, OUTSIDE, PATH, SECRETS, Lab, make_origin

from report_samples import MODEL as REPORTED
from report_samples import baseline, better
from trackside.documents.run import Comparison, Metric, Run
from trackside.plan.pipeline import ResolvedStage
from trackside.report.build import build_report
from trackside.system.clock import SystemClock
from trackside.train import state
from trackside.train.champion import PREDICTIONS, downstream, evaluate
from trackside.train.confine import landlock_version
from trackside.train.runner import Confined, Tail

STAGE = """\
import json, os, pathlib, sys, yaml
what = sys.argv[1]
params = yaml.safe_load(pathlib.Path("params.yaml").read_text())
with open("executed.log", "a") as log:
    log.write(what + "\\n")
if what == "prep":
    pathlib.Path("p.txt").write_text(pathlib.Path("data/raw.csv").read_text())
if what == "train":
    pathlib.Path("model.bin").write_text(json.dumps({"lr": params["lr"]}))
if what == "evaluate":
    extra = pathlib.Path("extra.py")
    if extra.is_file():
        exec(compile(extra.read_text(), "extra.py", "exec"))
    lr = json.loads(pathlib.Path("model.bin").read_text())["lr"]
    names = pathlib.Path("p.txt").read_text().strip().split(",")
    score = lambda i: 0.2 + lr * (i % 7) / 10 + 0.3 * (i % 2)
    rows = "".join(f"{n}{i},{i % 2},{score(i):.3f},{'ab'[i % 3 == 0]}\\n" for n in names for i in range(100))
    pathlib.Path("predictions.csv").write_text("id,label,score,group\\n" + rows)
    pathlib.Path("metrics.json").write_text(json.dumps({"roc_auc": 0.5 + lr / len(names), "rows": len(names)}))
"""
DVC_YAML = """\
stages:
  prep:
    cmd: python stage.py prep
    deps: [stage.py, data/raw.csv]
    outs: [p.txt]
  train:
    cmd: python stage.py train
    deps: [stage.py, p.txt]
    params: [lr, seed]
    outs: [model.bin]
  evaluate:
    cmd: python stage.py evaluate
    deps: [stage.py, model.bin, p.txt]
    outs: [predictions.csv]
    metrics:
      - metrics.json: {cache: false}
"""
FILES = {"stage.py": STAGE, "dvc.yaml": DVC_YAML}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_origin(tmp_path_factory.mktemp("origin"))


@pytest.fixture(scope="module")
def champion(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of the old data, one row: lr 0.1."""
    store(origin, b"old\n")
    return Lab.clone(origin, tmp_path_factory.mktemp("champion"), changes=FILES | pointer(b"old\n")).train()


def store(origin: Path, data: bytes) -> Path:
    """Put raw data into the remote."""
    md5 = hashlib.md5(data).hexdigest()
    place = origin.parent / "remote/files/md5" / md5[:2] / md5[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return place


def pointer(data: bytes) -> dict[str, str]:
    md5 = hashlib.md5(data).hexdigest()
    row = {"md5": md5, "size": len(data), "hash": "md5", "path": "raw.csv"}
    return {"data/raw.csv.dvc": json.dumps({"outs": [row]})}


def challenger(origin: Path, root: Path, run: Run, *, extra: str = "", **more: Any) -> Lab:
    """New data, two rows, and another learning rate."""
    store(origin, b"new,newer\n")
    changes = FILES | pointer(b"new,newer\n") | {"params.yaml": "lr: 0.3\nseed: 7\n"}
    changes |= {"extra.py": extra} if extra else {}
    return Lab.clone(origin, root, changes=changes, **{"baseline": run, "champion": True, **more})


def test_the_champion_is_judged_on_the_same_rows(origin: Path, champion: Run, tmp_path: Path) -> None:
    lab = challenger(origin, tmp_path, champion)
    run = lab.train()
    assert run.status == "succeeded", run.log_tail
    assert lab.executed() == ["prep", "train", "evaluate"], "the champion was evaluated in the checkout"
    assert json.loads((lab.job.workspace / "model.bin").read_text()) == {"lr": 0.3}
    found = run.comparison
    assert found is not None
    assert [(one.name, one.value, one.direction) for one in found.champion] == [("roc_auc", 0.5 + 0.1 / 2, "max")]
    assert (found.rows, found.baseline_run, found.note) == (200, champion.id, "")
    kept = (lab.job.state / PREDICTIONS).read_text().splitlines()
    assert kept[1:3] == ["new0,0,0.200,b", "new1,1,0.510,a"], "score of lr 0.1 on the new rows"
    assert not (lab.job.state / "champion").exists()
    assert [stage.name for stage in run.stages] == ["prep", "train", "evaluate"]
    recorded = {one.name: one.value for one in champion.metrics}
    report = build_report(run, model=MODEL, baseline=champion)
    (row,) = [one for one in report.metrics if one.name == "roc_auc"]
    assert (recorded["roc_auc"], row.baseline, row.current) == (0.6, 0.55, 0.65)
    assert "judged anew on this run's data" in report.baseline_note
    assert "roc_auc 0.6000" in report.baseline_note


def test_without_it_the_old_figures_stand(origin: Path, champion: Run, tmp_path: Path) -> None:
    run = challenger(origin, tmp_path, champion, champion=False).train()
    assert run.comparison is not None
    assert (run.comparison.champion, run.comparison.rows) == ([], 0)
    assert "no row of the baseline's predictions" in run.comparison.note


FAILS = "if json.loads(pathlib.Path('model.bin').read_text())['lr'] == 0.1:\n    sys.exit('too old')\n"


def test_a_champion_that_cannot_be_judged_is_a_note(origin: Path, champion: Run, tmp_path: Path) -> None:
    lab = challenger(origin, tmp_path, champion, extra=FAILS)
    run = lab.train()
    assert (run.status, run.comparison and run.comparison.champion) == ("succeeded", [])
    assert run.comparison is not None
    assert "the champion could not be judged" in run.comparison.note
    assert "stage evaluate failed with it" in run.comparison.note


def test_a_model_that_is_not_the_recorded_one_is_not_judged(origin: Path, champion: Run, tmp_path: Path) -> None:
    model = next(one for one in champion.artifacts if one.role == "model")
    forged = msgspec.structs.replace(model, digest="sha256:" + "0" * 64)
    others = [one for one in champion.artifacts if one.role != "model"]
    run = challenger(origin, tmp_path, msgspec.structs.replace(champion, artifacts=[*others, forged])).train()
    assert run.status == "succeeded"
    assert run.comparison is not None
    assert "not the one that its run recorded" in run.comparison.note


def test_a_model_that_the_remote_lost_is_a_note(origin: Path, champion: Run, tmp_path: Path) -> None:
    model = next(one for one in champion.artifacts if one.role == "model")
    gone = msgspec.structs.replace(model, dvc_digest="md5:" + "0" * 32)
    others = [one for one in champion.artifacts if one.role != "model"]
    run = challenger(origin, tmp_path, msgspec.structs.replace(champion, artifacts=[*others, gone])).train()
    assert run.status == "succeeded"
    assert run.comparison is not None
    assert "not in the data remote" in run.comparison.note


HOSTILE = """
where = pathlib.Path(os.getcwd())
if "champion" in where.parts:
    seen = {"names": sorted(os.environ)}
    for name, path in (("checkout", "WORK/model.bin"), ("cache", "WORK/.dvc/cache/evil"), ("state", "STATE/evil")):
        try:
            pathlib.Path(path).write_text("evil")
            seen[name] = "written"
        except OSError as error:
            seen[name] = "refused"
    print("SEEN " + json.dumps(seen))
"""


def test_it_reaches_neither_the_checkout_nor_secrets(origin: Path, champion: Run, tmp_path: Path) -> None:
    code = HOSTILE.replace("WORK", str(tmp_path / "work")).replace("STATE", str(tmp_path / "state"))
    lab = challenger(origin, tmp_path, champion, extra=code)
    run = lab.train()
    assert run.status == "succeeded", run.log_tail
    (line,) = [one for one in lab.lines if "SEEN" in one]
    seen = json.loads(line.partition("SEEN ")[2])
    assert not set(SECRETS) & set(seen["names"])
    if landlock_version():
        assert {seen[name] for name in ("checkout", "cache", "state")} == {"refused"}
    assert json.loads((lab.job.workspace / "model.bin").read_text()) == {"lr": 0.3}


def test_a_link_in_the_commit_leads_nowhere(origin: Path, champion: Run, tmp_path: Path) -> None:
    """The model's folder is a link in the commit: nothing is written through it."""
    aside = tmp_path / "aside"
    aside.mkdir()
    lab = challenger(origin, tmp_path, champion)
    for name in ("pull", "reproduce"):
        lab.phase(name)
    work = lab.job.workspace
    (work / "models").symlink_to(aside)
    OUTSIDE.run(["git", "-C", work, "add", "-f", "models"])
    OUTSIDE.run(["git", "-C", work, "commit", "-q", "-m", "link"])
    commit = OUTSIDE.run(["git", "-C", work, "rev-parse", "HEAD"]).text.strip()
    inputs, pulled = state.read(lab.job.state, state.Inputs), state.read(lab.job.state, state.Pulled)
    assert inputs is not None
    assert pulled is not None
    model = replace(lab.job.model, path="models/model.bin")
    stages = (replace(inputs.inputs.stages[-1], deps=("models/model.bin",)),)
    old = msgspec.structs.replace(
        champion,
        artifacts=[
            msgspec.structs.replace(one, path="models/model.bin") if one.role == "model" else one
            for one in champion.artifacts
        ],
    )
    source = msgspec.structs.replace(lab.job.source, commit=commit)
    job = replace(lab.job, model=model, baseline=old, source=source)
    state.clear(job.state, state.Champion)
    free = Confined(
        workspace=work, env={"PATH": PATH}, write=None, processes=lab.ports.processes, clock=SystemClock(),
        say=lab.lines.append, tail=Tail(), deadline=time.monotonic() + 30,
    )  # fmt: skip
    made = evaluate(job, lab.ports, replace(inputs.inputs, stages=stages), pulled, free)
    assert "symbolic link" in made.note
    assert list(aside.iterdir()) == []


def test_what_was_judged_is_not_judged_again(origin: Path, champion: Run, tmp_path: Path) -> None:
    lab = challenger(origin, tmp_path, champion)
    for name in ("pull", "reproduce"):
        lab.phase(name)
    before = state.read(lab.job.state, state.Champion)
    shown = len(lab.lines)
    lab.phase("reproduce")
    assert state.read(lab.job.state, state.Champion) == before
    assert not any("champion" in line for line in lab.lines[shown:])


# Pure parts


def stage(name: str, deps: tuple[str, ...], outs: tuple[str, ...], upstream: tuple[str, ...] = ()) -> ResolvedStage:
    return ResolvedStage(
        name=name, wdir="", cmd=("true",), deps=deps, outs=outs, metrics=(), plots=(), params={}, upstream=upstream
    )


def test_only_what_reads_the_model_runs_again() -> None:
    stages = [
        stage("prep", ("raw",), ("data",)),
        stage("train", ("data",), ("models/m.bin",), ("prep",)),
        stage("describe", ("data",), ("about",), ("prep",)),
        stage("score", ("models", "data"), ("scores",), ("prep", "train")),
        stage("judge", ("scores",), ("metrics",), ("score",)),
    ]
    assert [one.name for one in downstream(stages, "models/m.bin")] == ["score", "judge"]
    assert downstream(stages[:3], "models/m.bin") == []


def test_the_gate_goes_by_figures_on_the_same_data() -> None:
    """Both do worse on new data: the challenger is better there, though worse than the champion was on old data."""
    old = baseline()
    was = {one.name: one for one in old.metrics}
    fell = Metric(name="roc_auc", value=(was["roc_auc"].value or 0) - 0.2, file=was["roc_auc"].file, direction="max")
    now = [
        msgspec.structs.replace(one, value=(one.value or 0) - 0.15) if one.name == "roc_auc" else one
        for one in better().metrics
    ]
    plain = better(comparison=None, metrics=now)
    anew = better(comparison=Comparison(baseline_run=old.id, rows=0, champion=[fell]), metrics=now)
    model = unbounded(REPORTED)
    assert build_report(plain, model=model, baseline=old).gate == "failed"
    report = build_report(anew, model=model, baseline=old)
    row = next(one for one in report.metrics if one.name == "roc_auc")
    assert (report.gate, row.verdict, row.baseline) == ("passed", "improved", fell.value)
    assert f"roc_auc {was['roc_auc'].value:.4f}" in report.baseline_note


def unbounded(model: Any) -> Any:
    """The sample's policy without bounds, which no comparison moves."""
    rules = tuple(replace(one, minimum=None, maximum=None) for one in model.metrics)
    return replace(model, metrics=rules)
