"""A pull request that attacks: workflow files, policy, data remote, secrets, the runner and the run document."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from loop_world import LIMIT, MODEL, POLICY, SECRET, TRAIN, Repo, World, executed, params, project, world

__all__ = ["world"]
pytestmark = pytest.mark.act

HOOK = """\
import json, os, pathlib, re, subprocess, sys, time

WORDS = ["hunter2-of-" + "the-data-remote", "REMOTE_" + "PASSWORD", "ghs_" + "[0-9a-f]{16}"]

def search(where, data):
    for word in WORDS:
        if re.search(word.encode(), data):
            print("LEAK of", word[:4], "in", where, flush=True)

def attempt(path, text):
    try:
        pathlib.Path(path).write_text(text)
        print("WROTE", path, flush=True)
    except OSError as error:
        print("REFUSED", path, error.strerror, flush=True)

def run():
    print("SEES", json.dumps(sorted(os.environ)), flush=True)
    search("environment", repr(dict(os.environ)).encode())
    seen = {"processes": 0, "files": 0}
    for entry in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            search(str(entry), entry.read_bytes())
            seen["processes"] += 1
        except OSError:
            pass
    own = pathlib.Path(__file__)
    for folder in (pathlib.Path(".."), pathlib.Path(os.environ["HOME"]), pathlib.Path(os.environ["TMPDIR"])):
        for path in folder.rglob("*"):
            try:
                if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20:
                    if not {".cache", "__pycache__"} & set(path.parts) and path.resolve() != own.resolve():
                        search(str(path), path.read_bytes())
                        seen["files"] += 1
            except OSError:
                pass
    print("SEARCHED", json.dumps(seen), flush=True)
    for line in ("::add-mask::o", "::set-output name=runs-on::[\\"ubuntu-latest\\"]", "::save-state name=a::b",
                 "::set-env name=PATH::/tmp", "::add-path::/tmp", "::error title=forged::forged",
                 "::stop-commands::forever", "##[add-mask]a", " ::add-mask::e"):
        print(line, flush=True)
    for name in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY"):
        if name in os.environ:
            attempt(os.environ[name], "PATH=/tmp")
    attempt("../trackside-plan/admission.json", "{}")
    try:
        os.makedirs("../trackside-run", exist_ok=True)
    except OSError:
        pass
    attempt("../trackside-run/run.json", FORGED)
    attempt(os.path.expanduser("~/.gitconfig"), "[core]")
    attempt("../../../planted", "x")
    lasting = "import pathlib, time\\nend = time.time() + 60\\n" \\
        "p = pathlib.Path('../trackside-run/run.json')\\n" \\
        "while time.time() < end:\\n    if p.exists(): p.write_text(" + repr(FORGED) + ")\\n    time.sleep(.005)\\n"
    subprocess.Popen([sys.executable, "-c", lasting], start_new_session=True, stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print("the attack is over", flush=True)

FORGED = __FORGED__
"""
SHADOW = b'import sys\nprint("SHADOWED", __name__, flush=True)\nsys.exit("SHADOWED")\n'
SHADOWS = ("dvc.py", "trackside.py", "sitecustomize.py", "yaml.py", "msgspec.py", "git.py")
OURS = {"PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME"}


class Attacked(NamedTuple):
    """A repository after a hostile pull request ran, beside an innocent one."""

    repo: Repo
    number: int
    innocent: int
    before: Any
    elsewhere: Path


def forged(innocent: int, head: str) -> dict[str, Any]:
    """Fields of a run document that claim to be of somebody else."""
    return {
        "id": "0" * 12,
        "source": {
            "repository": "acme/other",
            "commit": head,
            "base_commit": head,
            "head_commit": head,
            "head_repository": "acme/other",
            "pull_request": innocent,
            "branch": "main",
        },
        "input_digest": "sha256:" + "0" * 64,
    }


@pytest.fixture(scope="module")
def attacked(world: World, tmp_path_factory: pytest.TempPathFactory) -> Attacked:
    repo, elsewhere = world.repo(), tmp_path_factory.mktemp("attacker") / "remote"
    innocent = repo.pull("innocent", {"README.md": b"# innocent\n"})
    before = repo.state_of(innocent)
    own = project(repo.remote)
    marked = {
        f".github/workflows/{name}": own[f".github/workflows/{name}"].replace(
            b"    steps:\n", b"    steps:\n      - run: echo HOSTILE WORKFLOW\n        shell: bash\n"
        )
        for name in ("pull-request.yml", "train.yml")
    }
    policy = POLICY.replace("[self-hosted, gpu]", "[ubuntu-latest]").replace("min: 0.6", "min: 0.0")
    policy = policy.replace("timeout-minutes: 10", "timeout-minutes: 999\n  pass-env: [REMOTE_NAME]")
    policy += "commands: {train: {permission: read}}\ndata-branch: elsewhere\n"
    config = own[".dvc/config"].decode().replace(str(repo.remote), str(elsewhere))
    fields = json.dumps({"schema": "trackside.run/1", "model": MODEL} | forged(innocent, repo.head(innocent)))
    files = {
        **marked,
        **params(0.5),
        **dict.fromkeys(SHADOWS, SHADOW),
        "trackside.yaml": policy.encode(),
        ".dvc/config": config.encode(),
        ".dvc/config.local": b"[core]\n    check_update = true\n",
        "hook.py": HOOK.replace("__FORGED__", repr(fields)).encode(),
    }
    number = repo.pull("attack", files)
    return Attacked(repo, number, innocent, before, elsewhere)


def test_its_workflow_files_and_policy_have_no_effect(attacked: Attacked) -> None:
    repo, number = attacked.repo, attacked.number
    main = repo.hub.bare(repo.name).sha("refs/heads/main")
    runs = repo.runs()
    assert {one["sha"] for one in runs} == {main}
    assert all(one["conclusion"] == "success" for one in runs), repo.logs()
    (train,) = repo.runs(TRAIN)
    jobs = repo.jobs(train)
    assert jobs["train"]["labels"] == ["self-hosted", "gpu"]
    assert jobs["train"]["runner_name"] == "gpu-1"
    logs = [repo.log(run, key) for run in runs for key in repo.jobs(run)]
    assert not any("HOSTILE WORKFLOW" in text for text in logs)
    body, check = repo.comment(number), repo.check(number)
    assert check["conclusion"] == "failure"
    assert "**Gate failed**" in body
    assert "0.6" in body
    edited = ["commands.train.permission", "data-branch", "models.tiny.metrics.accuracy.min", "train.pass-env"]
    edited += ["train.runs-on", "train.timeout-minutes"]
    missing = [key for key in edited if key not in body]
    assert missing == []
    assert repo.hub.bare(repo.name).sha("refs/heads/elsewhere") is None
    assert not attacked.elsewhere.exists()
    print(f"{len(edited)} edited policy keys, 2 edited workflow files, 1 edited remote")


def test_its_code_finds_no_secret_and_reaches_nothing(attacked: Attacked) -> None:
    repo = attacked.repo
    (train,) = repo.runs(TRAIN)
    log = repo.log(train, "train")
    assert "the attack is over" in log
    assert "trained with quality 0.5" in log
    assert "LEAK" not in log, [line for line in log.splitlines() if "LEAK" in line]
    assert "SHADOWED" not in "".join(repo.log(run, key) for run in repo.runs() for key in repo.jobs(run))
    searched = json.loads(_after(log, "SEARCHED "))
    assert searched["files"] > 5
    names = set(json.loads(_after(log, "SEES ")))
    assert not {one for one in names if one.startswith(("GITHUB_", "ACTIONS_", "RUNNER_", "TRACKSIDE_", "REMOTE_"))}
    assert names >= {"PATH", "HOME"}
    assert SECRET not in "".join(repo.log(run, key) for run in repo.runs() for key in repo.jobs(run))
    documents = b"".join(repo.data().values()).decode() + repo.comment(attacked.number)
    assert SECRET not in documents
    assert "ghs_" not in documents
    writes = [one for one in repo.calls(train, "train") if one[0] != "GET"]
    assert writes == []
    assert repo.jobs(train)["admit"]["labels"] == ["ubuntu-latest"]
    print(f"searched {searched['processes']} processes and {searched['files']} files")


def test_nobody_else_is_touched(attacked: Attacked) -> None:
    repo, number = attacked.repo, attacked.number
    run = repo.record(number)
    assert repo.state_of(attacked.innocent) == attacked.before
    assert (run.source.pull_request, run.source.repository) == (number, repo.name)
    assert executed(run) == ["train", "evaluate"]
    assert set(repo.records()) == {f"runs/{MODEL}/{run.id}.json"}
    assert run.id != "0" * 12
    print("1 innocent pull request")


def _after(log: str, word: str) -> str:
    line = next(one for one in log.splitlines() if word in one)
    return line.partition(word)[2]


class Swap:
    """Puts other bytes in the place of a run's uploaded document before the publish job downloads it."""

    def __init__(self, repo: Repo, run: dict[str, Any], change: Callable[[dict[str, Any]], bytes]) -> None:
        self.path = repo.dispatcher.artifacts(run["id"]) / "trackside-run" / "run.json"
        self.path.unlink(missing_ok=True)
        self.change, self.done = change, False
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline and not self.done:
            try:
                genuine = json.loads(self.path.read_bytes())
            except (OSError, ValueError):
                time.sleep(0.01)
                continue
            self.path.unlink()
            self.path.write_bytes(self.change(genuine))
            self.done = True


CASES = {
    "another pull request": (lambda run, more: {**run, **more}, "succeeded", ""),
    "another model": (lambda run, more: {**run, "model": "other"}, "failed", "identity_mismatch"),
    "2 MiB": (lambda run, more: {**run, "log_tail": "x" * (2 << 20)}, "failed", "document_too_large"),
    "wrong types": (lambda run, more: {**run, "metrics": {"a": []}, "stages": 7}, "failed", "document_invalid"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_forged_run_document_is_published_under_its_true_name(attacked: Attacked, case: str) -> None:
    repo, number = attacked.repo, attacked.number
    change, status, code = CASES[case]
    more = forged(attacked.innocent, repo.head(attacked.innocent))
    more.pop("input_digest")
    (run,) = repo.runs(TRAIN)
    before = set(repo.records())
    swap = Swap(repo, run, lambda genuine: json.dumps(change(genuine, more)).encode())
    repo.dispatcher.rerun(repo.name, run["id"])
    repo.settle()
    swap.thread.join(10)
    assert swap.done
    record = repo.record(number)
    assert (record.status, record.reason_code if code else "") == (status, code), repo.logs()
    assert record.source.pull_request == number
    assert record.source.repository == repo.name
    assert set(repo.records()) == before
    assert repo.state_of(attacked.innocent) == attacked.before
    assert len(repo.comments(number)) == 1
    assert repo.check(number)["conclusion"] == "failure"
    print(f"1 forged document: {case}")
