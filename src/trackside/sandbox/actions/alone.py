"""A job cut out of its workflow: a file of that job alone, with literals where act would not know. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackside.sandbox.actions.expressions import fold
from trackside.sandbox.actions.joblog import CAPTURE

Doc = dict[str, Any]

LABEL = "sandbox"
"""The one runner label that act is told of."""
_DONE_BEFORE = (
    "name",
    "needs",
    "if",
    "environment",
    "concurrency",
    "permissions",
    "strategy",
    "timeout-minutes",
    "continue-on-error",
    "outputs",
    "runs-on",
)
"""Keys of a job that the sandbox decides itself."""


def cut_out(workflow: Doc, key: str, event: str, declared: Doc, known: Mapping[str, Any], folder: Path) -> Doc:
    """The workflow of one job. `known` are contexts whose values are put in; outputs are written below `folder`."""
    job = workflow["jobs"][key]
    alone = {name: folded(part, known) for name, part in job.items() if name not in _DONE_BEFORE}
    outputs = {str(name): folded(str(text), known) for name, text in (job.get("outputs") or {}).items()}
    alone["steps"] = [*alone["steps"], _capture(outputs, folder)]
    alone["runs-on"] = LABEL
    made: Doc = {"name": known["github"]["workflow"], "on": {event: declared}, "jobs": {key: alone}}
    for name in ("env", "defaults"):
        if workflow.get(name):
            made[name] = folded(workflow[name], known)
    return made


def folded(found: Any, known: Mapping[str, Any], name: str = "") -> Any:
    """A piece of YAML with what is known put in; `name` is the key that it stands under."""
    if isinstance(found, dict):
        return {key: folded(part, known, str(key)) for key, part in found.items()}
    if isinstance(found, list):
        return [folded(part, known) for part in found]
    return fold(found, known, bare=name == "if") if isinstance(found, str) else found


def output_files(job: Doc, folder: Path) -> dict[str, Path]:
    """Output name → the file that its value is written to."""
    return {str(name): folder / f"output-{place}" for place, name in enumerate(job.get("outputs") or {})}


def _capture(outputs: Mapping[str, str], folder: Path) -> Doc:
    """A last step that writes the job's outputs where the sandbox finds them."""
    env = {f"SANDBOX_OUTPUT_{place}": text for place, text in enumerate(outputs.values())}
    lines = [f"printf '%s' \"$SANDBOX_OUTPUT_{place}\" > {_quoted(folder)}/output-{place}" for place in range(len(env))]
    # The folder of actions may be gone at the end of a job; bash is all that this step needs.
    return {"name": CAPTURE, "if": "always()", "shell": "bash", "env": env, "run": "\n".join(["true", *lines])}


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"
