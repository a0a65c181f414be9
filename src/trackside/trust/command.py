"""The flags of `trackside models verify`; the work is imported only then."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.models.flags import shared, spec

if TYPE_CHECKING:
    from trackside.app import Context

Add = Callable[..., argparse.ArgumentParser]


def add_verify(actions: argparse._SubParsersAction[argparse.ArgumentParser], add: Add) -> None:
    """`add(actions, name, text, handler)` makes one command."""
    one = add(actions, "verify", "whether a version is what it was made as: files, statement, tag, signature", _verify)
    shared(one, below=True)
    spec(one)
    one.add_argument("--dir", type=Path, default=None, metavar="DIR", help="files of the release that are here already")
    one.add_argument(
        "--offline", action="store_true", help="ask nobody: the files of --dir, tag and records of the clone"
    )
    one.add_argument("--signed", action="store_true", help="a version without a verified signature is not verified")
    one.add_argument(
        "--bundle",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="Sigstore bundle, or one a line (.jsonl)",
    )
    one.add_argument("--trusted-root", type=Path, metavar="FILE", help="trust root; default: Sigstore's public one")
    one.add_argument(
        "--workflow", default="release.yml", metavar="FILE", help="who must have signed; default: release.yml"
    )
    one.add_argument("--branch", default="", metavar="NAME", help="on which branch; default: the default branch")


def _verify(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.models.source import source_of
    from trackside.models.which import parse_spec
    from trackside.trust.verify import Wish, verify

    wish = Wish(
        spec=parse_spec(arguments.spec),
        repo=None if arguments.repository else arguments.repo,
        folder=arguments.dir,
        offline=arguments.offline,
        signed=arguments.signed,
        bundles=tuple(arguments.bundle),
        trusted_root=arguments.trusted_root,
        workflow=arguments.workflow,
        branch=arguments.branch,
    )
    return verify(context, source_of(context, arguments.repo, arguments.repository), wish)
