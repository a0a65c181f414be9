"""The chart of a release page: what went into the version, as far as it is known when the version is made."""

from __future__ import annotations

import msgspec

from trackside.documents.release import Release
from trackside.documents.run import Run
from trackside.lineage.graph import Records, build
from trackside.lineage.mermaid import mermaid
from trackside.lineage.start import of_version
from trackside.lineage.trace import answer

MOST = 12
"""Inputs that are drawn; the tables and `run.json` have them all."""


def chart(release: Release, run: Run) -> str:
    """A block of Markdown that GitHub draws, the same for the same run and release; empty where no data was read."""
    read = [one for one in run.dependencies if one.kind in ("data", "external")]
    if not read or release.run != run.id or release.model != run.model:
        return ""
    few = msgspec.structs.replace(run, dependencies=read[:MOST])
    graph = build(Records(runs=[few], releases=[release]))
    drawn = mermaid(answer(of_version(graph, release.model, release.version)))
    more = f"\n\n{len(read) - MOST:,} more inputs are not drawn." if len(read) > MOST else ""
    return f"```mermaid\n{drawn}```{more}"
