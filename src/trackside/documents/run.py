"""`trackside.run/1`: what exactly made this model. See DESIGN: the open metadata layer of the whole pipeline.

Digests are `sha256:<64 hex>` or `md5:<32 hex>[.dir]` where DVC gives it; times UTC RFC 3339; sizes in bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

from trackside.documents.codec import Document

Direction = Literal["max", "min", "none"]
Status = Literal["succeeded", "failed", "cancelled", "timed_out"]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the parts of a document."""


class Source(Part, frozen=True, kw_only=True):
    """Which code. `commit` is what was trained (the merge result); `base_commit` its first parent."""

    repository: str
    commit: str
    base_commit: str = ""
    head_commit: str = ""
    head_repository: str = ""
    pull_request: int | None = None
    branch: str = ""
    dirty: bool = False


class Trigger(Part, frozen=True, kw_only=True):
    """Who and what started it; `workflow_run_id` + `attempt` is the training job id."""

    event: str
    actor: str = ""
    workflow: str = ""
    workflow_run_id: int | None = None
    attempt: int | None = None
    job: str = ""
    url: str = ""


class Dependency(Part, frozen=True, kw_only=True):
    """One input: `data` (tracked by DVC), `code` (tracked by git), `lock` (packages) or `external` (a URL)."""

    path: str
    kind: Literal["data", "code", "lock", "external"]
    digest: str
    size: int | None = None
    files: int | None = None


class StageRun(Part, frozen=True, kw_only=True):
    """One DVC stage of this run; `seconds` wall time."""

    name: str
    command: str
    outcome: Literal["executed", "cached", "restored", "failed", "not_run"]
    seconds: float = 0.0
    exit_code: int | None = None


class Environment(Part, frozen=True, kw_only=True):
    """Software. `packages_digest` is over `installed`, the sorted `name==version` lines of what was there.

    `variables` are those that stages saw and that change what arithmetic, threads or sorting do.
    """

    python: str
    os: str
    kernel: str = ""
    architecture: str = ""
    container_image: str = ""
    lock_file: str = ""
    lock_digest: str = ""
    packages_digest: str = ""
    packages: int = 0
    tools: dict[str, str] = {}
    installed: list[str] = []
    variables: dict[str, str] = {}


class Gpu(Part, frozen=True, kw_only=True):
    """One GPU as NVML names it."""

    index: int
    name: str
    uuid: str = ""
    memory_bytes: int = 0
    compute_capability: str = ""


class Hardware(Part, frozen=True, kw_only=True):
    """The machine. `gpus` is empty where there is none."""

    cpu: str = ""
    cores: int = 0
    memory_bytes: int = 0
    gpus: list[Gpu] = []
    driver: str = ""
    cuda: str = ""
    cudnn: str = ""
    runner: str = ""


class Money(Part, frozen=True, kw_only=True):
    """An amount in a currency (ISO 4217)."""

    amount: float
    currency: str


class Usage(Part, frozen=True, kw_only=True):
    """What it took: seconds of wall, CPU and GPU time (GPUs x wall), joules, bytes at the peak, utilisation 0..1."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    gpu_energy_joules: float | None = None
    gpu_utilisation: float | None = None
    peak_gpu_memory_bytes: int | None = None
    peak_memory_bytes: int | None = None
    cost: Money | None = None


class Metric(Part, frozen=True, kw_only=True):
    """A scalar of a metrics file; `name` is the dotted path within it. `value` is None for NaN and infinities."""

    name: str
    value: float | None
    file: str
    direction: Direction = "none"


class Artifact(Part, frozen=True, kw_only=True):
    """An output of the pipeline: sha256 over the file (over the listing for a folder), and DVC's own digest."""

    path: str
    role: Literal["model", "predictions", "metrics", "plots", "data"]
    digest: str
    size: int
    dvc_digest: str = ""


class Restore(Part, frozen=True, kw_only=True):
    """What puts this run back without training: `dvc.lock` and the git-tracked outputs, as text by path."""

    dvc_lock: str = ""
    files: dict[str, str] = {}


class Interval(Part, frozen=True, kw_only=True):
    """A metric's difference (this run - baseline) with a confidence interval at `level`, from `n` paired rows."""

    metric: str
    baseline: float | None
    current: float | None
    delta: float | None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    n: int = 0
    method: str = ""


class SliceRow(Part, frozen=True, kw_only=True):
    """A metric within one slice (`column` = `value`) of both runs, worst first."""

    column: str
    value: str
    metric: str
    n: int
    baseline: float | None
    current: float | None
    delta: float | None
    low: float | None = None
    high: float | None = None


class Comparison(Part, frozen=True, kw_only=True):
    """This run against its baseline on the same rows, computed where the predictions are.

    `champion` are the baseline's metrics on this run's data, where its model was judged on them anew; empty: it was
    not, and its figures are those of its own run.
    """

    baseline_run: str
    rows: int
    metrics: list[Interval] = []
    slices: list[SliceRow] = []
    note: str = ""
    champion: list[Metric] = []


class Run(Document, frozen=True, kw_only=True):
    """One training run of one model."""

    schema: Literal["trackside.run/1"] = "trackside.run/1"
    id: str
    model: str
    status: Status
    reason_code: str
    input_digest: str
    source: Source
    trigger: Trigger
    started_at: str
    finished_at: str
    experiment: bool = False
    params: dict[str, Any] = {}
    overrides: dict[str, Any] = {}
    seeds: dict[str, int] = {}
    stages: list[StageRun] = []
    dependencies: list[Dependency] = []
    environment: Environment
    hardware: Hardware = Hardware()
    usage: Usage = Usage()
    metrics: list[Metric] = []
    artifacts: list[Artifact] = []
    restore: Restore = Restore()
    comparison: Comparison | None = None
    restored_from: str = ""
    log_tail: str = ""
    trackside: str = ""


def run_id(model: str, input_digest: str, job: str) -> str:
    """12 hex digits, the same for every re-run of the same job.

    Args:
        job: the workflow run's id, or the start time of a local run.
    """
    return hashlib.sha256(f"{model}|{input_digest}|{job}".encode()).hexdigest()[:12]
