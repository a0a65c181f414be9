"""Release notes: what changed against the previous version. All values come from data and code: they are escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trackside.config.model import Model
from trackside.documents.release import Asset, Release
from trackside.documents.report import MetricRow
from trackside.documents.run import Dependency, Metric, Run
from trackside.lineage.chart import chart
from trackside.report.diff import data_rows, metric_rows, value_rows
from trackside.report.escape import code, inline
from trackside.report.text import change, decimals, duration, number, sentence, short, size, value

MOST_ROWS = 40
"""Rows of a table; the run document has them all."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the texts of a release are made of. `web_url` is the repository's page; `before` the previous version."""

    release: Release
    run: Run
    model: Model
    web_url: str
    before: Release | None = None
    before_run: Run | None = None

    @property
    def anew(self) -> dict[tuple[str, str], Metric]:
        """The previous version's metrics on this run's data, where the run judged its model there."""
        judged = self.run.comparison
        same = judged is not None and self.before is not None and judged.baseline_run == self.before.run
        return {(one.name, one.file): one for one in judged.champion} if judged is not None and same else {}

    @property
    def metrics(self) -> list[MetricRow]:
        old = self.before_run.metrics if self.before_run else self.before.metrics if self.before else None
        anew = self.anew
        return metric_rows(
            [anew.get((one.name, one.file), one) for one in old] if old is not None else None,
            self.run.metrics,
            self.model.metrics,
        )


def notes(facts: Facts) -> str:
    """Markdown of the release page."""
    release, run = facts.release, facts.run
    parts = [_head(facts)]
    against = facts.before.version if facts.before else ""
    parts.append(_broken(facts.metrics))
    parts.append(metrics_table(facts.metrics, against, release.version))
    if facts.anew:
        parts.append(f"The metrics of {against} are those of its model on the data of {release.version}.")
    if facts.before is None:
        parts.append("This is the first version.")
    elif facts.before_run is None:
        parts.append(f"The run record of {against} is gone, so parameters and data cannot be compared.")
    else:
        parts.append(_params(facts.before_run, run, against, release.version))
        parts.append(_data(facts.before_run.dependencies, run.dependencies, against, release.version))
    parts.append(_files(release.assets))
    drawn = chart(release, run)
    parts.append(f"### Where it came from\n\n{drawn}" if drawn else "")
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(facts: Facts) -> str:
    release, run = facts.release, facts.run
    commit = f"[`{release.commit[:12]}`]({facts.web_url}/commit/{release.commit})"
    origin = f"merged with #{release.pull_request}" if release.pull_request else "on the default branch"
    lines = [
        f"**{inline(release.model)} {release.version}**, {origin} at {commit}.",
        f"Trained by run {code(run.id)} in {duration(run.usage.wall_seconds)}; nothing was trained again.",
    ]
    if facts.before is not None:
        link = f"{facts.web_url}/compare/{facts.before.commit}...{release.commit}"
        lines.append(f"[All code changes since {facts.before.version}]({link}).")
    return "\n".join(lines)


def _broken(rows: Sequence[MetricRow]) -> str:
    """What the policy does not allow, and was merged all the same."""
    bad = [row for row in rows if row.gated and row.verdict in ("failed_bound", "regressed", "gone")]
    return "> [!WARNING]\n" + "\n".join(f"> {inline(sentence(row))}." for row in bad) if bad else ""


def metrics_table(rows: Sequence[MetricRow], before: str, now: str) -> str:
    """Metrics of both versions; only this one's where there is no other."""
    if not rows:
        return ""
    head = ["Metric", *([before, now, "Change"] if before else ["Value"])]
    table = []
    for row in rows[:MOST_ROWS]:
        places = decimals(row)
        cells = [f"{code(row.name)}", number(row.baseline, places), number(row.current, places), change(row)]
        table.append(cells if before else [cells[0], cells[2]])
    return _table("Metrics", head, table, left_out=len(rows) - MOST_ROWS)


def _params(old: Run, new: Run, before: str, now: str) -> str:
    rows = value_rows(old.params, new.params)
    cells = [[f"{code(r.name)}", f"{code(value(r.baseline))}", f"{code(value(r.current))}"] for r in rows[:MOST_ROWS]]
    if not cells:
        return "Parameters are the same."
    return _table("Parameters", ["Parameter", before, now], cells, left_out=len(rows) - MOST_ROWS)


def _data(old: Iterable[Dependency], new: Iterable[Dependency], before: str, now: str) -> str:
    rows = data_rows(old, new)
    if not rows:
        return "Data, code and packages that the pipeline reads are the same."
    cells = [
        [f"{code(r.path)}", r.kind, f"{code(short(r.baseline_digest))}", f"{code(short(r.current_digest))}"]
        for r in rows[:MOST_ROWS]
    ]
    return _table("Inputs", ["Input", "Kind", before, now], cells, left_out=len(rows) - MOST_ROWS)


def _files(assets: Sequence[Asset]) -> str:
    rows = [[f"{code(one.name)}", one.role, size(one.size), f"{code(one.digest)}"] for one in assets]
    return _table("Files", ["File", "What", "Size", "Digest"], rows) if rows else ""


def lineage_table(dependencies: Sequence[Dependency]) -> str:
    """Data that went in, by path and digest."""
    rows = [one for one in dependencies if one.kind in ("data", "external", "lock")]
    cells = [
        [f"{code(one.path)}", one.kind, f"{code(one.digest)}" if one.digest else "–", size(one.size)]
        for one in rows[:MOST_ROWS]
    ]
    return _table("", ["Input", "Kind", "Digest", "Size"], cells, left_out=len(rows) - MOST_ROWS) if cells else ""


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, left_out: int = 0) -> str:
    lines = [f"### {title}", ""] if title else []
    lines += ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    lines += ["| " + " | ".join(cell or "–" for cell in row) + " |" for row in rows]
    if left_out > 0:
        lines += ["", f"{left_out:,} more are in `run.json`."]
    return "\n".join(lines)
