"""What a comment asks of plan and admit, over real HTTP: read again each time, bound to its commit, experiments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from plan_samples import FILES
from test_plan_stage import ADA, NEW_LR, SAMPLE, Place, check, comment, dispatch, kinds, policy, shown

from conftest import user
from sandbox_client import add_run
from trackside.documents.admission import Admission
from trackside.errors import Refused
from trackside.event.model import DispatchEvent
from trackside.forge.operations import CancelRun, React, UpsertCheck, UpsertComment
from trackside.plan.admit import admit
from trackside.plan.stage import Planned, plan_event
from trackside.report.marker import marker
from trackside.sandbox.bus import HookEvent
from trackside.sandbox.server import Sandbox
from trackside.system.clock import SystemClock

MALLORY = user("mallory")


class Later(SystemClock):
    """The machine's clock, some time ahead."""

    ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class World(Place):
    """The sample project with `train.on: command`; people comment, later jobs read it again."""

    clock: Later

    def say(self, number: int, body: str, who: dict[str, object] = ADA, *, wait: float = 2) -> str:
        self.clock.ahead += timedelta(seconds=wait)
        return str(self.sandbox.hub.add_comment(self.repo, number, body, who)["id"])

    def asked(self, number: int, comment: str) -> Planned:
        inputs = {"pull-request": str(number), "comment": comment}
        event = DispatchEvent(
            name="workflow_dispatch", ref="refs/heads/main", sha="0" * 40, workflow="w", inputs=inputs
        )
        return plan_event(event, self.ports(), report=shown)

    def ask(self, number: int, body: str, who: dict[str, object] = ADA) -> Planned:
        return self.asked(number, self.say(number, body, who))

    def admit(self, planned: Planned, **more: str) -> Admission:
        return admit({**dispatch(planned).inputs, **more}, self.ports(), actor="github-actions[bot]")

    def fork(self) -> int:
        fork = self.sandbox.seed.fork(self.repo, "mallory")
        self.sandbox.hub.commit_folder(fork, "gift", dict(NEW_LR), "gift", MALLORY)
        made: int = self.sandbox.hub.open_pull(self.repo, title="G", head="mallory:gift", base="main", actor=MALLORY)
        return made


@pytest.fixture
def place(sandbox: Sandbox, repo: str, tmp_path: Path) -> Iterator[World]:
    events: list[HookEvent] = []
    sandbox.hub.bus.subscribe(lambda hook: events.append(hook) if hook.repo == repo else None)
    made = World(sandbox, repo, tmp_path, events)
    made.clock = Later()
    before, sandbox.hub.clock = sandbox.hub.clock, made.clock
    made.commit("main", {**SAMPLE, **policy("train: {on: command}\n")})
    yield made
    sandbox.hub.clock = before


def answered(planned: Planned, code: str) -> str:
    """Refused with a reaction and a reply, and nothing else; the reply."""
    assert (planned.refused, planned.reason_code, planned.training) == (True, code, []), planned
    assert kinds(planned) == ["React", "UpsertComment"]
    react = planned.operations[0]
    assert isinstance(react, React)
    assert (react.content, react.instead_of) == ("confused", "rocket")
    return comment(planned)


def test_a_command_starts_what_nothing_else_may(place: World) -> None:
    number = place.pull()
    assert place.plan(number).plan.models[0].reason_code == "command_only"
    planned = place.ask(number, "/train")
    assert planned.training == ["delay"]
    assert kinds(planned) == ["UpsertComment", "UpsertCheck", "DispatchWorkflow"]
    inputs = dispatch(planned).inputs
    said = place.sandbox.state.list("comment", place.repo)[-1]["id"]
    assert (inputs["comment"], inputs["overrides"]) == (str(said), "{}")
    made = place.admit(planned)
    assert (made.actor, made.experiment, made.reusable) == ("ada", False, True)
    by_hand = DispatchEvent(
        name="workflow_dispatch", ref="r", sha="0" * 40, workflow="w", inputs={"pull-request": str(number)}
    )
    alone = plan_event(by_hand, place.ports(), report=shown)
    assert alone.plan.models[0].reason_code == "command_only", "without a comment the policy alone counts"


