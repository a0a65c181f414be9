"""Workflows, their runs, jobs, logs and artifacts: dispatch, list, cancel, re-run."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from trackside.sandbox.actions import workflow as flow
from trackside.sandbox.actions.inputs import validate_inputs
from trackside.sandbox.core import author
from trackside.sandbox.problem import Problem, not_found
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc
from trackside.sandbox.views import work as show
from trackside.sandbox.views.core import user

_A = "/repos/{owner}/{repo}/actions"
_READ, _WRITE = "actions:read", "actions:write"
FOLDER = ".github/workflows"


def _dispatcher(call: Call) -> Any:
    if call.dispatcher is None:
        raise Problem(409, "No workflow runner is attached to this sandbox")
    return call.dispatcher


def _workflows(call: Call) -> list[Doc]:
    """Workflow files of the default branch."""
    bare, (ref, _) = call.hub.bare(call.repo), call.hub.default_tip(call.repo)
    found = []
    for entry in bare.tree(f"{ref}:{FOLDER}"):
        if entry.type == "blob" and entry.path.endswith((".yml", ".yaml")):
            path = f"{FOLDER}/{entry.path}"
            found.append(call.hub.workflow(call.repo, path) | {"name": _name(call, ref, path)})
    return found


def _source(call: Call, rev: str, path: str) -> Doc:
    """A workflow file as data. Raises ValueError where it is none."""
    return flow.parse((call.hub.bare(call.repo).file(rev, path) or b"").decode("utf-8", "replace"))


def _name(call: Call, rev: str, path: str) -> str:
    """What a workflow calls itself; its path where it does not say or cannot be read."""
    try:
        return str(_source(call, rev, path).get("name") or path)
    except ValueError:
        return path


def _workflow(call: Call) -> Doc:
    """The workflow that a file name or an id names. Raises Problem 404."""
    name = call.params["workflow_id"]
    for doc in _workflows(call):
        if name in (str(doc["id"]), doc["path"].rsplit("/", 1)[-1], doc["path"]):
            return doc
    raise not_found()


@route("GET", _A + "/workflows", _READ)
def list_workflows(call: Call) -> Reply:
    return call.page(_workflows(call), lambda doc: show.workflow(call.hub, call.repo, doc), key="workflows")


@route("GET", _A + "/workflows/{workflow_id}", _READ)
def get_workflow(call: Call) -> Reply:
    return Reply(body=show.workflow(call.hub, call.repo, _workflow(call)))


@route("POST", _A + "/workflows/{workflow_id}/dispatches", _WRITE)
def dispatch(call: Call) -> Reply:
    path = _workflow(call)["path"]
    ref = call.fields["ref"]
    rev = call.hub.commit_of(call.repo, ref)
    if rev is None:
        raise Problem(422, f"No ref found for: {ref}")
    given = {name: _text(value) for name, value in (call.fields.get("inputs") or {}).items()}
    try:
        inputs = validate_inputs(_source(call, rev, path), given)
    except ValueError as error:
        raise Problem(422, str(error)) from None
    run_id = call.hub.dispatch(call.repo, path, ref, inputs, call.actor)
    if not call.fields.get("return_run_details"):
        return Reply(status=204)
    details = {
        "workflow_run_id": run_id,
        "run_url": f"{call.hub.api_url}/repos/{call.repo}/actions/runs/{run_id}",
        "html_url": f"{call.hub.url}/{call.repo}/actions/runs/{run_id}",
    }
    return Reply(body=details)


def _text(value: Any) -> str:
    """An input as text: JSON's own booleans and numbers are taken too."""
    return value if isinstance(value, str) else json.dumps(value)


@route("GET", _A + "/runs", _READ)
def list_all_runs(call: Call) -> Reply:
    return _runs(call, call.hub.state.list("run", call.repo))


@route("GET", _A + "/workflows/{workflow_id}/runs", _READ)
def list_runs(call: Call) -> Reply:
    return _runs(call, call.hub.state.list("run", call.repo, workflow_path=_workflow(call)["path"]))


def _runs(call: Call, docs: list[Doc]) -> Reply:
    query = call.query

    def fits(doc: Doc) -> bool:
        return (
            query.get("status") in (None, doc["status"], doc["conclusion"])
            and query.get("event") in (None, doc["event"])
            and query.get("head_sha") in (None, doc["head_sha"])
            and query.get("branch") in (None, doc["head_branch"])
            and query.get("actor") in (None, doc["actor"])
        )

    found = [doc for doc in reversed(docs) if fits(doc)]
    return call.page(found, lambda doc: show.run(call.hub, call.repo, doc), key="workflow_runs")


@route("GET", _A + "/runs/{run_id}", _READ)
def get_run(call: Call) -> Reply:
    return Reply(body=show.run(call.hub, call.repo, call.doc("run", "run_id")))


@route("GET", _A + "/runs/{run_id}/jobs", _READ)
def list_jobs(call: Call) -> Reply:
    run = call.doc("run", "run_id")
    docs = call.hub.state.list("job", call.repo, run_id=run["id"])
    if call.query.get("filter", "latest") == "latest":
        docs = list({doc["name"]: doc for doc in docs if doc["attempt"] <= run["attempt"]}.values())
    return call.page(docs, lambda doc: show.job(call.hub, call.repo, doc), key="jobs")


