"""Versions by name, and what is not trained because tag, record, statement, run and commit do not fit each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from reproduce_samples import Bench, changed, origin_of, run_path

from trackside.app import Context
from trackside.documents.codec import dump
from trackside.documents.release import Release
from trackside.documents.run import Run
from trackside.errors import ConfigError, DataError, NotFound, Refused
from trackside.reproduce.subject import find_subject

ZEROS = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, Run, Release]:
    root = tmp_path_factory.mktemp("world")
    bench, run = Bench.make(origin_of(root), root / "a")
    release = bench.release(run)
    bench.git("tag", "--annotate", "--message", "Give prod\n\nVersion: 1.0.0\n", "delay#prod#1", run.source.commit)
    bench.git("commit", "-q", "--allow-empty", "-m", "later")
    return bench, run, release


@pytest.fixture
def whole(world: tuple[Bench, Run, Release]) -> Any:
    """The world, as it was again after the test."""
    bench, _, _ = world
    refs = bench.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    yield world
    for line in bench.git("for-each-ref", "--format=%(refname)", "refs/tags", "refs/heads/trackside-data").splitlines():
        bench.git("update-ref", "-d", line)
    for line in refs:
        name, sha = line.split()
        bench.git("update-ref", name, sha)


def test_a_version_by_its_stage(world: tuple[Bench, Run, Release]) -> None:
    bench, run, _ = world
    before = bench.snapshot()
    code, made = bench.reproduce("delay#prod")
    assert (code, made.verdict) == (0, "identical")
    restored = made.restoration
    assert (restored.subject, restored.model, restored.version, restored.run) == (
        "delay@v1.0.0",
        "delay",
        "1.0.0",
        run.id,
    )
    assert bench.snapshot() == before
    assert bench.left() == []


def test_every_name_of_the_version_and_the_run_is_understood(world: tuple[Bench, Run, Release]) -> None:
    bench, run, _ = world
    context = Context(env=bench.env)
    for name in ("delay@v1.0.0", "delay@1.0.0", "delay@latest", "delay@greatest", run.id, run.id[:6]):
        found = find_subject(context, name, bench.clone, "")
        assert (found.run, found.commits[0]) == (run, run.source.commit), name
    for name, error in (
        ("delay@v9.0.0", NotFound),
        ("delay#dev", NotFound),
        ("other@v1.0.0", NotFound),
        ("delay@", ConfigError),
        ("ffffffffffff", ConfigError),
        ("../../etc/passwd", ConfigError),
        ("delay@v1.0.0;x", ConfigError),
    ):
        with pytest.raises(error):
            find_subject(context, name, bench.clone, "")


def _tag(text: str, *, at: str = "{commit}") -> Callable[[Bench, Run, Release], None]:
    def do(bench: Bench, run: Run, release: Release) -> None:
        words = text.format(run=run.id, statement=release.statement_digest.removeprefix("sha256:"), zeros="0" * 64)
        place = at.format(commit=run.source.commit)
        bench.git("tag", "--force", "--annotate", "--message", words, release.tag, place)

    return do


def _record(**fields: Any) -> Callable[[Bench, Run, Release], None]:
    def do(bench: Bench, run: Run, release: Release) -> None:
        other = msgspec.structs.replace(release, **fields)
        bench.commit_data({"releases/delay/1.0.0.json": dump(other).decode()})

    return do


def _run(**fields: Any) -> Callable[[Bench, Run, Release], None]:
    def do(bench: Bench, run: Run, release: Release) -> None:
        bench.commit_data({run_path(run): dump(changed(run, **fields)).decode()})

    return do


def _lightweight(bench: Bench, run: Run, release: Release) -> None:
    bench.git("tag", "--force", release.tag, run.source.commit)


def _gone(bench: Bench, run: Run, release: Release) -> None:
    bench.git("tag", "--delete", release.tag)


GOOD = "delay v1.0.0\n\nRun-Id: {run}\nStatement-Sha256: {statement}\n"
TAMPERED: dict[str, Callable[[Bench, Run, Release], None]] = {
    "tag moved": _tag(GOOD, at="HEAD"),
    "tag made anew": _tag(GOOD + "\nagain\n"),
    "tag of another run": _tag("delay v1.0.0\n\nRun-Id: 000000000000\nStatement-Sha256: {statement}\n"),
    "tag of another statement": _tag("delay v1.0.0\n\nRun-Id: {run}\nStatement-Sha256: {zeros}\n"),
    "tag lightweight": _lightweight,
    "tag gone": _gone,
    "record of another commit": _record(commit="0" * 40),
    "record of another model": _record(model_digest=ZEROS),
    "record of another statement": _record(statement_digest=ZEROS),
    "record with other metrics": _record(metrics=[]),
    "record of a draft": _record(state="draft"),
    "run with another score": _run(metrics=[{"name": "roc_auc", "value": 0.99, "file": "metrics.json"}]),
    "run with another model": _run(artifacts=[{"path": "model.bin", "role": "model", "digest": ZEROS, "size": 1}]),
    "run with other parameters": _run(params={"lr": 0.5}),
    "run with other inputs": _run(input_digest=ZEROS),
    "run of another commit": _run(source={"commit": "0" * 40}),
    "run with other data": _run(dependencies=[]),
    "run with another environment": _run(environment={"python": "3.1.4"}),
    "run that failed": _run(status="failed"),
    "run of another seed": _run(seeds={"seed": 8}),
}


def test_whatever_does_not_fit_is_not_trained(whole: tuple[Bench, Run, Release]) -> None:
    bench, run, release = whole
    refs = bench.git("for-each-ref", "--format=%(refname) %(objectname)")
    for name, tamper in TAMPERED.items():
        tamper(bench, run, release)
        with pytest.raises((Refused, DataError)) as caught:
            bench.reproduce("delay@v1.0.0")
        failed = name == "run that failed"
        assert (caught.value.exit_code, caught.value.reason_code) == (3, "not_verified") or failed, name
        for line in refs.splitlines():
            bench.git("update-ref", *line.split())
    print(f"{len(TAMPERED)} ways in which a version was tampered with, all refused")
    assert bench.dry("delay@v1.0.0").run == run.id


def test_a_run_that_was_put_back_is_compared_with_the_one_that_trained(whole: tuple[Bench, Run, Release]) -> None:
    bench, run, _ = whole
    stages = [{"name": "train", "command": "x", "outcome": "restored"}]
    there = changed(run, environment={"python": "3.1.4"}, hardware={"cpu": "Abacus"}, stages=stages)
    second = msgspec.structs.replace(there, id="222222222222", restored_from=run.id)
    third = msgspec.structs.replace(there, id="333333333333", restored_from=second.id)
    lost = msgspec.structs.replace(there, id="444444444444", restored_from="555555555555")
    loop = msgspec.structs.replace(there, id="666666666666", restored_from="666666666666")
    mixed = msgspec.structs.replace(there, id="777777777777")
    records = (run, second, third, lost, loop, mixed)
    bench.commit_data({run_path(one): dump(one).decode() for one in records})
    context = Context(env=bench.env)
    for one in (second, third):
        found = find_subject(context, one.id, bench.clone, "")
        trained = (found.run.environment, found.run.hardware, found.run.stages)
        assert trained == (run.environment, run.hardware, run.stages)
        assert f"trained by run {run.id}" in found.notes[0]
    for one, word in ((lost, "555555555555"), (loop, "666666666666"), (mixed, "some stages")):
        found = find_subject(context, one.id, bench.clone, "")
        assert found.run == one
        assert word in found.notes[0]
    assert find_subject(context, run.id, bench.clone, "").notes == ()


def test_a_version_without_its_records(whole: tuple[Bench, Run, Release]) -> None:
    bench, run, release = whole
    bench.git("update-ref", "-d", "refs/heads/trackside-data")
    bench.commit_data({"releases/delay/1.0.0.json": dump(release).decode()})
    with pytest.raises(DataError, match=f"no run {run.id}, which made delay@v1.0.0") as caught:
        bench.reproduce("delay@v1.0.0")
    assert (caught.value.exit_code, caught.value.reason_code) == (7, "release_missing")
    bench.git("update-ref", "-d", "refs/heads/trackside-data")
    with pytest.raises(DataError, match=r"no record of delay@v1\.0\.0"):
        bench.reproduce("delay@v1.0.0")


def test_a_run_that_does_not_fit_its_commit(world: tuple[Bench, Run, Release]) -> None:
    """A run is named without its version: the input digest of its commit is what it is held against."""
    bench, run, _ = world
    other = [{"path": d.path, "kind": d.kind, "digest": d.digest} for d in run.dependencies]
    other[0]["digest"] = ZEROS
    with pytest.raises(Refused, match="does not fit its commit") as caught:
        bench.reproduce(changed(run, input_digest=ZEROS, dependencies=other))
    assert (caught.value.exit_code, caught.value.reason_code) == (3, "digest_mismatch")
    assert other[0]["path"] in caught.value.why
    with pytest.raises(DataError) as gone:
        bench.reproduce(changed(run, input_digest=ZEROS, source={"dirty": True}))
    assert (gone.value.exit_code, gone.value.reason_code) == (7, "uncommitted")
    for status, artifacts in (("failed", None), ("succeeded", [])):
        fields: dict[str, Any] = {"status": status} | ({"artifacts": artifacts} if artifacts is not None else {})
        with pytest.raises(DataError) as nothing:
            bench.reproduce(changed(run, **fields))
        assert nothing.value.reason_code == "nothing_recorded"
