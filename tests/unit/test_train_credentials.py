"""Credentials of a data remote that a library reads from a file: there during the transfer, and gone after it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from conftest import ENV
from trackside.errors import ToolError
from trackside.system.process import Completed, Processes
from trackside.train.dvc import Object, remotes, transfer

KEY = {"type": "service_account", "private_key": "-----BEGIN KEY-----\nabc\n-----END KEY-----\n"}
NAME = "GOOGLE_APPLICATION_CREDENTIALS"


class Watched(Processes):
    """Notes what a child may read while it runs."""

    seen: str = ""
    mode: int = 0

    def run(self, argv: Any, *, env: Mapping[str, str] | None = None, **more: Any) -> Completed:
        path = Path((env or {})[NAME])
        Watched.seen, Watched.mode = path.read_text(), stat.S_IMODE(path.stat().st_mode)
        return super().run(argv, env=env, **more)


def test_json_credentials_are_a_file_during_the_transfer(tmp_path: Path) -> None:
    data = b"content"
    digest = hashlib.md5(data).hexdigest()
    stored = tmp_path / "remote/files/md5" / digest[:2] / digest[2:]
    stored.parent.mkdir(parents=True)
    stored.write_bytes(data)
    (tmp_path / "work/.dvc").mkdir(parents=True)
    found = remotes(f"[core]\nremote = r\n['remote \"r\"']\nurl = {tmp_path}/remote\n", tmp_path / "work")
    state, env = tmp_path / "state", {**ENV, NAME: json.dumps(KEY)}
    obj = Object(digest=f"md5:{digest}")
    transfer("fetch", [obj], found, state=state, env=env, processes=Watched(env))
    assert obj.path(found.cache).read_bytes() == data
    assert json.loads(Watched.seen) == KEY
    assert Watched.mode == 0o600
    kept = [Path(folder, name) for folder, _, names in os.walk(tmp_path) for name in names]
    assert not [path for path in kept if b"PRIVATE" in path.read_bytes().upper() and b"BEGIN KEY" in path.read_bytes()]
    bad = remotes(f"[core]\nremote = r\n['remote \"r\"']\nurl = {tmp_path}/none/x\ntype = z\n", tmp_path / "work")
    with pytest.raises(ToolError):
        transfer("fetch", [Object(digest="md5:" + "0" * 32)], bad, state=state, env=env, processes=Watched(env))
    assert not (state / "room").exists()


def test_a_path_stays_a_path(tmp_path: Path) -> None:
    given = tmp_path / "key.json"
    given.write_text("{}")
    (tmp_path / "work/.dvc").mkdir(parents=True)
    found = remotes(f"[core]\nremote = r\n['remote \"r\"']\nurl = {tmp_path}/remote\n", tmp_path / "work")
    env = {**ENV, NAME: str(given)}
    transfer("fetch", [Object(digest="md5:" + "1" * 32)], found, state=tmp_path / "s", env=env, processes=Watched(env))
    assert Watched.seen == "{}"
    assert given.exists()
