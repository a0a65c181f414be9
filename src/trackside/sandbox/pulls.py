"""Pull requests: their refs follow head and base, merges by three methods, reviews, the merge queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trackside.sandbox import payloads
from trackside.sandbox.conversation import Conversation, check_body
from trackside.sandbox.core import author
from trackside.sandbox.git import ZERO, Bare
from trackside.sandbox.problem import Problem, invalid
from trackside.sandbox.state import Doc


class Pulls(Conversation):
    """`refs/pull/N/head` and `refs/pull/N/merge` are real refs; there is no merge ref while head and base conflict."""

    mergeable_after = 0
    """How many looks at a pull request answer `mergeable: null` after its head or base moved."""

    def open_pull(
        self, repo: str, *, title: str, head: str, base: str, actor: Doc, body: str = "", draft: bool = False
    ) -> int:
        """Open a pull request; `head` is `branch` or `owner:branch` of a fork. Raises Problem 422."""
        with self.lock:
            owner, _, branch = head.rpartition(":")
            head_repo = repo if owner in ("", repo.split("/")[0]) else self._fork_of(repo, owner)
            head_sha = self.bare(head_repo).sha(f"refs/heads/{branch}") if head_repo else None
            base_sha = self.bare(repo).sha(f"refs/heads/{base}")
            if not head_repo or not head_sha or not base_sha:
                raise invalid("PullRequest", "base" if head_sha else "head")
            self._may_open(repo, head_repo, branch, base, head_sha, base_sha)
            check_body("PullRequest", body)
            number = int(self.open_issue(repo, title=title, body=body, actor=actor, is_pull=True)["number"])
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
                "reviewers": [],
                "pushes": [self._push_of(ZERO, head_sha, actor)],
            }
            self._refresh(repo, pull, head_sha)
            self.emit_pull(repo, number, "opened", actor)
            return number

    def _push_of(self, before: str, after: str, actor: Doc) -> Doc:
        """What is kept of a push to a pull request's head."""
        number = self.state.next("id")
        return {"id": number, "sha": after, "before": before, "actor": author(actor), "at": self.now()}

    def _fork_of(self, repo: str, owner: str) -> str | None:
        for doc in self.state.list("repo", "", owner=owner):
            if doc["parent"] == repo:
                return str(doc["full_name"])
        return None

    def _may_open(self, repo: str, head_repo: str, branch: str, base: str, head_sha: str, base_sha: str) -> None:
        def refuse(message: str) -> Problem:
            return Problem(
                422,
                "Validation Failed",
                errors=[{"resource": "PullRequest", "code": "custom", "message": message}],
            )

        for other in self.state.list("pull", repo, head_repo=head_repo, head_ref=branch, base_ref=base):
            if self.issue(repo, other["number"])["state"] == "open":
                raise refuse(f"A pull request already exists for {head_repo.split('/')[0]}:{branch}.")
        bare = self.bare(repo)
        if head_repo != repo:
            bare.fetch(self.bare(head_repo).path, f"refs/heads/{branch}")
        if bare.is_ancestor(head_sha, base_sha):
            raise refuse(f"No commits between {base} and {branch}")

    def _refresh(self, repo: str, pull: Doc, head_sha: str) -> None:
        """Bring `refs/pull/N/head` and `/merge` up to date with head and base."""
        bare = self.bare(repo)
        number = pull["number"]
        if pull["head_repo"] != repo:
            bare.fetch(self.bare(pull["head_repo"]).path, f"+refs/heads/{pull['head_ref']}:refs/pull/{number}/head")
        base_sha = bare.sha(f"refs/heads/{pull['base_ref']}") or pull["base_sha"]
        bare.update_ref(f"refs/pull/{number}/head", head_sha)
        tree = bare.merge_tree(base_sha, head_sha)
        pull |= {"head_sha": head_sha, "base_sha": base_sha, "mergeable": tree is not None, "merge_commit_sha": None}
        pull["unknown_for"] = self.mergeable_after
        if tree is None:
            bare.delete_ref(f"refs/pull/{number}/merge")
        else:
            merge = bare.write_commit(tree, [base_sha, head_sha], f"Merge {head_sha} into {base_sha}")
            bare.update_ref(f"refs/pull/{number}/merge", merge)
            pull["merge_commit_sha"] = merge
        self.state.put("pull", repo, number, pull)
        self.touch(repo, number)

    def move_pulls(self, repo: str, branch: str, before: str, after: str, actor: Doc) -> None:
        """React to a moved branch: heads synchronize (here and upstream of a fork), bases get new merge refs."""
        parent = self.repo(repo)["parent"]
        for full_name in [repo, *([parent] if parent else [])]:
            for pull in self.state.list("pull", full_name):
                number = pull["number"]
                if self.issue(full_name, number)["state"] != "open":
                    continue
                if pull["head_repo"] == repo and pull["head_ref"] == branch:
                    if after == ZERO:
                        self.set_state(full_name, number, "closed", actor)
                        continue
                    pull["pushes"].append(self._push_of(before, after, actor))
                    if not self.bare(repo).is_ancestor(before, after):
                        self.record(full_name, number, "head_ref_force_pushed", actor, commit_id=after)
                    self._refresh(full_name, pull, after)
                    self.emit_pull(full_name, number, "synchronize", actor, before=before, after=after)
                elif full_name == repo and pull["base_ref"] == branch and after != ZERO:
                    self._refresh(full_name, pull, pull["head_sha"])

    def emit_pull(self, repo: str, number: int, action: str, actor: Doc, **more: Any) -> None:
        """`pull_request` on the merge result (none on conflict), `pull_request_target` on the default branch."""
        pull = self.pull(repo, number)
        payload = payloads.pull_request(self, repo, number, action, author(actor), **more)
        if pull["mergeable"] or pull["merged"] or action == "closed":
            sha = pull["merge_commit_sha"] or pull["head_sha"]
            self.emit(repo, "pull_request", payload, actor, ref=f"refs/pull/{number}/merge", sha=sha)
        ref, sha = self.default_tip(repo)
        self.emit(repo, "pull_request_target", payload, actor, ref=ref, sha=sha)

    def emit_issue(self, repo: str, number: int, action: str, actor: Doc, **more: Any) -> None:
        if self.issue(repo, number)["is_pull"]:
            self.emit_pull(repo, number, action, actor, **more)
        else:
            super().emit_issue(repo, number, action, actor, **more)

    def set_state(self, repo: str, number: int, state: str, actor: Doc, reason: str | None = None) -> None:
        """Close or reopen an issue or pull request; `reason` is the `state_reason` of an issue."""
        with self.lock:
            about = self.issue(repo, number)
            if about["state"] == state:
                return
            if about["is_pull"] and state == "open":
                pull = self.pull(repo, number)
                head = self.bare(pull["head_repo"]).sha(f"refs/heads/{pull['head_ref']}")
                if pull["merged"] or not head:
                    raise invalid("PullRequest", "state", message="state cannot be changed.")
                self._refresh(repo, pull, head)
            closed = state == "closed"
            self.touch(repo, number, state=state, closed_at=self.now() if closed else None, reason=reason)
            self.record(repo, number, "closed" if closed else "reopened", actor)
            self.emit_issue(repo, number, "closed" if state == "closed" else "reopened", actor)

    def edit(self, repo: str, number: int, changes: Mapping[str, Any], actor: Doc) -> None:
        """Change title, body or base branch, and say what they were."""
        with self.lock:
            about = self.issue(repo, number)
            before = {name: {"from": about[name] or ""} for name in ("title", "body") if name in changes}
            before = {name: was for name, was in before.items() if was["from"] != (changes[name] or "")}
            check_body("PullRequest", changes.get("body") or "")
            self.touch(repo, number, **{name: changes[name] for name in before})
            if "title" in before:
                rename = {"from": before["title"]["from"], "to": changes["title"]}
                self.record(repo, number, "renamed", actor, rename=rename)
            if "base" in changes:
                pull = self.pull(repo, number)
                if self.bare(repo).sha(f"refs/heads/{changes['base']}") is None:
                    raise invalid("PullRequest", "base")
                if pull["base_ref"] != changes["base"]:
                    before["base"] = {"ref": {"from": pull["base_ref"]}, "sha": {"from": pull["base_sha"]}}
                    self._refresh(repo, pull | {"base_ref": changes["base"]}, pull["head_sha"])
            if before:
                self.emit_issue(repo, number, "edited", actor, changes=before)

    def set_draft(self, repo: str, number: int, draft: bool, actor: Doc) -> None:
        """Back to draft, or ready for review."""
        with self.lock:
            pull = self.pull(repo, number)
            if pull["draft"] == draft:
                return
            self.state.put("pull", repo, number, pull | {"draft": draft})
            self.touch(repo, number)
            self.emit_pull(repo, number, "converted_to_draft" if draft else "ready_for_review", actor)

    def merge_pull(
        self,
        repo: str,
        number: int,
        actor: Doc,
        method: str = "merge",
        sha: str | None = None,
        title: str | None = None,
        message: str | None = None,
    ) -> str:
        """Merge by `merge`, `squash` or `rebase`; returns the new tip of the base branch. Raises Problem 405, 409."""
        with self.lock:
            pull, about, bare = self.pull(repo, number), self.issue(repo, number), self.bare(repo)
            if sha and sha != pull["head_sha"]:
                raise Problem(409, "Head branch was modified. Review and try the merge again.")
            if about["state"] != "open" or not pull["mergeable"] or pull["draft"]:
                raise Problem(405, "Pull Request is not mergeable")
            base, head = pull["base_sha"], pull["head_sha"]
            tree = bare.commit(pull["merge_commit_sha"]).tree
            identity = self.identity(author(actor))
            if method == "rebase":
                result = _rebase(bare, base, head)
            elif method == "squash":
                text = f"{title or about['title'] + f' (#{number})'}\n\n{message or ''}".strip() + "\n"
                result = bare.write_commit(tree, [base], text, identity)
            else:
                said = f"Merge pull request #{number} from {pull['head_repo'].split('/')[0]}/{pull['head_ref']}"
                text = f"{title or said}\n\n{message if message is not None else about['title']}".strip() + "\n"
                result = bare.write_commit(tree, [base, head], text, identity)
            ref = f"refs/heads/{pull['base_ref']}"
            if not bare.update_ref(ref, result, base):
                raise Problem(409, "Base branch was modified. Review and try the merge again.")
            pull |= {"merged": True, "merged_at": self.now(), "merged_by": author(actor), "merge_commit_sha": result}
            self.state.put("pull", repo, number, pull)
            self.touch(repo, number, state="closed", closed_at=self.now())
            self.record(repo, number, "merged", actor, commit_id=result)
            self.record(repo, number, "closed", actor)
            self.pushed(repo, {ref: (base, result)}, actor, kind="pr_merge")
            self.emit_pull(repo, number, "closed", actor)
            return result

    def identity(self, login: str) -> dict[str, str]:
        """Environment that makes git write commits as a user."""
        email = self.email_of(login)
        return {f"GIT_{who}_{part}": value for who in ("AUTHOR", "COMMITTER")
                for part, value in (("NAME", login), ("EMAIL", email))}  # fmt: skip

    def pushed(self, repo: str, changes: Mapping[str, tuple[str, str]], actor: Doc, *, kind: str = "") -> None:
        """React to moved refs: `changes` maps a ref to (before, after); ZERO for none. `kind`: of the activity."""
        with self.lock:
            for ref, (before, after) in changes.items():
                if not ref.startswith(("refs/heads/", "refs/tags/")):
                    continue
                if ref.startswith("refs/heads/"):
                    doc = self.repo(repo) | {"pushed_at": self.now()}
                    self.state.put("repo", "", repo, doc)
                    self._note_push(repo, ref, before, after, actor, kind)
                self._emit_push(repo, ref, before, after, actor)
                if ref.startswith("refs/heads/"):
                    self.move_pulls(repo, ref.removeprefix("refs/heads/"), before, after, actor)

    def _note_push(self, repo: str, ref: str, before: str, after: str, actor: Doc, kind: str) -> None:
        """Keep who moved a branch, when, from where to where: evidence that no commit's author can set."""
        if not kind and ZERO in (before, after):
            kind = "branch_creation" if before == ZERO else "branch_deletion"
        forward = kind or self.bare(repo).is_ancestor(before, after)
        key = self.state.next("id")
        doc = {"id": key, "before": before, "after": after, "ref": ref, "actor": author(actor), "at": self.now()}
        self.state.put("activity", repo, key, doc | {"kind": kind or ("push" if forward else "force_push")})

    def _emit_push(self, repo: str, ref: str, before: str, after: str, actor: Doc) -> None:
        default, tip = self.default_tip(repo)
        login = author(actor)
        if ZERO in (before, after):
            name = "create" if before == ZERO else "delete"
            payload = payloads.ref_event(self, repo, ref, login)
            if name == "delete":
                payload = {key: payload[key] for key in ("ref", "ref_type", "pusher_type", "repository", "sender")}
            self.emit(
                repo, name, payload, actor, ref=ref if after != ZERO else default, sha=after if after != ZERO else tip
            )
        payload = payloads.push(self, repo, ref, before, after, login)
        if after != ZERO:
            self.emit(repo, "push", payload, actor, ref=ref, sha=self.bare(repo).sha(after) or after)
        else:
            self.emit(repo, "push", payload, actor, ref=default, sha=tip)

    def enqueue(self, repo: str, number: int, actor: Doc) -> str:
        """Simulate a merge queue's entry: `merge_group` on a branch of its own. Returns that branch's head SHA."""
        with self.lock:
            pull, bare = self.pull(repo, number), self.bare(repo)
            if not pull["mergeable"] or self.issue(repo, number)["state"] != "open":
                raise Problem(405, "Pull Request is not mergeable")
            tree, base = bare.commit(pull["merge_commit_sha"]).tree, pull["base_sha"]
            head = bare.write_commit(tree, [base, pull["head_sha"]], f"Merge pull request #{number} in the queue\n")
            ref = f"refs/heads/gh-readonly-queue/{pull['base_ref']}/pr-{number}-{base}"
            bare.update_ref(ref, head)
            base_ref = f"refs/heads/{pull['base_ref']}"
            payload = payloads.merge_group(self, repo, ref, head, base_ref, base, author(actor))
            self.emit(repo, "merge_group", payload, actor, ref=ref, sha=head)
            return head


def _rebase(bare: Bare, base: str, head: str) -> str:
    """Replay each commit of `base..head` on `base`, authors kept. Raises Problem 405 on a conflict or merge commit."""
    tip = base
    for sha in reversed(bare.log(f"{base}..{head}")):
        info = bare.commit(sha)
        # git 2.39 cannot be told the merge base: three commits made for the purpose have the wanted one.
        start = bare.write_commit(bare.commit(info.parents[0]).tree, [], "base")
        ours, theirs = (bare.write_commit(tree, [start], "side") for tree in (bare.commit(tip).tree, info.tree))
        tree = bare.merge_tree(ours, theirs)
        if tree is None or len(info.parents) != 1:
            raise Problem(405, "This branch can't be rebased")
        who = {"GIT_AUTHOR_NAME": info.author_name, "GIT_AUTHOR_EMAIL": info.author_email,
               "GIT_AUTHOR_DATE": info.author_date}  # fmt: skip
        tip = bare.write_commit(tree, [tip], info.message + "\n", who)
    return tip
