"""Publishing a report as `actions/report` does: CPU time of the process, and its API calls, against the sandbox."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
from measure import ROOT, Figure, core_python, figure, machine_env, run_child

from report_samples import DIGEST, POLICY, STAGES, baseline, better
from trackside.documents.admission import Admission
from trackside.documents.codec import dump
from trackside.documents.plan import Subject
from trackside.documents.run import Metric, Run
from trackside.forge.github import GithubForge
from trackside.sandbox import payloads
from trackside.sandbox.server import Sandbox
from trackside.store.branch import ApiRunStore

CPU_TARGET = 0.7
CALLS_TARGET = 4
ROUNDS = 7
REPO, WORKFLOW, RUN_ID = "acme/flights", ".github/workflows/train.yml", 4711
PERMISSIONS = {"actions": "read", "checks": "write", "contents": "write", "pull-requests": "write"}
KINDS = (
    (r"/issues/(\d+/)?comments(/\d+)?", "comment"),
    (r"/(commits/\w+/)?check-runs(/\d+)?", "check"),
    (r"/git/.*", "record"),
    (r"/contents/(inputs|runs)/.*", "record"),
)
"""Path below the repository → what a call is for; the others look up policy and identity."""


@dataclass(kw_only=True)
class Scene:
    """An open pull request whose merge result was trained, with the baseline's run on the data branch."""

    sandbox: Sandbox
    folder: Path
    python: Path

    def __post_init__(self) -> None:
        hub, seed = self.sandbox.hub, self.sandbox.seed
        hub.add_user("github-actions[bot]", "Bot")
        files = {"trackside.yaml": POLICY.encode(), "params.yaml": b"train: {trees: 200}\n"}
        seed.repository(REPO, {**files, WORKFLOW: (ROOT / "workflows/train.yml").read_bytes()}, roles={"ada": "write"})
        seed.push(REPO, "more-trees", {"params.yaml": b"train: {trees: 600}\n"}, "More trees", "ada")
        number = hub.open_pull(REPO, title="More trees", head="more-trees", base="main", actor=seed.person("ada"))
        self.token = seed.job_token(REPO, PERMISSIONS, run_id=RUN_ID, job="publish")
        base = baseline()
        with GithubForge(REPO, self.token, self.sandbox.api_url, viewer="github-actions[bot]") as forge:
            pull = forge.pull_with_merge(number)
            forge.apply([ApiRunStore(forge).operations_for(base, reusable=True)])
        subject = Subject(
            kind="pull_request",
            repository=REPO,
            commit=pull.merge_sha,
            base_commit=pull.base_sha,
            head_commit=pull.head_sha,
            head_repository=REPO,
            pull_request=number,
            branch="more-trees",
        )
        admission = dump(
            Admission(
                model="delay",
                subject=subject,
                actor="ada",
                policy_commit=pull.base_sha,
                runs_on=["gpu"],
                timeout_minutes=10,
                input_digest=DIGEST,
                targets=list(STAGES),
                stages=list(STAGES),
                params={"train": {"trees": 600}},
                reusable=True,
                baseline_digest=base.input_digest,
            )
        )
        inputs = {
            "model": "delay",
            "commit": subject.commit,
            "base-commit": subject.base_commit,
            "head-commit": subject.head_commit,
            "head-repository": REPO,
            "pull-request": str(number),
            "input-digest": DIGEST,
        }
        event = payloads.workflow_dispatch(hub, REPO, WORKFLOW, "refs/heads/main", inputs, "ada")
        (self.folder / "event.json").write_text(json.dumps(event))
        (self.folder / "trackside-plan").mkdir()
        (self.folder / "trackside-run").mkdir()
        (self.folder / "trackside-plan/admission.json").write_bytes(admission)
        main = hub.bare(REPO).sha("refs/heads/main") or ""
        self.env = self._env("sha256:" + hashlib.sha256(admission).hexdigest(), main)

    def _env(self, digest: str, sha: str) -> dict[str, str]:
        """What the runner and `actions/report` set for the step."""
        return machine_env(
            PYTHONPATH=str(ROOT / "src"),
            GITHUB_ACTIONS="true",
            GITHUB_ACTOR="ada",
            GITHUB_API_URL=self.sandbox.api_url,
            GITHUB_SERVER_URL=self.sandbox.url,
            GITHUB_EVENT_NAME="workflow_dispatch",
            GITHUB_EVENT_PATH=str(self.folder / "event.json"),
            GITHUB_JOB="publish",
            GITHUB_OUTPUT=str(self.folder / "output"),
            GITHUB_REF="refs/heads/main",
            GITHUB_REPOSITORY=REPO,
            GITHUB_RUN_ATTEMPT="1",
            GITHUB_RUN_ID=str(RUN_ID),
            GITHUB_SHA=sha,
            GITHUB_STEP_SUMMARY=str(self.folder / "summary.md"),
            GITHUB_WORKFLOW="trackside train",
            TRACKSIDE_GITHUB_TOKEN=self.token,
            TRACKSIDE_RUN="trackside-run",
            TRACKSIDE_ADMISSION="trackside-plan",
            TRACKSIDE_ADMISSION_DIGEST=digest,
            TRACKSIDE_TRAIN_RESULT="success",
            TRACKSIDE_ADMIT_RESULT="success",
            TRACKSIDE_OUT="trackside-report",
            TRACKSIDE_DRY_RUN="false",
        )

    def publish(self, run: Run, **env: str) -> tuple[float, Counter[str]]:
        """CPU seconds of the process and its calls by kind; `env` is laid over the step's.

        Raises:
            RuntimeError: the report did not arrive, or an exchange was off GitHub's description.
        """
        (self.folder / "trackside-run/run.json").write_bytes(dump(run))
        self.sandbox.calls.clear()
        done = run_child([self.python, "-P", "-m", "trackside", "stage", "report"], cwd=self.folder, env=self.env | env)
        calls = Counter(kind(one.path) for one in self.sandbox.calls)
        body = (self.folder / "trackside-report/comment.md").read_text()
        bodies = [one["body"] for one in self.sandbox.state.list("comment", REPO)]
        checks = self.sandbox.state.list("check_run", REPO)
        if bodies != [body] or [one["conclusion"] for one in checks] != ["success"] or self.sandbox.violations:
            raise RuntimeError(f"published {len(bodies)} comments, {checks}, {self.sandbox.violations}")
        return done.cpu, calls


