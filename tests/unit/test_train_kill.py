"""Killed at each step of each phase, or told to stop: a re-run finishes the work as if nothing had happened."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from train_samples import PATH, Lab, alive, make_origin

PHASES = ("pull", "reproduce", "push", "record")
DRIVER = Path(__file__).with_name("train_driver.py")
SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_origin(tmp_path_factory.mktemp("origin"))


def driver(origin: Path, root: Path, phase: str, number: str, at: int) -> subprocess.Popen[str]:
    words = [sys.executable, str(DRIVER), str(origin), str(root), phase, number, str(at)]
    env = {"PATH": PATH, "PYTHONPATH": f"{SOURCE}:{DRIVER.parent}"}
    return subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_hit(origin: Path, root: Path, phase: str, number: str, at: int) -> tuple[int, str]:
    child = driver(origin, root, phase, number, at)
    said, _ = child.communicate(timeout=120)
    return child.returncode, said


def test_killed_at_every_step_a_rerun_finishes(origin: Path, tmp_path: Path) -> None:
    """SIGKILL before each child process and each state file of every phase, one after the other in one checkout."""
    (tmp_path / "clean").mkdir()
    clean = Lab.clone(origin, tmp_path / "clean").train()
    (tmp_path / "killed").mkdir()
    lab = Lab.clone(origin, tmp_path / "killed")
    points = 0
    for phase in PHASES:
        at = 1
        while True:
            status, said = run_hit(origin, lab.root, phase, "SIGKILL", at)
            if "hit" not in said:
                assert status == 0, said
                break
            assert status == -signal.SIGKILL, said
            points += 1
            at += 1
    print(f"{points} kill points")
    assert points >= 20
    run = lab.record()
    assert (run.status, run.id, run.input_digest) == ("succeeded", clean.id, clean.input_digest)
    assert {(a.path, a.digest, a.dvc_digest) for a in run.artifacts} == {
        (a.path, a.digest, a.dvc_digest) for a in clean.artifacts
    }
    assert run.metrics == clean.metrics
    assert run.restore == clean.restore
    assert list(lab.job.state.glob("*.tmp")) == []
    (tmp_path / "again").mkdir()
    again = Lab.clone(origin, tmp_path / "again", recorded=run)
    assert again.train().restored_from == run.id
    assert again.executed() == []


def test_told_to_stop_leaves_a_record(origin: Path, tmp_path: Path) -> None:
    """SIGTERM and SIGINT in the middle of pull, reproduce and push: recorded as cancelled, then a re-run finishes."""
    lab = Lab.clone(origin, tmp_path)
    cases = 0
    for phase, at in (("pull", 3), ("reproduce", 5), ("push", 1)):
        for number in ("SIGTERM", "SIGINT"):
            status, said = run_hit(origin, lab.root, phase, number, at)
            assert (status, said.split()) == (5, ["hit", "cancelled"])
            run = lab.record()
            assert (run.status, run.reason_code) == ("cancelled", "cancelled")
            cases += 1
        lab.phase(phase)
    assert cases == 6
    assert lab.record().status == "succeeded"


def test_stopped_while_a_stage_runs(origin: Path, tmp_path: Path) -> None:
    """The stage and all it started are gone before the record says cancelled; it names the stage."""
    mark = f"stopped-{time.monotonic_ns()}"
    extra = (
        f"if what == 'train' and not os.path.exists('go'):\n    import subprocess\n"
        f"    words = [sys.executable, '-c', 'import time; time.sleep(300)', '{mark}']\n"
        "    subprocess.Popen(words, start_new_session=True)\n"
        "    print('training', flush=True)\n    import time; time.sleep(300)\n"
    )
    lab = Lab.clone(origin, tmp_path, changes={"extra.py": extra})
    lab.phase("pull")
    child = driver(origin, lab.root, "reproduce", "SIGTERM", 0)
    stdout = child.stdout
    assert stdout is not None
    for _ in range(600):
        if alive(mark):
            break
        time.sleep(0.05)
    assert alive(mark)
    child.send_signal(signal.SIGTERM)
    said, _err = child.communicate(timeout=30)
    assert (child.returncode, said.split()) == (5, ["cancelled"])
    assert not alive(mark)
    run = lab.record()
    assert run.status == "cancelled"
    assert [stage.outcome for stage in run.stages] == ["executed", "failed", "not_run"]
    assert "training" in run.log_tail
    (lab.job.workspace / "go").write_text("")
    run = lab.train()
    assert run.status == "succeeded"
    assert [stage.outcome for stage in run.stages] == ["executed"] * 3
    assert lab.executed() == ["prep", "train", "evaluate"]
