"""A sandbox with something in every state, for the tests of its pages."""

from __future__ import annotations

import os
from pathlib import Path

from trackside.sandbox import web
from trackside.sandbox.server import Sandbox

REPO = "octo/flights"
BODY = """Trains **faster**, see #1 and @mallory. Closes nothing.

| Metric | Before | After |
| :-- | --: | --: |
| `auc` | 0.71 | 0.74 |

- [x] trained
- [ ] reviewed

> [!WARNING]
> The baseline is old.

<details><summary>More</summary>

Text <sub>low</sub> and <kbd>Ctrl</kbd>.

</details>

```mermaid
xychart-beta
  title "Loss"
  x-axis [1, 2, 3, 4]
  y-axis "loss" 0 --> 1
  line [0.9, 0.6, 0.4, 0.3]
  line [0.8, 0.5, 0.45, 0.4]
```

```mermaid
flowchart LR
  prepare --> train --> evaluate
```

```python
print("<b>not bold</b>")
```
"""
LOG = (
    "##[step]Set up\n::group::Versions\npython 3.11\ndvc 3.67\n::endgroup::\n##[step]Run trackside train\n"
    "\x1b[32mepoch 1\x1b[0m loss 0.9\n\x1b[1;31mbad <b>thing</b>\x1b[0m\n"
    "::error file=train.py,line=3::Out of 50%25 memory\n::warning::slow disk\n##[notice]done\n"
)


def sandbox_with_pages(root: Path, mermaid: Path | None = None) -> Sandbox:
    """A started sandbox with pages; stop it when done."""
    sandbox = Sandbox(root, {"PATH": os.environ["PATH"]})
    sandbox.extra_routes += web.routes(sandbox, mermaid)
    sandbox.start()
    return sandbox


def fill(sandbox: Sandbox) -> dict[str, int | str]:
    """One repository with pulls in every state, checks, statuses, runs, jobs, releases; returns ids by name."""
    seed, hub = sandbox.seed, sandbox.hub
    readme = (
        b"# Flights\n\nSee [the code](train.py), ![chart](docs/chart.svg) and [usage](#usage).\n\n## Usage\n\nRun it.\n"
    )
    files = {
        "README.md": readme,
        "train.py": b"print(1)\n",
        "docs/chart.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>',
        "docs/notes.md": b"[up](../README.md)\n",
    }
    seed.repository(REPO, files, roles={"mallory": "read", "grace": "write"})
    octo = seed.person("octo")
    hub.add_user("github-actions[bot]")
    ids: dict[str, int | str] = {}
    for name, change in {
        "ready": b"print(2)\n",
        "failing": b"print(3)\n",
        "merged": b"print(4)\n",
        "closed": b"5\n",
        "draft": b"6\n",
    }.items():
        path = "train.py" if name != "merged" else "other.py"
        seed.push(REPO, f"try/{name}", {path: change}, f"Try {name}", "grace")
        ids[name] = hub.open_pull(
            REPO,
            title=f"Make it {name}",
            head=f"try/{name}",
            base="main",
            actor=seed.person("grace"),
            body=BODY,
            draft=name == "draft",
        )
    fork = seed.fork(REPO, "mallory")
    seed.push(fork, "theirs", {"new.txt": b"hello\n"}, "From a fork", "mallory")
    ids["fork"] = hub.open_pull(
        REPO, title="From afar", head="mallory:theirs", base="main", actor=seed.person("mallory")
    )
    for text in ("/trackside train", BODY):
        ids["comment"] = hub.add_comment(REPO, int(ids["ready"]), text, seed.person("mallory"))["id"]
    seed.push(REPO, "try/ready", {"train.py": b"print(22)\n", "bin": b"\0\1\2"}, "Second try\n\nWith words", "grace")
    hub.merge_pull(REPO, int(ids["merged"]), octo)
    hub.set_state(REPO, int(ids["closed"]), "closed", octo)
    hub.set_labels(REPO, int(ids["ready"]), ["trackside:queued"], octo)
    for name in ("ready", "failing"):
        _judge(
            sandbox, str(hub.pull(REPO, int(ids[name]))["head_sha"]), "failure" if name == "failing" else "success", ids
        )
    _release(sandbox)
    _run(sandbox, ids)
    _story(sandbox, ids)
    return ids


