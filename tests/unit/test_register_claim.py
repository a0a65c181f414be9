"""The claim of a version by one push: what it costs, who may make it, and what becomes of it when it is disturbed."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from plan_samples import PROCESSES
from registry_world import HELD, POLICY, StoppedClock, Trained, crowded, place, quick

from conftest import bot_forge
from trackside.documents.run import Dependency
from trackside.errors import Conflict, Forbidden, TracksideError
from trackside.registry.remote import Remote
from trackside.system.process import Processes

__all__ = ["place", "quick"]
CALLS = 12
WHO = "ada <ada@localhost> 1700000000 +0000"
DRIFT = """\
    drift:
      reference: data/reference.csv
      current: "data/*.csv"
      features: [distance]
"""


@pytest.mark.usefixtures("quick")
def test_a_register_among_a_thousand_tags_and_releases(place: Trained) -> None:
    """The first version, the next one, and one with profile and parts: seven and more files."""
    table = ("distance\n" + "\n".join(str(100 + n) for n in range(200)) + "\n").encode()
    counts = {}
    place.policy = POLICY + DRIFT
    commit = place.start()
    crowded(place, commit, 1000)
    used = [Dependency(path="data/reference.csv", kind="data", digest=place.store(table), size=len(table))]
    for version, rate in (("1.0.0", 0.1), ("1.0.1", 0.2), ("1.0.2", 0.3)):
        commit = place.change(rate) if rate > 0.1 else commit
        place.limit = 8 if rate > 0.2 else place.limit
        place.trained(commit, f"weights {rate}".encode(), dependencies=used)
        place.sandbox.git_calls.clear()
        result = place.register(place.pushed(commit))
        assert result.values["released"][0]["version"] == version
        record = next(one for one in place.records() if one.version == version)
        counts[version] = (result.api_calls, len(record.assets), len(place.sandbox.git_calls))
    assert {version: one[1] for version, one in counts.items()} == {"1.0.0": 6, "1.0.1": 6, "1.0.2": 8}
    for version, (calls, files, requests) in counts.items():
        print(f"{version}: {calls} API calls with {files} files, {requests} requests of git")
    assert all(one[0] <= CALLS for version, one in counts.items() if version != "1.0.2")
    assert counts["1.0.2"][0] <= 5 + 8
    before = place.end_state()
    again = place.register(place.pushed(commit))
    print(f"again: {again.api_calls} API calls")
    assert (again.reason_code, again.api_calls) == ("released", 0)
    assert place.end_state() == before


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("moment", ["/assets$", "/releases/[0-9]+$"])
def test_two_jobs_with_one_claim_make_one_release(place: Trained, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Another job for the same commit comes and goes all the way, while the first one fills, or publishes, its draft:
    whoever has a whole draft on record first has the release, and both say the same.
    """
    commit = place.start()
    place.trained(commit)
    event, forge, others = place.pushed(commit), place.forge(), list[Any]()
    send = forge.client._send

    def interrupted(method: str, path: str, query: Any, body: Any) -> Any:
        if method != "GET" and re.search(moment, path) and not others:
            others.append(None)
            others[0] = place.register(event, run="2").values["released"]
        return send(method, path, query, body)

    monkeypatch.setattr(forge.client, "_send", interrupted)
    first = place.register(event, forge)
    assert first.values["released"] == others[0] == [{"model": "delay", "version": "1.0.0", "tag": "delay@v1.0.0"}]
    (page,), (record,) = place.releases(), place.records()
    assert (page["draft"], page["id"], record.state) == (False, record.release_id, "published")
    held = {one["name"]: one["digest"] for one in place.sandbox.state.list("asset", place.repo)}
    assert held == {one.name: one.digest for one in record.assets}
    assert "is being released" not in page["body"]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("run", ["1", "2"])
def test_what_a_killed_job_left_is_taken_up_or_cleared_away(place: Trained, run: str) -> None:
    """The job's own next attempt goes on with its draft; another job begins its own, and clears the first one away."""
    commit = place.start()
    place.trained(commit)
    place.sandbox.faults.add("POST", "/assets$", mode="partial", after=2, times=99)
    with pytest.raises(TracksideError):
        place.register(place.pushed(commit))
    place.sandbox.faults.clear()
    (draft,) = place.releases()
    held = {one["id"]: one["state"] for one in place.sandbox.state.list("asset", place.repo)}
    assert Counter(held.values()) == {"uploaded": 2, "starter": 1}
    assert [one.state for one in place.records()] == ["claimed"]
    place.sandbox.calls.clear()
    assert place.register(place.pushed(commit), run=run).reason_code == "released"
    (page,) = place.releases()
    assert (page["id"] == draft["id"], page["draft"]) == (run == "1", False)
    now = {one["id"]: one["state"] for one in place.sandbox.state.list("asset", place.repo)}
    assert set(now.values()) == {"uploaded"}
    assert len(now) == 5
    sent = sum((one.method, one.status) == ("POST", 201) and "/assets" in one.path for one in place.sandbox.calls)
    assert sent == (3 if run == "1" else 5)


