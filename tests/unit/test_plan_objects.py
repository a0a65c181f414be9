"""Git objects: fetching into a bare repository from a path, reading trees, and what git is not allowed to do."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from plan_samples import PROCESSES, commit, git, repository

from trackside.errors import ConfigError, DataError, NotFound, ToolError
from trackside.plan.objects import GitTree, fetch, git_env, read_commit


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return repository(tmp_path / "source.git")


def test_shas_and_refs_are_fetched_without_history(source: Path, tmp_path: Path) -> None:
    first = commit(source, {"a": "1"}, ref="refs/heads/main")
    second = commit(source, {"a": "2"}, parents=(first,), ref="refs/heads/topic")
    merge = commit(source, {"a": "3"}, parents=(first, second), ref="refs/pull/7/merge")
    bare = tmp_path / "made" / "objects.git"
    assert fetch(bare, source, ["refs/pull/7/merge", first], processes=PROCESSES) == (merge, first)
    assert read_commit(bare, merge, PROCESSES).parents == (first, second)
    with pytest.raises(NotFound):
        read_commit(bare, second, PROCESSES)
    assert git(bare, "config", "core.bare") == "true"
    assert not (bare / "hooks").exists()
    assert not (bare / "FETCH_HEAD").exists()
    git(source, "update-ref", "-d", "refs/heads/main")
    assert fetch(bare, source, [first, merge], processes=PROCESSES) == (first, merge)


def test_a_ref_that_moved_is_fetched_again(source: Path, tmp_path: Path) -> None:
    bare = tmp_path / "objects.git"
    for text in "12":
        made = commit(source, {"a": text}, ref="refs/pull/7/merge")
        assert fetch(bare, source, ["refs/pull/7/merge"], processes=PROCESSES) == (made,)


@pytest.mark.parametrize(
    "wanted", ["--upload-pack=touch x", "main", "refs/../x", "refs/heads/a b", "HEAD", "a" * 39, "a" * 40 + "\n", ""]
)
def test_only_full_shas_and_refs_are_asked_for(source: Path, tmp_path: Path, wanted: str) -> None:
    with pytest.raises(DataError):
        fetch(tmp_path / "x.git", source, [wanted], processes=PROCESSES)


@pytest.mark.parametrize("url", ["ext::sh -c touch% x", "ssh://host/x", "git://host/x://"])
def test_other_protocols_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises((ConfigError, ToolError, NotFound)):
        fetch(tmp_path / "x.git", url, ["a" * 40], processes=PROCESSES)
    assert not (tmp_path / "x").exists()


def test_what_is_gone_is_not_found(source: Path, tmp_path: Path) -> None:
    commit(source, {"a": "1"}, ref="refs/heads/main")
    for wanted in ("1" * 40, "refs/pull/9/merge"):
        with pytest.raises(NotFound) as caught:
            fetch(tmp_path / "x.git", source, [wanted], processes=PROCESSES)
        assert caught.value.reason_code == "commit_gone"


def test_hooks_and_settings_of_the_machine_are_not_used(source: Path, tmp_path: Path) -> None:
    sha = commit(source, {"a": "1"}, ref="refs/heads/main")
    bare, mark = tmp_path / "objects.git", tmp_path / "MARK"
    fetch(bare, source, [sha], processes=PROCESSES)
    hook = bare / "hooks" / "reference-transaction"
    hook.parent.mkdir()
    hook.write_text(f"#!/bin/sh\ntouch {mark}\n")
    hook.chmod(0o755)
    other = commit(source, {"a": "2"}, ref="refs/heads/main")
    fetch(bare, source, [other], processes=PROCESSES)
    assert not mark.exists()
    machine = {"PATH": "/bin", "GITHUB_TOKEN": "t", "GIT_DIR": "/x", "LD_PRELOAD": "/y", "HTTPS_PROXY": "http://p"}
    env = git_env(machine, url="https://h/x", token="s")
    assert not {"GITHUB_TOKEN", "GIT_DIR", "LD_PRELOAD"} & env.keys()
    assert (env["PATH"], env["HTTPS_PROXY"]) == ("/bin", "http://p")
    settings = {env[f"GIT_CONFIG_KEY_{n}"]: env[f"GIT_CONFIG_VALUE_{n}"] for n in range(int(env["GIT_CONFIG_COUNT"]))}
    assert settings["http.https://h/x.extraheader"] == "Authorization: Basic eC1hY2Nlc3MtdG9rZW46cw=="
    assert settings["core.hooksPath"] == "/dev/null"


def test_a_tree_is_listed_and_read_in_batches(source: Path) -> None:
    files = {f"d{n % 7}/f{n}.txt": f"text {n}\n\n" for n in range(300)}
    files |= {"d1-x": "beside", "d1.x": "beside", "empty": "", "ünï/cödé.txt": "ü", "d1/bin": "\x00\n\x00"}
    tree = GitTree.open(source, commit(source, files), PROCESSES)
    assert list(tree.paths()) == sorted(files)
    assert list(tree.under("d1")) == sorted(name for name in files if name.startswith("d1/"))
    assert list(tree.under(".")) == sorted(files)
    assert tree.read(files) == {name: text.encode() for name, text in files.items()}
    assert tree.digests(files) == {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
    assert (tree.is_folder("d1"), tree.is_folder("d1/bin"), tree.is_folder("d")) == (True, False, False)
    print(f"{len(files)} files")
    assert len(files) == 305


def test_links_are_followed_inside_the_tree_only(source: Path) -> None:
    links = {
        "file": "real/a.txt",
        "folder": "real",
        "deep/up": "../folder/a.txt",
        "chain": "deep/up",
        "out": "../../etc/passwd",
        "absolute": "/etc/passwd",
        "one": "two",
        "two": "one",
        "broken": "nothing",
    }
    sha = commit(source, {"real/a.txt": "x", **links}, modes=dict.fromkeys(links, "120000"))
    tree = GitTree.open(source, sha, PROCESSES)
    followed = {name: tree.resolve(name) for name in links}
    assert followed == {
        "file": "real/a.txt",
        "folder": "real",
        "deep/up": "real/a.txt",
        "chain": "real/a.txt",
        "out": None,
        "absolute": None,
        "one": None,
        "two": None,
        "broken": None,
    }
    assert tree.resolve("folder/a.txt") == "real/a.txt"
    assert tree.resolve("real/../real/a.txt") == "real/a.txt"
    assert tree.resolve("../x") is None
