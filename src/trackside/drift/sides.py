"""The two sides of `trackside drift compare`: any tables, by path, address or query, and what is said of flags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

from trackside.config.model import DriftPolicy
from trackside.drift.profile import Side, opened
from trackside.errors import ConfigError, DataError
from trackside.tables.sources import Data, Places, gather, scheme_of, shown_url
from trackside.tables.table import open_table


def asked(policy: DriftPolicy) -> None:
    """Raises ConfigError where a database comes without a query, or a query without a database."""
    if bool(policy.query) != any(map(_is_sql, (policy.reference, policy.current))):
        raise ConfigError(
            "a query is of a database, and a database is read by one",
            remedy="--query 'SELECT …' with an SQLAlchemy URL, such as sqlite:///sales.db",
            link="drift.md",
        )


def side_of(policy: DriftPolicy, day: date, places: Places) -> Side:
    """The table that `policy.reference` names. Raises DataError."""
    try:
        found = gathered(policy, policy.reference, day, places)
    except DataError as error:
        if error.reason_code != "current_missing":
            raise
        words = f"there is no reference at {_named(policy.reference)[:200]}"
        raise DataError(words, why=error.why, link="drift.md", reason_code="reference_missing") from error
    return opened(open_table(found.files), policy, "comparison", source=found.source)


def gathered(policy: DriftPolicy, source: str, day: date, places: Places) -> Data:
    """A path from here, whatever it begins with, or an address; the query is asked of databases alone.

    Raises:
        ConfigError, DataError, ToolError: as `gather` does.
    """
    rooted = source if "://" in source else str(Path.cwd() / source)
    own = replace(policy, current=rooted, query=policy.query if _is_sql(source) else "")
    return replace(gather(own, day, places), source=_named(source))


@contextmanager
def by_flags(policy: DriftPolicy) -> Iterator[None]:
    """Errors about columns of the reference name the flag to correct: there is no configuration."""
    flags = {
        "--feature": policy.features,
        "--segment": policy.segments,
        "--prediction": (policy.prediction,),
        "--label": (policy.label,),
        "--key": (policy.key,),
        "--time": (policy.time,),
    }
    try:
        yield
    except DataError as error:
        if error.reason_code == "reference_invalid" and error.remedy:
            named = [(flag, name) for flag, names in flags.items() for name in names if name]
            vain = [f"{flag} {name}"[:100] for flag, name in named if f"no column {name[:100]!r}" in error.message]
            error.remedy = f"correct {' and '.join(vain)}" if vain else ""
        raise


def _is_sql(source: str) -> bool:
    """Whether a source is read by a query alone."""
    try:
        scheme_of(source, "")
    except ConfigError:
        return True
    return False


def _named(source: str) -> str:
    """A source as it was typed; of an address without secrets."""
    return shown_url(source) if "://" in source else source
