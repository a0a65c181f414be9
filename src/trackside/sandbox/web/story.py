"""What happened in a repository, told in order: for the front page, and as a page of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from trackside.sandbox.git import ZERO
from trackside.sandbox.hub import Hub
from trackside.sandbox.state import Doc
from trackside.sandbox.web import look
from trackside.sandbox.web.releases import moves
from trackside.sandbox.web.site import Ask, Page
from trackside.sandbox.web.text import path as quoted
from trackside.sandbox.web.text import plural, subject

MAX_WORDS = 120
LAST = 2**62
"""Order of what has no id: after everything else of its second."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line: who did what to `title`, which stands at `page`. `kind` chooses the sign; `code`: the title is text."""

    at: str
    kind: str
    who: str
    did: str
    title: str
    page: str
    note: str = ""
    code: bool = False
    order: int = 0
    """Ids grow: they order what happened in one second."""


def page(ask: Ask) -> Page:
    """Everything, from the beginning."""
    entries = told(ask)
    days: dict[str, list[Entry]] = {}
    for one in entries:
        days.setdefault(one.at[:10], []).append(one)
    data = {"days": days, "count": len(entries)}
    return Page(template="story.html.j2", title=f"What happened · {ask.repo}", data=data, tab="story")


def told(ask: Ask) -> list[Entry]:
    """All entries in order of time."""
    found = [
        *_pulls(ask),
        *_issues(ask),
        *_commands(ask),
        *_releases(ask),
        *_tags(ask),
        *_pushes(ask),
        *_runs(ask),
    ]
    return sorted(found, key=lambda one: (one.at, one.order))


def _base(ask: Ask) -> str:
    return f"/{quoted(ask.repo)}"


def _pulls(ask: Ask) -> Iterator[Entry]:
    for pull in ask.hub.state.list("pull", ask.repo):
        about, where = ask.hub.issue(ask.repo, pull["number"]), f"{_base(ask)}/pull/{pull['number']}"
        title = f"{about['title']} #{pull['number']}"
        note = f"{pull['head_ref']} → {pull['base_ref']}"
        yield Entry(
            at=about["created_at"], kind="pull", who=about["user"], did="opened the pull request", title=title,
            page=where, note=note, order=about["id"],
        )  # fmt: skip
        if pull["merged"]:
            order = _ending(ask, about)[1]
            yield Entry(
                at=pull["merged_at"], kind="merged", who=pull["merged_by"], did="merged", title=title, page=where,
                order=order,
            )  # fmt: skip
        elif about["state"] == "closed":
            yield _closed(ask, about, "closed without merging", title, where)


def _issues(ask: Ask) -> Iterator[Entry]:
    for doc in ask.hub.state.list("issue", ask.repo, is_pull=False):
        where, title = f"{_base(ask)}/issues/{doc['number']}", f"{doc['title']} #{doc['number']}"
        renamed = ask.hub.state.list("issue_event", ask.repo, issue=doc["number"], event="renamed")
        first = f"{renamed[0]['rename']['from']} #{doc['number']}" if renamed else title
        labels = ", ".join(doc["labels"])
        yield Entry(
            at=doc["created_at"], kind="issue", who=doc["user"], did="opened the issue", title=first, page=where,
            note=labels, order=doc["id"],
        )  # fmt: skip
        for one in renamed:
            yield Entry(
                at=one["created_at"], kind="issue", who=one["actor"], did=f"gave issue #{doc['number']} the title",
                title=one["rename"]["to"], page=where, order=one["id"],
            )  # fmt: skip
        if doc["state"] == "closed":
            yield _closed(ask, doc, "closed the issue", title, where)


def _closed(ask: Ask, about: Doc, did: str, title: str, where: str) -> Entry:
    who, order = _ending(ask, about)
    return Entry(at=about["closed_at"], kind="closed", who=who, did=did, title=title, page=where, order=order)


def _ending(ask: Ask, about: Doc) -> tuple[str, int]:
    """Who closed an issue or pull request last, and the event's place."""
    found = ask.hub.state.list("issue_event", ask.repo, issue=about["number"], event="closed")
    return (str(found[-1]["actor"]), int(found[-1]["id"])) if found else (str(about["user"]), 0)


