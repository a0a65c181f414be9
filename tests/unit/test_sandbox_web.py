"""Pages of the sandbox over HTTP: every page of every state, forms, who sees what, the exported copy."""

from __future__ import annotations

import http.client
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlencode, urlsplit

import pytest

from trackside.sandbox import web
from trackside.sandbox.actions.dispatcher import Dispatcher
from trackside.sandbox.server import Sandbox
from unit.web_samples import LOG, REPO, fill, sandbox_with_pages


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sandbox, dict[str, int]]]:
    sandbox = sandbox_with_pages(tmp_path_factory.mktemp("state"))
    ids = fill(sandbox)
    yield sandbox, ids
    sandbox.stop()


def ask(sandbox: Sandbox, path: str, form: dict[str, str] | None = None, **headers: str) -> Answer:
    """GET, or POST of a form with an Origin as a browser sends it; `login` sets the cookie."""
    host = urlsplit(sandbox.url).netloc
    sent = {"Origin": sandbox.url} if form is not None else {}
    if "login" in headers:
        sent["Cookie"] = f"sandbox_login={headers.pop('login')}"
    sent |= {name.capitalize(): value for name, value in headers.items()}
    body = urlencode(form) if form is not None else None
    if body is not None:
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request("POST" if form is not None else "GET", path, body, sent)
        reply = connection.getresponse()
        text = reply.read().decode("utf-8", "replace")
        return Answer(status=reply.status, headers={k.lower(): v for k, v in reply.getheaders()}, text=text)
    finally:
        connection.close()


def paths(ids: dict[str, int]) -> list[str]:
    pulls = [ids[name] for name in ("ready", "failing", "merged", "closed", "draft", "fork")]
    tabs = [f"/pull/{number}{tab}" for number in pulls for tab in ("", "/commits", "/checks", "/files")]
    states = ("success", "failure", "in_progress", "queued")
    runs = [f"/actions/runs/{ids['run_' + one]}" for one in states]
    runs.append(f"/actions/runs/{ids['run_success']}/artifacts/result")
    jobs = [f"/actions/runs/{ids['run_' + one]}/job/{ids['job_' + one]}" for one in states]
    lists = ["", "/pulls", "/pulls?state=closed", "/pulls?state=all", "/pulls?state=%3Cb%3E", "/compare", "/releases"]
    lists += ["/actions", "/actions?workflow=Train+success", "/releases/tag/flights/v1", f"/runs/{ids['check']}"]
    lists += [
        "/issues",
        "/issues?state=all&label=drift",
        "/issues/new",
        "/labels",
        "/tags",
        "/deployments",
        "/activity",
    ]
    lists += ["/compare/main...try/ready", "/compare/try/ready...main"]
    lists += ["/branches", "/commits", "/commits/try/ready", "/actions?workflow=Drift"]
    lists += [f"/issues/{ids['issue']}", f"/issues/{ids['solved']}"]
    files = [
        "/tree/trackside-data/drift/flights",
        "/blob/trackside-data/drift/flights/2026-05-01.json",
        "/tree/try/ready",
        "/tree/main/docs",
        "/blob/main/README.md",
        "/blob/try/ready/train.py",
        "/raw/main/train.py",
    ]
    files += ["/blob/main/docs/chart.svg", "/blob/try/ready/bin", f"/actions/runs/{ids['run_success']}/attempts/1"]
    inside = [f"/{REPO}{one}" for one in [*lists, *files, *tabs, *runs, *jobs]]
    return ["/", "/octo", "/mallory", "/apps/github-actions", *inside]


def test_every_page_of_every_state_answers(filled) -> None:
    sandbox, ids = filled
    found = {path: ask(sandbox, path) for path in paths(ids)}
    print(f"{len(found)} pages asked for")
    assert len(found) >= 65
    assert {path: one.status for path, one in found.items() if one.status != 200} == {}
    for path, one in found.items():
        if one.headers["content-type"].startswith("text/html"):
            assert len(re.findall('<h1(?! id="user-content-)', one.text)) == 1, path
            assert "{{" not in one.text, path
            assert "script-src 'self'" in one.headers["content-security-policy"], path


def test_pages_load_nothing_from_elsewhere(filled) -> None:
    sandbox, ids = filled
    for path in paths(ids):
        if "/raw/" in path:
            continue
        for address in re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]*)"', ask(sandbox, path).text):
            assert address.startswith("/"), (path, address)
            assert not address.startswith("//"), (path, address)