def _story(sandbox: Sandbox, ids: dict[str, int | str]) -> None:
    """An issue, a command with its answer, versions and stages as tags, deployments, a data branch."""
    hub, octo, bare = sandbox.hub, sandbox.seed.person("octo"), sandbox.hub.bare(REPO)
    ids["issue"] = hub.new_issue(
        REPO, title="Data drifts", body=BODY, actor=octo, labels=["drift"], assignees=["grace"]
    )
    ids["solved"] = hub.new_issue(REPO, title="Old question", body="", actor=octo)
    hub.set_state(REPO, int(ids["solved"]), "closed", octo)
    hub.edit(REPO, int(ids["issue"]), {"title": "Data drifts since May"}, octo)
    said = hub.add_comment(REPO, int(ids["issue"]), "/promote flights prod", sandbox.seed.person("grace"))
    hub.react(REPO, f"comment/{said['id']}", "rocket", octo)
    hub.react(REPO, f"issue/{ids['issue']}", "eyes", octo)
    tip = hub.default_tip(REPO)[1]
    for name, words in {
        "flights@v1.0.0": "flights 1.0.0\n\nRun-Id: 7",
        "flights#prod#1": "First in use\n\nVersion: 1.0.0\nActor: grace",
        "flights#dev!#1": "Not needed",
    }.items():
        tag = bare.write_tag(name, tip, "commit", words, "octo <o@x> 1790000000 +0000")
        bare.update_ref(f"refs/tags/{name}", tag)
    fields = {"ref": "main", "environment": "prod", "required_contexts": [], "description": "flights 1.0.0"}
    made = hub.add_deployment(REPO, fields, octo)
    hub.add_deployment_status(REPO, made["id"], {"state": "success", "description": "it answers"}, octo)
    flow = (
        b"name: Drift\non: {schedule: [{cron: '17 3 * * *'}], workflow_dispatch: {inputs: {model: {required: true}}}}\n"
    )
    jobs = b"jobs: {a: {runs-on: ubuntu-latest, steps: [{run: 'true', shell: bash}]}}\n"
    sandbox.seed.push(REPO, "main", {".github/workflows/drift.yml": flow + jobs}, "Look every night", "octo")
    sandbox.seed.push(
        REPO, "trackside-data", {"drift/flights/2026-05-01.json": b'{"a": [1, "<b>"]}\n'}, "Verdict", "octo"
    )


def _judge(sandbox: Sandbox, sha: str, conclusion: str, ids: dict[str, int | str]) -> None:
    state, now = sandbox.state, sandbox.hub.now()
    number = ids["check"] = state.next("id")
    state.put("check_run", REPO, number, {
        "id": number, "name": "trackside / flights", "head_sha": sha, "external_id": "", "details_url": "",
        "app": "trackside",
        "status": "completed", "conclusion": conclusion, "started_at": now, "completed_at": now,
        "output": {"title": "auc 0.74 (+0.03)", "summary": BODY, "text": "More **words**"},
        "annotations": [{"path": "train.py", "start_line": 1, "end_line": 1, "annotation_level": "warning",
                         "message": "learning rate\nis odd", "title": "Odd"}],
    })  # fmt: skip
    number = state.next("id")
    state.put("status", REPO, number, {
        "id": number, "sha": sha, "state": "pending", "context": "ci/other", "description": "waiting",
        "target_url": None,
        "creator": "octo", "created_at": now,
    })  # fmt: skip


def _release(sandbox: Sandbox) -> None:
    hub, octo = sandbox.hub, sandbox.seed.person("octo")
    fields = {"tag_name": "flights/v1", "name": "flights v1", "body": "Notes for #1", "draft": True}
    made = hub.add_release(REPO, fields, octo)
    hub.add_asset(REPO, made["id"], "model card.md", b"# Card", octo)
    hub.edit_release(REPO, made["id"], {"draft": False}, octo)
    hub.add_release(REPO, {"tag_name": "v2", "draft": True, "body": None, "name": None}, octo)


def _run(sandbox: Sandbox, ids: dict[str, int | str]) -> None:
    hub, state, now = sandbox.hub, sandbox.state, sandbox.hub.now()
    pull = hub.pull(REPO, int(ids["ready"]))
    run = {
        "run_number": 1, "attempt": 1, "workflow_path": ".github/workflows/train.yml", "workflow_name": "Train",
        "event": "pull_request", "event_payload": {}, "head_branch": "try/ready", "head_sha": pull["head_sha"],
        "sha": pull["head_sha"], "ref": "refs/pull/1/merge", "actor": "grace", "triggering_actor": "grace",
        "token_kind": "user",
        "display_title": "Make it ready", "concurrency_group": None, "inputs": {"model": "flights"}, "created_at": now,
        "started_at": now, "updated_at": now, "pull_numbers": [1],
    }  # fmt: skip
    for status, conclusion in (
        ("completed", "success"),
        ("completed", "failure"),
        ("in_progress", None),
        ("queued", None),
    ):
        number = ids[f"run_{conclusion or status}"] = state.next("id")
        doc = run | {
            "id": number,
            "status": status,
            "conclusion": conclusion,
            "workflow_name": f"Train {conclusion or status}",
        }
        state.put("run", REPO, number, doc)
        job = ids[f"job_{conclusion or status}"] = state.next("id")
        log = f"runs/{number}/1-train/log.txt"
        times = {"started_at": now, "completed_at": now}
        steps = [
            {"number": 1, "name": "Set up", "status": "completed", "conclusion": "success", **times},
            {"number": 2, "name": "Never", "status": "completed", "conclusion": "skipped", **times},
            {"number": 3, "name": "Run trackside train", "status": status, "conclusion": conclusion, **times},
        ]
        state.put("job", REPO, job, {
            "id": job, "run_id": number, "attempt": 1, "name": "train (flights)", "key": "train", "status": status,
            "conclusion": conclusion, "labels": ["self-hosted", "gpu"], "runner_name": "box", "started_at": now,
            "completed_at": now if conclusion else None, "permissions": {"contents": "read"}, "steps": steps,
            "log": log,
        })  # fmt: skip
        folder = (state.root / log).parent
        folder.mkdir(parents=True)
        if status != "queued":
            (state.root / log).write_text(LOG)
            (folder / "summary.md").write_text("## Summary\n\n" + BODY)
        kept = folder.parent / "artifacts" / "result"
        kept.mkdir(parents=True)
        (kept / "result.json").write_text("{}")