def _commands(ask: Ask) -> Iterator[Entry]:
    """Comments of people that begin with a slash, with the faces that answered."""
    for doc in ask.hub.state.list("comment", ask.repo):
        line = doc["body"].strip().split("\n", 1)[0]
        if not line.startswith("/") or doc["user"].endswith("[bot]"):
            continue
        about = ask.hub.issue(ask.repo, doc["issue"])
        where = f"{_base(ask)}/{'pull' if about['is_pull'] else 'issues'}/{doc['issue']}#issuecomment-{doc['id']}"
        faces = " ".join(face for face, _, _ in look.reactions(ask.hub, ask.repo, f"comment/{doc['id']}"))
        short = line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 1] + "…"
        yield Entry(
            at=doc["created_at"], kind="command", who=doc["user"], did="wrote", title=short, page=where,
            note=f"on #{doc['issue']} {faces}".strip(), code=True, order=doc["id"],
        )  # fmt: skip


def _releases(ask: Ask) -> Iterator[Entry]:
    for doc in ask.hub.state.list("release", ask.repo, draft=False):
        where = f"{_base(ask)}/releases/tag/{quoted(doc['tag_name'])}"
        count = len(ask.hub.state.list("asset", ask.repo, release=doc["id"]))
        yield Entry(
            at=doc["published_at"], kind="release", who=doc["author"], did="published the release",
            title=doc["name"] or doc["tag_name"], page=where, note=plural(count, "asset"), order=doc["id"],
        )  # fmt: skip


def _tags(ask: Ask) -> Iterator[Entry]:
    """Annotated tags that are no release's: what became of a stage, or the first line of their message."""
    published = {doc["tag_name"] for doc in ask.hub.state.list("release", ask.repo)}
    bare = ask.hub.bare(ask.repo)
    stages = {one["info"].name: one for one in moves(bare)}
    for info in bare.tags():
        if not info.annotated or info.name in published:
            continue
        move, did, title = stages.get(info.name), "set the tag", info.name
        if move is not None:
            model, stage, gone = move["tag"].model, move["tag"].stage, move["tag"].action == "unassign"
            did = f"took {model} away from" if gone else f"put {model} {move['version']} at"
            title = f"the stage {stage}"
        who = move["told"].get("Actor", info.tagger) if move is not None else info.tagger
        yield Entry(
            at=info.date, kind="tag", who=who, did=did, title=title, page=f"{_base(ask)}/tags#{quoted(info.name)}",
            note=subject(info.message), code=move is None, order=LAST,
        )  # fmt: skip


def _pushes(ask: Ask) -> Iterator[Entry]:
    """Pushes to the default branch that are no merges."""
    ref = ask.hub.default_tip(ask.repo)[0]
    for doc in ask.hub.state.list("activity", ask.repo, ref=ref):
        told = None if doc["kind"] == "pr_merge" else _pushed(ask.hub, ask.repo, doc["before"], doc["after"])
        if told is None:
            continue
        yield Entry(
            at=doc["at"], kind="push", who=doc["actor"], did=f"pushed {plural(told[0], 'commit')}:", title=told[1],
            page=f"{_base(ask)}/commit/{doc['after']}", note=ref.removeprefix("refs/heads/"), order=doc["id"],
        )  # fmt: skip


@lru_cache(maxsize=4096)
def _pushed(hub: Hub, repo: str, before: str, after: str) -> tuple[int, str] | None:
    """How many commits a push brought, and the newest one's subject; commits never change, so this is kept."""
    bare = hub.bare(repo)
    if after == ZERO or not bare.sha(after):
        return None
    return bare.count(after if before == ZERO else f"{before}..{after}"), subject(bare.commit(after).message)


def _runs(ask: Ask) -> Iterator[Entry]:
    """Workflow runs that no other entry explains: of schedules, and those that somebody or a job dispatched."""
    for run in ask.hub.state.list("run", ask.repo):
        if run["event"] not in ("schedule", "workflow_dispatch"):
            continue
        who, did = ("", "The schedule started") if run["event"] == "schedule" else (run["actor"], "started")
        title, name = run["display_title"], run["workflow_name"]
        note = str(run["conclusion"] or run["status"])
        yield Entry(
            at=run["created_at"], kind="run", who=who, did=did, title=title,
            page=f"{_base(ask)}/actions/runs/{run['id']}", note=note if title == name else f"{name}, {note}",
            order=run["id"],
        )  # fmt: skip
