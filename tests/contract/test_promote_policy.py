"""What the policy of a stage asks for, over real HTTP: each thing that lacks is refused by its name and its line; what
is met stands in the tag.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from conftest import user
from promote_world import Place, Quick, opened
from sweeps import Prepared, noted
from trackside.documents.image import Image, Smoke
from trackside.documents.release import Release
from trackside.documents.result import Result
from trackside.errors import TracksideError
from trackside.forge.github import GithubForge
from trackside.forge.operations import UpsertCheck
from trackside.registry.promote_stage import attestations_of
from trackside.report.marker import external_id
from trackside.sandbox.attesting import authority
from trackside.sandbox.rest.attestations import kept
from trackside.sandbox.server import Sandbox
from trackside.sandbox.signing import ROOT, Identity
from trackside.train.provenance import PREDICATE, STATEMENT

POLICY = b"""\
version: 1
models:
  delay:
    path: m
    promotion:
      - staging
      - stage: prod
        approvals: 1
        checks: [trackside / delay, ci]
        attestation: true
        image: true
      - stage: lab
        after: []
        branch: any
"""
LINES = {"after": 7, "branch": 7, "approvals": 8, "checks": 9, "attestation": 10, "image": 11}
DIGEST = "sha256:" + hashlib.sha256(b"model").hexdigest()
VERSION, RUN = "2.0.0", "0123456789ab"
INPUTS = "sha256:" + "a" * 64
GATE = external_id("delay", INPUTS)


def stating(run: str = RUN, inputs: str = INPUTS, model: str = DIGEST) -> bytes:
    """The statement of a run that made a model."""
    made = {"buildDefinition": {"internalParameters": {"run": run, "inputDigest": inputs}}}
    subject = [{"name": "m", "digest": {"sha256": model.removeprefix("sha256:")}}]
    said = {"_type": STATEMENT, "subject": subject, "predicateType": PREDICATE, "predicate": made}
    return json.dumps(said).encode()


class Version:
    """`delay@v2.0.0`, brought by a pull request of ada's that bob approved; it has all that prod asks for."""

    def __init__(self, place: Place) -> None:
        self.place, self.hub, self.repo = place, place.sandbox.hub, place.repo
        self.tokens = 0
        for login in ("bob", "carl", "rita"):
            self.hub.add_token(f"token-{login}", login)
        self.hub.set_role(self.repo, "carl", "write")
        self.hub.set_role(self.repo, "rita", "triage")
        place.commit("topic", {"m": b"new"})
        self.number = self.hub.open_pull(self.repo, title="New", head="topic", base="main", actor=user("carl"))
        self.head = self.hub.pull(self.repo, self.number)["head_sha"]
        self.review("bob")
        self.hub.merge_pull(self.repo, self.number, user("carl"))
        self.commit = str(self.hub.pull(self.repo, self.number)["merge_commit_sha"])
        self.check("trackside / delay", external_id=GATE)
        self.check("ci", sha=self.commit)
        place.tag(VERSION, self.commit, run=RUN, statement=stating())
        self.release = place.released(
            Release(
                model="delay", version=VERSION, tag=f"delay@v{VERSION}", commit=self.commit, run=RUN,
                state="published", model_digest=DIGEST, pull_request=self.number, created_at="2026-01-01T00:00:00Z",
            ),
            stating(),
        )  # fmt: skip
        self.image = Image(
            model="delay", version=VERSION, tag=f"delay@v{VERSION}", commit=self.commit, run=RUN,
            model_digest=DIGEST, inputs_digest="sha256:" + "1" * 64, bento="b", service="service.py:S",
            reference="ghcr.io/acme/delay:v2.0.0", digest="sha256:" + "2" * 64,
            smoke=Smoke(requests=3, passed=3, bad_requests=2, bad_refused=2),
        )  # fmt: skip
        self.record(self.release)
        self.record(self.image)
        self.attest()
        with place.forge() as forge:
            place.attested = attestations_of(forge, self.hub.url, root=str(self.root / ROOT))
        assert place.run(self.wish("staging")).decision == "done"

    @property
    def root(self) -> Any:
        return authority(self.hub.state.root).folder

    def wish(self, stage: str = "prod", actor: str = "ada") -> Any:
        return self.place.dispatch({"task": "promote", "model": "delay", "stage": stage, "version": VERSION}, actor)

    def promote(self, stage: str = "prod", actor: str = "ada", dispatch: Any = None) -> Result:
        return self.place.run(dispatch or self.wish(stage, actor))

    def forget(self, kind: str) -> None:
        state = self.place.sandbox.state
        for one in state.list(kind, self.repo):
            state.delete(kind, self.repo, one["id"])

    def review(self, login: str, event: str = "APPROVE", commit: str = "") -> None:
        with GithubForge(self.repo, f"token-{login}", self.place.sandbox.api_url) as person:
            body = {"event": event, "body": "Words"} | ({"commit_id": commit} if commit else {})
            person.client.post(f"/pulls/{self.number}/reviews", body)

    def check(
        self, name: str, conclusion: str | None = "success", sha: str = "", external_id: str = "x", app: str = ""
    ) -> None:
        one = UpsertCheck(
            name=name, head_sha=sha or self.head, external_id=external_id, title="T", summary="S", conclusion=conclusion
        )
        token = self.place.sandbox.seed.app_token(app or "github-actions", {"checks": "write"}, self.repo)
        with GithubForge(self.repo, token, self.place.sandbox.api_url, viewer=f"{app}[bot]") as forge:
            (done,) = forge.apply([one])
        assert done.outcome in ("created", "updated"), done

    def record(self, what: Release | Image | None, path: str = "") -> None:
        self.place.record(what, path)

    def attest(self, *, path: str = ".github/workflows/release.yml", files: bool = True, **said: str) -> None:
        """As the job `attest` does it: the predicate of the statement, and all files of the release."""
        statement = json.loads(stating(**said))
        more = [one.digest for one in self.release.assets] if files else []
        statement["subject"] += [{"name": "x", "digest": {"sha256": one.removeprefix("sha256:")}} for one in more]
        who = Identity(
            server=self.hub.url, repository=self.repo, path=path, ref="refs/heads/main", sha=self.commit, event="push"
        )
        signed = authority(self.hub.state.root).sign(json.dumps(statement).encode(), who, datetime.now(UTC))
        kept(self.hub, self.repo, json.loads(signed), "github-actions[bot]")


