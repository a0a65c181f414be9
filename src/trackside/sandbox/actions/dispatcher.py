"""Events to workflow runs: filters, concurrency, runners, a token a job; runs go on threads, jobs through act."""

from __future__ import annotations

import contextlib
import queue
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from trackside.sandbox.actions import workflow as flow
from trackside.sandbox.actions.act import ActRunner
from trackside.sandbox.actions.expressions import ExpressionError, render, value
from trackside.sandbox.actions.jobs import RunExecution
from trackside.sandbox.bus import HookEvent
from trackside.sandbox.git import Change
from trackside.sandbox.hub import BOT, Hub, Problem, now
from trackside.sandbox.state import Doc
from trackside.sandbox.views.core import repo as show_repo

_ALWAYS = ("workflow_dispatch", "repository_dispatch")


@dataclass(frozen=True, kw_only=True)
class Runner:
    """A machine that takes jobs asking for a subset of its labels; `kind` names its home folder and tool cache."""

    name: str
    labels: frozenset[str]
    kind: str


HOSTED = Runner(name="Hosted 1", labels=frozenset({"ubuntu-latest", "ubuntu-24.04", "ubuntu-22.04"}), kind="hosted")
GPU = Runner(name="gpu-1", labels=frozenset({"self-hosted", "linux", "x64", "gpu"}), kind="self-hosted")


