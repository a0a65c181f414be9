"""Deployments of commits to environments, with their statuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trackside.sandbox.core import app_of, author
from trackside.sandbox.problem import Problem, not_found
from trackside.sandbox.releases import Releases
from trackside.sandbox.state import Doc


class Deployments(Releases):
    """Records only: nothing is deployed, and no event is sent."""

    def deployment(self, repo: str, deployment_id: int) -> Doc:
        found = self.state.get("deployment", repo, deployment_id)
        if found is None:
            raise not_found()
        return found

    def add_deployment(self, repo: str, fields: Mapping[str, Any], actor: Doc) -> Doc:
        """A deployment of a ref. Raises Problem 409 where a required context is not green, 422 for an unknown ref."""
        with self.lock:
            sha = self.commit_of(repo, fields["ref"])
            if sha is None:
                raise Problem(422, f"No ref found for: {fields['ref']}")
            red = self._not_green(repo, sha, fields.get("required_contexts"))
            if red:
                raise Problem(
                    409,
                    "Conflict: Commit status checks failed for " + str(fields["ref"]),
                    errors=[
                        {"contexts": [], "resource": "Deployment", "field": "required_contexts", "code": "invalid"}
                    ],
                )
            doc = {
                "id": self.state.next("id"),
                "ref": fields["ref"],
                "sha": sha,
                "task": fields.get("task") or "deploy",
                "environment": fields.get("environment") or "production",
                "description": fields.get("description"),
                "payload": fields.get("payload") or {},
                "transient": bool(fields.get("transient_environment")),
                "production": bool(fields.get("production_environment", fields.get("environment") == "production")),
                "creator": author(actor),
                "app": app_of(actor),
                "created_at": self.now(),
                "updated_at": self.now(),
            }
            return self.state.put("deployment", repo, doc["id"], doc)

    def _not_green(self, repo: str, sha: str, wanted: list[str] | None) -> list[str]:
        """Contexts that have not succeeded: of the wanted ones, or of all there are."""
        states = {doc["context"]: doc["state"] for doc in self.state.list("status", repo, sha=sha)}
        states |= {doc["name"]: str(doc["conclusion"]) for doc in self.state.list("check_run", repo, head_sha=sha)}
        green = {name for name, state in states.items() if state in ("success", "neutral", "skipped")}
        return sorted((set(states) if wanted is None else set(wanted)) - green)

    def add_deployment_status(self, repo: str, deployment_id: int, fields: Mapping[str, Any], actor: Doc) -> Doc:
        """A status; success makes the environment's earlier deployments inactive, unless `auto_inactive` is false."""
        with self.lock:
            about = self.deployment(repo, deployment_id)
            doc = self._status(repo, about, fields, actor)
            if fields["state"] == "success" and fields.get("auto_inactive", True):
                for other in self.state.list("deployment", repo, environment=doc["environment"]):
                    earlier = other["id"] < deployment_id and not other["transient"] and not other["production"]
                    if earlier and self.deployment_state(repo, other["id"]) == "success":
                        self._status(repo, other, {"state": "inactive"}, actor)
            return doc

    def _status(self, repo: str, about: Doc, fields: Mapping[str, Any], actor: Doc) -> Doc:
        doc = {
            "id": self.state.next("id"),
            "deployment": about["id"],
            "state": fields["state"],
            "description": fields.get("description") or "",
            "environment": fields.get("environment") or about["environment"],
            "environment_url": fields.get("environment_url") or "",
            "log_url": fields.get("log_url") or fields.get("target_url") or "",
            "creator": author(actor),
            "app": app_of(actor),
            "created_at": self.now(),
        }
        self.state.put("deployment", repo, about["id"], about | {"updated_at": self.now()})
        return self.state.put("deployment_status", repo, doc["id"], doc)

    def approve_run(self, repo: str, run_id: int, environment: str, actor: Doc, state: str = "approved") -> Doc:
        """A required reviewer's word on a run that waits for an environment; nothing waits for it here."""
        doc: Doc = {"run": run_id, "environments": [environment], "state": state, "user": author(actor), "comment": ""}
        return self.state.put("run_approval", repo, self.state.next("id"), doc)

    def deployment_state(self, repo: str, deployment_id: int) -> str:
        """The newest status; `pending` before there is one."""
        found = self.state.list("deployment_status", repo, deployment=deployment_id)
        return str(found[-1]["state"]) if found else "pending"

    def delete_deployment(self, repo: str, deployment_id: int) -> None:
        """Raises Problem 404; 422 for an active one that is not the only one."""
        with self.lock:
            self.deployment(repo, deployment_id)
            others = len(self.state.list("deployment", repo)) > 1
            if others and self.deployment_state(repo, deployment_id) != "inactive":
                raise Problem(
                    422, "We cannot delete an active deployment unless it is the only deployment in a given repo."
                )
            self.state.delete("deployment", repo, deployment_id)
