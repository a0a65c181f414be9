"""What code of a pull request can reach while it runs: not secrets, not the toolkit, not the next step."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from train_samples import MODEL, PATH, SECRETS, Lab, alive, make_origin

from trackside.errors import DataError, ToolError
from trackside.system.clock import SystemClock
from trackside.system.process import Processes
from trackside.train import files, state
from trackside.train.confine import landlock_version
from trackside.train.dvc import Object
from trackside.train.runner import Confined, Tail, TimedOutRun, shown
from trackside.train.scrub import masked, scrubbed, secrets_of


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_origin(tmp_path_factory.mktemp("origin"))


def confined(folder: Path, *, seconds: float = 30.0, write: bool = True) -> Confined:
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return Confined(
        workspace=work,
        env={"PATH": PATH, "HOME": str(folder)},
        write=[work] if write else None,
        processes=Processes({"PATH": PATH}),
        clock=SystemClock(),
        say=lambda _line: None,
        tail=Tail(),
        deadline=time.monotonic() + seconds,
    )


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(300)", "MARK"])
    os._exit(0)
os.wait()
time.sleep(0.3)
"""


@pytest.mark.parametrize("ending", ["exit", "fail", "timeout", "hang"])
def test_nothing_survives(tmp_path: Path, ending: str) -> None:
    """A daemon in a session of its own is gone once its stage ended, however it ended."""
    mark = f"survivor-{os.getpid()}-{ending}"
    tail = {"exit": "", "fail": "sys.exit(9)", "timeout": "time.sleep(300)", "hang": "os.close(1); os.close(2)"}[ending]
    place = confined(tmp_path, seconds=3.0 if ending == "timeout" else 30.0)
    words = [sys.executable, "-c", DAEMON.replace("MARK", mark) + tail]
    if ending == "timeout":
        with pytest.raises(TimedOutRun):
            place.run(words)
    else:
        assert place.run(words) == (9 if ending == "fail" else 0)
    assert alive(mark) == []


def test_killed_supervisor_takes_its_stage_along(tmp_path: Path) -> None:
    """Whoever started the supervisor is killed outright: the stage ends by itself."""
    mark = f"orphan-{os.getpid()}"
    place = confined(tmp_path)
    argv = place.argv([sys.executable, "-c", "import time; time.sleep(300)", mark])
    code = f"import subprocess, time; subprocess.Popen({argv!r}, start_new_session=True); time.sleep(300)"
    parent = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    for _ in range(200):
        if len(alive(mark)) >= 3:
            break
        time.sleep(0.05)
    assert len(alive(mark)) >= 3
    parent.kill()
    parent.wait()
    for _ in range(200):
        if not alive(mark):
            break
        time.sleep(0.05)
    assert alive(mark) == []


@pytest.mark.skipif(landlock_version() < 6, reason="the kernel has no Landlock 6")
def test_a_stage_cannot_reach_out(tmp_path: Path) -> None:
    """Twelve ways out of the checkout, each closed; and what a stage must be able to do, it can."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "env_file").write_text("before")
    secret = f"secret-{os.getpid()}"
    keeper = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(120)"], env={"PATH": PATH, "TOKEN": secret}
    )
    attempts = {
        "write": f"open({str(outside / 'new')!r}, 'w')",
        "append": f"open({str(outside / 'env_file')!r}, 'a')",
        "truncate": f"os.truncate({str(outside / 'env_file')!r}, 0)",
        "remove": f"os.remove({str(outside / 'env_file')!r})",
        "rename": f"os.rename({str(outside / 'env_file')!r}, 'here')",
        "link": f"os.link({str(outside / 'env_file')!r}, 'hard')",
        "mkdir": f"os.mkdir({str(outside / 'folder')!r})",
        "through a link": f"os.symlink({str(outside)!r}, 'out'); open('out/new', 'w')",
        "environ": f"open('/proc/{keeper.pid}/environ').read()[0]",
        "memory": f"open('/proc/{keeper.pid}/mem', 'rb')",
        "signal": f"os.kill({keeper.pid}, 0)",
        "parent's environ": "open(f'/proc/{os.getppid()}/environ').read()[0]",
    }
    allowed = {
        "own file": "open('mine', 'w').write('x'); os.rename('mine', 'yours'); os.remove('yours')",
        "devices": "open('/dev/null', 'w').write('x')",
        "shared memory": "open('/dev/shm/trackside-test', 'w'); os.remove('/dev/shm/trackside-test')",
        "reading": f"open({str(outside / 'env_file')!r}).read()",
    }
    script = "import json, os\nfound = {}\n"
    for name, code in {**attempts, **allowed}.items():
        script += (
            f"try:\n    {code}\n    found[{name!r}] = 'done'\nexcept OSError as e:\n    found[{name!r}] = 'refused'\n"
        )
    script += "json.dump(found, open('found.json', 'w'))\n"
    try:
        assert confined(tmp_path).run([sys.executable, "-c", script]) == 0
    finally:
        keeper.kill()
        keeper.wait()
    found = json.loads((tmp_path / "work" / "found.json").read_text())
    print(f"{len(attempts)} ways out tried")
    assert {name: found[name] for name in attempts} == dict.fromkeys(attempts, "refused")
    assert {name: found[name] for name in allowed} == dict.fromkeys(allowed, "done")
    assert (outside / "env_file").read_text() == "before"
    assert len(attempts) == 12


SPY = """
import glob
seen = dict(os.environ)
for path in glob.glob("/proc/[0-9]*/environ"):
    try:
        seen[path] = open(path).read()
    except OSError:
        pass
