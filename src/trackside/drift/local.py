"""`trackside drift` on a laptop: a profile of a reference, and a check of current data against one."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from trackside.app import Context
from trackside.config.model import DriftPolicy, Model
from trackside.documents.codec import dump, load
from trackside.documents.profile import Profile
from trackside.drift.placeholders import parse_date
from trackside.drift.profile import MAX_BYTES, build
from trackside.drift.sources import Data, Places, gather, names_in
from trackside.errors import ConfigError, DataError, GateFailed
from trackside.local import config_of, model_of
from trackside.system.clock import SystemClock, rfc3339
from trackside.system.process import Processes
from trackside.train.job import remote_env


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command line asks for. `reference` is a table or a profile, `current` overrides the policy's source."""

    model: str | None = None
    as_of: str = ""
    reference: Path | None = None
    current: str = ""
    form: str = "md"
    out: Path | None = None
    fail_on: str = "invalid"
    dry_run: bool = False


def profile(context: Context, root: Path, name: str | None, *, reference: Path | None, out: Path | None) -> int:
    """Print or write the profile of a model's reference table."""
    model, policy = _watched(root, name)
    made = build(reference or root / policy.reference, policy, model.name)
    return _put(context, dump(made).decode(), out)


def check(context: Context, root: Path, wanted: Wanted) -> int:
    """Compare current data with a reference and print the verdict; nothing is written to GitHub.

    Returns:
        0; 1 for drift with `fail_on` drift; 7 for data that is invalid or too little, unless `fail_on` is never.
    """
    from trackside.drift import render
    from trackside.drift.check import Asked
    from trackside.drift.check import check as check_data
    from trackside.drift.tell import exit_code

    model, policy = _watched(root, wanted.model)
    if wanted.current:
        policy = replace(policy, current=wanted.current)
    now = SystemClock().now()
    as_of = parse_date(wanted.as_of).isoformat() if wanted.as_of else now.date().isoformat()
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        reference = _reference(wanted.reference or root / policy.reference, policy, model)
        data: Data | DataError
        try:
            data = gather(policy, as_of, _places(context, root, Path(folder), policy.current))
        except DataError as error:
            data = error
        if wanted.dry_run:
            return _would(context, reference, data)
        verdict = check_data(reference, data, policy, Asked(model=model.name, as_of=as_of, checked_at=rfc3339(now)))
    form = "json" if context.json else wanted.form
    if form == "json":
        text = dump(verdict).decode()
    else:
        text = render.page(verdict, alpha=policy.alpha) if form == "html" else render.markdown(verdict)
    _put(context, text, wanted.out)
    code = exit_code({model.name: verdict.verdict}, wanted.fail_on)
    words = f"{model.name}: {render.headline(verdict)}"
    if code == GateFailed.exit_code:
        raise GateFailed(words, link="drift.md", reason_code=verdict.reason_code)
    if code:
        raise DataError(words, why="; ".join(verdict.problems[:3]), link="drift.md", reason_code=verdict.reason_code)
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


def _reference(path: Path, policy: DriftPolicy, model: Model) -> Profile:
    """A profile document, or that of a table. Raises DataError."""
    if not path.is_file():
        raise DataError(
            f"there is no reference {path}",
            why="the drift check compares with the table that the model was judged on",
            remedy="reproduce the model with `trackside train`, `dvc pull` it, or name one: --reference FILE",
            link="drift.md",
            reason_code="reference_missing",
        )
    if path.suffix == ".json":
        return load(Profile, path.read_bytes(), name=path.name, limit=MAX_BYTES)
    return build(path, policy, model.name)


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


def _would(context: Context, reference: Profile, data: Data | DataError) -> int:
    """What a check would read."""
    columns = ", ".join(f"{one.name} ({one.role}, {one.type})" for one in reference.columns)
    context.say(f"reference: {reference.source}, {reference.rows:,} rows\ncolumns: {columns}")
    if isinstance(data, DataError):
        raise data
    context.say(f"current: {data.source}, {len(data.files)} files, {data.digest}")
    return 0


def _put(context: Context, text: str, out: Path | None) -> int:
    if out is None:
        context.say(text)
        return 0
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}") from error
    print(f"written to {out}", file=sys.stderr)
    return 0
