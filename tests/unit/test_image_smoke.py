"""The golden smoke test against real server processes: what readiness hides must be found."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.errors import DataError, ToolError
from trackside.image import smoke
from trackside.image.backends import Service
from trackside.system.clock import SystemClock
from trackside.system.http import free_port
from trackside.system.process import Processes

SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

def predict(body):
    rows = json.loads(body)["rows"]
    return [row * 0.5 for row in rows]

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    def reply(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def do_GET(self):
        self.reply(200 if self.path == "/readyz" else 404, {})
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            self.reply(200, predict(body))
        except (ValueError, KeyError, TypeError):
            self.reply(400, {"error": "rows must be numbers"})
        except Exception as error:
            print("predict:", error, flush=True)
            self.reply(500, {"error": str(error)})
    def log_message(self, *_):
        pass

{defect}
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
GOLDEN = "\n".join(
    [
        *(
            json.dumps({"route": "/predict", "request": {"rows": [n, n + 1]}, "response": [n / 2, n / 2 + 0.5]})
            for n in range(5)
        ),
        json.dumps({"route": "/predict", "request": {"rows": ["x", None]}, "refused": True}),
        json.dumps({"route": "/predict", "request": {}, "refused": True}),
    ]
)  # fmt: skip
ROWS = smoke.read_golden(GOLDEN, "golden.jsonl")


@contextmanager
def serving(defect: str, program: str = SERVER) -> Iterator[Service]:
    """A server process with a defect, on a port of its own."""
    port, lines = free_port(), []
    code = program.replace("{defect}", defect)
    child = Processes({"PATH": ""}).spawn([sys.executable, "-I", "-c", code, str(port)], on_line=lines.append)
    try:
        yield Service(
            url=f"http://127.0.0.1:{port}", runs=lambda: child.returncode is None, log=lambda: "\n".join(lines)
        )
    finally:
        child.stop(grace=0.2)


def examined(service: Service, seconds: float = 10) -> str:
    """The smoke test's complaint."""

    def examine() -> None:
        smoke.wait_ready(service, SystemClock(), seconds)
        smoke.check_answers(service, ROWS)

    with pytest.raises(ToolError) as caught:
        examine()
    assert caught.value.reason_code == "smoke_failed"
    return caught.value.render()


def test_a_good_service_passes() -> None:
    with serving("") as service:
        smoke.wait_ready(service, SystemClock(), 10)
        found = smoke.check_answers(service, ROWS)
        medians = smoke.latency([service, service], ROWS)
    assert (found.requests, found.passed) == (5, 5)
    assert (found.bad_requests, found.bad_refused) == (3, 3), "two recorded, and broken JSON"
    assert [len(one) for one in medians] == [5, 5]
    assert all(0 < seconds < 1 for one in medians for seconds in one)


