"""A reproduction, and what it restores, as a person reads them in a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence

from trackside.documents.reproduction import InputDifference, MetricAgain, OutputAgain, Reproduction, Restoration
from trackside.models.layout import printable, size, table
from trackside.runs import duration, number

__all__ = ["reproduction", "restoration", "size"]

VERDICTS = {
    "identical": "reproduced bit by bit",
    "within_tolerance": "reproduced: bytes differ, every metric is within the policy's tolerance",
    "differs": "not reproduced",
}
SOURCES = {"cache": "this clone's cache", "": "nowhere: no remote is configured"}
PACKAGES = 10
"""Packages that are listed; --json has all."""
STATUS = {"within_tolerance": "within tolerance", "not_judged": "differs, not judged"}


def reproduction(made: Reproduction) -> str:
    """Verdict and explanation last, where a reader of a long log looks."""
    restored = made.restoration
    parts = [
        "",
        _titled("outputs", ["path", "role", "recorded", "again", ""], [_output(one) for one in made.outputs]),
        _titled(
            "metrics",
            ["metric", "recorded", "again", "difference", "tolerance", ""],
            [_metric(one) for one in made.metrics],
            right=(1, 2, 3, 4),
        ),
        _titled(
            "stages",
            ["stage", "recorded", "again", "outputs"],
            [
                [one.name, _time(one.recorded_seconds), _time(one.seconds), _same(one.same, one.origin)]
                for one in made.stages
            ],
            right=(1, 2),
        ),
        _inputs(restored.differences),
        *(f"note: {printable(one)}" for one in restored.notes),
        f"\n{printable(restored.subject)}: {VERDICTS[made.verdict]}",
        *(f"  {printable(one)}" for one in made.explanation),
    ]
    if made.kept:
        parts.append(f"  kept: {made.kept}")
    return "\n".join(part for part in parts if part)


def restoration(made: Restoration) -> str:
    """What would be restored."""
    facts = [
        ["version", f"{made.model}@v{made.version}" if made.version else "-"],
        ["run", made.run],
        ["commit", f"{made.commit} (from {made.code})"],
        ["inputs", made.input_digest],
        ["packages", " ".join(part for part in (made.packages, made.lock_digest) if part)],
        ["Python", made.python],
        ["parameters", json.dumps(made.params, sort_keys=True)],
        ["overrides", json.dumps(made.overrides, sort_keys=True) if made.overrides else "-"],
        ["seeds", ", ".join(f"{name}={value}" for name, value in made.seeds.items()) or "none recorded"],
        ["stages", ", ".join(f"{name} ({_time(took)})" for name, took in made.stages.items())],
    ]
    total = size(sum(one.size or 0 for one in made.data))
    rows = [
        [one.path, one.digest, size(one.size) if one.size is not None else "", SOURCES.get(one.source, one.source)]
        for one in made.data
    ]
    parts = [
        table(["", ""], facts).lstrip("\n"),
        _titled(f"data ({total})", ["path", "digest", "size", "from"], rows, right=(2,)),
        _inputs(made.differences),
        *(f"note: {printable(one)}" for one in made.notes),
        "\nnothing was trained: without --dry-run it is",
    ]
    return "\n".join(part for part in parts if part)


def _titled(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    return f"\n{title.upper()}\n{table(head, rows, right=right)}" if rows else ""


def _output(one: OutputAgain) -> list[str]:
    return [one.path, one.role, one.recorded[:19] or "-", one.again[:19] or "-", one.status]


def _metric(one: MetricAgain) -> list[str]:
    tolerance = "-" if one.tolerance is None else f"{one.tolerance:g}"
    difference = number(one.difference, sign=True) if one.difference else "0" if one.difference == 0 else "-"
    return [
        one.name,
        number(one.recorded),
        number(one.again),
        difference,
        tolerance,
        STATUS.get(one.status, one.status),
    ]


def _inputs(found: Sequence[InputDifference]) -> str:
    """What matters first; of many packages only some."""
    packages = [one for one in found if one.kind == "package"]
    cut = packages[PACKAGES:] if len(packages) > PACKAGES + 1 else []
    rows = sorted((one for one in found if one not in cut), key=lambda one: not one.matters)
    text = _titled(
        "other than recorded",
        ["input", "recorded", "here", ""],
        [[one.input, one.recorded, one.here, "" if one.matters else "seldom matters"] for one in rows],
    )
    return text + (f"\nand {len(cut)} more packages: --json lists all" if cut else "")


def _time(seconds: float) -> str:
    return duration(seconds) if seconds else "-"


def _same(same: bool | None, origin: bool) -> str:
    if same is None:
        return ""
    return "identical" if same else "differ; it begins here" if origin else "differ"
