"""The valid configuration: what every stage reads, already checked and with defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from trackside.documents.run import Direction, Money
from trackside.forge.model import Role

CONFIG_FILE = "trackside.yaml"


@dataclass(frozen=True, kw_only=True)
class MetricPolicy:
    """How a metric of a metrics file is judged. `name` is the dotted path within `file`.

    `tolerance` is absolute: a change for the worse up to it counts as unchanged. `minimum`/`maximum` are hard bounds.
    """

    name: str
    file: str
    direction: Direction = "none"
    minimum: float | None = None
    maximum: float | None = None
    tolerance: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A table (Parquet or CSV) with one row an example: columns for label, score, slices and (optionally) a row id."""

    file: str
    label: str = "label"
    score: str = "score"
    id: str = ""
    slices: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a model card says beside the facts of the run."""

    description: str = ""
    license: str = ""
    intended_use: str = ""
    limitations: str = ""
    how_to_load: str = ""
    tags: tuple[str, ...] = ()
    task: str = ""
    architecture: str = ""


@dataclass(frozen=True, kw_only=True)
class RetrainPolicy:
    """When a retraining pull request is opened and what it changes: once `after` of the last `within` checks found
    drift, or, where that is 0, `after` checks in a row.
    """

    after: int = 2
    within: int = 0
    cooldown_days: int = 7
    update: tuple[str, ...] = ()
    params: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    reviewers: tuple[str, ...] = ()
    auto_merge: bool = False


@dataclass(frozen=True, kw_only=True)
class DriftPolicy:
    """What is compared with what, and what counts as drift. `thresholds` are least effects by column, by `column:test`
    or by metric; `importance` is a file of the run.

    `labels` is a source of labels that come apart, joined on `key`; `decision` is the score from which a row is
    positive.
    """

    reference: str
    current: str
    query: str = ""
    features: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    prediction: str = ""
    label: str = ""
    labels: str = ""
    labels_query: str = ""
    key: str = ""
    time: str = ""
    label_time: str = ""
    slices: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    decision: float = 0.5
    multivariate: bool = False
    importance: str = ""
    min_rows: int = 100
    alpha: float = 0.05
    thresholds: Mapping[str, float] = field(default_factory=dict)
    notify: Literal["issue", "check", "none"] = "issue"
    history: int = 28
    retrain: RetrainPolicy | None = None


@dataclass(frozen=True, kw_only=True)
class DeployTarget:
    """A YAML file that names the image; `repository` is empty for this one, `branch` for its default branch."""

    file: str
    key: str = ""
    repository: str = ""
    branch: str = ""


@dataclass(frozen=True, kw_only=True)
class ImagePolicy:
    """How the image of a service is built and judged. `service` is `file.py:Class`."""

    service: str
    requirements: str
    golden: str
    registry: str = ""
    base_image: str = "python:3.12-slim-bookworm"
    include: tuple[str, ...] = ()
    latency_tolerance: float = 1.5
    deploy: DeployTarget | None = None


@dataclass(frozen=True, kw_only=True)
class StagePolicy:
    """What a version needs to enter a stage of promotion.

    `after` are stages that it must hold or have held; `approvals` how many other people must have approved it; `checks`
    the check runs that must be green; `attestation` and `image` whether it needs a verified attestation, and an image
    that passed its smoke test. `branch` `default`: its commit must be on the default branch.
    """

    stage: str
    after: tuple[str, ...] = ()
    approvals: int = 0
    checks: tuple[str, ...] = ()
    attestation: bool = False
    image: bool = False
    branch: Literal["default", "any"] = "default"


@dataclass(frozen=True, kw_only=True)
class Model:
    """One model. Empty `stages` means all stages of the pipeline. `seeds` are parameter names (dotted).

    `trusted_imports` are names that a pickled model may import beyond the usual libraries' (`module.name`). `gates` are
    the stages that a version goes through, in order, with what each asks for.
    """

    name: str
    path: str
    stages: tuple[str, ...] = ()
    metrics: tuple[MetricPolicy, ...] = ()
    predictions: Predictions | None = None
    seeds: tuple[str, ...] = ()
    trusted_imports: tuple[str, ...] = ()
    card: Card = Card()
    drift: DriftPolicy | None = None
    image: ImagePolicy | None = None
    gates: tuple[StagePolicy, ...] = (StagePolicy(stage="staging"), StagePolicy(stage="prod", after=("staging",)))

    @property
    def promotion(self) -> tuple[str, ...]:
        """Names of the stages, in order."""
        return tuple(one.stage for one in self.gates)

    def gate(self, stage: str) -> StagePolicy | None:
        return next((one for one in self.gates if one.stage == stage), None)


@dataclass(frozen=True, kw_only=True)
class TrainPolicy:
    """When and where training runs.

    `label` is what `on: label` waits for. `requirements` is a hash-pinned file from which the stages' environment is
    made. `gpu_hours_per_pull` caps what the runs of one pull request may use together.
    """

    on: Literal["pull_request", "label", "command"] = "pull_request"
    label: str = "train"
    runs_on: tuple[str, ...] = ("self-hosted", "gpu")
    timeout_minutes: int = 360
    requirements: str = ""
    gpu_hour_price: Money | None = None
    gpu_hours_per_pull: float | None = None
    pass_env: tuple[str, ...] = ()
    """Names of variables that stages may see beside PATH, HOME, LANG and TMPDIR; never secrets."""


@dataclass(frozen=True, kw_only=True)
class ReportPolicy:
    """How reports are published. `template` is a folder (default branch) whose files override single blocks."""

    publisher: Literal["github", "cml"] = "github"
    template: str = ""
    confidence: float = 0.95


@dataclass(frozen=True, kw_only=True)
class Position:
    """Line and column in `trackside.yaml`, both from 1."""

    line: int
    column: int


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole policy. `positions` maps dotted keys (`models.delay.metrics.roc_auc.min`) to where they stand."""

    models: tuple[Model, ...]
    train: TrainPolicy = TrainPolicy()
    report: ReportPolicy = ReportPolicy()
    commands: Mapping[str, Role] = field(default_factory=dict)
    """Least role per comment command."""
    data_branch: str = "trackside-data"
    positions: Mapping[str, Position] = field(default_factory=dict)
    file: str = CONFIG_FILE

    def model(self, name: str) -> Model | None:
        return next((model for model in self.models if model.name == name), None)
