"""`models verify` without a network: a true version passes, whatever is changed of one is found, one by one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_samples import FILES
from registry_world import Trained

from sweeps import remembered
from trackside.documents.release import Release
from trackside.documents.run import Dependency, Environment, Metric
from trackside.errors import ConfigError, NotFound
from trackside.models.source import CloneSource
from trackside.registry.package import Package
from trackside.sandbox.server import Sandbox
from trackside.sandbox.signing import ROOT, Authority
from trackside.system.process import Processes
from trackside.train.files import digest
from trackside.trust.links import NEEDED, Check, Gathered, Measured, examine, verdict
from trackside.trust.verify import _measured
from verify_world import GIT, Held, git, held, imaged, sha256, signed, written

NEW_LR = FILES["params.yaml"].replace("lr: 0.1", "lr: 0.2").encode()


def of_file(path: str) -> str:
    return "sha256:" + hashlib.sha256(FILES[path].encode()).hexdigest()


INPUTS = [
    Dependency(path="data/raw.csv", kind="data", digest="md5:" + "0" * 32, size=12),
    Dependency(path="s3://bucket/x", kind="external", digest="sha256:" + "0" * 64),
    Dependency(path="src/train.py", kind="code", digest=of_file("src/train.py"), size=15),
    Dependency(path="src/lib", kind="code", digest="sha256:" + "7" * 64, files=2),
    Dependency(path="requirements.txt", kind="lock", digest=of_file("requirements.txt"), size=25),
]


@dataclasses.dataclass
class Made:
    """Two versions: 1.0.0 with an image, 1.1.0 in parts; and the bundles that sign them."""

    one: Held
    two: Held
    root: Path


@pytest.fixture(scope="module")
def made(server: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("verify")
    name = f"acme/v{server.state.next('test')}"
    server.hub.add_repo(name)
    place = Trained(server, name, folder)
    environment = Environment(
        python="3.12.4", os="linux", lock_file="requirements.txt", lock_digest=of_file("requirements.txt")
    )
    first = place.start()
    place.trained(first, b"weights", dependencies=INPUTS, environment=environment)
    place.register(place.pushed(first))
    place.limit = 6
    second = place.push({"params.yaml": NEW_LR})
    place.trained(second, b"better weights", auc=0.8, dependencies=INPUTS, environment=environment)
    place.register(place.pushed(second))
    records = {one.version: one for one in place.records()}
    imaged(place, records["1.0.0"], tmp_path_factory.mktemp("image"))
    authority = Authority(folder / "authority")
    kept = []
    for version in ("1.0.0", "1.0.1"):
        one = held(place, server, records[version], folder / "clone", folder / version)
        statement = (one.files / "provenance.intoto.json").read_bytes()
        bundle = signed(place, server, records[version], statement, authority, folder / "work")
        (one.files / "attested.sigstore.json").write_text(bundle)
        one.env = {**one.env, "TRACKSIDE_TRUSTED_ROOT": str(authority.folder / ROOT)}
        kept.append(one)
    assert not server.violations, server.violations
    with remembered():
        yield Made(one=kept[0], two=kept[1], root=authority.folder / ROOT)


@pytest.fixture
def one(made: Made, tmp_path: Path) -> Held:
    return made.one.copy(tmp_path / "one")


@pytest.fixture
def two(made: Made, tmp_path: Path) -> Held:
    return made.two.copy(tmp_path / "two")


def test_a_true_version_is_verified(made: Made) -> None:
    for version, parts in ((made.one, 1), (made.two, 3)):
        code, said = version.verify(signed=True)
        wrong = [row for row in said["checks"] if row["state"] != "ok"]
        assert wrong == []
        assert (code, said["verified"], said["reason_code"]) == (0, True, "verified")
        names = [row["name"] for row in said["checks"]]
        assert len(names) == len(set(names))
        assert (
            len([name for name in names if name.startswith("file ") and ("model" in name)]) == parts + (parts > 1) * 0
        )
        assert ("manifest" in names) == (parts > 1)
        assert ("image" in names) == (version is made.one)
    for spec in ("delay@latest", "delay@greatest", "delay@1.0.1"):
        assert made.two.verify(spec)[0] == 0
    with pytest.raises(NotFound):
        made.one.verify("delay@v9.9.9")
    with pytest.raises(ConfigError, match="--dir"):
        made.one.verify(folder=None)


def test_what_is_not_here_is_unknown_and_what_is_needed_makes_it_unverified(one: Held, made: Made) -> None:
    for name in ("README.md", "mlbom.cdx.json", "image.json", "sbom.cdx.json", "attested.sigstore.json"):
        (one.files / name).unlink()
    code, said = one.verify()
    unknown = {row["name"] for row in said["checks"] if row["state"] == "unknown"}
    assert unknown == {"file README.md", "file mlbom.cdx.json", "bom", "image", "signature"}
    assert (code, said["failed"]) == (0, 0)
    assert all(row["remedy"] for row in said["checks"] if row["state"] == "unknown")
    assert one.verify(signed=True)[0] == 7
    for name in ("provenance.intoto.json", "run.json", "model.bin"):
        content = (one.files / name).read_bytes()
        (one.files / name).unlink()
        code, said = one.verify()
        assert (code, said["failed"], said["reason_code"]) == (7, 0, "not_verified"), name
        (one.files / name).write_bytes(content)
    assert one.verify()[0] == 0


def test_the_model_where_get_puts_it_is_as_good_as_its_parts(two: Held) -> None:
    parts = sorted(two.files.glob("model.bin.part*"))
    whole = b"".join(path.read_bytes() for path in parts)
    for path in parts:
        path.unlink()
    assert two.states()["model"] == "unknown"
    (two.files / "model.bin").write_bytes(whole)
    assert (two.states()["model"], two.failed()) == ("ok", set())
    (two.files / "model.bin").write_bytes(whole + b"\n")
    assert "model" in two.failed()


# What somebody may change. Each is found by the named check.

Change = Callable[[Held], Any]


def flip(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


CHANGED = {
    "flipped": flip,
    "longer": lambda data: data + b" ",
    "shorter": lambda data: data[:-1],
    "empty": lambda data: b"",
    "another": lambda data: b"{}\n",
}


def test_each_changed_file_is_found(made: Made, one: Held, two: Held) -> None:
    del made
    cases = 0
    for version in (one, two):
        (version.files / "attested.sigstore.json").unlink()  # the links alone must find it
        for path in sorted(version.files.iterdir()):
            before = path.read_bytes()
            for how, change in CHANGED.items():
                path.write_bytes(change(before))
                found = version.failed()
                wanted = {"image.json": "image", "sbom.cdx.json": "image packages"}.get(path.name, f"file {path.name}")
                assert wanted in found, (path.name, how, found)
                cases += 1
            path.write_bytes(before)
        assert version.failed() == set()
    print(f"{cases} changed files")
    assert cases >= 75


def at(document: Any, *path: Any) -> Any:
    for key in path:
        document = document[key]
    return document


def put(value: Any, *path: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        holder = at(document, *path[:-1])
        assert holder[path[-1]] != value
        holder[path[-1]] = value

    return change


def dependency(document: Any, kind: str) -> Any:
    rows = at(document, "predicate", "buildDefinition", "resolvedDependencies")
    return next(row for row in rows if row.get("annotations", {}).get("kind") == kind)


OTHER = "b" * 64
STATEMENTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "model": (put(OTHER, "subject", 0, "digest", "sha256"), "statement"),
    "kind": (put("https://in-toto.io/Statement/v2", "_type"), "statement"),
    "predicate": (put("https://slsa.dev/provenance/v0.2", "predicateType"), "statement"),
    "build": (put("https://x.example", "predicate", "buildDefinition", "buildType"), "statement"),
    "name": (put("other", "predicate", "buildDefinition", "externalParameters", "model"), "statement"),
    "run": (put("ba9876543210", "predicate", "buildDefinition", "internalParameters", "run"), "statement run"),
    "record": (put(OTHER, "predicate", "runDetails", "byproducts", 0, "digest", "sha256"), "statement record"),
    "commit": (
        put("c" * 40, "predicate", "buildDefinition", "resolvedDependencies", 0, "digest", "gitCommit"),
        "statement commit",
    ),
    "data": (lambda it: dependency(it, "data")["digest"].update(md5="1" * 32), "statement data"),
    "data name": (lambda it: dependency(it, "data").update(name="data/other.csv"), "statement data"),
    "external": (lambda it: dependency(it, "external").update(name="s3://other"), "statement data"),
    "code": (lambda it: dependency(it, "code")["digest"].update(sha256=OTHER), "statement code"),
    "lock": (lambda it: dependency(it, "lock")["digest"].update(sha256=OTHER), "statement lock"),
    "one more": (
        lambda it: at(it, "predicate", "buildDefinition", "resolvedDependencies").append(
            {"name": "x", "digest": {}, "annotations": {"kind": "data"}}
        ),
        "statement data",
    ),
    "one twice": (
        lambda it: at(it, "predicate", "buildDefinition", "resolvedDependencies").append(dependency(it, "data")),
        "statement data",
    ),
    "no inputs": (put([], "predicate", "buildDefinition", "resolvedDependencies"), "statement commit"),
    "no predicate": (put(7, "predicate"), "statement run"),
    "no subject": (put([{}, 7], "subject"), "statement"),
}


@pytest.mark.parametrize("case", STATEMENTS)
def test_a_statement_that_somebody_rewrote_with_tag_and_record(one: Held, case: str) -> None:
    """The tag names the new statement, the record too, as whoever may push everywhere could do: the links differ."""
    change, check = STATEMENTS[case]
    one.change_json("provenance.intoto.json", change)
    assert {"tag statement", "record statement", "file provenance.intoto.json"} <= one.failed()
    legalise(one, "provenance.intoto.json")
    found = one.failed()
    assert check in found, found
    assert not {"tag", "tag statement", "record statement", "file provenance.intoto.json"} & found


def legalise(one: Held, name: str) -> None:
    """Make tag and record name a file as it is now."""
    data = (one.files / name).read_bytes()
    new = sha256(data)

    def rewrite(record: Any) -> None:
        asset = next(row for row in record["assets"] if row["name"] == name)
        asset.update(digest=new, size=len(data))
        if name == "provenance.intoto.json":
            old = record["statement_digest"].removeprefix("sha256:")
            record["statement_digest"] = new
            record["tag_object"] = one.tag_again(message=one.message().replace(old, new.removeprefix("sha256:")))

    one.change_record(rewrite)


RUNS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "metric": (put(0.99, "metrics", 0, "value"), "metrics"),
    "parameter": (put(0.5, "params", "train.lr"), "statement record"),
    "model": (put("sha256:" + OTHER, "artifacts", 0, "digest"), "run"),
    "id": (put("ba9876543210", "id"), "run"),
    "name": (put("other", "model"), "run"),
    "commit": (put("c" * 40, "source", "commit"), "statement commit"),
    "data": (put("md5:" + "1" * 32, "dependencies", 0, "digest"), "statement data"),
    "lock": (put("sha256:" + OTHER, "dependencies", 4, "digest"), "statement lock"),
    "code": (put("sha256:" + OTHER, "dependencies", 2, "digest"), "commit"),
    "status": (put("failed", "status"), "statement record"),
    "no run": (lambda it: it.pop("metrics") and it.pop("id"), "run"),
}


@pytest.mark.parametrize("case", RUNS)
def test_a_run_that_somebody_rewrote(one: Held, case: str) -> None:
    change, check = RUNS[case]
    run = one.read_data(one.record_path)["run"]
    one.change_json("run.json", change)
    found = one.failed()
    assert {"file run.json", "statement record"} <= found
    legalise(one, "run.json")  # the record names it, and the data branch has the same
    if case not in ("id", "name", "no run"):
        one.write_data(f"runs/delay/{run}.json", (one.files / "run.json").read_bytes())
    found = one.failed()
    assert {check, "statement record"} <= found, found
    assert "file run.json" not in found


def test_a_run_record_that_somebody_rewrote_on_the_data_branch(one: Held) -> None:
    path = f"runs/delay/{one.read_data(one.record_path)['run']}.json"
    run, cases = one.read_data(path), 0
    for change, _ in RUNS.values():
        document = json.loads(json.dumps(run))
        change(document)
        one.write_data(path, document)
        states = one.states()
        assert states["run"] in ("failed", "unknown"), states
        assert one.verify()[0] == 7
        cases += 1
    one.write_data(path, None)
    assert one.verify()[0] == 7
    one.write_data(path, run)
    assert one.failed() == set()
    print(f"{cases + 1} changed run records")
    assert cases == len(RUNS)


RECORDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "commit": (put("c" * 40, "commit"), "tag commit"),
    "run": (put("ba9876543210", "run"), "tag run"),
    "model digest": (put("sha256:" + OTHER, "model_digest"), "model"),
    "statement digest": (put("sha256:" + OTHER, "statement_digest"), "record statement"),
    "tag": (put("delay@v1.0.1", "tag"), "record"),
    "tag object": (put("c" * 40, "tag_object"), "tag"),
    "state": (put("draft", "state"), "record"),
    "metrics": (put(0.99, "metrics", 0, "value"), "metrics"),
    "no metrics": (put([], "metrics"), "metrics"),
    "file digest": (put("sha256:" + OTHER, "assets", 0, "digest"), "file model.bin"),
    "file size": (put(8, "assets", 0, "size"), "file model.bin"),
    "model": (put("other", "model"), "record"),
    "version": (put("1.0.1", "version"), "record"),
    "damaged": (lambda it: it.pop("model"), "record"),
    "schema": (put("trackside.release/2", "schema"), "record"),
}


@pytest.mark.parametrize("case", RECORDS)
def test_a_record_that_somebody_rewrote(one: Held, case: str) -> None:
    change, check = RECORDS[case]
    one.change_record(change)
    assert check in one.failed()


def test_a_file_that_a_record_names_twice_must_be_right_twice(one: Held) -> None:
    """The right row behind a wrong one does not make up for it."""
    for name in ("model.bin", "README.md"):
        record = one.read_data(one.record_path)
        wrong = dict(next(row for row in record["assets"] if row["name"] == name), digest="sha256:" + OTHER)
        one.write_data(one.record_path, record | {"assets": [wrong, *record["assets"]]})
        assert f"file {name}" in one.failed()
        one.write_data(one.record_path, record)
    ok, bad = Check(name="tag", state="ok"), Check(name="tag", state="unknown")
    rest = [Check(name=name, state="ok") for name in NEEDED - {"tag"}]
    assert verdict([*rest, ok])
    assert not verdict([*rest, ok, bad])
    assert not verdict([*rest, bad, ok])
    assert not verdict(rest)


def test_a_record_that_is_gone(one: Held) -> None:
    one.write_data(one.record_path, None)
    assert "record" in one.failed()


def moved(one: Held) -> None:
    one.tag_again(at="origin/main")


def reworded(words: str, other: str) -> Change:
    def change(one: Held) -> None:
        text = one.message()
        assert words in text
        one.tag_again(message=text.replace(words, other))

    return change


def lightweight(one: Held) -> None:
    at = git(one.clone, "rev-parse", f"{one.tag}^{{commit}}")
    git(one.clone, "tag", "--delete", one.tag)
    git(one.clone, "tag", one.tag, at)


def without_words(one: Held) -> None:
    one.tag_again(message="delay 1.0.0\n")


TAGS: dict[str, tuple[Change, str]] = {
    "moved": (moved, "tag commit"),
    "made again": (lambda one: one.tag_again(), "tag"),
    "another run": (reworded("Run-Id: ", "Run-Id: f"), "tag run"),
    "another statement": (reworded("Statement-Sha256: ", "Statement-Sha256: f"), "tag statement"),
    "a statement twice": (reworded("Statement-Sha256: ", "Statement-Sha256: f\nStatement-Sha256: "), "tag statement"),
    "another title": (reworded("delay 1.0.0", "delay 2.0.0"), "tag"),
    "without trailers": (without_words, "tag run"),
    "lightweight": (lightweight, "tag"),
    "deleted": (lambda one: git(one.clone, "tag", "--delete", one.tag), "tag"),
}


@pytest.mark.parametrize("case", TAGS)
def test_a_tag_that_somebody_changed(one: Held, case: str) -> None:
    change, check = TAGS[case]
    change(one)
    found = one.failed()
    assert check in found, found


PARTS: dict[str, Callable[[Any], Any]] = {
    "digest": put("sha256:" + OTHER, "parts", 1, "digest"),
    "size": put(7, "parts", 1, "size"),
    "name": put("model.bin.part09", "parts", 1, "name"),
    "order": lambda it: it["parts"].reverse(),
    "one less": lambda it: it["parts"].pop(),
    "whole": put("sha256:" + OTHER, "file", "digest"),
    "model": put("sha256:" + OTHER, "digest"),
    "no parts": put(7, "parts"),
}


@pytest.mark.parametrize("case", PARTS)
def test_a_manifest_that_somebody_rewrote_with_the_record(two: Held, case: str) -> None:
    two.change_json("manifest.json", PARTS[case])
    assert "file manifest.json" in two.failed()
    legalise(two, "manifest.json")
    assert two.failed() == {"manifest", "signature"}


def test_parts_that_were_swapped_with_the_record(two: Held) -> None:
    """Every part is genuine, and the record lists them the other way round."""
    first, second = (two.files / f"model.bin.part0{number}" for number in (1, 2))
    data = first.read_bytes(), second.read_bytes()
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    assert {"model", "manifest"} <= two.failed()
    legalise(two, first.name)
    legalise(two, second.name)
    assert {"model", "manifest"} <= two.failed()


BOMS: dict[str, Callable[[Any], Any]] = {
    "model": put(OTHER, "metadata", "component", "hashes", 0, "content"),
    "name": put("other", "metadata", "component", "name"),
    "version": put("1.0.1", "metadata", "component", "version"),
    "commit": put("c" * 40, "metadata", "component", "pedigree", "commits", 1, "uid"),
    "statement": put(OTHER, "metadata", "component", "externalReferences", 3, "hashes", 0, "content"),
    "tag": put("delay@v1.0.1", "metadata", "component", "properties", 0, "value"),
    "run": put("ba9876543210", "metadata", "component", "properties", 1, "value"),
    "nothing": put([], "metadata", "component"),
}


@pytest.mark.parametrize("case", BOMS)
def test_a_bill_of_materials_that_somebody_rewrote_with_the_record(one: Held, case: str) -> None:
    one.change_json("mlbom.cdx.json", BOMS[case])
    assert "file mlbom.cdx.json" in one.failed()
    legalise(one, "mlbom.cdx.json")
    assert one.failed() == {"bom", "signature"}


def test_what_was_changed_of_an_image(one: Held) -> None:
    cases = 0
    path = "images/delay/1.0.0.json"
    record = one.read_data(path)
    for key, value in (("digest", "sha256:" + OTHER), ("model_digest", "sha256:" + OTHER), ("run", "x"), ("tag", "y")):
        one.write_data(path, {**record, key: value})
        assert "image" in one.failed()
        one.write_data(path, record)
        before = (one.files / "image.json").read_bytes()
        one.change_json("image.json", put(value, key))
        assert "image" in one.failed()
        (one.files / "image.json").write_bytes(before)
        cases += 2
    assert one.failed() == set()
    print(f"{cases} changed images")


def test_somebody_who_may_push_everywhere_is_found_by_the_signature(one: Held, made: Made) -> None:
    """Model, run, statement, record and tag are rewritten so that all of them agree; nobody else can sign that."""
    (one.files / "model.bin").write_bytes(b"poison!")
    new, run = sha256(b"poison!"), one.read_data(one.record_path)["run"]
    one.change_json("run.json", put(new, "artifacts", 0, "digest"))
    one.write_data(f"runs/delay/{run}.json", (one.files / "run.json").read_bytes())
    record = sha256((one.files / "run.json").read_bytes()).removeprefix("sha256:")
    one.change_json(
        "provenance.intoto.json", put(record, "predicate", "runDetails", "byproducts", 0, "digest", "sha256")
    )
    one.change_json("provenance.intoto.json", put(new.removeprefix("sha256:"), "subject", 0, "digest", "sha256"))
    one.change_record(put(new, "model_digest"))
    for name in ("model.bin", "run.json", "provenance.intoto.json"):
        legalise(one, name)
    statement = sha256((one.files / "provenance.intoto.json").read_bytes()).removeprefix("sha256:")
    one.change_json("mlbom.cdx.json", put(new[7:], "metadata", "component", "hashes", 0, "content"))
    one.change_json(
        "mlbom.cdx.json", put(statement, "metadata", "component", "externalReferences", 3, "hashes", 0, "content")
    )
    legalise(one, "mlbom.cdx.json")
    for name in ("image.json", "sbom.cdx.json"):
        (one.files / name).unlink()
    one.write_data("images/delay/1.0.0.json", None)
    assert one.failed() == {"signature"}
    (one.files / "attested.sigstore.json").unlink()
    assert one.verify(signed=True)[0] == 7


@pytest.mark.parametrize("name", ["README.md", "run.json", "mlbom.cdx.json", "model.bin"])
def test_a_file_that_was_changed_with_its_record_is_found_by_the_signature(one: Held, name: str) -> None:
    (one.files / name).write_bytes((one.files / name).read_bytes() + b" ")
    legalise(one, name)
    assert "signature" in one.failed()
    assert one.failed() == {"signature"} or name != "README.md"  # nothing else says what the card must be


def test_signatures_of_others_do_not_count(one: Held, made: Made, tmp_path: Path) -> None:
    bundle = one.files / "attested.sigstore.json"
    good = bundle.read_bytes()
    bundle.write_bytes((made.two.files / bundle.name).read_bytes())  # of another version of this model
    assert one.failed() == {"signature"}
    bundle.write_bytes(b"{")
    assert one.failed() == {"signature"}
    bundle.write_bytes(good)
    assert one.failed(workflow="train.yml") == {"signature"}
    assert one.failed(branch="topic") == {"signature"}
    other = Authority(tmp_path / "other")
    assert one.failed(trusted_root=other.folder / ROOT) == {"signature"}
    code, said = one.verify(trusted_root=tmp_path / "none.json")
    row = next(row for row in said["checks"] if row["name"] == "signature")
    assert (code, row["state"]) == (0, "unknown")
    assert "--trusted-root" in row["remedy"]
    moved = tmp_path / "elsewhere.jsonl"
    moved.write_bytes(b"{}\n" + good + b"\n")
    bundle.unlink()
    assert one.states()["signature"] == "unknown"
    assert one.states(bundles=(moved,))["signature"] == "ok"
    assert one.states(bundles=(moved,), trusted_root=made.root)["signature"] == "ok"


def test_code_that_was_changed_behind_the_tag(one: Held) -> None:
    """The commit that the tag names is replaced by one with other code, and record and tag follow it."""
    index = {"GIT_INDEX_FILE": str(one.clone / "index-of-code")}
    at = git(one.clone, "rev-parse", f"{one.tag}^{{commit}}")
    git(one.clone, "read-tree", at, **index)
    sha = git(one.clone, "hash-object", "-w", "--stdin", data=b"print('other')\n")
    git(one.clone, "update-index", "--cacheinfo", f"100644,{sha},src/train.py", **index)
    commit = git(one.clone, "commit-tree", git(one.clone, "write-tree", **index), "-m", "x")
    made = one.tag_again(at=commit)
    one.change_record(lambda record: record.update(commit=commit, tag_object=made))
    found = one.failed()
    assert found == {"commit", "bom", "image"}


def test_metrics_are_not_compared_by_their_names_alone(one: Held) -> None:
    extra = Metric(name="other", value=0.5, file="metrics.json")
    one.change_record(lambda record: record["metrics"].append({"name": extra.name, "value": 0.5, "file": extra.file}))
    assert one.failed() == {"metrics"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
DOCUMENTS = ("provenance.intoto.json", "run.json", "mlbom.cdx.json", "manifest.json", "image.json")


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a document."""
    rows: Any = (
        document.items() if isinstance(document, dict) else enumerate(document if isinstance(document, list) else ())
    )
    found = []
    for key, value in rows:
        found += [(*path, key), *places(value, (*path, key))]
    return found


