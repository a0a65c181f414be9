"""Webhook payloads, valid by `x-webhooks` of GitHub's description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trackside.sandbox.git import ZERO, CommitInfo
from trackside.sandbox.state import Doc
from trackside.sandbox.views.core import identity, repo, user
from trackside.sandbox.views.git import simple_commit
from trackside.sandbox.views.talk import comment, issue, label, pull
from trackside.sandbox.views.work import release

if TYPE_CHECKING:
    from trackside.sandbox.core import Core

MAX_COMMITS = 20
"""How many commits a push lists."""


def event(hub: Core, name: str, sender: str, **more: Any) -> Doc:
    """What every payload has, and `more`."""
    return {**more, "repository": repo(hub, name), "sender": user(hub, sender)}


def push(hub: Core, name: str, ref: str, before: str, after: str, login: str) -> Doc:
    bare = hub.bare(name)
    commits: list[Doc] = []
    tip = bare.sha(after) if after != ZERO else None
    if tip and ref.startswith("refs/heads/"):
        span = f"{before}..{tip}" if before != ZERO else tip
        commits = [_pushed(hub, name, bare.commit(one)) for one in reversed(bare.log(span, MAX_COMMITS))]
    rewritten = before != ZERO and after != ZERO and not bare.is_ancestor(before, after)
    who = hub.user(login)
    return event(
        hub,
        name,
        login,
        ref=ref,
        base_ref=None,
        before=before,
        after=after,
        created=before == ZERO,
        deleted=after == ZERO,
        forced=rewritten,
        compare=f"{hub.url}/{name}/compare/{before[:12]}...{after[:12]}",
        commits=commits,
        head_commit=_pushed(hub, name, bare.commit(tip)) if tip else None,
        pusher=identity(login, f"{who['id']}+{login.removesuffix('[bot]')}@users.noreply.github.com"),
    )


def _pushed(hub: Core, name: str, info: CommitInfo) -> Doc:
    changed = hub.bare(name).changed(info.parents[0], info.sha) if info.parents else []
    paths = {kind: [one.path for one in changed if one.status == kind] for kind in "ADM"}
    return simple_commit(info) | {
        "distinct": True,
        "url": f"{hub.url}/{name}/commit/{info.sha}",
        "added": paths["A"],
        "removed": paths["D"],
        "modified": paths["M"],
    }


def pull_request(hub: Core, name: str, number: int, action: str, login: str, **more: Any) -> Doc:
    """`pull_request` and `pull_request_target` look alike. `label` may be given by name."""
    if "label" in more:
        more["label"] = label(hub, name, more["label"])
    return event(hub, name, login, action=action, number=number, pull_request=pull(hub, name, number), **more)


def issues(hub: Core, name: str, doc: Doc, action: str, login: str, **more: Any) -> Doc:
    if "label" in more:
        more["label"] = label(hub, name, more["label"])
    return event(hub, name, login, action=action, issue=issue(hub, name, doc), **more)


def issue_comment(hub: Core, name: str, about: Doc, doc: Doc, action: str, login: str, **more: Any) -> Doc:
    return event(
        hub, name, login, action=action, issue=issue(hub, name, about), comment=comment(hub, name, doc), **more
    )


def workflow_dispatch(hub: Core, name: str, path: str, ref: str, inputs: dict[str, str], login: str) -> Doc:
    return event(hub, name, login, workflow=path, ref=ref, inputs=inputs)


def merge_group(hub: Core, name: str, ref: str, head: str, base_ref: str, base_sha: str, login: str) -> Doc:
    group = {
        "head_sha": head,
        "head_ref": ref,
        "base_sha": base_sha,
        "base_ref": base_ref,
        "head_commit": simple_commit(hub.bare(name).commit(head)),
    }
    return event(hub, name, login, action="checks_requested", merge_group=group)


def release_event(hub: Core, name: str, doc: Doc, action: str, login: str) -> Doc:
    shown = release(hub, name, doc)
    shown["assets"] = [one for one in shown["assets"] if one["state"] == "uploaded"]
    return event(hub, name, login, action=action, release=shown)


def ref_event(hub: Core, name: str, ref: str, login: str) -> Doc:
    """`create` and `delete` of a branch or tag."""
    kind = "branch" if ref.startswith("refs/heads/") else "tag"
    return event(
        hub,
        name,
        login,
        ref=ref.split("/", 2)[2],
        ref_type=kind,
        pusher_type="user",
        master_branch=hub.repo(name)["default_branch"],
        description=None,
    )