def test_first_commit_shows_all_its_files_as_added(filled) -> None:
    sandbox, _ = filled
    first = sandbox.hub.bare(REPO).git("rev-list", "--max-parents=0", "refs/heads/main").text.split()[0]
    page = ask(sandbox, f"/{REPO}/commit/{first}").text
    assert "4 changed files" in page
    assert '<span class="mark">+</span>print(1)' in page


def test_what_is_missing_is_404(filled) -> None:
    sandbox, ids = filled
    bad = [f"/actions/runs/{ids['run_success']}/artifacts/{name}" for name in ("none", "..", "%2e%2e", ".")]
    bad += ["/nobody", "/octo/none", "/pull/99", "/pull/x", "/commit/0000", "/blob/main/none", "/runs/1", "/tree/none"]
    bad += [
        "/actions/runs/1",
        "/releases/tag/none",
        "/compare/main",
        "/compare/none...main",
        "/issues/77",
        "/blob/main/../../../etc/passwd",
        "/raw/--help/x",
    ]
    for path in bad:
        path = path if path.startswith(("/nobody", "/octo")) else f"/{REPO}{path}"
        assert ask(sandbox, path).status == 404, path


def test_conversation_shows_timeline_and_merge_box(filled) -> None:
    sandbox, ids = filled
    ready = ask(sandbox, f"/{REPO}/pull/{ids['ready']}").text
    assert ready.index("Try ready") < ready.index("/trackside train") < ready.index("Second try")
    assert "trackside:queued" in ready
    assert '<a href="/mallory" class="mention"' in ready
    blocked = ask(sandbox, f"/{REPO}/pull/{ids['failing']}", login="octo").text
    assert "Merging is blocked" in blocked
    assert "1 failing check" in blocked
    assert "/merge" not in blocked
    merged = ask(sandbox, f"/{REPO}/pull/{ids['merged']}").text
    assert "merged commit" in merged
    assert 'class="state closed"' in ask(sandbox, f"/{REPO}/pull/{ids['closed']}").text
    assert "still a draft" in ask(sandbox, f"/{REPO}/pull/{ids['draft']}").text
    assert "mallory:theirs" in ask(sandbox, f"/{REPO}/pull/{ids['fork']}").text


def test_job_page_shows_steps_groups_and_annotations(filled) -> None:
    sandbox, ids = filled
    page = ask(sandbox, f"/{REPO}/actions/runs/{ids['run_failure']}/job/{ids['job_failure']}").text
    assert "<summary>Versions</summary>" in page
    assert '<span class="a-fg2">epoch 1</span>' in page
    assert "bad &lt;b&gt;thing&lt;/b&gt;" in page
    assert "Out of 50% memory" in page
    assert "train.py:3" in page
    assert LOG.count("::group::") == page.count('<details class="group">')


def test_pull_request_by_forms_from_opening_to_merge(tmp_path: Path) -> None:
    sandbox = sandbox_with_pages(tmp_path)
    try:
        sandbox.seed.repository(REPO, {"a.txt": b"1\n"}, roles={"grace": "write"})
        sandbox.seed.push(REPO, "topic", {"a.txt": b"2\n"}, "Two", "grace")
        acting = ask(sandbox, "/_session", {"login": "grace", "back": f"/{REPO}"})
        assert (acting.status, acting.headers["location"]) == (303, f"/{REPO}")
        assert "sandbox_login=grace" in acting.headers["set-cookie"]
        assert "samesite=strict" in acting.headers["set-cookie"].lower()
        form = {"title": "Two & <more>", "head": "topic", "base": "main", "body": "Why"}
        opened = ask(sandbox, f"/{REPO}/pulls", form, login="grace")
        assert (opened.status, opened.headers["location"]) == (303, f"/{REPO}/pull/1")
        again = ask(sandbox, f"/{REPO}/pulls", form, login="grace")
        assert again.status == 422
        assert "already exists" in again.text
        said = ask(sandbox, f"/{REPO}/pull/1/comment", {"body": "/trackside train\r\nplease"}, login="grace")
        assert said.headers["location"].startswith(f"/{REPO}/pull/1#issuecomment-")
        assert sandbox.state.list("comment", REPO)[0]["body"] == "/trackside train\nplease"
        sha = sandbox.hub.pull(REPO, 1)["head_sha"]
        stale = ask(sandbox, f"/{REPO}/pull/1/merge", {"sha": "0" * 40, "method": "merge"}, login="grace")
        assert stale.status == 409
        merged = ask(sandbox, f"/{REPO}/pull/1/merge", {"sha": sha, "method": "squash"}, login="grace")
        assert merged.status == 303
        assert sandbox.hub.pull(REPO, 1)["merged_by"] == "grace"
        assert "Two &amp; &lt;more&gt;" in ask(sandbox, f"/{REPO}/pull/1").text
        writes = [(one.method, one.status) for one in sandbox.calls if one.method != "GET"]
        assert writes == [("POST", 201), ("POST", 422), ("POST", 201), ("PUT", 409), ("PUT", 200)]
        assert sandbox.violations == []
    finally:
        sandbox.stop()