def kind(path: str) -> str:
    """What a call is for."""
    below = path.removeprefix(f"/repos/{REPO}")
    return next((name for pattern, name in KINDS if re.fullmatch(pattern, below)), "look-up")


def trained(turn: float) -> Run:
    """A run whose metrics are other ones each turn, within the gate."""
    sample = better()
    changed = [
        Metric(name=one.name, value=(one.value or 0.0) + turn / 10_000, file=one.file, direction=one.direction)
        for one in sample.metrics
    ]
    return msgspec.structs.replace(sample, metrics=changed)


def measure(*, quick: bool) -> list[Figure]:
    """Report by report: a changed one, then the same again."""
    rounds = 1 if quick else ROUNDS
    changed, unchanged, cold = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Sandbox(folder / "state", machine_env()) as sandbox:
            (folder / "job").mkdir()
            scene = Scene(sandbox=sandbox, folder=folder / "job", python=core_python())
            _, first = scene.publish(trained(0))
            scene.publish(trained(0))  # warm: not counted
            for turn in range(1, rounds + 1):
                changed.append(scene.publish(trained(turn)))
                unchanged.append(scene.publish(trained(turn)))
                fresh = uncompiled(scene.python, folder / f"fresh{turn}")
                cold.append(scene.publish(trained(turn + 0.5), PYTHONPATH=fresh)[0])
    again = "one call more: a look for the comment of another first writer"
    made = [
        Figure(
            name="publish a first report, API calls for comment and check run", value=ours(first), unit="", spread=again
        )
    ]
    for word, rows in (("a changed", changed), ("an unchanged", unchanged)):
        calls = max((one for _, one in rows), key=ours)
        made += [
            figure(f"publish {word} report, CPU", [cpu for cpu, _ in rows], "s", CPU_TARGET),
            Figure(
                name=f"publish {word} report, API calls for comment and check run",
                value=ours(calls),
                unit="",
                bound=CALLS_TARGET,
                spread=f"the most of n = {len(rows)}; "
                f"beside them {calls['look-up']} for policy and identity, {calls['record']} for the record",
            ),
        ]
    return [*made, figure("publish a changed report on a fresh runner, nothing compiled yet, CPU", cold, "s")]


def uncompiled(python: Path, folder: Path) -> str:
    """A PYTHONPATH with copies of Trackside and the core set as they lie on a fresh runner, without bytecode."""
    (packages,) = python.parents[1].glob("lib/python3*/site-packages")
    for name, source in (("src", ROOT / "src"), ("packages", packages)):
        shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return f"{folder / 'src'}:{folder / 'packages'}"


def ours(calls: Counter[str]) -> int:
    """Calls for comment and check run together."""
    return calls["comment"] + calls["check"]
