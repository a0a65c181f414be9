"""Commits, refs, trees, files and comparisons."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from trackside.sandbox.git import Bare, Change, CommitInfo, TreeEntry
from trackside.sandbox.state import Doc
from trackside.sandbox.views.core import identity, maybe_user, repo_url

if TYPE_CHECKING:
    from trackside.sandbox.core import Core

_VERIFICATION = {"verified": False, "reason": "unsigned", "signature": None, "payload": None, "verified_at": None}
_STATUS = {"A": "added", "D": "removed", "M": "modified", "T": "changed"}
INLINE_LIMIT = 1024 * 1024
"""Files above it come without their content."""


def git_commit(hub: Core, repo: str, info: CommitInfo) -> Doc:
    """`git-commit`, of the git data API."""
    base, page = f"{repo_url(hub, repo)}/git", f"{hub.url}/{repo}/commit"
    return {
        "sha": info.sha,
        "node_id": f"C_{info.sha[:12]}",
        "url": f"{base}/commits/{info.sha}",
        "html_url": f"{page}/{info.sha}",
        "message": info.message,
        "author": identity(info.author_name, info.author_email, info.author_date),
        "committer": identity(info.committer_name, info.committer_email, info.committer_date),
        "tree": {"sha": info.tree, "url": f"{base}/trees/{info.tree}"},
        "parents": [{"sha": one, "url": f"{base}/commits/{one}", "html_url": f"{page}/{one}"} for one in info.parents],
        "verification": _VERIFICATION,
    }


def commit(hub: Core, repo: str, info: CommitInfo) -> Doc:
    """`commit`, of the commits API."""
    base, page = repo_url(hub, repo), f"{hub.url}/{repo}/commit"
    return {
        "sha": info.sha,
        "node_id": f"C_{info.sha[:12]}",
        "url": f"{base}/commits/{info.sha}",
        "html_url": f"{page}/{info.sha}",
        "comments_url": f"{base}/commits/{info.sha}/comments",
        "commit": {
            "author": identity(info.author_name, info.author_email, info.author_date),
            "committer": identity(info.committer_name, info.committer_email, info.committer_date),
            "message": info.message,
            "tree": {"sha": info.tree, "url": f"{base}/git/trees/{info.tree}"},
            "url": f"{base}/git/commits/{info.sha}",
            "comment_count": 0,
            "verification": _VERIFICATION,
        },
        "author": maybe_user(hub, hub.login_of(info.author_email)),
        "committer": maybe_user(hub, hub.login_of(info.committer_email)),
        "parents": [{"sha": one, "url": f"{base}/commits/{one}", "html_url": f"{page}/{one}"} for one in info.parents],
    }


def simple_commit(info: CommitInfo) -> Doc:
    """`simple-commit`, inside runs and merge groups."""
    return {
        "id": info.sha,
        "tree_id": info.tree,
        "message": info.message,
        "timestamp": info.committer_date,
        "author": identity(info.author_name, info.author_email),
        "committer": identity(info.committer_name, info.committer_email),
    }


def ref(hub: Core, repo: str, name: str, sha: str, kind: str) -> Doc:
    base = f"{repo_url(hub, repo)}/git"
    return {
        "ref": name,
        "node_id": f"REF_{sha[:12]}",
        "url": f"{base}/{quote(name)}",
        "object": {"type": kind, "sha": sha, "url": f"{base}/{kind}s/{sha}"},
    }


def tag_object(hub: Core, repo: str, sha: str, fields: dict[str, str]) -> Doc:
    """`git-tag`: an annotated tag."""
    base = f"{repo_url(hub, repo)}/git"
    kind = fields["type"]
    return {
        "sha": sha,
        "node_id": f"TA_{sha[:12]}",
        "url": f"{base}/tags/{sha}",
        "tag": fields["tag"],
        "message": fields["message"],
        "tagger": identity(fields["name"], fields["email"], fields["date"]),
        "object": {"sha": fields["object"], "type": kind, "url": f"{base}/{kind}s/{fields['object']}"},
        "verification": _VERIFICATION,
    }


def tree(hub: Core, repo: str, sha: str, entries: list[TreeEntry], *, limit: int = 100_000) -> Doc:
    base = f"{repo_url(hub, repo)}/git"
    shown: list[dict[str, Any]] = []
    for one in entries[:limit]:
        row: dict[str, Any] = {"path": one.path, "mode": one.mode, "type": one.type, "sha": one.sha}
        if one.size is not None:
            row["size"] = one.size
        if one.type != "commit":
            row["url"] = f"{base}/{one.type}s/{one.sha}"
        shown.append(row)
    return {"sha": sha, "url": f"{base}/trees/{sha}", "tree": shown, "truncated": len(entries) > limit}


def blob(hub: Core, repo: str, sha: str, data: bytes) -> Doc:
    return {
        "sha": sha,
        "node_id": f"B_{sha[:12]}",
        "url": f"{repo_url(hub, repo)}/git/blobs/{sha}",
        "size": len(data),
        "encoding": "base64",
        "content": base64.encodebytes(data).decode(),
    }


def content(hub: Core, repo: str, at: str, path: str, entry: TreeEntry, data: bytes | None = None) -> Doc:
    """One file or folder of the contents API; with `data` the file itself (without its bytes above 1 MiB)."""
    kind = "file" if entry.type == "blob" else "dir" if entry.type == "tree" else "submodule"
    link = f"{repo_url(hub, repo)}/contents/{quote(path)}?ref={quote(at, safe='')}"
    git_url = f"{repo_url(hub, repo)}/git/{'trees' if kind == 'dir' else 'blobs'}/{entry.sha}"
    page = f"{hub.url}/{repo}/{'tree' if kind == 'dir' else 'blob'}/{quote(at)}/{quote(path)}"
    made: dict[str, Any] = {
        "type": kind,
        "size": entry.size or 0,
        "name": path.rsplit("/", 1)[-1],
        "path": path,
        "sha": entry.sha,
        "url": link,
        "git_url": git_url,
        "html_url": page,
        "download_url": f"{hub.url}/{repo}/raw/{quote(at)}/{quote(path)}" if kind == "file" else None,
        "_links": {"self": link, "git": git_url, "html": page},
    }
    if data is not None:
        small = len(data) <= INLINE_LIMIT
        made |= {
            "content": base64.encodebytes(data).decode() if small else "",
            "encoding": "base64" if small else "none",
        }
    return made


def diff_entry(hub: Core, repo: str, change: Change, at: str) -> Doc:
    """`diff-entry`: one changed file."""
    path = quote(change.path)
    made: dict[str, Any] = {
        "sha": change.sha,
        "filename": change.path,
        "status": _STATUS.get(change.status, "changed"),
        "additions": change.added,
        "deletions": change.removed,
        "changes": change.added + change.removed,
        "blob_url": f"{hub.url}/{repo}/blob/{at}/{path}",
        "raw_url": f"{hub.url}/{repo}/raw/{at}/{path}",
        "contents_url": f"{repo_url(hub, repo)}/contents/{path}?ref={at}",
    }
    if change.patch:
        made["patch"] = change.patch
    return made


def comparison(hub: Core, repo: str, basehead: str, bare: Bare, base: str, head: str, merge_base: str) -> Doc:
    """`commit-comparison` of two commits: three dots, from the merge base."""
    ahead, behind = bare.log(f"{base}..{head}", 10_000), bare.log(f"{head}..{base}", 10_000)
    status = "diverged" if ahead and behind else "ahead" if ahead else "behind" if behind else "identical"
    page = f"{hub.url}/{repo}/compare/{quote(basehead)}"
    return {
        "url": f"{repo_url(hub, repo)}/compare/{quote(basehead)}",
        "html_url": page,
        "permalink_url": page,
        "diff_url": page + ".diff",
        "patch_url": page + ".patch",
        "base_commit": commit(hub, repo, bare.commit(base)),
        "merge_base_commit": commit(hub, repo, bare.commit(merge_base)),
        "status": status,
        "ahead_by": len(ahead),
        "behind_by": len(behind),
        "total_commits": len(ahead),
        "commits": [commit(hub, repo, bare.commit(one)) for one in reversed(ahead[:250])],
        "files": [diff_entry(hub, repo, one, head) for one in bare.changed(merge_base, head, patches=True)[:300]],
    }


def branch(hub: Core, repo: str, name: str, info: CommitInfo) -> Doc:
    """`branch-with-protection`: what is told of required checks; the sandbox does not enforce them."""
    link = f"{repo_url(hub, repo)}/branches/{quote(name)}"
    rule = hub.state.get("protection", repo, name)
    checks = rule["checks"] if rule else []
    required = {
        "enforcement_level": "everyone" if checks else "off",
        "contexts": [one["context"] for one in checks],
        "checks": checks,
    }
    return {
        "name": name,
        "commit": commit(hub, repo, info),
        "_links": {"self": link, "html": f"{hub.url}/{repo}/tree/{quote(name)}"},
        "protected": rule is not None,
        "protection": {"enabled": rule is not None, "required_status_checks": required},
        "protection_url": link + "/protection",
    }


def short_branch(hub: Core, repo: str, name: str, sha: str) -> Doc:
    return {
        "name": name,
        "commit": {"sha": sha, "url": f"{repo_url(hub, repo)}/commits/{sha}"},
        "protected": False,
    }


def tag(hub: Core, repo: str, name: str, sha: str) -> Doc:
    """`tag` of the tags list; `sha` is the commit it leads to."""
    base = repo_url(hub, repo)
    return {
        "name": name,
        "node_id": f"REF_{sha[:12]}",
        "commit": {"sha": sha, "url": f"{base}/commits/{sha}"},
        "zipball_url": f"{base}/zipball/refs/tags/{quote(name)}",
        "tarball_url": f"{base}/tarball/refs/tags/{quote(name)}",
    }
