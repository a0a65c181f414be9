"""`trackside runs`: recorded runs from the data branch of a clone and from `.trackside/`, for people and as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackside.app import Context
from trackside.documents.codec import dump, load, to_builtins
from trackside.documents.run import Run
from trackside.errors import ConfigError, DataError
from trackside.store.branch import CloneRunStore
from trackside.store.layout import FETCH_DATA
from trackside.system.process import Processes

if TYPE_CHECKING:
    from trackside.documents.report import MetricRow


def known_runs(context: Context, repo: Path, model: str | None = None, limit: int = 1000) -> list[Run]:
    """Runs of the data branch and local ones, newest first; damaged records are named and left out.

    Raises:
        ConfigError: the folder is neither a git clone nor holds records.
    """
    processes = Processes(context.env)
    found: dict[str, Run] = {}
    local = repo / ".trackside/runs"
    if is_clone(repo, processes):
        store = CloneRunStore(repo, _data_branch(repo), processes)
        found = {run.id: run for run in store.runs(model, limit)}
        for problem in store.problems:
            _warn(f"{problem.path} is left out: {problem.why}")
    elif not local.is_dir():
        raise no_clone(repo)
    for path in sorted(local.glob("*/*.json")):
        try:
            run = load(Run, path.read_bytes(), name=str(path))
        except DataError as error:
            _warn(f"{path} is left out: {error.message}")
            continue
        if model in (None, run.model):
            found.setdefault(run.id, run)
    return sorted(found.values(), key=lambda run: run.started_at, reverse=True)[:limit]


def is_clone(folder: Path, processes: Processes) -> bool:
    return processes.run(["git", "-C", folder, "rev-parse", "--git-dir"], check=False).returncode == 0


def no_clone(folder: Path) -> ConfigError:
    return ConfigError(f"{folder.resolve()} is not a git repository", remedy="run this inside a clone of the project")


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _data_branch(repo: Path) -> str:
    from trackside.config.load import load_file
    from trackside.config.model import CONFIG_FILE, Config

    path = repo / CONFIG_FILE
    return load_file(path).data_branch if path.is_file() else Config(models=()).data_branch


def run_named(runs: Sequence[Run], name: str) -> Run | None:
    """The run whose id is or begins with a name. Raises ConfigError where several do."""
    hits = [run for run in runs if run.id == name] or [run for run in runs if name and run.id.startswith(name)]
    if len(hits) > 1:
        ids = ", ".join(run.id for run in hits[:5])
        raise ConfigError(f"{name!r} fits {len(hits)} runs", remedy=f"give more characters: {ids}")
    return hits[0] if hits else None


def run_file(name: str) -> Run | None:
    """A run document by its file name. Raises DataError for a file that is none."""
    path = Path(name)
    return load(Run, path.read_bytes(), name=name) if path.suffix == ".json" and path.is_file() else None


def find(context: Context, repo: Path, name: str) -> Run:
    """A run by file, id or the beginning of an id. Raises ConfigError."""
    found = run_file(name) or run_named(known_runs(context, repo), name)
    if found is None:
        raise ConfigError(
            f"no recorded run {name!r}",
            remedy=f"{FETCH_DATA}; then: trackside runs list",
            reason_code="not_found",
        )
    return found


def table(rows: Sequence[Sequence[str]], head: Sequence[str], figures: Collection[int] = ()) -> str:
    """Aligned columns, those of figures to the right; a terminal gets no control characters of a document."""
    lines = [[_printable(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(line[index]) for line in lines) for index in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if index in figures else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def list_runs(context: Context, repo: Path, model: str | None, limit: int) -> int:
    runs = known_runs(context, repo, model, limit)
    if context.json:
        context.say(json.dumps([_brief(run) for run in runs], indent=2))
        return 0
    if not runs:
        of = f" of {model!r}" if model else ""
        context.say(f"no runs{of} recorded here; `{FETCH_DATA}` brings those of the repository")
        return 0
    names = list(dict.fromkeys(metric.name for run in runs for metric in run.metrics if metric.direction != "none"))[:4]
    rows = []
    for run in runs:
        values = {metric.name: metric.value for metric in run.metrics}
        source = f"#{run.source.pull_request}" if run.source.pull_request else run.source.branch or "local"
        facts = [run.id, run.model, run.status + (" (experiment)" if run.experiment else ""), source]
        when = [run.started_at.replace("T", " ").rstrip("Z"), duration(run.usage.wall_seconds)]
        rows.append([*facts, run.source.commit[:10], *when, *(number(values.get(name)) for name in names)])
    head = ["run", "model", "status", "from", "commit", "started (UTC)", "time", *names]
    context.say(table(rows, head, figures=range(6, len(head))))
    return 0


def show(context: Context, repo: Path, name: str) -> int:
    run = find(context, repo, name)
    if context.json:
        context.say(dump(run).decode())
        return 0
    source, software, machine = run.source, run.environment, run.hardware
    gpus = ", ".join(gpu.name for gpu in machine.gpus) or "no GPU"
    pull = f" (#{source.pull_request})" if source.pull_request else ""
    lock = software.lock_digest[:19] or "-"
    driver = f", driver {machine.driver}, CUDA {machine.cuda}" if machine.gpus else ""
    facts = [
        ["run", f"{run.id} of {run.model}: {run.status} ({run.reason_code})"],
        ["source", f"{source.repository} {source.commit}{pull}"],
        ["trigger", f"{run.trigger.event} by {run.trigger.actor or '?'} {run.trigger.url}".rstrip()],
        ["when", f"{run.started_at} → {run.finished_at}, {duration(run.usage.wall_seconds)}"],
        ["inputs", run.input_digest],
        ["software", f"Python {software.python}, {software.os}, {software.packages} packages, lock {lock}"],
        ["hardware", f"{machine.cpu}, {machine.cores} cores, {gpus}{driver}"],
        ["seeds", ", ".join(f"{key}={value}" for key, value in run.seeds.items()) or "-"],
    ]
    if run.overrides:
        facts.insert(1, ["experiment", ", ".join(f"{key}={json.dumps(value)}" for key, value in run.overrides.items())])
    if run.restored_from:
        facts.insert(1, ["restored", f"from run {run.restored_from}"])
    facts.append(["used", _used(run)])
    if run.usage.cost:
        facts.append(["cost", f"{run.usage.cost.amount:.2f} {run.usage.cost.currency}"])
    context.say(table(facts, ["", ""]).lstrip("\n"))
    sections: list[tuple[str, list[str], list[list[str]]]] = [
        ("metrics", ["name", "value", "better"], [[one.name, number(one.value), one.direction] for one in run.metrics]),
        ("parameters", ["name", "value"], [[key, json.dumps(value)] for key, value in sorted(run.params.items())]),
        ("stages", ["name", "outcome", "time"], [[one.name, one.outcome, duration(one.seconds)] for one in run.stages]),
        ("inputs", ["path", "kind", "digest"], [[one.path, one.kind, one.digest] for one in run.dependencies]),
        ("outputs", ["path", "role", "digest"], [[one.path, one.role, one.digest] for one in run.artifacts]),
    ]
    for title, head, rows in sections:
        if rows:
            context.say(f"\n{title.upper()}\n{table(rows, head)}")
    return 0


def _used(run: Run) -> str:
    usage = run.usage
    parts = [f"{duration(usage.cpu_seconds)} of CPU", f"{duration(usage.gpu_seconds)} of GPU"]
    if usage.peak_memory_bytes:
        parts.append(f"{usage.peak_memory_bytes / 2**20:,.0f} MiB at the peak")
    if usage.peak_gpu_memory_bytes:
        parts.append(f"{usage.peak_gpu_memory_bytes / 2**20:,.0f} MiB of GPU memory")
    if usage.gpu_energy_joules:
        parts.append(f"{usage.gpu_energy_joules / 3600:,.1f} Wh")
    return ", ".join(parts)


def compare(context: Context, repo: Path, baseline: str, current: str) -> int:
    from trackside.report.diff import data_rows, metric_rows, value_rows

    old, new = find(context, repo, baseline), find(context, repo, current)
    metrics = metric_rows(old.metrics, new.metrics)
    params, data = value_rows(old.params, new.params), data_rows(old.dependencies, new.dependencies)
    if context.json:
        context.say(
            json.dumps(
                to_builtins(
                    {"baseline": old.id, "current": new.id, "metrics": metrics, "params": params, "inputs": data}
                ),
                indent=2,
            )
        )
        return 0
    rows = [
        [one.name, number(one.baseline), number(one.current), number(one.delta, sign=True), _better(one, new)]
        for one in metrics
    ]
    context.say(table(rows, ["metric", old.id, new.id, "change", ""], figures=(1, 2, 3)))
    if params:
        context.say(
            "\n"
            + table(
                [[one.name, json.dumps(one.baseline), json.dumps(one.current)] for one in params],
                ["parameter", old.id, new.id],
            )
        )
    if data:
        context.say(
            "\n"
            + table(
                [[one.path, one.baseline_digest[:19] or "-", one.current_digest[:19] or "-"] for one in data],
                ["input", old.id, new.id],
            )
        )
    return 0


def _better(row: MetricRow, run: Run) -> str:
    """`better` or `worse` where the run knows which way is better."""
    known = {(one.name, one.file): one.direction for one in run.metrics}
    direction = known.get((row.name, row.file), "none")
    if direction == "none" or not row.delta:
        return ""
    return "better" if (row.delta > 0) == (direction == "max") else "worse"


def export(context: Context, repo: Path, name: str) -> int:
    from trackside.train.provenance import statement

    server = context.env.get("GITHUB_SERVER_URL", "https://github.com")
    context.say(json.dumps(statement(find(context, repo, name), server=server), indent=2))
    return 0


def _brief(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "model": run.model,
        "status": run.status,
        "experiment": run.experiment,
        "started_at": run.started_at,
        "commit": run.source.commit,
        "pull_request": run.source.pull_request,
        "input_digest": run.input_digest,
        "metrics": {metric.name: metric.value for metric in run.metrics},
    }


def number(value: float | None, *, sign: bool = False) -> str:
    """Six significant digits; a dash for none."""
    return "-" if value is None else f"{value:{'+' if sign else ''}.6g}"


def duration(seconds: float) -> str:
    """`1h 02m`, `3m 05s` or `4.2s`."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)}h {int(seconds % 3600 // 60):02d}m"
    return f"{int(seconds // 60)}m {int(seconds % 60):02d}s" if seconds >= 60 else f"{seconds:.1f}s"
