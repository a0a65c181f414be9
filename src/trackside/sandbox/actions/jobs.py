"""One job of a run: its turn in a concurrency group, a runner, a token of its own, act, and its end."""

from __future__ import annotations

import threading
import traceback
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackside.sandbox.actions import workflow as flow
from trackside.sandbox.actions.act import JobOutcome, JobSpec, RunningJob
from trackside.sandbox.actions.concurrency import settings
from trackside.sandbox.actions.expressions import Partial, holds, render, value
from trackside.sandbox.actions.values import ExpressionError, to_text
from trackside.sandbox.actions.values import number as as_number
from trackside.sandbox.hub import now

if TYPE_CHECKING:
    from trackside.sandbox.actions.runners import Runner
    from trackside.sandbox.actions.runs import RunExecution

Doc = dict[str, Any]
DEFAULT_MINUTES = 360


class JobExecution:
    """Runs one job, or one combination of a job's matrix, on the caller's thread."""

    def __init__(self, run: RunExecution, key: str, contexts: Doc, doc: Doc) -> None:
        self.run, self.key, self.contexts, self.doc = run, key, contexts, doc
        self.definition: Doc = run.workflow["jobs"][key]
        self.result, self.outputs = "", dict[str, str]()
        self.starved = False
        """No runner has the labels that it asks for."""
        self._given_up = ""
        self._running: RunningJob | None = None
        self._lock = threading.Lock()

    def execute(self) -> None:
        """Run to the end; `result` and `outputs` tell what came of it. Never raises."""
        try:
            self._execute()
        except ExpressionError as error:
            self._fail(f"##[error]The workflow is not valid. Job `{self.key}`: {error}\n")
        except Exception as error:
            # A defect of the sandbox itself: kept where a person will look.
            self._fail("##[error]The sandbox failed\n" + "".join(traceback.format_exception(error)))

    def cancel(self, why: str = "The operation was canceled.") -> None:
        """Stop the job, wherever it is: waiting or under way."""
        with self._lock:
            self._given_up = self._given_up or why
            running = self._running
        self.run.dispatcher.wake()
        if running is not None:
            threading.Thread(target=running.cancel, args=(why,), daemon=True).start()

    def kill(self) -> None:
        """End the job at once."""
        with self._lock:
            self._given_up = self._given_up or "The sandbox stopped."
            running = self._running
        self.run.dispatcher.wake()
        if running is not None:
            running.kill()

    def survives(self) -> bool:
        """Whether its `if:` still holds now that the run is cancelled."""
        try:
            return holds(self.definition.get("if", True), {**self.contexts, "cancelled": True})
        except ExpressionError:
            return False

    def _execute(self) -> None:
        dispatcher, repo = self.run.dispatcher, self.run.repo
        group = settings(self.definition["concurrency"], self.contexts) if "concurrency" in self.definition else None
        if group is None:
            self._on_a_runner()
            return
        dispatcher.groups.enter(repo, group, self)
        try:
            if dispatcher.groups.wait(repo, group, self, lambda: bool(self._given_up)):
                self._on_a_runner()
            else:
                self._close("cancelled")
        finally:
            dispatcher.groups.leave(repo, group, self)

    def _on_a_runner(self) -> None:
        labels = flow.labels(self.definition, self.contexts)
        self._save(labels=labels)
        pool = self.run.dispatcher.pool
        self.starved = not pool.has(labels)
        runner = pool.take(labels, lambda: bool(self._given_up))
        self.starved = False
        if runner is None:
            self._close("cancelled")
            return
        try:
            self.run.began()
            self._save(status="in_progress", started_at=now(), runner_name=runner.name)
            outcome = self._run(runner)
        finally:
            pool.give_back(runner)
        tolerated = outcome.conclusion == "failure" and value(
            self.definition.get("continue-on-error", False), self.contexts
        )
        self._close(outcome.conclusion, outcome.outputs, "success" if tolerated is True else outcome.conclusion)

    def _run(self, runner: Runner) -> JobOutcome:
        run, dispatcher = self.run.doc, self.run.dispatcher
        minutes = as_number(to_text(value(self.definition.get("timeout-minutes", DEFAULT_MINUTES), self.contexts)))
        granted = flow.permissions(self.run.workflow, self.definition)
        granted = flow.read_only(granted) if self.run.from_fork else granted
        environment = self._environment_name()
        secrets = {} if self.run.from_fork else dispatcher.secrets_of(self.run.repo, environment)
        token = dispatcher.mint(self.run.repo, granted, run["id"], self.key)
        self._save(permissions=granted)
        spec = JobSpec(
            key=self.key,
            workflow=self.run.workflow,
            declared=flow.triggers(self.run.workflow).get(run["event"]) or {},
            known=self._known(runner, environment),
            event_name=run["event"],
            event=run["event_payload"],
            sha=run["sha"],
            bare=dispatcher.hub.bare(self.run.repo).path,
            folder=self.folder(),
            runner_home=dispatcher.homes / runner.home(run["event"]),
            keeps_home=not runner.hosted,
            env=self.run.environment(runner),
            secrets={**secrets, "GITHUB_TOKEN": token},
            variables=dispatcher.variables_of(self.run.repo, environment),
            actor=run["actor"],
            mark=f"sandbox_{uuid.uuid4().hex}",
        )
        why = f"The job has exceeded the maximum execution time of {minutes:g}m"
        timer = threading.Timer(min(float(minutes) * 60, threading.TIMEOUT_MAX), self.cancel, (why,))
        timer.daemon = True

        def started(running: RunningJob) -> None:
            with self._lock:
                self._running = running
                given_up = self._given_up
            timer.start()
            if given_up:
                self.cancel(given_up)

        try:
            outcome = dispatcher.act.run(spec, started=started, changed=lambda steps: self._save(steps=steps))
        finally:
            timer.cancel()
            dispatcher.revoke(token)
            with self._lock:
                stopped = self._running is not None and self._running.stopped
                self._running = None
            dispatcher.artifacts_changed(self.run.repo, run)
        if stopped:
            outcome.conclusion = "cancelled"
        return outcome

    def _environment_name(self) -> str:
        found = flow.resolved(self.definition.get("environment") or "", self.contexts)
        return str(found.get("name", "") if isinstance(found, dict) else found)

    def _known(self, runner: Runner, environment: str) -> Doc:
        """What is put into the job's own file in place of expressions."""
        names = ("needs", "inputs", "matrix", "strategy")
        kept = {name: self.contexts[name] for name in names if name in self.contexts}
        return kept | {
            "github": Partial(self.contexts["github"]),
            "vars": self.run.dispatcher.variables_of(self.run.repo, environment),
            "runner": Partial(name=runner.name, environment="github-hosted" if runner.hosted else "self-hosted"),
        }

    def folder(self) -> Path:
        """Where the job's files are; made anew for every job."""
        folder: Path = (self.run.dispatcher.state.root / self.doc["log"]).parent
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _fail(self, text: str) -> None:
        with (self.folder() / "log.txt").open("a", encoding="utf-8") as log:
            log.write(text)
        self._close("failure")

    def _save(self, **changes: Any) -> None:
        self.doc.update(changes)
        self.run.dispatcher.state.put("job", self.run.repo, self.doc["id"], self.doc)

    def _close(self, conclusion: str, outputs: dict[str, str] | None = None, result: str = "") -> None:
        self.result, self.outputs = result or conclusion, outputs or {}
        self._save(
            status="completed", conclusion=conclusion, completed_at=now(), result=self.result, outputs=self.outputs
        )


def job_name(definition: Doc, key: str, contexts: Doc) -> str:
    """The shown name: `name:` evaluated, else the key; a matrix adds its values."""
    matrix = contexts.get("matrix") or {}
    plain = [to_text(part) for part in matrix.values() if not isinstance(part, dict | list)]
    try:
        name = render(str(definition.get("name") or key), contexts)
    except ExpressionError:
        name = str(definition["name"])
    own = "matrix." in str(definition.get("name", ""))
    return f"{name} ({', '.join(plain)})" if plain and not own else name
