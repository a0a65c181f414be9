"""`trackside sandbox`: a GitHub to try a setup on, with runners, until Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from trackside.demo.world import SHIPPED, machine_env
from trackside.errors import ConfigError
from trackside.sandbox.actions.dispatcher import Dispatcher, export_actions
from trackside.sandbox.server import Sandbox
from trackside.sandbox.web import routes
from trackside.sandbox.web.assets import ensure_mermaid
from trackside.system.process import Processes


def serve(
    env: Mapping[str, str], say: Callable[[str], None], *, root: Path, port: int, source: Path | None, repo: str
) -> int:
    """Start, import a clone's tracked files once, and wait. The state below `root` is continued."""
    machine = machine_env(env)
    files = _tracked(source, machine) if source else {"README.md": f"# {repo}\n".encode()}
    root = root.resolve()
    sandbox = Sandbox(root, machine, port=port, strict=False)
    sandbox.extra_routes += routes(sandbox, ensure_mermaid(root / "cache", machine))
    actions = {"trackside-ml/trackside": export_actions(SHIPPED, root / "actions")}
    owner = repo.split("/")[0]
    with sandbox:
        sandbox.dispatcher = Dispatcher(sandbox.hub, machine, actions)
        sandbox.dispatcher.start()
        if sandbox.state.get("repo", "", repo) is None:
            sandbox.seed.repository(repo, files)
        token = sandbox.seed.token(owner)
        say(f"pages     {sandbox.url}/{repo}\ngit       {sandbox.url}/{repo}.git\napi       {sandbox.api_url}")
        say(f"token     {token} ({owner}, all rights)\nstate     {root}\nCtrl-C stops it; the state stays")
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
    return 0


def _tracked(clone: Path, env: Mapping[str, str]) -> dict[str, bytes | None]:
    """Files that git tracks in a clone. Raises ConfigError for a folder that is none."""
    done = Processes(env).run(["git", "-C", clone, "ls-files", "-z"], check=False)
    if done.returncode != 0:
        raise ConfigError(f"{clone} is not a git repository", remedy="--import the folder of a clone")
    paths = [path for path in done.stdout.decode().split("\0") if path and (clone / path).is_file()]
    return {path: (clone / path).read_bytes() for path in paths}
