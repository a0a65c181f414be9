"""The flags of `trackside drift`; what they ask for is done by `local.py`, which is imported only then."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.config.model import DriftPolicy
    from trackside.drift.local import Wanted

Add = Callable[..., argparse.ArgumentParser]


def add_commands(drift: argparse.ArgumentParser, add: Add) -> None:
    """`add(commands, name, text, handler)` makes one command."""
    actions = drift.add_subparsers(dest="action", metavar="ACTION", required=True)
    made = add(actions, "profile", "what a drift check needs to know of the reference table", _profile)
    check = add(actions, "check", "compare current data with the reference", _check)
    compare = add(actions, "compare", "compare any two tables, without a configuration", _compare)
    explain = add(actions, "explain", "what moved in one column, how far, how surely and since when", _explain)
    merge = add(actions, "merge", "make one profile of the profiles of parts", _merge)
    made.add_argument("--part", default="", metavar="I/N", help="count one of N parts only: see `merge`")
    made.add_argument("--json", action="store_true", help="the profile is JSON in any case")
    merge.add_argument("parts", nargs="+", type=Path, metavar="PART", help="profiles of `profile --part I/N`")
    explain.add_argument("column", metavar="COLUMN")
    compare.add_argument("reference", metavar="REFERENCE", help="file, glob, folder, address or profile")
    compare.add_argument("current", metavar="CURRENT", help="file, glob, folder or address")
    for one, what in (
        (made, "table; default: that of trackside.yaml"),
        (check, "table or profile; default: the same"),
        (explain, "table or profile; default: the same"),
    ):
        one.add_argument("model", nargs="?", help="default: the only one that watches drift")
        one.add_argument("--reference", default="", metavar="FILE", help=what)
    for one in (check, explain):
        one.add_argument(
            "--as-of", default="", metavar="DATE", help="day that {date} and {yesterday} mean; default: today"
        )
        one.add_argument("--current", default="", help="path, glob or URL; default: that of trackside.yaml")
    for one, forms in ((check, FORMS), (compare, FORMS), (explain, ("md", "json"))):
        _judging(one, forms)
    _policy(compare)
    compare.add_argument("--query", default="", metavar="SQL", help="what is read of a database: SELECT …")
    for one in (made, check, compare, explain):
        one.add_argument("--quiet", action="store_true", help="no progress of long scans")
    for one in (made, check, compare, explain, merge):
        one.add_argument("--out", type=Path, metavar="FILE", help="file to write; default: standard output")


FORMS = ("md", "json", "html", "svg", "png")


def _judging(one: argparse.ArgumentParser, forms: tuple[str, ...]) -> None:
    one.add_argument("--format", choices=forms, default="md")
    one.add_argument("--fail-on", choices=("drift", "invalid", "never"), default="invalid", help="what exits non-zero")
    one.add_argument(
        "--exact",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="sort the rows of both tables, or never; default: where both are Parquet or Arrow files",
    )
    one.add_argument("--dry-run", action="store_true", help="say what would be compared")
    one.add_argument("--json", action="store_true", help="machine-readable output")


def _policy(one: argparse.ArgumentParser) -> None:
    """What trackside.yaml says of a model, by flags."""
    one.add_argument("--feature", action="append", default=[], metavar="COLUMN", help="compare it; default: all")
    one.add_argument("--ignore", action="append", default=[], metavar="COLUMN", help="leave it out")
    one.add_argument("--segment", action="append", default=[], metavar="COLUMN", help="also by its values")
    one.add_argument("--prediction", default="", metavar="COLUMN", help="the model's score")
    one.add_argument("--label", default="", metavar="COLUMN", help="the true value")
    one.add_argument("--key", default="", metavar="COLUMN", help="identifies a row: none may come twice")
    one.add_argument("--time", default="", metavar="COLUMN", help="time of a row: the tables may not overlap")
    one.add_argument("--min-rows", type=_rows, default=100, metavar="N", help="fewer rows are too few; default: 100")
    one.add_argument("--alpha", type=_alpha, default=0.05, metavar="SHARE", help="false discoveries; default: 0.05")


def _rows(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return int(text)


def _alpha(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < 0.5:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 0.5")
    return found


def _wanted(arguments: argparse.Namespace, **more: Any) -> Wanted:
    from trackside.drift.local import Wanted

    return Wanted(
        form=arguments.format,
        out=arguments.out,
        fail_on=arguments.fail_on,
        dry_run=arguments.dry_run,
        exact=arguments.exact,
        quiet=arguments.quiet,
        **more,
    )


def _of_model(arguments: argparse.Namespace) -> Wanted:
    return _wanted(
        arguments,
        model=arguments.model,
        as_of=arguments.as_of,
        reference=arguments.reference,
        current=arguments.current,
    )


def _profile(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.drift.local import profile

    return profile(
        context,
        Path(),
        arguments.model,
        reference=Path(arguments.reference) if arguments.reference else None,
        out=arguments.out,
        part=arguments.part,
        quiet=arguments.quiet,
    )


def _check(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.drift.local import check

    return check(context, Path(), _of_model(arguments))


def _compare(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.drift.local import compare

    return compare(context, _compared(arguments), _wanted(arguments))


def _compared(arguments: argparse.Namespace) -> DriftPolicy:
    from trackside.config.model import DriftPolicy

    return DriftPolicy(
        reference=arguments.reference,
        current=arguments.current,
        query=arguments.query,
        features=tuple(arguments.feature),
        ignore=tuple(arguments.ignore),
        segments=tuple(arguments.segment),
        prediction=arguments.prediction,
        label=arguments.label,
        key=arguments.key,
        time=arguments.time,
        min_rows=arguments.min_rows,
        alpha=arguments.alpha,
    )


def _explain(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.drift.local import explain

    return explain(context, Path(), arguments.column, _of_model(arguments))


def _merge(context: Context, arguments: argparse.Namespace) -> int:
    from trackside.drift.local import merge

    return merge(context, arguments.parts, arguments.out)
