"""One job through act: a workflow file of that job alone, a token of its own, and what came of it."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from trackside.sandbox.hub import now
from trackside.system.process import Child, Processes

Doc = dict[str, Any]

SHIMS = ("actions/checkout", "actions/download-artifact", "actions/setup-python", "actions/upload-artifact")
_CAPTURE = "Sandbox: capture outputs"
_STATES = {"success": "success", "failure": "failure", "skipped": "skipped"}


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """A job ready to run. `definition` is its YAML with `needs` already put in."""

    key: str
    workflow_name: str
    definition: Doc
    workflow_env: Doc
    event_name: str
    declared: Doc
    """What `on:` says of the event, the inputs of a dispatch among it."""
    event: Doc
    sha: str
    ref: str
    bare: Path
    folder: Path
    runner: str
    runner_home: Path
    env: Mapping[str, str]
    secrets: Mapping[str, str]
    actor: str


@dataclass(kw_only=True)
class JobOutcome:
    """What a job came to."""

    conclusion: str = "failure"
    outputs: dict[str, str] = field(default_factory=dict)
    steps: list[Doc] = field(default_factory=list)


class ActRunner:
    """Runs jobs with act in host mode.

    Args:
        env: the machine's environment that jobs may see (PATH, LANG, settings of package indexes).
        actions: action repository (`owner/name`) → folder with its files.
    """

    def __init__(self, env: Mapping[str, str], actions: Mapping[str, Path]) -> None:
        self.env, self.actions = dict(env), dict(actions)
        found = shutil.which("act", path=str(Path(sys.executable).parent)) or shutil.which(
            "act", path=self.env.get("PATH")
        )
        self.act = found or "act"

    def run(
        self, spec: JobSpec, *, started: Callable[[Child], None], changed: Callable[[list[Doc]], None]
    ) -> JobOutcome:
        """Run to the end. `started` gets the process (to stop it), `changed` the steps whenever one moves."""
        workflow = self._prepare(spec)
        processes = Processes({**self.env, "HOME": str(spec.runner_home / "home")})
        outcome = JobOutcome(steps=_planned_steps(spec.definition))
        with (spec.folder / "log.txt").open("w", encoding="utf-8") as log:
            child = processes.spawn(self._argv(spec, workflow), cwd=spec.folder / "repo")
            started(child)
            for line in child.lines():
                if '"command":"summary"' in line:
                    _keep_summary(line, spec.folder / "summary.md")
                elif _read_line(line, outcome, log):
                    log.flush()
                    changed(outcome.steps)
            child.wait()
        outcome.outputs = _outputs(spec)
        return outcome

    def _prepare(self, spec: JobSpec) -> Path:
        """The folder's files: repository stub at the right commit, event, secrets, single-job workflow."""
        repo = spec.folder / "repo"
        (spec.runner_home / "home").mkdir(parents=True, exist_ok=True)
        processes = Processes({**self.env, "GIT_CONFIG_NOSYSTEM": "1", "HOME": str(spec.folder)})
        processes.run(["git", "init", "--quiet", "--initial-branch=sandbox", repo])
        (repo / ".git/objects/info/alternates").write_text(f"{spec.bare}/objects\n")
        processes.run(["git", "-C", repo, "update-ref", "refs/heads/sandbox", spec.sha])
        (spec.folder / "event.json").write_text(json.dumps(spec.event))
        secrets = spec.folder / "secrets"
        secrets.touch(mode=0o600)
        secrets.write_text("".join(f"{name}={json.dumps(text)}\n" for name, text in spec.secrets.items()))
        job = {
            key: part
            for key, part in spec.definition.items()
            if key not in ("needs", "if", "environment", "concurrency", "permissions")
        }
        job["steps"] = [*job["steps"], _capture_step(job.pop("outputs", None) or {}, spec.folder)]
        job["runs-on"] = "sandbox"
        made = {"name": spec.workflow_name, "on": {spec.event_name: spec.declared}, "env": spec.workflow_env, "jobs": {spec.key: job}}
        path = spec.folder / "job.yml"
        path.write_text(yaml.safe_dump(made, sort_keys=False, allow_unicode=True))
        return path

    def _argv(self, spec: JobSpec, workflow: Path) -> list[str | Path]:
        argv: list[str | Path] = [self.act, spec.event_name, "-W", workflow, "-e", spec.folder / "event.json"]
        argv += [
            "-P",
            "sandbox=-self-hosted",
            "--json",
            "--no-cache-server",
            "--no-skip-checkout",
            "--actor",
            spec.actor,
        ]
        argv += ["--action-offline-mode", "--action-cache-path", spec.runner_home / "act"]
        argv += ["--secret-file", spec.folder / "secrets"]
        for name, text in spec.env.items():
            argv += ["--env", f"{name}={text}"]
        for used in sorted(set(re.findall(r"""uses["']?:\s*["']?([^\s"'#]+)""", workflow.read_text()))):
            target, _, ref = used.partition("@")
            repository = "/".join(target.split("/")[:2])
            folder = self.actions.get(repository)
            if repository in SHIMS:
                folder = Path(str(files("trackside.sandbox.actions") / "shims" / repository.split("/")[1]))
            if folder is not None:
                argv += ["--local-repository", f"{repository}@{ref}={folder}"]
        return argv


