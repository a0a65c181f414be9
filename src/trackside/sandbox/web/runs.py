"""Pages of workflow runs: the list, one run with its jobs and summaries, one job with its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trackside.sandbox.state import Doc
from trackside.sandbox.web import logs
from trackside.sandbox.web.site import Ask, Page, missing

MAX_LOG = 20_000_000
"""Bytes read from the end of a log."""


def listing(ask: Ask) -> Page:
    """Runs, newest first, of one workflow or all."""
    runs = list(reversed(ask.hub.state.list("run", ask.repo)))
    names = list(dict.fromkeys(str(one["workflow_name"]) for one in runs))
    chosen = ask.query.get("workflow", "")
    if chosen:
        runs = [one for one in runs if one["workflow_name"] == chosen]
    data = {"runs": runs, "names": names, "chosen": chosen}
    return Page(template="runs.html.j2", title=f"Actions · {ask.repo}", data=data, tab="actions")


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
        "trouble": _read(ask, Path("runs") / str(doc["id"]) / "error.txt"),
    }
    return Page(template="run.html.j2", title=f"{doc['display_title']} · {ask.repo}", data=data, tab="actions")


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
