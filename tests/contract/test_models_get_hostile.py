"""`trackside models get` where somebody tampered: nothing but what was trained and looked into is handed over."""

from __future__ import annotations

import io
import random
import warnings
import zipfile
from pathlib import Path

import msgspec
import pytest

from models_world import PROCESSES, Registry
from trackside.documents.codec import dump
from trackside.errors import DataError
from trackside.registry.package import unpack
from trackside.sandbox.server import Sandbox

BIG = random.Random(5).randbytes(300_000)


@pytest.fixture
def world(sandbox: Sandbox, repo: str, workdir: Path) -> Registry:
    return Registry(sandbox, repo, workdir)


def left(folder: Path) -> list[str]:
    return sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())


def test_every_tampering_is_found_and_nothing_is_handed_over(world: Registry, workdir: Path) -> None:
    """One by one: bytes, sizes, names and states of assets, the record, the manifest, the tag."""
    world.limit = 100_000
    good = world.version("delay", "1.0.0", BIG)
    hub, state, repo = world.sandbox.hub, world.sandbox.state, world.repo
    assets = {one["name"]: one for one in state.list("asset", repo, release=good.release_id)}
    part, manifest = assets["delay.skops.part02"], assets["manifest.json"]
    tampered = BIG[100_000:200_000][:-1] + b"?"
    record = "releases/delay/1.0.0.json"

    def asset(doc: dict[str, object], **changes: object) -> None:
        state.put("asset", repo, doc["id"], {**doc, **changes})

    def recorded(**changes: object) -> None:
        world.data({record: dump(msgspec.structs.replace(good, **changes))})

    def parts(*order: int) -> None:
        model = [one for one in good.assets if one.role == "model"]
        named = [msgspec.structs.replace(model[at], part=n) for n, at in enumerate(order, 1)]
        recorded(assets=[*named, *(one for one in good.assets if one.role != "model")])

    def forged() -> None:
        """Asset and manifest and record agree, but the model is not the one that was trained."""
        name = hub.keep(tampered)
        asset(part, digest=f"sha256:{name}")
        made = [
            msgspec.structs.replace(one, digest=f"sha256:{name}") if one.name == part["name"] else one
            for one in good.assets
        ]
        text = (state.root / "blobs" / manifest["digest"].removeprefix("sha256:")).read_text()
        text = text.replace(part["digest"], f"sha256:{name}")
        own = hub.keep(text.encode())
        asset(manifest, digest=f"sha256:{own}", size=len(text))
        made = [
            msgspec.structs.replace(one, digest=f"sha256:{own}", size=len(text)) if one.role == "manifest" else one
            for one in made
        ]
        recorded(assets=made)

    def silent() -> None:
        """The store gives other bytes than the asset's own digest says."""
        asset(part, digest=part["digest"])
        blob = state.root / "blobs" / part["digest"].removeprefix("sha256:")
        blob.write_bytes(tampered)

    cases = {
        "asset with other bytes": lambda: asset(part, digest="sha256:" + hub.keep(tampered)),
        "asset of another size": lambda: asset(part, size=5),
        "asset whose upload never ended": lambda: asset(part, state="starter", digest=None, size=0),
        "asset that is gone": lambda: state.delete("asset", repo, part["id"]),
        "asset under another name": lambda: asset(part, name="other"),
        "release that is gone": lambda: recorded(release_id=999_999),
        "record of another model digest": lambda: recorded(model_digest="sha256:" + "0" * 64),
        "record without a digest": lambda: recorded(model_digest=""),
        "record of another commit": lambda: recorded(commit="b" * 40),
        "record of another tag object": lambda: recorded(tag_object="b" * 40),
        "record of a draft": lambda: recorded(state="draft"),
        "record that is gone": lambda: world.data({record: None}),
        "record that is no JSON": lambda: world.data({record: b"{"}),
        "parts in another order": lambda: parts(1, 0, 2),
        "a part twice": lambda: parts(0, 1, 1, 2),
        "a part left out": lambda: parts(0, 1),
        "a tag that was moved": lambda: hub.bare(repo).git("tag", "-f", "delay@v1.0.0", "main~1"),
        "all agree but the model": forged,
        "the store itself": silent,
    }
    codes = {}
    for number, (name, tamper) in enumerate(cases.items()):
        for doc in assets.values():
            state.put("asset", repo, doc["id"], doc)
        world.data({record: dump(good)})
        bare = hub.bare(repo)
        was = bare.git("rev-parse", "refs/tags/delay@v1.0.0").text.strip()
        tamper()
        for where in (world.clone(), None) if number % 4 == 0 else (world.clone(),):
            out, cache = workdir / f"out{number}", str(workdir / f"cache{number}")
            got = world.ask("get", "delay@v1.0.0", "-o", out, clone=where, XDG_CACHE_HOME=cache)
            assert got.code in (2, 4, 7), (name, got)
            assert "Traceback" not in got.err
            assert "fix:" in got.err, (name, got.err)
            assert not out.exists() or left(out) == [], name
            codes[name] = got.code
        bare.git("update-ref", "refs/tags/delay@v1.0.0", was)
        (state.root / "blobs" / part["digest"].removeprefix("sha256:")).write_bytes(BIG[100_000:200_000])
    print(f"{len(codes)} tamperings, every fourth by API too")
    assert len(codes) == 19
    for doc in assets.values():
        state.put("asset", repo, doc["id"], doc)
    world.data({record: dump(good)})
    assert world.ask("get", "delay@v1.0.0", "-o", workdir / "good").code == 0


