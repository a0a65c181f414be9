"""Which runs an event gives birth to, and what a run looks like on its first day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackside.sandbox.actions import workflow as flow
from trackside.sandbox.actions.concurrency import Settings, settings
from trackside.sandbox.actions.expressions import render
from trackside.sandbox.actions.filters import skips, starts
from trackside.sandbox.actions.inputs import typed
from trackside.sandbox.bus import HookEvent
from trackside.sandbox.git import ZERO
from trackside.sandbox.hub import Hub, now
from trackside.sandbox.state import Doc

if TYPE_CHECKING:
    from trackside.sandbox.actions.dispatcher import Dispatcher

FOLDER = ".github/workflows"


@dataclass(frozen=True, kw_only=True)
class Birth:
    """A new run. `problem` tells why its file cannot be run."""

    run: Doc
    workflow: Doc
    group: Settings | None = None
    problem: str = ""


@lru_cache(maxsize=256)
def _parsed(repository: str, sha: str, hub: Hub, repo: str) -> tuple[Doc | None, str]:
    """A workflow file by its blob: the data, or why there is none."""
    try:
        return flow.parse(hub.bare(repo).blob(sha).decode("utf-8", "replace")), ""
    except ValueError as error:
        return None, str(error)


def born(dispatcher: Dispatcher, event: HookEvent) -> Iterator[Birth]:
    """The runs that an event starts, in order of their files."""
    hub = dispatcher.hub
    bare = hub.bare(event.repo)
    if event.name in ("push", "pull_request") and skips(bare.commit(_head(event)).message):
        return
    for entry in bare.tree(event.sha, path=f"{FOLDER}/"):
        if entry.type != "blob" or not entry.path.endswith((".yml", ".yaml")):
            continue
        if event.workflow and event.workflow != entry.path:
            continue
        workflow, problem = _parsed(str(bare.path), entry.sha, hub, event.repo)
        if workflow is None:
            # Nobody knows what would start it: GitHub shows the broken file at every push.
            if event.name == "push" or event.workflow:
                yield Birth(run=_run(dispatcher, event, entry.path, {}), workflow={}, problem=problem)
            continue
        if not starts(workflow, event, lambda: _changed(hub, event)):
            continue
        run = _run(dispatcher, event, entry.path, workflow)
        try:
            flow.check(workflow)
            run["display_title"] = _title(hub, event, run, workflow)
            yield Birth(run=run, workflow=workflow, group=starting(dispatcher, event.repo, run, workflow))
        except ValueError as error:
            yield Birth(run=run, workflow=workflow, problem=str(error))


def starting(dispatcher: Dispatcher, repo: str, run: Doc, workflow: Doc) -> Settings | None:
    """The concurrency group of a run, noted in it. Raises ExpressionError."""
    if "concurrency" not in workflow:
        return None
    found = settings(workflow["concurrency"], _contexts(dispatcher.hub, repo, run, workflow))
    run["concurrency_group"] = found.name if found else None
    return found


def failed_at_birth(root: Path, run: Doc, problem: str) -> None:
    """Keep why a run could not be run where a person will look."""
    folder = root / "runs" / str(run["id"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "error.txt").write_text(problem + "\n", encoding="utf-8")


def _head(event: HookEvent) -> str:
    pull = event.payload.get("pull_request")
    return str(pull["head"]["sha"]) if pull else event.sha


def _changed(hub: Hub, event: HookEvent) -> list[str]:
    """Paths that an event's commits touch: three-dot for pull requests, two-dot for pushes."""
    bare = hub.bare(event.repo)
    after = _head(event)
    before = event.payload.get("before") or ZERO
    if "pull_request" in event.payload:
        before = bare.merge_base(event.payload["pull_request"]["base"]["sha"], after) or ZERO
    elif before == ZERO:
        # A new branch: what it has over the default one; the default one itself: everything.
        tip = hub.default_tip(event.repo)[1]
        before = (bare.merge_base(tip, after) if tip and tip != after else None) or ZERO
    base = before if before != ZERO else bare.git("hash-object", "-t", "tree", "--stdin", data=b"").text.strip()
    done = bare.git("diff-tree", "-r", "-z", "--no-renames", "--name-only", base, after, check=False)
    return [path.decode("utf-8", "replace") for path in done.stdout.split(b"\0") if path]


