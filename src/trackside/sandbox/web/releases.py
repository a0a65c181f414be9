"""Pages of releases, tags, stages and deployments."""

from __future__ import annotations

from typing import Any

from trackside.registry import tags as registry
from trackside.sandbox.git import Bare
from trackside.sandbox.state import Doc
from trackside.sandbox.web.site import Ask, Moved, Page, missing, writes
from trackside.sandbox.web.text import path as quoted


def releases(ask: Ask) -> Page:
    """Published releases, newest first; drafts are for those who may write."""
    docs = [doc for doc in reversed(ask.hub.state.list("release", ask.repo)) if not doc["draft"] or writes(ask)]
    data = {"releases": _with_assets(ask, docs), "one_only": False, "latest": latest(ask)}
    return Page(template="releases.html.j2", title=f"Releases · {ask.repo}", data=data, tab="releases")


def _with_assets(ask: Ask, docs: list[Doc]) -> list[tuple[Doc, list[Doc]]]:
    return [(doc, ask.hub.state.list("asset", ask.repo, release=doc["id"])) for doc in docs]


def latest(ask: Ask) -> Doc | None:
    """The newest published release that is no pre-release."""
    docs = ask.hub.state.list("release", ask.repo, draft=False, prerelease=False)
    docs = [doc for doc in docs if doc.get("latest", True)]
    return max(docs, key=lambda doc: (doc["published_at"], doc["id"]), default=None)


def newest(ask: Ask) -> Moved:
    """The address of the latest release."""
    doc = latest(ask)
    if doc is None:
        raise missing()
    return Moved(path=f"/{quoted(ask.repo)}/releases/tag/{quoted(doc['tag_name'])}")


def release(ask: Ask) -> Page:
    """One release by its tag."""
    docs = ask.hub.state.list("release", ask.repo, tag_name=ask.params["tag"])
    docs = [doc for doc in docs if not doc["draft"] or writes(ask)]
    if not docs:
        raise missing()
    commit = ask.hub.commit_of(ask.repo, f"refs/tags/{docs[0]['tag_name']}")
    data = {"releases": _with_assets(ask, docs[:1]), "one_only": True, "latest": latest(ask), "commit": commit}
    title = f"{docs[0]['name'] or docs[0]['tag_name']} · {ask.repo}"
    return Page(template="releases.html.j2", title=title, data=data, tab="releases")


def tags(ask: Ask) -> Page:
    """All tags, newest first, with the messages of annotated ones."""
    published = {doc["tag_name"] for doc in ask.hub.state.list("release", ask.repo, draft=False)}
    data = {"tags": ask.hub.bare(ask.repo).tags(), "published": published}
    return Page(template="tags.html.j2", title=f"Tags · {ask.repo}", data=data, tab="releases")


def moves(bare: Bare) -> list[dict[str, Any]]:
    """Every time a stage got or lost a version, by counter, as tags of the registry's grammar say it."""
    versions: dict[str, list[tuple[str, str]]] = {}
    found = [(registry.read(info.name), info) for info in bare.tags()]
    for tag, info in found:
        if tag is not None and tag.action == "register":
            versions.setdefault(info.commit, []).append((tag.model, f"v{tag.version}"))
    made = []
    for tag, info in found:
        if tag is not None and tag.stage:
            told = registry.trailers(info.message)
            here = [version for model, version in versions.get(info.commit, []) if model == tag.model]
            version = told.get("Version") or (here[0] if here else info.commit[:7])
            made.append({"tag": tag, "info": info, "version": version.removeprefix("v"), "told": told})
    return sorted(made, key=lambda one: (one["tag"].model, one["tag"].stage, one["tag"].counter or 0), reverse=True)


def held(bare: Bare) -> list[dict[str, Any]]:
    """Which version stands at which stage now."""
    newest_of: dict[tuple[str, str], dict[str, Any]] = {}
    for one in moves(bare):
        newest_of.setdefault((one["tag"].model, one["tag"].stage), one)
    return sorted(newest_of.values(), key=lambda one: (one["tag"].model, one["tag"].stage))


def stages(ask: Ask) -> Page:
    """Stages with their history, and deployments with their statuses."""
    bare, state = ask.hub.bare(ask.repo), ask.hub.state
    deployments = [
        (doc, list(reversed(state.list("deployment_status", ask.repo, deployment=doc["id"]))))
        for doc in reversed(state.list("deployment", ask.repo))
    ]
    data = {"held": held(bare), "moves": moves(bare), "deployments": deployments}
    return Page(template="stages.html.j2", title=f"Stages · {ask.repo}", data=data, tab="releases")