def _planned_steps(definition: Doc) -> list[Doc]:
    names = [_step_name(step) for step in definition["steps"]]
    return [
        {
            "number": index + 1,
            "name": name,
            "status": "queued",
            "conclusion": None,
            "started_at": None,
            "completed_at": None,
        }
        for index, name in enumerate(names)
    ]


def _step_name(step: Doc) -> str:
    if "name" in step:
        return str(step["name"])
    return f"Run {step['uses']}" if "uses" in step else "Run " + str(step.get("run", "")).strip().split("\n")[0]


def _capture_step(outputs: Doc, folder: Path) -> Doc:
    """A last step that writes the job's outputs where the sandbox finds them."""
    env = {f"SANDBOX_OUTPUT_{index}": str(text) for index, text in enumerate(outputs.values())}
    lines = ["true"]
    for index, name in enumerate(outputs):
        lines.append(f'printf "%s" "$SANDBOX_OUTPUT_{index}" > {_quoted(folder / ("output-" + name))}')
    return {"name": _CAPTURE, "if": "always()", "shell": "bash", "env": env, "run": "\n".join(lines)}


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


def _outputs(spec: JobSpec) -> dict[str, str]:
    found = {}
    for name in spec.definition.get("outputs") or {}:
        path = spec.folder / f"output-{name}"
        found[str(name)] = path.read_text() if path.exists() else ""
    return found


def _keep_summary(line: str, path: Path) -> None:
    """Append a step's summary, which act reports once the step ended."""
    with path.open("a", encoding="utf-8") as summary:
        summary.write(json.loads(line).get("content", ""))


def _read_line(line: str, outcome: JobOutcome, log: Any) -> bool:
    """Take one line of act's JSON log; True when a step or the job moved."""
    try:
        entry = json.loads(line)
    except ValueError:
        log.write(line + "\n")
        return False
    if "jobResult" in entry:
        outcome.conclusion = _STATES.get(entry["jobResult"], "failure")
        return True
    message = entry.get("msg", "")
    if entry.get("raw_output"):
        if entry.get("stage") == "Main" and _CAPTURE not in entry.get("step", ""):
            log.write(message if message.endswith("\n") else message + "\n")
        return False
    if entry.get("level") == "error":
        log.write(f"##[error]{message}\n")
    if entry.get("stage") != "Main" or len(entry.get("stepID", [])) != 1:
        return False
    return _move_step(entry, message, outcome, log)


def _move_step(entry: Doc, message: str, outcome: JobOutcome, log: Any) -> bool:
    step = _find(outcome.steps, entry)
    if step is None:
        return False
    if message.startswith("⭐ Run Main"):
        step.update(status="in_progress", started_at=now())
        log.write(f"##[step]{step['name']}\n")
        return True
    if "stepResult" in entry:
        step.update(status="completed", conclusion=_STATES.get(entry["stepResult"], "failure"), completed_at=now())
        step["started_at"] = step["started_at"] or now()
        return True
    return False


def _find(steps: list[Doc], entry: Doc) -> Doc | None:
    """The step of a log entry: the first unfinished one of that name, act runs them in order."""
    text = entry.get("step", "")
    for step in steps:
        if step["status"] != "completed":
            same = (
                text in (step["name"], step["name"].removeprefix("Run "))
                or step["name"].removeprefix("Run ") == text.split("\n")[0]
            )
            return step if same else None
    return None
