"""Inputs of `workflow_dispatch`: what a caller may give, what defaults add, and their types. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trackside.sandbox.actions.values import number
from trackside.sandbox.actions.workflow import triggers

Doc = dict[str, Any]

MAX_CHARACTERS = 65_535


def validate_inputs(workflow: Doc, given: Mapping[str, str]) -> dict[str, str]:
    """Inputs of a dispatch with defaults filled in. Raises ValueError with GitHub's words."""
    filters = triggers(workflow).get("workflow_dispatch")
    if filters is None:
        raise ValueError("Workflow does not have 'workflow_dispatch' trigger")
    declared: Doc = filters.get("inputs") or {}
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise ValueError(f"Unexpected inputs provided: {json.dumps(unknown)}")
    if len(json.dumps(dict(given))) > MAX_CHARACTERS:
        raise ValueError("inputs are too large.")
    return {name: _complete(name, rule or {}, given.get(name, "")) for name, rule in declared.items()}


def _complete(name: str, rule: Doc, text: str) -> str:
    kind = rule.get("type", "string")
    if not text and rule.get("required") and "default" not in rule:
        raise ValueError(f"Required input '{name}' not provided")
    if not text:
        default = rule.get("default", "false" if kind == "boolean" else "")
        text = str(default).lower() if isinstance(default, bool) else str(default)
    if kind == "choice" and text not in map(str, rule.get("options") or []):
        raise ValueError(f"Provided value '{text}' for input '{name}' not in the list of allowed values")
    if kind == "boolean" and text not in ("true", "false"):
        raise ValueError(f"Provided value '{text}' for input '{name}' is not a boolean")
    if kind == "number" and text and number(text) != number(text):
        raise ValueError(f"Provided value '{text}' for input '{name}' is not a number")
    return text


def typed(workflow: Doc, given: Mapping[str, str]) -> Doc:
    """The `inputs` context: booleans and numbers by their declared type, everything else text."""
    declared: Doc = triggers(workflow).get("workflow_dispatch", {}).get("inputs") or {}
    kinds = {name: (rule or {}).get("type") for name, rule in declared.items()}
    found: Doc = dict(given)
    for name, text in given.items():
        if kinds.get(name) == "boolean":
            found[name] = text == "true"
        elif kinds.get(name) == "number" and text:
            found[name] = number(text)
    return found
