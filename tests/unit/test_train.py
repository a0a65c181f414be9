"""Training: success, failure, restore, experiments; through real git and real DVC."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from train_samples import FILES, OUTSIDE, SECRETS, STAGE, Lab, make_origin

from trackside.config.model import Config, TrainPolicy
from trackside.documents.codec import load
from trackside.documents.run import Run, Trigger
from trackside.errors import ConfigError, DataError, Refused, ToolError
from trackside.train.local import train_local


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_origin(tmp_path_factory.mktemp("origin"))


@pytest.fixture(scope="module")
def first(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Run]:
    """A run of the start commit, pushed."""
    lab = Lab.clone(origin, tmp_path_factory.mktemp("first"))
    return lab, lab.train()


def test_a_run_is_recorded_with_everything(first: tuple[Lab, Run]) -> None:
    lab, run = first
    assert lab.executed() == ["prep", "train", "evaluate"]
    assert (run.status, run.reason_code, run.experiment) == ("succeeded", "trained", False)
    assert [(s.name, s.outcome, s.exit_code) for s in run.stages] == [
        (name, "executed", 0) for name in ("prep", "train", "evaluate")
    ]
    assert all(stage.seconds > 0 for stage in run.stages)
    assert {m.name: (m.value, m.direction) for m in run.metrics} == {
        "roc_auc": (0.6, "max"),
        "deep.loss": (None, "none"),
        "deep.n": (3.0, "none"),
    }
    assert {(a.path, a.role) for a in run.artifacts} == {
        ("p.txt", "data"),
        ("model.bin", "model"),
        ("predictions.csv", "predictions"),
        ("metrics.json", "metrics"),
    }
    assert all(a.digest.startswith("sha256:") and a.dvc_digest.startswith("md5:") and a.size for a in run.artifacts)
    assert run.seeds == {"seed": 7}
    assert run.params == {"lr": 0.1, "seed": 7}
    assert {(d.path, d.kind) for d in run.dependencies} == {("stage.py", "code"), ("data/raw.csv", "data")}
    assert run.environment.python
    assert run.environment.packages > 0
    assert run.environment.packages_digest.startswith("sha256:")
    assert len(run.environment.installed) == run.environment.packages
    assert any(line.startswith("dvc==3.") for line in run.environment.installed)
    assert run.environment.variables == {"LANG": "C.UTF-8"}
    assert run.environment.tools["dvc"].startswith("3.")
    assert (run.hardware.gpus, run.usage.gpu_seconds, run.usage.cost) == ([], 0.0, None)
    assert run.hardware.cores > 0
    assert run.usage.cpu_seconds > 0
    assert run.usage.peak_memory_bytes
    assert set(run.restore.files) == {"metrics.json"}
    assert run.trigger.workflow_run_id == 77


def test_foreign_output_is_never_a_command(first: tuple[Lab, Run]) -> None:
    lab, _ = first
    assert any("add-mask" in line for line in lab.lines)
    stopped = ""
    for line in lab.lines:
        if line.startswith("::stop-commands::"):
            stopped = line.removeprefix("::stop-commands::")
        elif line == f"::{stopped}::":
            stopped = ""
        elif line.lstrip().startswith("::"):
            assert not stopped
            assert line.startswith(("::group::", "::endgroup::"))


def test_a_recorded_run_is_restored_on_a_fresh_clone(origin: Path, first: tuple[Lab, Run], tmp_path: Path) -> None:
    lab = Lab.clone(origin, tmp_path, changes={"README.md": "# changed\n"}, recorded=first[1])
    run = lab.train()
    assert lab.executed() == []
    assert (run.status, run.reason_code, run.restored_from) == ("succeeded", "restored", first[1].id)
    assert [stage.outcome for stage in run.stages] == ["restored"] * 3
    assert run.input_digest == first[1].input_digest
    assert {(a.path, a.digest, a.size) for a in run.artifacts} == {
        (a.path, a.digest, a.size) for a in first[1].artifacts
    }
    assert run.metrics == first[1].metrics
    assert not (lab.job.workspace / "model.bin").exists()
    words = [sys.executable, "-I", "-m", "dvc", "repro", "--pull", "--allow-missing"]
    env = {**OUTSIDE.env, "HOME": str(tmp_path), "DVC_SITE_CACHE_DIR": str(tmp_path / "site")}
    OUTSIDE.run(words, cwd=lab.job.workspace, env=env)
    assert lab.executed() == []


def test_what_the_baseline_answers_is_not_run_again_and_compared(
    origin: Path, first: tuple[Lab, Run], tmp_path: Path
) -> None:
    changes = {"params.yaml": FILES["params.yaml"].replace("0.1", "0.2")}
    lab = Lab.clone(origin, tmp_path, changes=changes, baseline=first[1])
    run = lab.train()
    assert lab.executed() == ["train", "evaluate"]
    assert [stage.outcome for stage in run.stages] == ["restored", "executed", "executed"]
    assert run.restored_from == ""
    assert run.comparison is not None
    assert (run.comparison.rows, run.comparison.baseline_run, run.comparison.note) == (300, first[1].id, "")
    assert [m.metric for m in run.comparison.metrics] == ["roc_auc"]
    assert {row.column for row in run.comparison.slices} == {"group"}
    again = lab.record()
    assert again.id == run.id
    assert lab.phase("reproduce").values == {"executed": 2, "stages": 3}
    assert lab.executed() == ["train", "evaluate"]


def test_another_checkout_starts_anew(origin: Path, tmp_path: Path) -> None:
    """The state of a runner outlives a checkout: it neither skips stages nor lends trust to a committed dvc.lock."""
    lab = Lab.clone(origin, tmp_path)
    lab.train()
    locked = (lab.job.workspace / "dvc.lock").read_text().replace("26d87840666d12d593b088bfdf251587", "0" * 32)
    assert "0" * 32 in locked
    shutil.rmtree(lab.job.workspace)
    shutil.rmtree(tmp_path / "home")
    again = Lab.clone(origin, tmp_path, changes={"dvc.lock": locked})
    run = again.train()
    assert again.executed() == ["prep", "train", "evaluate"]
    assert run.status == "succeeded"
    assert "0" * 32 not in run.restore.dvc_lock
    other = Lab.open(origin, tmp_path, trigger=Trigger(event="workflow_dispatch", workflow_run_id=78))
    assert other.record().status == "cancelled"


def test_a_failing_stage_is_recorded(origin: Path, tmp_path: Path) -> None:
    broken = STAGE + 'if what == "train":\n    print("boom", os.environ.get("HOME"))\n    sys.exit(3)\n'
    lab = Lab.clone(origin, tmp_path, changes={"stage.py": broken})
    lab.phase("pull")
    with pytest.raises(ToolError, match="stage train failed with exit status 3") as caught:
        lab.phase("reproduce")
    assert (caught.value.exit_code, caught.value.reason_code) == (5, "stage_failed")
    with pytest.raises(DataError, match="nothing to push"):
        lab.phase("push")
    run = lab.record()
    assert (run.status, run.reason_code) == ("failed", "stage_failed")
    assert [(s.outcome, s.exit_code) for s in run.stages] == [("executed", 0), ("failed", 3), ("not_run", None)]
    assert "boom" in run.log_tail
    assert run.restore.dvc_lock == ""


def test_an_experiment_overrides_parameters(origin: Path, tmp_path: Path) -> None:
    lab = Lab.clone(origin, tmp_path, overrides={"lr": 0.3})
    run = lab.train()
    assert (run.experiment, run.overrides, run.params["lr"]) == (True, {"lr": 0.3}, 0.3)
    assert {m.name: m.value for m in run.metrics}["roc_auc"] == 0.8
    assert (lab.job.workspace / "params.yaml").read_text() == "lr: 0.3  # learning rate\nseed: 7\n"


def test_another_commit_or_digest_is_refused(origin: Path, tmp_path: Path) -> None:
    lab = Lab.clone(origin, tmp_path)
    lab.with_job(input_digest="sha256:" + "0" * 64)
    with pytest.raises(Refused) as caught:
        lab.phase("pull")
    assert caught.value.reason_code == "digest_mismatch"
    run = lab.record()
    assert (run.status, run.reason_code) == ("failed", "digest_mismatch")
    lab.with_job(source=msgspec.structs.replace(lab.job.source, commit="0" * 40))
    with pytest.raises(Refused) as caught:
        lab.phase("pull")
    assert caught.value.reason_code == "identity_mismatch"


def test_data_that_the_remote_lacks(origin: Path, tmp_path: Path) -> None:
    pointer = "outs:\n- md5: 0123456789abcdef0123456789abcdef\n  size: 3\n  hash: md5\n  path: raw.csv\n"
    lab = Lab.clone(origin, tmp_path, changes={"data/raw.csv.dvc": pointer})
    with pytest.raises(ToolError, match=r"lacks data/raw\.csv") as caught:
        lab.phase("pull")
    assert caught.value.reason_code == "data_missing"
    assert lab.record().reason_code == "data_missing"


def test_an_environment_of_its_own(origin: Path, tmp_path: Path) -> None:
    """Made offline from a hash-pinned wheel; a wrong hash is refused, an environment that was cut off is not used."""
    wheel = _wheel(tmp_path)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    policy = TrainPolicy(requirements="requirements.txt")
    simple = 'import pathlib, sys, tiny\npathlib.Path("model.bin").write_text(tiny.WORD + sys.prefix)\n'
    files = {
        "dvc.yaml": "stages:\n  train:\n    cmd: python stage.py\n    deps: [stage.py]\n    outs: [model.bin]\n",
        "stage.py": simple,
        "wheels/tiny-1.0-py3-none-any.whl": wheel.read_bytes(),
    }
    good = f"--no-index\n--find-links ./wheels\ntiny==1.0 --hash=sha256:{digest}\n"
    (tmp_path / "a").mkdir()
    lab = Lab.clone(origin, tmp_path / "a", changes={**files, "requirements.txt": good}, train=policy)
    model = replace(lab.job.model, metrics=(), predictions=None)
    lab.with_job(model=model)
    (lab.job.envs).mkdir()
    (lab.job.envs / "half").mkdir()
    run = lab.train()
    assert run.status == "succeeded", run.log_tail
    made = (lab.job.workspace / "model.bin").read_text()
    assert made.startswith("hello" + str(lab.job.envs))
    assert run.environment.lock_file == "requirements.txt"
    assert run.environment.lock_digest.startswith("sha256:")
    (tmp_path / "b").mkdir()
    bad = good.replace(digest, "0" * 64)
    lab = Lab.clone(origin, tmp_path / "b", changes={**files, "requirements.txt": bad}, train=policy, model=model)
    lab.phase("pull")
    with pytest.raises(ToolError) as caught:
        lab.phase("reproduce")
    assert caught.value.reason_code == "environment_failed"
    assert list(lab.job.envs.iterdir()) == []
    assert lab.record().reason_code == "environment_failed"


def _wheel(folder: Path) -> Path:
    path = folder / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny.py", "WORD = 'hello'\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            "tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny-1.0.dist-info/RECORD", "tiny.py,,\n")
    return path


def test_local_training_needs_no_github(origin: Path, first: tuple[Lab, Run], tmp_path: Path) -> None:
    lab = Lab.clone(origin, tmp_path)
    lab.env.update({"DVC_SITE_CACHE_DIR": str(tmp_path / "site"), "DVC_NO_ANALYTICS": "1"})
    root = lab.job.workspace
    config = Config(models=(lab.job.model,))
    run, path = train_local(root, config, "delay", lab.ports)
    assert (run.status, run.source.dirty, run.trigger.event) == ("succeeded", False, "local")
    assert run.input_digest == first[1].input_digest
    assert load(Run, path.read_bytes()) == run
    assert path.is_relative_to(root / ".trackside" / "runs" / "delay")
    (root / "params.yaml").write_text("lr: 0.4\nseed: 7\n")
    changed, _ = train_local(root, config, "delay", lab.ports, baseline=run)
    assert (changed.source.dirty, changed.params["lr"]) == (True, 0.4)
    assert changed.input_digest != run.input_digest
    assert [stage.outcome for stage in changed.stages] == ["cached", "executed", "executed"]
    listed = OUTSIDE.run(["git", "-C", root, "status", "--short"]).text
    assert ".trackside" not in listed
    with pytest.raises(ConfigError, match="no model"):
        train_local(root, config, "other", lab.ports)


def test_secrets_never_reach_the_document(first: tuple[Lab, Run]) -> None:
    lab, _ = first
    text = (lab.root / "out" / "run.json").read_text() + "\n".join(lab.lines)
    checked = [value.rpartition("=")[2] for value in SECRETS.values()]
    assert [value for value in checked if value in text] == []
    assert json.loads((lab.root / "out" / "run.json").read_text())["schema"] == "trackside.run/1"
