"""Measures the figures and prints them as one table. Exits with 1 when a target is missed or a figure is not there."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from measure import Figure, machine, shown

NAMES = (
    "diff",
    "start",
    "publish",
    "answered",
    "command",
    "release",
    "register",
    "registry",
    "gate",
    "lineage",
    "image",
    "install",
    "drift",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=NAMES, help="measure this alone; may be given again")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="one round each: shows that it runs, measures nothing")
    parser.add_argument("--no-peers", action="store_true", help="of drift: without Evidently, NannyML and whylogs")
    arguments = parser.parse_args()
    before = machine()
    figures: list[Figure] = []
    failures: dict[str, str] = {}
    for name in arguments.only or NAMES:
        started = time.monotonic()
        try:
            more = {"peers": not arguments.no_peers} if name == "drift" else {}
            figures += importlib.import_module(f"bench_{name}").measure(quick=arguments.quick, **more)
        except Exception as error:  # the other figures can still be measured
            failures[name] = f"{type(error).__name__}: {error}"
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(table(figures))
    print(f"\nBefore: {before}\nAfter: {machine()}")
    for name, why in failures.items():
        print(f"{name} could not be measured: {why}")
    if arguments.json:
        rows = [{**asdict(one), "good": one.good} for one in figures]
        document = {"before": before, "after": machine(), "figures": rows, "failures": failures}
        arguments.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return 1 if failures or any(one.good is False for one in figures) else 0


def table(figures: list[Figure]) -> str:
    """A Markdown table."""
    lines = ["| figure | measured | spread | target | |", "| --- | --- | --- | --- | --- |"]
    for one in figures:
        lines.append(f"| {one.name} | {shown(one.value, one.unit)} | {one.spread} | {one.target} | {one.verdict} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
