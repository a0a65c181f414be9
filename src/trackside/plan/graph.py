"""Who makes what: outputs by path, the stages before a stage, and an order in which they can run."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence

from trackside.errors import ConfigError
from trackside.plan.objects import ancestors
from trackside.plan.paths import is_url

LINK = "pipelines.md"


class Outs:
    """The outputs of all stages, by path."""

    def __init__(self, by_stage: Mapping[str, Sequence[str]]) -> None:
        """Raises ConfigError when two stages make the same path."""
        self.maker: dict[str, str] = {}
        for stage, paths in by_stage.items():
            for path in dict.fromkeys(paths):
                if path in self.maker:
                    raise ConfigError(
                        f"stages {self.maker[path]!r} and {stage!r} both make {path!r}",
                        remedy="give each output one stage",
                        link=LINK,
                        reason_code="config_invalid",
                    )
                self.maker[path] = stage
        self._sorted = sorted(path for path in self.maker if not is_url(path))

    def covering(self, path: str) -> str:
        """The output that is `path` or holds it; empty when there is none."""
        if is_url(path):
            return path if path in self.maker else ""
        return next((folder for folder in ancestors(path) if folder in self.maker), "")

    def below(self, path: str) -> Sequence[str]:
        """Outputs strictly inside a folder."""
        if path == ".":
            return self._sorted
        start = bisect.bisect_left(self._sorted, path + "/")
        return self._sorted[start : bisect.bisect_left(self._sorted, path + "0", start)]

    def makers(self, deps: Iterable[str]) -> list[str]:
        """Stages that make a dependency, or something above or inside it; sorted."""
        found: set[str] = set()
        for dep in deps:
            covering = self.covering(dep)
            found.update(self.maker[path] for path in ([covering] if covering else self.below(dep)))
        return sorted(found)


def ordered(targets: Sequence[str], upstream: Mapping[str, Sequence[str]]) -> list[str]:
    """`targets` and all before them, each after what it needs; the same order for the same graph.

    Raises:
        ConfigError: a cycle, with its stages.
    """
    done: dict[str, bool] = {}
    order: list[str] = []
    for target in sorted(targets):
        stack: list[tuple[str, int]] = [(target, 0)]
        while stack:
            name, place = stack.pop()
            if place == 0:
                if name in done:
                    continue
                done[name] = False
            if place < len(upstream[name]):
                stack.append((name, place + 1))
                before = upstream[name][place]
                if done.get(before) is False:
                    cycle = [stage for stage, _ in stack]
                    raise ConfigError(
                        "stages depend on each other in a circle: "
                        + " → ".join([*cycle[cycle.index(before) :][:20], before]),
                        remedy="remove one of these dependencies from dvc.yaml",
                        link=LINK,
                        reason_code="pipeline_cycle",
                    )
                if before not in done:
                    stack.append((before, 0))
                continue
            done[name] = True
            order.append(name)
    return order
