"""The flags of `trackside models doctor`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from trackside.models.flags import shared

if TYPE_CHECKING:
    from trackside.app import Context


def add_doctor(actions: object, add: Callable[..., argparse.ArgumentParser]) -> None:
    """`add(actions, name, text, handler)` makes one command."""
    one = add(actions, "doctor", "find what is wrong with the registry, and repair it", _doctor)
    one.add_argument("model", nargs="?", default="", help="default: all models")
    one.add_argument("--fix", action="store_true", help="repair what can be repaired without asking anybody")
    one.add_argument("--force", action="store_true", help="with --fix: also put back tags that somebody moved")
    one.add_argument("--dry-run", action="store_true", help="say what --fix would do, and write nothing")
    one.add_argument("--offline", action="store_true", help="look at the clone alone")
    shared(one, below=True)


def _doctor(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.models.treat import Wish, doctor
    from trackside.models.which import parse_spec

    wish = Wish(
        repo=arguments.repo,
        repository=arguments.repository,
        model=parse_spec(arguments.model, model_alone=True).model if arguments.model else "",
        fix=arguments.fix or arguments.dry_run,
        force=arguments.force,
        dry_run=arguments.dry_run,
        offline=arguments.offline,
    )
    return doctor(context, wish)
