"""Check runs, statuses, workflows, runs, jobs, artifacts, releases and assets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from trackside.sandbox.state import Doc
from trackside.sandbox.views.core import app, minimal_repo, repo_url, user
from trackside.sandbox.views.git import simple_commit

if TYPE_CHECKING:
    from trackside.sandbox.core import Core


def check(hub: Core, name: str, doc: Doc) -> Doc:
    """`check-run`."""
    url = f"{repo_url(hub, name)}/check-runs/{doc['id']}"
    page = f"{hub.url}/{name}/runs/{doc['id']}"
    output = doc["output"]
    return {
        "id": doc["id"],
        "node_id": f"CR_{doc['id']}",
        "name": doc["name"],
        "head_sha": doc["head_sha"],
        "external_id": doc["external_id"],
        "url": url,
        "html_url": page,
        "details_url": doc["details_url"] or page,
        "status": doc["status"],
        "conclusion": doc["conclusion"],
        "started_at": doc["started_at"],
        "completed_at": doc["completed_at"],
        "output": {
            "title": output.get("title"),
            "summary": output.get("summary"),
            "text": output.get("text"),
            "annotations_count": len(doc["annotations"]),
            "annotations_url": url + "/annotations",
        },
        "check_suite": {"id": doc["id"]},
        "app": app(hub, doc["app"] or "github-actions"),
        "pull_requests": pulls_of(hub, name, doc["head_sha"]),
    }


def pulls_of(hub: Core, name: str, sha: str) -> list[Doc]:
    """`pull-request-minimal` of open same-repository pull requests with this head; forks are not listed."""
    found = []
    here = {"id": hub.repo(name)["id"], "url": repo_url(hub, name), "name": hub.repo(name)["name"]}
    for doc in hub.state.list("pull", name, head_sha=sha, head_repo=name):
        about = hub.issue(name, doc["number"])
        if about["state"] == "open":
            found.append(
                {
                    "id": about["id"],
                    "number": doc["number"],
                    "url": f"{repo_url(hub, name)}/pulls/{doc['number']}",
                    "head": {"ref": doc["head_ref"], "sha": sha, "repo": here},
                    "base": {"ref": doc["base_ref"], "sha": doc["base_sha"], "repo": here},
                }
            )
    return found


def annotation(hub: Core, name: str, sha: str, doc: Doc) -> Doc:
    """`check-annotation`."""
    optional = {key: doc.get(key) for key in ("start_column", "end_column", "title", "raw_details")}
    needed = {key: doc[key] for key in ("path", "start_line", "end_line", "annotation_level", "message")}
    return needed | optional | {"blob_href": f"{hub.url}/{name}/blob/{sha}/{quote(doc['path'])}"}


def status(hub: Core, name: str, doc: Doc) -> Doc:
    """`status`: one commit status."""
    return {
        "id": doc["id"],
        "node_id": f"SC_{doc['id']}",
        "url": f"{repo_url(hub, name)}/statuses/{doc['sha']}",
        "avatar_url": user(hub, doc["creator"])["avatar_url"],
        "state": doc["state"],
        "description": doc["description"],
        "target_url": doc["target_url"],
        "context": doc["context"],
        "created_at": doc["created_at"],
        "updated_at": doc["created_at"],
        "creator": user(hub, doc["creator"]),
    }


def combined_status(hub: Core, name: str, sha: str, docs: list[Doc]) -> Doc:
    """`combined-commit-status`: the newest of each context decides."""
    newest = {doc["context"]: doc for doc in docs}
    states = {doc["state"] for doc in newest.values()}
    failed = states & {"error", "failure"}
    statuses = [status(hub, name, doc) for doc in newest.values()]
    for one in statuses:
        del one["creator"]
    return {
        "state": "failure" if failed else "success" if states == {"success"} else "pending",
        "sha": sha,
        "total_count": len(newest),
        "statuses": statuses,
        "repository": minimal_repo(hub, name),
        "commit_url": f"{repo_url(hub, name)}/commits/{sha}",
        "url": f"{repo_url(hub, name)}/commits/{sha}/status",
    }


def workflow(hub: Core, name: str, doc: Doc) -> Doc:
    file = doc["path"].rsplit("/", 1)[-1]
    created = hub.repo(name)["created_at"]
    return {
        "id": doc["id"],
        "node_id": f"W_{doc['id']}",
        "name": doc["name"],
        "path": doc["path"],
        "state": doc["state"],
        "created_at": created,
        "updated_at": created,
        "url": f"{repo_url(hub, name)}/actions/workflows/{doc['id']}",
        "html_url": f"{hub.url}/{name}/blob/{quote(hub.repo(name)['default_branch'])}/{quote(doc['path'])}",
        "badge_url": f"{hub.url}/{name}/actions/workflows/{quote(file)}/badge.svg",
    }


def run(hub: Core, name: str, doc: Doc) -> Doc:
    """`workflow-run`."""
    url = f"{repo_url(hub, name)}/actions/runs/{doc['id']}"
    flow = hub.workflow(name, doc["workflow_path"])
    bare = hub.bare(name)
    head = bare.sha(doc["head_sha"])
    suite = f"{repo_url(hub, name)}/check-suites/{doc['id']}"
    links = {f"{part}_url": f"{url}/{part}" for part in ("jobs", "logs", "cancel", "rerun", "artifacts")}
    attempt = int(doc["attempt"])
    return links | {
        "id": doc["id"],
        "node_id": f"WFR_{doc['id']}",
        "name": doc["workflow_name"],
        "path": doc["workflow_path"],
        "display_title": doc["display_title"],
        "run_number": doc["run_number"],
        "run_attempt": attempt,
        "event": doc["event"].split("/")[0],
        "status": doc["status"],
        "conclusion": doc["conclusion"],
        "workflow_id": flow["id"],
        "workflow_url": f"{repo_url(hub, name)}/actions/workflows/{flow['id']}",
        "check_suite_id": doc["id"],
        "check_suite_node_id": f"CS_{doc['id']}",
        "check_suite_url": suite,
        "head_branch": doc["head_branch"],
        "head_sha": doc["head_sha"],
        "head_commit": simple_commit(bare.commit(head)) if head else None,
        "url": url,
        "html_url": f"{hub.url}/{name}/actions/runs/{doc['id']}",
        "previous_attempt_url": f"{url}/attempts/{attempt - 1}" if attempt > 1 else None,
        "created_at": doc["created_at"],
        "updated_at": doc["updated_at"],
        "run_started_at": doc["started_at"] or doc["created_at"],
        "actor": user(hub, doc["actor"]),
        "triggering_actor": user(hub, doc["triggering_actor"]),
        "pull_requests": pulls_of(hub, name, doc["head_sha"]) if doc["event"].startswith("pull_request") else [],
        "repository": minimal_repo(hub, name),
        "head_repository": minimal_repo(hub, name),
        "referenced_workflows": [],
    }


def job(hub: Core, name: str, doc: Doc) -> Doc:
    run_doc = hub.state.get("run", name, doc["run_id"]) or {}
    url = f"{repo_url(hub, name)}/actions/jobs/{doc['id']}"
    placed = bool(doc["runner_name"])
    created = run_doc.get("created_at") or hub.now()
    steps = [
        {key: step.get(key) for key in ("name", "status", "conclusion", "number", "started_at", "completed_at")}
        for step in doc["steps"]
    ]
    return {
        "id": doc["id"],
        "node_id": f"J_{doc['id']}",
        "run_id": doc["run_id"],
        "run_url": f"{repo_url(hub, name)}/actions/runs/{doc['run_id']}",
        "run_attempt": int(doc["attempt"]),
        "head_sha": run_doc.get("head_sha", ""),
        "head_branch": run_doc.get("head_branch"),
        "workflow_name": run_doc.get("workflow_name"),
        "url": url,
        "html_url": f"{hub.url}/{name}/actions/runs/{doc['run_id']}/job/{doc['id']}",
        "check_run_url": f"{repo_url(hub, name)}/check-runs/{doc['id']}",
        "name": doc["name"],
        "status": doc["status"],
        "conclusion": doc["conclusion"],
        "created_at": doc.get("created_at") or created,
        "started_at": doc["started_at"] or created,
        "completed_at": doc["completed_at"],
        "labels": doc["labels"],
        "runner_id": 1 if placed else None,
        "runner_name": doc["runner_name"] or None,
        "runner_group_id": 1 if placed else None,
        "runner_group_name": "Default" if placed else None,
        "steps": steps,
    }


def artifact(hub: Core, name: str, doc: Doc) -> Doc:
    url = f"{repo_url(hub, name)}/actions/artifacts/{doc['id']}"
    return {
        "id": doc["id"],
        "node_id": f"AR_{doc['id']}",
        "name": doc["name"],
        "size_in_bytes": doc["size"],
        "url": url,
        "archive_download_url": url + "/zip",
        "expired": False,
        "created_at": doc["created_at"],
        "updated_at": doc["created_at"],
        "expires_at": None,
        "digest": doc.get("digest"),
        "workflow_run": {"id": doc["run_id"]},
    }


def asset(hub: Core, name: str, doc: Doc, tag: str) -> Doc:
    """`release-asset`."""
    return {
        "id": doc["id"],
        "node_id": f"RA_{doc['id']}",
        "url": f"{repo_url(hub, name)}/releases/assets/{doc['id']}",
        "browser_download_url": f"{hub.url}/{name}/releases/download/{quote(tag)}/{quote(doc['name'])}",
        "name": doc["name"],
        "label": doc["label"],
        "state": doc["state"],
        "content_type": doc["content_type"],
        "size": doc["size"],
        "digest": doc["digest"],
        "download_count": doc.get("downloads", 0),
        "created_at": doc["created_at"],
        "updated_at": doc["created_at"],
        "uploader": user(hub, doc["uploader"]),
    }


def release(hub: Core, name: str, doc: Doc) -> Doc:
    base = f"{repo_url(hub, name)}/releases/{doc['id']}"
    tag = doc["tag_name"]
    balls: dict[str, Any] = {
        f"{kind}_url": None if doc["draft"] else f"{repo_url(hub, name)}/{kind}/{quote(tag)}"
        for kind in ("tarball", "zipball")
    }
    page = f"untagged-{doc['id']}" if doc["draft"] else quote(tag)
    return balls | {
        "id": doc["id"],
        "node_id": f"RE_{doc['id']}",
        "url": base,
        "assets_url": base + "/assets",
        "upload_url": f"{hub.upload_url}/repos/{name}/releases/{doc['id']}/assets{{?name,label}}",
        "html_url": f"{hub.url}/{name}/releases/tag/{page}",
        "tag_name": tag,
        "target_commitish": doc["target_commitish"],
        "name": doc["name"],
        "body": doc["body"],
        "draft": doc["draft"],
        "prerelease": doc["prerelease"],
        "immutable": doc.get("immutable", False),
        "created_at": doc["created_at"],
        "updated_at": doc["updated_at"],
        "published_at": doc["published_at"],
        "author": user(hub, doc["author"]),
        "assets": [asset(hub, name, one, tag) for one in hub.state.list("asset", name, release=doc["id"])],
    }
