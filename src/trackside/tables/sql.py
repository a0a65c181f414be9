"""Current data by SQL: the rows of one query as part of a table, fetched in pieces and never kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from trackside.errors import ConfigError, DataError, ToolError
from trackside.tables.readers import Part, Piece

PIECE = 20_000
ROWS = 20_000_000
"""A query with more rows is refused: aggregate or sample it in the database."""

_READS = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table|from)\b", re.IGNORECASE | re.DOTALL)
"""Some databases commit changes of their structure at once, so that a roll-back would come too late."""
READ_ONLY = {"sqlite": "PRAGMA query_only = ON", "postgresql": "SET TRANSACTION READ ONLY"}
"""Said first, by dialect; everywhere else the roll-back and the rights of the database's user must do."""


class Query:
    """A query that reads; what it changed is rolled back. It runs once for each pass over the table, the first pass
    goes on where the look at the types stopped.

    Raises:
        ConfigError: no URL of SQLAlchemy, its driver is not installed, or the query is none that reads.
    """

    columnar = False
    rows: int | None = None
    loose = True

    def __init__(self, url: str, text: str, *, shown: str, secrets: Mapping[str, str]) -> None:
        if not _READS.match(text):
            raise ConfigError("the query of a drift check reads", remedy="query: SELECT …", link="drift.md")
        self.name = f"the query of {shown}"
        self._text, self._secrets = text, secrets
        self._engine = _engine(url, shown, secrets)
        self._begun: Iterator[Any] | None = None
        self._first: Any = None

    @property
    def schema(self) -> Any:
        """Names, with the types of the first piece.

        Raises:
            DataError: the query gives no columns.
            ToolError: the database refused.
        """
        if self._first is None:
            self._begun = self._tables()
            self._first = next(self._begun)
        return self._first.schema

    def pieces(self, columns: Sequence[str]) -> Iterator[Piece]:
        """Raises like `schema`, and DataError for too many rows."""
        there = [name for name in columns if name in self.schema.names]
        if self._begun is not None:
            tables, self._begun = self._begun, None
            yield from _piece(self._first, there)
        else:
            tables = self._tables()
        for table in tables:
            yield from _piece(table, there)

    def split(self) -> Sequence[Part]:
        return [self]

    def close(self) -> None:
        """Give the connection back, also that of a pass that was begun only."""
        begun, self._begun = self._begun, None
        if begun is not None:
            with suppress(ToolError):
                begun.close()  # type: ignore[attr-defined]
        self._engine.dispose()

    def _tables(self) -> Iterator[Any]:
        """Arrow batches, at least one."""
        import sqlalchemy as sa

        with self._told(), self._engine.connect() as connection:
            if first := READ_ONLY.get(self._engine.dialect.name):
                connection.execute(sa.text(first))
            # A colon before a word would be taken for a parameter; the query has none.
            statement = sa.text(re.sub(r"(?<![:\\]):(?=[A-Za-z_])", r"\\:", self._text))
            result = connection.execution_options(stream_results=True).execute(statement)
            if not result.returns_rows:
                raise DataError(f"{self.name} gives no rows", remedy="use a SELECT", link="drift.md")
            names = list(result.keys())
            rows = 0
            while (piece := result.fetchmany(PIECE)) or not rows:
                rows += len(piece)
                if rows > ROWS:
                    raise DataError(f"{self.name} gives more than {ROWS:,} rows", link="drift.md")
                yield _batch(names, piece)
                if not piece:
                    break
            connection.rollback()

    @contextmanager
    def _told(self) -> Iterator[None]:
        import sqlalchemy as sa

        from trackside.tables.sources import without

        try:
            yield
        except sa.exc.SQLAlchemyError as error:
            cause = without(str(getattr(error, "orig", None) or type(error).__name__), self._secrets)
            raise ToolError(
                f"{self.name} failed",
                why=" ".join(cause.split())[:300],
                link="drift.md",
                reason_code="source_failed",
            ) from None


def _engine(url: str, shown: str, secrets: Mapping[str, str]) -> Any:
    import sqlalchemy as sa

    from trackside.tables.sources import without

    try:
        return sa.create_engine(url)
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


def _piece(batch: Any, names: Sequence[str]) -> Iterator[Piece]:
    if batch.num_rows:
        yield batch.num_rows, {name: batch.column(batch.schema.get_field_index(name)) for name in names}


def _batch(names: list[str], rows: Sequence[Any]) -> Any:
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([_array([row[at] for row in rows]) for at in range(len(names))], names=names)


def _array(values: list[Any]) -> Any:
    """Arrow's type for values of a driver; those it does not know, and mixed ones, become text."""
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, ValueError):
        return pa.array([None if one is None else str(one) for one in values], pa.string())
