"""What deciding needs to know, gathered before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trackside.config.model import Config, Model
from trackside.documents.plan import Subject
from trackside.documents.run import Run
from trackside.errors import TracksideError
from trackside.forge.model import Annotation, WorkflowRun
from trackside.plan.pipeline import PipelineInputs


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """One model: its inputs in the commit and in the base, or why they cannot be read, and what is recorded."""

    model: Model
    current: PipelineInputs | None = None
    baseline: PipelineInputs | None = None
    error: TracksideError | None = None
    recorded: Run | None = None
    baseline_run: Run | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for: by an event, or by the comment of a person who may.

    `kind`: `event` starts what the policy lets start by itself, `train` what a person asked for, `report` nothing.
    `model` is empty for all; `overrides` make it an experiment; `comment` is the comment's number, `author` its author.
    """

    kind: Literal["event", "train", "report"] = "event"
    model: str = ""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    comment: int = 0
    author: str = ""

    @property
    def experiment(self) -> bool:
        return bool(self.overrides)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything, as values.

    Attributes:
        config: policy of the default branch.
        from_fork, draft, labels: of the pull request.
        problem: why no model can be planned (a merge conflict).
        gpu_seconds: what the recorded runs of this pull request used.
        active: training runs that have not ended.
        commented: models that have a comment on this pull request already.
        url: of the pull request; `runs_url` of the list of training runs.
        train_workflow, default_branch: what is dispatched where.
        request: what is asked for, and by whom.
    """

    subject: Subject
    config: Config
    models: Sequence[ModelFacts]
    from_fork: bool = False
    draft: bool = False
    labels: frozenset[str] = frozenset()
    problem: TracksideError | None = None
    gpu_seconds: float = 0.0
    active: Sequence[WorkflowRun] = ()
    commented: frozenset[str] = frozenset()
    policy_changes: Sequence[str] = ()
    url: str = ""
    runs_url: str = ""
    train_workflow: str = "train.yml"
    default_branch: str = "main"
    request: Request = Request()


@dataclass(frozen=True, kw_only=True)
class Published:
    """The report of a recorded run, ready to publish: `body` has the comment's marker; `passed` is its gate."""

    passed: bool
    conclusion: str
    title: str
    summary: str
    body: str
    text: str = ""
    annotations: tuple[Annotation, ...] = field(default=())


Reporter = Callable[[Run, Run | None, Model, Facts], Published]
"""(recorded run, baseline run, model, facts) → its report against this baseline."""