def test_an_event_does_not_talk_over_the_run_that_somebody_asked_for(place: World) -> None:
    number = place.pull()
    planned = place.ask(number, "/train")
    place.ports().forge.apply(planned.operations[:2])
    title = dispatch(planned).inputs["title"]
    run = add_run(place.sandbox, place.repo, status="in_progress", conclusion=None, display_title=title)
    assert place.plan(number, "labeled", label={"name": "bug"}).operations == []
    place.sandbox.state.put(
        "run", place.repo, run, place.sandbox.state.get("run", place.repo, run) | {"status": "completed"}
    )
    assert kinds(place.plan(number, "reopened")) == ["UpsertComment", "UpsertCheck"]


def test_a_draft_is_trained_when_somebody_asks(place: World) -> None:
    number = place.pull(draft=True)
    assert place.plan(number).plan.models[0].reason_code == "draft"
    assert place.ask(number, "/train").training == ["delay"]


def test_a_fork_is_trained_on_a_maintainers_word_about_its_commit(place: World) -> None:
    number = place.fork()
    head = place.sandbox.hub.pull(place.repo, number)["head_sha"]
    answered(place.ask(number, "/train"), "sha_missing")
    answered(place.ask(number, f"/train sha={head}", MALLORY), "permission_missing")
    planned = place.ask(number, f"/train sha={head[:8]}")
    assert planned.training == ["delay"]
    made = place.admit(planned)
    assert (made.actor, made.reusable, made.subject.head_repository) == ("ada", False, "mallory/" + place.repo[5:])
    assert check(planned).head_sha == head, "its result decides the check"
    with pytest.raises(Refused) as told:
        admit(
            {k: v for k, v in dispatch(planned).inputs.items() if k != "comment"},
            place.ports(),
            actor="github-actions[bot]",
        )
    assert told.value.reason_code == "fork"


def test_parameters_make_an_experiment_beside_the_report(place: World) -> None:
    number = place.pull()
    plain = place.ask(number, "/train")
    planned = place.ask(number, "/train delay train.lr=0.05 months=6")
    (plan,) = planned.plan.models
    assert (plan.decision, plan.overrides) == ("train", {"train.lr": 0.05, "months": 6})
    assert plan.input_digest != plain.plan.models[0].input_digest
    assert kinds(planned) == ["UpsertComment", "DispatchWorkflow"], "an experiment decides no check"
    body = comment(planned)
    assert body.startswith(marker("delay", experiment=True))
    assert "`train.lr=0.05`" in body
    assert "comment of ada" in body
    inputs = dispatch(planned).inputs
    assert inputs["title"].endswith(", experiment")
    assert json.loads(inputs["overrides"]) == {"train.lr": 0.05, "months": 6}
    made = place.admit(planned)
    assert (made.experiment, made.reusable, made.overrides) == (True, False, {"train.lr": 0.05, "months": 6})
    back = place.ask(number, "/train train.lr=0.1")
    assert back.training == ["delay"], "also with the base's own values: who asks for a run gets one"


def test_a_wrong_parameter_is_answered_with_what_was_meant(place: World) -> None:
    number = place.pull()
    reply = answered(place.ask(number, "/train trian.lr=1"), "override_unknown")
    assert "did you mean" in reply
    assert "train.lr" in reply
    answered(place.ask(number, "/train train.lr=fast"), "override_type")
    answered(place.ask(number, "/train train.lr=1 nope:train.lr=1"), "override_unknown")


def test_experiments_and_the_ordinary_run_leave_each_other_alone(place: World) -> None:
    number = place.pull()
    plain, tried = place.ask(number, "/train"), place.ask(number, "/train train.lr=0.05")
    for one in (plain, tried):
        add_run(
            place.sandbox,
            place.repo,
            status="in_progress",
            conclusion=None,
            display_title=dispatch(one).inputs["title"],
        )
    for body in ("/train", "/train train.lr=0.05", "/train train.lr=0.07"):
        assert not [one for one in place.ask(number, body).operations if isinstance(one, CancelRun)], body
    place.commit("topic", {"src/train.py": b"newer\n"})
    ended = [one for one in place.ask(number, "/train").operations if isinstance(one, CancelRun)]
    assert len(ended) == 2, "a newer head ends both"


def test_report_shows_what_is_recorded_and_trains_nothing(place: World) -> None:
    number = place.pull()
    reply = answered(place.ask(number, "/report"), "not_trained")
    assert "No recorded run answers these inputs" in reply
    place.sandbox.hub.set_role(place.repo, "tri", "triage")
    place.record(place.ask(number, "/train"))
    planned = place.ask(number, "/report delay", user("tri"))
    assert kinds(planned) == ["UpsertComment", "UpsertCheck"]
    assert comment(planned).startswith(marker("delay"))
    assert (check(planned).conclusion, planned.refused) == ("success", False)
    assert place.ask(number, "/train").plan.models[0].decision == "reuse"


