"""What follows a failed request: waits, look-ups and limits, against a clock that only counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.errors import Conflict, Forbidden, ForgeError, NotFound, TimedOut
from trackside.forge.client import Answer, Client, NoAnswer, Unsure, segment, segments
from trackside.forge.permissions import needed
from trackside.forge.retry import ATTEMPTS, Failure, backoff, next_step, rate_limited

NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)


class CountingClock:
    """Stands still but for `sleep`."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Script:
    """Answers in turn, then 200; an exception is raised instead."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, str, Mapping[str, Any], Any]] = []

    def __call__(self, method: str, path: str, query: Mapping[str, Any], body: Any) -> Answer:
        self.sent.append((method, path, query, body))
        answer = self.answers.pop(0) if self.answers else Answer(status=200, headers={}, text='{"ok": true}')
        if isinstance(answer, Exception):
            raise answer
        return answer


def answer(status: int, text: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status=status, headers=named, text=text)


def client(*answers: Answer | Exception, max_wait: float = 300.0) -> tuple[Client, Script, CountingClock]:
    script, clock = Script(*answers), CountingClock()
    return Client("acme/flights", script, clock, max_rate_limit_wait=max_wait), script, clock


LIMITS = [
    # name, answer, least and most seconds waited
    ("429 with Retry-After", answer(429, retry_after="7"), 7, 9),
    ("403 with Retry-After", answer(403, retry_after="7"), 7, 9),
    ("429 with a date", answer(429, retry_after=format_datetime(NOW + timedelta(seconds=30), usegmt=True)), 30, 32),
    ("429 with an unreadable Retry-After", answer(429, retry_after="soon"), 0, 2),
    ("429 without any hint", answer(429), 60, 62),
    ("403 secondary limit", answer(403, '{"message": "You have exceeded a secondary rate limit."}'), 60, 62),
    (
        "403 primary limit",
        answer(403, x_ratelimit_remaining="0", x_ratelimit_reset=str(int(NOW.timestamp()) + 40)),
        40,
        43,
    ),
]


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_rate_limits_are_waited_for_and_every_request_is_sent_again(method: str) -> None:
    for name, limit, least, most in LIMITS:
        made, script, clock = client(limit)
        made.request(method, "/x", repeatable=method != "POST")
        assert len(script.sent) == made.calls == 2, name
        assert least <= sum(clock.slept) <= most, name
    print(f"{len(LIMITS)} limits")
    assert len(LIMITS) == 7


def test_a_limit_beyond_the_allowed_wait_is_an_error_at_once() -> None:
    made, script, clock = client(answer(429, retry_after="301"))
    with pytest.raises(ForgeError) as caught:
        made.get("/x")
    assert caught.value.reason_code == "rate_limited"
    assert (len(script.sent), clock.slept) == (1, [])
    assert "301 s" in caught.value.render()


def test_waits_for_limits_add_up_to_the_allowed_wait() -> None:
    made, script, clock = client(*[answer(429, retry_after="4")] * 9, max_wait=10)
    with pytest.raises(ForgeError):
        made.get("/x")
    assert len(script.sent) == 3
    assert sum(clock.slept) <= 10


FLAWS: list[Answer | Exception] = [
    answer(500),
    answer(502),
    answer(503),
    answer(504),
    answer(200, "<html>"),
    NoAnswer("reset"),
]


def test_server_errors_of_repeatable_requests_pass() -> None:
    for flaw in FLAWS:
        made, script, clock = client(flaw, flaw)
        assert made.get("/x") == {"ok": True}
        assert len(script.sent) == 3
        assert sum(clock.slept) <= 2
    print(f"{len(FLAWS)} flaws")
    assert len(FLAWS) == 6


def test_a_creation_is_never_sent_again_blindly() -> None:
    for flaw in FLAWS:
        made, script, clock = client(flaw)
        with pytest.raises(Unsure):
            made.post("/x", {})
        assert (len(script.sent), clock.slept) == (1, [])


def test_a_creation_looks_first_and_repeats_only_what_is_not_there() -> None:
    made, script, _ = client(NoAnswer("lost"))
    assert made.create(lambda: made.post("/x", {}), lambda: {"found": True}) == {"found": True}
    assert len(script.sent) == 1
    made, script, _ = client(NoAnswer("lost"), answer(502))
    assert made.create(lambda: made.post("/x", {}), lambda: None) == {"ok": True}
    assert len(script.sent) == 3


def test_an_outage_ends() -> None:
    made, script, clock = client(*[answer(502)] * 50)
    with pytest.raises(ForgeError, match="502"):
        made.get("/x")
    assert len(script.sent) == ATTEMPTS
    assert sum(clock.slept) <= 10
    made, script, _ = client(*[NoAnswer("lost")] * 50)
    with pytest.raises(TimedOut):
        made.create(lambda: made.post("/x", {}), lambda: None)
    assert len(script.sent) == ATTEMPTS


ERRORS = [
    (401, Forbidden, "unauthorized"),
    (403, Forbidden, "forbidden"),
    (404, NotFound, "not_found"),
    (410, NotFound, "not_found"),
    (409, Conflict, "conflict"),
    (422, ForgeError, "forge_failed"),
    (451, ForgeError, "forge_failed"),
]


def test_statuses_become_errors() -> None:
    for status, kind, code in ERRORS:
        made, script, _ = client(answer(status, '{"message": "why", "errors": [{"message": "more"}, "text"]}'))
        with pytest.raises(kind) as caught:
            made.get("/pulls/1")
        assert (caught.value.reason_code, caught.value.exit_code) == (code, 4)
        assert caught.value.why == "why; more; text"
        assert len(script.sent) == 1
    print(f"{len(ERRORS)} statuses")
    assert len(ERRORS) == 7


PERMISSIONS = [
    ("POST", "/issues/3/comments", "", "pull-requests: write"),
    ("GET", "/issues/3/comments", "", "pull-requests: read"),
    ("PUT", "/pulls/3/merge", "", "contents: write"),
    ("POST", "/issues", "", "issues: write"),
    ("POST", "/pulls", "", "pull-requests: write"),
    ("GET", "/pulls", "", "pull-requests: read"),
    ("POST", "/check-runs", "", "checks: write"),
    ("GET", "/commits/abc/check-runs", "", "checks: read"),
    ("POST", "/actions/workflows/train.yml/dispatches", "", "actions: write"),
    ("GET", "/actions/runs/1/jobs", "", "actions: read"),
    ("POST", "/git/trees", "", "contents: write"),
    ("PATCH", "/git/refs/heads/trackside-data", "", "contents: write"),
    ("GET", "/contents/a/pulls/b", "", "contents: read"),
    ("POST", "/else", "pull_requests=write,contents=read; x=y", "pull-requests: write"),
    ("POST", "/else", "", ""),
]


def test_a_403_names_the_line_to_add() -> None:
    for method, path, accepted, line in PERMISSIONS:
        assert needed(method, path, accepted) == line, path
        assert needed(method, "/repos/pulls/git" + path, accepted) == line, path
    made, _, _ = client(answer(403, '{"message": "Resource not accessible by integration"}'))
    with pytest.raises(Forbidden) as caught:
        made.post("/check-runs", {})
    assert "permissions:\n         checks: write" in caught.value.render()
    print(f"{len(PERMISSIONS)} calls")
    assert len(PERMISSIONS) == 15


def test_pages_cost_a_call_each_and_a_full_last_page_none_more() -> None:
    def page(count: int, more: bool) -> Answer:
        link = '<http://x?page=2>; rel="next"' if more else ""
        return answer(200, "[" + ",".join(["1"] * count) + "]", link=link)

    made, script, _ = client(page(100, True), page(100, True), page(50, False))
    assert len(list(made.pages("/x"))) == 250
    assert [sent[2] for sent in script.sent] == [{"per_page": 100}] + [{"per_page": 100, "page": n} for n in (2, 3)]
    made, script, _ = client(page(100, False))
    assert len(list(made.pages("/x"))) == 100
    assert made.calls == 1
    made, script, _ = client(page(30, True))
    assert len(list(made.pages("/x", limit=30))) == 30
    assert made.calls == 1


HOSTILE = ["..", ".", "", "a/../b", "../../user", "a//b"]


def test_a_name_cannot_leave_its_endpoint() -> None:
    for text in HOSTILE:
        with pytest.raises(NotFound):
            segments(text)
    assert segment("a/b?c#d%2e") == "a%2Fb%3Fc%23d%252e"
    assert segments("runs/ä b") == "runs/%C3%A4%20b"


@given(
    status=st.sampled_from([0, 403, 429, 500, 502, 599]),
    after=st.one_of(st.none(), st.integers(0, 10_000).map(str), st.text(max_size=20)),
    attempt=st.integers(1, 20),
    waited=st.floats(0, 1000),
    jitter=st.floats(0, 1),
    repeatable=st.booleans(),
)
def test_the_decision_is_bounded(
    status: int, after: str | None, attempt: int, waited: float, jitter: float, repeatable: bool
) -> None:
    failure = Failure(status=status, headers={} if after is None else {"retry-after": after})
    step = next_step(
        failure, repeatable=repeatable, attempt=attempt, waited=waited, max_wait=120, now=NOW, jitter=jitter
    )
    assert step.seconds >= 0
    if step.action == "wait":
        assert attempt < ATTEMPTS
        assert waited + step.seconds <= 120.5 if step.limited else step.seconds <= 4
        if rate_limited(failure) and after is not None and after.isascii() and after.isdecimal():
            assert int(after) <= step.seconds <= int(after) + 2
    if step.action == "look":
        assert not repeatable
        assert not rate_limited(failure)
    assert backoff(attempt, jitter) <= 4
