"""`trackside doctor` over HTTP: a healthy repository has no finding, and each finding is provoked by a real state."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from conftest import ENV, user
from sandbox_client import StillClock
from trackside.adopt.init import shipped_workflow, workflow_names
from trackside.app import Context
from trackside.doctor.examine import doctor
from trackside.doctor.table import CHECKS
from trackside.errors import ConfigError, ForgeError
from trackside.forge.access import PUBLIC_API, Access, access, origin_of
from trackside.sandbox.server import Sandbox
from trackside.system.clock import SystemClock, rfc3339
from trackside.system.process import Processes

POLICY = """\
version: 1
models:
  delay:
    path: model.pkl
    drift:
      reference: train.csv
      current: "new/{yesterday}.csv"
      retrain: {after: 2}
train:
  runs-on: [self-hosted, gpu]
"""
PIPELINE = "stages:\n  train: {cmd: python train.py, outs: [model.pkl]}\n"
FLOWS = ".github/workflows"
Row = dict[str, Any]


@dataclass
class Patient:
    """A healthy repository on the sandbox, and a clone's folder with the same files."""

    sandbox: Sandbox
    repo: str
    root: Path
    clock: StillClock

    def put(self, files: dict[str, str | None], *, here: bool = True) -> None:
        """Commit files to the default branch; with `here`, write them into the folder too."""
        data = {path: None if text is None else text.encode() for path, text in files.items()}
        self.sandbox.hub.commit_folder(self.repo, "main", data, "change", user("ada"))
        for path, text in files.items() if here else ():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                target.unlink()
            else:
                target.write_text(text)

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.root / path).read_text()
        assert old in text
        self.put({path: text.replace(old, new)})

    def beat(self, days: float) -> None:
        at = rfc3339(self.clock.now() - timedelta(days=days))
        data = {"heartbeat/drift.json": json.dumps({"at": at}).encode()}
        self.sandbox.hub.commit_folder(self.repo, "trackside-data", data, "beat", user("ada"))

    def examine(self, *, token: str = "token-acme", here: bool = True, offline: bool = False) -> tuple[int, list[Row]]:
        """Exit code and findings."""
        out = io.StringIO()
        env = {**ENV, "GITHUB_API_URL": self.sandbox.api_url, **({"GITHUB_TOKEN": token} if token else {})}
        root = self.root if here else self.root.parent
        code = doctor(
            Context(env=env, out=out, json=True), root, repository=self.repo, offline=offline, clock=self.clock
        )
        document = json.loads(out.getvalue())
        assert document["schema"] == "trackside.doctor/1"
        return code, document["findings"]


@pytest.fixture
def patient(sandbox: Sandbox, repo: str, tmp_path: Path) -> Patient:
    root, remote = tmp_path / "clone", tmp_path / "remote"
    root.mkdir()
    remote.mkdir()
    made = Patient(sandbox, repo, root, StillClock())
    subprocess.run(["git", "init", "-q", root], check=True)
    config = f"[core]\n    remote = storage\n    no_scm = false\n['remote \"storage\"']\n    url = {remote}\n"
    files: dict[str, str | None] = {"trackside.yaml": POLICY, "dvc.yaml": PIPELINE, ".dvc/config": config}
    files |= {f"{FLOWS}/{name}": shipped_workflow(name) for name in workflow_names()}
    made.put(files)
    sandbox.hub.set_setting(repo, "actions_can_create_pull_requests", True)
    sandbox.hub.set_setting(repo, "fork_approval", "all_external_contributors")
    sandbox.seed.runner(repo, "gpu-1", ["self-hosted", "linux", "GPU"])
    sandbox.seed.environment(repo, "training", branches=["main"])
    sandbox.seed.secret(repo, "TRACKSIDE_REMOTE_ENV", "A=b", "training")
    sandbox.seed.ruleset(repo, ["~DEFAULT_BRANCH"], {"trackside / delay": 15368})
    made.beat(1)
    return made


