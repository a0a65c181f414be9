"""One job through act: its own file, folder, home and token; how it is stopped, and what came of it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from trackside.sandbox.actions import alone, stopping
from trackside.sandbox.actions.expressions import asks_status, render
from trackside.sandbox.actions.joblog import JobLog, Masks, step_name
from trackside.sandbox.actions.values import ExpressionError
from trackside.system.process import Child, Processes

Doc = dict[str, Any]

SHIMS = (
    "actions/attest",
    "actions/checkout",
    "actions/download-artifact",
    "actions/setup-python",
    "actions/upload-artifact",
)
"""Actions that the sandbox brings along: whatever ref a workflow names."""
AFTER_CANCEL_SECONDS = 300.0
"""How long steps with always() may run after a cancel."""
_USES = re.compile(r"""\buses["']?\s*:\s*["']?([^\s"'#,}]+)""")


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A job ready to run. `known` are the contexts whose values are put in."""

    key: str
    workflow: Doc
    declared: Doc
    """What `on:` says of the event, the inputs of a dispatch among it."""
    known: Mapping[str, Any]
    event_name: str
    event: Doc
    sha: str
    bare: Path
    folder: Path
    runner_home: Path
    keeps_home: bool
    """A self-hosted runner keeps its home; a hosted one begins with an empty one."""
    env: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    variables: Mapping[str, str]
    actor: str
    mark: str
    """RUNNER_TRACKING_ID: by it, processes that a job leaves behind are found."""


@dataclass(kw_only=True)
class JobOutcome:
    """What a job came to."""

    conclusion: str
    outputs: dict[str, str] = field(default_factory=dict)


class RunningJob:
    """A job under way, to be stopped from another thread."""

    def __init__(self, child: Child, log: JobLog, steps: list[Doc], grace: tuple[float, float]) -> None:
        self._child, self._log, self._steps, self._grace = child, log, steps, grace
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self.interrupted: int | None = None
        """Place of the step that was stopped."""
        self.stopped = False

    def cancel(self, why: str) -> None:
        """Stop the step that runs, let steps with always() and cancelled() follow; once."""
        with self._lock:
            if self.stopped or self._child.returncode is not None:
                return
            self.stopped = True
            place = self._log.running
            self._log.write(f"##[error]{why}", place if place is not None else -1)
            self._timer = threading.Timer(AFTER_CANCEL_SECONDS, stopping.kill_tree, (self._child.pid,))
            self._timer.daemon = True
            self._timer.start()
            if place is not None and place < len(self._steps) and not self._goes_on(self._steps[place]):
                self.interrupted = place
                stopping.end_step(self._child.pid, interrupt=self._grace[0], terminate=self._grace[1])
            else:
                stopping.end_step(self._child.pid, interrupt=0, terminate=0, touch=False)

    @staticmethod
    def _goes_on(step: Doc) -> bool:
        """A step that runs in spite of a cancel is not stopped by one."""
        text = str(step.get("if", ""))
        return asks_status(text) and ("always" in text or "cancelled" in text)

    def kill(self) -> None:
        """End everything at once."""
        self.stopped = True
        if self._child.returncode is None:
            stopping.kill_tree(self._child.pid)

    def over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


class ActRunner:
    """Runs jobs with act in host mode.

    Args:
        env: the environment that jobs see beside their own variables.
        actions: action repository (`owner/name`) → folder with its files.
        grace: seconds between SIGINT and SIGTERM, and between SIGTERM and SIGKILL, for a step that is cancelled.
    """

    def __init__(
        self, env: Mapping[str, str], actions: Mapping[str, Path], grace: tuple[float, float] = (7.5, 2.5)
    ) -> None:
        self.env, self.grace = dict(env), grace
        shims = files("trackside.sandbox.actions") / "shims"
        self.actions = {name: Path(str(shims / name.split("/")[1])) for name in SHIMS} | dict(actions)
        beside = shutil.which("act", path=str(Path(sys.executable).parent))
        self.act = beside or shutil.which("act", path=self.env.get("PATH")) or "act"

    def run(
        self, spec: JobSpec, *, started: Callable[[RunningJob], None], changed: Callable[[list[Doc]], None]
    ) -> JobOutcome:
        """Run to the end. `started` gets the handle to stop it, `changed` the steps whenever one moves."""
        steps = spec.workflow["jobs"][spec.key]["steps"]
        masks = Masks(spec.secrets)
        names = [_shown(step_name(step), spec.known) for step in steps]
        log = JobLog(spec.folder / "log.txt", steps, names, masks, changed)
        running: RunningJob | None = None
        try:
            argv = self._prepare(spec)
            home = spec.folder / "act-home"
            env = {**self.env, "HOME": str(home)}
            child = Processes(env).spawn(argv, cwd=spec.folder / "repo")
            running = RunningJob(child, log, steps, self.grace)
            started(running)
            for line in child.lines():
                if '"jobID"' in line:
                    # act has read its files: code of the job finds none of them.
                    _forget(spec)
                log.feed(line)
            child.wait()
        finally:
            _forget(spec)
            stopping.end_orphans(spec.mark)
            if running is not None:
                running.over()
            log.close(running.interrupted if running else None)
            for name in ("repo", "act-home", "tmp", "home"):
                shutil.rmtree(spec.folder / name, ignore_errors=True)
        conclusion = "success" if log.result == "success" else "failure"
        return JobOutcome(conclusion=conclusion, outputs=self._outputs(spec, masks, log))

    def _prepare(self, spec: JobSpec) -> list[str | Path]:
        """Write the folder's files: a repository at the right commit, event, values, the job's own workflow."""
        repo, folder = spec.folder / "repo", spec.folder
        home = spec.runner_home / "home" if spec.keeps_home else folder / "home"
        for path in (home, folder / "tmp", folder / "act-home"):
            path.mkdir(parents=True, exist_ok=True)
        git = Processes({**self.env, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(folder / "act-home")})
        git.run(["git", "init", "--quiet", "--initial-branch=sandbox", repo])
        (repo / ".git/objects/info/alternates").write_text(f"{spec.bare}/objects\n")
        git.run(["git", "-C", repo, "update-ref", "refs/heads/sandbox", spec.sha])
        own = {"HOME": str(home), "TMPDIR": str(folder / "tmp"), "RUNNER_TRACKING_ID": spec.mark}
        (folder / "event.json").write_text(json.dumps(spec.event))
        for name, found in (("secrets", spec.secrets), ("variables", spec.variables), ("env", {**spec.env, **own})):
            path = folder / f"{name}.yml"
            path.touch(mode=0o600)
            path.write_text(json.dumps(found))
        made = alone.cut_out(spec.workflow, spec.key, spec.event_name, spec.declared, spec.known, folder)
        (folder / "job.yml").write_text(yaml.safe_dump(made, sort_keys=False, allow_unicode=True))
        texts = [(folder / "job.yml").read_text()]
        if re.search(r"uses: ['\"]?\./", texts[0]):
            texts += self._local_definitions(git, repo)
        return self._argv(spec, texts)

    @staticmethod
    def _local_definitions(git: Processes, repo: Path) -> list[str]:
        """Every action file of the commit: the actions that these name must be known before act starts."""
        names = git.run(["git", "-C", repo, "ls-tree", "-r", "-z", "--name-only", "sandbox"]).text.split("\0")
        found = [name for name in names if name.rsplit("/", 1)[-1] in ("action.yml", "action.yaml")]
        return [git.run(["git", "-C", repo, "cat-file", "blob", f"sandbox:{name}"]).text for name in found]

    def _argv(self, spec: JobSpec, texts: list[str]) -> list[str | Path]:
        folder = spec.folder
        argv: list[str | Path] = [self.act, spec.event_name, "-W", folder / "job.yml", "-e", folder / "event.json"]
        argv += ["-P", f"{alone.LABEL}=-self-hosted", "--json", "--rm", "--no-cache-server", "--no-skip-checkout"]
        argv += ["--actor", spec.actor, "--action-offline-mode", "--action-cache-path", spec.runner_home / "act"]
        for name in ("secret", "var", "env"):
            path = {"secret": "secrets", "var": "variables"}.get(name, name)
            argv += [f"--{name}-file", folder / f"{path}.yml"]
        for repository, ref, source in sorted(self._used(texts)):
            argv += ["--local-repository", f"{repository}@{ref}={source}"]
        return argv

    def _used(self, texts: list[str]) -> set[tuple[str, str, str]]:
        """Actions that files name and the sandbox has, with those that these name in turn."""
        found: set[tuple[str, str, str]] = set()
        waiting = list(texts)
        while waiting:
            for used in _USES.findall(waiting.pop()):
                target, _, ref = used.partition("@")
                repository = "/".join(target.split("/")[:2])
                source = self.actions.get(repository)
                row = (repository, ref, str(source))
                if source is not None and row not in found:
                    found.add(row)
                    waiting += list(_definitions(source))
        return found

    @staticmethod
    def _outputs(spec: JobSpec, masks: Masks, log: JobLog) -> dict[str, str]:
        """Outputs; one that holds a secret is dropped, as on GitHub."""
        found = {}
        for name, path in alone.output_files(spec.workflow["jobs"][spec.key], spec.folder).items():
            text = path.read_text(errors="replace") if path.exists() else ""
            path.unlink(missing_ok=True)
            if masks.in_text(text):
                with log.path.open("a", encoding="utf-8") as file:
                    file.write(f"##[warning]Skip output '{name}' since it may contain secret.\n")
                text = ""
            found[name] = text
        return found


def _definitions(source: Path) -> Iterator[str]:
    for path in source.rglob("action.y*ml"):
        yield path.read_text(errors="replace")


def _shown(name: str, known: Mapping[str, Any]) -> str:
    try:
        return render(name, known)
    except ExpressionError:
        return name


def _forget(spec: JobSpec) -> None:
    for name in ("secrets", "variables", "env"):
        (spec.folder / f"{name}.yml").unlink(missing_ok=True)