@pytest.fixture
def version(sandbox: Sandbox, repo: str) -> Version:
    return Version(opened(sandbox, repo, POLICY))


def test_what_is_met_stands_in_the_tag(version: Version) -> None:
    result = version.promote()
    assert (result.decision, result.reason_code) == ("done", "promoted"), result
    said = version.place.said(result.values["tag"])
    assert said == {
        "Version": VERSION,
        "Actor": "ada",
        "Run": "2",
        "Approved-By": "bob",
        "Checks": f"trackside / delay on {version.head[:12]}; ci on {version.commit[:12]}",
        "Image": f"ghcr.io/acme/delay:v2.0.0@sha256:{'2' * 64}",
        "Attestation": f"{DIGEST} by {version.hub.url}/{version.repo}/.github/workflows/release.yml@refs/heads/main",
    }
    assert version.place.deployed() == {
        "delay/staging": [("delay#staging#1", "success")],
        "delay/prod": [("delay#prod#2", "success")],
    }


def _changed(field: str, value: Any) -> Callable[[Version], None]:
    return lambda one: one.record(msgspec.structs.replace(one.image, **{field: value}))


def _smoke(**changes: int) -> Callable[[Version], None]:
    def change(one: Version) -> None:
        one.record(msgspec.structs.replace(one.image, smoke=msgspec.structs.replace(one.image.smoke, **changes)))

    return change


