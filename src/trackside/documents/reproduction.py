"""`trackside.reproduction/1`: a recorded run that was trained again; `trackside.restoration/1`: what that needs.

Digests are as in the run document; times in seconds, sizes in bytes.
"""

from __future__ import annotations

from typing import Any, Literal

from trackside.documents.codec import Document
from trackside.documents.run import Part

Verdict = Literal["identical", "within_tolerance", "differs"]
Cause = Literal["none", "environment", "not_deterministic", "unrecorded", "unknown"]
"""`environment`: recorded inputs differ, and training twice here gives the same; `unknown`: recorded inputs differ,
and nobody trained twice; `unrecorded`: nothing recorded differs, yet something that is not recorded does."""


class DataObject(Part, frozen=True, kw_only=True):
    """Data that is read, by digest. `source` is where it was, or in a dry run where it will be looked for."""

    path: str
    digest: str
    size: int | None = None
    source: str = ""


class InputDifference(Part, frozen=True, kw_only=True):
    """A recorded fact of software or machine that is another one here. `matters`: it can change results."""

    kind: Literal["python", "package", "machine", "system", "variable", "tool"]
    input: str
    recorded: str
    here: str
    matters: bool = True


class Restoration(Document, frozen=True, kw_only=True):
    """What was restored, or in a dry run would be. `code` is where the commit was found.

    `python` and `packages` say what the stages run with. `differences` are known before anything is trained; in a
    reproduction they are those of the training itself.
    """

    schema: Literal["trackside.restoration/1"] = "trackside.restoration/1"
    subject: str
    model: str
    run: str
    version: str = ""
    commit: str
    code: str
    input_digest: str
    data: list[DataObject] = []
    lock_file: str = ""
    lock_digest: str = ""
    python: str = ""
    packages: str = ""
    params: dict[str, Any] = {}
    overrides: dict[str, Any] = {}
    seeds: dict[str, int] = {}
    stages: dict[str, float] = {}
    """Seconds that each stage took when it was recorded; 0 where it was not executed then."""
    differences: list[InputDifference] = []
    notes: list[str] = []


class StageAgain(Part, frozen=True, kw_only=True):
    """A stage then and now. `same`: all its outputs are bit-identical, None where none is known.

    `origin` marks stages whose outputs differ although they read nothing that differs.
    """

    name: str
    outcome: str
    seconds: float
    recorded_seconds: float
    same: bool | None = None
    origin: bool = False


class OutputAgain(Part, frozen=True, kw_only=True):
    """An output then and now. `added`: the record, which may have been shortened, does not name it."""

    path: str
    role: str
    status: Literal["identical", "differs", "missing", "added"]
    recorded: str = ""
    again: str = ""
    recorded_size: int = 0
    size: int = 0


class MetricAgain(Part, frozen=True, kw_only=True):
    """A metric then and now: `difference` is now less then, `tolerance` that of the policy at the commit.

    `not_judged`: the policy does not name it, and it differs.
    """

    name: str
    file: str
    status: Literal["identical", "within_tolerance", "differs", "not_judged"]
    recorded: float | None = None
    again: float | None = None
    difference: float | None = None
    tolerance: float | None = None


class Reproduction(Document, frozen=True, kw_only=True):
    """The verdict, everything it rests on, and what may explain a difference.

    `second` compares a second training here with the first (`--twice`): None where there was none.
    """

    schema: Literal["trackside.reproduction/1"] = "trackside.reproduction/1"
    verdict: Verdict
    reason_code: str
    cause: Cause = "none"
    explanation: list[str] = []
    restoration: Restoration
    outputs: list[OutputAgain] = []
    metrics: list[MetricAgain] = []
    stages: list[StageAgain] = []
    second: Verdict | None = None
    second_outputs: list[OutputAgain] = []
    again: str
    """Id of the new run."""
    started_at: str = ""
    seconds: float = 0.0
    kept: str = ""
    trackside: str = ""