def test_a_healthy_repository_has_no_findings(patient: Patient) -> None:
    code, findings = patient.examine()
    assert [one for one in findings if one["level"] != "ok"] == []
    assert code == 0
    seen = {one["check"] for one in findings}
    assert seen == set(CHECKS) - {"container.backend"}, "each check says something"
    code, far = patient.examine(here=False)
    assert code == 0
    assert [one["check"] for one in far if one["level"] != "ok"] == ["remote.reachable"]
    assert all(call.method == "GET" for call in patient.sandbox.calls), "the doctor only looks"
    assert len(patient.sandbox.calls) <= 60


def offline_runner(p: Patient) -> None:
    p.sandbox.seed.runner(p.repo, "gpu-1", ["self-hosted", "gpu"], online=False)


def no_environment(p: Patient) -> None:
    p.sandbox.state.delete("environment", p.repo, "training")


def no_secret(p: Patient) -> None:
    p.sandbox.state.delete("secret", p.repo, "training/TRACKSIDE_REMOTE_ENV")
    p.edit(".dvc/config", str(p.root.parent / "remote"), "s3://bucket/dvc")


def open_secret(p: Patient) -> None:
    p.sandbox.state.delete("secret", p.repo, "training/TRACKSIDE_REMOTE_ENV")
    p.sandbox.seed.secret(p.repo, "TRACKSIDE_REMOTE_ENV", "A=b")


def rules(p: Patient, checks: dict[str, int | None]) -> None:
    for doc in p.sandbox.state.list("ruleset", p.repo):
        p.sandbox.state.delete("ruleset", p.repo, doc["id"])
    if checks:
        p.sandbox.seed.ruleset(p.repo, ["main"], checks)


def classic(p: Patient, app: int | None) -> None:
    rules(p, {})
    p.sandbox.seed.protect(p.repo, "main", {"trackside / delay": app})


def setting(name: str, value: Any) -> Callable[[Patient], None]:
    return lambda p: p.sandbox.hub.set_setting(p.repo, name, value)


def workflow_state(p: Patient, state: str) -> None:
    path = f"{FLOWS}/drift.yml"
    p.sandbox.state.put("workflow", p.repo, path, p.sandbox.hub.workflow(p.repo, path) | {"state": state})


TRAIN, PULL, RELEASE = (f"{FLOWS}/{name}.yml" for name in ("train", "pull-request", "release"))