place = os.getcwd()
with open(f"spied-{what}.txt", "w") as file:
    file.write(json.dumps({k: v for k, v in seen.items() if "environ" not in k}) + json.dumps(
        [v for k, v in seen.items() if "environ" in k and place in v]))
"""


def test_stages_see_no_secret(origin: Path, tmp_path: Path) -> None:
    """Every stage dumps its environment and that of every process it may read that belongs to this run."""
    lab = Lab.clone(origin, tmp_path, changes={"extra.py": SPY}, remote_env={"AZURE_STORAGE_KEY": "azure-remote-key"})
    lab.env["GITHUB_ENV"] = str(tmp_path / "github_env")
    run = lab.train()
    assert run.status == "succeeded"
    dumps = [path.read_text() for path in lab.job.workspace.glob("spied-*.txt")]
    assert len(dumps) == 3
    secrets = [*SECRETS.values(), "azure-remote-key", "azure-azure-azure"]
    assert [value for value in secrets for dump in dumps if value in dump] == []
    assert [dump for dump in dumps if "GITHUB_" in dump or "ACTIONS_" in dump] == []


def test_hostile_dvc_configuration_has_no_effect(origin: Path, tmp_path: Path) -> None:
    """The pull request redirects the remote in three files and plants modules that DVC would import."""
    evil = tmp_path / "evil"
    owned = tmp_path / "owned"
    config = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {evil}\n"
    planted = f"open({str(owned)!r}, 'a').write('x')\n"
    changes = {
        ".dvc/config": config,
        ".dvc/config.local": config,
        "dvc.py": planted,
        "fsspec.py": planted,
        "sitecustomize.py": planted,
        ".dvc/plugins/evil.py": planted,
    }
    lab = Lab.clone(origin, tmp_path, changes=changes)
    (tmp_path / "home" / ".config" / "dvc").mkdir(parents=True)
    (tmp_path / "home" / ".config" / "dvc" / "config").write_text(config)
    lab.env["PYTHONPATH"] = str(lab.job.workspace)
    run = lab.train()
    assert run.status == "succeeded"
    assert not evil.exists()
    assert not owned.exists()
    assert "differs from the default branch's" in run.log_tail
    assert "config.local is not used" in run.log_tail


def test_a_stage_that_rewrites_the_configuration_redirects_nothing(origin: Path, tmp_path: Path) -> None:
    """Between reproduce and push: configuration, git hooks and a module of the pull request's code lie in wait."""
    evil = tmp_path / "evil"
    owned = tmp_path / "owned"
    config = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {evil}\n"
    planted = f"open({str(owned)!r}, 'a').write('x')"
    extra = (
        "if what == 'evaluate':\n"
        f"    pathlib.Path('.dvc/config').write_text({config!r})\n"
        f"    pathlib.Path('.dvc/config.local').write_text({config!r})\n"
        f"    pathlib.Path('dvc.py').write_text({planted!r})\n"
        f"    pathlib.Path('.git/hooks/pre-push').write_text({planted!r})\n"
    )
    lab = Lab.clone(origin, tmp_path, changes={"extra.py": extra})
    run = lab.train()
    assert evil.as_posix() in (lab.job.workspace / ".dvc" / "config").read_text()
    assert run.status == "succeeded"
    assert not evil.exists()
    assert not owned.exists()


def test_changed_content_is_not_pushed(origin: Path, tmp_path: Path) -> None:
    """A stage rewrites an object of the cache: its digest would name other content in the remote."""
    lab = Lab.clone(origin, tmp_path, changes={"params.yaml": "lr: 0.15\nseed: 8\n"})
    lab.phase("pull")
    lab.phase("reproduce")
    model = lab.job.workspace / "model.bin"
    digest = hashlib.md5(model.read_bytes()).hexdigest()
    stored = Object(digest=f"md5:{digest}").path(lab.job.workspace / ".dvc" / "cache")
    stored.chmod(0o644)
    stored.write_text("poison")
    with pytest.raises(DataError) as caught:
        lab.phase("push")
    assert caught.value.reason_code == "output_changed"
    assert lab.record().status == "failed"
    assert state.read(lab.job.state, state.Pushed) is None


