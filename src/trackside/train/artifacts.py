"""What a run made: outputs with digests, metrics, and the texts that put the run back without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trackside.config.model import Model
from trackside.documents.run import Artifact, Direction, Metric, Restore, Run
from trackside.errors import DataError
from trackside.plan.pipeline import ResolvedStage
from trackside.report.values import metrics_of
from trackside.train import files, lock
from trackside.train.dvc import Object

Role = Literal["model", "predictions", "metrics", "plots", "data"]
MAX_METRICS_FILE = 8 * 1024 * 1024
MAX_METRICS = 10_000
TEXT_BYTES, TEXTS_BYTES, LOCK_BYTES = 256 * 1024, 448 * 1024, 256 * 1024
MAX_ARTIFACTS = 1_000


@dataclass
class Made:
    """What was found, and notes on what was left out and why."""

    artifacts: list[Artifact] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    restore: Restore = field(default_factory=Restore)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The outputs of a model's stages in a checkout; `earlier` are runs whose stages may have been restored."""

    model: Model
    stages: Sequence[ResolvedStage]
    workspace: Path
    allowed: Sequence[Path]
    earlier: Sequence[Run] = ()

    def collect(self) -> Made:
        made = Made()
        texts = lock.read_texts(self.workspace, [stage.name for stage in self.stages])
        objects = self._objects(texts)
        for path, role in self._roles().items():
            self._artifact(path, role, objects.get(path), made)
        self._metrics(made)
        made.restore = self._restore(texts, made)
        return made

    def _objects(self, texts: Mapping[str, str]) -> dict[str, Object]:
        wdirs = {stage.name: stage.wdir for stage in self.stages}
        found = lock.entries(texts, wdirs)
        rows = (row for name, entry in found.items() for row in lock.outputs(entry, wdirs[name]).items())
        return {path: obj for path, obj in rows if obj is not None}

    def _roles(self) -> dict[str, Role]:
        roles: dict[str, Role] = {}
        for stage in self.stages:
            roles.update(dict.fromkeys(stage.outs, "data"))
            roles.update(dict.fromkeys(stage.plots, "plots"))
            roles.update(dict.fromkeys(stage.metrics, "metrics"))
        roles.update({policy.file: "metrics" for policy in self.model.metrics if policy.file in roles})
        if self.model.predictions is not None:
            roles[self.model.predictions.file] = "predictions"
        return {**roles, self.model.path: "model"}

    def _artifact(self, path: str, role: Role, obj: Object | None, made: Made) -> None:
        """From the file; where it was not fetched, from the record of the run that made it."""
        if len(made.artifacts) >= MAX_ARTIFACTS:
            return
        dvc_digest = obj.digest if obj else ""
        try:
            digest, size = files.digest(path, self.workspace, self.allowed)
        except DataError as error:
            known = (one for run in self.earlier for one in run.artifacts if one.path == path)
            same = next((one for one in known if dvc_digest and one.dvc_digest == dvc_digest), None)
            if same is None:
                made.notes.append(error.message)
                return
            digest, size = same.digest, same.size
        made.artifacts.append(Artifact(path=path, role=role, digest=digest, size=size, dvc_digest=dvc_digest))

    def _metrics(self, made: Made) -> None:
        for path in self._metric_files():
            try:
                data = files.read(path, self.workspace, limit=MAX_METRICS_FILE, allowed=self.allowed)
                made.metrics += metrics_of(path, data, self._direction)
            except DataError as error:
                made.notes.append(error.message)
        if len(made.metrics) > MAX_METRICS:
            made.notes.append(f"{len(made.metrics):,} metrics; the first {MAX_METRICS:,} are kept")
            judged = {(one.name, one.file) for one in self.model.metrics}
            made.metrics.sort(key=lambda one: (one.name, one.file) not in judged)
            del made.metrics[MAX_METRICS:]

    def _metric_files(self) -> list[str]:
        declared = [path for stage in self.stages for path in stage.metrics]
        return list(dict.fromkeys([*(policy.file for policy in self.model.metrics), *declared]))

    def _direction(self, name: str, path: str) -> Direction:
        return next((one.direction for one in self.model.metrics if (one.name, one.file) == (name, path)), "none")

    def _restore(self, texts: Mapping[str, str], made: Made) -> Restore:
        """`dvc.lock` with the model's stages, and metrics and plots as text as far as they fit."""
        own = {path: text for path, text in texts.items() if len(text.encode()) <= LOCK_BYTES}
        made.notes += [f"{path} is too large to be kept" for path in texts if path not in own]
        kept: dict[str, str] = {path: text for path, text in own.items() if path != lock.LOCK}
        room = TEXTS_BYTES - sum(len(text.encode()) for text in kept.values())
        left = []
        for path in [*self._metric_files(), *(path for stage in self.stages for path in stage.plots)]:
            try:
                text = files.read(path, self.workspace, limit=TEXT_BYTES, allowed=self.allowed).decode()
            except (DataError, UnicodeDecodeError):
                left.append(path)
                continue
            if len(text.encode()) > room:
                left.append(path)
                continue
            room -= len(text.encode())
            kept[path] = text
        if left:
            made.notes.append("not kept as text: " + ", ".join(left[:20]))
        return Restore(dvc_lock=own.get(lock.LOCK, ""), files=kept)
