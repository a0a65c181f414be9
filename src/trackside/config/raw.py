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
    ] = "write"


class RawCommands(Raw, frozen=True, kw_only=True):
    train: RawCommand = RawCommand()


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
