"""`trackside drift` on a laptop: profiles of references, checks of current data against one, any two tables."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.app import Context
from trackside.config.model import DriftPolicy, Model
from trackside.documents.codec import dump, load
from trackside.documents.profile import Profile, intact
from trackside.drift.check import Asked, How
from trackside.drift.importance import read_importance, with_importance
from trackside.drift.profile import MAX_BYTES, Side, build, opened
from trackside.errors import ConfigError, DataError, GateFailed
from trackside.local import config_of, model_of
from trackside.performance.labels import labels_policy
from trackside.report.escape import plain
from trackside.system.clock import SystemClock, rfc3339
from trackside.system.process import Processes
from trackside.system.text import inert
from trackside.tables.placeholders import parse_date
from trackside.tables.progress import Meter
from trackside.tables.sources import Data, Places, gather, names_in
from trackside.tables.table import Table, open_table
from trackside.train.job import remote_env

if TYPE_CHECKING:
    from trackside.documents.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command line asks for. `reference` is a table or a profile, `current` overrides the policy's source;
    `exact` is None for as exact as the data allows.
    """

    model: str | None = None
    as_of: str = ""
    reference: str = ""
    current: str = ""
    form: str = "md"
    out: Path | None = None
    fail_on: str = "invalid"
    dry_run: bool = False
    exact: bool | None = None
    quiet: bool = False


def profile(
    context: Context,
    root: Path,
    name: str | None,
    *,
    reference: Path | None,
    out: Path | None,
    part: str = "",
    quiet: bool = False,
) -> int:
    """Print or write the profile of a model's reference table, or of the part `part`, such as `1/4`."""
    model, policy = _watched(root, name)
    path = reference or root / policy.reference
    if not path.is_file():
        raise _no_reference(path)
    made = build(
        path,
        policy,
        model.name,
        part=_share(part) if part else None,
        progress=_meter([open_table([path])], context, quiet),
    )
    importance = root / policy.importance
    if policy.importance and importance.is_file() and not part:
        made = with_importance(made, importance)
    return _put(context, dump(made).decode(), out)


def merge(context: Context, paths: Sequence[Path], out: Path | None) -> int:
    """Print or write the profile that the profiles of parts make."""
    from trackside.drift.parts import merge as merge_parts

    return _put(context, dump(merge_parts([_loaded(path) for path in paths])).decode(), out)


def check(context: Context, root: Path, wanted: Wanted) -> int:
    """Compare current data with a reference and print the verdict; nothing is written to GitHub.

    Returns:
        0; 1 for drift with `fail_on` drift; 7 for data that is invalid or too little, unless `fail_on` is never.
    """
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        policy, verdict = judged(context, root, wanted, Path(folder))
    if verdict is None:
        return 0
    return _told(context, wanted, policy, verdict)


def compare(context: Context, policy: DriftPolicy, wanted: Wanted) -> int:
    """Compare any two tables (or a profile and a table), without a configuration. Returns like `check`."""
    from trackside.drift.check import check as check_data
    from trackside.drift.sides import asked, by_flags, gathered, side_of

    asked(policy)
    now = SystemClock().now()
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder, by_flags(policy):
        places = replace(_places(context, Path(), Path(folder), policy.current + policy.reference), digests=False)
        side: Profile | Side
        if policy.reference.endswith(".json"):
            side = _loaded(Path(policy.reference))
        else:
            side = side_of(policy, now.date(), replace(places, folder=Path(folder) / "reference"))
        data: Data | DataError
        try:
            data = gathered(policy, policy.current, now.date(), places)
        except DataError as error:
            data = error
        if wanted.dry_run:
            return _would(context, side, data)
        what = Asked(model="comparison", as_of=now.date().isoformat(), checked_at=rfc3339(now))
        verdict = check_data(side, data, policy, what, _how(context, side, data, wanted))
    return _told(context, wanted, policy, verdict)


def explain(context: Context, root: Path, column: str, wanted: Wanted) -> int:
    """Everything that a check finds of one column, and since when. Returns like `check`."""
    from trackside.drift.explain import as_json, markdown

    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        _, verdict = judged(context, root, wanted, Path(folder))
    if verdict is None:
        return 0
    earlier = _past(context, root, verdict)
    form = as_json if context.json or wanted.form == "json" else markdown
    _put(context, form(column, verdict, earlier), wanted.out)
    return _code(wanted, verdict)


