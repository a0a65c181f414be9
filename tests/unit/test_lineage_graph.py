"""The graph: built whatever the order of the records, walked both ways, and asked what learnt from data."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage_samples import LOCK, commit, data, holds, image, md5, model_file, records, release, run, sha256, staged

from trackside.documents.run import Artifact, Dependency, Restore, Run, Source
from trackside.errors import ConfigError, NotFound
from trackside.lineage.graph import Deployed, Graph, Records, Registered, build
from trackside.lineage.purpose import learnt
from trackside.lineage.start import of_commit, of_digests, of_path, of_run, of_version
from trackside.lineage.trace import Answer, answer, backward, forward

SEEN = {"orders": 0, "walks": 0}


def uses(found: Answer) -> dict[str, str]:
    return {row.version.name: row.use for row in found.rows}


@settings(max_examples=200, deadline=None)
@given(records(), st.randoms(use_true_random=False))
def test_the_order_of_records_does_not_matter(given_records: Records, dice: random.Random) -> None:
    def mixed(rows: object) -> list[object]:
        made = list(rows)  # type: ignore[call-overload]
        dice.shuffle(made)
        return made

    other = Records(**{name: mixed(getattr(given_records, name)) for name in given_records.__dataclass_fields__})
    one, two = build(given_records), build(other)
    assert (one.nodes, one.edges, one.same) == (two.nodes, two.edges, two.same)
    assert list(one.nodes) == sorted(one.nodes)
    SEEN["orders"] += 1


@settings(max_examples=200, deadline=None)
@given(records())
def test_what_leads_to_something_and_what_comes_of_it_are_the_same_walks(given_records: Records) -> None:
    graph = build(given_records)
    ahead = {name: forward(graph, [name]) for name in graph.nodes}
    behind = {name: backward(graph, [name]) for name in graph.nodes}
    for one in graph.nodes:
        assert one in forward(graph, behind[one])
        assert one in backward(graph, ahead[one])
        for two in graph.nodes:
            assert (two in ahead[one]) == (one in behind[two])
            assert ahead[one].get(two) == behind[two].get(one)  # as many hops either way
    assert {edge.source for edge in graph.edges} | {edge.target for edge in graph.edges} <= set(graph.nodes)
    SEEN["walks"] += 1


@settings(max_examples=200, deadline=None)
@given(records())
def test_an_answer_is_what_a_plain_search_finds(given_records: Records) -> None:
    """Against a search that follows the records themselves, not the graph."""
    graph = build(given_records)
    for n in range(6):
        content = md5(f"c{n}")
        found = answer(of_digests(graph, [content], {}))
        reached = {(one.model, one.id) for one in given_records.runs if content in {d.digest for d in one.dependencies}}
        while True:
            outputs = set()
            for one in given_records.runs:
                went_in = {d.digest for d in one.dependencies}
                for made in one.artifacts if (one.model, one.id) in reached else ():
                    if not went_in & {made.digest, made.dvc_digest}:  # unchanged: it held nothing new
                        outputs |= {made.digest, made.dvc_digest}
            more = {
                (one.model, one.id)
                for one in given_records.runs
                if outputs & {d.digest for d in one.dependencies}
                or (one.restored_from != one.id and (one.model, one.restored_from) in reached)
            }
            if more <= reached:
                break
            reached |= more
        versions = {f"{r.model}@v{r.version}" for r in given_records.releases if (r.model, r.run) in reached}
        assert {name for name, use in uses(found).items() if use == "learnt"} == versions
        only = {f"{model}/{name}" for model, name in reached}
        only -= {f"{r.model}/{r.run}" for r in given_records.releases}
        assert {node.name for node in found.runs_only} == only


def test_how_many_were_generated() -> None:
    print(f"{SEEN['orders']} orders, {SEEN['walks']} walks")
    assert min(SEEN.values()) >= 200


def world() -> Graph:
    """`fuse` reads what `delay` made; of three runs of `delay` one is a version's, one an experiment, one failed."""
    return build(
        Records(
            runs=[
                run("aa", data("data/raw.csv", "raw 1")),
                run("ab", data("data/raw.csv", "raw 2"), experiment=True),
                run("ac", data("data/raw.csv", "raw 1"), status="failed", made=[]),
                run("ba", data("in/delay.bin", "weights of aa"), data("own.csv", "own"), model="fuse"),
            ],
            releases=[
                release("1.0.0", "aa", pull_request=12, model_digest=sha256("weights of aa")),
                release("1.0.0", "ba", model="fuse"),
                release("1.1.0", "ab"),
            ],
            images=[image("1.0.0", "aa"), image("1.0.0", "ba", model="fuse")],
            holdings=[holds("1.0.0", "staging", 1, until="delay#staging#3"), holds("1.0.0", "prod", 2)],
            deployed=[
                Deployed(
                    repository="",
                    branch="main",
                    file="k.yaml",
                    digests=frozenset({image("1.0.0", "ba", model="fuse").digest}),
                )
            ],
        )
    )