def test_no_document_however_made_breaks_it_or_passes(made: Made) -> None:
    """Any value of any document replaced by anything: a check says so, and none ends in a traceback."""
    gathered = {name: known_of(made.two if name == "manifest.json" else made.one, name) for name in DOCUMENTS}
    texts = {name: json.loads(known.files[name].content) for name, known in gathered.items()}
    counts = dict.fromkeys(DOCUMENTS, 0)

    @settings(max_examples=300, deadline=None, database=None)
    @given(st.sampled_from(DOCUMENTS), st.randoms(use_true_random=False), JSON)
    def change(name: str, random: Any, value: Any) -> None:
        document = json.loads(json.dumps(texts[name]))
        *path, key = random.choice(places(document))
        holder = at(document, *path)
        counts[name] += 1
        if holder[key] == value and type(holder[key]) is type(value):
            return
        holder[key] = value
        known = gathered[name]
        data = written(document)
        new = Measured(digest=sha256(data), size=len(data), content=data)
        checks = examine(dataclasses.replace(known, files={**known.files, name: new}))
        assert not verdict(checks)

    change()
    print(counts)
    assert sum(counts.values()) >= 300
    assert min(counts.values()) >= 10


def known_of(version: Held, name: str) -> Gathered:
    """What is gathered of a version, all true."""
    files = {path.name: path.read_bytes() for path in version.files.iterdir() if "sigstore" not in path.name}
    source = CloneSource(version.clone, Processes(GIT))
    release = source.release("delay", version.version)
    assert release is not None
    state = source.state("delay")
    versions = {str(one): one for one in state.versions("delay")}
    made = Gathered(
        tag=version.tag,
        model="delay",
        version=version.version,
        event=state.version_event("delay", versions[version.version]),
        release=release,
        run=source.run("delay", release.run),
        image=source.image("delay", version.version),
        files={key: Measured(digest=sha256(data), size=len(data), content=data) for key, data in files.items()},
        model_digest=release.model_digest,
        tree={one.path: one.digest.removeprefix("sha256:") for one in INPUTS if one.kind in ("code", "lock")},
    )
    assert verdict(examine(made)), name
    return made


