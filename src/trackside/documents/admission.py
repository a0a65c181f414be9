"""`trackside.admission/1`: what a dispatched run may do, once every claim of its dispatch was checked."""

from __future__ import annotations

from typing import Any, Literal

from trackside.documents.codec import Document
from trackside.documents.plan import Subject
from trackside.documents.run import Dependency


class Admission(Document, frozen=True, kw_only=True):
    """Written by the admit job, read by training and publishing.

    `targets` go to `dvc repro`; `stages` are all that it may run, in order. `run` is a recorded run that answers
    these inputs already. `experiment`: parameters are overridden; reported, never deciding a check. `reusable`: the
    result may answer later pull requests. `policy_commit` is the default branch's tip that the policy was read
    from. `champion` is the run whose model is judged on this run's data too.
    """

    schema: Literal["trackside.admission/1"] = "trackside.admission/1"
    model: str
    subject: Subject
    actor: str
    policy_commit: str
    runs_on: list[str]
    timeout_minutes: int
    input_digest: str
    targets: list[str]
    stages: list[str]
    inputs: list[Dependency] = []
    params: dict[str, Any] = {}
    overrides: dict[str, Any] = {}
    experiment: bool = False
    reusable: bool = False
    run: str = ""
    baseline_digest: str = ""
    baseline_run: str = ""
    baseline_note: str = ""
    champion: str = ""
    policy_changes: list[str] = []