def test_which_versions_learnt_from_data() -> None:
    found = answer(of_digests(world(), [md5("raw 1")], {}))
    assert uses(found) == {"delay@v1.0.0": "learnt", "fuse@v1.0.0": "learnt"}
    deployed, held = found.rows
    assert (deployed.version.name, [one.facts["file"] for one in deployed.deployed]) == ("fuse@v1.0.0", ["k.yaml"])
    assert (held.now, held.before, len(held.images)) == (("delay#prod",), ("delay#staging",), 1)
    assert [node.name for node in found.runs_only] == ["delay/ac"]
    assert found.doubts == ()


def test_where_a_version_came_from_also_by_way_of_another_model() -> None:
    found = answer(of_version(world(), "fuse", "1.0.0"))
    came = set(found.came)
    assert {"run:fuse/ba", f"data:{md5('own')}", "run:delay/aa", f"data:{md5('raw 1')}"} <= came
    assert f"data:{md5('raw 2')}" not in came
    assert {"commit:" + commit("aa"), "commit:" + commit("ba")} <= came
    assert uses(answer(of_version(world(), "delay", "1.0.0"))) == {"delay@v1.0.0": "learnt", "fuse@v1.0.0": "learnt"}


def test_commits_and_runs_are_found_by_their_beginning() -> None:
    graph = world()
    assert uses(answer(of_commit(graph, commit("ab")[:7]))) == {"delay@v1.1.0": "learnt"}
    assert uses(answer(of_run(graph, "ab"))) == {"delay@v1.1.0": "learnt"}
    assert of_run(graph, "fuse/b").nodes == ("run:fuse/ba",)
    with pytest.raises(ConfigError, match="fits 3 of them"):
        of_run(graph, "a")
    for wrong in ("zz", "delay/ba", "nothing"):
        with pytest.raises(NotFound):
            of_run(graph, wrong)
    with pytest.raises(NotFound):
        of_commit(graph, "0123456789")
    with pytest.raises(ConfigError, match="is no commit"):
        of_commit(graph, "main")
    with pytest.raises(NotFound):
        of_version(graph, "delay", "9.0.0")


def test_one_content_has_two_digests() -> None:
    """Another model read the model file as git tracks it, by sha256; DVC knows the same file by md5."""
    code = Dependency(path="m.bin", kind="code", digest=sha256("weights of aa"))
    graph = build(
        Records(runs=[run("aa"), run("ba", code, model="fuse")], releases=[release("1.0.0", "ba", model="fuse")])
    )
    for digest in (md5("weights of aa"), sha256("weights of aa")):
        found = answer(of_digests(graph, [digest], {}))
        assert uses(found) == {"fuse@v1.0.0": "learnt"}
        assert [node.name for node in found.runs_only] == ["delay/aa"]


def test_data_that_only_an_evaluation_read_was_not_learnt_from() -> None:
    raw, test = data("data/raw.csv", "raw"), data("data/test.csv", "test")
    graph = build(Records(runs=[staged("aa", raw, test)], releases=[release("1.0.0", "aa")]))
    assert uses(answer(of_digests(graph, [md5("raw")], {}))) == {"delay@v1.0.0": "learnt"}
    assert uses(answer(of_digests(graph, [md5("test")], {}))) == {"delay@v1.0.0": "judged"}