def _reviewed(login: str, event: str = "APPROVE", *, old: bool = False) -> Callable[[Version], None]:
    def change(one: Version) -> None:
        one.forget("review")
        one.review(login, event, commit=one.place.commits["1.0.0"] if old else "")

    return change


def _checked(name: str, conclusion: str | None, *, forget: bool = False, merged: bool = False) -> Callable[[Any], None]:
    def change(one: Version) -> None:
        if forget:
            one.forget("check_run")
        one.check(name, conclusion, sha=one.commit if merged else "", external_id=GATE)

    return change


def _attested(**changes: str) -> Callable[[Version], None]:
    def change(one: Version) -> None:
        one.forget("attestation")
        one.attest(**changes)

    return change


def _left(one: Version) -> None:
    one.hub.set_role(one.repo, "bob", "read")


def _two_reviews(one: Version) -> None:
    one.review("bob", "REQUEST_CHANGES")


def _instead(external: str, app: str = "github-actions") -> Callable[[Version], None]:
    """A check run that bears the name of the gate's check."""

    def change(one: Version) -> None:
        one.forget("check_run")
        one.check("ci", sha=one.commit)
        one.check("trackside / delay", external_id=external, app=app)

    return change


def _recorded(**changes: Any) -> Callable[[Version], None]:
    """A record that whoever may push the data branch wrote."""
    return lambda one: one.record(msgspec.structs.replace(one.release, **changes))


def _other_model(one: Version) -> None:
    """Record, image and attestation agree with each other on a model that the statement does not know."""
    other = "sha256:" + "9" * 64
    one.record(msgspec.structs.replace(one.release, model_digest=other))
    one.record(msgspec.structs.replace(one.image, model_digest=other))
    one.attest(model=other)


CASES: dict[str, tuple[Callable[[Version], None], str, str, str]] = {
    # what is changed: reason code, key of the policy, words that say what to know or do
    "nobody approved": (lambda one: one.forget("review"), "approvals_missing", "approvals", "it has 0"),
    "rita may not write": (_reviewed("rita"), "approvals_missing", "approvals", "rita has the role triage"),
    "bob may not any more": (_left, "approvals_missing", "approvals", "bob has the role read"),
    "bob changed his mind": (_two_reviews, "approvals_missing", "approvals", "changes requested"),
    "bob saw an older head": (_reviewed("bob", old=True), "approvals_missing", "approvals", "not the head"),
    "a comment is no approval": (_reviewed("bob", "COMMENT"), "approvals_missing", "approvals", "it has 0"),
    "no checks": (lambda one: one.forget("check_run"), "check_missing", "checks", "'trackside / delay'"),
    "one check lacks": (_checked("ci", "success", forget=True), "check_missing", "checks", "'trackside / delay'"),
    "the gate failed": (_checked("trackside / delay", "failure"), "check_not_green", "checks", "is failure"),
    "the gate is neutral": (_checked("trackside / delay", "neutral"), "check_not_green", "checks", "is neutral"),
    "ci is at it": (_checked("ci", None, merged=True), "check_not_green", "checks", "in_progress"),
    "ci failed at the merge": (_checked("ci", "failure", merged=True), "check_not_green", "checks", "'ci'"),
    "a job bears its name": (_instead("7c9e6679-7425-40de"), "check_missing", "checks", "another app"),
    "the gate judged other inputs": (
        _instead(external_id("delay", "sha256:" + "b" * 64)), "check_missing", "checks", "not of what",
    ),
    "another app is the gate": (_instead(GATE, "some-app"), "check_missing", "checks", "another app"),
    "no image": (lambda one: one.record(None, f"images/delay/{VERSION}.json"), "image_missing", "image", "job `image`"),
    "image not pushed": (_changed("digest", ""), "image_missing", "image", "not pushed"),
    "image of another model": (_changed("model_digest", "sha256:" + "9" * 64), "image_missing", "image", "another"),
    "image of another commit": (_changed("commit", "9" * 40), "image_missing", "image", "another"),
    "a request failed": (_smoke(passed=2), "image_untested", "image", "2 of 3 requests"),
    "no request was made": (_smoke(requests=0, passed=0), "image_untested", "image", "0 of 0"),
    "a bad one was answered": (_smoke(bad_refused=1), "image_untested", "image", "1 of 2 bad"),
    "not attested": (lambda one: one.forget("attestation"), "attestation_missing", "attestation", "job `attest`"),
    "another workflow signed": (_attested(path=".github/workflows/x.yml"), "attestation_invalid", "attestation", "x"),
    "another run is attested": (_attested(run="ffffffffffff"), "attestation_invalid", "attestation", "run"),
    "another statement is attested": (_attested(inputs="x"), "attestation_invalid", "attestation", "predicate"),
    "a file is not attested": (_attested(files=False), "attestation_invalid", "attestation", "among what was signed"),
}  # fmt: skip