# what happens, check, level, words of the finding
# fmt: off
CASES: list[tuple[str, Callable[[Patient], None], str, str, str]] = [
    (
        "a lightweight tag",
        lambda p: p.sandbox.hub.bare(p.repo).git("update-ref", "refs/tags/delay@v1.0.0", "refs/heads/main"),
        "registry.sound",
        "error",
        "problems of the registry, such as",
    ),
    ("no policy", lambda p: p.put({"trackside.yaml": None}), "configuration.file", "error", "there is no"),
    (
        "a wrong policy",
        lambda p: p.put({"trackside.yaml": "version: 1\nmodels: {m: {pat: x}}\n"}),
        "configuration.file",
        "error",
        "2:14: unknown key 'pat'",
    ),
    ("no pipeline", lambda p: p.put({"dvc.yaml": None}), "configuration.model", "error", "there is no pipeline"),
    (
        "another output",
        lambda p: p.edit("trackside.yaml", "path: model.pkl", "path: other.pkl"),
        "configuration.model",
        "error",
        "no stage writes other.pkl",
    ),
    (
        "another stage",
        lambda p: p.edit("trackside.yaml", "path: model.pkl", "path: model.pkl\n    stages: [fit]"),
        "configuration.model",
        "error",
        "no stage fit",
    ),
    ("a broken pipeline", lambda p: p.put({"dvc.yaml": "a: ["}), "configuration.model", "error", "not valid YAML"),
    (
        "a template",
        lambda p: p.put({"dvc.yaml": "stages: {t: {cmd: a, outs: ['${x}']}}\n"}),
        "configuration.model",
        "unknown",
        "only DVC can fill in",
    ),
    (
        "an unknown placeholder",
        lambda p: p.edit("trackside.yaml", "{yesterday}", "{tomorow}"),
        "configuration.drift",
        "error",
        "is no date placeholder",
    ),
    (
        "a database without a query",
        lambda p: p.edit("trackside.yaml", "new/{yesterday}", "postgresql://host/{yesterday}"),
        "configuration.drift",
        "error",
        "needs a query: it is no file system that is read directly",
    ),
    ("no train.yml", lambda p: p.put({TRAIN: None}), "workflows.present", "error", "train.yml is missing"),
    ("no drift.yml", lambda p: p.put({f"{FLOWS}/drift.yml": None}),
     "workflows.present", "error", "drift.yml is missing"),
    (
        "another train.yml",
        lambda p: p.put({TRAIN: "on: push\njobs: {}\n"}),
        "workflows.present",
        "error",
        "train.yml is not Trackside's",
    ),
    (
        "an older pin",
        lambda p: p.put({PULL: _pinned("a" * 40)}),
        "workflows.pin",
        "warning",
        "is pinned to aaaaaaaaaaaa; this version ships",
    ),
    ("a tag", lambda p: p.put({PULL: _pinned("v1")}),
     "workflows.pin", "error", "uses v1: a branch or tag can be moved"),
    (
        "an edited step",
        lambda p: p.edit(TRAIN, "persist-credentials: false", "persist-credentials: true"),
        "workflows.edited",
        "warning",
        "differs from the shipped file",
    ),
    (
        "a permission too few",
        lambda p: p.edit(TRAIN, "      checks: write", "      checks: read"),
        "workflows.permissions",
        "error",
        "job publish lacks `checks: write`",
    ),
    (
        "a permission too many",
        lambda p: p.edit(TRAIN, "    permissions:\n      contents: read # the checkout", "    permissions: write-all"),
        "workflows.permissions",
        "warning",
        "job train has `contents: write` and needs read",
    ),
    ("another default branch", lambda p: p.edit(RELEASE, "[main, master]", "[trunk]"),
     "workflows.branch", "error", "release.yml waits for pushes to trunk, not to main"),
    ("broken YAML", lambda p: p.edit(TRAIN, "jobs:", "jobs: ["), "workflows.permissions", "error", "is no YAML"),
    ("Actions off", setting("actions_enabled", False), "settings.actions", "error", "switched off"),
    ("Actions limited", setting("allowed_actions", "selected"),
     "settings.actions", "error", "not allowed: actions of trackside"),
    (
        "GitHub's own forbidden",
        lambda p: (
            setting("allowed_actions", "selected")(p),
            setting("selected_actions", {"patterns_allowed": ["trackside-ml/*"], "github_owned_allowed": False})(p),
        )[0],
        "settings.actions",
        "error",
        "not allowed: actions of GitHub",
    ),
    (
        "no pull requests by Actions",
        setting("actions_can_create_pull_requests", False),
        "settings.pull-requests",
        "error",
        "delay: drift.retrain",
    ),
    ("newcomers", setting("fork_approval", "first_time_contributors"), "settings.forks", "warning", "first-time"),
    (
        "new accounts",
        setting("fork_approval", "first_time_contributors_new_to_github"),
        "settings.forks",
        "warning",
        "newcomers to GitHub only",
    ),
    (
        "a runner that stays",
        lambda p: p.sandbox.seed.runner(p.repo, "old", ["self-hosted"], ephemeral=False),
        "runners.persistent",
        "error",
        "old outlives its job, and the repository is public",
    ),
    ("a runner offline", offline_runner, "runners.offline", "warning", "offline: gpu-1"),
    ("all runners offline", offline_runner, "runners.labels", "warning", "no runner with self-hosted, gpu is online"),
    (
        "labels of nobody",
        lambda p: p.edit("trackside.yaml", "[self-hosted, gpu]", "[self-hosted, tpu]"),
        "runners.labels",
        "warning",
        "no runner has tpu",
    ),
    (
        "labels of two",
        lambda p: (
            p.sandbox.seed.runner(p.repo, "cpu-1", ["self-hosted", "arm"]),
            p.edit("trackside.yaml", "[self-hosted, gpu]", "[gpu, arm]"),
        )[0],
        "runners.labels",
        "warning",
        "no runner has all of gpu, arm",
    ),
    ("no remote", lambda p: p.put({".dvc/config": ""}), "remote.configured", "error", "no default remote"),
    (
        "a remote that is gone",
        lambda p: (p.root.parent / "remote").rename(p.root.parent / "gone"),
        "remote.reachable",
        "error",
        "does not answer",
    ),
    (
        "a remote of another kind",
        lambda p: p.edit(".dvc/config", str(p.root.parent / "remote"), "s3://bucket/dvc"),
        "remote.reachable",
        "error",
        "lacks what s3://bucket/dvc needs",
    ),
    (
        "a closed port",
        lambda p: p.edit(".dvc/config", str(p.root.parent / "remote"), "http://me:secret@127.0.0.1:9/dvc"),
        "remote.reachable",
        "error",
        "http://127.0.0.1:9/dvc does not answer",
    ),
    ("no required check", lambda p: rules(p, {"ci": None}), "protection.required", "warning", "`trackside / delay`"),
    (
        "a check by anyone",
        lambda p: rules(p, {"trackside / delay": None}),
        "protection.source",
        "warning",
        "any workflow may write",
    ),
    ("classic protection", lambda p: classic(p, 15368), "protection.required", "ok", "main requires"),
    ("classic by anyone", lambda p: classic(p, None), "protection.source", "warning", "any workflow may write"),
    ("a schedule asleep", lambda p: workflow_state(p, "disabled_inactivity"),
     "schedule.enabled", "error", "disabled inactivity"),
    ("a schedule off", lambda p: workflow_state(p, "disabled_manually"),
     "schedule.enabled", "error", "disabled manually"),
    ("44 days", lambda p: p.beat(44.9), "schedule.heartbeat", "ok", "44 days ago"),
    ("45 days", lambda p: p.beat(45), "schedule.heartbeat", "warning", "45 days ago"),
    ("60 days", lambda p: p.beat(60), "schedule.heartbeat", "error", "60 days ago"),
    (
        "never",
        lambda p: p.sandbox.hub.bare(p.repo).git("update-ref", "-d", "refs/heads/trackside-data") and None,
        "schedule.heartbeat",
        "warning",
        "is on record",
    ),
    (
        "a damaged heartbeat",
        lambda p: p.sandbox.hub.commit_folder(
            p.repo, "trackside-data", {"heartbeat/drift.json": b"[]"}, "x", user("ada")
        ) and None,
        "schedule.heartbeat",
        "error",
        "cannot be read",
    ),
    ("no environment", no_environment, "environment.training", "error", "there is no environment training"),
    ("an open environment", lambda p: p.sandbox.seed.environment(p.repo, "training"),
     "environment.branches", "error", "every branch"),
    (
        "protected branches",
        lambda p: p.sandbox.seed.environment(p.repo, "training", branches=[]),
        "environment.branches",
        "ok",
        "only protected branches",
    ),
    (
        "more branches",
        lambda p: p.sandbox.seed.environment(p.repo, "training", branches=["main", "release/*"]),
        "environment.branches",
        "warning",
        "more than main",
    ),
    (
        "other branches",
        lambda p: p.sandbox.seed.environment(p.repo, "training", branches=["live"]),
        "environment.branches",
        "error",
        "main may not use training (allowed: live)",
    ),
    ("no secret", no_secret, "environment.secret", "error", "s3://bucket/dvc needs credentials"),
    ("an open secret", open_secret, "environment.secret", "error", "every workflow of every branch can read it"),
]
# fmt: on


