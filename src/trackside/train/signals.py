"""SIGINT and SIGTERM become an exception, so that what runs is stopped and what was done is recorded."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from trackside.errors import TracksideError


class Cancelled(TracksideError):
    """The runner asked this process to end."""

    exit_code = 5
    reason_code = "cancelled"


@contextmanager
def cancellable() -> Iterator[None]:
    """Within, the first SIGINT or SIGTERM raises Cancelled; later ones are ignored, so that cleaning up ends.

    Only the main thread can take signals; in others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, lambda *_: None)  # not SIG_IGN, which children would inherit
        raise Cancelled("the job was cancelled")

    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
