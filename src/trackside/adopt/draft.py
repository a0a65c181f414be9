"""The first `trackside.yaml` and, without DVC, a minimal `dvc.yaml`: texts for people to go on with."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml

from trackside.adopt.guess import Candidate, Metric, Table
from trackside.errors import DOCS, ConfigError
from trackside.plan.paths import inside

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_WORDS = frozenset(["true", "false", "yes", "no", "on", "off", "null", "y", "n"])
IGNORED_BY_DVC = "/config.local\n/tmp\n/cache\n"
"""What `dvc init` writes into `.dvc/.gitignore`."""


def scalar(text: str) -> str:
    """A YAML scalar: plain where nothing can be misread, else in double quotes."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**6).rstrip("\n")


def config(models: Sequence[Candidate], *, lock: str) -> str:
    """`trackside.yaml` with a comment on everything that a person should look at."""
    lines = [
        f"# Every key: {DOCS}/configuration.md",
        "# Policy counts from the default branch only: a pull request cannot change who trains where, or what passes.",
        "version: 1",
        "models:",
    ]
    for model in models:
        lines += _model(model)
    lines += [
        "train:",
        "  on: pull_request # every push to a pull request; or `label`, or `command` (/train in a comment)",
        "  runs-on: [self-hosted, gpu] # labels of the runner that trains; GitHub's own: ubuntu-latest",
        "  timeout-minutes: 360",
    ]
    if lock:
        lines.append(f"  requirements: {scalar(lock)} # the stages' environment is made from it")
    else:
        lines += [
            "  # Pin every package by hash and name the file; without it, stages use the Python on the runner's PATH:",
            "  #   uv pip compile --generate-hashes requirements.in -o requirements.txt",
            "  # requirements: requirements.txt",
        ]
    return "\n".join(lines) + "\n"


def _model(model: Candidate) -> list[str]:
    lines = [f"  {scalar(model.name)}:", f"    path: {scalar(model.path)} # the file that a release carries"]
    if model.stages:
        lines.append("    stages: [" + ", ".join(map(scalar, model.stages)) + "]")
    lines += _metrics(model)
    lines += _predictions(model.predictions)
    lines += [
        "    # card: {license: apache-2.0, intended-use: what the model is for and what it is not for}",
        "    # drift: # compares production data with what was trained on, every night",
        "    #   reference: data/train.parquet",
        '    #   current: "production/{yesterday}.parquet"',
    ]
    return lines


def _metrics(model: Candidate) -> list[str]:
    if model.metrics:
        lines = ["    metrics: # look at each: direction, `min` and `max` the gate fails at, tolerance (absolute)"]
        lines += [f"      {scalar(one.name)}: {_rule(one)}" for one in model.metrics]
        return lines
    file = model.metric_files[0] if model.metric_files else "metrics.json"
    return [
        "    # No metrics file is here yet. Name the numbers to judge by, as they stand in it:",
        "    # metrics:",
        f"    #   accuracy: {{file: {scalar(file)}, direction: max, tolerance: 0.005}}",
    ]


def _rule(metric: Metric) -> str:
    text = f"{{file: {scalar(metric.file)}, direction: {metric.direction}}}"
    return text + ("" if metric.direction != "none" else " # shown, not judged: set max or min")


def _predictions(table: Table | None) -> list[str]:
    if table is None:
        return []
    if not table.score:
        return [
            "    # Name the columns, and reports have intervals and slices:",
            f"    # predictions: {{file: {scalar(table.file)}, label: label, score: score}}",
        ]
    lines = ["    predictions:", f"      file: {scalar(table.file)}"]
    lines += [f"      label: {scalar(table.label)}", f"      score: {scalar(table.score)}"]
    lines += [f"      id: {scalar(table.id)}"] if table.id else []
    lines += ["      slices: [" + ", ".join(map(scalar, table.slices)) + "]"] if table.slices else []
    return lines


def pipeline(command: str, *, output: str, metrics: Sequence[str], inputs: Sequence[str], root: Path) -> str:
    """A `dvc.yaml` of one stage around a training command.

    Raises:
        ConfigError: an empty command, or a path outside the repository.
    """
    if not command.strip() or any(ord(char) < 32 for char in command):
        raise ConfigError("the command is empty or has control characters", remedy='--command "python train.py"')
    known = list(dict.fromkeys([*inputs, *_read_by(command, root)]))
    deps = [inside("", path, file="--input") for path in known]
    made = [inside("", path, file="--output") for path in (output,)]
    numbers = [inside("", path, file="--metrics") for path in metrics]
    if set(deps) & {*made, *numbers}:
        raise ConfigError("a file cannot be both input and output", remedy="leave it out of --input")
    lines = [
        "# One stage around the training command. Split it (prepare, train, evaluate) when parts should be reused.",
        "stages:",
        "  train:",
        f"    cmd: {scalar(command.replace('${', chr(92) + '${'))}",
    ]
    if deps:
        lines += ["    deps: # what is not listed here is no input: a change to it trains nothing"]
        lines += [f"      - {scalar(path)}" for path in deps]
    if (root / "params.yaml").is_file():
        lines += ["    params:", "      - params.yaml: # all of it; or list the names that this stage reads"]
    lines += ["    outs:", *(f"      - {scalar(path)}" for path in made)]
    if numbers:
        lines += ["    metrics:"]
        for path in numbers:
            lines += [f"      - {scalar(path)}:", "          cache: false"]
    return "\n".join(lines) + "\n"


def _read_by(command: str, root: Path) -> list[str]:
    """Words of the command that name files of the repository."""
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    found = []
    for word in words:
        path = posixpath.normpath(word)
        outside = word.startswith(("/", "~", "-")) or path.startswith("..") or "\0" in word
        if not outside and path != "." and len(word) < 1000 and (root / path).is_file():
            found.append(path)
    return found