def _pinned(pin: str) -> str:
    return re.sub(r"(trackside-ml/trackside[\w/-]*)@[0-9a-f]{40}", rf"\1@{pin}", shipped_workflow("pull-request.yml"))


@pytest.mark.parametrize("case", CASES, ids=[name for name, *_ in CASES])
def test_each_finding(patient: Patient, case: Any) -> None:
    _, happen, check, level, words = case
    happen(patient)
    local = check.partition(".")[0] in ("configuration", "workflows", "remote")
    code, findings = patient.examine(here=local)
    rows = [one for one in findings if one["check"] == check and words in one["what"]]
    assert rows, [one for one in findings if one["check"] == check]
    (row,) = rows
    assert row["level"] == level
    assert "secret@" not in json.dumps(findings)
    if level != "ok":
        assert row["remedy"]
        assert row["link"].startswith("https://github.com/trackside-ml/trackside/blob/main/docs/")
    errors = [one for one in findings if one["level"] == "error"]
    assert code == (1 if errors else 0)
    if level in ("ok", "warning") and check != "environment.branches":
        assert all(one["check"] == check for one in errors), errors


def test_the_cases_cover_the_table() -> None:
    provoked = {check for _, _, check, level, _ in CASES if level != "ok"}
    rest = {"token.valid", "token.rights", "container.backend"}
    print(f"{len(CASES)} states, {len(provoked)} checks of {len(CHECKS)}")
    assert provoked | rest == set(CHECKS)
    assert len(CASES) >= 45