REFUSALS = {
    "tags": "remote: error: GH013: Repository rule violations found for refs/tags/delay@v1.0.0.",
    "heads": "remote: error: GH006: Protected branch update failed for refs/heads/trackside-data.",
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", sorted(REFUSALS))
def test_a_rule_that_refuses_the_push_is_told_with_its_remedy(place: Trained, kind: str) -> None:
    commit = place.start()
    place.trained(commit)
    hook = place.sandbox.hub.bare(place.repo).path / "hooks/update"
    hook.parent.mkdir(exist_ok=True)
    text = REFUSALS[kind].removeprefix("remote: ")
    hook.write_text(f'#!/bin/sh\ncase "$1" in refs/{kind}/*) echo "{text}" >&2; exit 1;; esac\n')
    hook.chmod(0o755)
    with pytest.raises(Forbidden, match="refuses the push") as caught:
        place.register(place.pushed(commit))
    assert caught.value.reason_code == "push_refused"
    assert REFUSALS[kind].partition("GH0")[2][:2] in caught.value.why
    assert "bypass" in caught.value.remedy
    assert (place.tags(), place.records(), place.releases()) == ([], [], [])
    hook.unlink()
    assert place.register(place.pushed(commit)).reason_code == "released"


@pytest.mark.usefixtures("quick")
def test_a_token_that_may_not_push_is_told_what_it_lacks(place: Trained) -> None:
    commit = place.start()
    place.trained(commit)
    reader = bot_forge(place.sandbox, place.repo, {**HELD, "contents": "read"}, clock=StoppedClock())
    with pytest.raises(Forbidden) as caught:
        place.register(place.pushed(commit), reader)
    assert "contents: write" in caught.value.remedy
    assert reader._token not in caught.value.render()
    assert (place.tags(), place.records(), place.releases()) == ([], [], [])


@pytest.mark.usefixtures("quick")
def test_the_token_is_on_no_command_line_and_in_no_file(place: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = place.start()
    place.trained(commit)
    forge, seen = place.forge(), list[str]()

    class Watched(Processes):
        def run(self, argv: Sequence[str | Path], **more: Any) -> Any:
            seen.append(" ".join(map(str, argv)))
            return super().run(argv, **more)

    kept = list[bytes]()

    def files(self: Remote, *words: str, **more: Any) -> Any:
        kept.extend(one.read_bytes() for one in self.git_dir.rglob("*") if one.is_file())
        return git(self, *words, **more)

    git = Remote._git
    monkeypatch.setattr(Remote, "_git", files)
    place.register(place.pushed(commit), forge, processes=Watched(PROCESSES.env))
    pair = base64.b64encode(f"x-access-token:{forge._token}".encode()).decode()
    assert len(seen) >= 20
    assert len(kept) >= 20
    assert not any(word in line for line in seen for word in (forge._token, pair))
    assert not any(word.encode() in data for data in kept for word in (forge._token, pair))


@pytest.mark.usefixtures("quick")
def test_a_tag_that_was_taken_away_or_moved_after_the_claim(place: Trained) -> None:
    first = place.start()
    commit = place.change(0.2)
    place.trained(commit)
    place.sandbox.faults.add("POST", "/releases$", status=422, times=9)
    with pytest.raises(TracksideError):
        place.register(place.pushed(commit))
    place.sandbox.faults.clear()
    bare, ref = place.sandbox.hub.bare(place.repo), "refs/tags/delay@v1.0.0"
    (record,) = place.records()
    assert (record.state, bare.refs("refs/tags/")) == ("claimed", {ref: record.tag_object})
    for wrong in (first, commit):  # elsewhere, and without its object
        bare.update_ref(ref, wrong)
        with pytest.raises(Conflict) as caught:
            place.register(place.pushed(commit))
        assert caught.value.reason_code == "tag_taken"
        assert "models doctor delay" in caught.value.remedy
    bare.delete_ref(ref)
    assert place.register(place.pushed(commit)).reason_code == "released"
    assert bare.refs("refs/tags/") == {ref: record.tag_object}
    assert place.records()[0].tag_object == record.tag_object


@pytest.mark.usefixtures("quick")
def test_the_upload_of_a_large_file_is_told_about(place: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackside.forge.drafts.LARGE", 1_000_000)
    commit = place.start()
    place.trained(commit, bytes(3_000_000))
    place.register(place.pushed(commit))
    told = [line for line in place.said.getvalue().splitlines() if "MB sent" in line]
    assert len(told) == 10
    assert told[-1] == "model.bin: 3 of 3 MB sent"


@pytest.mark.usefixtures("quick")
def test_a_deprecated_model_gets_no_version(place: Trained) -> None:
    commit = place.start()
    place.trained(commit)
    bare = place.sandbox.hub.bare(place.repo)
    bare.update_ref("refs/tags/delay@deprecated#1", bare.write_tag("delay@deprecated#1", commit, "commit", "m", WHO))
    result = place.register(place.pushed(commit))
    assert (result.decision, result.reason_code) == ("skipped", "model_deprecated")
    assert "delay@deprecated#1" in place.said.getvalue()
    assert (place.records(), place.releases()) == ([], [])
    bare.update_ref("refs/tags/delay#staging#2", bare.write_tag("delay#staging#2", commit, "commit", "m", WHO))
    assert place.register(place.pushed(commit)).reason_code == "released"
