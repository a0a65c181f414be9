"""The steps of the demo, each with the evidence that it really happened; a missing piece of evidence stops it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackside.demo.world import AUTHOR, REPO, World
from trackside.documents.codec import dump, load
from trackside.documents.run import Run
from trackside.errors import TracksideError
from trackside.sandbox.git import Bare
from trackside.train.provenance import statement

BETTER = "features: [hour, weekday, arrival_hour, distance, carrier, origin, dest]"
WORSE = "features: [origin]"
MODEL = "delay"
LIMIT = 900.0
"""Seconds that one step may take."""


class EvidenceMissing(TracksideError):
    """A step did not leave what it should have."""

    exit_code = 1
    reason_code = "evidence_missing"


@dataclass(kw_only=True)
class Step:
    """One step: seconds and what it left behind."""

    name: str
    seconds: float = 0.0
    evidence: dict[str, Any] = field(default_factory=dict)


class Tour:
    """Runs the steps in a world and keeps their evidence below `out`."""

    def __init__(self, world: World, out: Path, say: Callable[[str], None]) -> None:
        self.world, self.out, self.say = world, out, say
        self.steps: list[Step] = []
        self._told: dict[int, str] = {}
        self.state, self.hub = world.sandbox.state, world.sandbox.hub

    def run(self) -> None:
        """All steps. Raises EvidenceMissing."""
        self.step("project", self._project)
        self.step("baseline run", self._baseline)
        self.step(
            "pull request that improves the model", lambda: self._pull("Use the whole schedule", "better", BETTER)
        )
        self.step("pull request that breaks a bound", lambda: self._pull("Origin alone is enough", "worse", WORSE))
        self.step("pull request that changes the README", self._readme)

    def step(self, name: str, work: Callable[[], dict[str, Any]]) -> None:
        self.say(f"▶ {name}")
        started = time.monotonic()
        calls = len(self.world.sandbox.calls)
        evidence = work()
        self.check(
            not self.world.sandbox.violations, f"exchanges off GitHub's contract: {self.world.sandbox.violations[:3]}"
        )
        evidence.setdefault("api_calls", len(self.world.sandbox.calls) - calls)
        step = Step(name=name, seconds=round(time.monotonic() - started, 2), evidence=evidence)
        self.steps.append(step)
        shown = ", ".join(
            f"{key} {text}"
            for key, text in evidence.items()
            if key in ("pull_request", "check_conclusion", "stages_executed", "api_calls")
        )
        self.say(f"  {step.seconds:.1f} s: {shown}")

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            raise EvidenceMissing(what, remedy=f"look at the pages: {self.out / 'site'}")

    # Steps

    def _project(self) -> dict[str, Any]:
        commit = self.world.seed(lambda text: self.say(f"  {text}"))
        return {"repository": REPO, "commit": commit, "pages": f"{self.world.sandbox.url}/{REPO}"}

    def _baseline(self) -> dict[str, Any]:
        path = ".github/workflows/train.yml"
        inputs = self.world.dispatcher.check_inputs(REPO, path, "main", {"model": MODEL})
        self.hub.dispatch(REPO, path, "main", inputs, self.world.actor())
        self._wait()
        self._no_failed_runs()
        run, document = self._newest_run("baseline")
        self.check(run.status == "succeeded", f"the baseline run {run.status}: {run.log_tail[-300:]}")
        return {"run_document": document, "stages_executed": _executed(run), "metrics": _metrics(run)}

    def _pull(self, title: str, branch: str, features: str) -> dict[str, Any]:
        params = (self.hub.bare(REPO).file("main", "params.yaml") or b"").decode()
        start = params.index("features:")
        changed = params[:start] + features + params[params.index("\n", start) :]
        self.hub.commit_folder(REPO, branch, {"params.yaml": changed.encode()}, title, self.world.actor())
        number = self.hub.open_pull(REPO, title=title, head=branch, base="main", actor=self.world.actor())
        self._wait()
        evidence = self._evidence(number, branch)
        run, document = self._newest_run(branch)
        expected = "success" if branch == "better" else "failure"
        self.check(evidence["check_conclusion"] == expected, f"check is {evidence['check_conclusion']}, not {expected}")
        self.check(run.source.pull_request == number, "the run document names another pull request")
        self.check(_executed(run) > 0, "nothing was trained")
        words = "**Gate passed**" if branch == "better" else "**Gate failed**"
        comment = (self.out / evidence["comment"]).read_text()
        self.check(words in comment and "`roc_auc`" in comment, f"the comment does not say {words} with its metrics")
        return {**evidence, "run_document": document, "stages_executed": _executed(run), "metrics": _metrics(run)}

    def _readme(self) -> dict[str, Any]:
        text = (self.hub.bare(REPO).file("main", "README.md") or b"").decode()
        self.hub.commit_folder(
            REPO,
            "words",
            {"README.md": (text + "\nQuestions: open an issue.\n").encode()},
            "Say where to ask",
            self.world.actor(),
        )
        runs = len(self.state.list("run", REPO, workflow_path=".github/workflows/train.yml"))
        started = time.monotonic()
        number = self.hub.open_pull(REPO, title="Say where to ask", head="words", base="main", actor=self.world.actor())
        self._wait()
        seconds = round(time.monotonic() - started, 2)
        evidence = self._evidence(number, "words")
        trained = len(self.state.list("run", REPO, workflow_path=".github/workflows/train.yml")) - runs
        self.check(trained == 0, "a README change started training")
        self.check(evidence["check_conclusion"] == "success", f"check is {evidence['check_conclusion']}")
        run, document = self._answering(self.hub.bare(REPO))
        self.check(run.source.pull_request is None, "the README's inputs are answered by a pull request's run")
        return {**evidence, "run_document": document, "stages_executed": 0, "seconds_to_green": seconds}

    # Evidence

    def _wait(self) -> None:
        """Until all workflows are done, telling what each job does meanwhile."""
        deadline = time.monotonic() + LIMIT
        while not self.world.dispatcher.wait_idle(0.5):
            self._tell_jobs()
            self.check(time.monotonic() < deadline, f"workflows did not finish within {LIMIT:.0f} s")
        self._tell_jobs()

    def _tell_jobs(self) -> None:
        for job in self.state.list("job", REPO):
            word = job["conclusion"] or job["status"]
            if word != "queued" and self._told.get(job["id"]) != word:
                self._told[job["id"]] = word
                run = self.state.get("run", REPO, job["run_id"]) or {}
                where = f" on {job['runner_name']}" if word == "in_progress" else ""
                self.say(f"    {run.get('display_title')} · {job['name']}: {word.replace('_', ' ')}{where}")

    def _no_failed_runs(self) -> None:
        for run in self.state.list("run", REPO):
            if run["conclusion"] != "success":
                log = "\n".join(
                    self._log(job)[-1500:]
                    for job in self.state.list("job", REPO, run_id=run["id"])
                    if job["conclusion"] == "failure"
                )
                self.check(False, f"workflow run {run['display_title']!r}: {run['conclusion']}\n{log}")

    def _log(self, job: Mapping[str, Any]) -> str:
        path: Path = self.state.root / job["log"]
        return path.read_text() if path.is_file() else ""

    def _evidence(self, number: int, name: str) -> dict[str, Any]:
        """The one comment and the check run of a pull request, saved as files."""
        comments = [one for one in self.state.list("comment", REPO, issue=number) if one["user"] != AUTHOR]
        if len(comments) != 1:
            self._no_failed_runs()
        self.check(len(comments) <= 1, f"{len(comments)} comments instead of one")
        head = self.hub.pull(REPO, number)["head_sha"]
        checks = self.state.list("check_run", REPO, head_sha=head)
        self.check(bool(checks), "no check run was published")
        newest = max(checks, key=lambda one: int(one["id"]))
        self.check(newest["name"] == f"trackside / {MODEL}", f"the check is called {newest['name']!r}")
        saved = f"evidence/{name}.comment.md"
        target = self.out / saved
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(comments[0]["body"] if comments else newest["output"].get("summary") or "")
        return {
            "pull_request": number,
            "comment": saved,
            "comments": len(comments),
            "check_conclusion": newest["conclusion"],
        }

    def _answering(self, bare: Bare) -> tuple[Run, str]:
        """The run that answers what stands on `main`: the baseline's, by its pointer on the data branch."""
        baseline = load(Run, (self.out / "evidence/baseline.run.json").read_bytes())
        pointer = bare.file("trackside-data", f"inputs/{MODEL}/{baseline.input_digest.removeprefix('sha256:')}.json")
        self.check(pointer is not None and json.loads(pointer)["run"] == baseline.id, "no pointer to the baseline run")
        return baseline, "evidence/baseline.run.json"

    def _newest_run(self, name: str) -> tuple[Run, str]:
        """The newest run document on the data branch, checked against its schema and saved."""
        bare = self.hub.bare(REPO)
        found = []
        for path in bare.git("ls-tree", "-r", "--name-only", "trackside-data", check=False).text.split():
            if path.startswith(f"runs/{MODEL}/"):
                found.append(load(Run, bare.file("trackside-data", path) or b"", name=path))
        if not found:
            self._no_failed_runs()
        self.check(bool(found), "no run document on the data branch")
        run = max(found, key=lambda one: one.finished_at)
        saved = f"evidence/{name}.run.json"
        target = self.out / saved
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(dump(run))
        exported = statement(run, server=self.world.sandbox.url)
        self.check(
            {one["name"] for one in exported["subject"]} == {one.path for one in run.artifacts},
            "the statement lacks artifacts",
        )
        target.with_suffix(".intoto.json").write_text(json.dumps(exported, indent=2) + "\n")
        return run, saved

    def summary(self, seconds: float) -> dict[str, Any]:
        steps = [{"name": one.name, "seconds": one.seconds, "evidence": one.evidence} for one in self.steps]
        return {"schema": "trackside.demo/1", "seconds": round(seconds, 1), "steps": steps}


