"""Current data by SQL: the rows of one query into a Parquet file, fetched in pieces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackside.errors import ConfigError, DataError, ToolError

PIECE = 20_000
ROWS = 20_000_000
"""A query with more rows is refused: aggregate or sample it in the database."""


_READS = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table|from)\b", re.IGNORECASE | re.DOTALL)
"""Some databases commit changes of their structure at once, so that a roll-back would come too late."""
READ_ONLY = {"sqlite": "PRAGMA query_only = ON", "postgresql": "SET TRANSACTION READ ONLY"}
"""Said first, by dialect; everywhere else the roll-back and the rights of the database's user must do."""


def query(url: str, text: str, path: Path, *, shown: str, secrets: Mapping[str, str]) -> None:
    """Run a query and write its rows; what it changed is rolled back.

    Raises:
        ConfigError: no URL of SQLAlchemy, its driver is not installed, or the query is none that reads.
        DataError: the query gives no columns, or too many rows.
        ToolError: the database refused.
    """
    import sqlalchemy as sa

    from trackside.drift.sources import without

    if not _READS.match(text):
        raise ConfigError("the query of a drift check reads", remedy="query: SELECT …", link="drift.md")
    try:
        engine = sa.create_engine(url)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ValueError) as error:
        raise ConfigError(
            f"{shown} is no SQLAlchemy URL", why=without(str(error), secrets)[:300], link="drift.md"
        ) from None
    except ImportError as error:
        raise ConfigError(
            f"the database driver for {shown} is not installed",
            why=str(error)[:200],
            remedy="install it in a step before this one, with the Python of the action's output `python`",
            link="drift.md",
            reason_code="tool_missing",
        ) from None
    try:
        with engine.connect() as connection:
            if first := READ_ONLY.get(engine.dialect.name):
                connection.execute(sa.text(first))
            # A colon before a word would be taken for a parameter; the query has none.
            statement = sa.text(re.sub(r"(?<![:\\]):(?=[A-Za-z_])", r"\\:", text))
            result = connection.execution_options(stream_results=True).execute(statement)
            _write(result, path, shown)
            connection.rollback()
    except sa.exc.SQLAlchemyError as error:
        cause = without(str(getattr(error, "orig", None) or type(error).__name__), secrets)
        raise ToolError(
            f"the query of {shown} failed",
            why=" ".join(cause.split())[:300],
            link="drift.md",
            reason_code="source_failed",
        ) from None
    finally:
        engine.dispose()


def _write(result: Any, path: Path, shown: str) -> None:
    """Pieces become one table: a column that is null at first takes its type later."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not result.returns_rows:
        raise DataError(f"the query of {shown} gives no rows", remedy="use a SELECT", link="drift.md")
    names = list(result.keys())
    pieces: list[Any] = []
    rows = 0
    while piece := result.fetchmany(PIECE):
        rows += len(piece)
        if rows > ROWS:
            raise DataError(f"the query of {shown} gives more than {ROWS:,} rows", link="drift.md")
        arrays = [_array([row[at] for row in piece]) for at in range(len(names))]
        pieces.append(pa.Table.from_arrays(arrays, names=names))
    if not pieces:
        pieces.append(pa.table({name: pa.nulls(0) for name in names}))
    try:
        whole = pa.concat_tables(pieces, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(
            f"a column of the query of {shown} changes its type", why=str(error)[:300], link="drift.md"
        ) from error
    pq.write_table(whole, path)


def _array(values: list[Any]) -> Any:
    """Arrow's type for values of a driver; those it does not know, and mixed ones, become text."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError):
        return pa.array([None if one is None else str(one) for one in values], pa.string())