def test_where_a_lock_file_does_not_tell_all_that_was_read_counts_as_learnt() -> None:
    raw, test = data("data/raw.csv", "raw"), data("data/test.csv", "test")
    good = staged("aa", raw, test)
    assert learnt(good) == {"data/raw.csv", "data/train.csv", "train.py", "model.bin"}
    unsure: list[Run] = [
        msgspec.structs.replace(good, restore=Restore()),
        msgspec.structs.replace(good, restore=Restore(dvc_lock="stages: [")),
        msgspec.structs.replace(
            good, restore=Restore(dvc_lock=LOCK.replace("path: model.bin", "path: sub/model.bin", 1))
        ),
        msgspec.structs.replace(good, restore=Restore(dvc_lock=LOCK.replace("data/raw.csv", "raw.csv"))),
        msgspec.structs.replace(good, restore=Restore(dvc_lock=LOCK.replace("  evaluate:", "  other:"))),
        msgspec.structs.replace(good, restore=Restore(dvc_lock=LOCK.replace("metrics.json", "model.bin"))),
        msgspec.structs.replace(good, artifacts=[]),
        msgspec.structs.replace(good, stages=[]),
        msgspec.structs.replace(good, dependencies=[test]),
    ]
    for one in unsure:
        assert learnt(one) is None
        graph = build(Records(runs=[one], releases=[release("1.0.0", "aa")]))
        assert uses(answer(of_digests(graph, [md5("test")], {}))) == {"delay@v1.0.0": "learnt"}
    print(f"{len(unsure)} lock files that do not tell")


def test_data_in_between_goes_into_the_model_of_its_own_run() -> None:
    between = Artifact(path="data/train.csv", role="data", digest=sha256("t"), size=1, dvc_digest=md5("t"))
    tables = Artifact(path="metrics.csv", role="data", digest=sha256("m"), size=1, dvc_digest=md5("m"))
    raw, test = data("data/raw.csv", "raw"), data("data/test.csv", "test")
    one = staged("aa", raw, test, made=[model_file("w"), between, tables])
    graph = build(Records(runs=[one], releases=[release("1.0.0", "aa")]))
    assert uses(answer(of_digests(graph, [md5("t")], {}))) == {"delay@v1.0.0": "learnt"}
    assert uses(answer(of_digests(graph, [md5("m")], {}))) == {"delay@v1.0.0": "judged"}
    assert uses(answer(of_digests(graph, [sha256("w")], {}))) == {"delay@v1.0.0": "learnt"}


FOLDER = md5("listing") + ".dir"
OTHER = md5("another listing") + ".dir"
LISTED = {FOLDER: {"ada.png": md5("ada"), "sub/bob.png": md5("bob")}, OTHER: {"bob.png": md5("bob")}}


def folders() -> Graph:
    one, two = data("photos", "", digest=FOLDER), data("photos", "", digest=OTHER)
    return build(
        Records(runs=[run("aa", one), run("ab", two)], releases=[release("1.0.0", "aa"), release("1.1.0", "ab")])
    )


def test_a_file_of_a_tracked_folder_is_found_where_the_listing_is_known() -> None:
    found = answer(of_digests(folders(), [md5("ada")], LISTED))
    assert (uses(found), found.doubts) == ({"delay@v1.0.0": "learnt"}, ())
    assert uses(answer(of_path(folders(), "photos/ada.png", LISTED))) == {"delay@v1.0.0": "learnt"}
    assert uses(answer(of_path(folders(), "photos/sub", LISTED))) == {"delay@v1.0.0": "learnt"}
    both = {"delay@v1.0.0": "learnt", "delay@v1.1.0": "learnt"}
    assert uses(answer(of_digests(folders(), [md5("bob")], LISTED))) == both
    assert uses(answer(of_path(folders(), "photos", {}))) == both
    found = answer(of_digests(folders(), [FOLDER], {}))
    assert (uses(found), found.doubts) == ({"delay@v1.0.0": "learnt"}, ())


def test_where_a_listing_is_not_known_the_answer_says_so() -> None:
    known = {FOLDER: LISTED[FOLDER]}
    for start in (of_digests(folders(), [md5("ada")], known), of_path(folders(), "photos/ada.png", known)):
        found = answer(start)
        assert uses(found) == {"delay@v1.0.0": "learnt", "delay@v1.1.0": "possible"}
        (doubt,) = found.doubts
        assert OTHER in doubt
        assert "dvc fetch" in doubt
    found = answer(of_digests(folders(), [sha256("ada")], LISTED))  # listings name files by md5 alone
    assert (uses(found), found.start.known) == ({"delay@v1.0.0": "possible", "delay@v1.1.0": "possible"}, False)
    assert "give the file's md5" in found.doubts[0]
    found = answer(of_digests(folders(), [sha256("ada"), md5("ada")], LISTED))
    assert (uses(found), found.doubts) == ({"delay@v1.0.0": "learnt"}, ())