class Dispatcher:
    """Listens to the bus and runs what events start.

    Args:
        hub: the sandbox's hub; its `url` is read when a job starts.
        env: the machine's environment that jobs may see.
        actions: action repository → folder with its files.
        homes: folder with a home (tool cache, package caches) for each kind of runner; default: in the state.
        runners: the machines; jobs whose labels no runner has stay queued.
    """

    def __init__(
        self,
        hub: Hub,
        env: Mapping[str, str],
        actions: Mapping[str, Path],
        *,
        homes: Path | None = None,
        runners: tuple[Runner, ...] = (HOSTED, GPU),
    ) -> None:
        self.hub, self.state, self.runners = hub, hub.state, runners
        self.homes = homes or hub.state.root / "runners"
        self.act = ActRunner(env, actions)
        self.busy = {runner.name: threading.Lock() for runner in runners}
        self._events: queue.Queue[HookEvent | None] = queue.Queue()
        self._running: dict[int, RunExecution] = {}
        self._threads: list[threading.Thread] = []
        self._lock = threading.RLock()
        self._stopping = False
        self._handling = 0
        hub.bus.subscribe(self._accept)

    def start(self) -> None:
        """Begin to handle events. Runs that an earlier process left unfinished are closed as cancelled."""
        for repo in self.state.list("repo", ""):
            for run in self.state.list("run", repo["full_name"]):
                if run["status"] != "completed":
                    self.finish(repo["full_name"], run, "cancelled")
        thread = threading.Thread(target=self._work, daemon=True, name="dispatcher")
        thread.start()
        self._threads.append(thread)

    def stop(self) -> None:
        """Cancel what runs and wait for it."""
        self._stopping = True
        self._events.put(None)
        with self._lock:
            running = list(self._running.values())
        for execution in running:
            execution.cancel()
        for thread in list(self._threads):
            thread.join(15)

    def wait_idle(self, timeout: float = 600.0) -> bool:
        """Wait until no event waits and no run is under way; runs that wait for a runner do not count."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            with self._lock:
                active = [one for one in self._running.values() if not one.starved]
                if self._handling == 0 and not active:
                    return True
            time.sleep(0.05)
        return False

    def check_inputs(self, repo: str, path: str, ref: str, given: dict[str, str]) -> dict[str, str]:
        """Inputs of a dispatch, completed by defaults. Raises Problem 422."""
        text = self.hub.bare(repo).file(ref if ref.startswith("refs/") else f"refs/heads/{ref}", path)
        if text is None:
            raise Problem(404, "Not Found")
        try:
            return flow.checked_inputs(flow.parse(text.decode()), given)
        except (ValueError, yaml.YAMLError) as error:
            raise Problem(422, str(error)) from error

    def cancel(self, repo: str, run_id: int) -> None:
        """Stop a run: its process tree gets SIGTERM, jobs with `always()` still run."""
        with self._lock:
            execution = self._running.get(run_id)
        if execution is not None:
            execution.cancel()
            return
        run = self.state.get("run", repo, run_id)
        if run and run["status"] != "completed":
            self.finish(repo, run, "cancelled")

    def rerun(self, repo: str, run_id: int) -> None:
        """Run all jobs again as the next attempt, with the same event and commit."""
        run = self.state.get("run", repo, run_id)
        if run is None or run["status"] != "completed":
            raise Problem(403, "The workflow run is already running")
        run.update(attempt=run["attempt"] + 1, status="queued", conclusion=None, started_at=None, updated_at=now())
        self.state.put("run", repo, run_id, run)
        self._begin(repo, run)

    def fire_schedule(self, repo: str, cron: str) -> None:
        """Start the workflows that have this cron line, as GitHub would at its minute."""
        default = self.hub.repo(repo)["default_branch"]
        sha = self.hub.bare(repo).sha(f"refs/heads/{default}") or ""
        payload = {"schedule": cron, "repository": show_repo(self.hub, repo)}
        event = HookEvent(
            repo=repo,
            name="schedule",
            action=None,
            payload=payload,
            ref=f"refs/heads/{default}",
            sha=sha,
            sender=repo.split("/")[0],
        )
        self._accept(event)

    # Events

    def _accept(self, event: HookEvent) -> None:
        # What GITHUB_TOKEN does starts nothing but dispatches.
        if event.token_kind == "workflow" and event.name not in _ALWAYS:  # noqa: S105 - a kind, not a secret
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
                self._handle(event)
            finally:
                with self._lock:
                    self._handling -= 1

    def _handle(self, event: HookEvent) -> None:
        bare = self.hub.bare(event.repo)
        for entry in bare.tree(event.sha, path=".github/workflows/"):
            if not entry.path.endswith((".yml", ".yaml")) or (event.workflow and event.workflow != entry.path):
                continue
            text = bare.blob(entry.sha).decode("utf-8", "replace")
            try:
                workflow = flow.parse(text)
                changed = [one.path for one in self._changes(event)] if "paths" in text else []
                if not flow.starts(workflow, event, changed):
                    continue
            except (ValueError, yaml.YAMLError):
                continue  # GitHub lists such a file as failed and starts nothing of it either
            self._create(event, entry.path, workflow)

    def _changes(self, event: HookEvent) -> list[Change]:
        bare = self.hub.bare(event.repo)
        if "pull_request" in event.payload:
            pull = event.payload["pull_request"]
            base, head = pull["base"]["sha"], pull["head"]["sha"]
            return bare.changed(bare.merge_base(base, head) or base, head)
        before = event.payload.get("before", "")
        return bare.changed(before, event.sha) if before.strip("0") else []

    def _create(self, event: HookEvent, path: str, workflow: Doc) -> None:
        repo = event.repo
        run_id = event.run_id or self.state.next("id")
        pull = event.payload.get("pull_request")
        branch = pull["head"]["ref"] if pull else event.ref.removeprefix("refs/heads/")
        contexts = {"github": self.github_context(event, run_id), "inputs": event.inputs, "vars": {}}
        title = pull["title"] if pull else str(workflow.get("name") or path)
        group, in_progress = None, False
        with contextlib.suppress(ExpressionError):
            title = render(str(workflow.get("run-name") or title), contexts)
            settings = workflow.get("concurrency")
            if settings:
                settings = {"group": settings} if isinstance(settings, str) else settings
                group = render(str(settings["group"]), contexts)
                in_progress = value(settings.get("cancel-in-progress", False), contexts) is True
        run: Doc = {
            "id": run_id,
            "run_number": self.state.next(f"run:{repo}:{path}"),
            "attempt": 1,
            "workflow_path": path,
            "workflow_name": str(workflow.get("name") or path),
            "event": event.name,
            "event_payload": event.payload,
            "ref": event.ref,
            "head_branch": branch,
            "head_sha": pull["head"]["sha"] if pull else event.sha,
            "sha": event.sha,
            "actor": event.sender,
            "triggering_actor": event.sender,
            "token_kind": event.token_kind,
            "display_title": title,
            "status": "queued",
            "conclusion": None,
            "concurrency_group": group,
            "inputs": event.inputs,
            "created_at": now(),
            "started_at": None,
            "updated_at": now(),
        }
        self.state.put("run", repo, run_id, run)
        if group:
            self._make_room(repo, run, group, in_progress)
        self._begin(repo, run)

    def _make_room(self, repo: str, run: Doc, group: str, in_progress: bool) -> None:
        """Concurrency: a newer run cancels the group's pending one, and with cancel-in-progress the running one."""
        for other in self.state.list("run", repo, concurrency_group=group):
            if other["id"] != run["id"] and other["status"] != "completed":
                with self._lock:
                    execution = self._running.get(other["id"])
                if execution is None or execution.waiting or in_progress:
                    self.cancel(repo, other["id"])

    def _begin(self, repo: str, run: Doc) -> None:
        with self._lock:
            blockers = [
                one
                for one in self._running.values()
                if run["concurrency_group"]
                and one.repo == repo
                and one.run["concurrency_group"] == run["concurrency_group"]
            ]
            execution = RunExecution(self, repo, run, blockers)
            self._running[run["id"]] = execution
        thread = threading.Thread(target=self._execute, args=(execution,), daemon=True, name=f"run-{run['id']}")
        self._threads.append(thread)
        thread.start()

    def _execute(self, execution: RunExecution) -> None:
        try:
            conclusion = execution.execute()
        except Exception as error:
            conclusion = "failure"
            execution.complain(error)
        finally:
            with self._lock:
                self._running.pop(execution.run["id"], None)
        self.finish(execution.repo, execution.run, conclusion)
        execution.done.set()

    # What runs need

    def finish(self, repo: str, run: Doc, conclusion: str) -> None:
        """Close a run and whatever of its jobs is still open."""
        for job in self.state.list("job", repo, run_id=run["id"], attempt=run["attempt"]):
            if job["status"] != "completed":
                job.update(status="completed", conclusion="cancelled", completed_at=now())
                self.state.put("job", repo, job["id"], job)
        run.update(status="completed", conclusion=conclusion, updated_at=now())
        self.state.put("run", repo, run["id"], run)

    def github_context(self, event: HookEvent, run_id: int) -> Doc:
        """The `github` context, as far as names, groups and conditions use it."""
        pull = event.payload.get("pull_request") or {}
        return {
            "event": event.payload,
            "event_name": event.name,
            "ref": event.ref,
            "ref_name": event.ref.split("/", 2)[-1],
            "sha": event.sha,
            "repository": event.repo,
            "repository_owner": event.repo.split("/")[0],
            "actor": event.sender,
            "triggering_actor": event.sender,
            "run_id": str(run_id),
            "head_ref": (pull.get("head") or {}).get("ref", ""),
            "base_ref": (pull.get("base") or {}).get("ref", ""),
            "server_url": self.hub.url,
        }

    def runner_for(self, labels: list[str]) -> Runner | None:
        """The first runner that has all labels (upper and lower case alike)."""
        wanted = {label.lower() for label in labels}
        return next((runner for runner in self.runners if wanted <= runner.labels), None)

    def mint(self, repo: str, permissions: Mapping[str, str], run_id: int, job: str) -> str:
        """A token for one job, as `github-actions[bot]`; `revoke` ends it."""
        self.hub.add_user(BOT, "Bot")
        token = "ghs_" + secrets.token_hex(18)
        self.hub.add_token(token, BOT, "workflow", permissions, repo, run_id=run_id, job=job)
        return token

    def revoke(self, token: str) -> None:
        self.state.delete("token", "", token)

    def secrets_of(self, repo: str, environment: str) -> dict[str, str]:
        """Repository secrets and, over them, those of the job's environment."""
        found = {doc["name"]: doc["value"] for doc in self.state.list("secret", repo, environment="")}
        if environment:
            found |= {doc["name"]: doc["value"] for doc in self.state.list("secret", repo, environment=environment)}
        return found

    def set_secret(self, repo: str, name: str, text: str, environment: str = "") -> None:
        """Store a secret of the repository, or of one environment."""
        doc = {"name": name, "value": text, "environment": environment}
        self.state.put("secret", repo, f"{environment}/{name}", doc)

    def artifacts(self, run_id: int) -> Path:
        return self.state.root / "runs" / str(run_id) / "artifacts"


def export_actions(source: Path, target: Path) -> Path:
    """A copy of this project's actions without what act would copy in vain (virtual environment, build, tests)."""
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(parents=True)
    skip = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", "sandbox")
    for name in ("actions", "requirements", "src"):
        shutil.copytree(source / name, target / name, ignore=skip)
    shutil.copy(source / "action.yml", target / "action.yml")
    return target
