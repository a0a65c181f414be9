"""What a person does on a page: each form is one wish, sent through the REST side with that person's token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from trackside.sandbox.access import permit
from trackside.sandbox.problem import Problem
from trackside.sandbox.web import look

if TYPE_CHECKING:
    from trackside.sandbox.web.app import Web

INPUT = "input-"
"""Fields of the form that starts a workflow begin so, before the input's name."""
_R = "/repos/{owner}/{repo}"
_RUN_WISHES = {"cancel": "cancel", "rerun": "rerun", "rerun-failed": "rerun-failed-jobs", "approve": "approve"}


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A form as it was sent, by whom."""

    web: Web
    request: Request
    fields: Mapping[str, str]
    login: str

    @property
    def repo(self) -> str:
        return f"{self.request.path_params['owner']}/{self.request.path_params['repo']}"

    @property
    def number(self) -> str:
        return str(self.request.path_params["number"])

    @property
    def kind(self) -> str:
        """`pull` or `issues`."""
        return str(self.request.scope["path"].split("/")[3])

    def text(self, name: str) -> str:
        """A field with plain line ends."""
        return self.fields.get(name, "").replace("\r\n", "\n")

    def send(self, method: str, tail: str, body: Any = None, **params: str) -> Any:
        """One REST call below the repository; the answer's body. Raises Problem when it is refused."""
        owner, _, name = self.repo.partition("/")
        reply = self.web.rest(self.login, method, _R + tail, {"owner": owner, "repo": name, **params}, body)
        if reply.status >= 400:
            raise Problem(reply.status, str(reply.body.get("message", "")), errors=reply.body.get("errors"))
        return reply.body

    def to(self, tail: str) -> Response:
        """Show a page of the repository next."""
        return RedirectResponse(f"/{quote(self.repo)}{tail}", 303)


def open_pull(form: Filled) -> Response:
    body: dict[str, Any] = {name: form.text(name) for name in ("title", "head", "base", "body")}
    made = form.send("POST", "/pulls", body | {"draft": "draft" in form.fields})
    return form.to(f"/pull/{made['number']}")


def open_issue(form: Filled) -> Response:
    made = form.send("POST", "/issues", {"title": form.text("title"), "body": form.text("body")})
    return form.to(f"/issues/{made['number']}")


def comment(form: Filled) -> Response:
    """Say something; `close` or `reopen` change the state as well, with or without words."""
    text, wish = form.text("body"), form.fields.get("wish", "")
    place = f"/{form.kind}/{form.number}"
    if not text.strip() and wish not in ("close", "reopen"):
        raise Problem(422, "A comment needs some words.")
    if text.strip():
        made = form.send("POST", "/issues/{issue_number}/comments", {"body": text}, issue_number=form.number)
        place += f"#issuecomment-{made['id']}"
    if wish in ("close", "reopen"):
        state = {"state": "closed" if wish == "close" else "open"}
        form.send("PATCH", "/issues/{issue_number}", state, issue_number=form.number)
    return form.to(place)


def react(form: Filled) -> Response:
    """A face under a comment, or under the description."""
    known, content = form.fields.get("comment", ""), {"content": form.fields.get("content", "")}
    if known:
        form.send("POST", "/issues/comments/{comment_id}/reactions", content, comment_id=known)
        return form.to(f"/{form.kind}/{form.number}#issuecomment-{quote(known)}")
    form.send("POST", "/issues/{issue_number}/reactions", content, issue_number=form.number)
    return form.to(f"/{form.kind}/{form.number}")


def label(form: Filled) -> Response:
    """Add a label by name, or take one away."""
    name, gone = form.text("label").strip(), form.text("remove")
    if gone:
        form.send("DELETE", "/issues/{issue_number}/labels/{name}", issue_number=form.number, name=gone)
    elif name:
        form.send("POST", "/issues/{issue_number}/labels", {"labels": [name]}, issue_number=form.number)
    return form.to(f"/{form.kind}/{form.number}")


def merge(form: Filled) -> Response:
    """Merge what the page showed: its head commit goes along."""
    hub = form.web.sandbox.hub
    pull, issue = hub.state.get("pull", form.repo, form.number), hub.state.get("issue", form.repo, form.number)
    if pull and issue:
        why = look.blocked(pull, issue, look.checks(hub, form.repo, pull["head_sha"]))
        if why:
            raise Problem(422, "Merging is blocked: " + why)
    body = {"merge_method": form.fields.get("method", "merge"), "sha": form.fields.get("sha", "")}
    form.send("PUT", "/pulls/{pull_number}/merge", body, pull_number=form.number)
    return form.to(f"/pull/{form.number}")


def run(form: Filled) -> Response:
    """Cancel, repeat or approve a workflow run."""
    wish = _RUN_WISHES.get(str(form.request.path_params["wish"]))
    if wish is None:
        raise Problem(404, "Not Found")
    form.send("POST", "/actions/runs/{run_id}/" + wish, run_id=form.number)
    return form.to(f"/actions/runs/{form.number}")


def dispatch(form: Filled) -> Response:
    """Run a workflow by hand."""
    inputs = {name.removeprefix(INPUT): text for name, text in form.fields.items() if name.startswith(INPUT)}
    body = {"ref": form.fields.get("ref", ""), "inputs": inputs, "return_run_details": True}
    tail = "/actions/workflows/{workflow_id}/dispatches"
    made = form.send("POST", tail, body, workflow_id=form.fields.get("workflow", ""))
    return _to_run(form, int(made["workflow_run_id"]))


def schedule(form: Filled) -> Response:
    """Let the minute of a cron line come."""
    hub = form.web.sandbox.hub
    actor = {"login": form.login, "kind": "user", "permissions": None, "repo": ""}
    permit(hub, form.repo, actor, "actions:write")
    run_id = hub.run_schedule(form.repo, form.fields.get("workflow", ""), form.fields.get("cron", ""))
    return _to_run(form, run_id)


def _to_run(form: Filled, run_id: int) -> Response:
    """The page of a run, as soon as the dispatcher has written it down; the list where nobody does."""
    hub = form.web.sandbox.hub
    for _ in range(50):
        if hub.state.get("run", form.repo, run_id):
            return form.to(f"/actions/runs/{run_id}")
        hub.clock.sleep(0.02)
    return form.to("/actions")


_PAGE = "/{owner}/{repo}"
_SAID: dict[str, Callable[[Filled], Response]] = {"comment": comment, "react": react, "labels": label}
FORMS: dict[str, Callable[[Filled], Response]] = {
    _PAGE + "/pulls": open_pull,
    _PAGE + "/issues": open_issue,
    _PAGE + "/pull/{number:int}/merge": merge,
    _PAGE + "/actions/dispatch": dispatch,
    _PAGE + "/actions/schedule": schedule,
    _PAGE + "/actions/runs/{number:int}/{wish}": run,
    **{f"{_PAGE}/pull/{{number:int}}/{name}": handler for name, handler in _SAID.items()},
    **{f"{_PAGE}/issues/{{number:int}}/{name}": handler for name, handler in _SAID.items()},
}
"""Address of each form and what becomes of it."""
