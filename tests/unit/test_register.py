"""Register on merge, over real HTTP with real git and DVC: one release a changed model, whatever happens on the way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from plan_samples import FILES
from registry_world import POLICY, Trained, place, quick

from conftest import ENV, user
from trackside.documents.codec import load
from trackside.documents.profile import Profile
from trackside.documents.release import Release
from trackside.documents.result import Result
from trackside.documents.run import Artifact, Dependency, Metric, Run
from trackside.errors import ConfigError, NotFound, Refused, TracksideError
from trackside.forge.operations import CreateTag
from trackside.registry import read
from trackside.registry.decide import version_of
from trackside.registry.ledger import Ledger
from trackside.registry.package import OWN, Package
from trackside.registry.remote import Move, Remote
from trackside.registry.tags import message, stage_tag
from trackside.sandbox.actions.dispatcher import Dispatcher
from trackside.train.files import digest as listing_digest

__all__ = ["place", "quick"]
NEW_LR: dict[str, bytes | None] = {"params.yaml": FILES["params.yaml"].replace("lr: 0.1", "lr: 0.2").encode()}


def test_a_merge_becomes_a_release(place: Trained) -> None:
    commit = place.start()
    run = place.trained(commit)
    result = place.register(place.pushed(commit))
    assert (result.decision, result.reason_code) == ("done", "released"), place.said.getvalue()
    assert result.values["released"] == [{"model": "delay", "version": "1.0.0", "tag": "delay@v1.0.0"}]
    (release,) = place.releases()
    assert (release["tag_name"], release["draft"]) == ("delay@v1.0.0", False)
    (record,) = place.records()
    assert (record.state, record.commit, record.run, record.release_id) == ("published", commit, run.id, release["id"])
    assert place.tags() == ["delay@v1.0.0"]
    names = {one.name: one.role for one in record.assets}
    assert names == {
        "model.bin": "model", "run.json": "run", "provenance.intoto.json": "statement", "README.md": "card",
        "mlbom.cdx.json": "bom",
    }  # fmt: skip
    assert load(Run, place.asset("run.json", record.release_id)) == run
    statement = place.asset("provenance.intoto.json", record.release_id)
    assert json.loads(statement)["subject"][0]["digest"]["sha256"] == record.model_digest.removeprefix("sha256:")
    tag = place.sandbox.hub.bare(place.repo).git("cat-file", "-p", "refs/tags/delay@v1.0.0").text
    assert f"Run-Id: {run.id}\n" in tag
    assert f"Statement-Sha256: {hashlib.sha256(statement).hexdigest()}\n" in tag
    card = place.asset("README.md", record.release_id).decode()
    block = yaml.safe_load(card.split("---\n")[1])
    assert block["license"] == "apache-2.0"
    assert block["model-index"][0]["results"][0]["metrics"][0] == {"type": "auc", "name": "auc", "value": 0.7}
    for words in ("Only three airports", "data/raw.csv", "gh release download", "open('model.bin')"):
        assert words in card
    with place.forge() as forge:
        found = read.need(forge, "delay")
        path = read.fetch_model(forge, found, place.folder / "back")
    assert path == place.folder / "back/model.bin"
    assert path.read_bytes() == b"weights"
    writes = [one for one in place.sandbox.calls if one.method != "GET"]
    print(f"{result.api_calls} API calls, {len(writes)} writes")
    assert result.api_calls <= 12
    assert 0 < len(writes) <= 10


@pytest.mark.usefixtures("quick")
def test_what_did_not_change_gets_no_version(place: Trained) -> None:
    first = place.start()
    run = place.trained(first)
    place.register(place.pushed(first))
    before, calls = place.end_state(), []
    again = place.register(place.pushed(first))
    assert (again.decision, again.values["released"]) == (
        "done",
        [{"model": "delay", "version": "1.0.0", "tag": "delay@v1.0.0"}],
    )
    docs = place.push({"README.md": b"# other words\n"})
    result = place.register(place.pushed(docs))
    assert (result.decision, result.reason_code, result.values["released"]) == ("skipped", "model_unchanged", [])
    calls.append(result.api_calls)
    retrained = place.change(0.2)
    place.trained(retrained, b"weights", auc=0.71)  # other inputs, the same bytes
    result = place.register(place.pushed(retrained))
    assert (result.decision, result.reason_code) == ("skipped", "model_unchanged")
    assert place.end_state() == before
    assert run.id == place.records()[0].run


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("labels", "asked", "version"),
    [
        ((), "", "1.0.1"),
        (("release:minor",), "", "1.1.0"),
        (("release:major", "release:minor", "x"), "", "2.0.0"),
        (("release:major",), "minor", "1.1.0"),
        (("release:silly", "release:"), "", "1.0.1"),
    ],
)
def test_the_next_version(place: Trained, labels: tuple[str, ...], asked: str, version: str) -> None:
    first = place.start()
    place.trained(first, auc=0.70)
    place.register(place.pushed(first))
    number, commit = place.merge("better", NEW_LR, labels)
    place.trained(commit, b"better weights", auc=0.75, params={"train.lr": 0.2, "seed": 7})
    place.sandbox.hub.set_role(place.repo, "carol", "maintain")
    event = place.asked(task="register", bump=asked) if asked else place.pushed(commit)
    result = place.register(event, actor="carol")
    assert result.values["released"] == [{"model": "delay", "version": version, "tag": f"delay@v{version}"}]
    record = max(place.records(), key=version_of)
    assert (record.previous, record.pull_request, record.commit) == ("1.0.0", number, commit)
    (page,) = [one for one in place.releases() if one["tag_name"] == f"delay@v{version}"]
    for words in (f"#{number}", "0.700", "0.750", "+0.050", "train.lr", "/compare/", "model.bin"):
        assert words in page["body"], words


@pytest.fixture
def dispatcher(place: Trained) -> Iterator[None]:
    """Runs that are dispatched wait for a runner that never comes."""
    made = place.sandbox.dispatcher = Dispatcher(place.sandbox.hub, ENV, {})
    made.start()
    yield
    place.sandbox.dispatcher = None
    made.stop()


@pytest.mark.usefixtures("dispatcher", "quick")
def test_without_a_run_training_is_started_once_and_comes_back(place: Trained) -> None:
    commit = place.start()
    result = place.register(place.pushed(commit))
    assert (result.decision, result.reason_code) == ("done", "training_dispatched")
    assert result.values["dispatched"] == ["delay"]
    (run,) = place.sandbox.state.list("run", place.repo)
    assert run["inputs"]["commit"] == commit
    assert run["inputs"]["title"].endswith(", then release")
    assert place.register(place.pushed(commit)).values["dispatched"] == ["delay"]
    assert len(place.sandbox.state.list("run", place.repo)) == 1
    back = place.register(place.asked(task="register", model="delay", commit=commit, reason="trained"))
    assert (back.decision, back.reason_code) == ("skipped", "run_missing")  # no second training, no circle
    place.trained(commit)
    back = place.register(place.asked(task="register", model="delay", commit=commit, reason="trained"))
    assert back.reason_code == "released"


@pytest.mark.usefixtures("quick")
def test_an_older_commit_does_not_get_a_higher_version_than_a_newer_one(place: Trained) -> None:
    older = place.start()
    place.trained(older)
    newer = place.change(0.2)
    place.trained(newer, b"newer")
    assert place.register(place.pushed(newer)).values["released"][0]["version"] == "1.0.0"
    late = place.register(place.pushed(older))
    assert (late.decision, late.reason_code) == ("skipped", "superseded")
    untrained = place.push({"params.yaml": FILES["params.yaml"].replace("lr: 0.1", "lr: 0.3").encode()})
    place.push({"README.md": b"moved on"})
    assert place.register(place.pushed(untrained)).reason_code == "superseded"
    assert place.tags() == ["delay@v1.0.0"]
    assert place.sandbox.state.list("run", place.repo) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("killed", [False, True])
def test_a_newer_commit_that_only_began_is_not_overtaken(
    place: Trained, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    """The newer commit takes its version between the older one's look and its claim, and may be killed right there."""
    older = place.start()
    place.trained(older)
    newer = place.change(0.2)
    place.trained(newer, b"newer")
    claim, begun = Ledger.claim, list[str]()

    class Killed(Exception):
        pass

    def between(self: Ledger, release: Release, text: str, attempt: int) -> bool:
        if release.commit == older and not begun:
            begun.append("newer")
            with contextlib.suppress(Killed):
                place.register(place.pushed(newer))
        won = claim(self, release, text, attempt)
        if release.commit == newer and killed and len(begun) == 1:
            begun.append("killed")
            raise Killed
        return won

    monkeypatch.setattr(Ledger, "claim", between)
    assert place.register(place.pushed(older)).reason_code == "superseded"
    assert place.register(place.pushed(newer)).values["released"][0]["version"] == "1.0.0"
    assert [(one.commit, one.state) for one in place.records()] == [(newer, "published")]


