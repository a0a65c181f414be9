"""The run store over real git: what is written comes back, unknown fields survive, damage is reported and no more."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.documents.codec import dump, from_builtins
from trackside.documents.run import Environment, Run, Source, Trigger
from trackside.errors import DataError, ToolError
from trackside.store.branch import CloneRunStore
from trackside.store.layout import files_of, pointer_path, run_of_path, run_path
from trackside.system.process import Processes

ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "t@t" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}
PROCESSES = Processes(ENV)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def make_run(number: int = 1, **changes: Any) -> Run:
    values: dict[str, Any] = {
        "id": f"run{number}",
        "model": "delay",
        "status": "succeeded",
        "reason_code": "done",
        "input_digest": digest(number),
        "source": Source(repository="acme/flights", commit="a" * 40),
        "trigger": Trigger(event="workflow_dispatch"),
        "started_at": f"2026-11-{number:02d}T00:00:00Z",
        "finished_at": f"2026-11-{number:02d}T00:01:00Z",
        "environment": Environment(python="3.12.1", os="linux"),
    }
    return Run(**values | changes)


class Branch:
    """A bare repository whose data branch a test writes to as `CommitFiles` says."""

    def __init__(self, path: Path, ref: str = "refs/heads/trackside-data") -> None:
        self.path, self.ref = path, ref
        PROCESSES.run(["git", "init", "--quiet", "--bare", path])

    def write(self, files: dict[str, bytes]) -> None:
        """One commit that adds the files."""
        base = self.git("rev-parse", "--verify", "--quiet", self.ref, check=False)
        index = {**ENV, "GIT_INDEX_FILE": str(self.path / "test-index")}
        self.git("read-tree", *([base] if base else ["--empty"]), env=index)
        for path, data in files.items():
            blob = self.git("hash-object", "-w", "--stdin", data=data)
            self.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", env=index)
        tree = self.git("write-tree", env=index)
        commit = self.git("commit-tree", tree, *(["-p", base] if base else []), data=b"m")
        self.git("update-ref", self.ref, commit)

    def git(self, *args: str, data: bytes | None = None, env: dict[str, str] | None = None, check: bool = True) -> str:
        return PROCESSES.run(["git", "-C", self.path, *args], input=data, env=env, check=check).text.strip()

    def record(self, run: Run, *, reusable: bool = True) -> None:
        files = files_of(run, reusable=reusable).files
        self.write({path: text.encode() for path, text in files.items() if text is not None})

    def store(self, ref: str = "trackside-data") -> CloneRunStore:
        return CloneRunStore(self.path, ref, PROCESSES)


@pytest.fixture
def branch(tmp_path: Path) -> Branch:
    return Branch(tmp_path / "repo.git")


def test_what_was_recorded_is_found(branch: Branch) -> None:
    for number in (1, 3, 2):
        branch.record(make_run(number))
    branch.record(make_run(4, model="price"))
    store = branch.store()
    assert store.run("delay", "run3") == make_run(3)
    assert store.run_for_inputs("delay", digest(2)) == make_run(2)
    assert store.run_for_inputs("price", digest(2)) is None
    assert [run.id for run in store.runs("delay")] == ["run3", "run2", "run1"]
    assert [run.id for run in store.runs()] == ["run4", "run3", "run2", "run1"]
    assert [run.id for run in store.runs(limit=2)] == ["run4", "run3"]
    assert store.problems == ()


def test_an_empty_repository_has_no_runs_and_none_is_an_error(branch: Branch, tmp_path: Path) -> None:
    store = branch.store()
    assert store.runs() == []
    assert store.run("delay", "run1") is None
    assert store.run_for_inputs("delay", digest(1)) is None
    nowhere = CloneRunStore(tmp_path / "nothing", "trackside-data", PROCESSES)
    with pytest.raises(ToolError):
        nowhere.runs()


def test_the_remote_tracking_ref_comes_first(tmp_path: Path) -> None:
    branch = Branch(tmp_path / "repo.git")
    branch.record(make_run(1))
    branch.ref = "refs/remotes/origin/trackside-data"
    branch.record(make_run(2))
    assert [run.id for run in branch.store().runs()] == ["run2"]
    assert [run.id for run in branch.store("refs/heads/trackside-data").runs()] == ["run1"]
    assert branch.store().run("delay", "run2") == make_run(2)
    sha = branch.git("rev-parse", "refs/heads/trackside-data")
    assert [run.id for run in branch.store(sha).runs()] == ["run1"]
    assert branch.store("0" * 40).runs() == []


HOSTILE_NAMES = ["", "..", "../runs", "a/b", "a b", "-x", "a\nb", "é", "a:b", "HEAD~1", "a.json"]


def test_hostile_names_reach_no_file(branch: Branch) -> None:
    branch.record(make_run(1))
    store = branch.store()
    for name in HOSTILE_NAMES:
        assert store.run(name, "run1") is None
        assert store.run("delay", name) is None
        assert store.runs(name) == []
        assert store.run_for_inputs(name, digest(1)) is None
        assert store.run_for_inputs("delay", name) is None
        assert run_path("delay", name) == pointer_path("delay", name) == pointer_path(name, digest(1)) == ""
        with pytest.raises(DataError):
            files_of(make_run(1, id=name), reusable=False)
        with pytest.raises(DataError):
            files_of(make_run(1, input_digest=name), reusable=True)
    print(f"{len(HOSTILE_NAMES)} names")
    assert len(HOSTILE_NAMES) == 11
    assert run_of_path("runs/delay/x/y.json") is None
    assert run_of_path("runs/de lay/x.json") is None


def test_only_plain_successes_answer_inputs_again() -> None:
    cases = [
        (make_run(), True, True),
        (make_run(), False, False),
        (make_run(status="failed"), True, False),
        (make_run(status="timed_out"), True, False),
        (make_run(experiment=True), True, False),
    ]
    for run, reusable, pointed in cases:
        made = files_of(run, reusable=reusable)
        assert (pointer_path("delay", run.input_digest) in made.files) is pointed
        assert made.keep == (frozenset({pointer_path("delay", run.input_digest)}) if pointed else frozenset())
        assert made.branch == "trackside-data"
    print(f"{len(cases)} cases")
    assert len(cases) == 5


def damaged() -> dict[str, bytes]:
    """Files that cannot be used, by the part of the path that names the case."""
    good = dump(make_run(1))
    plain = json.loads(good)
    return {
        "empty": b"",
        "nojson": b"{",
        "binary": b"\xff\xfe\x00",
        "list": b"[]",
        "otherkind": dump(make_run(1)).replace(b"trackside.run/1", b"trackside.run/9"),
        "wrongtype": json.dumps(plain | {"id": 1}).encode(),
        "missing": json.dumps({k: v for k, v in plain.items() if k != "source"}).encode(),
        "otherid": good,
        "deep": b"[" * 100_000,
        "large": b'{"x": "' + b"x" * 1_100_000 + b'"}',
    }


def test_damaged_files_are_reported_and_the_rest_is_read(branch: Branch) -> None:
    branch.record(make_run(1))
    cases = damaged()
    branch.write({f"runs/delay/{name}.json": data for name, data in cases.items()})
    branch.write({"runs/delay/notes.txt": b"x", "runs/delay/deep/er.json": b"x"})
    store = branch.store()
    assert [run.id for run in store.runs()] == ["run1"]
    assert sorted(one.path for one in store.problems) == sorted(f"runs/delay/{name}.json" for name in cases)
    assert all(one.why for one in store.problems)
    for name in cases:
        assert store.run("delay", name) is None
    print(f"{len(cases)} damaged files")
    assert len(cases) == 10


def test_a_pointer_answers_only_for_what_it_says(branch: Branch) -> None:
    branch.record(make_run(1))
    branch.record(make_run(2, status="failed"))
    branch.record(make_run(3, experiment=True))
    pointers = {
        "another digest": {"run": "run1", "model": "delay", "input_digest": digest(1)},
        "another model": {"run": "run1", "model": "price", "input_digest": digest(9)},
        "no such run": {"run": "run9", "model": "delay", "input_digest": digest(9)},
        "a failed run": {"run": "run2", "model": "delay", "input_digest": digest(9)},
        "an experiment": {"run": "run3", "model": "delay", "input_digest": digest(9)},
        "a run of other inputs": {"run": "run1", "model": "delay", "input_digest": digest(9)},
        "a path": {"run": "../price/run1", "model": "delay", "input_digest": digest(9)},
    }
    path = pointer_path("delay", digest(9))
    for name, pointer in pointers.items():
        branch.write({path: json.dumps({"schema": "trackside.pointer/1", **pointer}).encode()})
        store = branch.store()
        assert store.run_for_inputs("delay", digest(9)) is None, name
        assert [one.path for one in store.problems] == [path], name
        # The store that saw the damage replaces the pointer with the next run that answers.
        assert store.operations_for(make_run(9), reusable=True).keep == frozenset()
    print(f"{len(pointers)} pointers")
    assert len(pointers) == 7


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
PLACES = [(), ("source",), ("trigger",), ("environment",), ("hardware",), ("restore",), ("usage",)]


@given(extra=st.lists(st.tuples(st.sampled_from(PLACES), st.text(max_size=6), JSON), min_size=1, max_size=6))
def test_unknown_fields_survive_a_round_trip(extra: list[tuple[tuple[str, ...], str, Any]]) -> None:
    plain = json.loads(dump(make_run(1)))
    for place, name, value in extra:
        at = plain
        for key in place:
            at = at[key]
        at["x-" + name] = value
    run = from_builtins(Run, plain)
    text = files_of(run, reusable=False, known=plain).files["runs/delay/run1.json"]
    assert text is not None
    assert json.loads(text) == plain


def test_a_store_keeps_the_unknown_fields_that_it_read(branch: Branch) -> None:
    plain = json.loads(dump(make_run(1))) | {"made-by-a-newer-version": {"x": [1, {"y": None}]}}
    branch.write({"runs/delay/run1.json": json.dumps(plain).encode()})
    store = branch.store()
    run = store.run("delay", "run1")
    assert run is not None
    text = store.operations_for(run, reusable=False).files["runs/delay/run1.json"]
    assert text is not None
    assert json.loads(text) == plain


def test_reading_a_hundred_runs_starts_one_reader(branch: Branch) -> None:
    branch.write({f"runs/delay/run{n}.json": dump(make_run(n % 28 + 1, id=f"run{n}")) for n in range(100)})
    counting = Counting(ENV)
    runs = CloneRunStore(branch.path, branch.ref, counting).runs()
    assert len(runs) == 100
    assert len(counting.started) == 3
    assert [word for word in counting.started if "cat-file" in word] == counting.started[-1:]
    assert [run.started_at for run in runs] == sorted((run.started_at for run in runs), reverse=True)


class Counting(Processes):
    """Remembers what it starts."""

    def __init__(self, env: dict[str, str]) -> None:
        super().__init__(env)
        self.started: list[tuple[str, ...]] = []

    def run(self, argv: Any, **more: Any) -> Any:
        self.started.append(tuple(str(word) for word in argv))
        return super().run(argv, **more)