def judged(context: Context, root: Path, wanted: Wanted, folder: Path) -> tuple[DriftPolicy, Verdict | None]:
    """The verdict on a model's current data; None where it was only said what would be compared."""
    from trackside.drift.check import check as check_data

    model, policy = _watched(root, wanted.model)
    if wanted.current:
        policy = replace(policy, current=wanted.current)
    now = SystemClock().now()
    as_of = parse_date(wanted.as_of).isoformat() if wanted.as_of else now.date().isoformat()
    path = Path(wanted.reference) if wanted.reference else root / policy.reference
    reference = _reference(path, policy, model, _importance(root, policy))
    data: Data | DataError
    try:
        data = gather(policy, as_of, _places(context, root, folder, policy.current))
    except DataError as error:
        data = error
    if wanted.dry_run:
        _would(context, reference, data)
        return policy, None
    labels: Data | DataError | None = None
    if policy.labels:
        try:
            apart = labels_policy(policy)
            labels = gather(apart, as_of, _places(context, root, folder / "labels", apart.current))
        except DataError as error:
            labels = error
    asked = Asked(model=model.name, as_of=as_of, checked_at=rfc3339(now))
    how = _how(context, reference, data, wanted)
    return policy, check_data(reference, data, policy, asked, how, labels=labels)


def _told(context: Context, wanted: Wanted, policy: DriftPolicy, verdict: Verdict) -> int:
    """Print or write a verdict in the form that is wanted; then the exit code."""
    from trackside.drift import picture, render

    form = "json" if context.json else wanted.form
    if form == "png":
        if wanted.out is None:
            raise ConfigError("a PNG is no text", remedy="--format png --out drift.png")
        _write(wanted.out, picture.png(render.picture_of(verdict)))
        return _code(wanted, verdict)
    if form == "json":
        text = dump(verdict).decode()
    elif form == "svg":
        text = render.picture_of(verdict)
    else:
        text = render.page(verdict, alpha=policy.alpha) if form == "html" else render.markdown(verdict)
    _put(context, text, wanted.out)
    return _code(wanted, verdict)


def _code(wanted: Wanted, verdict: Verdict) -> int:
    from trackside.drift import render
    from trackside.drift.tell import exit_code

    code = exit_code({verdict.model: verdict.verdict}, wanted.fail_on)
    words = plain(f"{verdict.model}: {render.headline(verdict)}")
    if code == GateFailed.exit_code:
        raise GateFailed(words, link="drift.md", reason_code=verdict.reason_code)
    if code:
        broken = [f"{one.column}: {one.sentence}" for one in verdict.tests if one.alarm and one.kind == "invalid_data"]
        why = "; ".join(plain(one) for one in [*broken, *verdict.problems][:3])
        raise DataError(words, why=why, link="drift.md", reason_code=verdict.reason_code)
    return 0


def _watched(root: Path, name: str | None) -> tuple[Model, DriftPolicy]:
    config = config_of(root)
    if name is None:
        watched = [one for one in config.models if one.drift is not None]
        if len(watched) == 1:
            name = watched[0].name
    model = model_of(config, name)
    if model.drift is None:
        raise ConfigError(
            f"{config.file} does not say how {model.name} is watched",
            remedy=f"models:\n  {model.name}:\n    drift:\n      reference: …\n      current: …",
            link="drift.md",
            reason_code="drift_not_configured",
        )
    return model, model.drift


def _reference(path: Path, policy: DriftPolicy, model: Model, importance: dict[str, float]) -> Profile | Side:
    """A profile document, or a table. Raises DataError."""
    if not path.is_file():
        raise _no_reference(path)
    if path.suffix == ".json":
        return _loaded(path)
    return opened(open_table([path]), policy, model.name, source=policy.reference, importance=importance)


def _importance(root: Path, policy: DriftPolicy) -> dict[str, float]:
    path = root / policy.importance
    return read_importance(path) if policy.importance and path.is_file() else {}


def _no_reference(path: Path) -> DataError:
    return DataError(
        f"there is no reference {path}",
        why="the drift check compares with the table that the model was judged on",
        remedy="reproduce the model with `trackside train`, `dvc pull` it, or name one: --reference FILE",
        link="drift.md",
        reason_code="reference_missing",
    )


