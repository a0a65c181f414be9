"""CPU time of `trackside --version`, in the environment that the actions use."""

from __future__ import annotations

import tempfile
from pathlib import Path

from measure import ROOT, Figure, core_python, figure, machine_env, program, repeat, run_child

TARGET = 0.15
ROUNDS = 11


def measure(*, quick: bool) -> list[Figure]:
    """Beside it, what Python alone and `dvc --version` take."""
    rounds = 1 if quick else ROUNDS
    python = core_python()
    env = machine_env(PYTHONPATH=str(ROOT / "src"), DVC_NO_ANALYTICS="1")
    with tempfile.TemporaryDirectory() as name:

        def cpu(*argv: str | Path) -> list[float]:
            return repeat(lambda: run_child(argv, cwd=Path(name), env=env).cpu, rounds)

        return [
            figure("`python -c pass`, CPU", cpu(python, "-P", "-c", "pass"), "s"),
            figure("`trackside --version`, CPU", cpu(python, "-P", "-m", "trackside", "--version"), "s", TARGET),
            figure("`dvc --version`, CPU", cpu(program("dvc"), "--version"), "s"),
        ]
