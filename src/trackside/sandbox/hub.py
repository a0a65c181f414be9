"""What the sandbox's GitHub does: repositories, pull requests, pushes and the events that follow from them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trackside.sandbox.bus import Bus, HookEvent
from trackside.sandbox.git import ZERO, Bare
from trackside.sandbox.state import Doc, State

BOT = "github-actions[bot]"
ROLES = ("none", "read", "triage", "write", "maintain", "admin")


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Problem(Exception):
    """An HTTP error answer."""

    def __init__(
        self, status: int, message: str, *, errors: list[Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.errors, self.headers = status, message, errors, dict(headers or {})


class Hub:
    """State, git and events together. Every change goes through here, under one lock."""

    def __init__(self, state: State, bus: Bus, env: Mapping[str, str]) -> None:
        self.state, self.bus, self.env = state, bus, env
        self.lock = threading.RLock()
        self.url = ""
        self.payloads: Any = None
        """Set by the REST side: builds event payloads from its own views."""

    # Repositories and people

    def bare(self, repo: str) -> Bare:
        return Bare(self.state.root / "repos" / f"{repo}.git", self.env)

    def repo(self, full_name: str) -> Doc:
        found = self.state.get("repo", "", full_name)
        if found is None:
            raise Problem(404, "Not Found")
        return found

    def add_user(self, login: str, kind: str = "User") -> Doc:
        known = self.state.get("user", "", login)
        if known:
            return known
        number = 41898282 if login == BOT else 1000 + self.state.next("user")
        return self.state.put("user", "", login, {"login": login, "id": number, "type": kind, "name": login})

    def user(self, login: str) -> Doc:
        return self.state.get("user", "", login) or self.add_user(login)

    def add_token(
        self,
        text: str,
        login: str,
        kind: str = "user",
        permissions: Mapping[str, str] | None = None,
        repo: str = "",
        **more: Any,
    ) -> Doc:
        """`permissions` None: what the login's role allows."""
        held = dict(permissions) if permissions is not None else None
        return self.state.put(
            "token", "", text, {"token": text, "login": login, "kind": kind, "permissions": held, "repo": repo, **more}
        )

    def add_repo(
        self, full_name: str, *, default_branch: str = "main", private: bool = False, parent: str | None = None
    ) -> Doc:
        owner, name = full_name.split("/")
        self.add_user(owner)
        path = self.state.root / "repos" / f"{full_name}.git"
        bare = Bare.create(path, self.env, default_branch)
        doc = {
            "id": self.state.next("id"),
            "owner": owner,
            "name": name,
            "full_name": full_name,
            "default_branch": default_branch,
            "private": private,
            "fork": parent is not None,
            "parent": parent,
            "created_at": now(),
        }
        if parent:
            bare.fetch(self.bare(parent).path, "+refs/heads/*:refs/heads/*")
        self.state.put("repo", "", full_name, doc)
        self.set_role(full_name, owner, "admin")
        return doc

    def set_role(self, repo: str, login: str, role: str) -> None:
        self.add_user(login)
        self.state.put("collaborator", repo, login, {"login": login, "role_name": role})

    def role(self, repo: str, login: str) -> str:
        found = self.state.get("collaborator", repo, login)
        if found:
            return str(found["role_name"])
        return "none" if self.repo(repo)["private"] else "read"

    # Pushes

    def pushed(self, repo: str, changes: Mapping[str, tuple[str, str]], actor: Doc) -> None:
        """React to moved refs: `changes` maps a ref to (before, after)."""
        with self.lock:
            for ref, (before, after) in changes.items():
                self._emit_push(repo, ref, before, after, actor)
                if ref.startswith("refs/heads/"):
                    self._move_pulls(repo, ref.removeprefix("refs/heads/"), before, after, actor)

    def _emit_push(self, repo: str, ref: str, before: str, after: str, actor: Doc) -> None:
        if after == ZERO:
            return
        payload = self.payloads.push(self.repo(repo), ref, before, after, actor["login"])
        self.bus.emit(
            HookEvent(
                repo=repo,
                name="push",
                action=None,
                payload=payload,
                ref=ref,
                sha=after,
                sender=actor["login"],
                token_kind=actor["kind"],
            )
        )

    def _move_pulls(self, repo: str, branch: str, before: str, after: str, actor: Doc) -> None:
        for full_name in [repo] + ([self.repo(repo)["parent"]] if self.repo(repo)["parent"] else []):
            for pull in self.state.list("pull", full_name):
                issue = self.issue(full_name, pull["number"])
                if issue["state"] != "open":
                    continue
                if pull["head_repo"] == repo and pull["head_ref"] == branch and after != ZERO:
                    pull["pushes"].append({"sha": after, "before": before, "actor": actor["login"], "at": now()})
                    self._refresh(full_name, pull, after)
                    self.emit_pull(full_name, pull["number"], "synchronize", actor, before=before, after=after)
                elif full_name == repo and pull["base_ref"] == branch and after != ZERO:
                    self._refresh(full_name, pull, pull["head_sha"])

    def _refresh(self, repo: str, pull: Doc, head_sha: str) -> None:
        """Bring `refs/pull/N/head` and `/merge` up to date with head and base."""
        bare = self.bare(repo)
        number = pull["number"]
        if pull["head_repo"] != repo:
            bare.fetch(self.bare(pull["head_repo"]).path, f"+refs/heads/{pull['head_ref']}:refs/pull/{number}/head")
        base_sha = bare.sha(f"refs/heads/{pull['base_ref']}") or ""
        bare.update_ref(f"refs/pull/{number}/head", head_sha)
        tree = bare.merge_tree(base_sha, head_sha)
        pull.update(head_sha=head_sha, base_sha=base_sha, mergeable=tree is not None)
        if tree is not None:
            message = f"Merge {head_sha} into {base_sha}"
            merge = bare.write_commit(tree, [base_sha, head_sha], message)
            bare.update_ref(f"refs/pull/{number}/merge", merge)
            pull["merge_commit_sha"] = merge
        else:
            bare.delete_ref(f"refs/pull/{number}/merge")
            pull["merge_commit_sha"] = None
        self.state.put("pull", repo, number, pull)
        self._touch(repo, number)

    # Issues and pull requests

    def issue(self, repo: str, number: int) -> Doc:
        found = self.state.get("issue", repo, number)
        if found is None:
            raise Problem(404, "Not Found")
        return found

    def pull(self, repo: str, number: int) -> Doc:
        found = self.state.get("pull", repo, number)
        if found is None:
            raise Problem(404, "Not Found")
        return found

    def _touch(self, repo: str, number: int) -> None:
        issue = self.issue(repo, number)
        issue["updated_at"] = now()
        self.state.put("issue", repo, number, issue)

    def open_pull(
        self, repo: str, *, title: str, head: str, base: str, actor: Doc, body: str = "", draft: bool = False
    ) -> int:
        """Open a pull request; `head` is `branch` or `owner:branch` of a fork."""
        with self.lock:
            owner, _, branch = head.rpartition(":")
            name = repo.split("/")[1]
            head_repo = repo if not owner or owner == repo.split("/")[0] else f"{owner}/{name}"
            head_sha = self.bare(self.repo(head_repo)["full_name"]).sha(f"refs/heads/{branch}")
            base_sha = self.bare(repo).sha(f"refs/heads/{base}")
            if not head_sha or not base_sha:
                field = "head" if not head_sha else "base"
                raise Problem(
                    422, "Validation Failed", errors=[{"resource": "PullRequest", "field": field, "code": "invalid"}]
                )
            for other in self.state.list("pull", repo, head_repo=head_repo, head_ref=branch, base_ref=base):
                if self.issue(repo, other["number"])["state"] == "open":
                    message = f"A pull request already exists for {head_repo.split('/')[0]}:{branch}."
                    raise Problem(
                        422,
                        "Validation Failed",
                        errors=[{"resource": "PullRequest", "code": "custom", "message": message}],
                    )
            number = self.state.next(f"number:{repo}")
            self.state.put(
                "issue",
                repo,
                number,
                {
                    "id": self.state.next("id"),
                    "number": number,
                    "title": title,
                    "body": body,
                    "user": actor["login"],
                    "state": "open",
                    "labels": [],
                    "created_at": now(),
                    "updated_at": now(),
                    "closed_at": None,
                    "is_pull": True,
                    "locked": False,
                },
            )
            pull = {
                "number": number,
                "head_repo": head_repo,
                "head_ref": branch,
                "head_sha": head_sha,
                "base_ref": base,
                "base_sha": base_sha,
                "draft": draft,
                "merged": False,
                "merged_at": None,
                "merged_by": None,
                "merge_commit_sha": None,
                "mergeable": None,
                "pushes": [{"sha": head_sha, "before": ZERO, "actor": actor["login"], "at": now()}],
            }
            self._refresh(repo, pull, head_sha)
            self.emit_pull(repo, number, "opened", actor)
            return number

    def emit_pull(self, repo: str, number: int, action: str, actor: Doc, **more: Any) -> None:
        """`pull_request` on the merge result and `pull_request_target` on the default branch."""
        pull = self.pull(repo, number)
        payload = self.payloads.pull_event(repo, number, action, actor["login"], **more)
        default = self.repo(repo)["default_branch"]
        tip = self.bare(repo).sha(f"refs/heads/{default}") or ""
        common: dict[str, Any] = {
            "repo": repo,
            "action": action,
            "payload": payload,
            "sender": actor["login"],
            "token_kind": actor["kind"],
        }
        if pull["merge_commit_sha"]:
            self.bus.emit(
                HookEvent(name="pull_request", ref=f"refs/pull/{number}/merge", sha=pull["merge_commit_sha"], **common)
            )
        self.bus.emit(HookEvent(name="pull_request_target", ref=f"refs/heads/{default}", sha=tip, **common))

    def merge_pull(self, repo: str, number: int, actor: Doc, method: str = "merge", sha: str | None = None) -> str:
        with self.lock:
            pull, issue, bare = self.pull(repo, number), self.issue(repo, number), self.bare(repo)
            if sha and sha != pull["head_sha"]:
                raise Problem(409, "Head branch was modified. Review and try the merge again.")
            if issue["state"] != "open" or not pull["mergeable"] or pull["draft"]:
                raise Problem(405, "Pull Request is not mergeable")
            base, head = pull["base_sha"], pull["head_sha"]
            if method == "squash":
                result = bare.write_commit(
                    bare.commit(pull["merge_commit_sha"]).tree, [base], f"{issue['title']} (#{number})\n"
                )
            elif method == "rebase":
                result = self._rebase(bare, base, head)
            else:
                message = f"Merge pull request #{number} from {pull['head_repo'].split('/')[0]}/{pull['head_ref']}\n\n{issue['title']}\n"
                result = bare.write_commit(bare.commit(pull["merge_commit_sha"]).tree, [base, head], message)
            if not bare.update_ref(f"refs/heads/{pull['base_ref']}", result, base):
                raise Problem(409, "Base branch was modified. Review and try the merge again.")
            pull.update(merged=True, merged_at=now(), merged_by=actor["login"], merge_commit_sha=result)
            self.state.put("pull", repo, number, pull)
            issue.update(state="closed", closed_at=now(), updated_at=now())
            self.state.put("issue", repo, number, issue)
            self.emit_pull(repo, number, "closed", actor)
            self.pushed(repo, {f"refs/heads/{pull['base_ref']}": (base, result)}, actor)
            return result

    @staticmethod
    def _rebase(bare: Bare, base: str, head: str) -> str:
        tip = base
        for sha in reversed(bare.log(f"{base}..{head}")):
            info = bare.commit(sha)
            done = bare.git("merge-tree", "--write-tree", f"--merge-base={info.parents[0]}", tip, sha, check=False)
            if done.returncode != 0:
                raise Problem(405, "This branch can't be rebased")
            tip = bare.write_commit(done.text.split()[0], [tip], info.message)
        return tip

    def set_state(self, repo: str, number: int, state: str, actor: Doc) -> None:
        issue = self.issue(repo, number)
        if issue["state"] == state:
            return
        issue.update(state=state, closed_at=now() if state == "closed" else None, updated_at=now())
        self.state.put("issue", repo, number, issue)
        if issue["is_pull"]:
            self.emit_pull(repo, number, "closed" if state == "closed" else "reopened", actor)

    def add_labels(self, repo: str, number: int, names: list[str], actor: Doc) -> list[str]:
        issue = self.issue(repo, number)
        for name in names:
            if not self.state.get("label", repo, name):
                self.state.put("label", repo, name, {"id": self.state.next("id"), "name": name, "color": "ededed"})
            if name not in issue["labels"]:
                issue["labels"].append(name)
                self.state.put("issue", repo, number, issue)
                if issue["is_pull"]:
                    self.emit_pull(repo, number, "labeled", actor, label=name)
        return list(issue["labels"])

    def add_comment(self, repo: str, number: int, body: str, actor: Doc) -> Doc:
        issue = self.issue(repo, number)
        if len(body) > 65_536:
            raise Problem(
                422,
                "Validation Failed",
                errors=[
                    {
                        "resource": "IssueComment",
                        "code": "unprocessable",
                        "field": "data",
                        "message": "Body is too long (maximum is 65536 characters)",
                    }
                ],
            )
        number_id = self.state.next("id")
        doc = {
            "id": number_id,
            "issue": number,
            "user": actor["login"],
            "body": body,
            "created_at": now(),
            "updated_at": now(),
        }
        self.state.put("comment", repo, number_id, doc)
        default = self.repo(repo)["default_branch"]
        payload = self.payloads.comment_event(repo, issue, doc, actor["login"])
        tip = self.bare(repo).sha(f"refs/heads/{default}") or ""
        self.bus.emit(
            HookEvent(
                repo=repo,
                name="issue_comment",
                action="created",
                payload=payload,
                ref=f"refs/heads/{default}",
                sha=tip,
                sender=actor["login"],
                token_kind=actor["kind"],
            )
        )
        return doc

    def dispatch(self, repo: str, workflow: str, ref: str, inputs: Mapping[str, str], actor: Doc) -> int:
        """Emit `workflow_dispatch`; returns the id that its run will have."""
        branch = ref.removeprefix("refs/heads/")
        sha = self.bare(repo).sha(f"refs/heads/{branch}")
        if sha is None:
            raise Problem(422, f"No ref found for: {ref}")
        run_id = self.state.next("id")
        payload = self.payloads.dispatch(repo, workflow, f"refs/heads/{branch}", dict(inputs), actor["login"])
        self.bus.emit(
            HookEvent(
                repo=repo,
                name="workflow_dispatch",
                action=None,
                payload=payload,
                ref=f"refs/heads/{branch}",
                sha=sha,
                sender=actor["login"],
                token_kind=actor["kind"],
                workflow=workflow,
                run_id=run_id,
                inputs=dict(inputs),
            )
        )
        return run_id

    def enqueue(self, repo: str, number: int, actor: Doc) -> str:
        """Put a pull request into a simulated merge queue: `merge_group` on a branch of its own. Returns the head SHA."""
        with self.lock:
            pull, bare = self.pull(repo, number), self.bare(repo)
            tree = bare.commit(pull["merge_commit_sha"]).tree
            head = bare.write_commit(tree, [pull["base_sha"]], f"Merge pull request #{number} in the queue\n")
            ref = f"refs/heads/gh-readonly-queue/{pull['base_ref']}/pr-{number}-{pull['base_sha']}"
            bare.update_ref(ref, head)
            payload = self.payloads.merge_group(repo, ref, head, pull, actor["login"])
            self.bus.emit(
                HookEvent(
                    repo=repo,
                    name="merge_group",
                    action="checks_requested",
                    payload=payload,
                    ref=ref,
                    sha=head,
                    sender=actor["login"],
                    token_kind=actor["kind"],
                )
            )
            return head

    # Seeding, for demo and tests

    def commit_folder(
        self,
        repo: str,
        branch: str,
        files: Mapping[str, bytes | None],
        message: str,
        actor: Doc,
        *,
        executable: frozenset[str] = frozenset(),
    ) -> str:
        """Commit files (None removes) on top of a branch, as a push by `actor` would. A new branch starts at the default one."""
        with self.lock:
            bare = self.bare(repo)
            before = bare.sha(f"refs/heads/{branch}")
            parent = before or bare.sha(f"refs/heads/{self.repo(repo)['default_branch']}")
            entries: list[dict[str, str | None]] = [
                {
                    "path": path,
                    "mode": "100755" if path in executable else "100644",
                    "sha": bare.write_blob(data) if data is not None else None,
                }
                for path, data in files.items()
            ]
            tree = bare.write_tree(entries, bare.commit(parent).tree if parent else None)
            login = actor["login"]
            identity = {
                "GIT_AUTHOR_NAME": login,
                "GIT_AUTHOR_EMAIL": f"{login}@localhost",
                "GIT_COMMITTER_NAME": login,
                "GIT_COMMITTER_EMAIL": f"{login}@localhost",
            }
            sha = bare.write_commit(tree, [parent] if parent else [], message, identity)
            bare.update_ref(f"refs/heads/{branch}", sha)
            self.pushed(repo, {f"refs/heads/{branch}": (before or ZERO, sha)}, actor)
            return sha


def folder_files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path relative to it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
