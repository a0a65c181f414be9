"""Which stage an event asks for: the default action runs this file before any environment exists.

Standard library only, and no import of Trackside: it is started by its path.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PULLS = frozenset({"pull_request", "pull_request_target", "merge_group"})
DISPATCH = "workflow_dispatch"
TASKS: Mapping[str, str] = {
    "register": "register",
    "promote": "promote",
    "rollback": "promote",
    "deprecate": "promote",
    "check": "drift",
    "retrain": "retrain",
}
"""Input `task` of a dispatch → stage."""
_DOCS = "https://github.com/trackside-ml/trackside/blob/main/docs/default-action.md"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage as the default action knows it: its command, its requirement set and the events that it goes with."""

    command: str
    set: str
    events: frozenset[str]
    mode: str = "-"


STAGES: Mapping[str, Stage] = {
    "plan": Stage(command="plan", set="plan", mode="plan", events=PULLS | {DISPATCH}),
    "admit": Stage(command="plan", set="plan", mode="admit", events=frozenset({DISPATCH})),
    "train": Stage(command="train", set="train", events=frozenset({DISPATCH})),
    "report": Stage(command="report", set="core", events=frozenset({DISPATCH})),
    "register": Stage(command="register", set="drift", events=frozenset({"push", DISPATCH})),
    "image": Stage(command="image", set="image", events=frozenset({"push", DISPATCH})),
    "promote": Stage(command="promote", set="verify", events=frozenset({DISPATCH})),
    "drift": Stage(command="drift", set="drift", events=frozenset({"schedule", DISPATCH})),
    "retrain": Stage(command="retrain", set="drift", events=frozenset({"schedule", DISPATCH})),
    "command": Stage(command="command", set="core", events=frozenset({"issue_comment"})),
}
"""What the input `stage` may be."""

_BY_EVENT: Mapping[str, str] = dict.fromkeys(PULLS, "plan") | {
    "push": "register",
    "schedule": "drift",
    "issue_comment": "command",
}


class Unfit(ValueError):
    """No stage goes with the event, or not the one that was asked for; the text says what to change."""


def choose(event: str, payload: Mapping[str, Any], stage: str = "") -> str:
    """The stage's name.

    Args:
        event: GITHUB_EVENT_NAME.
        payload: what GITHUB_EVENT_PATH holds.
        stage: the action's input; empty takes the event's.

    Raises:
        Unfit: see there.
    """
    if not stage:
        return _of_event(event, payload)
    if stage not in STAGES:
        raise Unfit(f"there is no stage {stage[:40]!r}; stages: {', '.join(STAGES)}")
    events = STAGES[stage].events
    if event not in events:
        raise Unfit(
            f"the stage {stage} does not go with the event {event[:40]!r}, only with {', '.join(sorted(events))}"
        )
    return stage


def _of_event(event: str, payload: Mapping[str, Any]) -> str:
    if event in _BY_EVENT:
        return _BY_EVENT[event]
    if event != DISPATCH:
        known = ", ".join(sorted([*_BY_EVENT, DISPATCH]))
        raise Unfit(f"no stage goes with the event {event[:40]!r}; events: {known}")
    given = payload.get("inputs")
    inputs: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    task = inputs.get("task")
    if isinstance(task, str) and task in TASKS:
        return TASKS[task]
    if inputs.get("model"):
        raise Unfit("a dispatched training run has three jobs: say which one with `stage: admit`, `train` or `report`")
    if inputs.get("pull-request"):
        return "plan"
    raise Unfit("a dispatch without the input task, model or pull-request: say what is wanted with the input `stage`")


def main(arguments: Sequence[str]) -> int:
    """`default.py EVENT PAYLOAD_FILE [STAGE]` prints command, mode and requirement set; returns 2 where none fits."""
    event, path, *rest = arguments
    try:
        payload = json.loads(Path(path).read_text(encoding="utf-8") or "{}") if path else {}
        chosen = STAGES[choose(event, payload if isinstance(payload, dict) else {}, rest[0].strip() if rest else "")]
    except (OSError, ValueError) as error:
        said = str(error).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        print(f"::error title=trackside::{said} ({_DOCS})", file=sys.stderr)
        return 2
    print(chosen.command, chosen.mode, chosen.set)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