def test_the_manifest_must_name_the_parts_of_the_record(world: Registry, workdir: Path) -> None:
    """Each part is what the record says, but the manifest, as the record has it too, says otherwise."""
    world.limit = 100_000
    good = world.version("delay", "1.0.0", BIG)
    state = world.sandbox.state
    (doc,) = (one for one in state.list("asset", world.repo, release=good.release_id) if one["name"] == "manifest.json")
    told = msgspec.json.decode((state.root / "blobs" / doc["digest"].removeprefix("sha256:")).read_bytes())
    first, second, third = told["parts"]
    wrong = {
        "none": ([], "names other parts than its record"),
        "another order": ([second, first, third], "names other parts than its record"),
        "one less": ([first, second], "names other parts than its record"),
        "one twice": ([first, second, third, third], "names other parts than its record"),
        "another digest": ([first, second, {**third, "digest": first["digest"]}], "names other parts than its record"),
        "another name": ([first, second, {**third, "name": "other"}], "names other parts than its record"),
        "no list": (5, "is damaged"),
        "no parts": ([1, 2, 3], "is damaged"),
    }
    for number, (name, (parts, said)) in enumerate(wrong.items()):
        data = msgspec.json.encode({**told, "parts": parts})
        own = f"sha256:{world.sandbox.hub.keep(data)}"
        state.put("asset", world.repo, doc["id"], {**doc, "digest": own, "size": len(data)})
        assets = [
            msgspec.structs.replace(one, digest=own, size=len(data)) if one.role == "manifest" else one
            for one in good.assets
        ]
        world.record(msgspec.structs.replace(good, assets=assets))
        out = workdir / f"out{number}"
        got = world.ask("get", "delay@v1.0.0", "-o", out, clone=world.clone())
        assert (got.code, said in got.err) == (7, True), (name, got)
        assert left(out) == [], name
    print(f"{len(wrong)} manifests")