@pytest.mark.usefixtures("quick")
def test_a_tag_that_somebody_made_by_hand_is_passed_over(place: Trained) -> None:
    first = place.start()
    place.trained(first)
    bare = place.sandbox.hub.bare(place.repo)
    bare.update_ref("refs/tags/delay@v1.0.0", first, "0" * 40)
    commit = place.change(0.2)
    place.trained(commit, b"newer")
    assert place.register(place.pushed(commit)).values["released"][0]["version"] == "1.0.1"
    assert [one.version for one in place.records()] == ["1.0.1"]
    assert bare.sha("refs/tags/delay@v1.0.0") == first


@pytest.mark.usefixtures("quick")
def test_a_tag_that_appears_right_before_the_claim_costs_one_version(
    place: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.start()
    commit = place.change(0.2)
    place.trained(commit)
    bare, push = place.sandbox.hub.bare(place.repo), Remote.push

    def racing(self: Remote, moves: Sequence[Move]) -> bool:
        bare.update_ref("refs/tags/delay@v1.0.0", first, "0" * 40)
        return push(self, moves)

    monkeypatch.setattr(Remote, "push", racing)
    assert place.register(place.pushed(commit)).values["released"][0]["version"] == "1.0.1"
    assert [(one.version, one.state) for one in place.records()] == [("1.0.1", "published")]
    assert [one["tag_name"] for one in place.releases()] == ["delay@v1.0.1"]
    assert bare.sha("refs/tags/delay@v1.0.0") == first


@pytest.mark.usefixtures("quick")
def test_a_model_above_the_limit_travels_in_parts(place: Trained) -> None:
    place.limit = 1000
    model = bytes(range(256)) * 13
    commit = place.start()
    place.trained(commit, model)
    place.register(place.pushed(commit))
    (record,) = place.records()
    parts = [one for one in record.assets if one.role == "model"]
    assert [(one.part, one.size) for one in parts] == [(1, 1000), (2, 1000), (3, 1000), (4, 328)]
    manifest = json.loads(place.asset("manifest.json", record.release_id))
    assert manifest["file"] == {"name": "model.bin", "digest": digest(model), "size": len(model)}
    assert [one["digest"] for one in manifest["parts"]] == [digest(model[i : i + 1000]) for i in range(0, 3328, 1000)]
    with place.forge() as forge:
        assert read.fetch_model(forge, record, place.folder / "back").read_bytes() == model


def test_a_folder_travels_as_one_archive(place: Trained) -> None:
    files = {"weights.bin": b"w" * 500, "deep/config.json": b"{}"}
    listing = [{"md5": place.store(data)[4:], "relpath": name} for name, data in sorted(files.items())]
    raw = json.dumps(listing).encode()
    stored = place.store(raw)
    (place.remote / "files/md5" / stored[4:6] / stored[6:]).rename(
        place.remote / "files/md5" / stored[4:6] / f"{stored[6:]}.dir"
    )
    source = place.folder / "source/model.bin"
    for name, data in files.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    found, size = listing_digest("model.bin", source.parent)
    commit = place.start()
    artifact = Artifact(path="model.bin", role="model", digest=found, size=size, dvc_digest=stored + ".dir")
    place.trained(commit, artifacts=[artifact])
    place.register(place.pushed(commit))
    (record,) = place.records()
    assert [one.name for one in record.assets if one.role == "model"] == ["model.bin.folder.zip"]
    with place.forge() as forge:
        back = read.fetch_model(forge, record, place.folder / "back")
    assert {one.relative_to(back).as_posix(): one.read_bytes() for one in back.rglob("*") if one.is_file()} == files


@pytest.mark.parametrize(("content", "code"), [(None, "data_missing"), (b"another", "data_missing")])
def test_what_the_remote_lost_is_not_released(place: Trained, content: bytes | None, code: str) -> None:
    lost_and_found(place, content, code)


@pytest.mark.usefixtures("quick")
def test_other_bytes_than_the_run_recorded_are_not_released(place: Trained) -> None:
    lost_and_found(place, b"another", "content_mismatch")


def lost_and_found(place: Trained, content: bytes | None, code: str) -> None:
    """Nothing is begun until the remote holds what was trained."""
    commit = place.start()
    md5 = place.trained(commit).artifacts[0].dvc_digest.removeprefix("md5:")
    stored = place.remote / "files/md5" / md5[:2] / md5[2:]
    stored.unlink()
    if content is not None:
        stored.write_bytes(content)
    with pytest.raises(TracksideError) as caught:
        place.register(place.pushed(commit))
    assert caught.value.reason_code == code
    assert (place.releases(), place.tags()) == ([], [])
    stored.write_bytes(b"weights")
    assert place.register(place.pushed(commit)).values["released"][0]["version"] == "1.0.0"
    assert [one["draft"] for one in place.releases()] == [False]


@pytest.mark.usefixtures("quick")
def test_a_model_that_could_run_code_gets_no_version_unless_its_names_are_trusted(place: Trained) -> None:
    harm = b"cflights.features\nEncoder\n)R."
    at = place.start()
    place.trained(at, harm)
    with pytest.raises(Refused, match="could run code") as caught:
        place.register(place.pushed(at))
    assert caught.value.reason_code == "model_unsafe"
    assert (place.releases(), place.tags()) == ([], [])
    policy = (place.sandbox.hub.bare(place.repo).file("main", "trackside.yaml") or b"").decode()
    trusting = policy.replace("    path:", "    trusted-imports: [flights.features.Encoder]\n    path:", 1)
    commit = place.push({"trackside.yaml": trusting.encode()})
    assert place.register(place.pushed(commit)).values["released"][0]["version"] == "1.0.0"


@pytest.mark.usefixtures("quick")
def test_only_what_was_merged_is_released(place: Trained) -> None:
    place.start()
    aside = place.push(NEW_LR, "topic")
    place.trained(aside)
    for commit in (aside, "main", "0" * 40, "refs/heads/topic"):
        with pytest.raises(Refused) as caught:
            place.register(place.asked(task="register", commit=commit))
        assert caught.value.reason_code == "identity_mismatch"
    elsewhere = replace(place.pushed(aside), branch="topic", ref="refs/heads/topic")
    assert place.register(elsewhere).reason_code == "event_ignored"
    with pytest.raises(ConfigError):
        place.register(place.asked(task="register", model="nope"))
    assert place.tags() == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("found_out", [True, False])
def test_two_merges_at_once_get_a_version_each(
    place: Trained, monkeypatch: pytest.MonkeyPatch, found_out: bool
) -> None:
    """The newer one is registered whole right before, or right behind, the older one's claim."""
    older, newer = trained_twice(place, 0)
    claim, done = Ledger.claim, list[Result]()

    def between(self: Ledger, release: Release, text: str, attempt: int) -> bool:
        first = release.commit == older and not done
        if first and found_out:
            done.append(place.register(place.pushed(newer)))
        won = claim(self, release, text, attempt)
        if first and not found_out:
            done.append(place.register(place.pushed(newer)))
        return won

    monkeypatch.setattr(Ledger, "claim", between)
    done.append(place.register(place.pushed(older)))
    assert [one.reason_code for one in done] == ["released", "superseded" if found_out else "released"]
    consistent(place, older, newer, done)


@pytest.mark.usefixtures("quick")
def test_racing_merges_leave_a_consistent_registry(place: Trained) -> None:
    rounds, versions = 4, 0
    for number in range(rounds):
        older, newer = trained_twice(place, number)
        results: list[Result] = []
        barrier = threading.Barrier(2)

        def work(commit: str, barrier: threading.Barrier = barrier, results: list[Result] = results) -> None:
            barrier.wait()
            results.append(place.register(place.pushed(commit)))

        threads = [threading.Thread(target=work, args=(commit,)) for commit in (older, newer)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        consistent(place, older, newer, results)
        versions += sum(one.reason_code == "released" for one in results)
    print(f"{rounds} rounds of two merges, {versions} versions")
    assert len(place.records()) == versions


def trained_twice(place: Trained, number: int) -> tuple[str, str]:
    """Two commits on `main`, the older one first, and a run of each."""
    if not number:
        place.start()
    older, newer = place.change(0.2 + number), place.change(0.6 + number)
    for index, commit in enumerate((older, newer)):
        place.trained(commit, f"weights {number} {index}".encode())
    return older, newer


def consistent(place: Trained, older: str, newer: str, results: list[Result]) -> None:
    """What holds however two jobs are scheduled: the newer commit is out, and no older one has a higher version."""
    codes = sorted(one.reason_code for one in results)
    # The older may find the newer one out already: then it gets none.
    assert codes in (["released", "released"], ["released", "superseded"]), codes
    records = sorted(place.records(), key=version_of)
    assert [one.state for one in records] == ["published"] * len(records)
    assert len({one.tag for one in records}) == len(place.tags()) == len(place.releases()) == len(records)
    wanted = [older, newer] if codes == ["released", "released"] else [newer]
    assert [one.commit for one in records][-len(wanted) :] == wanted
    assert sum(one.commit in (older, newer) for one in records) == len(wanted)


@pytest.mark.usefixtures("quick")
def test_the_same_merge_registered_three_times_at_once_is_one_release(place: Trained) -> None:
    rounds, commit = 3, place.start()
    inputs = place.digest(commit)
    for number in range(rounds):
        if number:
            commit = place.change(0.2 + number)
            inputs = place.digest(commit)
        run = place.trained(commit, f"weights {number}".encode(), digest=inputs)
        barrier = threading.Barrier(3)

        def work(commit: str = commit, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            with contextlib.suppress(TracksideError):  # whoever comes second may be refused an upload
                place.register(place.pushed(commit))

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        place.register(place.pushed(commit))
        assert [one.state for one in place.records()] == ["published"] * (number + 1)
        assert [one.run for one in place.records()].count(run.id) == 1
        assert [one["draft"] for one in place.releases()] == [False] * (number + 1)
        assert len(place.tags()) == number + 1
    print(f"{rounds} rounds of three")
    assert rounds == 3


@pytest.mark.usefixtures("quick")
def test_a_model_that_broke_its_bounds_says_so(place: Trained) -> None:
    place.policy = POLICY.replace("direction: max", "direction: max, min: 0.9")
    commit = place.start()
    place.trained(commit, b"bad", auc=0.5)
    place.register(place.pushed(commit))
    (page,) = place.releases()
    assert "> [!WARNING]\n> auc 0.5000, below" in page["body"]


def test_a_model_may_have_the_name_of_another_file_of_a_release(tmp_path: Path) -> None:
    names = {}
    for name in (
        "README.md",
        "run.json",
        "x.folder.zip",
        "mod\u00e8le (1).bin",
        "..",
        "a" * 300,
        "image.json",
        "sbom.cdx.json",
        "golden.jsonl",
    ):
        source = tmp_path / "source"
        source.write_bytes(b"content")
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        package = Package(folder=folder, limit=3)
        package.add_model(source, f"out/{name}", digest(b"content"))
        names[name] = package.assets[0].name
        assert [one.size for one in package.assets if one.role == "model"] == [3, 3, 1]
        assert all(re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,140}", one.name) for one in package.assets)
        assert len({one.name for one in package.assets} | set(OWN)) == len(package.assets) + len(OWN) - 1
    assert names["README.md"] == "model-README.md.part01"
    assert names["x.folder.zip"] == "x.folder.zip.part01"
    print(f"{len(names)} names")
    assert len(names) == 9


@pytest.mark.usefixtures("quick")
def test_an_immutable_release_is_carried_on_after_a_kill_right_behind_its_publication(
    place: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.sandbox.hub.set_setting(place.repo, "immutable_releases", True)
    commit = place.start()
    place.trained(commit)
    forge = place.forge()
    send = forge.client._send

    def dying(method: str, path: str, query: Any, body: Any) -> Any:
        answer = send(method, path, query, body)
        if method == "PATCH" and "/releases/" in path:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(forge.client, "_send", dying)
    with pytest.raises(KeyboardInterrupt):
        place.register(place.pushed(commit), forge)
    (page,) = place.releases()
    assert (page["draft"], page["immutable"]) == (False, True)
    assert place.records()[0].state == "draft"
    assert place.register(place.pushed(commit)).values["released"][0]["version"] == "1.0.0"
    assert (place.records()[0].state, len(place.releases())) == ("published", 1)


DRIFT = """\
    drift:
      reference: data/reference.csv
      current: "data/*.csv"
      features: [distance, carrier]
      prediction: score
      label: late
"""


@pytest.mark.usefixtures("quick")
def test_the_drift_profile_is_made_of_the_runs_own_reference(place: Trained) -> None:
    place.policy = POLICY + DRIFT
    rows = [f"{100 + n},{'AB'[n % 2]},{n % 10 / 10},{n % 3 % 2}" for n in range(400)]
    table = ("distance,carrier,score,late\n" + "\n".join(rows) + "\n").encode()
    commit = place.start()
    used = Dependency(path="data/reference.csv", kind="data", digest=place.store(table), size=len(table))
    place.trained(commit, dependencies=[used])
    before = len(place.sandbox.calls)
    result = place.register(place.pushed(commit))
    (record,) = place.records()
    profile = load(Profile, place.asset("drift-profile.json", record.release_id))
    assert (profile.model, profile.rows, profile.source, profile.digest) == ("delay", 400, used.path, used.digest)
    assert {one.name: one.role for one in profile.columns} == {
        "distance": "feature", "carrier": "feature", "score": "prediction", "late": "label",
    }  # fmt: skip
    writes = [one for one in place.sandbox.calls[before:] if one.method != "GET"]
    print(f"{result.api_calls} API calls, {len(writes)} writes")
    assert result.api_calls <= 12
    assert 0 < len(writes) <= 10


def says(place: Trained, number: int, text: str, login: str = "carol") -> str:
    """A comment of a maintainer; its number."""
    place.sandbox.hub.set_role(place.repo, "carol", "maintain")
    return str(place.sandbox.hub.add_comment(place.repo, number, text, user(login))["id"])


@pytest.mark.usefixtures("quick")
def test_a_release_command_is_read_again(place: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_world.NOW", datetime.now(UTC))
    first = place.start()
    place.trained(first)
    place.register(place.pushed(first))
    number, commit = place.merge("better", NEW_LR)
    place.trained(commit, b"better")
    refusals = {
        "/release minor": ("ada", "permission_missing"),
        "/help": ("carol", "identity_mismatch"),
        "some words": ("carol", None),
    }
    for text, (login, code) in refusals.items():
        comment = says(place, number, text, login)
        event = place.asked(task="register", commit=commit, bump="major", comment=comment)
        with pytest.raises(Refused) as caught:
            place.register(event)
        assert code in (None, caught.value.reason_code), text
    with pytest.raises(Refused) as caught:  # another commit than the pull request brought
        place.register(place.asked(task="register", commit=first, comment=says(place, number, "/release minor")))
    assert caught.value.reason_code == "identity_mismatch"
    assert len(place.tags()) == 1
    asked = says(place, number, "/release minor")
    done = place.register(place.asked(task="register", commit=commit, bump="major", comment=asked))
    assert done.values["released"][0]["version"] == "1.1.0"  # the comment's word, not the dispatch's


@pytest.mark.usefixtures("quick")
def test_a_version_step_by_hand_needs_the_role_of_the_command(place: Trained) -> None:
    place.policy = POLICY + "commands:\n  release: {permission: maintain}\n"
    commit = place.start()
    place.trained(commit)
    for actor, role in (("ada", "write"), ("mallory", "read"), ("github-actions[bot]", "none"), ("", "none")):
        with pytest.raises(Refused) as caught:
            place.register(place.asked(task="register", bump="major"), actor=actor)
        assert caught.value.reason_code == "permission_missing"
        assert f"/release needs the role maintain; {actor or 'nobody'} has {role}" in caught.value.message
    assert place.tags() == []
    # The step is all that the role decides: without one it is what the push did, or will do.
    assert place.register(place.asked(task="register"), actor="ada").reason_code == "released"


@pytest.mark.usefixtures("quick")
def test_who_is_in_a_stage_is_read_of_the_tags(place: Trained) -> None:
    commits = [place.start(), place.change(0.2)]
    for index, commit in enumerate(commits):
        place.trained(commit, f"weights {index}".encode())
        place.register(place.pushed(commit))
    steps = [("staging", 0), ("prod", 0), ("staging", 1), ("prod", 1), ("prod", 0)]
    with place.forge() as forge:
        for counter, (stage, index) in enumerate(steps, 1):
            text = message("m", {"Version": f"1.0.{index}"} if counter % 2 else {})  # every other one as GTO writes it
            name = stage_tag("delay", stage, counter)
            (made,) = forge.apply([CreateTag(name=name, commit=commits[index], message=text)])
            assert made.outcome == "created", made
        before = forge.calls
        state = read.state(forge, "delay")
        assert forge.calls - before <= 10
        assert [str(one) for one in state.versions("delay")] == ["1.0.0", "1.0.1"]
        assert str(state.holder("delay", "prod")) == "1.0.0"
        assert str(state.previous_holder("delay", "prod")) == "1.0.1"
        assert str(state.holder("delay", "staging")) == "1.0.1"
        assert state.next_counter("delay") == 6
        assert str(read.need(forge, "delay").version) == "1.0.1"
        assert read.find(forge, "delay", "1.0.0") is not None
        assert read.find(forge, "delay", "9.9.9") is None
        assert read.find(forge, "../delay") is None
        with pytest.raises(NotFound):
            read.need(forge, "other")


@pytest.mark.usefixtures("quick")
def test_words_of_strangers_stay_words(place: Trained) -> None:
    evil = "x|y`@ada #1 <script>alert(1)</script>\n# big ::error::"
    commit = place.start()
    place.trained(
        commit,
        metrics=[Metric(name=evil, value=0.5, file=evil)],
        params={evil: evil},
        dependencies=[Dependency(path=evil, kind="data", digest="md5:" + "0" * 32)],
    )
    place.register(place.pushed(commit))
    (page,), (record,) = place.releases(), place.records()
    card = place.asset("README.md", record.release_id).decode()
    for text in (page["body"], card.split("---\n", 2)[2]):
        assert "<script>" not in text
        assert "@ada" not in text
        assert "\n# big" not in text
    assert yaml.safe_load(card.split("---\n")[1])["model-index"][0]["results"]


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