DEFECTS = {
    "ready, but every prediction fails": (
        "def predict(body): raise RuntimeError('no model')",
        ["line 1: answered 500", "no model", "the service's log ends with"],
    ),
    "wrong answers": (
        "def predict(body): return [row * 0.51 for row in json.loads(body)['rows']]",
        ["line 1: answer[1] is 0.51, recorded was 0.5"],
    ),
    "answers that are a little off": (
        "def predict(body): return [row * 0.5 * (1 + 3e-6) for row in json.loads(body)['rows']]",
        ["recorded was 0.5"],
    ),
    "wrong type: text": (
        "def predict(body): return [str(row * 0.5) for row in json.loads(body)['rows']]",
        ['answer[0] is text "0.0", recorded was number 0.0'],
    ),
    "wrong type: integers": (
        "def predict(body): return [int(row * 0.5) for row in json.loads(body)['rows']]",
        ["answer[0] is integer 0, recorded was number 0.0"],
    ),
    "wrong shape": (
        "def predict(body): return [[row * 0.5] for row in json.loads(body)['rows']]",
        ["answer[0] is list [0.0], recorded was number 0.0"],
    ),
    "one answer too few": (
        "def predict(body): return [row * 0.5 for row in json.loads(body)['rows']][:1]",
        ["answer has 1 items, recorded were 2"],
    ),
    "no JSON": (
        "import types\njson = types.SimpleNamespace(loads=json.loads, dumps=lambda value: '<html>')",
        ["answered no JSON: '<html>'"],
    ),
    "bad input gives 500": (
        "def predict(body):\n"
        "    try:\n        return [row * 0.5 for row in json.loads(body)['rows']]\n"
        "    except Exception as error:\n        raise RuntimeError('boom') from error",
        ["line 6: bad input was answered 500 instead of 4xx", "must check its input", "broken JSON to /predict"],
    ),
    "bad input gives an answer": (
        "def predict(body):\n"
        "    try:\n        return [row * 0.5 for row in json.loads(body)['rows']]\n"
        "    except Exception:\n        return []",
        ["line 6: bad input was answered 200 instead of 4xx"],
    ),
    "dies at the first request": (
        "def predict(body): import os; os._exit(9)",
        ["no answer"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFECTS)
def test_what_readiness_hides_is_found(name: str) -> None:
    defect, words = DEFECTS[name]
    with serving(defect) as service:
        said = examined(service)
    for word in words:
        assert word in said, said


def test_a_start_that_crashes_over_and_over_is_found() -> None:
    """A supervisor that starts its worker again and again, as BentoML's does: alive, never ready."""
    loop = (
        "import subprocess, sys, time\n"
        "while True:\n"
        "    subprocess.run([sys.executable, '-I', '-c', \"raise OSError('model file is damaged')\"])\n"
        "    time.sleep(0.05)\n"
    )
    with serving("", loop) as service:
        said = examined(service, seconds=2)
        assert service.runs(), "the supervisor goes on"
    assert "not ready within 2 s" in said
    assert "model file is damaged" in said


def test_a_service_that_ends_is_not_waited_for() -> None:
    started = time.monotonic()
    with serving("print('cannot load'); sys.exit(3)") as service:
        said = examined(service, seconds=600)
    assert "ended before it was ready" in said
    assert "cannot load" in said
    assert time.monotonic() - started < 200, "a third of the patience"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no request that is to be answered"),
        ('{"route": "/p", "request": {}, "response": 1}', "no request that is to be refused"),
        ("{", "line 1"),
        ('{"route": "/p", "request": {}}', "line 1"),
        ('\n{"request": {}, "response": 1}', "line 2"),
        ('{"route": "p", "request": {}, "response": 1}', "does not start with one /"),
        ('{"route": "//elsewhere/p", "request": {}, "response": 1}', "does not start with one /"),
        ("[1]", "line 1"),
        ('{"route": "/p", "request": 1, "response": 1, "tolerance": "much"}', "line 1"),
        ('{"route": "/p", "request": 1, "response": 1, "tolerance": -1}', "tolerance is -1"),
        ('{"route": "/p", "request": 1, "response": 1, "tolerance": Infinity}', "tolerance is inf"),
        ('{"route": "/p", "request": ' + "[" * 100_000, "line 1"),
    ],
)
def test_a_wrong_golden_file_is_explained(text: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        smoke.read_golden(text, "golden.jsonl")
    assert words in caught.value.render()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-1e9, 1e9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(VALUES)
def test_a_value_is_no_different_from_itself(value: object) -> None:
    assert smoke.difference(value, json.loads(json.dumps(value)), 1e-6) == ""


@given(VALUES, VALUES)
def test_other_values_are_different_both_ways(one: object, other: object) -> None:
    """What JSON writes apart differs, unless it is numbers within the tolerance."""
    found = smoke.difference(one, other, 0.0)
    assert bool(found) == bool(smoke.difference(other, one, 0.0))
    if not found:
        assert one == other
    assert len(found) < 1000


def test_examples_ship_with_the_documentation() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/image.md").read_text()
    block = text.split("```jsonl\n")[1].split("```")[0]
    assert len(smoke.read_golden(block, "docs/image.md")) >= 2