def _executed(run: Run) -> int:
    return sum(stage.outcome == "executed" for stage in run.stages)


def _metrics(run: Run) -> dict[str, float | None]:
    return {metric.name: metric.value for metric in run.metrics}


def run_demo(
    out: Path, env: Mapping[str, str], say: Callable[[str], None], *, cache: Path, serve: bool = False, port: int = 0
) -> int:
    """The whole demo; exit code 0 only if every step's evidence was verified."""
    from trackside.sandbox.web import export, routes
    from trackside.sandbox.web.assets import ensure_mermaid

    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    world = World(out, cache, env, port=port)
    bundle = ensure_mermaid(cache, world.env)
    world.sandbox.extra_routes += routes(world.sandbox, bundle)
    with world:
        tour = Tour(world, out, say)
        code = 0
        try:
            tour.run()
        except TracksideError as error:
            say(error.render())
            code = error.exit_code
        (out / "summary.json").write_text(json.dumps(tour.summary(time.monotonic() - started), indent=2) + "\n")
        export(world.sandbox, REPO, out / "site", bundle)
        say(f"{'done' if code == 0 else 'stopped'} after {time.monotonic() - started:.1f} s")
        say(f"summary: {out / 'summary.json'}\npages: {out / 'site/index.html'}")
        if serve:
            say(f"the sandbox stays up at {world.sandbox.url}/{REPO} until Ctrl-C")
            with suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)
    return code
