"""The table of all pages."""

from __future__ import annotations

from trackside.sandbox.web import code, conversation, releases, runs, story
from trackside.sandbox.web.site import Entry

_R = "/{owner}/{repo}"
TABLE = [
    Entry(template=template, handler=handler)
    for template, handler in {
        "/": code.start,
        "/{owner}": code.person,
        "/apps/{app}": code.person,
        _R: code.home,
        _R + "/tree/{rest:path}": code.home,
        _R + "/blob/{rest:path}": code.blob,
        _R + "/raw/{rest:path}": code.raw,
        _R + "/branches": code.all_branches,
        _R + "/commits": code.commits,
        _R + "/commits/{ref:path}": code.commits,
        _R + "/commit/{sha}": code.commit,
        _R + "/activity": story.page,
        _R + "/pulls": conversation.pulls,
        _R + "/compare": conversation.compare,
        _R + "/compare/{basehead:path}": code.comparison,
        _R + "/labels": conversation.labels,
        _R + "/issues": conversation.issues,
        _R + "/issues/new": conversation.new_issue,
        _R + "/issues/{number:int}": conversation.issue_page,
        _R + "/pull/{number:int}": conversation.conversation,
        _R + "/pull/{number:int}/commits": conversation.pull_commits,
        _R + "/pull/{number:int}/checks": conversation.pull_checks,
        _R + "/pull/{number:int}/files": conversation.pull_files,
        _R + "/runs/{check:int}": conversation.check_run,
        _R + "/releases": releases.releases,
        _R + "/releases/latest": releases.newest,
        _R + "/releases/tag/{tag:path}": releases.release,
        _R + "/tags": releases.tags,
        _R + "/deployments": releases.stages,
        _R + "/actions": runs.listing,
        _R + "/actions/runs/{run:int}": runs.run,
        _R + "/actions/runs/{run:int}/attempts/{attempt:int}": runs.run,
        _R + "/actions/runs/{run:int}/job/{job:int}": runs.job,
        _R + "/actions/runs/{run:int}/artifacts/{name}": runs.artifact,
    }.items()
]
"""Every page; `server.py` keeps git and `releases/download` for itself."""
