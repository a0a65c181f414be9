"""One column of a verdict, in full: what moved, how far, how sure that is, what would go unnoticed, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from trackside.documents.codec import to_builtins
from trackside.documents.verdict import Kind, Test, Verdict
from trackside.drift.history import SILENT, main_test, since
from trackside.drift.verdict import ORDER
from trackside.drift.words import figure, share
from trackside.errors import DataError
from trackside.report.escape import code, inline

DAYS = 14


def found(column: str, verdict: Verdict, earlier: Sequence[Verdict]) -> dict[str, Any]:
    """The figures of one column.

    Raises:
        DataError: the verdict has nothing of such a column.
    """
    tests = [one for one in verdict.tests if one.column == column]
    if not tests and column not in verdict.shapes:
        known = sorted({one.column for one in verdict.tests} | set(verdict.shapes))
        raise DataError(
            f"there is no column {column[:100]!r} to explain",
            why="compared: " + ", ".join(known)[:300] if known else "; ".join(verdict.problems[:3]),
            link="drift.md",
            reason_code=verdict.reason_code if verdict.verdict in SILENT else "",
        )
    moved = column in verdict.moved
    course = verdict.courses.get(column)
    return {
        "column": column,
        "verdict": max((one.kind for one in tests), key=_rank, default="ok"),
        "moved": moved,
        "since": since(column, verdict, earlier) if moved else "",
        "course": to_builtins(course) if course is not None else None,
        "tests": [to_builtins(one) for one in tests],
        "shape": verdict.shapes.get(column),
        "history": [
            {"as_of": one.as_of, "effect": test.effect, "test": test.test, "alarm": test.alarm}
            for one in earlier[:DAYS]
            for test in _first(one, column)
        ],
        "problems": [words for words in verdict.problems if words.startswith(column)],
    }


def _rank(kind: Kind) -> int:
    return ORDER.index(kind)


def _first(verdict: Verdict, column: str) -> list[Test]:
    test = main_test(verdict, column)
    return [test] if test is not None else []


def as_json(column: str, verdict: Verdict, earlier: Sequence[Verdict]) -> str:
    """Raises like `found`."""
    plain = msgspec.json.encode(found(column, verdict, earlier))
    return msgspec.json.format(plain, indent=2).decode()


def markdown(column: str, verdict: Verdict, earlier: Sequence[Verdict]) -> str:
    """Raises like `found`."""
    told = found(column, verdict, earlier)
    lines = [f"## {code(column)}: {told['verdict'].replace('_', ' ')}", ""]
    lines += [f"{one.sentence}." for one in verdict.tests if one.column == column and one.alarm and one.sentence]
    if told["moved"]:
        lines.append(f"Since {told['since']}.")
    if told["course"]:
        lines.append(f"{told['course']['kind']}: {told['course']['evidence']}.")
    lines += [f"{inline(words)}." for words in told["problems"]]
    lines += _tests([one for one in verdict.tests if one.column == column])
    lines += _shape(told["shape"] or {})
    if told["history"]:
        lines += ["", "| day | test | effect | alarm |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {one['as_of']} | {one['test']} | {figure(one['effect'])} | {'yes' if one['alarm'] else ''} |"
            for one in told["history"]
        ]
    return "\n".join(lines) + "\n"


def _tests(tests: Sequence[Test]) -> list[str]:
    if not tests:
        return []
    lines = ["", "| test | effect | interval | matters from | q | would see | |", "| --- " * 7 + "|"]
    for one in tests:
        interval = f"{figure(one.low)} to {figure(one.high)}" if one.low is not None else ""
        name = f"{one.test} ({inline(one.segment)})" if one.segment else one.test
        lines.append(
            f"| {name} | {figure(one.effect) if one.effect is not None else ''} {inline(one.unit)} | {interval} "
            f"| {figure(one.threshold) if one.threshold is not None else 'shown only'} "
            f"| {figure(one.q_value) if one.q_value is not None else ''} "
            f"| {figure(one.detectable) if one.detectable is not None else ''} | {'🔴' if one.alarm else ''} |"
        )
    return lines


def _shape(shape: dict[str, Any]) -> list[str]:
    lines = []
    quantiles = shape.get("quantiles")
    if quantiles:
        lines += ["", "| quantile | reference | current |", "| --- | --- | --- |"]
        lines += [
            f"| {share(at)} | {figure(before)} | {figure(now)} |"
            for at, before, now in zip(quantiles["at"], quantiles["reference"], quantiles["current"], strict=True)
        ]
    if shape.get("names"):
        lines += ["", "| value | reference | current |", "| --- | --- | --- |"]
        lines += [
            f"| {inline(name)} | {share(before)} | {share(now)} |"
            for name, before, now in zip(shape["names"], shape["reference"], shape["current"], strict=True)
        ]
    return lines