def test_folders_of_git_and_folders_that_runs_made() -> None:
    """A path in a folder of git leads to it; what a run made on the way is no data that came in."""
    code = Dependency(path="src", kind="code", digest=sha256("src"), files=3)
    prepared = Artifact(path="data/prepared", role="data", digest=sha256("p"), size=1, dvc_digest=OTHER)
    one = run("aa", code, data("data/raw.csv", "raw"), made=[model_file("w"), prepared])
    graph = build(Records(runs=[one], releases=[release("1.0.0", "aa")]))
    found = answer(of_path(graph, "src/clean.py", {}))
    assert (uses(found), found.doubts) == ({"delay@v1.0.0": "learnt"}, ())
    assert "folder that git tracks" in found.start.notes[0]
    found = answer(of_digests(graph, [md5("clean.py")], {}))
    assert (found.rows, found.doubts) == ((), ())
    assert found.start.notes == ("of folders that git tracks (src) files are not recorded: give the file's path",)
    assert uses(answer(of_path(graph, "data/prepared/x", {}))) == {"delay@v1.0.0": "possible"}
    assert uses(answer(of_digests(graph, [md5("bob")], LISTED))) == {"delay@v1.0.0": "learnt"}


def test_data_with_a_digest_of_its_own_is_found_whatever_folders_there_are() -> None:
    one, two = data("photos", "", digest=FOLDER), data("raw.csv", "raw")
    graph = build(Records(runs=[run("aa", one), run("ab", two)], releases=[release("1.0.0", "ab")]))
    found = answer(of_digests(graph, [md5("raw")], {}))
    assert (uses(found), found.doubts) == ({"delay@v1.0.0": "learnt"}, ())
    assert found.start.notes[0].startswith("whether a copy lies in a tracked folder was not looked at")


def test_versions_without_a_record_of_their_run_cannot_be_told() -> None:
    shortened = run("ad", log_tail="…\ntrackside: dependencies shortened: the run document was above 1,048,576 bytes")
    graph = build(
        Records(
            runs=[run("aa", data("d", "raw")), shortened],
            releases=[release("1.0.0", "aa"), release("1.1.0", "gone"), release("1.2.0", "ad")],
            registered=[Registered(model="old", version="0.1.0", tag="old@v0.1.0", commit=commit("x"))],
        )
    )
    found = answer(of_digests(graph, [md5("raw")], {}))
    unknown = dict.fromkeys(("delay@v1.1.0", "delay@v1.2.0", "old@v0.1.0"), "possible")
    assert uses(found) == {"delay@v1.0.0": "learnt", **unknown}
    assert [one.partition(":")[0] for one in found.doubts] == [
        "no run is recorded for old@v0.1.0",
        "the record is gone of run delay/gone",
        "the record holds only the first 500 inputs of run delay/ad",
    ]
    assert answer(of_version(graph, "delay", "1.0.0")).doubts == ()


def test_digests_that_are_none_are_refused_and_unknown_ones_are_told() -> None:
    for wrong in ("md5:123", "sha256:" + "0" * 32, "md5:" + "g" * 32):
        with pytest.raises(ConfigError, match="no whole digest"):
            of_digests(world(), [wrong], {})
    found = answer(of_digests(world(), [md5("never seen")], {}))
    assert (found.rows, found.runs_only, found.start.known, found.doubts) == ((), (), False, ())


def test_an_open_pull_request_is_found_by_its_head() -> None:
    source = Source(repository="acme/flights", commit="1" * 40, head_commit="2" * 40, pull_request=9)
    graph = build(Records(runs=[run("aa", source=source)]))
    assert [one.name for one in answer(of_commit(graph, "22222")).runs_only] == ["delay/aa"]
    assert {"pull:9", f"commit:{'2' * 40}", f"commit:{'1' * 40}"} <= set(answer(of_run(graph, "aa")).came)
