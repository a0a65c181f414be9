"""People, apps and repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trackside.sandbox.state import Doc

if TYPE_CHECKING:
    from trackside.sandbox.core import Core

BOT = "github-actions[bot]"
_PLAIN = (
    "contributors", "deployments", "downloads", "events", "forks", "hooks", "languages", "merges", "stargazers",
    "subscribers", "subscription", "tags", "teams",
)  # fmt: skip
_NUMBERED = {
    "comments": "comments{/number}", "issue_comment": "issues/comments{/number}", "issues": "issues{/number}",
    "issue_events": "issues/events{/number}", "milestones": "milestones{/number}", "pulls": "pulls{/number}",
    "releases": "releases{/id}", "labels": "labels{/name}", "branches": "branches{/branch}", "keys": "keys{/key_id}",
    "assignees": "assignees{/user}", "collaborators": "collaborators{/collaborator}", "contents": "contents/{+path}",
    "compare": "compare/{base}...{head}", "archive": "{archive_format}{/ref}", "statuses": "statuses/{sha}",
    "commits": "commits{/sha}", "git_commits": "git/commits{/sha}", "git_refs": "git/refs{/sha}",
    "git_tags": "git/tags{/sha}", "blobs": "git/blobs{/sha}", "trees": "git/trees{/sha}",
    "notifications": "notifications{?since,all,participating}",
}  # fmt: skip


def repo_url(hub: Core, repo: str) -> str:
    """API address of a repository."""
    return f"{hub.api_url}/repos/{repo}"


def user(hub: Core, login: str) -> Doc:
    """`simple-user`."""
    doc = hub.user(login)
    base = f"{hub.api_url}/users/{login}"
    return {
        "login": login,
        "id": doc["id"],
        "node_id": f"U_{doc['id']}",
        "avatar_url": f"{hub.url}/avatars/{doc['id']}",
        "gravatar_id": "",
        "url": base,
        "html_url": f"{hub.url}/{'apps/' + login.removesuffix('[bot]') if login.endswith('[bot]') else login}",
        "followers_url": base + "/followers",
        "following_url": base + "/following{/other_user}",
        "gists_url": base + "/gists{/gist_id}",
        "starred_url": base + "/starred{/owner}{/repo}",
        "subscriptions_url": base + "/subscriptions",
        "organizations_url": base + "/orgs",
        "repos_url": base + "/repos",
        "events_url": base + "/events{/privacy}",
        "received_events_url": base + "/received_events",
        "type": doc["type"],
        "user_view_type": "public",
        "site_admin": False,
    }


def maybe_user(hub: Core, login: str | None) -> Doc | None:
    return user(hub, login) if login else None


def app(hub: Core, slug: str) -> Doc:
    """`integration`: the app behind a bot."""
    bot = hub.user(f"{slug}[bot]")
    owner = "github" if slug == "github-actions" else slug
    return {
        "id": 15368 if slug == "github-actions" else bot["id"],
        "slug": slug,
        "node_id": f"A_{bot['id']}",
        "owner": user(hub, owner),
        "name": "GitHub Actions" if slug == "github-actions" else slug,
        "description": "",
        "external_url": f"{hub.url}/apps/{slug}",
        "html_url": f"{hub.url}/apps/{slug}",
        "created_at": bot["created_at"],
        "updated_at": bot["created_at"],
        "permissions": {"metadata": "read"},
        "events": [],
    }


def identity(name: str, email: str, date: str = "") -> Doc:
    """A git author or committer."""
    return {"name": name, "email": email} | ({"date": date} if date else {})


def minimal_repo(hub: Core, repo: str) -> Doc:
    """`minimal-repository`: addresses and names."""
    doc = hub.repo(repo)
    base = repo_url(hub, repo)
    links = {f"{name}_url": f"{base}/{name}" for name in _PLAIN}
    links |= {f"{name}_url": f"{base}/{path}" for name, path in _NUMBERED.items()}
    return links | {
        "id": doc["id"],
        "node_id": f"R_{doc['id']}",
        "name": doc["name"],
        "full_name": repo,
        "private": doc["private"],
        "owner": user(hub, doc["owner"]),
        "html_url": f"{hub.url}/{repo}",
        "description": doc.get("description"),
        "fork": doc["fork"],
        "url": base,
    }


def repo(hub: Core, name: str) -> Doc:
    """`repository`: with counts and settings."""
    doc = hub.repo(name)
    opened = sum(1 for issue in hub.state.list("issue", name, state="open"))
    forks = sum(1 for other in hub.state.list("repo", "", parent=name))
    updated = doc.get("pushed_at") or doc["created_at"]
    host = hub.url.split("://", 1)[1]
    return minimal_repo(hub, name) | {
        "clone_url": f"{hub.url}/{name}.git",
        "git_url": f"git://{host}/{name}.git",
        "ssh_url": f"git@{host}:{name}.git",
        "svn_url": f"{hub.url}/{name}",
        "mirror_url": None,
        "homepage": None,
        "language": None,
        "license": None,
        "topics": [],
        "default_branch": doc["default_branch"],
        "visibility": "private" if doc["private"] else "public",
        "allow_forking": doc.get("allow_forking", True),
        "is_template": False,
        "archived": False,
        "disabled": False,
        "has_issues": True,
        "has_projects": False,
        "has_wiki": False,
        "has_pages": False,
        "has_discussions": False,
        "has_downloads": True,
        "web_commit_signoff_required": False,
        "size": 0,
        "forks": forks,
        "forks_count": forks,
        "stargazers_count": 0,
        "watchers": 0,
        "watchers_count": 0,
        "open_issues": opened,
        "open_issues_count": opened,
        "created_at": doc["created_at"],
        "updated_at": updated,
        "pushed_at": updated,
    }


def full_repo(hub: Core, name: str, role: str) -> Doc:
    """`full-repository`: what the repository's own address answers; `role` is the caller's."""
    doc = hub.repo(name)
    made: dict[str, Any] = repo(hub, name) | {
        "network_count": 0,
        "subscribers_count": 0,
        "permissions": permissions(role),
        "allow_merge_commit": True,
        "allow_squash_merge": True,
        "allow_rebase_merge": True,
        "allow_auto_merge": False,
        "delete_branch_on_merge": False,
    }
    if doc["parent"]:
        made |= {"parent": repo(hub, doc["parent"]), "source": repo(hub, doc["parent"])}
    return made


def permissions(role: str) -> Doc:
    """The five legacy flags of a role."""
    order = ("none", "read", "triage", "write", "maintain", "admin")
    rank = order.index(role)
    flags = {"pull": "read", "triage": "triage", "push": "write", "maintain": "maintain", "admin": "admin"}
    return {flag: rank >= order.index(least) for flag, least in flags.items()}


def association(hub: Core, repo: str, login: str) -> str:
    """`author_association`, as far as the sandbox knows: owner, collaborator or none."""
    if login == repo.split("/")[0]:
        return "OWNER"
    return "COLLABORATOR" if hub.state.get("collaborator", repo, login) else "NONE"