def test_races_between_comment_plan_and_admission(place: World) -> None:
    """Whatever changes between two jobs, nothing runs that nobody approved."""
    ran = 0
    hub = place.sandbox.hub
    number, other = place.pull(), place.pull("other", {"src/train.py": b"o\n"})

    def refused(planned: Planned, code: str) -> None:
        nonlocal ran
        assert (planned.refused, planned.reason_code, planned.training) == (True, code, []), planned
        assert not [one for one in planned.operations if isinstance(one, UpsertCheck)]
        ran += 1

    def not_admitted(planned: Planned, code: str, **more: str) -> None:
        nonlocal ran
        with pytest.raises(Refused) as told:
            place.admit(planned, **more)
        assert told.value.reason_code == code, told.value
        ran += 1

    said = place.say(number, "/train")
    place.commit("topic", {"src/train.py": b"same second\n"})
    refused(place.asked(number, said), "head_moved")
    said = place.say(number, f"/train sha={hub.pull(place.repo, number)['head_sha'][:10]}")
    place.commit("topic", {"src/train.py": b"pushed between comment and plan\n"})
    refused(place.asked(number, said), "head_moved")
    planned = place.ask(number, "/train")
    place.commit("topic", {"src/train.py": b"pushed between plan and admission\n"})
    not_admitted(planned, "head_moved")
    planned = place.ask(number, "/train")
    moved = place.ask(other, "/train")
    not_admitted(planned, "identity_mismatch", comment=dispatch(moved).inputs["comment"])
    not_admitted(planned, "identity_mismatch", overrides='{"train.lr": 9}')
    not_admitted(planned, "identity_mismatch", comment="7; id")
    not_admitted(planned, "comment_gone", comment="123456789")
    not_admitted(planned, "identity_mismatch", comment=place.say(number, "/report"))
    not_admitted(planned, "identity_mismatch", comment=place.say(number, "nice"))
    not_admitted(planned, "permission_missing", comment=place.say(number, "/train", MALLORY))
    not_admitted(planned, "identity_mismatch", comment=place.say(number, "/train", user("github-actions[bot]")))
    refused(place.asked(number, place.say(other, "/train")), "identity_mismatch")
    refused(place.asked(number, "0"), "identity_mismatch")
    refused(place.asked(number, place.say(number, "/promote delay staging")), "identity_mismatch")
    closed = place.say(other, "/train")
    hub.set_state(place.repo, other, "closed", ADA)
    refused(place.asked(other, closed), "pull_closed")
    said = dispatch(planned).inputs["comment"]
    doc = hub.comment(place.repo, int(said))
    stamp = (place.clock.now() + timedelta(seconds=9)).strftime("%Y-%m-%dT%H:%M:%SZ")
    edited = doc | {"body": "/train train.lr=0.5", "updated_at": stamp}
    place.sandbox.state.put("comment", place.repo, said, edited)
    not_admitted(planned, "comment_edited")
    refused(place.asked(number, said), "comment_edited")
    place.sandbox.state.put("comment", place.repo, said, doc)
    hub.set_role(place.repo, "ada", "read")
    not_admitted(planned, "permission_missing")
    refused(place.asked(number, said), "permission_missing")
    hub.set_role(place.repo, "ada", "write")
    place.clock.ahead += timedelta(hours=25)
    planned_late = place.ask(number, "/train")
    assert planned_late.training == ["delay"], "a new comment speaks for itself"
    print(f"{ran} races")
    assert ran == 19


def test_an_edit_of_the_policy_in_the_pull_request_gives_nobody_a_right(place: World) -> None:
    text = FILES["trackside.yaml"].encode() + b"commands: {train: {permission: read}}\ntrain: {on: pull_request}\n"
    number = place.pull(files={**NEW_LR, "trackside.yaml": text})
    answered(place.ask(number, "/train", MALLORY), "permission_missing")


def test_the_reply_names_nobody_and_escapes_what_was_typed(place: World) -> None:
    number = place.pull()
    planned = place.ask(number, "/train '@octo/team<img src=x>'=1")
    (reply,) = [one for one in planned.operations if isinstance(one, UpsertComment)]
    assert "@octo" not in reply.body
    assert "<img" not in reply.body
    assert any(isinstance(one, React) for one in planned.operations)
