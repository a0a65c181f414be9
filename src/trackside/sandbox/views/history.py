"""Activity, deployments and timelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trackside.sandbox.state import Doc
from trackside.sandbox.views.core import app, repo_url, user
from trackside.sandbox.views.talk import comment, label

if TYPE_CHECKING:
    from trackside.sandbox.core import Core


def activity(hub: Core, doc: Doc) -> Doc:
    """`activity`: one move of a branch."""
    shown = {name: doc[name] for name in ("id", "before", "after", "ref")}
    return shown | {
        "node_id": f"PSH_{doc['id']}",
        "timestamp": doc["at"],
        "activity_type": doc["kind"],
        "actor": user(hub, doc["actor"]),
    }


def deployment(hub: Core, name: str, doc: Doc) -> Doc:
    url = f"{repo_url(hub, name)}/deployments/{doc['id']}"
    shown = {one: doc[one] for one in ("id", "ref", "sha", "task", "environment", "description", "payload")}
    return shown | {
        "node_id": f"DE_{doc['id']}",
        "original_environment": doc["environment"],
        "transient_environment": doc["transient"],
        "production_environment": doc["production"],
        "creator": user(hub, doc["creator"]),
        "created_at": doc["created_at"],
        "updated_at": doc["updated_at"],
        "url": url,
        "statuses_url": url + "/statuses",
        "repository_url": repo_url(hub, name),
        "performed_via_github_app": app(hub, doc["app"]) if doc["app"] else None,
    }


def deployment_status(hub: Core, name: str, doc: Doc) -> Doc:
    about = f"{repo_url(hub, name)}/deployments/{doc['deployment']}"
    shown = {one: doc[one] for one in ("id", "state", "description", "environment", "environment_url", "log_url")}
    return shown | {
        "node_id": f"DES_{doc['id']}",
        "creator": user(hub, doc["creator"]),
        "created_at": doc["created_at"],
        "updated_at": doc["created_at"],
        "target_url": doc["log_url"],
        "url": f"{about}/statuses/{doc['id']}",
        "deployment_url": about,
        "repository_url": repo_url(hub, name),
        "performed_via_github_app": app(hub, doc["app"]) if doc["app"] else None,
    }


def timeline_event(hub: Core, name: str, doc: Doc) -> Doc:
    """One row of a timeline: a comment, or an event about the issue."""
    who = user(hub, doc["user"] if doc["event"] == "commented" else doc["actor"])
    if doc["event"] == "commented":
        return comment(hub, name, doc) | {"event": "commented", "actor": who}
    shown: dict[str, Any] = {
        "id": doc["id"],
        "node_id": f"EV_{doc['id']}",
        "url": f"{repo_url(hub, name)}/issues/events/{doc['id']}",
        "actor": who,
        "event": doc["event"],
        "commit_id": doc.get("commit_id"),
        "commit_url": f"{repo_url(hub, name)}/commits/{doc['commit_id']}" if doc.get("commit_id") else None,
        "created_at": doc["created_at"],
        "performed_via_github_app": None,
    }
    if "label" in doc:
        made = label(hub, name, doc["label"])
        shown["label"] = {"name": made["name"], "color": made["color"]}
    if "rename" in doc:
        shown["rename"] = doc["rename"]
    if "reviewer" in doc:
        shown |= {"review_requester": who, "requested_reviewer": user(hub, doc["reviewer"])}
    return shown
