"""The importance of features, as the run recorded it: read, or refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from trackside.drift.importance import read_importance
from trackside.errors import DataError


@pytest.mark.parametrize(
    "text",
    [
        '{"hour": 3, "carrier": -0.5}',
        '[{"feature": "hour", "importance": 3}, {"feature": "carrier", "importance": -0.5}]',
    ],
)
def test_what_a_run_wrote_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "importance.json").write_text(text)
    assert read_importance(tmp_path / "importance.json") == {"hour": 3.0, "carrier": -0.5}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"[]", b"3", b'"x"', b"[1, 2]", b'{"hour": null}', b'{"hour": true}', b'{"hour": "3"}',
        b'{"hour": NaN}', b'{"hour": 1e999}', b'{"hour": [1]}', b"\xff\xfe", b'[{"name": "hour"}]', b'{"hour": 3',
        b'{"\xed\xa0\x80": 1}', b"[" * 5000,
    ],
)  # fmt: skip
def test_what_is_none_is_refused_with_a_reason(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "importance.json").write_bytes(data)
    with pytest.raises(DataError, match=r"importance\.json cannot be used") as caught:
        read_importance(tmp_path / "importance.json")
    assert caught.value.why
    assert caught.value.remedy


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read_importance(tmp_path / "none.json")
