"""The flags that every command on the registry has; light, since the parser of every command is made each time."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

REPOSITORY = re.compile(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}")
SPEC = "MODEL@v1.2.3, MODEL@latest, MODEL@greatest or MODEL#STAGE"


def shared(one: argparse.ArgumentParser, *, below: bool = False) -> None:
    """The flags of every command that reads the registry: `json`, `repo` (Path) and `repository` ("" or OWNER/NAME).

    `below`: the command is one of a group that has these flags itself, and keeps what was said there.
    """
    plain, here, nowhere = (argparse.SUPPRESS,) * 3 if below else (False, Path(), "")
    one.add_argument("--json", action="store_true", default=plain, help="machine-readable output")
    one.add_argument("--repo", type=Path, default=here, metavar="CLONE", help="clone to read; default: this folder")
    one.add_argument(
        "--repository", type=repository, default=nowhere, metavar="OWNER/NAME", help="read GitHub itself; needs a token"
    )


def spec(one: argparse.ArgumentParser) -> None:
    """The argument `spec`: which version is meant; `which.parse_spec` understands it."""
    one.add_argument("spec", metavar="SPEC", help=SPEC)


def count(text: str) -> int:
    if not text.isdecimal() or len(text) > 9 or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def repository(text: str) -> str:
    if text and not REPOSITORY.fullmatch(text):  # argparse converts the default as well
        raise argparse.ArgumentTypeError(f"{text!r} is not OWNER/NAME")
    return text
