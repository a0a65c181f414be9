"""Changes offered to people: a branch with its pull request, an issue, a merge; each safe to repeat."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trackside.errors import Conflict, DataError, Forbidden, ForgeError, NotFound, Refused
from trackside.forge.client import Client, Unsure, segment, segments
from trackside.forge.commit import check_path
from trackside.forge.model import Pull
from trackside.forge.operations import Applied, MergePull, ProposeChange, UpsertIssue
from trackside.forge.read import pull_of
from trackside.system.text import clean, cut, valid

OUR_BRANCHES = "trackside/"
"""Only below this are branches reset: whatever is there was made to be replaced."""

MAX_BODY = 65_536
MAX_TITLE = 256
RACES = 5
MERGE_METHODS = ("merge", "squash", "rebase")
"""Ways to merge; the first that the repository allows is taken."""

_SETTING = (
    "tick `Allow GitHub Actions to create and approve pull requests` under Settings › Actions › General,\n"
    "or give the action the token of a GitHub App:\nwith:\n  app-token: ${{ steps.app.outputs.token }}"
)


class ProposalReads:
    """Which pull requests a branch had."""

    client: Client

    def pulls_from(self, branch: str, *, state: str = "all", limit: int = 30) -> tuple[Pull, ...]:
        """Pull requests from a branch of this repository, newest first; `state` is open, closed or all."""
        repository = self.client.base.removeprefix("/repos/")
        query = {"state": state, "head": f"{repository.partition('/')[0]}:{branch}"}
        found = (pull_of(one) for one in self.client.pages("/pulls", query, limit=limit))
        same = [one for one in found if one.head_ref == branch and one.head_repo.lower() == repository.lower()]
        return tuple(sorted(same, key=lambda one: -one.number))


@dataclass(frozen=True, kw_only=True)
class _Base:
    """The tip that a proposal is laid over."""

    commit: str
    tree: str


# A branch and its pull request


def propose_change(client: Client, operation: ProposeChange) -> Applied:
    """Reset the branch to the base's tip plus one commit, and keep exactly one open pull request of it.

    Nothing is pushed where the branch is that already, and nothing written at all where the base holds the files:
    then the outcome is `skipped`. Otherwise `id` is the number of the pull request.

    Raises:
        Refused: a branch that is not one of Trackside's.
        DataError: a path that git does not take.
        NotFound: there is no such base branch.
        Forbidden: the token may not push, or not open pull requests.
        Conflict: base or branch moved `RACES` times in a row.
    """
    if not operation.branch.startswith(OUR_BRANCHES) or operation.branch == operation.base:
        raise Refused(f"branch {operation.branch!r} is not one that Trackside may reset")
    for path in operation.files:
        check_path(path)
    if operation.repository:
        client = client.at(operation.repository)
    pushed = _push(client, operation)
    if pushed is None:
        return Applied(operation=operation, outcome="skipped", reason_code="nothing_to_propose")
    return _keep_pull(client, operation, pushed=pushed)


def _push(client: Client, operation: ProposeChange) -> bool | None:
    """Bring the branch to what it should be: whether it had to be moved; None where there is nothing to propose."""
    entries: list[dict[str, Any]] | None = None
    for attempt in range(1, RACES + 1):
        base = _base(client, operation.base)
        if entries is None:
            entries = [_entry(client, path, data) for path, data in operation.files.items() if data is not None]
        gone = [path for path, data in operation.files.items() if data is None and _there(client, path, base)]
        removed = [{"path": path, "mode": "100644", "type": "blob", "sha": None} for path in gone]
        tree = base.tree
        if entries or removed:
            body = {"base_tree": base.tree, "tree": [*entries, *removed]}
            tree = str(client.post("/git/trees", body, repeatable=True)["sha"])
        if tree == base.tree:
            return None
        before = _tip(client, operation.branch)
        if before and _is(client, before, operation, base, tree):
            return attempt > 1
        commit = {"message": valid(operation.message), "tree": tree, "parents": [base.commit]}
        made = str(client.post("/git/commits", commit, repeatable=True)["sha"])
        if _move(client, operation.branch, before, made):
            return True
        client.pause(min(attempt, 3))
    raise Conflict(f"branch {operation.branch} moved {RACES} times while it was written to", remedy="run the job again")


def _base(client: Client, branch: str) -> _Base:
    commit = _tip(client, branch)
    if not commit:
        raise NotFound(f"there is no branch {branch!r} in {client.base.removeprefix('/repos/')}")
    return _Base(commit=commit, tree=str(client.get(f"/git/commits/{segment(commit)}")["tree"]["sha"]))


def _tip(client: Client, branch: str) -> str:
    raw = client.find(f"/git/ref/heads/{segments(branch)}")
    return str(raw["object"]["sha"]) if raw else ""


def _there(client: Client, path: str, base: _Base) -> bool:
    return client.find(f"/contents/{segments(path)}", ref=base.commit) is not None


def _entry(client: Client, path: str, data: bytes) -> dict[str, Any]:
    """A tree entry: text travels inline, anything else as a blob of its own."""
    entry: dict[str, Any] = {"path": path, "mode": "100644", "type": "blob"}
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" not in text:
        return entry | {"content": text}
    blob = {"content": base64.b64encode(data).decode(), "encoding": "base64"}
    return entry | {"sha": str(client.post("/git/blobs", blob, repeatable=True)["sha"])}


def _is(client: Client, tip: str, operation: ProposeChange, base: _Base, tree: str) -> bool:
    """Whether the branch is exactly the base plus this change already."""
    found = client.get(f"/git/commits/{segment(tip)}")
    parents = [one["sha"] for one in found["parents"]]
    same = found["message"].rstrip() == valid(operation.message).rstrip()
    return same and found["tree"]["sha"] == tree and parents == [base.commit]


def _move(client: Client, branch: str, before: str, sha: str) -> bool:
    """Point the branch at `sha`; False when that is unknown or another writer made or removed it meanwhile."""
    try:
        if before:
            # Not fast forward on purpose: what the branch held is replaced. The same value twice does no harm.
            client.patch(f"/git/refs/heads/{segments(branch)}", {"sha": sha, "force": True})
        else:
            client.post("/git/refs", {"ref": f"refs/heads/{branch}", "sha": sha})
    except Unsure:
        return False
    except (Forbidden, NotFound):
        raise
    except ForgeError as error:
        if any(words in error.why.lower() for words in ("already exists", "does not exist", "cannot be updated")):
            return False
        raise
    return True


def _keep_pull(client: Client, operation: ProposeChange, *, pushed: bool) -> Applied:
    """One open pull request of the branch, with the newest words, all labels and the reviewers it can have."""
    body, title = cut(operation.body, MAX_BODY), clean(operation.title)[:MAX_TITLE]
    found = _open_pull(client, operation)
    outcome = "updated" if pushed else "unchanged"
    if found is None:
        found, outcome = _open(client, operation, title, body), "created"
    elif (found["title"], _text(found["body"])) != (title, _text(body)):
        found, outcome = client.patch(f"/pulls/{found['number']}", {"title": title, "body": body}), "updated"
    number, url = int(found["number"]), str(found["html_url"])
    missing = sorted(set(operation.labels) - {one["name"] for one in found["labels"]})
    if missing:
        client.post(f"/issues/{number}/labels", {"labels": missing}, repeatable=True)
    _ask(client, found, operation.reviewers)
    return Applied(operation=operation, outcome=outcome, id=number, url=url)


def _open_pull(client: Client, operation: ProposeChange) -> Any:
    repository = client.base.removeprefix("/repos/")
    query = {"state": "open", "head": f"{repository.partition('/')[0]}:{operation.branch}", "base": operation.base}
    fits = (one for one in client.pages("/pulls", query) if _of(one, operation, repository))
    return min(fits, key=lambda one: int(one["number"]), default=None)


def _of(raw: Any, operation: ProposeChange, repository: str) -> bool:
    """GitHub ignores a head that it does not understand, and lists everything."""
    head = raw["head"]
    same = ((head["repo"] or {}).get("full_name") or "").lower() == repository.lower()
    return same and (head["ref"], raw["base"]["ref"]) == (operation.branch, operation.base)


def _open(client: Client, operation: ProposeChange, title: str, body: str) -> Any:
    fields = {"title": title, "body": body, "head": operation.branch, "base": operation.base}

    def send() -> Any:
        try:
            return client.post("/pulls", fields)
        except Forbidden as error:
            if "not permitted to create" not in error.why:
                raise
            why = "the repository does not let workflows open pull requests"
            raise Forbidden(error.message, why=why, remedy=_SETTING, link="retrain.md") from error
        except Unsure:
            raise
        except ForgeError as error:
            there = _open_pull(client, operation) if "already exists" in error.why else None
            if there is None:
                raise
            return there

    return client.create(send, lambda: _open_pull(client, operation))


def _ask(client: Client, pull: Any, wanted: Sequence[str]) -> None:
    """Ask for reviews, once: not those who are asked already or have answered, nor anybody who cannot be asked.

    A name with a slash is a team (`owner/team`). It is dropped from the requests once a member has reviewed, so with
    any review there none is asked again. A job's own token cannot ask teams: then only the people are.
    """
    author = str((pull["user"] or {}).get("login", "")).lower()
    asked = {str(one["login"]).lower() for one in pull.get("requested_reviewers") or ()} | {author}
    asked |= {str(one["slug"]).lower() for one in pull.get("requested_teams") or ()}
    people = [one for one in dict.fromkeys(wanted) if "/" not in one and one.lower() not in asked]
    teams = [one.rpartition("/")[2] for one in dict.fromkeys(wanted) if "/" in one]
    teams = [one for one in teams if one.lower() not in asked]
    if not people and not teams:
        return
    path = f"/pulls/{pull['number']}"
    reviews = [str((one["user"] or {}).get("login", "")).lower() for one in client.pages(f"{path}/reviews")]
    people = [one for one in people if one.lower() not in reviews]
    requests = [{"reviewers": people}] if people else []
    requests += [{"team_reviewers": teams}] if teams and not reviews else []
    for request in requests:
        if not _asked(client, path, request):
            for name, values in request.items():
                for value in values if len(values) > 1 else ():
                    _asked(client, path, {name: [value]})


def _asked(client: Client, path: str, request: Mapping[str, Sequence[str]]) -> bool:
    """Whether all of them could be asked: GitHub takes none where it will not take one."""
    try:
        client.post(f"{path}/requested_reviewers", request, repeatable=True)
    except (Forbidden, NotFound, Conflict, Unsure):
        raise
    except ForgeError as error:
        if "answered 422" not in error.message:
            raise
        return False
    return True


def _text(body: str | None) -> str:
    """GitHub may change line ends and space at the end."""
    return clean(body or "").rstrip()


# Issues


def upsert_issue(client: Client, operation: UpsertIssue, author: str) -> Applied:
    """Keep one open issue of `author` that begins with the marker; with `open` False close it with its last words."""
    body, title = issue_body(operation), clean(operation.title)[:MAX_TITLE]
    own = _own_issues(client, operation, author)
    if not operation.open:
        for one in own:
            changes = {"title": title, "body": body, "state": "closed", "state_reason": "completed"}
            client.patch(f"/issues/{one['number']}", changes)
        first: Any = own[0] if own else {"number": 0, "html_url": ""}
        return Applied(
            operation=operation, outcome="updated" if own else "unchanged", id=first["number"], url=first["html_url"]
        )
    outcome = "unchanged"
    if not own:
        fields = {"title": title, "body": body, "labels": list(operation.labels)}

        def find() -> Any:
            return next(iter(_own_issues(client, operation, author)), None)

        made = client.create(lambda: client.post("/issues", fields), find)
        # An App whose name was only guessed learns it from the answer; of two first writers the oldest issue stays.
        own, outcome = _own_issues(client, operation, str(made["user"]["login"])) or [made], "created"
    oldest, extras = own[0], own[1:]
    if (oldest["title"], _text(oldest["body"])) != (title, _text(body)):
        client.patch(f"/issues/{oldest['number']}", {"title": title, "body": body})
        outcome = "updated" if outcome == "unchanged" else outcome
    missing = sorted(set(operation.labels) - {one["name"] for one in oldest["labels"]})
    if missing:
        client.post(f"/issues/{oldest['number']}/labels", {"labels": missing}, repeatable=True)
    for extra in extras:
        client.patch(f"/issues/{extra['number']}", {"state": "closed", "state_reason": "not_planned"})
    return Applied(operation=operation, outcome=outcome, id=oldest["number"], url=oldest["html_url"])


def _own_issues(client: Client, operation: UpsertIssue, author: str) -> list[Any]:
    """Ours that begin with the marker, oldest first; a marker that somebody else planted counts for nothing."""
    found = client.pages("/issues", {"state": "open", "creator": author})
    own = [
        one
        for one in found
        if "pull_request" not in one
        and str((one["user"] or {}).get("login", "")).lower() == author.lower()
        and (one["body"] or "").startswith(operation.marker)
    ]
    return sorted(own, key=lambda one: int(one["number"]))


def issue_body(operation: UpsertIssue) -> str:
    """The body within GitHub's limit; it begins with the marker."""
    lead = "" if operation.body.startswith(operation.marker) else operation.marker + "\n"
    return lead + cut(operation.body, MAX_BODY - len(lead))


