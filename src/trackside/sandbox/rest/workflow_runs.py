"""Workflows, their runs and jobs: dispatch, list, cancel, re-run."""

from __future__ import annotations

from typing import Any

from trackside.sandbox.hub import Problem
from trackside.sandbox.rest.repos import views
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc

_A = "/repos/{owner}/{repo}/actions"


def _dispatcher(call: Call) -> Any:
    if call.dispatcher is None:
        raise Problem(409, "No workflow runner is attached to this sandbox")
    return call.dispatcher


def _path(call: Call) -> str:
    """The workflow's path from its file name."""
    name = call.params["workflow_id"]
    path = f".github/workflows/{name}"
    default = call.hub.repo(call.repo)["default_branch"]
    if call.hub.bare(call.repo).sha(f"refs/heads/{default}:{path}", "blob") is None:
        raise Problem(404, "Not Found")
    return path


@route("POST", _A + "/workflows/{workflow_id}/dispatches", "actions:write")
def dispatch(call: Call) -> Reply:
    path = _path(call)
    inputs = {
        str(name): value if isinstance(value, str) else str(value).lower()
        for name, value in (call.body.get("inputs") or {}).items()
    }
    inputs = _dispatcher(call).check_inputs(call.repo, path, call.body["ref"], inputs)
    run_id = call.hub.dispatch(call.repo, path, call.body["ref"], inputs, call.actor)
    if not call.body.get("return_run_details"):
        return Reply(status=204)
    url = f"{views(call).api}/repos/{call.repo}/actions/runs/{run_id}"
    return Reply(
        body={
            "workflow_run_id": run_id,
            "run_url": url,
            "html_url": f"{call.hub.url}/{call.repo}/actions/runs/{run_id}",
        }
    )


@route("GET", _A + "/workflows/{workflow_id}/runs", "actions:read")
def list_runs(call: Call) -> Reply:
    path = _path(call)
    docs = [doc for doc in call.hub.state.list("run", call.repo, workflow_path=path) if _fits(doc, call.query)]
    return call.page([views(call).run(call.repo, doc) for doc in reversed(docs)], key="workflow_runs")


def _fits(doc: Doc, query: dict[str, str]) -> bool:
    status = query.get("status")
    return (
        status in (None, doc["status"], doc["conclusion"])
        and query.get("event") in (None, doc["event"])
        and query.get("head_sha") in (None, doc["head_sha"])
        and query.get("actor") in (None, doc["actor"])
    )


def _run(call: Call) -> Doc:
    doc = call.hub.state.get("run", call.repo, call.number("run_id"))
    if doc is None:
        raise Problem(404, "Not Found")
    return doc


@route("GET", _A + "/runs/{run_id}", "actions:read")
def get_run(call: Call) -> Reply:
    return Reply(body=views(call).run(call.repo, _run(call)))


@route("GET", _A + "/runs/{run_id}/jobs", "actions:read")
def list_jobs(call: Call) -> Reply:
    run = _run(call)
    docs = call.hub.state.list("job", call.repo, run_id=run["id"], attempt=run["attempt"])
    return call.page([views(call).job(call.repo, doc) for doc in docs], key="jobs")


@route("POST", _A + "/runs/{run_id}/cancel", "actions:write")
def cancel(call: Call) -> Reply:
    run = _run(call)
    if run["status"] == "completed":
        raise Problem(409, "Cannot cancel a workflow run that is completed.")
    _dispatcher(call).cancel(call.repo, run["id"])
    return Reply(status=202, body={})


@route("POST", _A + "/runs/{run_id}/rerun", "actions:write")
def rerun(call: Call) -> Reply:
    run = _run(call)
    if run["status"] != "completed":
        raise Problem(403, "The workflow run is already running")
    _dispatcher(call).rerun(call.repo, run["id"])
    return Reply(status=201, body={})
