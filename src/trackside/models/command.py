"""The flags of `trackside models`; what they ask for is done by modules that are imported only then."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

Add = Callable[..., argparse.ArgumentParser]

REPOSITORY = re.compile(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")


def add_commands(models: argparse.ArgumentParser, add: Add) -> None:
    """`add(commands, name, text, handler)` makes one command."""
    models.add_subparsers(dest="action", metavar="ACTION", required=True)


def shared(one: argparse.ArgumentParser) -> None:
    """The flags of every command that reads the registry: `json`, `repo` (Path) and `repository` ("" or OWNER/NAME)."""
    one.add_argument("--json", action="store_true", help="machine-readable output")
    one.add_argument("--repo", type=Path, default=Path(), metavar="CLONE", help="clone to read; default: this folder")
    one.add_argument(
        "--repository", type=repository, default="", metavar="OWNER/NAME", help="read GitHub itself; needs a token"
    )


def repository(text: str) -> str:
    if not REPOSITORY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not OWNER/NAME")
    return text
