"""One workflow run: its turn in a concurrency group, its jobs as what they need is done, its conclusion."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from trackside.sandbox.actions import workflow as flow
from trackside.sandbox.actions.concurrency import Settings
from trackside.sandbox.actions.expressions import holds, value
from trackside.sandbox.actions.inputs import typed
from trackside.sandbox.actions.jobs import JobExecution, job_name
from trackside.sandbox.actions.values import ExpressionError
from trackside.sandbox.hub import now
from trackside.sandbox.state import Doc

if TYPE_CHECKING:
    from trackside.sandbox.actions.dispatcher import Dispatcher
    from trackside.sandbox.actions.runners import Runner


class RunExecution:
    """Runs the jobs of one attempt of a workflow run, each on a thread that waits for what the job needs.

    Args:
        carried: jobs of the attempt before that are not run again, by key and place in the matrix.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        repo: str,
        run: Doc,
        workflow: Doc,
        group: Settings | None,
        carried: dict[tuple[str, int], Doc],
    ) -> None:
        self.dispatcher, self.repo, self.doc, self.workflow, self.group = dispatcher, repo, run, workflow, group
        self.cancelled = self.killed = False
        self.over = threading.Event()
        """Nothing of this attempt is under way any more."""
        self._carried = carried
        self._jobs: dict[str, Doc] = workflow["jobs"]
        self._done = {key: threading.Event() for key in self._jobs}
        self._results: dict[str, Doc] = {}
        self._active: list[JobExecution] = []
        self._planned: dict[str, Doc] = {}
        self._lock = threading.RLock()
        pull = run["event_payload"].get("pull_request") or {}
        head = ((pull.get("head") or {}).get("repo") or {}).get("full_name", repo)
        self.from_fork = run["event"] == "pull_request" and head != repo

    def cancel(self) -> None:
        """Stop what waits and runs, except jobs whose `if:` holds in spite of it."""
        with self._lock:
            self.cancelled = True
            active = list(self._active)
        for job in active:
            if not job.survives():
                job.cancel()
        self.dispatcher.wake()

    def kill(self) -> None:
        """End everything at once."""
        with self._lock:
            self.cancelled = self.killed = True
            active = list(self._active)
        for job in active:
            job.kill()
        self.dispatcher.wake()

    @property
    def stuck(self) -> bool:
        """Whether nothing will move before a runner is added: it waits for its group or for labels that nobody has."""
        if self.group is not None and not self.dispatcher.groups.goes(self.repo, self.group, self):
            return not self.cancelled
        with self._lock:
            waiting = [key for key in self._jobs if not self._done[key].is_set()]
            ready = [key for key in waiting if all(self._done[one].is_set() for one in flow.needs(self._jobs[key]))]
            active = [job for job in self._active if not job.result]
            starved = {job.key for job in active if job.starved}
            return bool(starved) and len(active) == len(starved) and set(ready) <= starved

    def execute(self) -> str:
        """Run all jobs; returns the run's conclusion."""
        groups = self.dispatcher.groups
        if self.group is not None and not groups.wait(self.repo, self.group, self, lambda: self.cancelled):
            return "cancelled"
        if self.cancelled:
            return "cancelled"
        self._save(status="queued")
        keys = flow.order(self._jobs)
        for key in keys:
            if "matrix" not in (self._jobs[key].get("strategy") or {}):
                self._planned[key] = self._job_doc(key, self._jobs[key].get("name") or key, 0)
        threads = [threading.Thread(target=self._key, args=(key,), daemon=True) for key in keys]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        results = {one["result"] for one in self._results.values()}
        if self.cancelled:
            return "cancelled"
        return next((one for one in ("failure", "cancelled", "success") if one in results), "skipped")

    def began(self) -> None:
        """The first job has a runner."""
        with self._lock:
            if self.doc["status"] == "in_progress":
                return
            self._save(status="in_progress", started_at=now())
        self.dispatcher.announce(self.repo, self.doc, "in_progress")

    def _save(self, **changes: Any) -> None:
        self.doc.update(changes, updated_at=now())
        self.dispatcher.state.put("run", self.repo, self.doc["id"], self.doc)

    def _job_doc(self, key: str, name: Any, place: int) -> Doc:
        state, run = self.dispatcher.state, self.doc
        folder = f"{run['attempt']}-{key}" + (f"-{place + 1}" if place else "")
        doc: Doc = {
            "id": state.next("id"),
            "run_id": run["id"],
            "attempt": run["attempt"],
            "key": key,
            "place": place,
            "name": str(name),
            "status": "queued",
            "conclusion": None,
            "labels": [],
            "runner_name": None,
            "created_at": now(),
            "started_at": None,
            "completed_at": None,
            "steps": [],
            "permissions": {},
            "workflow_name": run["workflow_name"],
            "head_branch": run["head_branch"],
            "log": f"runs/{run['id']}/{folder}/log.txt",
        }
        return state.put("job", self.repo, doc["id"], doc)

    def _contexts(self, key: str) -> Doc:
        before = [self._results[one]["result"] for one in flow.ancestors(self._jobs, key)]
        return {
            "needs": {one: self._results[one] for one in flow.needs(self._jobs[key])},
            "github": self.dispatcher.github_context(self.repo, self.doc),
            "inputs": typed(self.workflow, self.doc["inputs"]),
            "vars": self.dispatcher.variables_of(self.repo, ""),
            "results": before,
            "cancelled": self.cancelled,
        }

    def _key(self, key: str) -> None:
        """One job with its whole matrix."""
        try:
            for one in flow.needs(self._jobs[key]):
                self._done[one].wait()
            self._results[key] = self._run_key(key)
        except ExpressionError as error:
            doc = self._doc_of(key)
            path = self.dispatcher.state.root / doc["log"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"##[error]The workflow is not valid. Job `{key}`: {error}\n")
            self._results[key] = self._settle(doc, "failure")
        finally:
            self._results.setdefault(key, {"result": "failure", "outputs": {}})
            self._done[key].set()

    def _doc_of(self, key: str) -> Doc:
        return self._planned.pop(key, None) or self._job_doc(key, self._jobs[key].get("name") or key, 0)

    def _settle(self, doc: Doc, conclusion: str) -> Doc:
        doc.update(status="completed", conclusion=conclusion, completed_at=now(), result=conclusion, outputs={})
        self.dispatcher.state.put("job", self.repo, doc["id"], doc)
        return {"result": conclusion, "outputs": {}}

    def _run_key(self, key: str) -> Doc:
        definition, contexts = self._jobs[key], self._contexts(key)
        carried = {place: doc for (name, place), doc in self._carried.items() if name == key}
        if not carried and (self.killed or not holds(definition.get("if", True), contexts)):
            return self._settle(self._doc_of(key), "cancelled" if self.cancelled else "skipped")
        combinations = flow.matrix(definition, contexts)
        jobs: list[JobExecution] = []
        for place, matrix in enumerate(combinations or [{}]):
            own = {**contexts, "matrix": matrix or None, "strategy": self._strategy(definition, place, combinations)}
            doc = self._planned.pop(key, None) or self._job_doc(key, key, place)
            doc["name"] = job_name(definition, key, own)
            job = JobExecution(self, key, own, doc)
            if place in carried:
                self._carry(job, carried[place])
            jobs.append(job)
        self._all(jobs, definition.get("strategy") or {}, contexts)
        results = {job.result for job in jobs}
        outputs: dict[str, str] = {}
        for job in jobs:
            outputs |= {name: text for name, text in job.outputs.items() if text or name not in outputs}
        worst = next((one for one in ("failure", "cancelled", "success") if one in results), "skipped")
        return {"result": worst, "outputs": outputs}

    @staticmethod
    def _strategy(definition: Doc, place: int, combinations: list[Doc] | None) -> Doc:
        total = len(combinations or [{}])
        given = definition.get("strategy") or {}
        return {
            "fail-fast": given.get("fail-fast", True),
            "job-index": place,
            "job-total": total,
            "max-parallel": given.get("max-parallel", total),
        }

    def _carry(self, job: JobExecution, before: Doc) -> None:
        """Take a job of the attempt before over as it is."""
        names = ("status", "conclusion", "labels", "runner_name", "started_at", "completed_at", "steps", "permissions")
        job.doc.update({name: before[name] for name in (*names, "log")})
        job.result, job.outputs = before.get("result") or before["conclusion"], before.get("outputs") or {}
        job.doc.update(result=job.result, outputs=job.outputs)
        self.dispatcher.state.put("job", self.repo, job.doc["id"], job.doc)

    def _all(self, jobs: list[JobExecution], strategy: Doc, contexts: Doc) -> None:
        """Run the combinations of a matrix side by side, as many as allowed; the first failure ends the others."""
        most = value(strategy.get("max-parallel"), contexts)
        gate = threading.Semaphore(int(most) if isinstance(most, int | float) and most >= 1 else len(jobs))
        fail_fast = len(jobs) > 1 and value(strategy.get("fail-fast", True), contexts) is not False
        todo = [job for job in jobs if not job.result]

        def work(job: JobExecution) -> None:
            with gate:
                with self._lock:
                    self._active.append(job)
                    cancelled = self.cancelled
                if self.killed or (cancelled and not job.survives()):
                    job.cancel()
                job.execute()
                with self._lock:
                    self._active.remove(job)
            if fail_fast and job.result == "failure":
                for other in todo:
                    if not other.result:
                        other.cancel("The strategy configuration was canceled because another job of it failed.")

        threads = [threading.Thread(target=work, args=(job,), daemon=True) for job in todo[1:]]
        for thread in threads:
            thread.start()
        for job in todo[:1]:
            work(job)
        for thread in threads:
            thread.join()

    def environment(self, runner: Runner) -> dict[str, str]:
        """Variables of every step that act leaves unset or would take from elsewhere."""
        hub, run = self.dispatcher.hub, self.doc
        github = self.dispatcher.github_context(self.repo, run)
        names = (
            *("server_url", "api_url", "graphql_url", "repository", "repository_id", "repository_owner_id", "actor_id"),
            *("run_id", "run_number", "run_attempt", "ref", "head_ref", "base_ref", "triggering_actor", "workflow_ref"),
            *("workflow_sha", "ref_protected", "retention_days"),
        )
        return {f"GITHUB_{name.upper()}": str(github[name]).replace("False", "false") for name in names} | {
            "RUNNER_NAME": runner.name,
            "RUNNER_ENVIRONMENT": "github-hosted" if runner.hosted else "self-hosted",
            "SANDBOX_ARTIFACTS": str(hub.state.root / "runs" / str(run["id"]) / "artifacts"),
        }
