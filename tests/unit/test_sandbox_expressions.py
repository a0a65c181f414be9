"""GitHub's expression language in the sandbox; the table's values were taken from GitHub's own evaluator."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackside.sandbox.actions import expressions, values
from trackside.sandbox.actions.values import ExpressionError

CONTEXTS: dict[str, Any] = {
    "github": {
        "ref": "refs/heads/Main",
        "n": 3,
        "event": {"labels": [{"name": "a"}, {"name": "B"}, {"x": 1}], "s": {"k": {"r": "x"}, "j": {"r": "y"}}},
    },
    "inputs": {"b": True, "s": "", "t": "7", "o": {"1": "one"}},
    "needs": {
        "a": {"result": "failure", "outputs": {"x": "[1,2]"}},
        "b-c": {"result": "success", "outputs": {}},
    },
}

TABLE = [
    ("1 == 1.0", "true"),
    ("'abc' == 'ABC'", "true"),
    ("'a' < 'B'", "true"),
    ("null == ''", "true"),
    ("true == 'true'", "false"),
    ("true == 1", "true"),
    ("'0x10' == 16", "true"),
    ("' 7 ' == 7", "true"),
    ("NaN == NaN", "false"),
    ("'x' && 'y' || 'z'", "y"),
    ("'' || 'z'", "z"),
    ("!'' && !0 && !null", "true"),
    ("1 < 2 == true", "true"),
    ("false && fromJSON('{')", "false"),
    ("inputs.s && fromJSON(inputs.s) || 'none'", "none"),
    ("'it''s'", "it's"),
    ("1e3", "1000"),
    ("0.1", "0.1"),
    ("1234567.891", "1234567.891"),
    ("10000000000000000", "10000000000000000"),
    ("0xff", "255"),
    ("-2", "-2"),
    ("GitHub.REF", "refs/heads/Main"),
    ("github.event.labels[1].name", "B"),
    ("github.event.labels[1.7].name", "B"),
    ("github.event.labels['0'].name", "a"),
    ("github.event.labels.name", ""),
    ("github.event.labels[7].name", ""),
    ("join(github.event.labels.*.name)", "a,B"),
    ("join(github.event.s.*.r, '-')", "x-y"),
    ("join(needs.*.result, ' ')", "failure success"),
    ("contains(needs.*.result, 'FAILURE')", "true"),
    ("contains('Hello', 'ELL')", "true"),
    ("contains(fromJSON('[1, 2]'), '2')", "true"),
    ("startsWith(github.ref, 'REFS/')", "true"),
    ("endsWith(github.ref, 'main')", "true"),
    ("format('{{{0}}} {1}', 'a', true)", "{a} true"),
    ("inputs['o'][1]", "one"),
    ("needs.b-c.result", "success"),
    ("fromJSON(needs.a.outputs.x)[1]", "2"),
    ("toJSON(fromJSON('{\"a\":1.0}'))", '{\n  "a": 1\n}'),
    ("toJSON(null)", "null"),
    ("github.event", "Object"),
    ("needs.*", "Array"),
    ("case(false, 'a', inputs.b, 'b', 'c')", "b"),
]

WRONG = [
    *("1 +", "a b", "(1", "'x", "bogus", "inputs.b || bogus", "nofunction()", "contains('a')", "format('{1}', 'a')"),
    *("format('{', 'a')", "fromJSON('{')", "fromJSON(NaN)", "github.", "1.2.3", '"x"', "case(true, 1)", "!" * 60 + "1"),
    "(" * 60 + "1" + ")" * 60,
]


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_the_value_is_the_one_that_github_gives(text: str, expected: str) -> None:
    assert values.to_text(expressions.evaluate(text, CONTEXTS)) == expected


@pytest.mark.parametrize("text", WRONG)
def test_what_github_refuses_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        expressions.evaluate(text, CONTEXTS)


@pytest.mark.parametrize(("text", "expected"), TABLE)
def test_a_folded_expression_has_the_same_value_without_its_contexts(text: str, expected: str) -> None:
    folded = expressions.fold(f"x ${{{{ {text} }}}}", CONTEXTS)
    assert expressions.render(folded, {}) == f"x {expected}"


def test_only_what_is_known_is_folded() -> None:
    known = {"needs": CONTEXTS["needs"], "github": expressions.Partial(ref="main")}
    cases = {
        "${{ github.ref }}-${{ github.workspace }}": "${{ 'main' }}-${{ github.workspace }}",
        "${{ steps.x.y == needs.a.result && always() }}": "${{ ((steps.x.y == 'failure') && always()) }}",
        "${{ !hashFiles('a') || !(needs.a.result != 'x') }}": "${{ (!hashfiles('a') || false) }}",
        "${{ not an expression": "${{ not an expression",
        "plain": "plain",
    }
    for text, expected in cases.items():
        assert expressions.fold(text, known) == expected
    assert expressions.fold("needs.a.result == env.X", known, bare=True) == "('failure' == env.X)"


@pytest.mark.parametrize(
    ("text", "results", "cancelled", "expected"),
    [
        (True, ["success"], False, True),
        (True, ["skipped"], False, False),
        ("inputs.b", ["failure"], False, False),
        ("${{ always() && inputs.b }}", ["failure"], True, True),
        ("failure()", ["success", "failure"], False, True),
        ("!cancelled()", ["failure"], True, False),
        ("cancelled()", [], True, True),
        ("success() || 'always()' == ''", ["failure"], False, False),
        ("'always()' != ''", ["failure"], False, False),
        ("${{ false }} text", [], False, True),
        (False, [], False, False),
    ],
)
def test_conditions(text: object, results: list[str], cancelled: bool, expected: bool) -> None:
    assert expressions.holds(text, {**CONTEXTS, "results": results, "cancelled": cancelled}) is expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_a_literal_reads_back_and_cannot_break_out(found: Any) -> None:
    written = values.literal(found)
    assert "}}" not in written
    assert "${{" not in written
    assert written.isprintable()
    back = expressions.evaluate(written, {})
    if isinstance(found, float) and not math.isfinite(found):
        assert back == values.to_text(found)
    else:
        assert values.compare("==", back, found) or json.dumps(values._whole(back)) == json.dumps(values._whole(found))


@given(st.text())
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        assert isinstance(expressions.render(text + "${{" + text + "}}", CONTEXTS), str)