def test_issue_by_forms_with_labels_reactions_and_states(tmp_path: Path) -> None:
    sandbox = sandbox_with_pages(tmp_path)
    try:
        sandbox.seed.repository(REPO, {"a.txt": b"1\n"}, roles={"grace": "write", "mallory": "read"})
        form = {"title": "Is it <b>right</b>?", "body": "Look"}
        opened = ask(sandbox, f"/{REPO}/issues", form, login="mallory")
        assert (opened.status, opened.headers["location"]) == (303, f"/{REPO}/issues/1")
        where = f"/{REPO}/issues/1"
        said = ask(sandbox, f"{where}/comment", {"body": "/help", "wish": "say"}, login="mallory").headers["location"]
        comment = said.rpartition("-")[2]
        steps = [
            ("labels", {"label": "a/b c"}, "mallory", 403),
            ("labels", {"label": "a/b c"}, "grace", 303),
            ("labels", {"label": "drift"}, "grace", 303),
            ("labels", {"remove": "a/b c"}, "grace", 303),
            ("labels", {"remove": "gone"}, "grace", 404),
            ("react", {"content": "heart"}, "mallory", 303),
            ("react", {"content": "rocket", "comment": comment}, "grace", 303),
            ("react", {"content": "rocket", "comment": "999999"}, "grace", 404),
            ("comment", {"body": "", "wish": "close"}, "mallory", 303),
            ("comment", {"body": "No", "wish": "reopen"}, "grace", 303),
            ("comment", {"body": "", "wish": "say"}, "grace", 422),
        ]
        for name, fields, login, status in steps:
            assert ask(sandbox, f"{where}/{name}", fields, login=login).status == status, (name, fields)
        print(f"{len(steps)} steps")
        shown = ask(sandbox, where, login="grace").text
        for words in (
            "Is it &lt;b&gt;right&lt;/b&gt;?",
            "Reopened",
            "closed this",
            ">drift</a>",
            'title="rocket: grace"',
        ):
            assert words in shown, words
        assert sandbox.hub.issue(REPO, 1)["labels"] == ["drift"]
        stranger = ask(sandbox, where, login="mallory").text
        assert "Change labels" in shown
        assert "Change labels" not in stranger
    finally:
        sandbox.stop()


def test_runs_by_forms(tmp_path: Path) -> None:
    sandbox = sandbox_with_pages(tmp_path)
    dispatcher = Dispatcher(sandbox.hub, {"PATH": os.environ["PATH"]}, {}, runners=())
    sandbox.dispatcher = dispatcher
    dispatcher.start()
    try:
        fill(sandbox)
        drift = {"workflow": "drift.yml"}
        assert ask(sandbox, f"/{REPO}/actions/schedule", drift, login="mallory").status == 403
        assert ask(sandbox, f"/{REPO}/actions/schedule", drift | {"cron": "1 1 1 1 1"}, login="grace").status == 422
        started = ask(sandbox, f"/{REPO}/actions/schedule", drift | {"cron": "17 3 * * *"}, login="grace")
        run = started.headers["location"].rpartition("/")[2]
        assert sandbox.state.get("run", REPO, run)["event"] == "schedule"
        page = ask(sandbox, f"/{REPO}/actions/runs/{run}", login="grace").text
        assert "Cancel run" in page
        assert "Cancel run" not in ask(sandbox, f"/{REPO}/actions/runs/{run}", login="mallory").text
        assert ask(sandbox, f"/{REPO}/actions/runs/{run}/cancel", {}, login="mallory").status == 403
        assert ask(sandbox, f"/{REPO}/actions/runs/{run}/explode", {}, login="grace").status == 404
        assert ask(sandbox, f"/{REPO}/actions/runs/{run}/cancel", {}, login="grace").status == 303
        deadline = time.monotonic() + 10
        while sandbox.state.get("run", REPO, run)["status"] != "completed" and time.monotonic() < deadline:
            time.sleep(0.02)
        assert sandbox.state.get("run", REPO, run)["conclusion"] == "cancelled"
        assert ask(sandbox, f"/{REPO}/actions/runs/{run}/rerun", {}, login="grace").status == 303
        assert sandbox.state.get("run", REPO, run)["attempt"] == 2
        wrong = ask(sandbox, f"/{REPO}/actions/dispatch", drift | {"ref": "main", "input-model": ""}, login="grace")
        assert wrong.status == 422
        assert "Required input" in wrong.text
        given = drift | {"ref": "main", "input-model": "flights"}
        started = ask(sandbox, f"/{REPO}/actions/dispatch", given, login="grace").headers["location"]
        assert sandbox.state.get("run", REPO, started.rpartition("/")[2])["inputs"] == {"model": "flights"}
        assert sandbox.violations == []
    finally:
        sandbox.stop()


