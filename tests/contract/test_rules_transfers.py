"""The file store behind release assets: ranges as HTTP has them (RFC 9110), and what no client should ask."""

from __future__ import annotations

import random

import pytest
import requests

from trackside.sandbox.server import Sandbox

CONTENT = random.Random(7).randbytes(700_001)


@pytest.fixture
def url(sandbox: Sandbox) -> str:
    """Where the store has `CONTENT`."""
    return f"{sandbox.url}/_blobs/{sandbox.hub.keep(CONTENT)}"


def test_asset_ranges(sandbox: Sandbox, url: str) -> None:
    size = len(CONTENT)
    draw = random.Random(3)
    asked = ["bytes=0-", "bytes=-1", f"bytes={size - 1}-", f"bytes=0-{size * 2}", f"bytes=-{size * 2}"]
    for _ in range(60):
        first = draw.randrange(size)
        asked += [
            f"bytes={first}-",
            f"bytes={first}-{draw.randrange(first, size)}",
            f"bytes=-{draw.randrange(1, size)}",
        ]
    same = {"Accept-Encoding": "identity"}
    for text in asked:
        answer = requests.get(url, headers={**same, "Range": text}, timeout=20)
        low, _, high = text.removeprefix("bytes=").partition("-")
        first = int(low) if low else max(size - int(high), 0)
        end = size if not low or not high else min(int(high) + 1, size)
        assert answer.status_code == 206, text
        assert answer.headers["Content-Range"] == f"bytes {first}-{end - 1}/{size}"
        assert int(answer.headers["Content-Length"]) == end - first
        assert answer.content == CONTENT[first:end], text
    for text in (f"bytes={size}-", f"bytes={size + 7}-{size + 9}", "bytes=-0"):
        answer = requests.get(url, headers={**same, "Range": text}, timeout=20)
        assert (answer.status_code, answer.headers["Content-Range"]) == (416, f"bytes */{size}")
    other = requests.get(url, headers={**same, "Range": "bytes=5-", "If-Range": '"old"'}, timeout=20)
    assert (other.status_code, other.content) == (200, CONTENT)
    print(f"{len(asked)} ranges")
    assert len(asked) == 185


def test_odd_ranges(sandbox: Sandbox, url: str) -> None:
    for headers in ({"Range": "bytes=0-1,5-6", "Accept-Encoding": "identity"}, {"Range": "bytes=0-1"}):
        requests.get(url, headers=headers, timeout=20)
    assert len(sandbox.violations) == 2
    sandbox.violations.clear()
