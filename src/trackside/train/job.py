"""What one training run is asked to do, and what it reaches the machine through."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trackside.config.model import Model, TrainPolicy
from trackside.documents.run import Run, Source, Trigger
from trackside.system.clock import Clock, SystemClock
from trackside.system.process import Processes
from trackside.system.workflow import WorkflowCommands


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """One run of one model, the same for every phase.

    `workspace` is the checkout; `state` a folder outside of it where phases hand results on. `dvc_config` is the text
    of the default branch's `.dvc/config` (empty: it has none); None trusts the checkout's own, as on a laptop.
    `input_digest` is what the checkout must have, where one is known already. `recorded` answers the same inputs,
    `baseline` those of the base. `envs` is the folder of cached environments made from `train.requirements`.
    """

    model: Model
    train: TrainPolicy
    source: Source
    trigger: Trigger
    workspace: Path
    state: Path
    envs: Path
    dvc_config: str | None = None
    input_digest: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    recorded: Run | None = None
    baseline: Run | None = None
    champion: bool = False
    """Judge the baseline's model on this run's data too."""
    confidence: float = 0.95
    install: bool = True
    """Make the stages' environment from `train.requirements`; False: they use the Python on PATH."""
    timeout_seconds: float | None = None
    remote_env: Mapping[str, str] = field(default_factory=dict)
    """Credentials of the data remote: only the pull and push phases hand them to DVC."""

    hide: tuple[Path, ...] = ()
    """The user's homes, which stages do not read: they get an empty one. Empty: they have the user's."""

    @property
    def identity(self) -> str:
        """The same for every attempt of the same job: other jobs' state is not this one's."""
        overrides = json.dumps(dict(self.overrides), sort_keys=True)
        return f"{self.trigger.workflow_run_id}|{self.model.name}|{self.source.commit}|{overrides}"

    @property
    def budget_seconds(self) -> float:
        """Wall time for the stages: the job's limit less what pushing and recording need (a tenth, at most 10 min)."""
        if self.timeout_seconds is not None:
            return self.timeout_seconds
        whole = self.train.timeout_minutes * 60.0
        return whole - min(600.0, whole / 10)


@dataclass(frozen=True, kw_only=True)
class TrainPorts:
    """The outside. `nvml` gives NVIDIA's management library, or None where there is no GPU."""

    processes: Processes
    commands: WorkflowCommands
    say: Callable[[str], None]
    nvml: Callable[[], Any]
    clock: Clock = field(default_factory=SystemClock)


def trigger_from(env: Mapping[str, str], *, actor: str = "") -> Trigger:
    """The training job's identity from a runner's environment; `local` outside of a workflow."""
    run = env.get("GITHUB_RUN_ID", "")
    server, repository = env.get("GITHUB_SERVER_URL", ""), env.get("GITHUB_REPOSITORY", "")
    attempt = env.get("GITHUB_RUN_ATTEMPT", "")
    return Trigger(
        event=env.get("GITHUB_EVENT_NAME", "local"),
        actor=actor or env.get("GITHUB_TRIGGERING_ACTOR", "") or env.get("GITHUB_ACTOR", ""),
        workflow=env.get("GITHUB_WORKFLOW", ""),
        workflow_run_id=int(run) if run.isdigit() else None,
        attempt=int(attempt) if attempt.isdigit() else None,
        job=env.get("GITHUB_JOB", ""),
        url=f"{server}/{repository}/actions/runs/{run}" if server and repository and run.isdigit() else "",
    )


def remote_env(text: str) -> dict[str, str]:
    """Credentials given as `NAME=VALUE` lines; blank lines and `#` comments are skipped.

    Raises:
        ConfigError: a line without a name (its value is not shown).
    """
    from trackside.errors import ConfigError

    made: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier() or name.startswith(("LD_", "PYTHON", "GITHUB_", "DVC_")):
            raise ConfigError(
                f"line {number} of TRACKSIDE_REMOTE_ENV is not NAME=VALUE of a credential",
                remedy="write one per line, such as AWS_ACCESS_KEY_ID=…",
                link="security.md",
            )
        made[name] = value.strip()
    return made
