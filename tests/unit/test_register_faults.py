"""Register, broken at every API call, at every request of git and after every command of git: the attempt, or one
re-run, ends in the same one release, and at no time is one published that lacks a file or has another.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest
from plan_samples import PROCESSES
from registry_world import Trained, place, quick

from sweeps import GIT, KILL, Deadly, Prepared, broken, cases, git_broken, git_cases, noted
from trackside.errors import TracksideError
from trackside.event.model import PushEvent
from trackside.forge.github import GithubForge
from trackside.system.process import Processes

__all__ = ["place", "quick"]
pytestmark = pytest.mark.usefixtures("quick", "remembering")


def attempt(
    place: Trained, event: PushEvent, forge: GithubForge | None = None, processes: Processes = PROCESSES
) -> str:
    """One attempt; how it ended."""
    with contextlib.suppress(TracksideError):
        return place.register(event, forge, processes=processes).reason_code
    return "failed"


def sound(place: Trained, wanted: dict[str, Any]) -> int:
    """Published releases, each of which has the very files that it has where nothing fails."""
    (whole,) = [one[-1] for one in wanted["releases"]]
    found = [one[-1] for one in place.end_state()["releases"] if not one[3]]
    assert all(one == whole for one in found), found
    tags = place.sandbox.hub.bare(place.repo).typed_refs("refs/tags/")
    assert all(kind == "tag" for _, kind in tags.values()), tags
    return len(found)


def again(place: Trained, event: PushEvent, wanted: dict[str, Any], case: Any) -> None:
    """One re-run makes everything good."""
    result = place.register(event)
    assert result.values["released"] == [{"model": "delay", "version": "1.0.0", "tag": "delay@v1.0.0"}], case
    assert place.end_state() == wanted, case


def test_every_fault_at_every_call_ends_in_the_same_one_release(place: Trained) -> None:
    commit = place.start()
    place.trained(commit)
    event, prepared = place.pushed(commit), Prepared(place.sandbox, place.repo)
    forge = place.forge()
    methods = noted(forge)
    place.register(event, forge)
    wanted = place.end_state()
    assert len(wanted["releases"]) == len(wanted["tags"]) == len(wanted["records"]) == 1
    seen, out = Counter[str](), 0
    for case in cases(tuple(methods)):
        prepared.restore()
        assert (place.tags(), place.releases(), place.records()) == ([], [], [])
        ended = ["killed"]

        def work(forge: GithubForge, ended: list[str] = ended) -> None:
            ended[:] = [attempt(place, event, forge)]

        broken(case, place.sandbox, place.forge(), work)
        out += sound(place, wanted)
        if ended == ["released"]:
            assert place.end_state() == wanted, case
        else:
            again(place, event, wanted, case)
        seen[case.kind] += 1
    print(f"{sum(seen.values())} cases at {len(methods)} calls: {dict(seen)}; {out} published by the broken attempt")
    assert seen["502 for good"] == seen[KILL] == len(methods)
    assert seen["502"] == seen["lost after the write"] == len(methods) - methods.count("GET")


def test_every_fault_of_git_ends_in_the_same_one_release(place: Trained) -> None:
    commit = place.start()
    place.trained(commit)
    event, prepared = place.pushed(commit), Prepared(place.sandbox, place.repo)
    place.sandbox.git_calls.clear()
    counting = Deadly(PROCESSES.env)
    place.register(event, processes=counting)
    requests, commands, wanted = len(place.sandbox.git_calls), counting.seen, place.end_state()
    seen, ends = Counter[str](), Counter[str]()
    for case in git_cases(requests, commands):
        prepared.restore()
        ended = ["killed"]

        def work(processes: Processes, ended: list[str] = ended) -> None:
            ended[:] = [attempt(place, event, processes=processes)]

        git_broken(case, place.sandbox, PROCESSES.env, work)
        # What strikes once is overcome by the very attempt.
        assert ended == {KILL: ["killed"], "502 for good": ["failed"]}.get(case.kind, ["released"]), case
        sound(place, wanted)
        if ended == ["released"]:
            assert place.end_state() == wanted, case
        else:
            again(place, event, wanted, case)
        seen[case.kind] += 1
        ends[ended[0]] += 1
    print(f"{sum(seen.values())} cases at {requests} requests and {commands} commands: {dict(seen)}; {dict(ends)}")
    assert all(seen[kind] == requests >= 10 for kind in GIT)
    assert seen[KILL] == commands >= 5
