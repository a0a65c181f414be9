"""Runs one phase in a process of its own that a signal hits at the n-th step (a child process or a file written)."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from train_samples import Lab

from trackside.errors import TracksideError
from trackside.system.process import Processes
from trackside.train import state


def main(origin: str, root: str, phase: str, number: str, at: str) -> int:
    """Prints how many steps the phase got to; exit status 5 when it was cancelled, 0 when it ended."""
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps == int(at):
            print("hit", flush=True)
            os.kill(os.getpid(), signal.Signals[number])

    def before(owner: Any, name: str) -> None:
        inner = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            step()
            return inner(*args, **kwargs)

        setattr(owner, name, counted)

    lab = Lab.open(Path(origin), Path(root))
    before(Processes, "run")
    before(Processes, "spawn")
    before(state, "write")
    try:
        lab.phase(phase)
    except TracksideError as error:
        print(error.reason_code)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
