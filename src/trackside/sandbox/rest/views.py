"""Documents of the state as GitHub shows them, laid over the examples of its own description."""

from __future__ import annotations

import json
from typing import Any

from trackside.sandbox.contract import Contract
from trackside.sandbox.hub import BOT, Hub
from trackside.sandbox.state import Doc

API = "/api/v3"
_R = "/repos/{owner}/{repo}"


class Views:
    """Builds answers; every method takes the repository's full name first."""

    def __init__(self, hub: Hub, contract: Contract) -> None:
        self.hub, self.contract = hub, contract
        self._cache: dict[tuple[str, str, int], str] = {}

    def skeleton(self, repo: str, template: str, method: str = "get", status: int = 200) -> Any:
        """The description's example, with our URLs and names in place of its own."""
        key = (template, method, status)
        if key not in self._cache:
            self._cache[key] = json.dumps(self.contract.example(template, method, status))
        owner, name = repo.split("/")
        text = self._cache[key].replace("https://api.github.com", self.api).replace("https://github.com", self.hub.url)
        text = (
            text.replace("octocat/Hello-World", repo)
            .replace("octocat/hello-world", repo)
            .replace("github/hello-world", repo)
        )
        return json.loads(text.replace('"octocat"', f'"{owner}"').replace('"Hello-World"', f'"{name}"'))

    @property
    def api(self) -> str:
        return self.hub.url + API

    def user(self, login: str) -> Doc:
        user = self.hub.user(login)
        base = f"{self.api}/users/{login}"
        links = {f"{name}_url": f"{base}/{name}" for name in ("followers", "subscriptions", "repos", "received_events")}
        return {
            "login": login,
            "id": user["id"],
            "node_id": f"U_{user['id']}",
            "avatar_url": f"{self.hub.url}/{login}.png",
            "gravatar_id": "",
            "url": base,
            "html_url": f"{self.hub.url}/{login}",
            **links,
            "following_url": base + "/following{/other_user}",
            "gists_url": base + "/gists{/gist_id}",
            "starred_url": base + "/starred{/owner}{/repo}",
            "organizations_url": base + "/orgs",
            "events_url": base + "/events{/privacy}",
            "type": user["type"],
            "site_admin": False,
        }

    def _about_repo(self, doc: Doc) -> Doc:
        repo = doc["full_name"]
        return {
            "id": doc["id"],
            "name": doc["name"],
            "full_name": repo,
            "owner": self.user(doc["owner"]),
            "private": doc["private"],
            "fork": doc["fork"],
            "default_branch": doc["default_branch"],
            "created_at": doc["created_at"],
            "url": f"{self.api}/repos/{repo}",
            "html_url": f"{self.hub.url}/{repo}",
            "clone_url": f"{self.hub.url}/{repo}.git",
            "visibility": "private" if doc["private"] else "public",
            "description": None,
            "homepage": None,
        }

    def repo(self, repo: str) -> Doc:
        made: Doc = self.skeleton(repo, _R) | self._about_repo(self.hub.repo(repo))
        for key in ("template_repository", "parent", "source", "organization"):
            made.pop(key, None)
        return made

    def small_repo(self, repo: str) -> Doc:
        """A repository inside a pull request or a run."""
        made: Doc = self.skeleton(repo, f"{_R}/pulls/{{pull_number}}")["base"]["repo"] | self._about_repo(
            self.hub.repo(repo)
        )
        return made

    def pull(self, repo: str, number: int, *, simple: bool = False) -> Doc:
        pull, issue = self.hub.pull(repo, number), self.hub.issue(repo, number)
        if simple:
            made = self.skeleton(repo, f"{_R}/pulls")[0]
        else:
            made = self.skeleton(repo, f"{_R}/pulls/{{pull_number}}")
        url = f"{self.api}/repos/{repo}"
        page = f"{self.hub.url}/{repo}/pull/{number}"
        head_owner = pull["head_repo"].split("/")[0]
        made |= {
            "id": issue["id"],
            "number": number,
            "state": issue["state"],
            "title": issue["title"],
            "body": issue["body"],
            "locked": False,
            "active_lock_reason": None,
            "user": self.user(issue["user"]),
            "labels": [self.label(repo, name) for name in issue["labels"]],
            "milestone": None,
            "created_at": issue["created_at"],
            "updated_at": issue["updated_at"],
            "closed_at": issue["closed_at"],
            "merged_at": pull["merged_at"],
            "merge_commit_sha": pull["merge_commit_sha"],
            "assignee": None,
            "assignees": [],
            "requested_reviewers": [],
            "requested_teams": [],
            "draft": pull["draft"],
            "auto_merge": None,
            "author_association": "CONTRIBUTOR",
            "url": f"{url}/pulls/{number}",
            "html_url": page,
            "diff_url": page + ".diff",
            "patch_url": page + ".patch",
            "issue_url": f"{url}/issues/{number}",
            "comments_url": f"{url}/issues/{number}/comments",
            "head": {
                "label": f"{head_owner}:{pull['head_ref']}",
                "ref": pull["head_ref"],
                "sha": pull["head_sha"],
                "user": self.user(head_owner),
                "repo": self.small_repo(pull["head_repo"]),
            },
            "base": {
                "label": f"{repo.split('/')[0]}:{pull['base_ref']}",
                "ref": pull["base_ref"],
                "sha": pull["base_sha"],
                "user": self.user(repo.split("/")[0]),
                "repo": self.small_repo(repo),
            },
        }
        if not simple:
            bare = self.hub.bare(repo)
            changes = bare.changed(pull["base_sha"], pull["head_sha"])
            made |= {
                "merged": pull["merged"],
                "mergeable": pull["mergeable"] if issue["state"] == "open" else None,
                "rebaseable": pull["mergeable"],
                "mergeable_state": "clean" if pull["mergeable"] else "dirty",
                "merged_by": self.user(pull["merged_by"]) if pull["merged_by"] else None,
                "comments": len(self.hub.state.list("comment", repo, issue=number)),
                "review_comments": 0,
                "maintainer_can_modify": False,
                "commits": len(bare.log(f"{pull['base_sha']}..{pull['head_sha']}")),
                "changed_files": len(changes),
                "additions": sum(int(one["added"]) for one in changes),
                "deletions": sum(int(one["removed"]) for one in changes),
            }
        return dict(made)

    def label(self, repo: str, name: str) -> Doc:
        doc = self.hub.state.get("label", repo, name) or {"id": 0, "color": "ededed"}
        return {
            "id": doc["id"],
            "node_id": f"LA_{doc['id']}",
            "url": f"{self.api}/repos/{repo}/labels/{name}",
            "name": name,
            "color": doc["color"],
            "default": False,
            "description": None,
        }

    def comment(self, repo: str, doc: Doc) -> Doc:
        page = f"{self.hub.url}/{repo}/pull/{doc['issue']}#issuecomment-{doc['id']}"
        return {
            "id": doc["id"],
            "node_id": f"IC_{doc['id']}",
            "url": f"{self.api}/repos/{repo}/issues/comments/{doc['id']}",
            "html_url": page,
            "issue_url": f"{self.api}/repos/{repo}/issues/{doc['issue']}",
            "body": doc["body"],
            "user": self.user(doc["user"]),
            "created_at": doc["created_at"],
            "updated_at": doc["updated_at"],
            "author_association": "NONE",
            "performed_via_github_app": None,
        }

    def check(self, repo: str, doc: Doc) -> Doc:
        made: Doc = self.skeleton(repo, f"{_R}/check-runs/{{check_run_id}}")
        output = doc["output"]
        url = f"{self.api}/repos/{repo}/check-runs/{doc['id']}"
        made |= {
            "id": doc["id"],
            "name": doc["name"],
            "head_sha": doc["head_sha"],
            "external_id": doc["external_id"],
            "details_url": doc["details_url"],
            "url": url,
            "html_url": f"{self.hub.url}/{repo}/runs/{doc['id']}",
            "status": doc["status"],
            "conclusion": doc["conclusion"],
            "started_at": doc["started_at"],
            "completed_at": doc["completed_at"],
            "pull_requests": [],
            "output": {
                "title": output.get("title"),
                "summary": output.get("summary"),
                "text": output.get("text"),
                "annotations_count": len(doc["annotations"]),
                "annotations_url": url + "/annotations",
            },
        }
        return made

    def run(self, repo: str, doc: Doc) -> Doc:
        made: Doc = self.skeleton(repo, f"{_R}/actions/runs/{{run_id}}")
        url = f"{self.api}/repos/{repo}/actions/runs/{doc['id']}"
        made |= {
            "id": doc["id"],
            "name": doc["workflow_name"],
            "path": doc["workflow_path"],
            "display_title": doc["display_title"],
            "run_number": doc["run_number"],
            "run_attempt": doc["attempt"],
            "event": doc["event"],
            "status": doc["status"],
            "conclusion": doc["conclusion"],
            "head_branch": doc["head_branch"],
            "head_sha": doc["head_sha"],
            "url": url,
            "html_url": f"{self.hub.url}/{repo}/actions/runs/{doc['id']}",
            "jobs_url": url + "/jobs",
            "logs_url": url + "/logs",
            "cancel_url": url + "/cancel",
            "rerun_url": url + "/rerun",
            "artifacts_url": url + "/artifacts",
            "previous_attempt_url": None,
            "created_at": doc["created_at"],
            "updated_at": doc["updated_at"],
            "run_started_at": doc["started_at"] or doc["created_at"],
            "actor": self.user(doc["actor"]),
            "triggering_actor": self.user(doc["triggering_actor"]),
            "pull_requests": [],
            "repository": self.small_repo(repo),
            "head_repository": self.small_repo(repo),
            "referenced_workflows": [],
        }
        made["head_commit"]["id"] = doc["head_sha"]
        return made

    def job(self, repo: str, doc: Doc) -> Doc:
        made: Doc = self.skeleton(repo, f"{_R}/actions/jobs/{{job_id}}")
        url = f"{self.api}/repos/{repo}/actions/jobs/{doc['id']}"
        run_page = f"{self.hub.url}/{repo}/actions/runs/{doc['run_id']}"
        made |= {
            "id": doc["id"],
            "run_id": doc["run_id"],
            "run_url": f"{self.api}/repos/{repo}/actions/runs/{doc['run_id']}",
            "url": url,
            "html_url": f"{run_page}/job/{doc['id']}",
            "name": doc["name"],
            "status": doc["status"],
            "conclusion": doc["conclusion"],
            "created_at": doc["created_at"],
            "started_at": doc["started_at"] or doc["created_at"],
            "completed_at": doc["completed_at"],
            "labels": doc["labels"],
            "runner_name": doc["runner_name"],
            "runner_id": 1 if doc["runner_name"] else None,
            "runner_group_id": 1 if doc["runner_name"] else None,
            "runner_group_name": "Default" if doc["runner_name"] else None,
            "run_attempt": doc["attempt"],
            "steps": doc["steps"],
            "workflow_name": doc.get("workflow_name"),
            "head_branch": doc.get("head_branch"),
        }
        return made

    # Event payloads

    def _event(self, repo: str, sender: str, **more: Any) -> Doc:
        return {**more, "repository": self.small_repo(repo), "sender": self.user(sender)}

    def push(self, repo: Doc, ref: str, before: str, after: str, login: str) -> Doc:
        return self._event(
            repo["full_name"],
            login,
            ref=ref,
            before=before,
            after=after,
            created=before == "0" * 40,
            deleted=False,
            forced=False,
            commits=[],
            head_commit={"id": after},
        )

    def pull_event(self, repo: str, number: int, action: str, login: str, **more: Any) -> Doc:
        if "label" in more:
            more["label"] = self.label(repo, more["label"])
        return self._event(repo, login, action=action, number=number, pull_request=self.pull(repo, number), **more)

    def comment_event(self, repo: str, issue: Doc, comment: Doc, login: str) -> Doc:
        shown: Doc = {
            "number": issue["number"],
            "title": issue["title"],
            "state": issue["state"],
            "user": self.user(issue["user"]),
            "labels": [],
        }
        if issue["is_pull"]:
            shown["pull_request"] = {"url": f"{self.api}/repos/{repo}/pulls/{issue['number']}"}
        return self._event(repo, login, action="created", issue=shown, comment=self.comment(repo, comment))

    def dispatch(self, repo: str, workflow: str, ref: str, inputs: dict[str, str], login: str) -> Doc:
        return self._event(repo, login, workflow=workflow, ref=ref, inputs=inputs)

    def merge_group(self, repo: str, ref: str, head: str, pull: Doc, login: str) -> Doc:
        group = {
            "head_sha": head,
            "head_ref": ref,
            "base_sha": pull["base_sha"],
            "base_ref": f"refs/heads/{pull['base_ref']}",
            "head_commit": {"id": head},
        }
        return self._event(repo, login, action="checks_requested", merge_group=group)


def is_bot(login: str) -> bool:
    return login == BOT or login.endswith("[bot]")