UNSEEN = {
    "settings.actions",
    "settings.pull-requests",
    "settings.forks",
    "runners.persistent",
    "runners.offline",
    "runners.labels",
    "environment.secret",
}


@pytest.mark.parametrize("who", ["reader", "job", "fine-grained"])
def test_what_a_token_may_not_see_is_unknown(patient: Patient, who: str) -> None:
    """No guess: the finding says which right is missing, and exit code 0 since nothing is known to be wrong."""
    tokens = {
        "reader": "token-mallory",
        "job": patient.sandbox.seed.job_token(patient.repo, {"contents": "read"}),
        "fine-grained": patient.sandbox.seed.job_token(patient.repo, {"contents": "read", "environments": "read"}),
    }
    code, findings = patient.examine(token=tokens[who])
    unknown = {one["check"] for one in findings if one["level"] == "unknown"}
    assert unknown == (UNSEEN - {"environment.secret"} if who == "fine-grained" else UNSEEN)
    assert all("a token with" in one["remedy"] for one in findings if one["level"] == "unknown")
    assert [one["check"] for one in findings if one["level"] == "warning"] == ["token.rights"]
    assert code == 0


@pytest.mark.parametrize(
    ("right", "visible"),
    [
        ("administration", {"settings.actions", "settings.pull-requests", "settings.forks", "runners.labels"}),
        ("environments", {"environment.secret"}),
    ],
)
def test_one_right_is_enough(patient: Patient, right: str, visible: set[str]) -> None:
    token = patient.sandbox.seed.job_token(patient.repo, {right: "read"})
    _, findings = patient.examine(token=token)
    assert visible <= {one["check"] for one in findings if one["level"] == "ok"}


def test_tokens_that_do_not_work(patient: Patient) -> None:
    code, findings = patient.examine(token="wrong")
    row = next(one for one in findings if one["check"] == "token.valid")
    assert (code, row["level"]) == (1, "error")
    assert "does not take the token" in row["what"]
    with pytest.raises(ForgeError):
        patient.examine(token="wrong", here=False)
    private = f"{patient.repo}-private"
    patient.sandbox.hub.add_repo(private, private=True)
    patient.repo = private
    row = next(one for one in patient.examine(token="token-mallory")[1] if one["check"] == "token.valid")
    assert "or the token may not see it" in row["what"]


def test_without_a_token_only_local_checks(patient: Patient) -> None:
    before = len(patient.sandbox.calls)
    code, findings = patient.examine(token="")
    groups = {one["check"].partition(".")[0] for one in findings}
    assert groups == {"configuration", "workflows", "registry", "remote", "token"}
    assert [one["level"] for one in findings if one["check"] == "token.valid"] == ["unknown"]
    assert code == 0
    _, findings = patient.examine(offline=True)
    assert {one["check"].partition(".")[0] for one in findings} == groups - {"token"}
    patient.edit(".dvc/config", str(patient.root.parent / "remote"), "s3://bucket/dvc")
    assert {one["level"] for one in patient.examine(offline=True)[1] if one["check"] == "remote.reachable"} == {
        "unknown"
    }
    assert len(patient.sandbox.calls) == before
    with pytest.raises(ConfigError, match="nothing to look at"):
        patient.examine(token="", here=False)


