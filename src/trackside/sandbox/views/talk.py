"""Issues, pull requests, comments, labels, reactions and reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from trackside.sandbox.state import Doc
from trackside.sandbox.views.core import app, association, maybe_user, repo, repo_url, user

if TYPE_CHECKING:
    from trackside.sandbox.core import Core

_REACTIONS = ("+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes")


def label(hub: Core, name: str, text: str) -> Doc:
    doc = hub.state.get("label", name, text)
    if doc is None:
        doc = {"id": 0, "color": "ededed", "description": None}
    return {
        "id": doc["id"],
        "node_id": f"LA_{doc['id']}",
        "url": f"{repo_url(hub, name)}/labels/{quote(text, safe='')}",
        "name": text,
        "color": doc["color"],
        "default": False,
        "description": doc.get("description"),
    }


def rollup(hub: Core, name: str, subject: str, url: str) -> Doc:
    """`reaction-rollup`: how many of each."""
    given = [one["content"] for one in hub.state.list("reaction", name, subject=subject)]
    return {"url": url, "total_count": len(given)} | {kind: given.count(kind) for kind in _REACTIONS}


def reaction(hub: Core, doc: Doc) -> Doc:
    return {
        "id": doc["id"],
        "node_id": f"REA_{doc['id']}",
        "user": user(hub, doc["user"]),
        "content": doc["content"],
        "created_at": doc["created_at"],
    }


def state_reason(doc: Doc) -> str | None:
    """Why an issue is as it is; pull requests have no reason."""
    if doc["state"] == "closed" and not doc["is_pull"]:
        return str(doc.get("reason") or "completed")
    return None


def issue(hub: Core, name: str, doc: Doc) -> Doc:
    """`issue`; a pull request is one with a `pull_request` part."""
    number = doc["number"]
    url = f"{repo_url(hub, name)}/issues/{number}"
    assignees = [user(hub, one) for one in doc.get("assignees", [])]
    made: dict[str, Any] = {
        "id": doc["id"],
        "node_id": f"I_{doc['id']}",
        "number": number,
        "url": url,
        "repository_url": repo_url(hub, name),
        "html_url": f"{hub.url}/{name}/{'pull' if doc['is_pull'] else 'issues'}/{number}",
        "labels_url": url + "/labels{/name}",
        "comments_url": url + "/comments",
        "events_url": url + "/events",
        "timeline_url": url + "/timeline",
        "title": doc["title"],
        "body": doc["body"],
        "user": user(hub, doc["user"]),
        "labels": [label(hub, name, one) for one in doc["labels"]],
        "state": doc["state"],
        "state_reason": state_reason(doc),
        "locked": doc["locked"],
        "active_lock_reason": None,
        "assignee": assignees[0] if assignees else None,
        "assignees": assignees,
        "milestone": None,
        "comments": len(hub.state.list("comment", name, issue=number)),
        "created_at": doc["created_at"],
        "updated_at": doc["updated_at"],
        "closed_at": doc["closed_at"],
        "author_association": association(hub, name, doc["user"]),
        "performed_via_github_app": None,
        "reactions": rollup(hub, name, f"issue/{number}", url + "/reactions"),
    }
    if doc["is_pull"]:
        pull_doc = hub.state.get("pull", name, number) or {}
        page = f"{hub.url}/{name}/pull/{number}"
        made["draft"] = bool(pull_doc.get("draft"))
        made["pull_request"] = {
            "url": f"{repo_url(hub, name)}/pulls/{number}",
            "html_url": page,
            "diff_url": page + ".diff",
            "patch_url": page + ".patch",
            "merged_at": pull_doc.get("merged_at"),
        }
    return made


def comment(hub: Core, name: str, doc: Doc) -> Doc:
    """`issue-comment`."""
    issue_doc = hub.state.get("issue", name, doc["issue"]) or {"is_pull": True}
    page = f"{hub.url}/{name}/{'pull' if issue_doc['is_pull'] else 'issues'}/{doc['issue']}"
    url = f"{repo_url(hub, name)}/issues/comments/{doc['id']}"
    return {
        "id": doc["id"],
        "node_id": f"IC_{doc['id']}",
        "url": url,
        "html_url": f"{page}#issuecomment-{doc['id']}",
        "issue_url": f"{repo_url(hub, name)}/issues/{doc['issue']}",
        "body": doc["body"],
        "user": user(hub, doc["user"]),
        "created_at": doc["created_at"],
        "updated_at": doc["updated_at"],
        "author_association": association(hub, name, doc["user"]),
        "performed_via_github_app": app(hub, doc["app"]) if doc.get("app") else None,
        "reactions": rollup(hub, name, f"comment/{doc['id']}", url + "/reactions"),
    }


def _side(hub: Core, name: str | None, ref: str, sha: str) -> Doc:
    owner = name.split("/")[0] if name else "unknown"
    known = name is not None and hub.state.get("repo", "", name) is not None
    return {
        "label": f"{owner}:{ref}",
        "ref": ref,
        "sha": sha,
        "user": maybe_user(hub, owner if known else None),
        "repo": repo(hub, name) if known and name else None,
    }


def simple_pull(hub: Core, name: str, number: int) -> Doc:
    """`pull-request-simple`, as in lists."""
    doc, about = hub.pull(name, number), hub.issue(name, number)
    url, issue_url = f"{repo_url(hub, name)}/pulls/{number}", f"{repo_url(hub, name)}/issues/{number}"
    page = f"{hub.url}/{name}/pull/{number}"
    statuses = f"{repo_url(hub, name)}/statuses/{doc['head_sha']}"
    labels = [label(hub, name, one) for one in about["labels"]]
    made: dict[str, Any] = {
        "id": about["id"],
        "node_id": f"PR_{about['id']}",
        "number": number,
        "url": url,
        "html_url": page,
        "diff_url": page + ".diff",
        "patch_url": page + ".patch",
        "issue_url": issue_url,
        "comments_url": issue_url + "/comments",
        "commits_url": url + "/commits",
        "review_comments_url": url + "/comments",
        "review_comment_url": f"{repo_url(hub, name)}/pulls/comments{{/number}}",
        "statuses_url": statuses,
        "state": about["state"],
        "locked": about["locked"],
        "active_lock_reason": None,
        "title": about["title"],
        "body": about["body"],
        "user": user(hub, about["user"]),
        # The description knows no label without a description here, though it does for issues.
        "labels": [one | {"description": one["description"] or ""} for one in labels],
        "milestone": None,
        "assignee": None,
        "assignees": [],
        "requested_reviewers": [user(hub, one) for one in doc.get("reviewers", [])],
        "requested_teams": [],
        "created_at": about["created_at"],
        "updated_at": about["updated_at"],
        "closed_at": about["closed_at"],
        "merged_at": doc["merged_at"],
        "merge_commit_sha": doc["merge_commit_sha"],
        "draft": doc["draft"],
        "auto_merge": None,
        "author_association": association(hub, name, about["user"]),
        "head": _side(hub, doc["head_repo"], doc["head_ref"], doc["head_sha"]),
        "base": _side(hub, name, doc["base_ref"], doc["base_sha"]),
    }
    links = {"self": "url", "html": "html_url", "issue": "issue_url", "comments": "comments_url"}
    links |= {one: one + "_url" for one in ("review_comments", "review_comment", "commits", "statuses")}
    return made | {"_links": {one: {"href": made[field]} for one, field in links.items()}}


def pull(hub: Core, name: str, number: int) -> Doc:
    """`pull-request`, with what only its own address tells."""
    doc, about, bare = hub.pull(name, number), hub.issue(name, number), hub.bare(name)
    start = bare.merge_base(doc["base_sha"], doc["head_sha"]) or doc["base_sha"]
    changes = bare.changed(start, doc["head_sha"])
    mergeable = doc["mergeable"] if about["state"] == "open" else None
    return simple_pull(hub, name, number) | {
        "merged": doc["merged"],
        "mergeable": mergeable,
        "rebaseable": mergeable,
        "mergeable_state": {True: "draft" if doc["draft"] else "clean", False: "dirty", None: "unknown"}[mergeable],
        "merged_by": maybe_user(hub, doc["merged_by"]),
        "comments": len(hub.state.list("comment", name, issue=number)),
        "review_comments": 0,
        "maintainer_can_modify": False,
        "commits": bare.count(f"{doc['base_sha']}..{doc['head_sha']}"),
        "changed_files": len(changes),
        "additions": sum(one.added for one in changes),
        "deletions": sum(one.removed for one in changes),
    }


def review(hub: Core, name: str, doc: Doc) -> Doc:
    """`pull-request-review`."""
    page = f"{hub.url}/{name}/pull/{doc['pull']}#pullrequestreview-{doc['id']}"
    url = f"{repo_url(hub, name)}/pulls/{doc['pull']}"
    return {
        "id": doc["id"],
        "node_id": f"PRR_{doc['id']}",
        "user": user(hub, doc["user"]),
        "body": doc["body"],
        "state": doc["state"],
        "commit_id": doc["commit_id"],
        "submitted_at": doc["submitted_at"],
        "html_url": page,
        "pull_request_url": url,
        "author_association": association(hub, name, doc["user"]),
        "_links": {"html": {"href": page}, "pull_request": {"href": url}},
    }
