"""What goes wrong with a registry, each as harm done to two released versions; see `test_models_doctor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from doctor_world import World
from registry_world import NOW

from conftest import user
from trackside.registry.release import waiting
from trackside.registry.tags import message

LONG_AGO = "2020-01-01T00:00:00Z"


@dataclass(frozen=True, kw_only=True)
class Case:
    """`harm` is done, then a clone is made with `flags`, then `here` is done to the clone.

    `says` is what each command answers before any repair: a value, or the reason code of its error. `found` are the
    codes of the doctor's problems, `noted` those of its notes. `fix` says how it is repaired: `fix`, `force` (`--fix`
    alone leaves it), `rerun` (a job is started, and brings it to its end), or `person` (nothing is done, but for
    `byhand`). Then `holder` is in the stage prod, and `gets` what is fetched.
    """

    name: str
    says: dict[str, str]
    harm: Callable[[World], object] = lambda world: None
    flags: tuple[str, ...] = ()
    here: Callable[[World], object] = lambda world: None
    found: frozenset[str] = frozenset()
    noted: frozenset[str] = frozenset()
    fix: str = "fix"
    holder: str = "v1.0.1"
    gets: str = "second"
    byhand: Callable[[World], object] = lambda world: None

    def suffer(self, world: World) -> None:
        self.harm(world)
        world.fresh(*self.flags)
        self.here(world)


def stage(world: World, name: str, version: str, when: datetime) -> None:
    text = message(f"Give a stage to v{version}", {"Version": version, "Actor": "ada"})
    world.tagged(name, world.commits[version == "1.0.1"], text, when)


def lightweight(world: World) -> None:
    world.forced("delay@v1.0.1", world.commits[1])


def moved(world: World) -> None:
    world.tagged("delay@v1.0.1", world.commits[0], "delay 1.0.1\n", NOW)


def rewritten(world: World) -> None:
    world.tagged("delay@v1.0.1", world.commits[1], "delay 1.0.1\n\nRun-Id: another\n", NOW)


def moved_here(world: World) -> None:
    world.git("tag", "--force", "--annotate", "--message", "mine", "delay@v1.0.1", world.commits[0])


def deleted_tag(world: World, *, draft: bool) -> None:
    """A tag deleted at the server; GitHub makes a draft of its release."""
    world.gone("delay@v1.0.1")
    if draft:
        assert world.api("PATCH", f"/releases/{world.record('1.0.1').release_id}", {"draft": True}).ok


def deleted_release(world: World) -> None:
    assert world.api("DELETE", f"/releases/{world.record('1.0.1').release_id}").status_code == 204


def remade_release(world: World) -> None:
    """The release of a version, deleted and made again by hand with the very same files."""
    old = world.record("1.0.1")
    held = {one.name: world.at.asset(one.name, old.release_id) for one in old.assets}
    deleted_release(world)
    made = world.api("POST", "/releases", {"tag_name": old.tag, "name": "by hand"}).json()
    for name, data in held.items():
        world.sandbox.hub.add_asset(world.at.repo, made["id"], name, data, user("ada"))


def draft(world: World, tag: str, body: str) -> int:
    asked = {"tag_name": tag, "name": tag.replace("@v", " "), "body": body, "draft": True}
    return int(world.api("POST", "/releases", asked).json()["id"])


def asset(world: World, name: str, data: bytes | None, *, instead: bool) -> None:
    """A file of the release 1.0.1, `data` None: what an interrupted upload leaves; `instead` of the one there."""
    number = world.record("1.0.1").release_id
    if instead:
        (old,) = world.sandbox.state.list("asset", world.at.repo, release=number, name=name)
        world.sandbox.hub.delete_asset(world.at.repo, old["id"])
    world.sandbox.hub.add_asset(world.at.repo, number, name, data, user("ada"))


def unfinished(world: World, *, since: str = LONG_AGO, drafted: bool = False) -> None:
    """A job that was killed after its claim, or after its draft."""
    deleted_release(world)
    old = world.record("1.0.1")
    if drafted:
        draft(world, old.tag, waiting("delay", "1.0.1") + "\n<!-- trackside: job 7/register -->\n")
    world.write(msgspec.structs.replace(old, state="claimed", release_id=0, url="", assets=[], created_at=since))


def behind(world: World) -> None:
    """The data branch moves on after the clone was made."""
    world.sandbox.hub.commit_folder(world.at.repo, "trackside-data", {"x": b"x"}, "More", user("ada"))


RIGHT = {
    "list": "v1.0.1",
    "latest": "v1.0.1",
    "which": "v1.0.1",
    "get": "second",
    "promote": "promoted",
    "register": "1.0.2",
}
LACKS = RIGHT | dict.fromkeys(("list", "latest", "which", "get"), "registry_incomplete")
OPEN = {"which": "registry_ambiguous", "get": "registry_ambiguous"}
MOVED = dict.fromkeys(("latest", "which", "get", "promote"), "tag_moved")
UNTAGGED = {"list": "v1.0.0", "latest": "registry_ambiguous"}
UNKNOWN = {"latest": "registry_ambiguous"}
NO_FILES = {"get": "release_missing"}
OLDER = RIGHT | {"which": "v1.0.0", "get": "first"}

TAGS = [
    Case(name="nothing is wrong", says=RIGHT),
    Case(
        name="shallow checkout",
        flags=("--depth=1",),
        says=LACKS,
        found=frozenset({"clone_shallow", "clone_tagless"}),
    ),
    Case(name="tagless checkout", flags=("--no-tags",), says=LACKS, found=frozenset({"clone_tagless"})),
    Case(
        name="clone without data branch",
        flags=("--single-branch", "--branch=main"),
        says=RIGHT | {"get": "release_missing"},
        noted=frozenset({"clone_behind"}),
    ),
    Case(
        name="lightweight stage tag",
        harm=lambda world: world.forced("delay#prod#5", world.commits[0]),
        says=OLDER,
        holder="v1.0.0",
        gets="first",
        found=frozenset({"lightweight"}),
    ),
    Case(name="lightweight version tag", harm=lightweight, says=RIGHT | MOVED, found=frozenset({"lightweight"})),
    Case(
        name="clock of a tagger is years late",
        harm=lambda world: stage(world, "delay#prod#5", "1.0.0", datetime(2001, 1, 1, tzinfo=UTC)),
        says=OLDER,
        holder="v1.0.0",
        gets="first",
        noted=frozenset({"clock_disorder"}),
        fix="person",
    ),
    Case(
        name="two tags of one second",
        harm=lambda world: stage(world, "delay#prod#5", "1.0.0", NOW + timedelta(hours=4)),
        says=OLDER,
        holder="v1.0.0",
        gets="first",
        noted=frozenset({"clock_disorder"}),
        fix="person",
    ),
    Case(
        name="one number twice",
        harm=lambda world: stage(world, "delay#prod!#4", "1.0.1", NOW),
        says=RIGHT | {"which": "registry_ambiguous", "get": "registry_ambiguous"},
        found=frozenset({"counter_twice"}),
        fix="person",
        byhand=lambda world: stage(world, "delay#prod#9", "1.0.1", NOW),
    ),
    Case(
        name="tag moved by force here",
        here=moved_here,
        says=RIGHT | {"latest": "tag_moved", "which": "registry_ambiguous", "get": "registry_ambiguous"},
        found=frozenset({"tag_differs_here"}),
    ),
    Case(
        name="tag moved by force at the server",
        harm=moved,
        says=RIGHT | MOVED | OPEN,
        found=frozenset({"tag_moved", "stage_commit_differs"}),
        fix="force",
    ),
    Case(name="tag written anew", harm=rewritten, says=RIGHT | MOVED, found=frozenset({"tag_rewritten"}), fix="force"),
    Case(
        name="release without tag",
        harm=lambda world: deleted_tag(world, draft=False),
        says=RIGHT | OPEN | {"promote": "version_unknown"} | UNTAGGED,
        found=frozenset({"tag_missing", "stage_of_unregistered"}),
    ),
    Case(
        name="release without tag, a draft again",
        harm=lambda world: deleted_tag(world, draft=True),
        says=RIGHT | OPEN | {"promote": "version_unknown"} | UNTAGGED,
        found=frozenset({"tag_missing", "stage_of_unregistered", "release_unpublished"}),
    ),
    Case(name="stale copy of the data branch", here=behind, says=RIGHT, noted=frozenset({"clone_behind"})),
    Case(
        name="tag in the clone alone",
        here=lambda world: world.git("tag", "--annotate", "--message", "mine", "delay@v7.0.0", world.commits[0]),
        says=RIGHT | UNKNOWN | {"list": "v7.0.0"},
        found=frozenset({"tag_only_here"}),
        fix="person",
        byhand=lambda world: world.git("tag", "--delete", "delay@v7.0.0"),
    ),
    Case(
        name="tag of another tool",
        harm=lambda world: world.tagged("delay@v1.0.9", world.commits[1], "by hand\n", NOW),
        says=RIGHT | UNKNOWN | {"list": "v1.0.9", "register": "1.0.10"},
        found=frozenset({"tag_unknown"}),
        fix="person",
        byhand=lambda world: world.tagged("delay@v1.0.9!#9", world.commits[1], "out of use\n", NOW),
    ),
]
"""What happens to tags and clones."""

FILES = [
    Case(
        name="tag without release",
        harm=deleted_release,
        says=RIGHT | NO_FILES | {"promote": "release_missing"},
        found=frozenset({"release_missing"}),
        fix="rerun",
    ),
    Case(
        name="release made again",
        harm=remade_release,
        says=RIGHT | NO_FILES | {"promote": "release_missing"},
        found=frozenset({"release_renumbered"}),
    ),
    Case(
        name="draft left behind",
        harm=lambda world: draft(world, "delay@v1.0.7", waiting("delay", "1.0.7") + "\n<!-- trackside: job 7 -->\n"),
        says=RIGHT,
        found=frozenset({"draft_left"}),
    ),
    Case(
        name="second draft of a version",
        harm=lambda world: draft(world, "delay@v1.0.1", waiting("delay", "1.0.1")),
        says=RIGHT,
        found=frozenset({"draft_left"}),
    ),
    Case(
        name="draft of a person",
        harm=lambda world: draft(world, "delay@v2.0.0", "What is new: …"),
        says=RIGHT,
        noted=frozenset({"draft_left"}),
        fix="person",
    ),
    Case(
        name="release begun just now",
        harm=lambda world: unfinished(world, since=datetime.now(UTC).isoformat(), drafted=True),
        says=RIGHT | NO_FILES | {"promote": "release_missing"},
        noted=frozenset({"claim_unfinished"}),
        fix="person",
        gets="release_missing",
    ),
    Case(
        name="release never finished",
        harm=unfinished,
        says=RIGHT | NO_FILES | {"promote": "release_missing"},
        found=frozenset({"claim_unfinished"}),
        fix="rerun",
    ),
    Case(
        name="release never finished, with a draft",
        harm=lambda world: unfinished(world, drafted=True),
        says=RIGHT | NO_FILES | {"promote": "release_missing"},
        found=frozenset({"claim_unfinished"}),
        fix="rerun",
    ),
    Case(
        name="remnant of an upload",
        harm=lambda world: asset(world, "more.bin", None, instead=False),
        says=RIGHT,
        found=frozenset({"asset_starter"}),
    ),
    Case(
        name="remnant in place of a file",
        harm=lambda world: asset(world, "model.bin", None, instead=True),
        says=RIGHT | dict.fromkeys(("get", "promote"), "asset_missing"),
        found=frozenset({"asset_missing"}),
        fix="rerun",
    ),
    Case(
        name="file with other bytes",
        harm=lambda world: asset(world, "model.bin", b"secoNd", instead=True),
        says=RIGHT | dict.fromkeys(("get", "promote"), "content_mismatch"),
        found=frozenset({"asset_wrong"}),
        fix="rerun",
    ),
    Case(
        name="release without record",
        harm=lambda world: world.write(None, "1.0.1"),
        says=RIGHT | NO_FILES | UNKNOWN | {"promote": "release_missing"},
        found=frozenset({"record_missing"}),
    ),
    Case(
        name="damaged record",
        harm=lambda world: world.write(None, "1.0.1", '{"schema": "trackside.release/1"'),
        says=RIGHT | NO_FILES | {"promote": "document_invalid", "register": "document_invalid"},
        found=frozenset({"record_damaged"}),
    ),
]
"""What happens to releases, their files and records."""


def answers(world: World) -> dict[str, str]:
    """What each command says: a value, or the reason code of its error, which must come with a remedy."""
    made = {}
    for name, words in (
        ("list", ("list", "--json")),
        ("latest", ("which", "delay@latest")),
        ("which", ("which", "delay#prod")),
    ):
        said = world.say(*words)
        assert bool(said.code) == bool(said.reason), said
        assert not said.code or "fix:" in said.error, said.error
        made[name] = said.reason or (said.document["models"][0]["latest"] if name == "list" else said.out.strip())
    made["get"] = world.fetched()
    made["promote"] = world.promote("1.0.1", "live")
    made["register"] = world.register(world.commits[2])
    return made


def examine(world: World, case: Case) -> None:
    """The doctor finds what is wrong, repairs it, and finds nothing then."""
    sick = world.doctor()
    assert (sick.problems, sick.notes - {"clock_disorder"}) == (case.found, case.noted - {"clock_disorder"})
    assert sick.code == bool(case.found)
    assert all(one["what"] and one["remedy"] for one in sick.document["findings"])
    before = world.everything()
    fixed = world.doctor("--fix")
    assert [one for one in fixed.document["repairs"] if one["outcome"] == "failed"] == []
    started = world.rerun()
    assert (started, fixed.problems) == (["released"], {"claim_unfinished"}) if case.fix == "rerun" else not started
    if case.fix == "force":
        assert fixed.problems == case.found
        assert world.doctor("--fix", "--force").code == 0
    if case.fix == "person":
        assert (fixed.problems, fixed.document["repairs"], world.everything()) == (case.found, [], before)
        case.byhand(world)
    healthy = world.doctor("--fix") if case.fix in ("person", "rerun") else world.doctor()
    assert (healthy.code, healthy.problems) == (0, set())
    assert (world.say("which", "delay#prod").out.strip(), world.fetched()) == (case.holder, case.gets)