def test_story_is_told_in_order(filled) -> None:
    sandbox, ids = filled
    text = re.sub(r"<[^>]+>", "", ask(sandbox, f"/{REPO}/activity").text)
    lines = [re.sub(r"\s+", " ", one).strip() for one in text.split("\n") if "UTC" in one]
    for words in (
        "octo pushed 1 commit: First commit",
        f"grace opened the pull request Make it merged #{ids['merged']} try/merged → main",
        f"octo merged Make it merged #{ids['merged']}",
        "octo published the release flights v1 1 asset",
        f"octo opened the issue Data drifts #{ids['issue']} drift",
        f"octo gave issue #{ids['issue']} the title Data drifts since May",
        f"grace wrote /promote flights prod on #{ids['issue']} 🚀",
        "grace put flights 1.0.0 at the stage prod First in use",
        "octo took flights away from the stage dev",
    ):
        assert any(words in line for line in lines), (words, lines)
    verdict = ask(sandbox, f"/{REPO}/blob/trackside-data/drift/flights/2026-05-01.json").text
    assert "spread out here" in verdict
    home = ask(sandbox, f"/{REPO}").text
    for words in ("Latest release", "flights v1", "Data drifts since May", "What happened last", "trackside-data"):
        assert words in home, words
    stages = ask(sandbox, f"/{REPO}/deployments").text
    assert "1.0.0" in stages
    assert "it answers" in stages


def test_forms_refuse_other_origins_and_strangers(filled) -> None:
    sandbox, ids = filled
    number, before = ids["ready"], len(sandbox.state.list("comment", REPO))
    where = f"/{REPO}/pull/{number}/comment"
    cases = [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://evil.example:1", "host": "evil.example:1"},
    ]
    for headers in cases:
        assert ask(sandbox, where, {"body": "x"}, login="octo", **headers).status == 403, headers
    assert ask(sandbox, where, {"body": "x"}).status == 403
    assert ask(sandbox, where, {"body": "x"}, login="nobody-known").status == 403
    assert ask(sandbox, where, {"body": "  \n"}, login="octo").status == 422
    assert ask(sandbox, f"/{REPO}/pull/{ids['failing']}/merge", {"sha": ""}, login="octo").status == 422
    refused = ask(
        sandbox,
        f"/{REPO}/pull/{ids['fork']}/merge",
        {"sha": sandbox.hub.pull(REPO, ids["fork"])["head_sha"]},
        login="mallory",
    )
    assert refused.status == 403
    assert len(sandbox.state.list("comment", REPO)) == before
    for back in ("//evil.example", "https://evil.example/x", "/\\evil.example", "javascript:x"):
        place = ask(sandbox, "/_session", {"login": "octo", "back": back}).headers["location"]
        assert re.fullmatch(r"/(?![/\\]).*|/", place), (back, place)


