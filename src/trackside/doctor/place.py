"""What is looked at: a work tree or the default branch on GitHub, its policy, and the forge where there is a token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from trackside.config.load import load
from trackside.config.model import CONFIG_FILE, Config
from trackside.errors import ConfigError
from trackside.forge.github import GithubForge
from trackside.forge.settings import RepositoryFacts, SettingsReads
from trackside.system.clock import Clock
from trackside.system.process import Processes


class DoctorForge(SettingsReads, GithubForge):
    """GitHub with what only the doctor reads."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The patient.

    `forge` is None offline and without a token, which git is handed too; `facts` is None where the repository could
    not be read. With `here`, files are those of the work tree `root`, else those of the default branch.
    """

    root: Path
    here: bool
    processes: Processes
    clock: Clock
    env: Mapping[str, str]
    offline: bool = False
    forge: DoctorForge | None = None
    facts: RepositoryFacts | None = None
    token: str = ""

    def text(self, path: str) -> str | None:
        """A file's text, or None where there is none. Raises ForgeError."""
        if self.here:
            target = self.root / path
            return target.read_text(encoding="utf-8", errors="replace") if target.is_file() else None
        if self.forge is None or self.facts is None:
            return None
        data = self.forge.file(path, self.facts.default_branch)
        return None if data is None else data.decode("utf-8", "replace")

    @cached_property
    def policy_text(self) -> str | None:
        return self.text(CONFIG_FILE)

    @cached_property
    def policy(self) -> Config | ConfigError | None:
        """The policy, the first mistake in it, or None where there is no file."""
        if self.policy_text is None:
            return None
        try:
            return load(self.policy_text)
        except ConfigError as error:
            return error

    @property
    def config(self) -> Config | None:
        return self.policy if isinstance(self.policy, Config) else None
