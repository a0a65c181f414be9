"""The names under which a report is found again: comment marker, check name and external id."""

from __future__ import annotations


def marker(model: str, *, experiment: bool = False) -> str:
    """First line of a report's comment. Experiments have a comment of their own: they decide nothing."""
    return f"<!-- trackside:{'experiment' if experiment else 'report'} model={model} -->"


def check_name(model: str) -> str:
    """Name of the check run that a branch rule can require."""
    return f"trackside / {model}"


def external_id(model: str, input_digest: str) -> str:
    """Ties a check run to the inputs it judges."""
    return f"trackside:{model}:{input_digest}"
