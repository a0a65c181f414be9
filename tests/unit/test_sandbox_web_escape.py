"""Hostile words in every place of every page: nothing of them may become an element, an attribute or an address."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trackside.sandbox.bus import Bus
from trackside.sandbox.hub import Hub
from trackside.sandbox.seed import Seed
from trackside.sandbox.state import State
from trackside.sandbox.web.logs import ansi
from trackside.sandbox.web.markdown import Links, render
from trackside.sandbox.web.pages import TABLE
from trackside.sandbox.web.site import Page, Site
from unit.web_samples import REPO

CASES = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    "<img src=x onerror=alert(1)>",
    "<img src=`x` onerror=alert(1)//",
    '"><script>alert(1)</script>',
    "' onmouseover='alert(1)",
    '" onfocus="alert(1)" autofocus="',
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</summary></details></article></main><iframe src=//evil.example></iframe>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<math><mtext></mtext><mglyph><style><img src=x onerror=alert(1)></style></mglyph></math>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href='JaVa\tScRiPt:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href='vbscript:x'>x</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
    "[x](javascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](//evil.example/\"onclick=alert(1))",
    "![x](javascript:alert(1))",
    "![x](http://evil.example/pixel.png)",
    "![x](//evil.example/pixel.png)",
    "![x\" onerror=\"alert(1)](x.png)",
    "<form action=//evil.example><input name=password type=password><button>Go</button></form>",
    "<input type=image src=//evil.example/x formaction=//evil.example>",
    "<style>body{background:url(//evil.example)}</style>",
    "<p style='background:url(//evil.example)'>x</p>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example/>",
    "<object data=//evil.example></object><embed src=//evil.example>",
    "<video src=x onerror=alert(1)><audio src=x onerror=alert(1)>",
    "<details open ontoggle=alert(1)><summary>x</summary></details>",
    "<div id=content class='box merge' data-charts=done>x</div>",
    "<picture><source srcset='//evil.example/x 1x, javascript:x 2x'><img src=//evil.example/y></picture>",
    "<template><script>alert(1)</script></template>",
    "<!--><script>alert(1)</script-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "```mermaid\nflowchart LR\n a[\"<img src=x onerror=alert(1)>\"]\n click a \"javascript:alert(1)\"\n```",
    "```\"><script>alert(1)</script>\nx\n```",
    "> [!NOTE]<script>alert(1)</script>\n> x",
    "> [!NOTE]\n> <img src=x onerror=alert(1)>",
    "- [x] <script>alert(1)</script>",
    "| <script>alert(1)</script> | b |\n| --- | --- |\n| <img src=x onerror=alert(1)> | `<b>` |",
    "{{ 7 * 7 }}{% for x in ().__class__.__bases__ %}{{ x }}{% endfor %}",
    "@octo<script>alert(1)</script> #1<script>alert(1)</script>",
    "\x1b[31m<script>alert(1)</script>\x1b[0m\x1b]8;;javascript:alert(1)\x07x\x1b]8;;\x07",
    "::error file=<script>alert(1)</script>,line=1::<script>alert(1)</script>",
    "##[group]<script>alert(1)</script>",
    "\u202e\u2066<script>alert(1)</script>\x00\ufffe",
]  # fmt: skip
ELEMENTS = set(
    re.findall(
        r"\w+",
        "a article aside blockquote body br button code datalist dd del details div dl dt em footer form h1 h2 h3 h4 h5"
        " h6 head b header hr html img input kbd label li link main meta nav ol option p picture pre section select"
        " source span strong sub summary sup table tbody td textarea th thead time title tr ul",
    )
)
FORMS = ("/_session", *(f"/{REPO}/{one}" for one in ("pull", "issues", "actions")))
OCTO = {"login": "octo", "kind": "user", "permissions": None, "repo": ""}
LINKS = Links(reference=lambda kind, value: None, base="/o/r/blob/main", raw="/o/r/raw/main", home="http://127.0.0.1:1")


class Judge(HTMLParser):
    """Reads a page as a browser would and notes what ought not to be there."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.wrong: list[str] = []
        self.forms: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ELEMENTS:
            self.wrong.append(f"element {tag}")
        given = dict(attrs)
        for name, value in attrs:
            if name.startswith("on") or name in (
                "style",
                "formaction",
                "autofocus",
                "srcdoc",
                "data-charts",
                "http-equiv",
            ):
                self.wrong.append(f"attribute {name} of {tag}")
            if name in ("href", "src", "srcset", "action"):
                self._address(tag, name, value or "")
        if tag == "form":
            self.forms.append(given.get("action") or "")
        if tag == "input" and given.get("type") not in (None, "hidden", "checkbox"):
            self.wrong.append(f"input {given.get('type')}")

    def _address(self, tag: str, name: str, value: str) -> None:
        parts = urlsplit(value.strip())
        if name != "href" or tag == "link":
            if parts.scheme or parts.netloc or not value.startswith("/"):
                self.wrong.append(f"{tag} loads {value}")
        elif parts.scheme not in ("", "http", "https", "mailto") or (parts.netloc and not parts.scheme):
            self.wrong.append(f"{tag} leads to {value}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    state = State(tmp_path_factory.mktemp("state"))
    hub = Hub(state, Bus(), {"PATH": os.environ["PATH"]})
    hub.url = "http://127.0.0.1:1"
    seed = Seed(hub)
    branch = "<img/src=x/onerror=alert(1)>\"';&$(id)`id`"
    seed.repository(REPO, {'a<script>alert(1)<&".txt': b"1\n", "README.md": b"x"})
    seed.push(
        REPO,
        branch,
        {'a<script>alert(1)<&".txt': b"</td><script>alert(1)</script>\n"},
        "<script>alert(1)</script>",
        "octo",
    )
    hub.open_pull(REPO, title="x", head=branch, base="main", actor=seed.person("octo"))
    yield Site(hub, TABLE, Path("bundle-is-only-linked.js"))
    state.close()


def put_everywhere(site: Site, words: str) -> list[str]:
    """Set every field that a stranger can choose; returns the pages that show one of them."""
    hub, state = site.hub, site.hub.state
    sha, now = hub.pull(REPO, 1)["head_sha"], hub.now()
    state.put("issue", REPO, 1, hub.issue(REPO, 1) | {"title": words, "body": words, "labels": [words]})
    state.put(
        "comment", REPO, 2, {"id": 2, "issue": 1, "user": "octo", "body": words, "created_at": now, "updated_at": now}
    )
    review = {
        "id": 3,
        "pull": 1,
        "user": "octo",
        "body": words,
        "state": "APPROVED",
        "commit_id": sha,
        "submitted_at": now,
    }
    state.put("review", REPO, 3, review)
    note = {"path": words, "start_line": 1, "annotation_level": words, "message": words, "title": words}
    state.put("check_run", REPO, 4, {
        "id": 4, "name": words, "head_sha": sha, "status": "completed", "conclusion": "success", "started_at": now,
        "completed_at": now, "output": {"title": words, "summary": words, "text": words}, "app": words,
        "annotations": [note],
    })  # fmt: skip
    status = {
        "id": 5,
        "sha": sha,
        "state": "failure",
        "context": words,
        "description": words,
        "target_url": words,
        "created_at": now,
    }
    state.put("status", REPO, 5, status)
    state.put("release", REPO, 6, {
        "id": 6, "tag_name": words, "name": words, "body": words, "draft": False, "prerelease": False, "author": words,
        "created_at": now, "published_at": now,
    })  # fmt: skip
    asset = {
        "id": 7,
        "release": 6,
        "name": words,
        "label": words,
        "size": 3,
        "digest": words,
        "content_type": words,
        "state": words,
    }
    state.put("asset", REPO, 7, asset)
    state.put("run", REPO, 8, {
        "id": 8, "run_number": 1, "attempt": 1, "workflow_path": words, "workflow_name": words, "event": words,
        "head_branch": words, "head_sha": sha, "triggering_actor": words, "display_title": words, "status": words,
        "conclusion": None, "inputs": {words: words}, "created_at": now, "started_at": now,
    })  # fmt: skip
    state.put("job", REPO, 9, {
        "id": 9, "run_id": 8, "attempt": 1, "name": words, "status": "completed", "conclusion": words,
        "labels": [words],
        "runner_name": words, "permissions": {words: words}, "log": "runs/8/log.txt",
        "steps": [{"name": words, "status": "completed", "conclusion": "failure"}],
    })  # fmt: skip
    folder = state.root / "runs" / "8"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.txt").write_text(f"{words}\n##[step]{words}\n{words}\n", encoding="utf-8")
    (folder / "summary.md").write_text(words, encoding="utf-8")
    put_in_git_and_issues(site, words, sha)
    tabs = ["", "/commits", "/checks", "/files"]
    rest = ["", "/pulls", "/releases", "/actions", "/actions/runs/8", "/actions/runs/8/job/9", "/runs/4", "/compare"]
    rest += ["/issues", "/issues/50", "/issues/new", "/labels", "/tags", "/deployments", "/activity", "/branches"]
    rest += ["/commits", f"/compare/main...{sha}"]
    return [*(f"/{REPO}/pull/1{tab}" for tab in tabs), *(f"/{REPO}{one}" for one in rest), f"/{REPO}/commit/{sha}"]


def put_in_git_and_issues(site: Site, words: str, sha: str) -> None:
    """The same for tags, workflow files, issues, labels, events, reactions, deployments."""
    hub, state, now = site.hub, site.hub.state, site.hub.now()
    bare = hub.bare(REPO)
    said = words.replace("\0", "")
    flow = {"name": words, "on": {"schedule": [{"cron": words}], "workflow_dispatch": {"inputs": {
        words: {"description": words, "default": words, "type": "choice", "options": [words]},
        "a": {"description": words, "default": words}}}}}  # fmt: skip
    # Always the second commit: a long history would only make the test slow.
    bare.update_ref("refs/heads/main", bare.log("main")[-1])
    hub.commit_folder(REPO, "main", {".github/workflows/<b>&.yml": json.dumps(flow).encode()}, said, OCTO)
    for name in ("x<script>", "m#prod#1", "m@v1.0.0"):
        tag = bare.write_tag(name, sha, "commit", f"{said}\n\nVersion: {said}\nActor: {said}", "<b>x <b> 1 +0000")
        bare.update_ref(f"refs/tags/{name}", tag)
    about = hub.issue(REPO, 1) | {"id": 50, "number": 50, "is_pull": False, "state": "closed", "closed_at": now}
    state.put("issue", REPO, 50, about | {"title": words, "body": words, "labels": [words], "assignees": ["octo"]})
    state.put("label", REPO, 51, {"id": 51, "name": words, "color": words, "description": words})
    events = [{"event": "renamed", "rename": {"from": words, "to": words}}, {"event": "labeled", "label": words},
              {"event": "closed"}, {"event": "review_requested", "reviewer": words}]  # fmt: skip
    for place, event in enumerate(events):
        for issue in (1, 50):
            doc = {"id": 60 + place, "issue": issue, "actor": words, "created_at": now, **event}
            state.put("issue_event", REPO, 10 * issue + place, doc)
    state.put("comment", REPO, 52, state.get("comment", REPO, 2) | {"id": 52, "issue": 50, "body": "/" + words})
    for subject in ("comment/52", "issue/50", "issue/1"):
        doc = {"id": 53, "subject": subject, "user": words, "content": "rocket", "created_at": now}
        state.put("reaction", REPO, subject, doc)
    deployment = dict.fromkeys(("ref", "sha", "task", "environment", "description", "creator"), words)
    state.put("deployment", REPO, 54, deployment | {"id": 54, "created_at": now})
    status = {"id": 55, "deployment": 54, "state": words, "description": words}
    state.put("deployment_status", REPO, 55, status)


def test_hostile_words_stay_words(site: Site) -> None:
    count = 0
    for words in CASES:
        for path in put_everywhere(site, words):
            page = site.get(path, {"workflow": words, "head": words, "label": words, "state": "all"}, "octo")
            assert isinstance(page, Page)
            assert page.status == 200, (words, path)
            text = site.html(page, path, "octo")
            # Our own two scripts are the only ones.
            own = "\n".join(f'<script src="/_static/{one}" defer></script>' for one in ("mermaid.min.js", "charts.js"))
            assert text.count(own) == 1
            judged = Judge(text.replace(own, ""))
            assert judged.wrong == [], (words, path)
            assert all(action.startswith(FORMS) for action in judged.forms)
            assert "49" not in text or "7 * 7" not in words or "{{ 7 * 7 }}" in text
            count += 1
    print(f"{len(CASES)} hostile texts on {count} pages")
    assert len(CASES) >= 50
    assert count == len(CASES) * 23


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet=st.sampled_from("<>\"'&/=`![](){}#@|:;- \n\tascriptonerjvhml\x1b0m"), max_size=80))
def test_no_text_makes_markdown_or_logs_unsafe(text: str) -> None:
    assert Judge(str(render(text, LINKS))).wrong == []
    assert Judge(str(ansi(text))).wrong == []
