"""What commands share: the environment as handed down, and how a stage ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO

from trackside.config.inputs import inputs_of
from trackside.documents.codec import dump
from trackside.documents.result import Result
from trackside.errors import ConfigError, ForgeError, TracksideError
from trackside.system.process import Processes
from trackside.system.text import inert
from trackside.system.workflow import WorkflowCommands

OUR_VARIABLES = ("TRACKSIDE_", "GITHUB_", "ACTIONS_", "RUNNER_", "INPUT_")
LEFT_BY = ("command", "promote", "register", "image", "drift", "retrain")
"""Stages whose folder `out` holds the result document, also that of an error."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """The environment as handed down by `cli.py`, and where text goes."""

    env: Mapping[str, str]
    out: TextIO = field(default_factory=lambda: sys.stdout)
    json: bool = False

    def value(self, name: str, action: str) -> str:
        """An action input: the environment's value, else the table's default. Raises ConfigError where required."""
        row = next(row for row in inputs_of(action) if row.name == name)
        given = self.env.get(row.variable, "")
        if not given and row.required:
            raise ConfigError(f"input {name!r} of actions/{action} is missing", remedy=f"with:\n  {name}: …")
        return given or ("" if row.default.startswith("${{") else row.default)

    def flag(self, name: str, action: str) -> bool:
        return self.value(name, action).strip().lower() == "true"

    def need(self, variable: str) -> str:
        """A variable that GitHub sets for every step."""
        found = self.env.get(variable, "")
        if not found:
            raise ConfigError(
                f"{variable} is not set", why="this command is called by an action inside a workflow", link="actions.md"
            )
        return found

    @property
    def actor(self) -> str:
        """Who started this attempt of the run: whoever runs a job again answers for it. Empty outside a workflow."""
        return self.env.get("GITHUB_TRIGGERING_ACTOR", "") or self.env.get("GITHUB_ACTOR", "")

    @property
    def commands(self) -> WorkflowCommands:
        return WorkflowCommands(self.env, self.out)

    @property
    def processes(self) -> Processes:
        """Children see the environment without tokens, inputs and command files."""
        return Processes({name: text for name, text in self.env.items() if not name.startswith(OUR_VARIABLES)})

    def say(self, text: str) -> None:
        """A line for people; inside a workflow it cannot command the runner, whatever a pull request put into it."""
        print(inert(text) if self.commands.active else text, file=self.out, flush=True)


def run_stage(context: Context, name: str) -> int:
    """Run a stage, set its outputs, print its result; returns the exit code."""
    from trackside.combined import guard
    from trackside.stages import STAGES

    try:
        guard(context.env, name)
        result = STAGES[name](context)
    except TracksideError as error:
        context.commands.annotate("error", error.message, title=f"trackside {name}")
        print(inert(error.render()), file=sys.stderr)
        result = failed(name, error)
        if name in LEFT_BY:
            folder = Path(context.value("out", name))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "result.json").write_bytes(dump(result))
        return finish(context, result, error.exit_code)
    default = ForgeError.exit_code if result.decision == "failed" else 0
    return finish(context, result, int(result.values.get("exit-code", default)))


def failed(command: str, error: TracksideError) -> Result:
    """The result document of an error."""
    decision: Literal["refused", "failed"] = "refused" if error.exit_code == 3 else "failed"
    return Result(command=command, decision=decision, reason_code=error.reason_code, message=error.message)


def finish(context: Context, result: Result, code: int) -> int:
    """Outputs for later steps, and the result document for people and tools."""
    outputs = {"decision": result.decision, "reason-code": result.reason_code}
    for name, found in result.values.items():
        outputs[name] = found if isinstance(found, str) else json.dumps(found, separators=(",", ":"))
    context.commands.outputs(outputs)
    if context.json:
        context.say(dump(result).decode())
    else:
        context.say(f"{result.command}: {result.decision} ({result.reason_code})")
    return code
