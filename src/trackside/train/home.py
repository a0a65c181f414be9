"""A home of the stages' own in place of the user's: where it is, and what of the user's they need all the same."""

from __future__ import annotations

import json
import os
import pwd
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from trackside.errors import ToolError
from trackside.system.process import Processes
from trackside.train.environment import stage_python
from trackside.train.state import scratch

_FOLDERS = {"XDG_CONFIG_HOME": "config", "XDG_DATA_HOME": "data", "XDG_STATE_HOME": "state", "XDG_RUNTIME_DIR": "run"}
_WHERE = "import json, sys; print(json.dumps([sys.executable, sys.prefix, sys.base_prefix]))"


def homes(env: Mapping[str, str]) -> tuple[Path, ...]:
    """The user's home as `HOME` and as the system names it, where there is one and it is not the whole disk."""
    named = [env.get("HOME", "")]
    with suppress(KeyError):
        named.append(pwd.getpwuid(os.getuid()).pw_dir)
    found = (Path(one).resolve() for one in named if one)
    return tuple(dict.fromkeys(one for one in found if one.is_dir() and one != Path("/")))


def own(work: Path) -> dict[str, str]:
    """`HOME` and the XDG folders, empty, below a scratch folder."""
    home = scratch(work, "home")
    return {"HOME": str(home), **{name: str(scratch(home, folder)) for name, folder in _FOLDERS.items()}}


def python_of(env: Mapping[str, str], processes: Processes) -> tuple[str, list[Path]]:
    """`PATH` by which the stages' Python is found without the user's home, where shims look it up; and its folders."""
    path = env.get("PATH", "")
    python = stage_python(env)
    try:
        done = processes.run([python, "-I", "-c", _WHERE], timeout=60)
        real, *folders = (str(one) for one in json.loads(done.stdout))
    except (ToolError, ValueError):
        return path, []
    bin_ = str(Path(real).parent)
    return path if bin_ == str(Path(python).parent) else f"{bin_}:{path}", [Path(one) for one in folders]


def needed(env: Mapping[str, str], workspace: Path) -> list[Path]:
    """What stages must read wherever it lies: programs, libraries, certificates, this Python, borrowed git objects."""
    named = [part for name in ("PATH", "LD_LIBRARY_PATH") for part in env.get(name, "").split(":")]
    named += [env.get("SSL_CERT_FILE", ""), env.get("SSL_CERT_DIR", ""), sys.prefix, sys.base_prefix]
    lent = workspace / ".git" / "objects" / "info" / "alternates"
    named += lent.read_text().splitlines() if lent.is_file() else []
    return [Path(one) for one in named if one.startswith("/")]
