"""The flags of `trackside lineage`; what they ask for is done by modules that are imported only then."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.models.flags import SPEC, count, shared

if TYPE_CHECKING:
    from trackside.app import Context

Add = Callable[..., argparse.ArgumentParser]


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser], add: Add) -> None:
    """`add(commands, name, text, handler)` makes one command."""
    one = add(commands, "lineage", "where a version came from, and what came of data, a commit or a run", _lineage)
    start = one.add_mutually_exclusive_group(required=True)
    start.add_argument("spec", nargs="?", metavar="SPEC", help=SPEC)
    start.add_argument("--data", metavar="DIGEST|PATH", help="which versions learnt from it: md5:…, sha256:… or a path")
    start.add_argument("--commit", metavar="SHA", help="what came of a commit; a beginning is enough")
    start.add_argument("--run", metavar="ID", help="what came of a run; a beginning is enough")
    one.add_argument("--format", choices=("text", "json", "mermaid"), default="text")
    one.add_argument("--depth", type=count, metavar="N", help="show at most N steps either way; counts stay whole")
    shared(one)


def _lineage(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.lineage.ask import Question, ask

    question = Question(
        spec=arguments.spec or "", data=arguments.data or "", commit=arguments.commit or "", run=arguments.run or ""
    )
    return ask(
        context,
        question,
        form="json" if arguments.json else arguments.format,
        repo=Path(arguments.repo),
        repository=arguments.repository,
        depth=arguments.depth,
    )
