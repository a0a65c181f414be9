"""One job trains or publishes, never both: code of a pull request must not run where a token can write."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from trackside.errors import Refused

LINK = "trust.md"
Kind = Literal["train", "publish"]


def kind_of(stage: str, mode: str) -> Kind | None:
    """What a stage does to its job; admitting a run neither trains nor writes."""
    if stage == "train":
        return "train"
    return None if stage == "plan" and mode == "admit" else "publish"


def guard(env: Mapping[str, str], stage: str) -> None:
    """Leave a mark of what this job does; refuse a job that did the other before.

    The mark lies in RUNNER_TEMP, which GitHub empties between jobs; it is named by run, attempt and job where a runner
    does not. It guards against workflows that put both into one job by mistake: who controls the job can remove it.

    Raises:
        Refused: `jobs_combined`.
    """
    folder, kind = env.get("RUNNER_TEMP", ""), kind_of(stage, env.get("TRACKSIDE_MODE", ""))
    if not folder or kind is None:
        return
    names = ("GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT", "GITHUB_JOB")
    job = hashlib.sha256("\0".join(env.get(name, "") for name in names).encode()).hexdigest()[:16]
    marks = Path(folder) / f"trackside-job-{job}"
    (marks / kind).mkdir(parents=True, exist_ok=True)
    other = "publish" if kind == "train" else "train"
    if (marks / other).exists():
        raise Refused(
            f"the stage {stage} may not run in a job that {'trains' if other == 'train' else 'publishes'}",
            why="training runs code of a pull request; publishing has a token that writes",
            remedy="give each its own job, as workflows/train.yml has it: `train` with `contents: read` only, then\n"
            "`publish` with `needs: train`; documents go from one to the other as artifacts",
            link=LINK,
            reason_code="jobs_combined",
        )
