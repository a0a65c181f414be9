"""The flags of `trackside models`; what they ask for is done by modules that are imported only then."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Add = Callable[..., argparse.ArgumentParser]


def add_commands(models: argparse.ArgumentParser, add: Add) -> None:
    """`add(commands, name, text, handler)` makes one command."""
    models.add_subparsers(dest="action", metavar="ACTION", required=True)
