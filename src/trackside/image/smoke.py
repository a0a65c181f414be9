"""The golden smoke test: recorded requests against the started service. Ready says little; answers count."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from trackside.documents.image import Smoke
from trackside.errors import DataError, ForgeError, ToolError
from trackside.image.backends import Service
from trackside.system.clock import Clock
from trackside.system.http import Response, call

READY_SECONDS = 120.0
LATENCY_RUNS = 5
LATENCY_REQUESTS = 50
TOLERANCE = 1e-6
"""Relative, for floating-point numbers: other builds of the same packages may round differently."""
BROKEN = b'{"broken'
MAX_GOLDEN = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Golden:
    """One recorded request: a POST of JSON to `route`. `refused`: any 4xx is right, and nothing else."""

    line: int
    route: str
    request: Any
    response: Any = None
    tolerance: float = TOLERANCE
    refused: bool = False


def read_golden(text: str, name: str) -> list[Golden]:
    """The recorded requests of a JSON lines file.

    Raises:
        DataError: not JSON lines, a line without route, request, or response; nothing to be answered or refused.
    """
    if len(text) > MAX_GOLDEN:
        raise DataError(f"{name} has more than {MAX_GOLDEN:,} characters", reason_code="document_too_large")
    rows = [_golden(number, line, name) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    for what, there in (("answered", not all(row.refused for row in rows)), ("refused", any(r.refused for r in rows))):
        if not there or not rows:
            raise DataError(
                f"{name} has no request that is to be {what}",
                remedy='{"route": "/predict", "request": …, "response": …}\n'
                '{"route": "/predict", "request": …, "refused": true}',
                link="image.md",
            )
    return rows


def _golden(number: int, line: str, name: str) -> Golden:
    try:
        raw = json.loads(line)
        route, request = str(raw["route"]), raw["request"]
        refused = raw.get("refused", False) is True
        tolerance = float(raw.get("tolerance", TOLERANCE))
        response = None if refused else raw["response"]
        if not 0 <= tolerance < math.inf:  # with an endless one any answer would be right
            raise ValueError(f"the tolerance is {tolerance}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{name}, line {number}: {error}", link="image.md") from error
    if not route.startswith("/") or route.startswith("//"):
        raise DataError(f"{name}, line {number}: route {route[:80]!r} does not start with one /", link="image.md")
    return Golden(line=number, route=route, request=request, response=response, tolerance=tolerance, refused=refused)


def wait_ready(service: Service, clock: Clock, seconds: float = READY_SECONDS) -> None:
    """Until `/readyz` answers 200. Raises ToolError when the service ends or never gets ready."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if call("GET", service.url + "/readyz", timeout=5).status == 200:
                return
        except ForgeError:
            pass
        if not service.runs():
            raise _failed("the service ended before it was ready", service)
        clock.sleep(0.1)
    raise _failed(f"the service was not ready within {seconds:.0f} s: does its start fail over and over?", service)


def check_answers(service: Service, golden: Sequence[Golden]) -> Smoke:
    """Every recorded request must give its recorded answer, every bad one a 4xx; so must broken JSON, on each route.

    Raises:
        ToolError: which lines did not, with what came instead.
    """
    wrong = [f"line {row.line}: {why}" for row in golden if (why := _judge(row, service))]
    routes = sorted({row.route for row in golden})
    wrong += [f"broken JSON to {route}: {why}" for route in routes if (why := _refused(route, BROKEN, service))]
    if wrong:
        shown = "\n".join(wrong[:10]) + (f"\nand {len(wrong) - 10} more" if len(wrong) > 10 else "")
        raise _failed(f"{len(wrong)} of {len(golden) + len(routes)} requests went wrong", service, shown)
    good, bad = sum(not row.refused for row in golden), sum(row.refused for row in golden) + len(routes)
    return Smoke(requests=good, passed=good, bad_requests=bad, bad_refused=bad)


def latency(services: Sequence[Service], golden: Sequence[Golden]) -> list[list[float]]:
    """Median seconds of a request in each of five runs, by service. They take turns: a busy machine is busy for all."""
    requests = [(row.route, json.dumps(row.request).encode()) for row in golden if not row.refused]
    made: list[list[float]] = [[] for _ in services]

    def one_run(service: Service) -> Iterator[float]:
        for index in range(LATENCY_REQUESTS):
            started = time.perf_counter()
            _send(*requests[index % len(requests)], service)
            yield time.perf_counter() - started

    for _ in range(LATENCY_RUNS):
        for medians, service in zip(made, services, strict=True):
            medians.append(round(statistics.median(one_run(service)), 6))
    return made


def difference(wanted: Any, got: Any, tolerance: float, place: str = "answer") -> str:
    """Where two JSON values differ first, types included; empty when they are the same."""
    if type(wanted) is not type(got):
        return f"{place} is {_kind(got)} {_short(got)}, recorded was {_kind(wanted)} {_short(wanted)}"
    if isinstance(wanted, dict):
        if wanted.keys() != got.keys():
            return f"{place} has the keys {sorted(got)}, recorded were {sorted(wanted)}"
        parts = ((wanted[key], got[key], f"{place}.{key}") for key in wanted)
    elif isinstance(wanted, list):
        if len(wanted) != len(got):
            return f"{place} has {len(got)} items, recorded were {len(wanted)}"
        parts = ((a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(wanted, got, strict=True)))
    else:
        close = isinstance(wanted, float) and math.isclose(wanted, got, rel_tol=tolerance, abs_tol=tolerance * 1e-3)
        return "" if wanted == got or close else f"{place} is {_short(got)}, recorded was {_short(wanted)}"
    return next((found for a, b, where in parts if (found := difference(a, b, tolerance, where))), "")


def _judge(row: Golden, service: Service) -> str:
    """What is wrong with the answer to a recorded request."""
    data = json.dumps(row.request).encode()
    if row.refused:
        return _refused(row.route, data, service)
    try:
        answer = _send(row.route, data, service)
    except ForgeError as error:
        return error.message
    if answer.status != 200:
        return f"answered {answer.status}: {answer.body[:200].decode('utf-8', 'replace')}"
    try:
        found = json.loads(answer.body)
    except ValueError:
        return f"answered no JSON: {answer.body[:80].decode('utf-8', 'replace')!r}"
    return difference(row.response, found, row.tolerance)


def _refused(route: str, data: bytes, service: Service) -> str:
    """What is wrong with the answer to bad input."""
    try:
        answer = _send(route, data, service)
    except ForgeError as error:
        return error.message
    if 400 <= answer.status < 500:
        return ""
    hint = "; the service must check its input, which is the caller's mistake" if answer.status >= 500 else ""
    return f"bad input was answered {answer.status} instead of 4xx{hint}"


def _send(route: str, data: bytes, service: Service) -> Response:
    return call("POST", service.url + route, data=data, headers={"Content-Type": "application/json"}, timeout=60)


def _kind(value: Any) -> str:
    names = {bool: "boolean", int: "integer", float: "number", str: "text", list: "list", dict: "object"}
    return names.get(type(value), "null")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:80] + "…"


def _failed(message: str, service: Service, more: str = "") -> ToolError:
    log = "\n".join(service.log().strip().splitlines()[-15:])
    parts = [*([more] if more else []), *(["the service's log ends with:", log] if log else [])]
    return ToolError(
        message,
        why="\n".join(parts)[-3000:],
        log=log,
        remedy="start the service with `bentoml serve` and send it the recorded requests",
        link="image.md#smoke-test",
        reason_code="smoke_failed",
    )
