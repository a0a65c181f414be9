"""A person's clone of the demo's project: commands there, and pushes with that person's token."""

from __future__ import annotations

import base64
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from trackside.system.process import Processes


class Laptop:
    """A fresh clone in `folder`.

    Args:
        url: the repository's address for git.
        token: what pushes are made with.
        env: the machine's environment.
    """

    def __init__(self, folder: Path, url: str, token: str, env: Mapping[str, str], login: str) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.folder = folder
        # This folder is home and has no git configuration: nothing of the machine's owner gets in.
        home = folder.parent
        home.mkdir(parents=True, exist_ok=True)
        source = Path(__file__).resolve().parents[2]
        self.processes = Processes({**env, "HOME": str(home), "PYTHONPATH": f"src:{source}"})
        credentials = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        self._git = [
            "git",
            "-c",
            f"http.extraHeader=Authorization: Basic {credentials}",
            "-c",
            f"user.name={login}",
            "-c",
            f"user.email={login}@users.noreply.github.com",
        ]
        self.processes.run(["git", "clone", "--quiet", url, folder])

    def run(self, *words: str | Path) -> str:
        """A command in the clone; returns what it printed. Raises ToolError."""
        return self.processes.run([*words], cwd=self.folder).text

    def trackside(self, *words: str) -> str:
        """A `trackside` command. Raises ToolError where it ends with another status than 0."""
        return self.run(sys.executable, "-m", "trackside", *words)

    def changed(self) -> list[str]:
        """Files that differ from the last commit, new ones included."""
        return self.run("git", "status", "--porcelain", "--untracked-files=all").splitlines()

    def push(self, message: str) -> str:
        """Commit everything and push it; returns the commit."""
        self.run("git", "add", "--all")
        self.run(*self._git, "commit", "--quiet", "--message", message)
        self.run(*self._git, "push", "--quiet", "origin", "HEAD")
        return self.run("git", "rev-parse", "HEAD").strip()
