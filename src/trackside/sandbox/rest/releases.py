"""Releases: draft, upload, publish; the look-up by tag returns published ones only."""

from __future__ import annotations

from trackside.sandbox.access import allowed
from trackside.sandbox.problem import Problem, invalid, not_found
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc
from trackside.sandbox.views import work as show

_R = "/repos/{owner}/{repo}/releases"
_READ, _WRITE = "contents:read", "contents:write"
MAX_ASSETS = 1000


def _sees_drafts(call: Call) -> bool:
    """Drafts are for those who may write."""
    return allowed(call.hub, call.repo, call.token, _WRITE)


def _shown(call: Call, doc: Doc) -> Doc:
    return show.release(call.hub, call.repo, doc)


@route("GET", _R, _READ)
def list_releases(call: Call) -> Reply:
    drafts = _sees_drafts(call)
    docs = [doc for doc in reversed(call.hub.state.list("release", call.repo)) if drafts or not doc["draft"]]
    return call.page(docs, lambda doc: _shown(call, doc))


@route("POST", _R, _WRITE)
def create_release(call: Call) -> Reply:
    return Reply(status=201, body=_shown(call, call.hub.add_release(call.repo, call.fields, call.actor)))


@route("GET", _R + "/latest", _READ)
def latest_release(call: Call) -> Reply:
    docs = call.hub.state.list("release", call.repo, draft=False, prerelease=False)
    docs = [doc for doc in docs if doc.get("latest", True)]
    if not docs:
        raise not_found()
    return Reply(body=_shown(call, max(docs, key=lambda doc: (doc["published_at"], doc["id"]))))


@route("GET", _R + "/tags/{tag}", _READ)
def release_by_tag(call: Call) -> Reply:
    docs = call.hub.state.list("release", call.repo, tag_name=call.params["tag"], draft=False)
    if not docs:
        raise not_found()
    return Reply(body=_shown(call, docs[0]))


@route("GET", _R + "/{release_id}", _READ)
def get_release(call: Call) -> Reply:
    doc = call.doc("release", "release_id")
    if doc["draft"] and not _sees_drafts(call):
        raise not_found()
    return Reply(body=_shown(call, doc))


@route("PATCH", _R + "/{release_id}", _WRITE)
def update_release(call: Call) -> Reply:
    doc = call.hub.edit_release(call.repo, call.number("release_id"), call.fields, call.actor)
    return Reply(body=_shown(call, doc))


@route("DELETE", _R + "/{release_id}", _WRITE)
def delete_release(call: Call) -> Reply:
    call.hub.delete_release(call.repo, call.number("release_id"), call.actor)
    return Reply(status=204)


@route("GET", _R + "/{release_id}/assets", _READ)
def list_assets(call: Call) -> Reply:
    doc = call.doc("release", "release_id")
    docs = call.hub.state.list("asset", call.repo, release=doc["id"])
    return call.page(docs, lambda one: show.asset(call.hub, call.repo, one, doc["tag_name"]))


@route("POST", _R + "/{release_id}/assets", _WRITE, prefix="uploads")
def upload_asset(call: Call) -> Reply:
    doc = call.doc("release", "release_id")
    if not call.raw and not call.cut:
        raise Problem(400, "Bad Content-Length")
    if len(call.hub.state.list("asset", call.repo, release=doc["id"])) >= MAX_ASSETS:
        raise invalid("ReleaseAsset", "release", "custom", f"a release holds at most {MAX_ASSETS} assets")
    more = {"label": call.query.get("label"), "content_type": call.headers.get("content-type", "")}
    made = call.hub.add_asset(
        call.repo, doc["id"], call.query["name"], None if call.cut else call.raw, call.actor, **more
    )
    if call.cut:
        raise Problem(502, "The upload was interrupted")
    return Reply(status=201, body=show.asset(call.hub, call.repo, made, doc["tag_name"]))


@route("GET", _R + "/assets/{asset_id}", _READ)
def get_asset(call: Call) -> Reply:
    """The asset's document, or its bytes where `Accept` asks for them."""
    doc = call.doc("asset", "asset_id")
    release = call.hub.release(call.repo, doc["release"])
    if release["draft"] and not _sees_drafts(call):
        raise not_found()
    if "application/octet-stream" in call.headers.get("accept", ""):
        if doc["digest"] is None:
            raise not_found()
        return Reply(status=302, headers={"Location": f"{call.hub.url}/_blobs/{doc['digest'].removeprefix('sha256:')}"})
    return Reply(body=show.asset(call.hub, call.repo, doc, release["tag_name"]))


@route("PATCH", _R + "/assets/{asset_id}", _WRITE)
def update_asset(call: Call) -> Reply:
    doc = call.hub.edit_asset(call.repo, call.number("asset_id"), call.fields)
    return Reply(body=show.asset(call.hub, call.repo, doc, call.hub.release(call.repo, doc["release"])["tag_name"]))


@route("DELETE", _R + "/assets/{asset_id}", _WRITE)
def delete_asset(call: Call) -> Reply:
    call.hub.delete_asset(call.repo, call.number("asset_id"))
    return Reply(status=204)
