"""Names of training runs, by which an active one is found again."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TITLE = re.compile(
    r"train (?P<model>[A-Za-z0-9_-]{1,100}) for #(?P<pull>[0-9]{1,15}) at (?P<head>[0-9a-f]{12}) "
    r"\((?P<digest>[0-9a-f]{12})\)(?P<experiment>, experiment)?"
)


@dataclass(frozen=True, kw_only=True)
class Title:
    """What a run's name says; `head` and `digest` are the first 12 hex digits."""

    model: str
    pull: int
    head: str
    digest: str
    experiment: bool


def run_title(model: str, *, pull: int | None, head: str, digest: str, experiment: bool = False) -> str:
    """`train delay for #7 at 0123456789ab (fedcba987654)`; experiments end with `, experiment`."""
    of = f" for #{pull}" if pull is not None else ""
    short = digest.removeprefix("sha256:")[:12]
    return f"train {model}{of} at {head[:12]} ({short})" + (", experiment" if experiment else "")


def parse_title(title: str) -> Title | None:
    """The parts of a name that `run_title` made for a pull request; None for any other."""
    found = _TITLE.fullmatch(title)
    if found is None:
        return None
    return Title(
        model=found["model"],
        pull=int(found["pull"]),
        head=found["head"],
        digest=found["digest"],
        experiment=bool(found["experiment"]),
    )


def plan_title(pull: int | str) -> str:
    """Name of the run that plans a pull request because a comment (or a person) asked: `run-name` of its workflow."""
    return f"plan #{pull}"
