"""The file as people write it: types with descriptions, from which the JSON Schema for editors is generated."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

NAME = r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,98}[A-Za-z0-9])?$"
"""Model names are tag prefixes and check names: letters, digits, `-` and `_`."""

Path = Annotated[str, Meta(pattern=r"^(?!/)(?!.*(^|/)\.\.(/|$))[^\x00-\x1f]+$", max_length=400)]
"""A relative path that stays inside the repository."""


class Raw(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """Base of all raw sections."""


class RawMetric(Raw, frozen=True, kw_only=True):
    file: Annotated[Path, Meta(description="Metrics file (JSON, YAML or TOML) that a stage writes.")]
    direction: Annotated[
        Literal["max", "min", "none"], Meta(description="Which way is better; none: shown, never judged.")
    ] = "none"
    min: Annotated[float | None, Meta(description="The gate fails below this value.")] = None
    max: Annotated[float | None, Meta(description="The gate fails above this value.")] = None
    tolerance: Annotated[float, Meta(ge=0, description="A change for the worse up to this (absolute) is accepted.")] = (
        0.0
    )


class RawPredictions(Raw, frozen=True, kw_only=True):
    file: Annotated[Path, Meta(description="Parquet or CSV, one row an example.")]
    label: Annotated[str, Meta(description="Column with the true value.")] = "label"
    score: Annotated[str, Meta(description="Column with the predicted probability or value.")] = "score"
    id: Annotated[str, Meta(description="Column that identifies a row; default: rows are matched by order.")] = ""
    slices: Annotated[list[str], Meta(description="Columns to compare group by group.")] = []


class RawCard(Raw, frozen=True, kw_only=True):
    description: Annotated[str, Meta(description="What the model does, in a sentence or two.")] = ""
    license: Annotated[str, Meta(description="SPDX identifier, in lower case as the Hugging Face Hub writes it.")] = ""
    intended_use: Annotated[str, Meta(description="What the model is for, and what it is not for.")] = ""
    limitations: Annotated[str, Meta(description="Known limits and biases.")] = ""
    how_to_load: Annotated[str, Meta(description="Python code that loads the model file.")] = ""
    tags: Annotated[list[str], Meta(description="Words to find the model by.")] = []
    task: Annotated[
        str, Meta(description="Kind of task, as the Hugging Face Hub calls it: `tabular-classification`.")
    ] = ""
    architecture: Annotated[str, Meta(description="What the model is: `gradient boosted trees`, `ResNet-50`.")] = ""


class RawRetrain(Raw, frozen=True, kw_only=True):
    after: Annotated[
        Annotated[int, Meta(ge=1, le=365)] | Annotated[str, Meta(pattern=r"^[1-9]\d{0,2} of [1-9]\d{0,2}$")],
        Meta(description="Checks in a row that must find drift, or `k of m`: k of the last m."),
    ] = 2
    cooldown_days: Annotated[int, Meta(ge=0, le=365, description="Days without a new proposal after the last one.")] = 7
    update: Annotated[
        list[Path], Meta(description="`.dvc` files of imports that are brought to their newest revision.")
    ] = []
    params: Annotated[
        dict[str, str | int | float | bool],
        Meta(description="Parameters to set, by dotted name; texts may hold date placeholders such as {month-1}."),
    ] = {}
    reviewers: Annotated[
        list[str], Meta(description="Who is asked to review: users, or teams as `team/<slug>` (needs an App token).")
    ] = []
    auto_merge: Annotated[bool, Meta(description="Merge when the gate passes.")] = False


class RawDrift(Raw, frozen=True, kw_only=True):
    reference: Annotated[
        Path, Meta(description="Table that the run made or read; its profile is released with the version.")
    ]
    current: Annotated[
        str,
        Meta(
            min_length=1,
            description="New data: a path, glob, DVC target, URL or SQLAlchemy URL, with date placeholders such as "
            "{yesterday}, {date}, {month} and {year}.",
        ),
    ]
    query: Annotated[str, Meta(description="The SELECT, where `current` is an SQLAlchemy URL.")] = ""
    features: Annotated[list[str], Meta(description="Columns to compare; default: all that are nothing else.")] = []
    ignore: Annotated[list[str], Meta(description="Columns to leave out, such as row ids.")] = []
    prediction: Annotated[str, Meta(description="Column with the model's score or value.")] = ""
    label: Annotated[str, Meta(description="Column with the true value; may be absent or empty until it arrives.")] = ""
    labels: Annotated[
        str, Meta(description="Where labels arrive that `current` lacks: as `current`; needs `key` and `label`.")
    ] = ""
    labels_query: Annotated[str, Meta(description="The SELECT, where `labels` is an SQLAlchemy URL.")] = ""
    key: Annotated[str, Meta(description="Column that identifies a row in `current` and in `labels`.")] = ""
    time: Annotated[
        str, Meta(description="Column with the time of a prediction, from which a label's delay counts.")
    ] = ""
    label_time: Annotated[str, Meta(description="Column of `labels` with the time at which a label was known.")] = ""
    slices: Annotated[list[str], Meta(description="Columns by whose values the metric is judged group by group.")] = []
    segments: Annotated[
        list[str], Meta(description="Columns of categories by whose levels all others are compared once more.")
    ] = []
    decision: Annotated[
        float, Meta(gt=0, lt=1, description="Score from which a row counts as positive (accuracy, F1 and the like).")
    ] = 0.5
    multivariate: Annotated[
        bool, Meta(description="Where the reference's rows are at hand, look at all features together too.")
    ] = False
    importance: Annotated[
        Path | Literal[""],
        Meta(description="JSON file of the run, column to number: what the model relies on is told first."),
    ] = ""
    min_rows: Annotated[int, Meta(ge=1, description="Fewer current rows are insufficient data.")] = 100
    alpha: Annotated[float, Meta(gt=0, lt=0.5, description="False discovery rate over the columns.")] = 0.05
    thresholds: Annotated[
        dict[str, float],
        Meta(
            description="Least effect that matters, by column (D of numbers, w of categories), `column:test` or metric."
        ),
    ] = {}
    notify: Annotated[
        Literal["issue", "check", "none"], Meta(description="Where drift is told, beside the job summary.")
    ] = "issue"
    history: Annotated[int, Meta(ge=1, le=400, description="Checks shown in reports.")] = 28
    retrain: Annotated[RawRetrain | None, Meta(description="Propose retraining by pull request.")] = None


class RawDeploy(Raw, frozen=True, kw_only=True):
    file: Annotated[Path, Meta(description="Kustomization, Helm values or any YAML file that names the image.")]
    key: Annotated[
        str, Meta(description="Dotted path of the value, such as `image.digest`; not needed for a kustomization.")
    ] = ""
    repository: Annotated[
        str, Meta(pattern=r"^([\w.-]+/[\w.-]+)?$", description="Where the file is; another one needs an App token.")
    ] = ""
    branch: Annotated[str, Meta(description="Branch to propose to; default: the default branch.")] = ""


class RawImage(Raw, frozen=True, kw_only=True):
    service: Annotated[
        str,
        Meta(pattern=r"^(?!/)(?!.*\.\.)[\w./-]+\.py:[A-Za-z_]\w*$", description="BentoML service as `file.py:Class`."),
    ]
    requirements: Annotated[Path, Meta(description="Hash-pinned requirements file of the service.")]
    golden: Annotated[Path, Meta(description="Recorded requests and answers (JSON lines) for the smoke test.")]
    registry: Annotated[str, Meta(description="Repository to push to, such as `ghcr.io/acme/delay`.")] = ""
    base_image: Annotated[str, Meta(description="Image to build on, best pinned by digest.")] = (
        "python:3.12-slim-bookworm"
    )
    include: Annotated[list[str], Meta(description="Files and globs of the repository that the service needs.")] = []
    latency_tolerance: Annotated[
        float, Meta(ge=1, description="Median latency over that of the last released image; above it, the build fails.")
    ] = 1.5
    deploy: Annotated[RawDeploy | None, Meta(description="Propose the new digest by pull request.")] = None


STAGE = r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,48}[A-Za-z0-9])?$"
"""Stages of promotion are parts of tags."""


Stage = Annotated[str, Meta(pattern=STAGE)]


class RawPromotion(Raw, frozen=True, kw_only=True):
    stage: Annotated[Stage, Meta(description="Name of the stage, such as `prod`.")]
    after: Annotated[
        str | list[str] | None,  # checked by name; msgspec 0.22 crashes where both alternatives have a pattern
        Meta(
            description="Stages that the version must hold or have held; default: the one listed before, `[]` for none."
        ),
    ] = None
    approvals: Annotated[
        int, Meta(ge=0, le=10, description="People beside the one who asks who must have approved the version.")
    ] = 0
    checks: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=200)]],
        Meta(description="Check runs that must be green on the release's commit, or on its pull request's head."),
    ] = []
    attestation: Annotated[bool, Meta(description="The model file needs an attestation that verifies.")] = False
    image: Annotated[bool, Meta(description="The version needs a pushed image that passed its whole smoke test.")] = (
        False
    )
    branch: Annotated[
        Literal["default", "any"], Meta(description="`default`: only versions of the default branch.")
    ] = "default"


class RawModel(Raw, frozen=True, kw_only=True):
    path: Annotated[Path, Meta(description="The model file (or folder) that a release carries.")]
    stages: Annotated[list[str], Meta(description="DVC stages that make the model; default: all.")] = []
    metrics: Annotated[dict[str, RawMetric], Meta(description="Metrics by dotted path within their file.")] = {}
    predictions: Annotated[
        RawPredictions | None, Meta(description="Per-row predictions: intervals and slices in the report.")
    ] = None
    seeds: Annotated[
        list[str], Meta(description="Parameters that are random seeds; default: those named seed or random_state.")
    ] = []
    trusted_imports: Annotated[
        list[str],
        Meta(description="Names (module.name) that a pickled model may import beside those of the usual libraries."),
    ] = []
    card: RawCard = RawCard()
    drift: Annotated[RawDrift | None, Meta(description="Compare production data with what was trained on.")] = None
    image: Annotated[RawImage | None, Meta(description="Build an image of a BentoML service.")] = None
    promotion: Annotated[
        list[Stage | RawPromotion],
        Meta(description="Stages in order, by name or with what they ask for; each needs the one before."),
    ] = msgspec.field(default_factory=lambda: ["staging", "prod"])


class RawMoney(Raw, frozen=True, kw_only=True):
    amount: Annotated[float, Meta(ge=0)]
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$", description="ISO 4217, such as USD.")]


class RawTrain(Raw, frozen=True, kw_only=True):
    on: Annotated[
        Literal["pull_request", "label", "command"],
        Meta(description="What starts training: every push to a pull request, a label, or a comment command only."),
    ] = "pull_request"
    label: Annotated[str, Meta(min_length=1, description="The label that `on: label` waits for.")] = "train"
    runs_on: Annotated[
        str | list[str], Meta(description="Runner labels of the training job; policy of the default branch.")
    ] = msgspec.field(default_factory=lambda: ["self-hosted", "gpu"])
    timeout_minutes: Annotated[
        int, Meta(ge=1, le=7200, description="Training is stopped, and recorded, after this.")
    ] = 360
    requirements: Annotated[
        str, Meta(description="Hash-pinned requirements file from which the stages' environment is made.")
    ] = ""
    gpu_hour_price: Annotated[RawMoney | None, Meta(description="Shown as cost in reports.")] = None
    gpu_hours_per_pull: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="What the runs of one pull request may use together, in GPU hours."),
    ] = None
    pass_env: Annotated[
        list[str], Meta(description="Variables that stages may see beside PATH, HOME, LANG and TMPDIR; never secrets.")
    ] = []


class RawReport(Raw, frozen=True, kw_only=True):
    publisher: Annotated[Literal["github", "cml"], Meta(description="Who writes the comment.")] = "github"
    template: Annotated[str, Meta(description="Folder with templates that override blocks of the report.")] = ""
    confidence: Annotated[float, Meta(gt=0.5, lt=1, description="Level of the intervals.")] = 0.95


class RawCommand(Raw, frozen=True, kw_only=True):
    permission: Annotated[
        Literal["read", "triage", "write", "maintain", "admin"], Meta(description="Least role that may use it.")
    ]


def _least(role: str) -> RawCommand:
    return RawCommand(permission=role)  # type: ignore[arg-type]


class RawCommands(Raw, frozen=True, kw_only=True):
    train: RawCommand = _least("write")
    cancel: RawCommand = _least("write")
    report: RawCommand = _least("triage")
    release: RawCommand = _least("maintain")
    promote: RawCommand = _least("maintain")
    rollback: RawCommand = _least("maintain")
    deprecate: RawCommand = _least("maintain")
    drift: RawCommand = _least("write")
    retrain: RawCommand = _least("write")
    help: RawCommand = _least("read")


class RawConfig(Raw, frozen=True, kw_only=True):
    version: Annotated[Literal[1], Meta(description="Version of this file's format.")]
    models: Annotated[dict[str, RawModel], Meta(min_length=1, description="Models by name.")]
    train: RawTrain = RawTrain()
    report: RawReport = RawReport()
    commands: RawCommands = RawCommands()
    data_branch: Annotated[
        str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,98}$", description="Orphan branch that holds run records.")
    ] = "trackside-data"


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `trackside.yaml`; unknown keys are errors."""
    schema = msgspec.json.schema(RawConfig)
    for definition in schema["$defs"].values():
        if definition.get("type") == "object" and "properties" in definition:
            definition["additionalProperties"] = False
            definition.pop("title", None)
    models = schema["$defs"]["RawConfig"]["properties"]["models"]
    models["propertyNames"] = {"pattern": NAME}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trackside.yaml",
        **schema,
    }
