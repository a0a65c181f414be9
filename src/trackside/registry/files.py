"""A run's files from the DVC remote, by digest, into a folder of their own: nothing of them is run or unpacked."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trackside.documents.run import Run
from trackside.errors import DataError, ToolError
from trackside.plan.objects import GitTree
from trackside.system.process import Processes
from trackside.train import files as checked
from trackside.train.dvc import Object, Remotes, members, remotes, there, transfer


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """Where files of runs come from.

    `dvc_config` is the default branch's `.dvc/config`, `folder` an empty folder outside of any checkout,
    `credentials` those of the data remote. `tree` is the released commit, for models that are kept in git.
    """

    dvc_config: str
    folder: Path
    processes: Processes
    credentials: Mapping[str, str] = field(default_factory=dict)
    tree: GitTree | None = None

    def artifact(self, run: Run, path: str) -> Path:
        """An output or a data dependency of a run, as a file or folder below `folder`.

        An output is held against the sha256 that the run recorded.

        Raises:
            DataError: the run knows no such file, or the remote gave other bytes (`content_mismatch`).
            ToolError: the remote failed (`remote_failed`) or lacks it (`data_missing`).
        """
        made = next((one for one in run.artifacts if one.path == path), None)
        used = next((one for one in run.dependencies if one.path == path and one.kind == "data"), None)
        if made is None and used is None:
            raise DataError(
                f"run {run.id} neither made nor read {path}",
                remedy=f"name an output or a data file of the pipeline instead of {path}",
                reason_code="file_unknown",
            )
        target = self.folder / "files" / run.id / _safe(path)
        digest = made.dvc_digest if made is not None else used.digest if used is not None else ""
        if digest.startswith("md5:"):
            self._fetch(digest, path, target)
        else:
            self._text(run, path, target)
        if made is not None and checked.digest(target.name, target.parent)[0] != made.digest:
            raise DataError(
                f"the data remote holds another {path} than run {run.id} recorded",
                why=f"expected {made.digest}",
                remedy="find out who wrote to the remote; then train again",
                link="releases.md",
                reason_code="content_mismatch",
            )
        return target

    def _fetch(self, digest: str, path: str, target: Path) -> None:
        found = remotes(self.dvc_config, self.folder / "room")
        found = Remotes(config=found.config, cache=self.folder / "cache")
        env = {**self.processes.env, **self.credentials}
        for obj in (Object(digest=digest), Object(digest=digest, legacy=True)):  # what DVC 2 stored lies elsewhere
            transfer("fetch", [obj], found, state=self.folder / "state", env=env, processes=self.processes)
            if there(obj, found.cache):
                _put(obj, found.cache, target)
                return
        raise ToolError(
            f"the data remote lacks {path} ({digest})",
            why="" if found.default else "the default branch's .dvc/config names no default remote",
            remedy="run the training workflow again, which pushes it",
            link="train.md",
            reason_code="data_missing",
        )

    def _text(self, run: Run, path: str, target: Path) -> None:
        """A file that DVC does not keep: as text in the record, or in git at the released commit."""
        data = run.restore.files[path].encode() if path in run.restore.files else None
        if data is None and self.tree is not None and path in self.tree.entries:
            data = self.tree.read([path])[path]
        if data is None:
            raise DataError(
                f"{path} is kept neither by DVC nor in git",
                remedy=f"dvc.yaml: list {path} under `outs:` of its stage, without `cache: false`",
                link="releases.md",
                reason_code="file_unknown",
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _safe(path: str) -> str:
    """Raises DataError for a path that leads anywhere else."""
    if not path or path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")) or "\\" in path:
        raise DataError(f"{path[:200]!r} is no path of an output", reason_code="path_outside")
    return path


def _put(obj: Object, cache: Path, target: Path) -> None:
    """Plain files from the cache, as links where the file system has them: models are large."""
    for name, one in sorted((members(obj, cache) or {}).items()):
        place = target / name if name else target
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            place.hardlink_to(one.path(cache))
        except OSError:
            shutil.copyfile(one.path(cache), place)
