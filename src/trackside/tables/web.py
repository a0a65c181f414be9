"""Current data by HTTP: streamed to a file, bounded in size and time."""

from __future__ import annotations

from pathlib import Path

from trackside.errors import DataError, ToolError

LARGEST = 4 * 1024**3
CONNECT, READ = 15.0, 120.0
"""Seconds to connect, and between two pieces."""


def download(url: str, path: Path, *, shown: str) -> None:
    """GET into a file.

    Raises:
        DataError: the server has no such file (404, 410), or it is larger than 4 GiB.
        ToolError: any other status, or no answer.
    """
    import requests

    try:
        with requests.get(url, stream=True, timeout=(CONNECT, READ)) as answer:
            if answer.status_code in (404, 410):
                raise DataError(
                    f"{shown} does not exist (status {answer.status_code})",
                    link="drift.md",
                    reason_code="current_missing",
                )
            if answer.status_code != 200:
                raise ToolError(
                    f"{shown} answered with status {answer.status_code}",
                    remedy="check the address and its credentials in TRACKSIDE_REMOTE_ENV",
                    link="drift.md",
                    reason_code="source_failed",
                )
            size = 0
            with path.open("wb") as file:
                for piece in answer.iter_content(1024 * 1024):
                    size += len(piece)
                    if size > LARGEST:
                        raise DataError(f"{shown} is larger than {LARGEST:,} bytes", link="drift.md")
                    file.write(piece)
    except requests.RequestException as error:
        raise ToolError(
            f"{shown} did not answer", why=type(error).__name__, link="drift.md", reason_code="source_failed"
        ) from error