# Merging


def merge_pull(client: Client, operation: MergePull) -> Applied:
    """Merge exactly the commit that was judged, in a way that the repository allows; `id` is the base's new tip.

    Raises:
        Conflict: the head moved on.
        DataError: it is closed, a draft, conflicts, or a rule of the branch forbids it.
    """
    path = f"/pulls/{operation.number}"

    def look() -> Any:
        raw = client.get(path)
        return raw if raw.get("merged") else None

    def send() -> Any:
        title = clean(operation.title)[:MAX_TITLE]
        for method in MERGE_METHODS:
            body = {"sha": operation.head_sha, "commit_title": title, "merge_method": method}
            try:
                client.request("PUT", f"{client.base}{path}/merge", body=body, repeatable=False)
                break
            except ForgeError as error:
                if "not allowed on this repository" not in error.why or method == MERGE_METHODS[-1]:
                    raise
        return client.get(path)

    found = client.get(path)
    if found["head"]["sha"] != operation.head_sha:
        raise Conflict(
            f"the head of #{operation.number} is {found['head']['sha'][:12]} by now, not {operation.head_sha[:12]}",
            reason_code="head_moved",
        )
    outcome = "unchanged" if found.get("merged") else "updated"
    if not found.get("merged"):
        try:
            found = client.create(send, look)
        except ForgeError as error:
            if "answered 405" not in error.message:
                raise
            raise DataError(
                f"#{operation.number} cannot be merged",
                why=error.why,
                remedy="merge it by hand, or let the branch's rules allow it",
                reason_code="merge_conflict",
            ) from error
    return Applied(operation=operation, outcome=outcome, id=found.get("merge_commit_sha") or "", url=found["html_url"])
