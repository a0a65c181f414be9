"""Pages of workflow runs: the list, one run with its jobs and summaries, one job with its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trackside.sandbox.actions import workflow
from trackside.sandbox.rest.workflow_runs import zipped
from trackside.sandbox.state import Doc
from trackside.sandbox.web import logs
from trackside.sandbox.web.site import Ask, Page, Raw, missing, writes

MAX_LOG = 20_000_000
"""Bytes read from the end of a log."""


def listing(ask: Ask) -> Page:
    """Runs, newest first, of one workflow or all; for one workflow how it is started."""
    runs = list(reversed(ask.hub.state.list("run", ask.repo)))
    flows = _flows(ask)
    names = list(dict.fromkeys([*(str(one["name"]) for one in flows), *(str(one["workflow_name"]) for one in runs)]))
    chosen = ask.query.get("workflow", "")
    if chosen:
        runs = [one for one in runs if one["workflow_name"] == chosen]
    flow = next((one for one in flows if one["name"] == chosen), None)
    branches = [name.removeprefix("refs/heads/") for name in ask.hub.bare(ask.repo).refs("refs/heads/")]
    data = {"runs": runs, "names": names, "chosen": chosen, "flow": flow, "branches": branches, "writes": writes(ask)}
    return Page(template="runs.html.j2", title=f"Actions · {ask.repo}", data=data, tab="actions")


def _flows(ask: Ask) -> list[Doc]:
    """Workflows of the default branch: name, file, inputs of a dispatch (None: cannot be dispatched), cron lines."""
    bare, (ref, sha) = ask.hub.bare(ask.repo), ask.hub.default_tip(ask.repo)
    found: list[Doc] = []
    for entry in bare.tree(f"{ref}:.github/workflows") if sha else []:
        if entry.type != "blob" or not entry.path.endswith((".yml", ".yaml")):
            continue
        try:
            flow = workflow.parse(bare.blob(entry.sha).decode("utf-8", "replace"))
        except ValueError:
            continue
        starts = workflow.triggers(flow)
        dispatched = starts.get("workflow_dispatch")
        found.append(
            {
                "name": str(flow.get("name") or f".github/workflows/{entry.path}"),
                "file": entry.path,
                "events": list(starts),
                "inputs": None if dispatched is None else _inputs(dispatched.get("inputs")),
                "cron": starts.get("schedule", {}).get("cron", []),
            }
        )
    return found


def _inputs(declared: Any) -> list[Doc]:
    """Inputs as a form asks for them."""
    made = []
    for name, rule in declared.items() if isinstance(declared, dict) else ():
        rule = rule if isinstance(rule, dict) else {}
        options = rule.get("options") if rule.get("type") == "choice" else None
        if rule.get("type") == "boolean":
            options = ["false", "true"]
        default = rule.get("default", "")
        made.append(
            {
                "name": str(name),
                "words": str(rule.get("description") or ""),
                "required": rule.get("required") is True,
                "options": [str(one) for one in options] if isinstance(options, list) else None,
                "default": str(default).lower() if isinstance(default, bool) else str(default or ""),
            }
        )
    return made


def _attempt(ask: Ask, run: Doc) -> int:
    return int(ask.params.get("attempt") or run["attempt"])


def run(ask: Ask) -> Page:
    """One run: jobs, their summaries, artifacts."""
    doc = ask.doc("run", "run")
    attempt = _attempt(ask, doc)
    jobs = _jobs(ask, doc, attempt)
    if attempt > int(doc["attempt"]) or attempt < 1:
        raise missing()
    data: dict[str, Any] = {
        "run": doc,
        "attempt": attempt,
        "jobs": jobs,
        "summaries": [(one, text) for one in jobs if (text := _beside_log(ask, one, "summary.md"))],
        "artifacts": _artifacts(ask, doc),
        "writes": writes(ask),
        "trouble": _read(ask, Path("runs") / str(doc["id"]) / "error.txt"),
    }
    return Page(template="run.html.j2", title=f"{doc['display_title']} · {ask.repo}", data=data, tab="actions")


def artifact(ask: Ask) -> Raw:
    """What a run kept under a name, as an archive."""
    doc = ask.doc("run", "run")
    if ask.params["name"] not in [one["name"] for one in _artifacts(ask, doc)]:
        raise missing()
    root = ask.hub.state.root / "runs" / str(doc["id"]) / "artifacts" / ask.params["name"]
    files = {str(one.relative_to(root)): one for one in sorted(root.rglob("*")) if one.is_file()}
    return Raw(data=zipped(files), media_type="application/zip")


def job(ask: Ask) -> Page:
    """One job: steps, each with its part of the log."""
    doc, run_doc = ask.doc("job", "job"), ask.doc("run", "run")
    if doc["run_id"] != run_doc["id"]:
        raise missing()
    sections, dropped = logs.read(_read(ask, Path(doc.get("log") or "")))
    data = {
        "run": run_doc,
        "attempt": doc["attempt"],
        "jobs": _jobs(ask, run_doc, doc["attempt"]),
        "job": doc,
        "before": [one for one in sections if not one.name],
        "steps": _steps(doc, [one for one in sections if one.name]),
        "dropped": dropped,
        "marks": [line for one in sections for group in one.groups for line in group.lines
                  if line.level in ("error", "warning", "notice")][:50],
    }  # fmt: skip
    return Page(template="job.html.j2", title=f"{doc['name']} · {ask.repo}", data=data, tab="actions")


def _jobs(ask: Ask, doc: Doc, attempt: int) -> list[Doc]:
    return ask.hub.state.list("job", ask.repo, run_id=doc["id"], attempt=attempt)


def _steps(doc: Doc, sections: list[logs.Section]) -> list[tuple[Doc, logs.Section | None]]:
    """Steps with their sections: both come in order, and a skipped step has no section."""
    left = list(sections)
    made: list[tuple[Doc, logs.Section | None]] = []
    for step in doc["steps"]:
        own = left.pop(0) if left and left[0].name == step["name"] else None
        made.append((step, own))
    made += [({"name": one.name, "status": "completed", "conclusion": "neutral"}, one) for one in left]
    return made


def _artifacts(ask: Ask, doc: Doc) -> list[Doc]:
    """What the run kept: names and sizes of `artifacts/<name>/`."""
    folder = ask.hub.state.root / "runs" / str(doc["id"]) / "artifacts"
    found = sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    return [
        {"name": one.name, "size": sum(file.stat().st_size for file in one.rglob("*") if file.is_file())}
        for one in found
    ]


def _beside_log(ask: Ask, doc: Doc, name: str) -> str:
    return _read(ask, Path(doc["log"]).parent / name) if doc.get("log") else ""


def _read(ask: Ask, relative: Path) -> str:
    """A file of the state folder, its end if it is long; empty where there is none, or outside the folder."""
    root = ask.hub.state.root.resolve()
    path = (root / relative).resolve()
    if not path.is_relative_to(root) or not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - MAX_LOG))
        return file.read().decode("utf-8", "replace")
