"""A model's inputs in one tree: its stages, those before them, and the digest of all that no stage makes."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trackside.config.model import Model, TrainPolicy
from trackside.documents.run import Dependency
from trackside.errors import ConfigError
from trackside.plan.digest import input_digest
from trackside.plan.graph import Outs, ordered
from trackside.plan.inputs import Found, InputReader
from trackside.plan.objects import GitTree
from trackside.plan.overrides import DEFAULT_FILE
from trackside.plan.paths import inside, is_url
from trackside.plan.resolve import Job, RawPipeline, RawStage, resolve
from trackside.system.process import Processes

LINK = "pipelines.md"


@dataclass(frozen=True, kw_only=True)
class ResolvedStage:
    """A stage with templates filled in. `name` is what `dvc repro` takes; paths are from the root.

    `params` maps params file → dotted name → value. `upstream` are the stages whose outputs it reads.
    """

    name: str
    wdir: str
    cmd: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    metrics: tuple[str, ...]
    plots: tuple[str, ...]
    params: Mapping[str, Mapping[str, Any]]
    upstream: tuple[str, ...] = ()
    always_changed: bool = False
    frozen: tuple[Any, ...] | None = None

    def plain(self) -> dict[str, Any]:
        """What counts for the input digest."""
        made: dict[str, Any] = {
            "name": self.name,
            "wdir": self.wdir,
            "cmd": list(self.cmd),
            "deps": sorted(self.deps),
            "outs": sorted({*self.outs, *self.metrics, *self.plots}),
            "params": {file: dict(values) for file, values in self.params.items()},
        }
        if self.always_changed:
            made["always_changed"] = True
        if self.frozen is not None:
            made["frozen"] = list(self.frozen)
        return made


@dataclass(frozen=True, kw_only=True)
class PipelineInputs:
    """All that decides what training makes.

    `stages` come in the order in which they can run; `targets` are the model's own. `params` are by name, with
    `file:` before it unless the file is `params.yaml`. `missing` names inputs that the tree lacks: such a pipeline
    cannot run. `volatile` names what can change the result while the digest stays: URLs and `always_changed` stages.
    """

    commit: str
    stages: tuple[ResolvedStage, ...]
    targets: tuple[str, ...]
    dependencies: tuple[Dependency, ...]
    params: Mapping[str, Any]
    missing: tuple[str, ...]
    volatile: tuple[str, ...]
    digest: str


def pipeline_inputs(
    tree: GitTree,
    model: Model,
    train: TrainPolicy,
    overrides: Mapping[str, Any] | None = None,
    *,
    processes: Processes,
) -> PipelineInputs:
    """The inputs of one model in one tree.

    Raises:
        ConfigError: the pipeline cannot be read, has a cycle, leaves the repository, or lacks a stage of the model.
        ToolError: DVC is not installed.
    """
    (raw,) = resolve(tree.git_dir, [Job(commit=tree.commit, overrides=overrides or {})], processes=processes)
    if isinstance(raw, ConfigError):
        raise raw
    return inputs_of(tree, raw, model, train)


def inputs_of(tree: GitTree, raw: RawPipeline, model: Model, train: TrainPolicy) -> PipelineInputs:
    """Like `pipeline_inputs`, from a pipeline that is resolved already."""
    stages = {stage.name: _stage(stage) for stage in raw.stages}
    outs = Outs({name: (*s.outs, *s.metrics, *s.plots) for name, s in stages.items()})
    targets = _targets(model, stages)
    upstream = {name: outs.makers(stage.deps) for name, stage in stages.items()}
    order = ordered(targets, upstream)
    needed = [_with_upstream(stages[name], upstream[name]) for name in order]
    reader = InputReader(tree, raw.tracked, outs)
    found = Found()
    for stage in needed:
        for dep in stage.deps:
            found.add(reader.inputs(dep))
    if train.requirements:
        found.add(reader.lock(train.requirements))
    missing = {*found.missing, *(name for s in raw.stages if s.name in order for name in s.missing_params)}
    dependencies = tuple(sorted(found.dependencies.values(), key=lambda d: (d.path, d.kind)))
    volatile = [s.name for s in needed if s.always_changed] + [d.path for d in dependencies if is_url(d.path)]
    return PipelineInputs(
        commit=tree.commit,
        stages=tuple(needed),
        targets=tuple(targets),
        dependencies=dependencies,
        params=_params(needed, [s.variables for s in raw.stages if s.name in order]),
        missing=tuple(sorted(missing)),
        volatile=tuple(sorted(set(volatile))),
        digest=input_digest(
            targets=targets,
            stages=[stage.plain() for stage in needed],
            dependencies=dependencies,
            executable=sorted(found.executable),
        ),
    )


def _stage(raw: RawStage) -> ResolvedStage:
    def paths(given: Sequence[str]) -> tuple[str, ...]:
        return tuple(path if is_url(path) else inside(raw.wdir, path, file=raw.file) for path in given)

    return ResolvedStage(
        name=raw.name,
        wdir=raw.wdir,
        cmd=raw.cmd,
        deps=paths(raw.deps),
        outs=paths(raw.outs),
        metrics=paths(raw.metrics),
        plots=paths(raw.plots),
        params=raw.params,
        always_changed=raw.always_changed,
        frozen=raw.frozen,
    )


def _with_upstream(stage: ResolvedStage, upstream: Sequence[str]) -> ResolvedStage:
    fields = {name: getattr(stage, name) for name in stage.__dataclass_fields__}
    return ResolvedStage(**{**fields, "upstream": tuple(upstream)})


def _targets(model: Model, stages: Mapping[str, ResolvedStage]) -> list[str]:
    """The model's stages; a `foreach` or `matrix` group's name stands for all that it made."""
    if not stages:
        raise ConfigError(
            "there is no pipeline: no dvc.yaml with stages",
            remedy="add a dvc.yaml: dvc stage add -n train -d train.py -o model.bin python train.py",
            link=LINK,
            reason_code="pipeline_missing",
        )
    if not model.stages:
        return sorted(stages)
    made: list[str] = []
    for name in model.stages:
        group = [stage for stage in stages if stage == name or stage.startswith(f"{name}@")]
        if not group:
            raise ConfigError(
                f"model {model.name!r} needs stage {name!r}, which dvc.yaml lacks",
                remedy="known stages: " + ", ".join(sorted(stages)[:20]),
                link=LINK,
                reason_code="stage_missing",
            )
        made += sorted(group)
    return list(dict.fromkeys(made))


def _params(stages: Sequence[ResolvedStage], variables: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for by_file in [*variables, *(stage.params for stage in stages)]:
        for file, values in by_file.items():
            prefix = "" if posixpath.normpath(file) == DEFAULT_FILE else f"{posixpath.normpath(file)}:"
            made.update({prefix + name: value for name, value in _flat(values)})
    return dict(sorted(made.items()))


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    made: list[tuple[str, Any]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        made += _flat(value, f"{name}.") if isinstance(value, Mapping) and value else [(name, value)]
    return made
