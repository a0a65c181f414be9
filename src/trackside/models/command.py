"""The flags of `trackside models`; what they ask for is done by modules that are imported only then."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.models.doctor_command import add_doctor
from trackside.models.flags import SPEC, count, shared, spec
from trackside.trust.command import add_verify

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.models.source import Source

Add = Callable[..., argparse.ArgumentParser]


def add_commands(models: argparse.ArgumentParser, add: Add) -> None:
    """`add(commands, name, text, handler)` makes one command; without one it is `list`."""
    shared(models)
    models.set_defaults(handler=_list, model="")
    actions = models.add_subparsers(dest="action", metavar="ACTION")
    listed = add(actions, "list", "one row a model: newest version, stages, age", _list)
    shared(listed, below=True)
    listed.add_argument("model", nargs="?", default="", metavar="MODEL", help="default: all models")
    _show(add(actions, "show", "a model with its versions, or one version with all that is known of it", _shown))
    log = add(actions, "history", "the audit log: what happened to versions and stages, by whom and why", _history)
    shared(log, below=True)
    log.add_argument("model", nargs="?", default="", metavar="MODEL", help="default: all models")
    _limit(log, 0)
    _which(add(actions, "which", "which version a name means, for scripts", _whiched))
    _get(add(actions, "get", "fetch a version's model, verified, to a folder", _got))
    add_verify(actions, add)
    add_doctor(actions, add)


def _show(one: argparse.ArgumentParser) -> None:
    shared(one, below=True)
    one.add_argument("spec", metavar="MODEL[@VERSION]", help=f"MODEL, or {SPEC}")
    _limit(one, 20)


def _which(one: argparse.ArgumentParser) -> None:
    shared(one, below=True)
    spec(one)
    wanted = one.add_mutually_exclusive_group()
    _unbound(one)
    for name, text in (
        ("commit", "print the commit that was released"),
        ("digest", "print the digest of the model file"),
        ("image", "print the image, by its digest"),
    ):
        wanted.add_argument(f"--{name}", action="store_const", const=name, dest="wanted", default="version", help=text)


def _get(one: argparse.ArgumentParser) -> None:
    shared(one, below=True)
    spec(one)
    one.add_argument("-o", "--out", type=Path, default=Path(), metavar="DIR", help="folder; default: this one")
    one.add_argument("--all", action="store_true", help="also the release's other files: run, card, statement, …")
    one.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="NAME",
        help="name that a pickle of this model may import, as the refusal lists them",
    )
    _unbound(one)
    one.add_argument("--force", action="store_true", help="replace a file that differs")
    one.add_argument("--no-progress", action="store_true", help="say nothing while it goes")
    one.add_argument("--dry-run", action="store_true", help="say what would be fetched, write nothing")


def _unbound(one: argparse.ArgumentParser) -> None:
    text = "believe the data branch where the version's tag names no statement"
    one.add_argument("--unbound", action="store_true", help=text)


def _limit(one: argparse.ArgumentParser, default: int) -> None:
    text = "at most so many, the newest; 0: all" + (f"; default: {default}" if default else "")
    one.add_argument("-n", "--limit", type=_number, default=default, metavar="N", help=text)


def _number(text: str) -> int:
    return 0 if text == "0" else count(text)


def _source(context: Context, arguments: argparse.Namespace) -> Source:
    from trackside.models.source import source_of

    return source_of(context, arguments.repo, arguments.repository)


def _list(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.models.listing import list_models
    from trackside.system.clock import SystemClock

    return list_models(context, _source(context, arguments), _model(arguments), SystemClock().now())


def _model(arguments: argparse.Namespace) -> str:
    """The model that is asked for; empty for all. Raises ConfigError for what no model can be called."""
    from trackside.models.which import parse_spec

    return parse_spec(arguments.model, model_alone=True).model if arguments.model else ""


def _shown(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.models.showing import show_model
    from trackside.models.version import show_version
    from trackside.models.which import parse_spec
    from trackside.system.clock import SystemClock

    asked, now = parse_spec(arguments.spec, model_alone=True), SystemClock().now()
    if asked.query == "model":
        return show_model(context, _source(context, arguments), asked.model, arguments.limit, now)
    return show_version(context, _source(context, arguments), asked, now)


def _history(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.models.history import history

    return history(context, _source(context, arguments), _model(arguments), arguments.limit)


def _whiched(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.models.version import which
    from trackside.models.which import parse_spec

    return which(context, _source(context, arguments), parse_spec(arguments.spec), arguments.wanted, arguments.unbound)


def _got(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.models.get import Wish, get
    from trackside.models.which import parse_spec

    wish = Wish(
        spec=parse_spec(arguments.spec),
        folder=arguments.out,
        everything=arguments.all,
        trust=tuple(arguments.trust),
        unbound=arguments.unbound,
        force=arguments.force,
        quiet=arguments.no_progress,
        dry_run=arguments.dry_run,
    )
    return get(context, _source(context, arguments), wish)
