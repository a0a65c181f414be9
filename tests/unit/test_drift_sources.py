"""Where current data comes from: files, globs, DVC, HTTP and SQL, for real; and that no credential is ever shown."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import ENV
from drift_world import parquet, rows, table_bytes, verdict_of
from trackside.config.model import DriftPolicy
from trackside.drift.check import observe
from trackside.drift.profile import build, known
from trackside.errors import ConfigError, DataError, ToolError, TracksideError
from trackside.system.process import Processes
from trackside.tables.sources import Data, Places, gather, shown_url
from trackside.tables.table import Table, open_table

SECRET = "hunter2-of-the-database"
PLAIN = DriftPolicy(reference="r", current="c")
NAMES = ("delay", "carrier", "late", "note", "colon", "braces")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    root = tmp_path / "work"
    root.mkdir()
    return Places(
        root=root, folder=tmp_path / "own", processes=Processes(ENV), credentials={"PASSWORD": SECRET, "WORD": "s3cret"}
    )


def get(places: Places, current: str, query: str = "", day: str = "2026-03-01") -> Data:
    return gather(DriftPolicy(reference="r", current=current, query=query), day, places)


def opened(places: Places, current: str, query: str) -> Table:
    """A query runs when its table is opened."""
    return open_table(get(places, current, query).files)


def columns() -> dict[str, Any]:
    return rows(np.random.default_rng(1), 300)


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


# Files


def test_a_path_with_a_date(places: Places) -> None:
    path = parquet(places.root / "production/2026/02-28.parquet", columns())
    found = get(places, "production/{year}/{month-1}-{day-1}.parquet")
    assert (found.source, found.files) == ("production/2026/02-28.parquet", (path,))
    assert found.digest == sha256(path.read_bytes())


def test_globs_and_folders_are_one_table(places: Places) -> None:
    for day in ("01", "02"):
        parquet(places.root / f"production/2026-03-{day}.parquet", columns())
    (places.root / "production/notes.txt").write_text("no table")
    for current in ("production/{year-month}-*.parquet", "production", "production/2026-03-0[12].*", "**/*.parquet"):
        found = get(places, current)
        assert [path.name for path in found.files] == ["2026-03-01.parquet", "2026-03-02.parquet"]
    profile = build(parquet(places.folder / "r.parquet", columns()), PLAIN, "m")
    assert observe(open_table(found.files), known(profile), PLAIN)[0].rows == 600


def test_an_absolute_path_of_the_runner(places: Places, tmp_path: Path) -> None:
    path = parquet(tmp_path / "mounted/2026-03-01.parquet", columns())
    assert get(places, f"{tmp_path}/mounted/{{date}}.parquet").files == (path,)
    assert get(places, f"{tmp_path}/mounted/*.parquet").files == (path,)


@pytest.mark.parametrize("current", ["missing.parquet", "missing/*.parquet", "data.csv.dvc", "/no/such/file.parquet"])
def test_what_is_not_there_is_missing(places: Places, current: str) -> None:
    with pytest.raises(DataError) as caught:
        get(places, current)
    assert caught.value.reason_code == "current_missing"


@pytest.mark.parametrize(
    ("current", "query"),
    [
        ("../secrets.csv", ""),
        ("a/../../secrets.csv", ""),
        ("data/{today}.csv", ""),
        ("data.csv", "SELECT 1"),
        ("s3://bucket/data.csv", ""),
        ("postgresql://host/db", ""),
        ("https://example.test/${MISSING}", ""),
        ("nosuchdialect://host/db", "SELECT 1"),
        ("sqlite:///x.db", "SELECT {nothing}"),
    ],
)
def test_what_cannot_be_meant_is_explained(places: Places, current: str, query: str) -> None:
    with pytest.raises(ConfigError):
        get(places, current, query)


def test_a_link_of_the_checkout_leads_nowhere_else(places: Places, tmp_path: Path) -> None:
    outside = parquet(tmp_path / "outside.parquet", columns())
    (places.root / "link.parquet").symlink_to(outside)
    for current in ("link.parquet", "*.parquet"):
        with pytest.raises(ConfigError, match="link out of"):
            get(places, current)


# DVC


def stored(remote: Path, data: bytes, suffix: str = "") -> str:
    md5 = hashlib.md5(data).hexdigest() + suffix
    path = remote / "files/md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return md5


def test_data_that_dvc_tracks_is_fetched(places: Places, tmp_path: Path) -> None:
    """A file by either of its names, a folder, a file in it, and an output of the pipeline."""
    remote = tmp_path / "remote"
    (places.root / ".dvc").mkdir()
    (places.root / ".dvc/config").write_text(f"[core]\n    remote = s\n['remote \"s\"']\n    url = {remote}\n")
    one, two = table_bytes(columns()), table_bytes(rows(np.random.default_rng(2), 400))
    md5 = stored(remote, one)
    (places.root / "now.parquet.dvc").write_text(f"outs:\n- {{md5: {md5}, hash: md5, path: now.parquet}}\n")
    listing = [{"md5": stored(remote, data), "relpath": f"{day}.parquet"} for day, data in (("01", one), ("02", two))]
    folder = stored(remote, json.dumps(listing).encode(), ".dir")
    (places.root / "days.dvc").write_text(f"outs:\n- {{md5: {folder}, hash: md5, path: days}}\n")
    (places.root / "dvc.lock").write_text(
        f"schema: '2.0'\nstages:\n  log:\n    outs:\n    - {{path: out/log.parquet, hash: md5, md5: {md5}}}\n"
    )
    for current, made in (
        ("now.parquet", [one]),
        ("now.parquet.dvc", [one]),
        ("days", [one, two]),
        ("days/{month-1}.parquet", [two]),
        ("out/log.parquet", [one]),
    ):
        assert [path.read_bytes() for path in get(places, current).files] == made, current
    (places.root / "gone.parquet.dvc").write_text(f"outs:\n- {{md5: {'0a' * 16}, hash: md5, path: gone.parquet}}\n")
    with pytest.raises(ToolError) as caught:
        get(places, "gone.parquet")
    assert caught.value.reason_code == "data_missing"
    (places.root / "bad.parquet.dvc").write_text("outs: [{md5: ../../x, path: bad.parquet}]\n")
    with pytest.raises(DataError):
        get(places, "bad.parquet")


# HTTP


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, _, asked = self.path.partition("?")
        known = path == "/data/2026-03-01.parquet" and asked == "token=s3cret"
        self.send_response({"/broken": 500, "/private": 403}.get(path, 200 if known else 404))
        self.end_headers()
        self.wfile.write(table_bytes(columns()) if known else b"no")

    def log_message(self, format: str, *arguments: Any) -> None:
        del format, arguments


@pytest.fixture
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_download(places: Places, web: str) -> None:
    found = get(places, web + "/data/{date}.parquet?token=${WORD}")
    assert found.source == f"{web}/data/2026-03-01.parquet?***"
    assert pq.read_table(found.files[0]).num_rows == 300


def test_a_download_that_fails(places: Places, web: str) -> None:
    for path, kind, code in (
        ("/data/2026-03-02.parquet?token=${WORD}", DataError, "current_missing"),
        ("/broken?token=${WORD}", ToolError, "source_failed"),
        ("/private?token=${WORD}", ToolError, "source_failed"),
    ):
        with pytest.raises(kind) as caught:
            get(places, web + path)
        assert caught.value.reason_code == code
        assert "s3cret" not in caught.value.render()
    with pytest.raises(ToolError) as caught:
        get(places, "http://user:${WORD}@127.0.0.1:1/x.parquet")
    assert "s3cret" not in caught.value.render()


# Other file systems


def test_a_store_is_read_in_place(places: Places) -> None:
    store = fsspec.filesystem("memory")
    for day in ("01", "02"):
        store.pipe(f"/bucket/days/2026-03-{day}.parquet", table_bytes(columns()))
    store.pipe("/bucket/days/notes.txt", b"no table")
    for current in ("memory://bucket/days/2026-03-*.parquet", "memory://bucket/days", "memory://bucket/days/"):
        found = get(places, current)
        assert [file.name for file in found.files] == ["2026-03-01.parquet", "2026-03-02.parquet"]
        assert (found.source, found.digest) == (current, "")
        table = open_table(found.files)
        assert (table.rows, sum(rows for rows, _ in table.pieces(["hour"]))) == (600, 600)
    with pytest.raises(DataError) as caught:
        get(places, "memory://bucket/days/{date}.csv")
    assert caught.value.reason_code == "current_missing"


@pytest.mark.skipif(find_spec("s3fs") is not None, reason="the driver is installed")
def test_a_driver_that_is_missing_is_named(places: Places) -> None:
    with pytest.raises(ConfigError, match="the package s3fs") as caught:
        get(places, "s3://bucket/data.csv?versionId=${WORD}")
    assert caught.value.reason_code == "tool_missing"
    assert "s3cret" not in caught.value.render()


# SQL


def database(path: Path, count: int = 45_000) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table flights (day text, delay real, carrier text, late integer, note text)")
        days = [(date(2026, 3, 1) - timedelta(days=at % 3)).isoformat() for at in range(count)]
        connection.executemany(
            "insert into flights values (?, ?, ?, ?, ?)",
            [(day, at / 7, "ab"[at % 2], at % 5 == 0, None if at < 44_000 else "x") for at, day in enumerate(days)],
        )
    connection.close()


def test_a_query(places: Places, tmp_path: Path) -> None:
    database(tmp_path / "flights.db")
    found = get(
        places,
        f"sqlite:///{tmp_path}/flights.db",
        "SELECT delay, carrier, late, note, 'a:b' AS colon, '{{}}' AS braces FROM flights WHERE day <= '{yesterday}'",
    )
    assert (found.digest, open_table(found.files).loose) == ("", True)
    read, again = (
        [pa.table(batch) for batch in open_table(found.files).batches(["missing", *NAMES])] for _ in range(2)
    )
    assert read == again
    table = pa.concat_tables(read, promote_options="permissive")
    assert table.num_rows == 30_000
    assert {field.name: str(field.type) for field in table.schema} == {
        "delay": "double",
        "carrier": "string",
        "late": "int64",
        "note": "string",
        "colon": "string",
        "braces": "string",
    }
    assert table["colon"][0].as_py() == "a:b"
    assert table["braces"][0].as_py() == "{}"


def test_a_query_changes_nothing(places: Places, tmp_path: Path) -> None:
    path = tmp_path / "flights.db"
    database(path, 100)
    before = path.read_bytes()
    for query in (
        "DELETE FROM flights",
        "DROP TABLE flights",
        "-- x\n drop table flights",
        "SELECTED",
        "",
        "/* select */ x",
    ):
        with pytest.raises(ConfigError, match="reads"):
            get(places, f"sqlite:///{path}", query or " ")
    for query in ("SELECT * FROM nowhere", "SELECT 1; DROP TABLE flights", "WITH x AS (SELECT 1) DELETE FROM flights"):
        with pytest.raises((ToolError, DataError)):
            opened(places, f"sqlite:///{path}", query)
    assert path.read_bytes() == before
    none = get(places, f"sqlite:///{path}", "SELECT * FROM flights WHERE day = '1999-01-01'")
    profile = build(
        parquet(tmp_path / "r.parquet", {"delay": [1.0, 2.0] * 100}), DriftPolicy(reference="r", current="c"), "m"
    )
    found = verdict_of(profile, none.files[0])
    assert (found.verdict, found.reason_code) == ("invalid_data", "current_empty")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://ada:${PASSWORD}@127.0.0.1:1/db",
        "mysql://ada:${PASSWORD}@host/db",
        "sqlite:////${PASSWORD}/no/such/folder.db",
        "${PASSWORD}://host/db",
        "sqlite://${PASSWORD}@nowhere:port/db",
    ],
)
def test_no_credential_is_shown(places: Places, url: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TracksideError) as caught:
        opened(places, url, "SELECT 1")
    shown = caught.value.render() + "".join(capfd.readouterr())
    error: BaseException | None = caught.value.__cause__
    assert SECRET not in shown
    assert error is None or SECRET not in str(error)


def test_urls_as_they_are_shown() -> None:
    assert shown_url("postgresql://ada:pw@host:1/db?sslkey=x") == "postgresql://***@host:1/db?***"
    assert shown_url("https://host/a.csv") == "https://host/a.csv"
    assert shown_url("postgresql://${USER}:${PASSWORD}@host/db") == "postgresql://***@host/db"
