"""Events to workflow runs: filters, concurrency, runners, a token a job; runs go on threads, jobs through act."""

from __future__ import annotations

import fnmatch
import queue
import secrets
import shutil
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import trackside
from trackside.sandbox.actions import workflow as flow
from trackside.sandbox.actions.act import ActRunner
from trackside.sandbox.actions.births import Birth, born, context, failed_at_birth, starting
from trackside.sandbox.actions.concurrency import Groups
from trackside.sandbox.actions.inputs import validate_inputs
from trackside.sandbox.actions.runners import GPU, HOSTED, Pool, Runner
from trackside.sandbox.actions.runs import RunExecution
from trackside.sandbox.bus import HookEvent
from trackside.sandbox.hub import BOT, Hub, Problem, now
from trackside.sandbox.payloads import event as payload_of
from trackside.sandbox.state import Doc
from trackside.sandbox.views import work as show

__all__ = ["GPU", "HOSTED", "PASSED_ON", "Dispatcher", "Runner", "export_actions", "job_environment"]

PASSED_ON = (
    *("PATH", "LANG", "LC_ALL", "TZ", "TRACKSIDE_BASE_PYTHON", "PIP_*", "UV_*", "NPM_CONFIG_*"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
)
"""Variables of the machine that jobs see, in any case: what finds programs, packages and certificates."""
_ALWAYS = ("workflow_dispatch", "repository_dispatch")
_HELD = ("opened", "synchronize", "reopened")
_MAX_CHAIN = 3
"""GitHub starts no more than three levels of workflows by `workflow_run`."""


def job_environment(env: Mapping[str, str], passed: Iterable[str] = PASSED_ON) -> dict[str, str]:
    """The part of the machine's environment that jobs see."""
    patterns = tuple(passed)
    return {name: text for name, text in env.items() if any(fnmatch.fnmatch(name.upper(), one) for one in patterns)}


class Dispatcher:
    """Listens to the bus and runs what events start.

    Args:
        hub: the sandbox's hub; its `url` is read when a job starts.
        env: the machine's environment; jobs see what `passed` names.
        actions: action repository → folder with its files.
        homes: folder with a home (tool cache, package caches) for each kind of runner; default: in the state.
        runners: the machines; jobs whose labels no runner has stay queued.
        grace: seconds that a cancelled step has after SIGINT, and after SIGTERM.
        passed: patterns of variable names.
    """

    def __init__(
        self,
        hub: Hub,
        env: Mapping[str, str],
        actions: Mapping[str, Path],
        *,
        homes: Path | None = None,
        runners: tuple[Runner, ...] = (HOSTED, GPU),
        grace: tuple[float, float] = (7.5, 2.5),
        passed: Iterable[str] = PASSED_ON,
    ) -> None:
        self.hub, self.state = hub, hub.state
        self.homes = homes or hub.state.root / "runners"
        self.act = ActRunner(job_environment(env, passed), actions, grace)
        self.pool, self.groups = Pool(runners), Groups()
        self._events: queue.Queue[HookEvent | None] = queue.Queue()
        self._running: dict[int, RunExecution] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.RLock()
        self._stopping = False
        self._handling = 0
        hub.bus.subscribe(self._accept)

    @property
    def runners(self) -> tuple[Runner, ...]:
        return self.pool.runners

    def start(self) -> None:
        """Begin to handle events. Runs that an earlier process left unfinished are closed as cancelled."""
        for token in self.state.list("token", ""):
            if token["kind"] == "workflow" and token.get("run_id"):
                self.revoke(token["token"])
        for repo in self.state.list("repo", ""):
            for run in self.state.list("run", repo["full_name"]):
                if run["status"] != "completed":
                    self._finish(repo["full_name"], run, "cancelled")
        thread = threading.Thread(target=self._work, daemon=True, name="dispatcher")
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """End everything that runs, at once, and wait for it."""
        self._stopping = True
        self._events.put(None)
        with self._lock:
            running = list(self._running.values())
        for execution in running:
            execution.kill()
        for thread in list(self._threads):
            thread.join(15)

    def wait_idle(self, timeout: float = 600.0, counts: Callable[[Doc], bool] = lambda _: True) -> bool:
        """Wait until no event waits and no run that `counts` moves; one that no runner is there for does not."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with self._lock:
                if self._handling == 0 and all(one.stuck for one in self._running.values() if counts(one.doc)):
                    return True
            time.sleep(0.03)
        return False

    def wake(self) -> None:
        """Let jobs and runs that wait look again whether they were cancelled."""
        self.groups.wake()
        self.pool.wake()

    def check_inputs(self, repo: str, path: str, ref: str, given: Mapping[str, str]) -> dict[str, str]:
        """Inputs of a dispatch, completed by defaults. Raises Problem 404 for no such file, 422 for wrong inputs."""
        sha = self.hub.commit_of(repo, ref)
        text = self.hub.bare(repo).file(sha, path) if sha else None
        if text is None:
            raise Problem(404, "Not Found")
        try:
            return validate_inputs(flow.parse(text.decode("utf-8", "replace")), given)
        except ValueError as error:
            raise Problem(422, str(error)) from error

    def cancel(self, repo: str, run_id: int) -> None:
        """Stop a run: its step gets SIGINT, later SIGTERM and SIGKILL; steps and jobs with `always()` still run."""
        with self._lock:
            execution = self._running.get(run_id)
        if execution is not None and execution.repo == repo:
            execution.cancel()
            return
        run = self.state.get("run", repo, run_id)
        if run and run["status"] != "completed":
            self._finish(repo, run, "cancelled")

    def rerun(self, repo: str, run_id: int, failed_only: bool = False, actor: str | None = None) -> None:
        """Run again as the next attempt, with the same event and commit; also approves a run that waits for it.

        With `failed_only`, jobs that succeeded and need no failed one are taken over. Raises Problem 403 or 404.
        """
        run = self.state.get("run", repo, run_id)
        if run is None:
            raise Problem(404, "Not Found")
        if run["status"] != "completed":
            raise Problem(403, "The workflow run is already running")
        before = self._running.get(run_id)
        if before is not None:
            before.over.wait(10)
        run.update(attempt=run["attempt"] + 1, status="queued", conclusion=None, started_at=None, updated_at=now())
        run["triggering_actor"] = actor or run["triggering_actor"]
        try:
            workflow = flow.parse((self.hub.bare(repo).file(run["sha"], run["workflow_path"]) or b"").decode())
            flow.check(workflow)
            group = starting(self, repo, run, workflow)
        except ValueError as error:
            raise Problem(403, f"This workflow run cannot be run again: {error}") from error
        carried = self._carried(repo, run, workflow) if failed_only else {}
        self.state.put("run", repo, run_id, run)
        self._begin(repo, Birth(run=run, workflow=workflow, group=group), carried)

    def _carried(self, repo: str, run: Doc, workflow: Doc) -> dict[tuple[str, int], Doc]:
        """Jobs of the attempt before that need not run again."""
        docs = self.state.list("job", repo, run_id=run["id"], attempt=run["attempt"] - 1)
        again = {doc["key"] for doc in docs if doc["conclusion"] not in ("success", "skipped")}
        jobs = workflow["jobs"]
        again |= {key for key in jobs if again & set(flow.ancestors(jobs, key))}
        bad = {key for key in again if any(one in again for one in flow.ancestors(jobs, key))}
        return {
            (doc["key"], doc["place"]): doc
            for doc in docs
            if doc["key"] not in again or (doc["key"] not in bad and doc["conclusion"] == "success")
        }

    # Events

    def _accept(self, event: HookEvent) -> None:
        # What GITHUB_TOKEN does starts nothing but dispatches; pull requests it opens get runs that wait for approval.
        held = event.name in ("pull_request", "pull_request_target") and event.action in _HELD
        if event.token_kind == "workflow" and event.name not in _ALWAYS and not held:  # noqa: S105 - a kind
            return
        with self._lock:
            self._handling += 1
        self._events.put(event)

    def _work(self) -> None:
        while not self._stopping:
            event = self._events.get()
            if event is None:
                return
            try:
                for birth in born(self, event):
                    self._create(event, birth)
            except Exception as error:
                # A defect of the sandbox itself: kept where a person will look; the next event is handled.
                with (self.state.root / "dispatcher-errors.txt").open("a", encoding="utf-8") as file:
                    file.write(f"{event.name} of {event.repo}\n{''.join(traceback.format_exception(error))}\n")
            finally:
                with self._lock:
                    self._handling -= 1

    def _create(self, event: HookEvent, birth: Birth) -> None:
        run = birth.run
        self.state.put("run", event.repo, run["id"], run)
        if birth.problem:
            failed_at_birth(self.state.root, run, birth.problem)
            self._finish(event.repo, run, "startup_failure")
        elif event.token_kind == "workflow" and event.name not in _ALWAYS:  # noqa: S105 - a kind
            self._finish(event.repo, run, "action_required")
        else:
            self.announce(event.repo, run, "requested")
            self._begin(event.repo, birth, {})

    def _begin(self, repo: str, birth: Birth, carried: dict[tuple[str, int], Doc]) -> None:
        execution = RunExecution(self, repo, birth.run, birth.workflow, birth.group, carried)
        thread = threading.Thread(
            target=self._execute, args=(execution,), daemon=True, name=f"run-{execution.doc['id']}"
        )
        with self._lock:
            self._running[birth.run["id"]] = execution
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        if birth.group is not None:
            self.groups.enter(repo, birth.group, execution)
            if not self.groups.goes(repo, birth.group, execution):
                birth.run["status"] = "pending"
                self.state.put("run", repo, birth.run["id"], birth.run)
        thread.start()

    def _execute(self, execution: RunExecution) -> None:
        run, repo = execution.doc, execution.repo
        try:
            conclusion = execution.execute()
        except Exception as error:
            conclusion = "failure"
            failed_at_birth(self.state.root, run, "".join(traceback.format_exception(error)))
        self._finish(repo, run, conclusion)
        with self._lock:
            self._running.pop(run["id"], None)
        execution.over.set()
        if execution.group is not None:
            self.groups.leave(repo, execution.group, execution)

    def _finish(self, repo: str, run: Doc, conclusion: str) -> None:
        """Close a run and whatever of its jobs is still open."""
        for job in self.state.list("job", repo, run_id=run["id"], attempt=run["attempt"]):
            if job["status"] != "completed":
                job.update(status="completed", conclusion="cancelled", completed_at=now())
                self.state.put("job", repo, job["id"], job)
        run.update(status="completed", conclusion=conclusion, updated_at=now())
        self.state.put("run", repo, run["id"], run)
        self.announce(repo, run, "completed")

    def announce(self, repo: str, run: Doc, action: str) -> None:
        """Emit `workflow_run`; not for runs that GITHUB_TOKEN dispatched, and `requested` not for re-runs."""
        if run["token_kind"] == "workflow" or run.get("chain", 0) >= _MAX_CHAIN or self._stopping:  # noqa: S105 - a kind
            return
        view = show.run(self.hub, repo, run)
        about = show.workflow(self.hub, repo, self.hub.workflow(repo, run["workflow_path"]))
        payload = payload_of(self.hub, repo, run["actor"], action=action, workflow_run=view, workflow=about)
        ref, sha = self.hub.default_tip(repo)
        self.hub.emit(repo, "workflow_run", payload, {"login": run["actor"], "kind": "user"}, ref=ref, sha=sha)

    # What runs need

    def github_context(self, repo: str, run: Doc) -> Doc:
        """The `github` context, as far as the sandbox knows it before a job runs."""
        return context(self.hub, repo, run)

    def mint(self, repo: str, permissions: Mapping[str, str], run_id: int, job: str) -> str:
        """A token for one job, as `github-actions[bot]`; `revoke` ends it."""
        token = "ghs_" + secrets.token_hex(18)
        self.hub.add_token(token, BOT, "workflow", permissions, repo, run_id=run_id, job=job)
        return token

    def revoke(self, token: str) -> None:
        self.state.delete("token", "", token)

    def secrets_of(self, repo: str, environment: str) -> dict[str, str]:
        """Repository secrets and, over them, those of the job's environment."""
        return self._named("secret", repo, environment)

    def variables_of(self, repo: str, environment: str) -> dict[str, str]:
        """Repository variables and, over them, those of the job's environment."""
        return self._named("variable", repo, environment)

    def _named(self, kind: str, repo: str, environment: str) -> dict[str, str]:
        docs = self.state.list(kind, repo)
        chosen = ["", environment] if environment else [""]
        return {doc["name"]: doc["value"] for one in chosen for doc in docs if doc["environment"] == one}

    def set_secret(self, repo: str, name: str, text: str, environment: str = "") -> None:
        """Store a secret of the repository, or of one environment."""
        doc = {"name": name, "value": text, "environment": environment}
        self.state.put("secret", repo, f"{environment}/{name}", doc)

    def set_variable(self, repo: str, name: str, text: str, environment: str = "") -> None:
        """Store a variable of the repository, or of one environment."""
        doc = {"name": name, "value": text, "environment": environment}
        self.state.put("variable", repo, f"{environment}/{name}", doc)

    def artifacts(self, run_id: int) -> Path:
        """Folder with the artifacts of a run, one folder each."""
        return self.state.root / "runs" / str(run_id) / "artifacts"

    def artifacts_changed(self, repo: str, run: Doc) -> None:
        """After a job of a re-run: forget what was packed of artifacts that this attempt uploaded anew."""
        marks = self.artifacts(run["id"]).parent / "uploads" / str(run["attempt"])
        for mark in marks.iterdir() if run["attempt"] > 1 and marks.is_dir() else ():
            self.state.delete("artifact_name", repo, f"{run['id']}/{mark.name}")


def export_actions(source: Path, target: Path) -> Path:
    """A copy of this project's actions without what act would copy in vain (virtual environment, build, tests).

    Args:
        source: a checkout, or the folder `shipped` of the installed package.
    """
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    skip: Callable[[str, list[str]], set[str]] = shutil.ignore_patterns(
        "__pycache__", "*.pyc", "*.egg-info", "sandbox", "shipped"
    )
    for name in ("actions", "requirements"):
        shutil.copytree(source / name, target / name, ignore=skip)
    shutil.copytree(Path(trackside.__file__).parent, target / "src/trackside", ignore=skip)
    shutil.copy(source / "action.yml", target / "action.yml")
    return target
