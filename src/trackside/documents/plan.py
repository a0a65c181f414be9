"""`trackside.plan/1`: what a pull request (or commit) asks for, decided before anything runs."""

from __future__ import annotations

from typing import Any, Literal

from trackside.documents.codec import Document
from trackside.documents.run import Dependency, Part, Source


class Subject(Part, frozen=True, kw_only=True):
    """What is planned. For a pull request `commit` is the merge result and `base_commit` its first parent."""

    kind: Literal["pull_request", "commit", "merge_group"]
    repository: str
    commit: str
    base_commit: str = ""
    head_commit: str = ""
    head_repository: str = ""
    pull_request: int | None = None
    branch: str = ""

    def source(self) -> Source:
        """Which code a run of this subject trains."""
        return Source(**{name: getattr(self, name) for name in self.__struct_fields__ if name != "kind"})


Decision = Literal["train", "reuse", "nothing", "refused", "failed"]
"""What is done for one model."""


class ModelPlan(Part, frozen=True, kw_only=True):
    """The decision for one model.

    `train`: dispatch. `reuse`: `run` answers these inputs. `nothing`: inputs equal those of the baseline.
    `refused`: not allowed by itself (fork, stranger, over the GPU-hour cap, draft, label missing).
    `failed`: cannot be planned (conflict, unreadable pipeline). `reason_code` and `reason` say why.
    """

    model: str
    decision: Decision
    reason_code: str
    reason: str
    input_digest: str = ""
    baseline_digest: str = ""
    run: str = ""
    baseline_run: str = ""
    stages: list[str] = []
    params: dict[str, Any] = {}
    overrides: dict[str, Any] = {}
    inputs: list[Dependency] = []
    changed: list[str] = []


class Plan(Document, frozen=True, kw_only=True):
    """A decision per model."""

    schema: Literal["trackside.plan/1"] = "trackside.plan/1"
    subject: Subject
    models: list[ModelPlan] = []
    policy_changes: list[str] = []
    """Policy keys of `trackside.yaml` that the pull request edits: shown, without effect until merged."""
