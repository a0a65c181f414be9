"""What the sandbox knows, on disk: JSON documents in one SQLite file, beside the bare repositories.

Layout of a state folder: `state.db`, `repos/<owner>/<name>.git`, `blobs/<sha256>` (assets, artifacts),
`runs/<run id>/` (event, logs, artifacts of a workflow run).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Doc = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS docs (
  kind TEXT NOT NULL, repo TEXT NOT NULL, key TEXT NOT NULL, seq INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (kind, repo, key)
);
CREATE INDEX IF NOT EXISTS docs_order ON docs (kind, repo, seq);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


class State:
    """Documents by (kind, repo, key); `repo` is `owner/name`, or empty for what belongs to no repository.

    Safe for threads: one connection, one re-entrant lock. Writes inside `transaction()` land together or not at all.
    Documents come back as fresh copies: changing one changes nothing until `put`.
    """

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self._lock = threading.RLock()
        self._depth = 0
        self._db = sqlite3.connect(root / "state.db", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; the state may be opened again."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Group reads and writes; nested transactions join the outer one. An exception rolls everything back."""
        with self._lock:
            if self._depth == 0:
                self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("COMMIT")

    def next(self, name: str) -> int:
        """The next value of a persistent counter, from 1 (`id` for global ids, `number:owner/name` for issues)."""
        with self._lock:
            row = self._db.execute(
                "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value",
                (name,),
            ).fetchone()
            return int(row[0])

    def put(self, kind: str, repo: str, key: str | int, doc: Doc) -> Doc:
        """Insert or replace; keeps the original place in `list` order on replacement."""
        with self._lock, self.transaction():
            self._db.execute(
                "INSERT INTO docs VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (kind, repo, key) DO UPDATE SET body = excluded.body",
                (kind, repo, str(key), self.next("seq"), json.dumps(doc)),
            )
        return doc

    def get(self, kind: str, repo: str, key: str | int) -> Doc | None:
        """One document, or None."""
        with self._lock:
            row = self._db.execute(
                "SELECT body FROM docs WHERE kind = ? AND repo = ? AND key = ?", (kind, repo, str(key))
            ).fetchone()
        return json.loads(row[0]) if row else None

    def list(self, kind: str, repo: str, **equal: Any) -> list[Doc]:
        """All documents of a kind in insertion order, filtered by equality of top-level fields."""
        with self._lock:
            rows = self._db.execute(
                "SELECT body FROM docs WHERE kind = ? AND repo = ? ORDER BY seq", (kind, repo)
            ).fetchall()
        docs = (json.loads(row[0]) for row in rows)
        return [doc for doc in docs if all(doc.get(name) == value for name, value in equal.items())]

    def delete(self, kind: str, repo: str, key: str | int) -> bool:
        """Remove one document; False when there was none."""
        with self._lock:
            done = self._db.execute("DELETE FROM docs WHERE kind = ? AND repo = ? AND key = ?", (kind, repo, str(key)))
            return done.rowcount > 0
