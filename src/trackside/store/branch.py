"""Run records on the data branch: one reading logic over two ways to get at the files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from trackside.documents.codec import load
from trackside.documents.run import Run
from trackside.errors import DataError
from trackside.forge.operations import CommitFiles
from trackside.forge.ports import ContentReader
from trackside.store.files import CloneFiles
from trackside.store.layout import DATA_BRANCH, Pointer, files_of, pointer_path, run_of_path, run_path
from trackside.system.process import Processes


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A file of the data branch that could not be used."""

    path: str
    why: str


class RunStore(Protocol):
    """Run records, whoever holds them."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Files met so far that are damaged: they count as absent."""
        ...

    def run(self, model: str, run_id: str) -> Run | None: ...

    def run_for_inputs(self, model: str, digest: str) -> Run | None:
        """The run that answers an input digest, if one is recorded."""
        ...

    def runs(self, model: str | None = None, limit: int = 100) -> list[Run]:
        """Newest first by start time."""
        ...

    def operations_for(self, run: Run, *, reusable: bool, known: Any = None) -> CommitFiles:
        """The commit that records a run; see `layout.files_of`. Fields that an earlier read did not know are kept."""
        ...


class _Store(ABC):
    """Parses, checks and sorts what the two ways of reading give."""

    def __init__(self, branch: str) -> None:
        self.branch = branch
        self._known: dict[str, Any] = {}
        self._problems: dict[str, Problem] = {}

    @abstractmethod
    def _read(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The files that exist."""

    @abstractmethod
    def _list(self, folder: str) -> dict[str, bytes]:
        """All run records below a folder."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._problems.values())

    def run(self, model: str, run_id: str) -> Run | None:
        path = run_path(model, run_id)
        data = self._read([path]).get(path) if path else None
        return None if data is None else self._parse(path, data)

    def run_for_inputs(self, model: str, digest: str) -> Run | None:
        path = pointer_path(model, digest)
        data = self._read([path]).get(path) if path else None
        if data is None:
            return None
        try:
            pointer = load(Pointer, data, name=path)
            run = self.run(model, pointer.run)
            if (pointer.model, pointer.input_digest) != (model, digest):
                raise DataError("it points for another model or other inputs")
            if run is None or run.input_digest != digest or run.status != "succeeded" or run.experiment:
                raise DataError(f"run {pointer.run[:64]!r} is missing or does not answer these inputs")
        except DataError as error:
            self._note(path, error)
            return None
        return run

    def runs(self, model: str | None = None, limit: int = 100) -> list[Run]:
        if model is not None and not run_path(model, "x"):
            return []
        found = self._list(f"runs/{model}" if model else "runs")
        parsed = (self._parse(path, data) for path, data in found.items())
        runs = sorted((run for run in parsed if run is not None), key=lambda run: run.id)
        return sorted(runs, key=lambda run: run.started_at, reverse=True)[:limit]

    def operations_for(self, run: Run, *, reusable: bool, known: Any = None) -> CommitFiles:
        known = self._known.get(run_path(run.model, run.id)) if known is None else known
        broken = pointer_path(run.model, run.input_digest) in self._problems
        return files_of(run, reusable=reusable, known=known, keep_pointer=not broken, branch=self.branch)

    def _parse(self, path: str, data: bytes) -> Run | None:
        try:
            run = load(Run, data, name=path)
            if run_of_path(path) != (run.model, run.id):
                raise DataError(f"it holds run {run.id[:64]!r} of model {run.model[:64]!r}")
        except DataError as error:
            self._note(path, error)
            return None
        self._known[path] = msgspec.json.decode(data)
        return run

    def _note(self, path: str, error: DataError) -> None:
        self._problems[path] = Problem(path=path, why=error.why or error.message)


class ApiRunStore(_Store):
    """Reads by API: one call a file.

    Args:
        lists: gives the store that answers `runs`, normally a clone made when first asked; without it a list costs a
            call for every run there is.
    """

    def __init__(
        self, forge: ContentReader, branch: str = DATA_BRANCH, *, lists: Callable[[], RunStore] | None = None
    ) -> None:
        super().__init__(branch)
        self._forge = forge
        self._lists = lists

    def runs(self, model: str | None = None, limit: int = 100) -> list[Run]:
        if self._lists is None:
            return super().runs(model, limit)
        clone = self._lists()
        runs = clone.runs(model, limit)
        self._problems |= {one.path: one for one in clone.problems}
        return runs

    def _read(self, paths: Sequence[str]) -> dict[str, bytes]:
        found = ((path, self._forge.file(path, self.branch)) for path in paths)
        return {path: data for path, data in found if data is not None}

    def _list(self, folder: str) -> dict[str, bytes]:
        return self._read([path for path in self._forge.files(folder, self.branch) if run_of_path(path)])


class CloneRunStore(_Store):
    """Reads git objects of a clone or bare repository, each question one `git cat-file --batch`.

    Args:
        repository, ref: see `CloneFiles`.
        branch: where `operations_for` writes.
    """

    def __init__(self, repository: Path, ref: str, processes: Processes, *, branch: str = DATA_BRANCH) -> None:
        super().__init__(branch)
        self._files = CloneFiles(repository, ref, processes)

    def _read(self, paths: Sequence[str]) -> dict[str, bytes]:
        return self._files.read(paths)

    def _list(self, folder: str) -> dict[str, bytes]:
        return self._files.under(folder, lambda path: run_of_path(path) is not None)
