"""What every step of the demo needs: to wait for workflows, to tell what they do, and to find what they left."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackside.demo.world import AUTHOR, REPO, World
from trackside.documents.codec import Document, dump, load
from trackside.documents.run import Run
from trackside.errors import TracksideError
from trackside.train.provenance import statement

MODEL = "delay"
LIMIT = 900.0
"""Seconds that one step may take."""

SHOWN = (
    "pull_requests",
    "pull_request",
    "check_conclusion",
    "stages_executed",
    "tag",
    "verdict",
    "image",
    "decision",
    "api_calls",
)
"""Evidence that is told while the demo runs."""


class EvidenceMissing(TracksideError):
    """A step did not leave what it should have."""

    exit_code = 1
    reason_code = "evidence_missing"


Work = Callable[[], dict[str, Any]]
"""Does a step and returns its evidence."""


@dataclass(kw_only=True)
class Step:
    """One step: seconds and what it left behind. `topics` tell which workflow runs came of it."""

    name: str
    seconds: float = 0.0
    evidence: dict[str, Any] = field(default_factory=dict)
    topics: set[str] = field(default_factory=set)


def topics(run: Mapping[str, Any]) -> set[str]:
    """What a workflow run is about: itself, pull requests, the comment that asked, the pushed commit."""
    inputs, payload = run["inputs"] or {}, run["event_payload"]
    found = {f"run {run['id']}", *(f"#{number}" for number in run["pull_numbers"])}
    if run["event"] == "push":
        found.add(f"commit {run['sha']}")
    if "comment" in payload:
        found.add(f"comment {payload['comment']['id']}")
    named = {"pull-request": "#{}", "comment": "comment {}", "commit": "commit {}"}
    return found | {form.format(inputs[name]) for name, form in named.items() if inputs.get(name)}


class Tour:
    """Runs steps in a world and keeps their evidence below `out`."""

    def __init__(self, world: World, out: Path, say: Callable[[str], None]) -> None:
        self.world, self.out, self.say = world, out, say
        self.steps: list[Step] = []
        self._told: dict[int, str] = {}
        self._telling = threading.Lock()
        self._own = threading.local()
        self.state, self.hub = world.sandbox.state, world.sandbox.hub

    def step(self, name: str, work: Work) -> None:
        """Do one step. Raises EvidenceMissing where it is not as it should be."""
        step = Step(name=name)
        with self._telling:
            self.steps.append(step)
        self._own.step = step
        self.say(f"▶ {name}")
        started = time.monotonic()
        calls = len(self.world.sandbox.calls)
        evidence = work()
        self.check(
            not self.world.sandbox.violations, f"exchanges off GitHub's contract: {self.world.sandbox.violations[:3]}"
        )
        mine = {run["id"] for run in self.state.list("run", REPO) if topics(run) & step.topics}
        made = sum(one.run_id in mine for one in self.world.sandbox.calls[calls:])
        step.seconds, step.evidence = round(time.monotonic() - started, 2), {**evidence, "api_calls": made}
        shown = ", ".join(f"{key.replace('_', ' ')} {step.evidence[key]}" for key in SHOWN if key in step.evidence)
        self.say(f"✓ {name}, {step.seconds:.1f} s: {shown}")

    def together(self, *lanes: Sequence[tuple[str, Work]]) -> None:
        """Do the steps of each lane one after another, and the lanes side by side. Raises what the first one raised."""
        errors: list[Exception] = []

        def follow(lane: Sequence[tuple[str, Work]]) -> None:
            try:
                for name, work in lane:
                    if not errors:
                        self.step(name, work)
            except Exception as error:
                errors.append(error)

        # Daemons: Ctrl-C ends the demo without waiting for workflows.
        threads = [threading.Thread(target=follow, args=(lane,), daemon=True) for lane in lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def check(self, holds: bool, what: str) -> None:
        if not holds:
            raise EvidenceMissing(what, remedy=f"look at the pages: {self.out / 'site'}")

    def summary(self, seconds: float) -> dict[str, Any]:
        steps = [
            {"name": one.name, "seconds": one.seconds, "evidence": one.evidence} for one in self.steps if one.evidence
        ]
        return {"schema": "trackside.demo/1", "seconds": round(seconds, 1), **self.dearest(), "steps": steps}

    def dearest(self) -> dict[str, int]:
        """The most API calls that one job made, and the most writes of one job."""
        calls = [one for one in self.world.sandbox.calls if one.job]
        every = Counter((one.run_id, one.job) for one in calls)
        writes = Counter((one.run_id, one.job) for one in calls if one.method != "GET")
        return {name: max(found.values(), default=0) for name, found in (("job_calls", every), ("job_writes", writes))}

    # People

    def dispatch(self, workflow: str, inputs: Mapping[str, str], login: str = AUTHOR) -> None:
        """Press "Run workflow" on the default branch and wait for what comes of it."""
        path = f".github/workflows/{workflow}"
        checked = self.world.dispatcher.check_inputs(REPO, path, "main", dict(inputs))
        self.wait(f"run {self.hub.dispatch(REPO, path, 'main', checked, self.world.actor(login))}")

    def comment(self, number: int, body: str, login: str = AUTHOR) -> int:
        """Write a comment and wait for what comes of it; returns its id."""
        made = self.hub.add_comment(REPO, number, body, self.world.actor(login))
        self.wait(f"comment {made['id']}")
        return int(made["id"])

    def merge(self, number: int) -> str:
        """Press "Merge"; returns the merge commit."""
        return self.hub.merge_pull(REPO, number, self.world.actor())

    # Waiting

    def wait(self, topic: str, job: str = "") -> None:
        """Until all workflow runs about something are done, or one job of them; tells what every job does meanwhile."""
        self._own.step.topics.add(topic)
        deadline = time.monotonic() + LIMIT
        while not (self._ended(topic, job) if job else self._idle(topic)):
            self._tell_jobs()
            self.check(time.monotonic() < deadline, f"workflows did not finish within {LIMIT:.0f} s")
        self._tell_jobs()

    def _idle(self, topic: str) -> bool:
        return self.world.dispatcher.wait_idle(0.2, lambda run: topic in topics(run))

    def _ended(self, topic: str, job: str) -> bool:
        if self._idle(topic):
            return True
        runs = [run["id"] for run in self.state.list("run", REPO) if topic in topics(run)]
        jobs = self.state.list("job", REPO, key=job, status="completed")
        return any(one["run_id"] in runs for one in jobs)

    def _tell_jobs(self) -> None:
        with self._telling:
            for job in self.state.list("job", REPO):
                word = job["conclusion"] or job["status"]
                if word != "queued" and self._told.get(job["id"]) != word:
                    self._told[job["id"]] = word
                    run = self.state.get("run", REPO, job["run_id"]) or {}
                    where = f" on {job['runner_name']}" if word == "in_progress" else ""
                    self.say(f"    {run.get('display_title')} · {job['name']}: {word.replace('_', ' ')}{where}")

    def no_failed_runs(self) -> None:
        """Every workflow run that is over has succeeded; the log's end of one that has not is in the error.

        Runs of pull requests that a workflow opened wait for a person's approval, as on GitHub.
        """
        for run in self.state.list("run", REPO):
            if run["status"] == "completed" and run["conclusion"] not in ("success", "skipped", "action_required"):
                log = "\n".join(
                    self.log(job)[-2500:]
                    for job in self.state.list("job", REPO, run_id=run["id"])
                    if job["conclusion"] == "failure"
                )
                self.check(False, f"workflow run {run['display_title']!r}: {run['conclusion']}\n{log}")

    def log(self, job: Mapping[str, Any]) -> str:
        path: Path = self.state.root / job["log"]
        return path.read_text() if path.is_file() else ""

    # What was left

    def save(self, name: str, data: str | bytes) -> str:
        """Keep a piece of evidence; returns its path below `out`."""
        target = self.out / "evidence" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data.encode() if isinstance(data, str) else data)
        return f"evidence/{name}"

    def report(self, number: int, name: str) -> dict[str, Any]:
        """The one comment and the check run of a pull request, saved as files."""
        mine = [one for one in self.state.list("comment", REPO, issue=number) if "trackside:report" in one["body"]]
        self.check(len(mine) <= 1, f"{len(mine)} reports instead of one")
        head = self.hub.pull(REPO, number)["head_sha"]
        checks = self.state.list("check_run", REPO, head_sha=head)
        if not checks:
            self.no_failed_runs()
        self.check(bool(checks), "no check run was published")
        newest = max(checks, key=lambda one: int(one["id"]))
        self.check(newest["name"] == f"trackside / {MODEL}", f"the check is called {newest['name']!r}")
        text = mine[0]["body"] if mine else newest["output"].get("summary") or ""
        return {
            "pull_request": number,
            "comment": self.save(f"{name}.comment.md", text),
            "comments": len(mine),
            "check_conclusion": newest["conclusion"],
        }

    def recorded(self, path: str) -> bytes | None:
        """A file of the data branch."""
        return self.hub.bare(REPO).file("trackside-data", path)

    def paths(self, folder: str) -> list[str]:
        """Files below a folder of the data branch."""
        listing = self.hub.bare(REPO).git("ls-tree", "-r", "--name-only", "trackside-data", check=False).text
        return sorted(path for path in listing.split() if path.startswith(folder + "/"))

    def newest_run(self, name: str, pull: int | None = None) -> tuple[Run, str]:
        """The newest run document of a pull request or, with None, of the default branch; saved with its statement."""
        every = [load(Run, self.recorded(path) or b"", name=path) for path in self.paths(f"runs/{MODEL}")]
        found = [one for one in every if one.source.pull_request == pull]
        if not found:
            self.no_failed_runs()
        self.check(bool(found), "no run document on the data branch")
        run = max(found, key=lambda one: one.finished_at)
        exported = statement(run, server=self.world.sandbox.url)
        subjects = {one["name"] for one in exported["subject"]}
        self.check(subjects == {one.path for one in run.artifacts}, "the statement lacks artifacts")
        self.save(f"{name}.run.intoto.json", json.dumps(exported, indent=2) + "\n")
        return run, self.save(f"{name}.run.json", dump(run))

    def document(self, kind: type[Document], path: str, name: str) -> tuple[Any, str]:
        """A document of the data branch, checked against its schema and saved."""
        data = self.recorded(path)
        if data is None:
            self.no_failed_runs()
        self.check(data is not None, f"{path} is not on the data branch")
        return load(kind, data or b"", name=path), self.save(f"{name}.json", data or b"")

    def tags(self) -> list[str]:
        """All tags of the repository."""
        return self.hub.bare(REPO).git("tag", "--list").text.split()

    def releases(self) -> dict[str, dict[str, Any]]:
        """Published releases by tag."""
        return {one["tag_name"]: one for one in self.state.list("release", REPO, draft=False)}

    def open_pulls(self, head: str) -> list[int]:
        """Numbers of the open pull requests of a branch."""
        pulls = [one for one in self.state.list("pull", REPO) if one["head_ref"] == head]
        return [one["number"] for one in pulls if self.hub.issue(REPO, one["number"])["state"] == "open"]


def executed(run: Run) -> int:
    """Stages that really ran."""
    return sum(stage.outcome == "executed" for stage in run.stages)


def metrics(run: Run) -> dict[str, float | None]:
    return {metric.name: metric.value for metric in run.metrics}