def test_a_private_repository_may_keep_its_runner(patient: Patient, sandbox: Sandbox) -> None:
    doc = sandbox.hub.repo(patient.repo)
    sandbox.state.put("repo", "", patient.repo, doc | {"private": True})
    sandbox.seed.runner(patient.repo, "old", ["self-hosted"], ephemeral=False)
    code, findings = patient.examine()
    assert code == 0
    assert any("old outlives its job; the repository is private" in one["what"] for one in findings)
    assert any("strangers cannot fork it" in one["what"] for one in findings)


def test_what_people_are_meant_to_set_is_no_edit(patient: Patient) -> None:
    """The time of the check and the extras of DVC."""
    patient.edit(TRAIN, "permissions: {}\n\n", 'permissions: {}\n\nenv:\n  TRACKSIDE_EXTRAS: "s3"\n\n')
    _, findings = patient.examine()
    assert [one for one in findings if one["level"] != "ok"] == []


IMAGE = "    image: {service: 'service.py:S', requirements: r.txt, golden: g.jsonl}\n"


def test_container_tools(patient: Patient, tmp_path: Path) -> None:
    """None, one that does not answer, one that hangs, one that works."""
    patient.edit("trackside.yaml", "    drift:\n", IMAGE + "    drift:\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "git").symlink_to("/usr/bin/git")

    def said() -> list[Row]:
        out = io.StringIO()
        context = Context(env={"PATH": str(tools)}, out=out, json=True)
        doctor(context, patient.root, repository="", offline=True, clock=patient.clock)
        return [one for one in json.loads(out.getvalue())["findings"] if one["check"] == "container.backend"]

    assert "are missing here" in said()[0]["what"]
    script = "#!/bin/sh\necho 'cannot connect to the daemon' >&2\nexit 1\n"
    (tools / "docker").write_text(script)
    (tools / "docker").chmod(0o755)
    (row,) = said()
    assert row["level"] == "warning"
    assert "docker: cannot connect to the daemon" in row["detail"]
    (tools / "buildah").write_text("#!/bin/sh\nexit 0\n")
    (tools / "buildah").chmod(0o755)
    assert said()[0]["what"] == "buildah answers"


def test_the_table_for_people(patient: Patient, tmp_path: Path) -> None:
    """As typed: the repository is the clone's origin, errors make exit code 1, each has its remedy."""
    offline_runner(patient)
    patient.put({TRAIN: None})
    at = rfc3339(SystemClock().now())
    beat = {"heartbeat/drift.json": json.dumps({"at": at}).encode()}
    patient.sandbox.hub.commit_folder(patient.repo, "trackside-data", beat, "beat", user("ada"))
    url = f"{patient.sandbox.url}/{patient.repo}.git"
    subprocess.run(["git", "-C", patient.root, "remote", "add", "origin", url], check=True)
    env = {**ENV, "GH_TOKEN": "token-acme", "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    env |= {"GITHUB_API_URL": patient.sandbox.api_url}
    done = subprocess.run(
        [sys.executable, "-m", "trackside", "doctor"], cwd=patient.root, env=env, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert f"{patient.repo}, public" in done.stdout
    line = next(line for line in done.stdout.splitlines() if "train.yml is missing" in line)
    assert line.startswith("ERROR  workflows.present")
    assert "fix: trackside init" in done.stdout
    assert "\n1 error, 2 warning, 0 unknown, " in done.stdout
    assert "token-acme" not in done.stdout + done.stderr


def test_a_token_is_not_sent_where_a_clone_came_from(patient: Patient) -> None:
    """An origin elsewhere gets no token of GitHub's, unless its host is named by the person."""
    host = patient.sandbox.url.removeprefix("http://")
    url = f"{patient.sandbox.url}/{patient.repo}.git"
    subprocess.run(["git", "-C", patient.root, "remote", "add", "origin", url], check=True)
    out = io.StringIO()
    env = {**ENV, "GITHUB_TOKEN": "token-acme"}
    doctor(Context(env=env, out=out, json=True), patient.root, repository="", offline=False, clock=patient.clock)
    row = next(one for one in json.loads(out.getvalue())["findings"] if one["check"] == "token.valid")
    assert row["level"] == "unknown"
    assert f"the clone's origin is at {host}" in row["what"]
    assert patient.sandbox.calls == []
    public = ("github.com", "a/b")
    other = ("git.acme.test", "a/b")
    cases: list[tuple[dict[str, str], str, tuple[str, str], Access | str]] = [
        ({"GITHUB_TOKEN": "t"}, "", public, Access(repository="a/b", token="t", api="https://api.github.com")),
        ({"GH_TOKEN": "g", "GITHUB_TOKEN": "t"}, "c/d", public, Access(repository="c/d", token="g", api=PUBLIC_API)),
        ({"GITHUB_TOKEN": "t"}, "", other, "git.acme.test"),
        ({"GITHUB_TOKEN": "t", "GH_HOST": "git.acme.test"}, "", other,
         Access(repository="a/b", token="t", api="https://git.acme.test/api/v3")),
        ({"GITHUB_TOKEN": "t", "GH_ENTERPRISE_TOKEN": "e", "GH_HOST": "git.acme.test"}, "", other,
         Access(repository="a/b", token="e", api="https://git.acme.test/api/v3")),
        ({"GITHUB_TOKEN": "t"}, "c/d", other, Access(repository="c/d", token="t", api=PUBLIC_API)),
        ({"GITHUB_TOKEN": "t", "GITHUB_REPOSITORY": "x/y"}, "", ("", ""),
         Access(repository="x/y", token="t", api=PUBLIC_API)),
        ({"GITHUB_TOKEN": "t"}, "", ("", ""), "no origin"),
        ({}, "a/b", public, "there is no token"),
    ]  # fmt: skip
    for given, repository, origin, expected in cases:
        found = access(given, repository, origin)
        assert expected in found if isinstance(expected, str) else found == expected, (given, found)
    print(f"{len(cases)} origins")


ORIGINS = {
    "https://github.com/a/b.git": ("github.com", "a/b"),
    "https://user:word@github.com/a/b": ("github.com", "a/b"),
    "git@github.com:a/b.git": ("github.com", "a/b"),
    "ssh://git@git.acme.test/a/b.git": ("git.acme.test", "a/b"),
    "https://github.com.evil.test/a/b": ("github.com.evil.test", "a/b"),
    "/srv/git/b.git": ("", ""),
    "https://github.com/a": ("", ""),
}


def test_origins(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert origin_of(tmp_path, Processes(ENV)) == ("", "")
    subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", "x"], check=True)
    for url, expected in ORIGINS.items():
        subprocess.run(["git", "-C", tmp_path, "remote", "set-url", "origin", url], check=True)
        assert origin_of(tmp_path, Processes(ENV)) == expected, url


def test_a_failure_at_every_call(patient: Patient) -> None:
    """GitHub fails for good at each address in turn: the rest is still told, and nothing is called wrong."""
    (patient.root / ".dvc/config").unlink()  # spares a DVC for each case
    base = f"/repos/{patient.repo}"
    _, healthy = patient.examine()
    paths = list(dict.fromkeys(call.path.removeprefix(base) for call in patient.sandbox.calls))
    assert len(paths) >= 12
    cases = 0
    for path in paths:
        for status in (502, 403, 404):
            patient.sandbox.faults.add("GET", f"^{re.escape(base + path)}$", status=status, times=50)
            _, findings = patient.examine()
            patient.sandbox.faults.clear()
            wrong = [one for one in findings if one["level"] == "error" and one["check"] != "remote.configured"]
            if path == "":
                assert [one["check"] for one in findings if one["check"].startswith("token.")] == ["token.valid"]
            elif status == 404 and "environments/training" in path:
                assert {one["check"] for one in wrong} <= {"environment.training", "environment.secret"}
            else:
                assert wrong == [], (path, status)
                assert len(findings) >= len(healthy) - 3
            cases += 1
    print(f"{cases} failures")
    assert cases == 3 * len(paths)