@pytest.mark.usefixtures("remembering")
def test_what_lacks_is_refused_by_its_name_and_line(version: Version) -> None:
    place, start, ran = version.place, Prepared(version.place.sandbox, version.repo), 0
    before = place.tags()
    for case, (change, code, key, words) in CASES.items():
        start.restore()
        change(version)
        result = place.ask(f"/promote delay@v{VERSION} prod")
        assert (result.decision, result.reason_code, result.values["exit-code"]) == ("refused", code, 3), (case, result)
        told = place.replies()[-1]
        assert f"trackside.yaml:{LINES[key]} asks for it" in told, case
        assert words in told, case
        assert "What to do:" in told, case
        assert place.tags() == before, case
        assert "delay/prod" not in place.deployed(), case
        ran += 1
    print(f"{ran} things that lack, {len({code for _, code, *_ in CASES.values()})} reasons")
    assert ran == len(CASES) >= 27
    start.restore()
    assert version.promote().decision == "done"


@pytest.mark.usefixtures("remembering")
def test_no_fault_lets_a_version_in(version: Version) -> None:
    """What GitHub does not answer is never taken as met: each call before the tag fails for good."""
    place, start, ran = version.place, Prepared(version.place.sandbox, version.repo), 0
    dispatch = version.wish()
    with place.forge() as forge:
        methods = noted(forge)
        assert place.run(dispatch, forge).decision == "done"
    for number in range(len(methods)):
        start.restore()
        place.sandbox.faults.clear()
        place.sandbox.faults.add("*", "", status=502, after=number, times=40)
        try:
            done = place.run(dispatch, place.forge(clock=Quick())).decision == "done"
        except TracksideError:
            done = False
        place.sandbox.faults.clear()
        tags = [one for one in place.tags() if "#prod#" in one]
        assert not done or tags, number
        for tag in tags:
            assert {"Approved-By", "Checks", "Image", "Attestation"} <= set(place.said(tag)), number
        ran += 1
    print(f"{ran} API calls, each failing for good with all after it")
    assert ran == len(methods) >= 28


def test_all_that_lacks_is_told_at_once(version: Version) -> None:
    for kind in ("review", "check_run", "attestation"):
        version.forget(kind)
    version.record(None, f"images/delay/{VERSION}.json")
    version.place.drop(["delay#staging#1"])
    result = version.place.ask(f"/promote delay@v{VERSION} prod")
    told = version.place.replies()[-1]
    assert result.reason_code == "stage_order"
    assert f"trackside.yaml:{LINES['after']} asks for it" in told
    for key in ("approvals", "checks", "image", "attestation"):
        assert f"(trackside.yaml:{LINES[key]})" in told
    assert told.count("also:") == 5