def test_no_name_leads_out_of_the_folder(world: Registry, workdir: Path) -> None:
    """Paths of the model and names of other files, as a record has them."""
    good = world.version("delay", "1.0.0", b"x")
    clone, at = world.clone(), "releases/delay/1.0.0.json"
    paths = (
        "../../x",
        "/etc/x",
        "a/../../x",
        "a\\b",
        "",
        ".bashrc",
        "m/.hidden",
        "a/\x1b[2J",
        "..",
        "x/",
        "a\nb",
        "\u202ex",
    )
    names = ("../x", "/x", "a/b", "..", ".x", "-rf/", "a\\b", "\x1b[2J", "a b", "", "x" * 300, "a\u0000b")
    for role, field, words in (("model", "path", paths), ("card", "name", names)):
        for text in words:
            assets = [msgspec.structs.replace(one, **{field: text}) if one.role == role else one for one in good.assets]
            record = dump(msgspec.structs.replace(good, assets=assets))
            blob = PROCESSES.run(["git", "-C", clone, "hash-object", "-w", "--stdin"], input=record).text.strip()
            _commit(clone, at, blob)
            got = world.ask("get", "delay@latest", "--all", "-o", workdir / "in/out", "--no-progress", clone=clone)
            assert got.code in (4, 7), (text, got)
            assert "fix:" in got.err, (text, got)
            assert "\x1b" not in got.err
            assert not (workdir / "in").exists() or left(workdir / "in") == [], text
    print(f"{len(paths) + len(names)} names")
    assert len(paths) + len(names) == 24


def _commit(clone: Path, path: str, blob: str) -> None:
    """The clone's data branch with one file alone."""
    git = ["git", "-C", str(clone), "-c", "user.name=a", "-c", "user.email=a@b"]
    env = {**PROCESSES.env, "GIT_INDEX_FILE": str(clone / ".git/aside")}
    PROCESSES.run([*git, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}"], env=env)
    tree = PROCESSES.run([*git, "write-tree"], env=env).text.strip()
    commit = PROCESSES.run([*git, "commit-tree", tree, "-m", "x"]).text.strip()
    PROCESSES.run([*git, "update-ref", "refs/remotes/origin/trackside-data", commit])


def test_archives_that_no_release_has_are_refused(world: Registry, workdir: Path) -> None:
    """Record and asset agree on the digest of each, so that only unpacking stands in between."""

    def packed(*names: str, method: int = zipfile.ZIP_STORED) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", compression=method) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in names:
                archive.writestr(name, b"x" * 1000)
        return made.getvalue()

    good = packed("a", "b/c")
    flags = bytearray(good)
    flags[good.index(b"PK\x01\x02") + 8] |= 1  # says that it is encrypted
    broken = {
        "no archive": b"plain bytes",
        "empty": b"",
        "cut": good[:-30],
        "bytes changed": good.replace(b"x" * 50, b"y" * 50, 1),
        "encrypted": bytes(flags),
        "packed": packed("a", method=zipfile.ZIP_DEFLATED),
        "a name outside": packed("../a"),
        "a name from the root": packed("/a"),
        "a name of Windows": packed("..\\a"),
        "a folder": packed("a/"),
        "a name twice": packed("a", "a"),
        "a file that is a folder too": packed("a", "a/b"),
        "a folder that is a file too": packed("a/b", "a"),
    }
    for number, (name, content) in enumerate(broken.items()):
        archive = workdir / f"{number}.zip"
        archive.write_bytes(content)
        (workdir / f"to{number}").mkdir()
        with pytest.raises(DataError):
            unpack(archive, workdir / f"to{number}/in")
        assert all(one.startswith("in/") for one in left(workdir / f"to{number}")), name
    print(f"{len(broken)} archives")
    assert len(broken) == 13
    release = world.version("delay", "1.0.0", {"a": b"a"}, path="net")
    hub, doc = world.sandbox.hub, world.sandbox.state.list("asset", world.repo, release=release.release_id)
    (asset,) = [one for one in doc if one["name"].endswith(".zip")]
    digest = "sha256:" + hub.keep(broken["packed"])
    world.sandbox.state.put(
        "asset", world.repo, asset["id"], {**asset, "digest": digest, "size": len(broken["packed"])}
    )
    assets = [
        msgspec.structs.replace(one, digest=digest, size=len(broken["packed"])) if one.role == "model" else one
        for one in release.assets
    ]
    world.record(msgspec.structs.replace(release, assets=assets))
    got = world.ask("get", "delay@latest", "-o", workdir / "out")
    assert (got.code, left(workdir / "out")) == (7, [])
    assert "fix:" in got.err
