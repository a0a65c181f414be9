"""GitHub's deployments as the picture of who holds a stage: one that succeeded, the earlier ones inactive."""

from __future__ import annotations

import json
from typing import Any

from trackside.forge.client import Client
from trackside.forge.model import StageDeployment
from trackside.forge.operations import Applied, MarkDeployed
from trackside.system.text import clean

TASK = "promote"
"""What tells these deployments from those that others make in the same environment."""

MAX_DESCRIPTION = 140


class DeploymentReads:
    """Deployments of stages, for a forge with `client`."""

    client: Client

    def stage_deployments(self, *, limit: int) -> tuple[StageDeployment, ...]:
        """The newest that name a stage tag, newest first. Raises ForgeError."""
        found = self.client.pages("/deployments", {"task": TASK}, limit=limit)
        return tuple(
            StageDeployment(
                environment=str(raw["environment"]), tag=tag, commit=str(raw["sha"]), version=_said(raw, "version")
            )
            for raw in found
            if (tag := _tag(raw))
        )


def mark_deployed(client: Client, operation: MarkDeployed) -> Applied:
    """Make the newest deployment of the environment that of the tag, and a success; twice is once.

    A success makes GitHub mark the environment's earlier successes inactive. One that was left without a status is
    marked here.
    """
    newest = _newest(client, operation)
    outcome = "unchanged"
    if newest is None or _tag(newest) != operation.tag:
        if newest is not None and _state(client, newest) not in ("success", "inactive"):
            _status(client, newest, {"state": "inactive"})
        newest = client.create(lambda: client.post("/deployments", _body(operation)), lambda: _mine(client, operation))
        outcome = "created"
    elif _state(client, newest) != "success":
        outcome = "updated"
    if outcome != "unchanged":
        said = {"state": "success", "description": _short(operation.description), "auto_inactive": True}
        pages = {"log_url": operation.log_url, "environment_url": operation.page}
        _status(client, newest, {**said, **{name: url for name, url in pages.items() if url}})
    return Applied(operation=operation, outcome=outcome, id=int(newest["id"]), url=str(newest["url"]))


def _newest(client: Client, operation: MarkDeployed) -> Any:
    return next(client.pages("/deployments", {"environment": operation.environment, "task": TASK}, limit=1), None)


def _mine(client: Client, operation: MarkDeployed) -> Any:
    found = _newest(client, operation)
    return found if found is not None and _tag(found) == operation.tag else None


def _body(operation: MarkDeployed) -> dict[str, Any]:
    return {
        "ref": operation.commit,
        "task": TASK,
        "environment": operation.environment,
        "description": _short(operation.description),
        "payload": {"tag": operation.tag, **operation.facts},
        "auto_merge": False,  # or GitHub merges the default branch into what is deployed
        "required_contexts": [],  # the policy has looked already
        "production_environment": False,  # or its earlier deployments stay active
    }


def _tag(raw: Any) -> str:
    """The stage tag that a deployment is of; empty for one of somebody else."""
    return _said(raw, "tag")


def _said(raw: Any, name: str) -> str:
    """A field of a deployment's payload."""
    payload = raw.get("payload")
    if isinstance(payload, str):
        try:
            payload = json.loads(payload or "{}")
        except ValueError:
            return ""
    return str(payload.get(name) or "") if isinstance(payload, dict) else ""


def _state(client: Client, raw: Any) -> str:
    """The newest status; empty before there is one."""
    found = next(client.pages(f"/deployments/{raw['id']}/statuses", limit=1), None)
    return str(found["state"]) if found else ""


def _status(client: Client, raw: Any, body: dict[str, Any]) -> None:
    path, wanted = f"/deployments/{raw['id']}/statuses", body["state"]
    client.create(lambda: bool(client.post(path, body)), lambda: _state(client, raw) == wanted or None)


def _short(text: str) -> str:
    return clean(text)[:MAX_DESCRIPTION]