def test_nobody_approves_what_they_ask_for(version: Version) -> None:
    version.forget("review")
    version.review("ada")
    version.hub.approve_run(version.repo, 77, "production", user("ADA"))
    dispatch = version.place.dispatch({"task": "promote", "model": "delay", "stage": "prod"}, "ada", run="77")
    result = version.promote(dispatch=dispatch)
    assert result.reason_code == "approvals_missing"
    version.hub.approve_run(version.repo, 77, "production", user("rita"), "rejected")
    assert version.promote(dispatch=dispatch).reason_code == "approvals_missing"
    version.hub.approve_run(version.repo, 78, "production", user("rita"))
    assert version.promote(dispatch=dispatch).reason_code == "approvals_missing", "that was another run"
    version.hub.approve_run(version.repo, 77, "production", user("rita"))
    done = version.promote(dispatch=dispatch)
    assert done.decision == "done", "whom the environment names, it trusts"
    assert version.place.said(done.values["tag"])["Approved-By"] == "rita"


def test_a_pull_request_that_was_not_merged_approves_nothing(version: Version) -> None:
    version.place.commit("other", {"m": b"newer"})
    number = version.hub.open_pull(version.repo, title="X", head="other", base="main", actor=user("carl"))
    version.number = number
    version.review("bob")
    version.record(msgspec.structs.replace(version.release, pull_request=number))
    assert version.promote().reason_code == "approvals_missing"
    version.record(msgspec.structs.replace(version.release, pull_request=999))
    assert version.promote().reason_code == "approvals_missing"
    version.record(msgspec.structs.replace(version.release, pull_request=None))
    assert version.promote().decision == "done", "GitHub knows which pull request brought the commit"


FORGED: dict[str, tuple[Callable[[Version], None], str]] = {
    # what is on record instead: reason code
    "another run": (_recorded(run="ffffffffffff"), "tag_moved"),
    "another statement": (_recorded(statement_digest="sha256:" + "9" * 64), "tag_moved"),
    "another commit": (_recorded(commit="9" * 40), "tag_moved"),
    "another tag object": (_recorded(tag_object="9" * 40), "tag_moved"),
    "another model": (_other_model, "content_mismatch"),
    "no statement": (_recorded(assets=[]), "asset_missing"),
    "another release": (_recorded(release_id=999_999), "release_missing"),
}


@pytest.mark.usefixtures("remembering")
def test_a_forged_record_meets_nothing(version: Version) -> None:
    place, start, ran = version.place, Prepared(version.place.sandbox, version.repo), 0
    for case, (change, code) in FORGED.items():
        start.restore()
        change(version)
        result = place.ask(f"/promote delay@v{VERSION} prod")
        assert (result.decision, result.reason_code) == ("refused", code), (case, result)
        assert "What to do:" in place.replies()[-1], case
        assert "delay#prod#2" not in place.tags(), case
        ran += 1
    print(f"{ran} forged records")
    assert ran == len(FORGED)


def test_the_evidence_of_another_version_is_not_taken(version: Version) -> None:
    """3.0.0 was pushed to main, seen by nobody; its record names pull request, run and model of 2.0.0."""
    place = version.place
    commit = place.version("3.0.0")
    version.check("ci", sha=commit)
    stolen = {"version": "3.0.0", "tag": "delay@v3.0.0", "commit": commit}
    wish = {"task": "promote", "model": "delay", "version": "3.0.0"}
    place.record(msgspec.structs.replace(version.release, **stolen))
    place.record(msgspec.structs.replace(version.image, **stolen))
    assert place.run(place.dispatch(wish | {"stage": "staging"}, "ada")).reason_code == "tag_moved"
    place.drop(["delay@v3.0.0"])
    place.tag("3.0.0", commit, run=RUN, statement=stating())
    release = place.released(msgspec.structs.replace(version.release, **stolen), stating())
    place.record(release)
    assert place.run(place.dispatch(wish | {"stage": "staging"}, "ada")).decision == "done"
    result = place.run(place.dispatch(wish | {"stage": "prod"}, "ada"))
    assert result.reason_code == "approvals_missing", "the pull request did not bring this commit"
    assert "no merged pull request is known" in result.message