HOSTILE = ("../secret.txt", "/etc/passwd", "..", "a/b", "x\x1b[2J", "-o", "name with space", "", "a" * 300)


def test_names_of_a_hostile_record_lead_nowhere(one: Held, tmp_path: Path) -> None:
    (one.files.parent / "secret.txt").write_text("x")
    (one.files / "link.bin").symlink_to("/etc/passwd")
    cases = 0
    for name in (*HOSTILE, "link.bin"):
        for key in ("name", "path"):
            record = one.read_data(one.record_path)
            asset = next(row for row in record["assets"] if row["role"] == "model")
            changed = json.loads(json.dumps(record))
            next(row for row in changed["assets"] if row["role"] == "model")[key] = name
            (one.files / "model.bin").rename(tmp_path / "aside")
            one.write_data(one.record_path, changed)
            code, said = one.verify()
            assert code == 7
            model = next(row for row in said["checks"] if row["name"] == "model")
            assert model["state"] == "unknown", (name, key, model)
            (tmp_path / "aside").rename(one.files / "model.bin")
            one.write_data(one.record_path, record)
            assert asset["name"] == "model.bin"
            cases += 1
    print(f"{cases} hostile names")
    assert cases == 20


def test_a_folder_is_judged_as_it_was_trained(tmp_path: Path) -> None:
    """Packed as one archive, whole or in parts; an archive that is not the record's is not unpacked."""
    model = tmp_path / "models/net"
    (model / "deep").mkdir(parents=True)
    (model / "a.bin").write_bytes(b"a" * 300)
    (model / "deep/b.bin").write_bytes(b"b" * 300)
    trained = digest("models/net", tmp_path)[0]
    for limit in (10_000, 500):
        folder = tmp_path / str(limit)
        folder.mkdir()
        package = Package(folder=folder, limit=limit)
        package.add_model(model, "models/net", trained)
        (folder / "aside").mkdir()
        release = Release(
            model="net", version="1.0.0", tag="net@v1.0.0", commit="c" * 40, run="x", state="published",
            model_digest=trained, assets=package.assets,
        )  # fmt: skip
        known = Gathered(tag="net@v1.0.0", model="net", version="1.0.0", release=release)
        files = {one.name: folder / one.name for one in package.assets}
        states = {one.name: one.state for one in examine(_measured(known, files, None, folder / "aside"))}
        assert (states["model"], states["manifest"]) == ("ok", "ok")
        shutil.rmtree(folder / "aside")
        (folder / "aside").mkdir()
        last = [one for one in package.assets if one.role == "model"][-1]
        (folder / last.name).write_bytes((folder / last.name).read_bytes() + b"x")
        checks = {one.name: one.state for one in examine(_measured(known, files, None, folder / "aside"))}
        assert (checks["model"], checks[f"file {last.name}"]) == ("unknown", "failed")
        assert not (folder / "aside/unpacked").exists()
    states = {one.name: one.state for one in examine(_measured(known, {}, tmp_path, tmp_path))}
    assert states["model"] == "ok"  # where it lies in a checkout
