"""The ground floor of the sandbox's GitHub: people, tokens, repositories, roles and the sending of events."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

from trackside.sandbox.bus import Bus, HookEvent
from trackside.sandbox.git import Bare, Still
from trackside.sandbox.problem import not_found
from trackside.sandbox.state import Doc, State
from trackside.sandbox.views.core import BOT
from trackside.system.clock import Clock, SystemClock, rfc3339

ROLES = ("none", "read", "triage", "write", "maintain", "admin")
API, UPLOADS = "/api/v3", "/api/uploads"
_BOT_ID = 41898282
_EXPRESSION = re.compile(r"[~^:?*\[\\\s]|@\{|\.\.")
_NOREPLY = re.compile(r"(?:\d+\+)?(?P<login>[^@+]+)@(?:users\.noreply\.github\.com|localhost)")


def author(actor: Doc) -> str:
    """Who a token writes as: a workflow's token is always `github-actions[bot]`."""
    return BOT if actor["kind"] == "workflow" else str(actor["login"])


def app_of(actor: Doc) -> str | None:
    """The app behind a token, or None for a person's."""
    return None if actor["kind"] == "user" else author(actor).removesuffix("[bot]")


class Core:
    """State, git and events together. Every change goes through here, under one lock."""

    def __init__(self, state: State, bus: Bus, env: Mapping[str, str], clock: Clock | None = None) -> None:
        self.state, self.bus, self.env = state, bus, env
        self.clock = clock or SystemClock()
        self.lock = threading.RLock()
        self.url = ""
        self.judge: Callable[[HookEvent], None] | None = None
        """Sees every event before the listeners do."""
        self._still: dict[str, Bare] | None = None

    @property
    def api_url(self) -> str:
        return self.url + API

    @property
    def upload_url(self) -> str:
        return self.url + UPLOADS

    def now(self) -> str:
        return rfc3339(self.clock.now())

    # People and tokens

    def add_user(self, login: str, kind: str = "User") -> Doc:
        known = self.state.get("user", "", login)
        if known:
            return known
        kind = "Bot" if login.endswith("[bot]") else kind
        number = _BOT_ID if login == BOT else 1000 + self.state.next("user")
        doc = {"login": login, "id": number, "type": kind, "name": login, "email": None, "created_at": self.now()}
        return self.state.put("user", "", login, doc)

    def user(self, login: str) -> Doc:
        return self.state.get("user", "", login) or self.add_user(login)

    def login_of(self, email: str) -> str | None:
        """The user behind a commit's noreply address."""
        found = _NOREPLY.fullmatch(email)
        if not found:
            return None
        logins = (found["login"], f"{found['login']}[bot]")
        return next((one for one in logins if self.state.get("user", "", one)), None)

    def email_of(self, login: str) -> str:
        return f"{self.user(login)['id']}+{login}@users.noreply.github.com"

    def add_token(
        self,
        text: str,
        login: str,
        kind: str = "user",
        permissions: Mapping[str, str] | None = None,
        repo: str = "",
        **more: Any,
    ) -> Doc:
        """`permissions` None: what the login's role allows. `kind` is `user`, `app` or `workflow`."""
        held = dict(permissions) if permissions is not None else None
        self.add_user(login)
        doc = {"token": text, "login": login, "kind": kind, "permissions": held, "repo": repo, **more}
        return self.state.put("token", "", text, doc)

    # Repositories

    def bare(self, repo: str) -> Bare:
        path = self.state.root / "repos" / f"{repo}.git"
        if self._still is None:
            return Bare(path, self.env)
        return self._still.setdefault(repo, Still(path, self.env))

    def still(self) -> Self:
        """The same state, to read from while nobody writes: see `Still`."""
        view = copy.copy(self)
        view._still = {}
        return view

    def repo(self, full_name: str) -> Doc:
        found = self.state.get("repo", "", full_name)
        if found is None:
            raise not_found()
        return found

    def add_repo(
        self, full_name: str, *, default_branch: str = "main", private: bool = False, parent: str | None = None
    ) -> Doc:
        """Create a repository, empty or (with `parent`) as a fork."""
        owner, name = full_name.split("/")
        self.add_user(owner)
        bare = Bare.create(self.state.root / "repos" / f"{full_name}.git", self.env, default_branch)
        doc = {
            "id": self.state.next("id"),
            "owner": owner,
            "name": name,
            "full_name": full_name,
            "default_branch": default_branch,
            "private": private,
            "fork": parent is not None,
            "parent": parent,
            "allow_forking": True,
            "created_at": self.now(),
            "settings": {"actions_can_create_pull_requests": False},
        }
        if parent:
            bare.fetch(self.bare(parent).path, "+refs/heads/*:refs/heads/*")
        self.state.put("repo", "", full_name, doc)
        self.set_role(full_name, owner, "admin")
        return doc

    def set_role(self, repo: str, login: str, role: str, base: str = "") -> None:
        """Give a role; an organization's own role names the one of GitHub's that it builds upon as `base`."""
        self.add_user(login)
        self.state.put("collaborator", repo, login, {"login": login, "role_name": role, "base": base or role})

    def role(self, repo: str, login: str) -> str:
        """What a login may do, as one of `ROLES`; strangers read what is public."""
        found = self.state.get("collaborator", repo, login)
        if found:
            return str(found.get("base") or found["role_name"])
        return "none" if self.repo(repo)["private"] else "read"

    def role_name(self, repo: str, login: str) -> str:
        """What the role of a login is called."""
        found = self.state.get("collaborator", repo, login)
        return str(found["role_name"]) if found else self.role(repo, login)

    def setting(self, repo: str, name: str) -> Any:
        """A setting of the repository; None for one that was never made."""
        return self.repo(repo).get("settings", {}).get(name)

    def set_setting(self, repo: str, name: str, value: Any) -> None:
        """Make a setting, such as `actions_can_create_pull_requests` (off at first, as on GitHub)."""
        with self.lock:
            doc = self.repo(repo)
            self.state.put("repo", "", repo, doc | {"settings": {**doc.get("settings", {}), name: value}})

    def default_tip(self, repo: str) -> tuple[str, str]:
        """Ref and SHA of the default branch; the SHA is empty in an empty repository."""
        ref = f"refs/heads/{self.repo(repo)['default_branch']}"
        return ref, self.bare(repo).sha(ref) or ""

    def commit_of(self, repo: str, ref: str) -> str | None:
        """The commit that a branch, tag or SHA names; an expression such as `main~1` names none."""
        if _EXPRESSION.search(ref):
            return None
        bare = self.bare(repo)
        names = (f"refs/heads/{ref}", f"refs/tags/{ref}", ref) if not ref.startswith("refs/") else (ref,)
        return next((sha for sha in (bare.sha(name) for name in names) if sha), None)

    def workflow(self, repo: str, path: str) -> Doc:
        """The document of a workflow file, made at its first mention."""
        known = self.state.get("workflow", repo, path)
        if known:
            return known
        doc = {"id": self.state.next("id"), "path": path, "name": path, "state": "active"}
        return self.state.put("workflow", repo, path, doc)

    # Events

    def emit(self, repo: str, name: str, payload: Doc, actor: Doc, *, ref: str, sha: str, **more: Any) -> None:
        event = HookEvent(
            repo=repo,
            name=name,
            action=payload.get("action"),
            payload=payload,
            ref=ref,
            sha=sha,
            sender=author(actor),
            token_kind=actor["kind"],
            **more,
        )
        if self.judge is not None:
            self.judge(event)
        self.bus.emit(event)

    # Issues, as far as every floor needs them

    def issue(self, repo: str, number: int) -> Doc:
        found = self.state.get("issue", repo, number)
        if found is None:
            raise not_found()
        return found

    def pull(self, repo: str, number: int) -> Doc:
        found = self.state.get("pull", repo, number)
        if found is None:
            raise not_found()
        return found

    def touch(self, repo: str, number: int, **changes: Any) -> Doc:
        """Change an issue's fields and its `updated_at`."""
        doc = self.issue(repo, number) | changes | {"updated_at": self.now()}
        return self.state.put("issue", repo, number, doc)