def _run(dispatcher: Dispatcher, event: HookEvent, path: str, workflow: Doc) -> Doc:
    state = dispatcher.state
    pull = event.payload.get("pull_request")
    name = str(workflow.get("name") or path)
    return {
        "id": event.run_id or state.next("id"),
        "run_number": state.next(f"run:{event.repo}:{path}"),
        "attempt": 1,
        "workflow_path": path,
        "workflow_name": name,
        "event": event.name,
        "event_payload": event.payload | ({"inputs": event.inputs} if event.inputs else {}),
        "ref": event.ref,
        "head_branch": pull["head"]["ref"] if pull else event.ref.split("/", 2)[-1],
        "head_sha": pull["head"]["sha"] if pull else event.sha,
        "sha": event.sha,
        "actor": event.sender,
        "triggering_actor": event.sender,
        "token_kind": event.token_kind,
        "display_title": name,
        "status": "queued",
        "conclusion": None,
        "concurrency_group": None,
        "inputs": event.inputs,
        "chain": _chain(dispatcher, event),
        "created_at": now(),
        "started_at": None,
        "updated_at": now(),
        "pull_numbers": [pull["number"]] if pull else [],
    }


def _chain(dispatcher: Dispatcher, event: HookEvent) -> int:
    """How many workflows started each other by `workflow_run` before this one."""
    if event.name != "workflow_run":
        return 0
    before = dispatcher.state.get("run", event.repo, event.payload["workflow_run"]["id"]) or {}
    return int(before.get("chain", 0)) + 1


def _title(hub: Hub, event: HookEvent, run: Doc, workflow: Doc) -> str:
    """`run-name` evaluated; without one, or a blank one, the pull request, issue, commit or workflow, as on GitHub."""
    named = render(str(workflow.get("run-name") or ""), _contexts(hub, event.repo, run, workflow)).strip()
    if named:
        return named
    about = event.payload.get("pull_request") or event.payload.get("issue")
    if about:
        return str(about["title"])
    if event.name in ("push", "merge_group"):
        return hub.bare(event.repo).commit(event.sha).message.split("\n")[0]
    return str(run["workflow_name"])


def _contexts(hub: Hub, repo: str, run: Doc, workflow: Doc) -> dict[str, Any]:
    docs = hub.state.list("variable", repo, environment="")
    return {
        "github": context(hub, repo, run),
        "inputs": typed(workflow, run["inputs"]),
        "vars": {doc["name"]: doc["value"] for doc in docs},
    }


def context(hub: Hub, repo: str, run: Doc) -> Doc:
    """The `github` context, as far as it is known before a job runs."""
    pull = run["event_payload"].get("pull_request") or {}
    full, kind = run["ref"], "tag" if run["ref"].startswith("refs/tags/") else "branch"
    of_pull = run["event"] in ("pull_request", "pull_request_target")
    return {
        "event": run["event_payload"],
        "event_name": run["event"],
        "ref": full,
        "ref_name": full.removeprefix("refs/heads/").removeprefix("refs/tags/").removeprefix("refs/pull/"),
        "ref_type": kind,
        "ref_protected": False,
        "sha": run["sha"],
        "repository": repo,
        "repository_id": str(hub.repo(repo)["id"]),
        "repository_owner": repo.split("/")[0],
        "repository_owner_id": str(hub.user(repo.split("/")[0])["id"]),
        "actor": run["actor"],
        "actor_id": str(hub.user(run["actor"])["id"]),
        "triggering_actor": run["triggering_actor"],
        "run_id": str(run["id"]),
        "run_number": str(run["run_number"]),
        "run_attempt": str(run["attempt"]),
        "workflow": run["workflow_name"],
        "workflow_ref": f"{repo}/{run['workflow_path']}@{full}",
        "workflow_sha": run["sha"],
        "head_ref": (pull.get("head") or {}).get("ref", "") if of_pull else "",
        "base_ref": (pull.get("base") or {}).get("ref", "") if of_pull else "",
        "server_url": hub.url,
        "api_url": hub.api_url,
        "graphql_url": f"{hub.url}/api/graphql",
        "retention_days": "90",
    }