@route("GET", _A + "/jobs/{job_id}", _READ)
def get_job(call: Call) -> Reply:
    return Reply(body=show.job(call.hub, call.repo, call.doc("job", "job_id")))


@route("POST", _A + "/runs/{run_id}/cancel", _WRITE)
def cancel(call: Call) -> Reply:
    run = call.doc("run", "run_id")
    if run["status"] == "completed":
        raise Problem(409, "Cannot cancel a workflow run that is completed.")
    _dispatcher(call).cancel(call.repo, run["id"])
    return Reply(status=202, body={})


@route("POST", _A + "/runs/{run_id}/force-cancel", _WRITE)
def force_cancel(call: Call) -> Reply:
    return cancel(call)


@route("POST", _A + "/runs/{run_id}/approve", _WRITE)
def approve(call: Call) -> Reply:
    """Let a run go on that waits for approval."""
    run = call.doc("run", "run_id")
    if run["conclusion"] != "action_required":
        raise Problem(403, "This run is not from a fork pull request or doesn't require approval.")
    _dispatcher(call).rerun(call.repo, run["id"], False, author(call.actor))
    return Reply(status=201, body={})


@route("GET", _A + "/runs/{run_id}/approvals", _READ)
def list_approvals(call: Call) -> Reply:
    docs = call.hub.state.list("run_approval", call.repo, run=call.number("run_id"))
    shown = [
        {
            "state": doc["state"],
            "comment": doc["comment"],
            "user": user(call.hub, doc["user"]),
            "environments": [{"name": name} for name in doc["environments"]],
        }
        for doc in docs
    ]
    return Reply(body=shown)


@route("POST", _A + "/runs/{run_id}/rerun", _WRITE)
def rerun(call: Call) -> Reply:
    return _again(call, failed_only=False)


@route("POST", _A + "/runs/{run_id}/rerun-failed-jobs", _WRITE)
def rerun_failed(call: Call) -> Reply:
    return _again(call, failed_only=True)


def _again(call: Call, *, failed_only: bool) -> Reply:
    run = call.doc("run", "run_id")
    if run["status"] != "completed":
        raise Problem(403, "The workflow run is already running")
    _dispatcher(call).rerun(call.repo, run["id"], failed_only, author(call.actor))
    return Reply(status=201, body={})


# Logs and artifacts: the API answers with an address that needs no token for a while; here with a signed one.


@route("GET", _A + "/runs/{run_id}/logs", _READ)
def run_logs(call: Call) -> Reply:
    run = call.doc("run", "run_id")
    files: dict[str, Path] = {}
    for doc in call.hub.state.list("job", call.repo, run_id=run["id"], attempt=run["attempt"]):
        path = _log(call, doc)
        if path.is_file():
            files[f"{len(files)}_{doc['name'].replace('/', '_')}.txt"] = path
    return _download(call, call.hub.keep(zipped(files)), "zip")


@route("GET", _A + "/jobs/{job_id}/logs", _READ)
def job_logs(call: Call) -> Reply:
    path = _log(call, call.doc("job", "job_id"))
    if not path.is_file():
        raise not_found()
    return _download(call, call.hub.keep(path.read_bytes()), "txt")


def _log(call: Call, doc: Doc) -> Path:
    return call.hub.state.root / (doc.get("log") or f"runs/{doc['run_id']}/no-log")


def _download(call: Call, digest: str, kind: str) -> Reply:
    return Reply(status=302, headers={"Location": f"{call.hub.url}/_blobs/{digest}.{kind}"})


def zipped(files: dict[str, Path]) -> bytes:
    """The same bytes for the same files: entries carry no time."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in files.items():
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _artifacts(call: Call, run_id: int) -> list[Doc]:
    """What jobs left below `runs/<id>/artifacts/<name>/`; each gets an id at its first mention."""
    folder = call.hub.state.root / "runs" / str(run_id) / "artifacts"
    docs = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        key = f"{run_id}/{path.name}"
        doc = call.hub.state.get("artifact_name", call.repo, key)
        if doc is None:
            packed = zipped({str(one.relative_to(path)): one for one in sorted(path.rglob("*")) if one.is_file()})
            doc = {
                "id": call.hub.state.next("id"),
                "run_id": run_id,
                "name": path.name,
                "size": len(packed),
                "digest": "sha256:" + call.hub.keep(packed),
                "created_at": call.hub.now(),
            }
            call.hub.state.put("artifact_name", call.repo, key, doc)
            call.hub.state.put("artifact", call.repo, doc["id"], doc)
        docs.append(doc)
    return docs


@route("GET", _A + "/runs/{run_id}/artifacts", _READ)
def list_artifacts(call: Call) -> Reply:
    docs = _artifacts(call, call.doc("run", "run_id")["id"])
    docs = [doc for doc in docs if call.query.get("name") in (None, doc["name"])]
    return call.page(docs, lambda doc: show.artifact(call.hub, call.repo, doc), key="artifacts")


@route("GET", _A + "/artifacts/{artifact_id}/{archive_format}", _READ)
def download_artifact(call: Call) -> Reply:
    if call.actor and call.params["archive_format"] != "zip":
        raise not_found()
    return _download(call, call.doc("artifact", "artifact_id")["digest"].removeprefix("sha256:"), "zip")