def test_a_later_pull_request_approves_nothing_that_it_did_not_bring(version: Version) -> None:
    """A commit was pushed to main past all review, and a branch was brought up to date with it before its merge."""
    place, hub, repo = version.place, version.hub, version.repo
    base = str(place.commit("work", {"n": b"n"}))
    version.number = hub.open_pull(repo, title="More", head="work", base="main", actor=user("carl"))
    sneaked = place.version("3.0.0")
    assert base != sneaked
    hub.bare(repo).git("update-ref", "refs/heads/work", merged(version, sneaked, base))
    state = place.sandbox.state
    head = hub.bare(repo).sha("refs/heads/work")
    state.put("pull", repo, version.number, hub.pull(repo, version.number) | {"head_sha": head})
    version.review("bob")
    hub.merge_pull(repo, version.number, user("carl"))
    state.put("pull", repo, version.number, hub.pull(repo, version.number) | {"base_sha": version.commit})
    with place.forge() as forge:
        assert [one.number for one in forge.merged_by(sneaked)] == [version.number], "GitHub lists it all the same"
    place.drop(["delay@v3.0.0"])
    place.tag("3.0.0", sneaked, run=RUN, statement=stating())
    stolen = {"version": "3.0.0", "tag": "delay@v3.0.0", "commit": sneaked, "pull_request": version.number}
    place.record(place.released(msgspec.structs.replace(version.release, **stolen), stating()))
    wish = {"task": "promote", "model": "delay", "version": "3.0.0"}
    assert place.run(place.dispatch(wish | {"stage": "staging"}, "ada")).decision == "done"
    result = place.run(place.dispatch(wish | {"stage": "prod"}, "ada"))
    assert result.reason_code == "approvals_missing", result


def merged(version: Version, main: str, work: str) -> str:
    """A commit of both."""
    who = {f"GIT_{who}_{what}": "c@x.test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    words = ("commit-tree", f"{main}^{{tree}}", "-p", work, "-p", main, "-m", "Bring up to date")
    return version.hub.bare(version.repo).git(*words, env=who).text.strip()


def test_without_a_record_only_what_needs_none_is_met(version: Version) -> None:
    """As other tools' versions have none: what binds the gate's check to them is not known either."""
    version.record(None, f"releases/delay/{VERSION}.json")
    result = version.place.ask(f"/promote delay@v{VERSION} prod")
    told = version.place.replies()[-1]
    assert result.reason_code == "check_missing"
    assert "has no pushed image" in told
    assert "has no attestation" in told
    assert "approvals" not in told


def test_a_rollback_asks_for_the_branch_alone(version: Version) -> None:
    place = version.place
    assert version.promote().decision == "done"
    version.record(None, f"releases/delay/{VERSION}.json")  # a model without any record may have versions without
    place.commit(
        "main", {"trackside.yaml": POLICY.replace(b"approvals: 1", b"approvals: 0").split(b"        checks")[0]}
    )
    place.run(place.dispatch({"task": "promote", "model": "delay", "stage": "staging", "version": "1.1.0"}, "ada"))
    inputs = {"task": "promote", "model": "delay", "stage": "prod", "version": "1.1.0"}
    assert place.run(place.dispatch(inputs, "ada")).decision == "done"
    place.commit("main", {"trackside.yaml": POLICY})
    for kind in ("review", "check_run", "attestation"):
        version.forget(kind)
    back = place.run(place.dispatch({"task": "rollback", "model": "delay", "stage": "prod"}, "ada"))
    assert (back.decision, back.values["version"]) == ("done", VERSION)
    assert place.deployed()["delay/prod"][-1] == (back.values["tag"], "success")


def test_a_stage_may_take_versions_of_any_branch(version: Version) -> None:
    version.record(None, f"releases/delay/{VERSION}.json")
    version.place.version("3.0.0", "side")
    inputs = {"task": "promote", "model": "delay", "version": "3.0.0"}
    assert version.place.run(version.place.dispatch(inputs | {"stage": "lab"}, "ada")).decision == "done"
    refused = version.place.run(version.place.dispatch(inputs | {"stage": "staging"}, "ada"))
    assert refused.reason_code == "not_default_branch"
