"""The flags of `trackside reproduce`; the work is imported only when it is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.models.flags import SPEC, shared

if TYPE_CHECKING:
    from trackside.app import Context

Add = Callable[..., argparse.ArgumentParser]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser], add: Add) -> None:
    """`add(commands, name, text, handler)` makes one command."""
    one = add(commands, "reproduce", "train a recorded run again, aside, and tell what is the same", _reproduce)
    one.add_argument("name", metavar="VERSION|RUN", help=f"{SPEC}, a run id or a run document")
    one.add_argument("--dry-run", action="store_true", help="say what would be restored, train nothing")
    one.add_argument("--keep", type=Path, metavar="DIR", help="train in this new folder, and leave it there")
    one.add_argument("--no-venv", action="store_true", help="use the present Python, not the recorded lock")
    one.add_argument(
        "--twice", action="store_true", help="where it differs, train once more: chance or the environment?"
    )
    shared(one)


def _reproduce(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.reproduce.run import Wish, reproduce

    wish = Wish(
        name=arguments.name,
        repo=arguments.repo,
        repository=arguments.repository,
        keep=arguments.keep,
        install=not arguments.no_venv,
        twice=arguments.twice,
        dry_run=arguments.dry_run,
    )
    return reproduce(context, wish)