def test_links_lead_nowhere(tmp_path: Path) -> None:
    """Outputs that are a link to a file outside, a pipe, too large, or a folder with such a link in it: five cases."""
    work, cache = tmp_path / "work", tmp_path / "cache"
    (work / "folder").mkdir(parents=True)
    cache.mkdir()
    (tmp_path / "private").write_text("secret")
    (cache / "stored").write_text("fine")
    (work / "out").symlink_to(tmp_path / "private")
    (work / "up").symlink_to("..")
    (work / "stored").symlink_to(cache / "stored")
    (work / "folder" / "link").symlink_to(tmp_path / "private")
    (work / "folder" / "own").write_text("own")
    (work / "loop").symlink_to("loop")
    os.mkfifo(work / "pipe")
    (work / "large").write_text("x" * 101)
    refused = ["out", "up/private", "loop", "pipe", "large", "gone"]
    for name in refused:
        with pytest.raises(DataError):
            files.read(name, work, limit=100, allowed=[cache])
    assert files.read("stored", work, limit=100, allowed=[cache]) == b"fine"
    assert files.digest("folder", work, [cache])[1] == 3
    for name in ["out", "pipe", "loop", "gone"]:
        with pytest.raises(DataError):
            files.digest(name, work, [cache])


def test_dvc_folder_as_a_link_is_refused(origin: Path, tmp_path: Path) -> None:
    lab = Lab.clone(origin, tmp_path)
    target = tmp_path / "target"
    target.write_text("precious")
    (lab.job.workspace / ".dvc" / "config.local").symlink_to(target)
    with pytest.raises(DataError, match="symbolic link"):
        lab.phase("pull")
    assert target.read_text() == "precious"


def test_time_out_is_recorded(origin: Path, tmp_path: Path) -> None:
    slow = "import time\nprint('waiting', flush=True)\ntime.sleep(300)\n"
    stages = "stages:\n  slow:\n    cmd: python slow.py\n  never:\n    cmd: python never.py\n"
    changes = {"slow.py": slow, "dvc.yaml": stages.replace("slow.py\n", "slow.py\n    outs: [a]\n")}
    changes["dvc.yaml"] = changes["dvc.yaml"].replace("never.py\n", "never.py\n    deps: [a]\n")
    model = replace(MODEL, metrics=(), predictions=None)
    lab = Lab.clone(origin, tmp_path, changes=changes, timeout_seconds=8.0, model=model)
    lab.phase("pull")
    with pytest.raises(ToolError) as caught:
        lab.phase("reproduce")
    assert (caught.value.reason_code, caught.value.exit_code) == ("stage_timed_out", 5)
    run = lab.record()
    assert (run.status, run.reason_code) == ("timed_out", "stage_timed_out")
    assert [stage.outcome for stage in run.stages] == ["failed", "not_run"]
    assert "waiting" in run.log_tail
    assert alive("slow.py") == []


def test_scrubbing_is_an_allow_list() -> None:
    env = {
        **SECRETS,
        "PATH": "/bin",
        "LC_ALL": "C",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "OMP_NUM_THREADS": "2",
        "MODE": "fast",
        "HF_TOKEN": "t",
        "RUNNER_TEMP": "/t",
        "PYTHONPATH": "/x",
        "LD_PRELOAD": "/x",
    }
    kept = {"PATH", "LC_ALL", "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS"}
    assert set(scrubbed(env)) == kept
    assert set(scrubbed(env, ["MODE", "HF_TOKEN", "GITHUB_TOKEN", "RUNNER_TEMP"])) == {*kept, "MODE"}


def test_masks_and_lines() -> None:
    secrets = secrets_of(SECRETS, {"DB_PASSWORD": "a\nlonger-line\n", "NAME": "visible"})
    assert "azure-azure-azure" in secrets
    assert masked("x azure-azure-azure longer-line visible", secrets) == "x *** *** visible"
    assert shown("::error::x").lstrip()[:2] != "::"
    assert "##[" not in shown("a ##[error]b")
    assert "\r" not in shown("a\r::error::b")
    tail = Tail(secrets=secrets)
    for number in range(100_000):
        tail.add(f"line {number} " + "x" * 3000)
    assert len(tail.text()) <= 16_000
    assert tail.text().splitlines()[-1].startswith("line 99999 ")
