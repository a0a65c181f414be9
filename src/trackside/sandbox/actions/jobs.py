"""One workflow run: its jobs in order, each with what it needs put in, on a runner, with a token of its own."""

from __future__ import annotations

import re
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from trackside.sandbox.actions import workflow as flow
from trackside.sandbox.actions.act import JobOutcome, JobSpec
from trackside.sandbox.actions.expressions import ExpressionError, evaluate, truthy, value
from trackside.sandbox.hub import now
from trackside.system.process import Child

if TYPE_CHECKING:
    from trackside.sandbox.actions.dispatcher import Dispatcher, Runner

Doc = dict[str, Any]
GRACE = 20.0
"""Seconds between SIGTERM and SIGKILL for a cancelled job."""


class RunExecution:
    """Runs the jobs of one workflow run on its own thread."""

    def __init__(self, dispatcher: Dispatcher, repo: str, run: Doc, blockers: list[RunExecution]) -> None:
        self.dispatcher, self.repo, self.run = dispatcher, repo, run
        self.done = threading.Event()
        self.waiting, self.starved, self.cancelled = True, False, False
        self._blockers = blockers
        self._child: Child | None = None
        self._results: dict[str, Doc] = {}

    def cancel(self) -> None:
        """Stop the running job; jobs that come after it run only with `always()` or `cancelled()`."""
        self.cancelled = True
        child = self._child
        if child is not None:
            threading.Thread(target=child.stop, args=(GRACE,), daemon=True).start()

    def complain(self, error: Exception) -> None:
        """Keep a defect of the sandbox itself where a person will look."""
        folder = self.dispatcher.state.root / "runs" / str(self.run["id"])
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text("".join(traceback.format_exception(error)))

    def execute(self) -> str:
        """Run all jobs; returns the run's conclusion."""
        for blocker in self._blockers:
            blocker.done.wait()
        if self.cancelled:
            return "cancelled"
        self.waiting = False
        self.run.update(status="in_progress", started_at=now())
        self._save_run()
        bare = self.dispatcher.hub.bare(self.repo)
        text = bare.file(self.run["sha"], self.run["workflow_path"]) or b""
        try:
            workflow = flow.parse(text.decode())
            keys = flow.order(workflow["jobs"])
        except (ValueError, yaml.YAMLError):
            return "failure"
        jobs = {key: self._job_doc(key, workflow["jobs"][key]) for key in keys}
        for key in keys:
            self._one(key, workflow, workflow["jobs"][key], jobs[key])
        results = {one["result"] for one in self._results.values()}
        if self.cancelled:
            return "cancelled"
        return "failure" if "failure" in results else "success" if "success" in results else "skipped"

    def _save_run(self) -> None:
        self.run["updated_at"] = now()
        self.dispatcher.state.put("run", self.repo, self.run["id"], self.run)

    def _job_doc(self, key: str, definition: Doc) -> Doc:
        state = self.dispatcher.state
        doc: Doc = {
            "id": state.next("id"),
            "run_id": self.run["id"],
            "attempt": self.run["attempt"],
            "key": key,
            "name": str(definition.get("name") or key),
            "status": "queued",
            "conclusion": None,
            "labels": [],
            "runner_name": None,
            "created_at": now(),
            "started_at": None,
            "completed_at": None,
            "steps": [],
            "workflow_name": self.run["workflow_name"],
            "head_branch": self.run["head_branch"],
            "log": f"runs/{self.run['id']}/{self.run['attempt']}-{key}/log.txt",
        }
        return state.put("job", self.repo, doc["id"], doc)

    def _save_job(self, job: Doc, **changes: Any) -> None:
        job.update(changes)
        self.dispatcher.state.put("job", self.repo, job["id"], job)

    def _contexts(self, definition: Doc) -> Doc:
        needed = {key: self._results[key] for key in flow.needs(definition)}
        run = self.run
        github = {name: run[name] for name in ("ref", "sha", "actor")} | {
            "event": run["event_payload"],
            "event_name": run["event"],
            "repository": self.repo,
            "run_id": str(run["id"]),
            "run_attempt": str(run["attempt"]),
        }
        return {
            "needs": needed,
            "github": github,
            "inputs": self.run["inputs"],
            "vars": {},
            "cancelled": self.cancelled,
        }

    def _one(self, key: str, workflow: Doc, definition: Doc, job: Doc) -> None:
        contexts = self._contexts(definition)
        try:
            wanted = self._wanted(definition, contexts)
            labels = value(definition["runs-on"], contexts) if wanted else []
        except ExpressionError as error:
            (self._folder(key) / "log.txt").write_text(f"##[error]{error}\n")
            self._close(key, job, "failure")
            return
        if not wanted:
            self._close(key, job, "cancelled" if self.cancelled else "skipped")
            return
        labels = [labels] if isinstance(labels, str) else [str(one) for one in labels]
        self._save_job(job, labels=labels)
        runner = self._acquire(labels)
        if runner is None:
            self._close(key, job, "cancelled")
            return
        try:
            self._save_job(job, status="in_progress", started_at=now(), runner_name=runner.name)
            outcome = self._run_job(key, workflow, definition, job, runner, contexts)
        finally:
            self.dispatcher.busy[runner.name].release()
        self._close(key, job, outcome.conclusion, outcome.outputs)

    def _wanted(self, definition: Doc, contexts: Doc) -> bool:
        condition = definition.get("if", True)
        if isinstance(condition, str):
            text = condition.strip().removeprefix("${{").removesuffix("}}")
            # A condition without a status function means: and everything before succeeded.
            checks_status = re.search(r"\b(always|success|failure|cancelled)\s*\(", text)
            return truthy(evaluate(text, contexts)) and (bool(checks_status) or truthy(evaluate("success()", contexts)))
        return bool(condition) and truthy(evaluate("success()", contexts))

    def _acquire(self, labels: list[str]) -> Runner | None:
        """Wait for a runner with these labels; None when the run is cancelled first."""
        must_run = self.cancelled  # an always() job after a cancel
        while True:
            runner = self.dispatcher.runner_for(labels)
            self.starved = runner is None
            if runner is not None and self.dispatcher.busy[runner.name].acquire(timeout=0.05):
                return runner
            if self.cancelled and not must_run:
                return None
            time.sleep(0.02)

    def _close(self, key: str, job: Doc, conclusion: str, outputs: dict[str, str] | None = None) -> None:
        self._save_job(job, status="completed", conclusion=conclusion, completed_at=now())
        self._results[key] = {"result": conclusion, "outputs": outputs or {}}

    def _folder(self, key: str) -> Path:
        folder = self.dispatcher.state.root / "runs" / str(self.run["id"]) / f"{self.run['attempt']}-{key}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _run_job(self, key: str, workflow: Doc, definition: Doc, job: Doc, runner: Runner, contexts: Doc) -> JobOutcome:
        dispatcher = self.dispatcher
        granted = flow.permissions(workflow, definition)
        token = dispatcher.mint(self.repo, granted, self.run["id"], key)
        environment = definition.get("environment") or ""
        environment = environment.get("name", "") if isinstance(environment, dict) else environment
        definition = _put_in(definition, contexts)
        timeout = float(value(definition.get("timeout-minutes", 360), contexts)) * 60
        cancelled_before = self.cancelled
        spec = JobSpec(
            key=key,
            workflow_name=self.run["workflow_name"],
            definition=definition,
            workflow_env=workflow.get("env") or {},
            event_name=self.run["event"],
            declared=flow.triggers(workflow).get(self.run["event"]) or {},
            event=self.run["event_payload"] | ({"inputs": self.run["inputs"]} if self.run["inputs"] else {}),
            sha=self.run["sha"],
            ref=self.run["ref"],
            bare=dispatcher.hub.bare(self.repo).path,
            folder=self._folder(key),
            runner=runner.name,
            runner_home=dispatcher.homes / runner.kind,
            env=self._environment(runner),
            secrets={**dispatcher.secrets_of(self.repo, environment), "GITHUB_TOKEN": token},
            actor=self.run["actor"],
        )
        timer: list[threading.Timer] = []

        def started(child: Child) -> None:
            self._child = child
            timer.append(threading.Timer(timeout, child.stop, args=(GRACE,)))
            timer[0].start()
            if self.cancelled and not cancelled_before:
                self.cancel()

        try:
            outcome = dispatcher.act.run(spec, started=started, changed=lambda steps: self._save_job(job, steps=steps))
        finally:
            self._child = None
            for one in timer:
                one.cancel()
            dispatcher.revoke(token)
            (spec.folder / "secrets").unlink(missing_ok=True)
        if self.cancelled and not cancelled_before:
            outcome.conclusion = "cancelled"
        return outcome

    def _environment(self, runner: Runner) -> dict[str, str]:
        """What act leaves unset or would take from elsewhere."""
        url = self.dispatcher.hub.url
        run, path = self.run, self.run["workflow_path"]
        return {
            "GITHUB_SERVER_URL": url,
            "GITHUB_API_URL": f"{url}/api/v3",
            "GITHUB_REPOSITORY": self.repo,
            "GITHUB_REPOSITORY_ID": str(self.dispatcher.hub.repo(self.repo)["id"]),
            "GITHUB_RUN_ID": str(run["id"]),
            "GITHUB_RUN_NUMBER": str(run["run_number"]),
            "GITHUB_RUN_ATTEMPT": str(run["attempt"]),
            "GITHUB_REF": run["ref"],
            "GITHUB_TRIGGERING_ACTOR": run["triggering_actor"],
            "GITHUB_WORKFLOW_REF": f"{self.repo}/{path}@{run['ref']}",
            "GITHUB_WORKFLOW_SHA": run["sha"],
            "RUNNER_NAME": runner.name,
            "RUNNER_ENVIRONMENT": "github-hosted" if runner.kind == "hosted" else "self-hosted",
            "SANDBOX_ARTIFACTS": str(self.dispatcher.artifacts(run["id"])),
        }


def _put_in(definition: Doc, contexts: Doc) -> Doc:
    """Replace `needs.*` inside expressions by literals, since act runs the job alone; timeouts become numbers."""

    def literal(found: re.Match[str]) -> str:
        key, part, name = found.groups()
        result = contexts["needs"].get(key, {})
        text: str = result.get("result", "") if part == "result" else result.get("outputs", {}).get(name, "")
        return "'" + text.replace("'", "''") + "'"

    def replaced(expression: str) -> str:
        return re.sub(r"\bneeds\.([\w-]+)\.(result|outputs)(?:\.([\w-]+))?", literal, expression)

    def mend(node: Any, key: str = "") -> Any:
        if isinstance(node, str):
            if key == "if" and "${{" not in node:  # a condition is an expression as it stands
                return replaced(node)
            return re.sub(r"\$\{\{.*?\}\}", lambda whole: replaced(whole[0]), node, flags=re.DOTALL)
        if isinstance(node, dict):
            return {name: mend(part, name) for name, part in node.items()}
        return [mend(part) for part in node] if isinstance(node, list) else node

    mended: Doc = mend(definition)
    if "timeout-minutes" in mended:
        mended["timeout-minutes"] = value(mended["timeout-minutes"], contexts)
    return mended
