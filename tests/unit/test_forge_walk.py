"""Listing a tree that is too large for one answer, against the tree endpoint's rules."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from trackside.forge.client import Answer, Client
from trackside.forge.read import Reads
from trackside.system.clock import SystemClock


class Trees:
    """Serves `/git/trees/` of a set of paths; recursive answers are cut after `most` entries, as GitHub does."""

    def __init__(self, paths: list[str], most: int) -> None:
        self.paths, self.most, self.asked = paths, most, list[str]()

    def __call__(self, method: str, path: str, query: Mapping[str, Any], body: Any) -> Answer:
        name = path.rpartition("/")[2]
        self.asked.append(name)
        at = "" if name == "main" else bytes.fromhex(name).decode()
        below = [one.removeprefix(at) for one in self.paths if one.startswith(at)]
        if query.get("recursive"):
            rows = [{"path": one, "type": "blob", "sha": "b"} for one in below]
        else:
            rows = [{"path": one, "type": "blob", "sha": "b"} for one in below if "/" not in one]
            folders = sorted({one.split("/")[0] for one in below if "/" in one})
            rows += [{"path": one, "type": "tree", "sha": f"{at}{one}/".encode().hex()} for one in folders]
        answer = {"sha": "main", "tree": rows[: self.most], "truncated": len(rows) > self.most}
        return Answer(status=200, headers={}, text=json.dumps(answer))


class Reader(Reads):
    def __init__(self, trees: Trees) -> None:
        self.client = Client("acme/flights", trees, SystemClock(), max_rate_limit_wait=1)


def test_a_cut_listing_is_completed_folder_by_folder() -> None:
    wanted = [f"runs/delay/{number}.json" for number in range(50)] + ["runs/delay/old/x.json"]
    others = [f"runs/price/{number}.json" for number in range(50)] + ["runs/delayed/x.json", "README.md", "runs/x"]
    for most in (60, 200):
        trees = Trees(wanted + others, most)
        assert Reader(trees).files("runs/delay", "main") == tuple(sorted(wanted))
        folders = ["runs/", "runs/delay/", "runs/delay/old/"] if most == 60 else []
        asked = ["main"] + (["main", *(one.encode().hex() for one in folders)] if folders else [])
        assert trees.asked == asked
