"""Git over HTTP against the sandbox, restart, faults and the log of calls."""

from __future__ import annotations

import base64
import threading
import time
from pathlib import Path

import pytest
import requests

from conftest import ENV, github_client, user
from trackside.errors import ToolError
from trackside.sandbox.hub import folder_files
from trackside.sandbox.server import Sandbox
from trackside.system.process import Completed, Processes

GIT_ENV = ENV | {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@localhost",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@localhost",
}


def git(cwd: Path, *words: str, token: str = "", check: bool = True) -> Completed:
    """Git as a user would run it; the token travels in a header, as actions/checkout sends it."""
    extra = []
    if token:
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        extra = ["-c", f"http.extraHeader=AUTHORIZATION: basic {basic}"]
    return Processes(GIT_ENV).run(["git", *extra, *words], cwd=cwd, check=check, timeout=60)


def clone(sandbox: Sandbox, repo: str, folder: Path, token: str = "") -> Path:
    git(folder.parent, "clone", "--quiet", f"{sandbox.url}/{repo}", str(folder), token=token)
    return folder


def commit(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    git(folder, "add", name)
    git(folder, "commit", "--quiet", "-m", f"Change {name}")
    return git(folder, "rev-parse", "HEAD").text.strip()


def test_pushes_move_pull_requests_and_send_events(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    work = clone(sandbox, repo, tmp_path / "work")
    git(work, "switch", "--quiet", "-c", "topic")
    first = commit(work, "a", "1")
    git(work, "push", "--quiet", "origin", "topic", token="token-ada")
    number = sandbox.hub.open_pull(repo, title="T", head="topic", base="main", actor=user("ada"))
    seen = []
    sandbox.bus.subscribe(seen.append)
    second = commit(work, "a", "2")
    git(work, "push", "--quiet", "origin", "topic", token="token-ada")
    assert [(one.name, one.action, one.sender) for one in seen] == [
        ("push", None, "ada"),
        ("pull_request", "synchronize", "ada"),
        ("pull_request_target", "synchronize", "ada"),
    ]
    assert (seen[0].payload["before"], seen[0].payload["after"], seen[0].payload["forced"]) == (first, second, False)
    assert (seen[1].payload["before"], seen[1].payload["after"]) == (first, second)
    git(work, "fetch", "--quiet", "origin", f"refs/pull/{number}/merge", f"refs/pull/{number}/head:refs/heads/seen")
    assert git(work, "rev-parse", "seen").text.strip() == second
    merge = git(work, "rev-parse", "FETCH_HEAD").text.strip()
    assert merge == sandbox.hub.pull(repo, number)["merge_commit_sha"] == seen[1].sha
    git(work, "commit", "--quiet", "--amend", "-m", "rewritten")
    assert git(work, "push", "--quiet", "origin", "topic", token="token-ada", check=False).returncode != 0
    git(work, "push", "--quiet", "--force", "origin", "topic", token="token-ada")
    assert seen[3].payload["forced"] is True
    assert [one["sha"] for one in sandbox.hub.pull(repo, number)["pushes"]][:2] == [first, second]
    denied = git(work, "push", "--quiet", "origin", f"HEAD:refs/pull/{number}/head", token="token-ada", check=False)
    assert denied.returncode != 0
    git(work, "push", "--quiet", "origin", ":topic", token="token-ada")
    assert sandbox.hub.issue(repo, number)["state"] == "closed"


def test_a_depth_one_fetch_of_one_commit(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    old = sandbox.hub.default_tip(repo)[1]
    sandbox.seed.push(repo, "main", {"a": b"a"}, "m", "ada")
    git(tmp_path, "init", "--quiet", "x")
    git(tmp_path / "x", "fetch", "--quiet", "--depth=1", "--filter=blob:none", f"{sandbox.url}/{repo}.git", old)
    assert git(tmp_path / "x", "rev-list", "--count", "FETCH_HEAD").text.strip() == "1"


def test_who_may_fetch_and_push(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    private = f"{repo}-private"
    sandbox.seed.repository(private, {"a": b"a"}, roles={"ada": "read"}, private=True)
    sandbox.seed.repository(f"{repo}-else", {"a": b"a"})
    read, write = ({"contents": level} for level in ("read", "write"))
    cases = [
        # repository, token, may fetch, may push
        (repo, "", True, False),
        (repo, "wrong", False, False),
        (repo, "token-ada", True, True),
        (repo, "token-mallory", True, False),
        (repo, sandbox.seed.job_token(repo, read), True, False),
        (repo, sandbox.seed.job_token(repo, write), True, True),
        (repo, sandbox.seed.job_token(f"{repo}-else", write), True, False),
        (private, "", False, False),
        (private, "token-ada", True, False),
        (private, "token-mallory", False, False),
        (private, sandbox.seed.job_token(private, {}), False, False),
        (private, sandbox.seed.job_token(private, read), True, False),
        (private, sandbox.seed.job_token(repo, write), False, False),
    ]
    work = clone(sandbox, repo, tmp_path / "work")
    for index, (name, token, fetches, pushes) in enumerate(cases):
        url = f"{sandbox.url}/{name}.git"
        fetched = git(work, "ls-remote", url, token=token, check=False).returncode == 0
        pushed = git(work, "push", url, f"HEAD:refs/heads/try-{index}", token=token, check=False).returncode == 0
        assert (fetched, pushed) == (fetches, pushes), (name, token)
    print(f"{len(cases)} cases")
    assert len(cases) == 13


def test_a_token_in_the_url_works(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    url = sandbox.url.replace("http://", "http://ada:token-ada@") + f"/{repo}.git"
    git(tmp_path, "clone", "--quiet", url, "work")
    commit(tmp_path / "work", "a", "1")
    git(tmp_path / "work", "push", "--quiet", "origin", "HEAD:main")
    assert sandbox.hub.bare(repo).file("main", "a") == b"1"


def test_a_big_push_is_compressed_and_chunked(sandbox: Sandbox, repo: str, tmp_path: Path) -> None:
    work = clone(sandbox, repo, tmp_path / "work")
    (work / "big").write_bytes(b"".join(index.to_bytes(4, "big") * 3 for index in range(700_000)))
    git(work, "add", "big")
    git(work, "commit", "--quiet", "-m", "big")
    git(work, "push", "--quiet", "origin", "HEAD:main", token="token-ada")
    entry = sandbox.hub.bare(repo).entry("main", "big")
    assert entry is not None
    assert entry.size == 8_400_000


def test_state_survives_a_restart(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "state", ENV) as first:
        first.seed.repository("o/r", {"a": b"a"}, roles={"ada": "write"})
        token = first.seed.token("ada")
        first.seed.push("o/r", "topic", {"b": b"b"}, "m", "ada")
        number = first.hub.open_pull("o/r", title="T", head="topic", base="main", actor=user("ada"))
        first.hub.add_comment("o/r", number, "hello", user("ada"))
        release = first.hub.add_release("o/r", {"tag_name": "v1"}, user("ada"))
        first.hub.add_asset("o/r", release["id"], "m.bin", b"model", user("ada"))
        before = first.hub.pull("o/r", number)
    with Sandbox(tmp_path / "state", ENV) as second:
        repo = github_client(second, token).get_repo("o/r")
        pull = repo.get_pull(number)
        assert (pull.merge_commit_sha, pull.mergeable) == (before["merge_commit_sha"], True)
        assert [one.body for one in pull.get_issue_comments()] == ["hello"]
        asset = next(iter(repo.get_release("v1").get_assets()))
        assert requests.get(asset.browser_download_url, timeout=10).content == b"model"
        assert pull.create_issue_comment("again").id > release["id"]
        assert repo.create_git_blob("x", "utf-8").sha
        assert second.violations == []


def test_it_listens_on_loopback_only(sandbox: Sandbox) -> None:
    port = int(sandbox.url.rsplit(":", 1)[1])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port}
    assert listening == {f"0100007F:{port:04X}"}


def test_faults(sandbox: Sandbox, repo: str) -> None:
    url = f"{sandbox.api_url}/repos/{repo}/git/blobs"
    auth = {"Authorization": "token token-ada"}
    bare = sandbox.hub.bare(repo)

    def post(text: str) -> requests.Response | None:
        try:
            return requests.post(url, json={"content": text}, headers=auth, timeout=10)
        except requests.ConnectionError:
            return None

    def written(text: str) -> bool:
        blob = git(bare.path, "rev-parse", "--git-dir").returncode == 0
        name = Processes(GIT_ENV).run(["git", "hash-object", "--stdin"], input=text.encode()).text.strip()
        return blob and bare.kind(name) == "blob"

    sandbox.faults.add("POST", "/git/blobs$", status=503, headers={"Retry-After": "7"}, after=1, times=2)
    answers = [post(f"before-{index}") for index in range(4)]
    assert [one.status_code for one in answers if one is not None] == [201, 503, 503, 201]
    assert answers[1] is not None
    assert answers[1].headers["retry-after"] == "7"
    assert [written(f"before-{index}") for index in range(4)] == [True, False, False, True]
    for mode, status, done in (("after_write", 502, True), ("lost", None, True), ("drop", None, False)):
        sandbox.faults.add("*", "blobs", mode=mode, status=502)
        answer = post(mode)
        assert (answer.status_code if answer is not None else None) == status
        assert written(mode) is done, mode
    sandbox.faults.add("POST", "blobs", mode="latency", seconds=0.5)
    started = time.monotonic()
    slow = post("slow")
    assert slow is not None
    assert slow.status_code == 201
    assert time.monotonic() - started >= 0.5
    assert [one.status for one in sandbox.calls] == [201, 503, 503, 201, 502, 0, 0, 201]
    print("5 modes")


def test_calls_are_counted_by_run(sandbox: Sandbox, repo: str) -> None:
    token = sandbox.seed.job_token(repo, {"contents": "read"}, run_id=77, job="plan")
    found = github_client(sandbox, token).get_repo(repo)
    found.get_branch("main")
    requests.get(f"{sandbox.api_url}/repos/{repo}", timeout=10)
    own = [(one.method, one.path, one.status, one.token_kind, one.job) for one in sandbox.calls if one.run_id == 77]
    assert own == [
        ("GET", f"/repos/{repo}", 200, "workflow", "plan"),
        ("GET", f"/repos/{repo}/branches/main", 200, "workflow", "plan"),
    ]
    assert len(sandbox.calls) == 3
    assert all(one.seconds > 0 for one in sandbox.calls)


def test_many_writers_lose_nothing(sandbox: Sandbox, repo: str) -> None:
    writers, each = 6, 10
    sandbox.seed.push(repo, "topic", {"t": b"t"}, "m", "ada")
    number = sandbox.hub.open_pull(repo, title="T", head="topic", base="main", actor=user("ada"))
    url = f"{sandbox.api_url}/repos/{repo}/issues/{number}"
    statuses: list[int] = []

    def write(name: int) -> None:
        session = requests.Session()
        session.headers["Authorization"] = "token token-ada"
        for index in range(each):
            statuses.append(session.post(f"{url}/comments", json={"body": f"{name}-{index}"}, timeout=30).status_code)
            statuses.append(
                session.post(f"{url}/labels", json={"labels": [f"l{name}-{index}"]}, timeout=30).status_code
            )

    threads = [threading.Thread(target=write, args=(name,)) for name in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(statuses)) == [200, 201]
    comments = sandbox.state.list("comment", repo, issue=number)
    assert len({one["id"] for one in comments}) == len({one["body"] for one in comments}) == writers * each
    assert len(sandbox.hub.issue(repo, number)["labels"]) == writers * each
    print(f"{writers * each} comments and labels by {writers} writers")


def test_one_of_many_racers_moves_or_makes_a_ref(sandbox: Sandbox, repo: str) -> None:
    rounds, racers = 5, 6
    base = sandbox.hub.default_tip(repo)[1]
    url = f"{sandbox.api_url}/repos/{repo}/git"
    auth = {"Authorization": "token token-ada"}
    for turn in range(rounds):
        tree = sandbox.hub.bare(repo).commit(base).tree
        body = {"tree": tree, "parents": [base]}
        shas = [
            requests.post(f"{url}/commits", json=body | {"message": f"{turn}-{one}"}, headers=auth, timeout=20).json()[
                "sha"
            ]
            for one in range(racers)
        ]
        barrier = threading.Barrier(racers)
        moved: list[int] = []
        made: list[int] = []

        def race(sha: str, turn: int = turn, barrier: threading.Barrier = barrier, moved: list[int] = moved,
                 made: list[int] = made) -> None:  # fmt: skip
            barrier.wait()
            moved.append(
                requests.patch(f"{url}/refs/heads/main", json={"sha": sha}, headers=auth, timeout=20).status_code
            )
            lock = {"ref": f"refs/trackside/lock-{turn}", "sha": sha}
            made.append(requests.post(f"{url}/refs", json=lock, headers=auth, timeout=20).status_code)

        threads = [threading.Thread(target=race, args=(sha,)) for sha in shas]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(moved) == [200, *[422] * (racers - 1)]
        assert sorted(made) == [201, *[422] * (racers - 1)]
        base = sandbox.hub.default_tip(repo)[1]
    print(f"{rounds} rounds of {racers} racers")


def test_hostile_names(sandbox: Sandbox, repo: str) -> None:
    names = ["--output=x", "a b", "$(touch x)", "`id`", "ü/ß", "a'\"b", "x;y", "-q"]
    files: dict[str, bytes | None] = {f"d/{name}": name.encode() for name in names}
    sandbox.seed.push(repo, "main", files, "names", "ada")
    found = github_client(sandbox, "token-ada").get_repo(repo)
    for name in names:
        content = found.get_contents(f"d/{name}")
        assert not isinstance(content, list)
        assert content.decoded_content == name.encode()
    for ref in ("--output=x", "-q", "main --all", "refs/heads/../x", "@{-1}", "main~0", "main^{tree}", "main:d"):
        answer = requests.get(f"{sandbox.api_url}/repos/{repo}/contents/README.md", params={"ref": ref}, timeout=10)
        assert answer.status_code == 404, ref
    print(f"{len(names)} names")


def test_a_missing_git_is_explained(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "state", {"PATH": str(tmp_path)}) as bare, pytest.raises(ToolError, match="not installed"):
        bare.seed.repository("o/r", {"a": b"a"})
    assert folder_files(tmp_path / "state").keys() >= {"state.db"}