def test_private_repositories_and_drafts_are_for_their_people(tmp_path: Path) -> None:
    sandbox = sandbox_with_pages(tmp_path)
    try:
        sandbox.seed.repository("octo/secret", {"README.md": b"# Hidden words"}, roles={"grace": "read"}, private=True)
        sandbox.seed.person("mallory")
        for path in ("/octo/secret", "/octo/secret/blob/main/README.md", "/octo/secret/pulls"):
            assert ask(sandbox, path).status == 404
            assert ask(sandbox, path, login="mallory").status == 404
            assert ask(sandbox, path, login="grace").status == 200
        assert "secret" not in ask(sandbox, "/").text
        assert "octo/secret" in ask(sandbox, "/", login="grace").text
        sandbox.hub.add_release("octo/secret", {"tag_name": "v1", "draft": True}, sandbox.seed.person("octo"))
        assert ask(sandbox, "/octo/secret/releases/tag/v1", login="grace").status == 404
        assert ask(sandbox, "/octo/secret/releases/tag/v1", login="octo").status == 200
    finally:
        sandbox.stop()


def test_raw_files_never_run(filled) -> None:
    sandbox, _ = filled
    for path in (f"/{REPO}/raw/main/train.py", f"/{REPO}/raw/main/docs/chart.svg"):
        found = ask(sandbox, path)
        assert found.headers["content-security-policy"].startswith("sandbox;")
        assert found.headers["x-content-type-options"] == "nosniff"


class _Links(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.forms = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.forms += tag == "form"
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.append(value)
            if name == "id" and value:
                self.ids.add(value)


def test_exported_copy_has_no_broken_link(filled, tmp_path: Path) -> None:
    sandbox, _ = filled
    bundle = tmp_path / "mermaid.min.js"
    bundle.write_text("/* stands in for the bundle */")
    out = tmp_path / "site"
    pages = web.export(sandbox, REPO, out, bundle)
    files = sorted(out.rglob("*.html"))
    assert len(files) == pages >= 40
    checked = 0
    for file in files:
        found = _Links(file.read_text(encoding="utf-8"))
        assert found.forms == 0, file
        for link in found.links:
            parts = urlsplit(link)
            if parts.scheme or not parts.path:
                continue
            assert not link.startswith("/"), (file, link)
            target = (file.parent / unquote(parts.path)).resolve()
            assert target.is_file(), (file, link)
            assert target.is_relative_to(out.resolve()), (file, link)
            checked += 1
    print(f"{pages} pages, {checked} links followed")
    assert checked > 500
    assert (out / "_static" / "style.css").is_file()
    assert (out / "_static" / "mermaid.min.js").is_file()
    assert not any("127.0.0.1" in file.read_text(encoding="utf-8") for file in files)


def test_a_still_repository_answers_as_the_repository_does(filled) -> None:
    sandbox, _ = filled
    bare, still = sandbox.hub.bare(REPO), sandbox.hub.still().bare(REPO)
    assert sandbox.hub.still().bare(REPO) is not bare
    refs = bare.refs()
    tip = bare.sha("refs/heads/main") or ""
    names = {"main", "nowhere", tip, tip[:7], "0" * 40, "refs/heads", "refs/heads/", "refs/heads/nowhere", "HEAD"}
    names |= {f"{one}{end}" for one in refs for end in ("", "~1", "^{tree}", "/", "/src", ":README.md", "@{0}")}
    names |= {one.split("/", 2)[2] for one in refs}
    # A branch may be called as if it were a full ref: git finds it below refs/heads.
    odd = "refs/heads/refs/tags/odd"
    assert bare.update_ref(odd, tip)
    try:
        names |= {odd, "refs/tags/odd", "refs/heads/odd"}
        for _ in range(2):
            for name in sorted(names):
                for kind in ("commit", "tree", "blob"):
                    assert still.sha(name, kind) == bare.sha(name, kind), (name, kind)
        assert still.sha("refs/tags/odd") == tip
        print(f"{len(names)} names, {sum(bare.sha(name) is None for name in names)} of them unknown")
        assert len(names) > 60
    finally:
        bare.delete_ref(odd)
    assert still.sha(odd) == tip, "a still repository keeps what it has seen"
    assert still.commit(tip) == bare.commit(tip)
    assert still.tree(tip, recursive=True) == bare.tree(tip, recursive=True)


def test_links_of_an_earlier_port_still_lead_home(tmp_path: Path) -> None:
    first = sandbox_with_pages(tmp_path)
    old = first.url
    first.seed.repository(REPO, {"a": b"a"})
    first.hub.new_issue(REPO, title="x", body=f"[run]({old}/{REPO}/actions)", actor=first.seed.person("octo"))
    first.stop()
    second = sandbox_with_pages(tmp_path)
    try:
        assert second.url != old
        assert f'<a href="/{REPO}/actions"' in ask(second, f"/{REPO}/issues/1").text
    finally:
        second.stop()