def _loaded(path: Path) -> Profile:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", link="drift.md", reason_code="reference_missing"
        ) from error
    return intact(load(Profile, data, name=path.name, limit=MAX_BYTES))


def _past(context: Context, root: Path, verdict: Verdict) -> tuple[Verdict, ...]:
    """Verdicts of earlier days on the data branch of this clone, newest first; none where there is no clone."""
    from trackside.plan.objects import GitTree
    from trackside.store import drift as store

    processes = Processes(context.env)
    branch = config_of(root).data_branch
    for ref in (f"refs/remotes/origin/{branch}", f"refs/heads/{branch}"):
        done = processes.run(["git", "-C", root, "rev-parse", "--quiet", "--verify", f"{ref}^{{commit}}"], check=False)
        if done.returncode:
            continue
        where = processes.run(["git", "-C", root, "rev-parse", "--absolute-git-dir"]).stdout.decode().strip()
        tree = GitTree.open(Path(where), done.stdout.decode().strip(), processes)
        folder = store.folder(verdict.model)
        if tree.is_folder(folder):
            return store.history(verdict.model, tree.read(list(tree.under(folder)))).before(verdict.as_of)
    return ()


def _places(context: Context, root: Path, folder: Path, current: str) -> Places:
    """`${NAME}` comes from TRACKSIDE_REMOTE_ENV, as in a workflow, or from the shell's own environment."""
    env = dict(context.env)
    own = {name: env[name] for name in names_in(current) if name in env}
    return Places(
        root=root.resolve(),
        folder=folder,
        processes=Processes(env),
        credentials={**own, **remote_env(env.get("TRACKSIDE_REMOTE_ENV", ""))},
    )


def _share(text: str) -> tuple[int, int]:
    """`2/8` as numbers. Raises ConfigError."""
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= 10_000):
        raise ConfigError(f"{text[:40]!r} is no part", remedy="--part 1/4 to --part 4/4", link="drift.md")
    return int(number), int(of)


def _how(context: Context, reference: Profile | Side, data: Data | DataError, wanted: Wanted) -> How:
    """As exact as is asked for. Raises ConfigError where it cannot be."""
    tables = [reference.table] if isinstance(reference, Side) else []
    if isinstance(data, Data):
        try:
            tables.append(open_table(data.files))
        except DataError:
            tables = []
    if wanted.exact and (isinstance(reference, Profile) or not all(one.columnar for one in tables)):
        raise ConfigError(
            "exact statistics need the rows of both tables, in Parquet or Arrow files",
            remedy="leave out --exact: what profiles cannot tell is said with its interval",
            link="drift.md",
        )
    return How(exact=wanted.exact is not False, progress=_meter(tables, context, wanted.quiet))


def _meter(tables: Sequence[Table], context: Context, quiet: bool) -> Meter | None:
    if quiet or context.json or not tables:
        return None
    counts = [one.rows for one in tables]
    columns = max(len(one.types) for one in tables)
    values = None if None in counts else sum(rows * columns for rows in counts if rows is not None)
    return Meter(values, columns, lambda words: print(inert(words), file=sys.stderr, flush=True))


def _would(context: Context, reference: Profile | Side, data: Data | DataError) -> int:
    """What a check would read."""
    if isinstance(reference, Side):
        source, rows = reference.source, reference.table.rows
        columns = [f"{name} ({role}, {reference.kinds.get(name) or 'any'})" for name, role in reference.roles.items()]
    else:
        source, rows = reference.source, reference.rows
        columns = [f"{one.name} ({one.role}, {one.type})" for one in reference.columns]
    counted = "" if rows is None else f", {rows:,} rows"
    context.say(f"reference: {source}{counted}\ncolumns: {', '.join(map(plain, columns))}")
    if isinstance(data, DataError):
        raise data
    digest = f", {data.digest}" if data.digest else ""
    context.say(f"current: {data.source}, {len(data.files)} files{digest}")
    return 0


def _put(context: Context, text: str, out: Path | None) -> int:
    if out is None:
        context.say(text)
        return 0
    _write(out, text.encode())
    return 0


def _write(out: Path, data: bytes) -> None:
    try:
        out.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error
    print(f"written to {out}", file=sys.stderr)
