"""What is known of models, from GitHub itself: for those who have no clone, or none that is whole."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.config.model import CONFIG_FILE
from trackside.models.source import Records, data_branch
from trackside.registry.clone import read_clone
from trackside.registry.remote import Remote
from trackside.registry.state import RegistryState
from trackside.registry.tags import is_model
from trackside.store.files import CloneFiles
from trackside.system.clock import SystemClock
from trackside.system.process import Processes

if TYPE_CHECKING:
    from trackside.forge.github import GithubForge

BY_CALLS = 3
"""More records than this are had by fetching the branch."""


class ApiSource(Records):
    """GitHub itself: tags and lists of records by git into a bare repository of our own, single records by a call each.

    Args:
        token: what git is to authenticate with.
        branch: of the records; empty: the one that the policy names.
    """

    def __init__(self, forge: GithubForge, token: str, processes: Processes, *, branch: str = "") -> None:
        super().__init__()
        self._forge, self._processes, self._data = forge, processes, branch
        self._token, self._folder = token, Path(tempfile.mkdtemp(prefix="trackside-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._files: CloneFiles | None = None

    @cached_property
    def _remote(self) -> Remote:
        folder, clock = self._folder / "r.git", SystemClock()
        return Remote(folder, self._forge.git_url(), token=self._token, processes=self._processes, clock=clock)

    @property
    def repository(self) -> str:
        return self._forge.repository

    def state(self, model: str = "") -> RegistryState:
        if model and not is_model(model):
            return RegistryState(())
        self._remote.copy_tags(model)
        return read_clone(self._remote.git_dir, self._processes, model=model)

    def text(self, path: str) -> bytes | None:
        return self._forge.file(path, self._forge.default_branch())

    def forge(self) -> GithubForge:
        return self._forge

    def _branch(self) -> str:
        if not self._data:
            self._data = data_branch(self.text(CONFIG_FILE))
        return self._data

    def _copy(self) -> CloneFiles | None:
        """The data branch as it was when first asked; None where there is none."""
        if self._files is None:
            tip = self._remote.look().heads.get(self._branch(), "")
            if tip:
                self._remote.fetch([tip])
                self._files = CloneFiles(self._remote.git_dir, tip, self._processes)
        return self._files

    def _read(self, paths: list[str]) -> dict[str, bytes]:
        if self._files is None and len(paths) <= BY_CALLS:
            found = ((path, self._forge.file(path, self._branch())) for path in paths)
            return {path: data for path, data in found if data is not None}
        files = self._copy()
        return files.read(paths) if files is not None else {}

    def _under(self, folder: str, wanted: Callable[[str], bool]) -> dict[str, bytes]:
        files = self._copy()
        return files.under(folder, wanted) if files is not None else {}
