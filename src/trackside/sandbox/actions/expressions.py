"""GitHub's expression language: read, evaluate, and fold the parts whose values are known.

Grammar and rules: "Evaluate expressions in workflows and actions" in GitHub's documentation. Values are None, bool,
int or float, str, list and dict.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trackside.sandbox.actions import values
from trackside.sandbox.actions.values import ExpressionError, truthy

MAX_DEPTH = 50
"""GitHub refuses deeper expressions."""
_TOKEN = re.compile(
    r"\s*(?:(?P<number>[-+]?(?:0x[0-9a-fA-F]+|0o[0-7]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.]))"
    r"|'(?P<string>(?:[^']|'')*)'|(?P<name>[A-Za-z_][\w-]*)|(?P<operator>\|\||&&|==|!=|<=|>=|[<>!().,\[\]*]))"
)
_BINARY = {"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4}
_LITERALS: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": float("nan"),
    "Infinity": float("inf"),
}
_STATUS = ("always", "success", "failure", "cancelled")


@dataclass(frozen=True)
class Node:
    """A literal, context, index, star, not, operator or call; `value` is its literal, name or operator."""

    kind: str
    value: Any = None
    parts: tuple[Node, ...] = ()


def parse(text: str) -> Node:
    """Read one expression, without its `${{ }}`. Raises ExpressionError."""
    parser = _Parser(text)
    found = parser.expression(0)
    if parser.peek() is not None:
        raise ExpressionError(f"unexpected {parser.peek()} in {text.strip()!r}")
    return found


def evaluate(text: str, contexts: Mapping[str, Any]) -> Any:
    """The value of one expression. Raises ExpressionError, also for an unknown context that is not reached."""
    node = parse(text)
    _check_names(node, contexts)
    return _evaluate(node, contexts)


def value(text: Any, contexts: Mapping[str, Any]) -> Any:
    """A YAML value: one whole expression keeps its type, text around it makes a string. Raises ExpressionError."""
    if not isinstance(text, str):
        return text
    pieces = split(text)
    if len(pieces) == 1 and pieces[0][0]:
        return evaluate(pieces[0][1], contexts)
    return "".join(values.to_text(evaluate(part, contexts)) if live else part for live, part in pieces)


def render(text: str, contexts: Mapping[str, Any]) -> str:
    """Replace every `${{ … }}` in a text by its value as a string. Raises ExpressionError."""
    return values.to_text(value(text, contexts))


def condition(text: Any) -> Node:
    """An `if:`, braces or not; without a status function it also asks for success(). Raises ExpressionError."""
    pieces = split(text) if isinstance(text, str) else [(False, values.to_text(text))]
    if any(live for live, _ in pieces) and len(pieces) > 1:
        # Text around expressions makes a string, and one that is not empty holds.
        node = Node("literal", "text")
        status = any(_asks_status(parse(part)) for live, part in pieces if live)
    else:
        node = parse(pieces[0][1]) if pieces else Node("literal", "")
        status = _asks_status(node)
    return node if status else Node("operator", "&&", (Node("call", "success"), node))


def holds(text: Any, contexts: Mapping[str, Any]) -> bool:
    """Whether an `if:` lets a job run. Raises ExpressionError."""
    node = condition(text)
    _check_names(node, contexts)
    return truthy(_evaluate(node, contexts))


def asks_status(text: str) -> bool:
    """Whether an `if:` calls always(), success(), failure() or cancelled(); False where it cannot be read."""
    try:
        return any(_asks_status(parse(part)) for live, part in split(text) if live or "${{" not in text)
    except ExpressionError:
        return False


def _asks_status(node: Node) -> bool:
    return (node.kind == "call" and node.value in _STATUS) or any(map(_asks_status, node.parts))


def split(text: str) -> list[tuple[bool, str]]:
    """The pieces of a text: (True, expression) for what stands in `${{ }}`, (False, text) for the rest."""
    pieces: list[tuple[bool, str]] = []
    place = 0
    while (start := text.find("${{", place)) >= 0:
        end, quoted = start + 3, False
        while end < len(text) and (quoted or not text.startswith("}}", end)):
            quoted ^= text[end] == "'"
            end += 1
        if end >= len(text):
            raise ExpressionError(f"no closing }}}} in {text[start : start + 60]!r}")
        pieces += [(False, text[place:start])] * (start > place) + [(True, text[start + 3 : end])]
        place = end + 2
    return pieces + [(False, text[place:])] * (place < len(text))


def fold(text: str, contexts: Mapping[str, Any], *, bare: bool = False) -> str:
    """Replace what is known by literals and keep the rest as expressions; a context may be `Partial`.

    With `bare` the whole text is an expression, as in `if:`. What cannot be read stays as it is.
    """
    try:
        if bare and "${{" not in text:
            return _write(_fold(parse(text), contexts))
        return "".join(
            "${{ " + _write(_fold(parse(part), contexts)) + " }}" if live else part for live, part in split(text)
        )
    except ExpressionError:
        return text


class Partial(dict[str, Any]):
    """A context of which only these members are known."""


def _fold(node: Node, contexts: Mapping[str, Any]) -> Node:
    known = _known(node, contexts)
    if known:
        return Node("literal", _evaluate(node, contexts))
    return Node(node.kind, node.value, tuple(_fold(part, contexts) for part in node.parts))


def _known(node: Node, contexts: Mapping[str, Any]) -> bool:
    if node.kind == "context":
        return node.value in contexts and not isinstance(contexts[node.value], Partial)
    if node.kind == "index" and node.parts[0].kind == "context":
        context = contexts.get(node.parts[0].value)
        if isinstance(context, Partial):
            key = node.parts[1]
            return key.kind == "literal" and isinstance(key.value, str) and key.value.lower() in context
    if node.kind == "call" and node.value in (*_STATUS, "hashfiles"):
        return False
    return all(_known(part, contexts) for part in node.parts)


def _write(node: Node) -> str:
    parts = [_write(part) for part in node.parts]
    match node.kind:
        case "literal":
            return values.literal(node.value)
        case "context":
            return str(node.value)
        case "index":
            name = node.parts[1].value if node.parts[1].kind == "literal" else None
            plain = isinstance(name, str) and re.fullmatch(r"[A-Za-z_][\w-]*", name, re.ASCII)
            return f"{parts[0]}.{name}" if plain else f"{parts[0]}[{parts[1]}]"
        case "star":
            return f"{parts[0]}.*"
        case "not":
            return f"!{parts[0]}" if node.parts[0].kind != "operator" else f"!({parts[0]})"
        case "operator":
            return f"({parts[0]} {node.value} {parts[1]})"
    return f"{node.value}({', '.join(parts)})"


def _check_names(node: Node, contexts: Mapping[str, Any]) -> None:
    if node.kind == "context" and node.value not in contexts:
        raise ExpressionError(f"unrecognized named-value: '{node.value}'")
    for part in node.parts:
        _check_names(part, contexts)


def _evaluate(node: Node, contexts: Mapping[str, Any]) -> Any:
    match node.kind:
        case "literal":
            return node.value
        case "context":
            return contexts[node.value]
        case "index":
            return values.member(_evaluate(node.parts[0], contexts), _evaluate(node.parts[1], contexts))
        case "star":
            return values.members(_evaluate(node.parts[0], contexts))
        case "not":
            return not truthy(_evaluate(node.parts[0], contexts))
        case "operator":
            left = _evaluate(node.parts[0], contexts)
            if node.value in ("&&", "||"):
                return left if truthy(left) == (node.value == "||") else _evaluate(node.parts[1], contexts)
            return values.compare(node.value, left, _evaluate(node.parts[1], contexts))
    lazy: list[Callable[[], Any]] = [lambda part=part: _evaluate(part, contexts) for part in node.parts]  # type: ignore[misc]
    return _status(node.value, contexts) if node.value in _STATUS else values.call(node.value, lazy)


def _status(name: str, contexts: Mapping[str, Any]) -> bool:
    """Reads `cancelled` and `results` (of all jobs before this one) that the caller puts into the contexts."""
    results, stopped = contexts.get("results", ()), bool(contexts.get("cancelled"))
    if name == "success":
        return not stopped and all(result == "success" for result in results)
    if name == "failure":
        return not stopped and any(result == "failure" for result in results)
    return name == "always" or stopped


class _Parser:
    """Precedence climbing."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        self.place, self.depth = 0, 0
        start, text = 0, text.rstrip()
        while start < len(text):
            found = _TOKEN.match(text, start)
            if found is None:
                raise ExpressionError(f"cannot read {text[start : start + 40].strip()!r}")
            self.tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            start = found.end()

    def peek(self) -> tuple[str, str] | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def take(self, *expected: str) -> tuple[str, str]:
        token = self.peek()
        if token is None or (expected and token not in [("operator", one) for one in expected]):
            raise ExpressionError(f"expected {' or '.join(expected) or 'more'}, found {token and token[1]}")
        self.place += 1
        return token

    def expression(self, floor: int) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError(f"an expression is deeper than {MAX_DEPTH}")
        left = self.unary()
        while (token := self.peek()) and token[0] == "operator" and _BINARY.get(token[1], 0) > floor:
            self.place += 1
            left = Node("operator", token[1], (left, self.expression(_BINARY[token[1]])))
        self.depth -= 1
        return left

    def unary(self) -> Node:
        turns = 0
        while self.peek() == ("operator", "!"):
            self.place, turns = self.place + 1, turns + 1
            if turns > MAX_DEPTH:
                raise ExpressionError(f"an expression is deeper than {MAX_DEPTH}")
        found = self.access(self.primary())
        for _ in range(turns):
            found = Node("not", None, (found,))
        return found

    def primary(self) -> Node:
        kind, text = self.take()
        if kind == "number":
            return Node("literal", values.number(text))
        if kind == "string":
            return Node("literal", text.replace("''", "'"))
        if kind == "name":
            if self.peek() == ("operator", "("):
                return self.call(text.lower())
            return Node("literal", _LITERALS[text]) if text in _LITERALS else Node("context", text.lower())
        if text == "(":
            found = self.expression(0)
            self.take(")")
            return found
        raise ExpressionError(f"unexpected {text!r}")

    def access(self, found: Node) -> Node:
        steps = 0
        while (token := self.peek()) in (("operator", "."), ("operator", "[")):
            self.place, steps = self.place + 1, steps + 1
            if steps > MAX_DEPTH:
                raise ExpressionError(f"an expression is deeper than {MAX_DEPTH}")
            if self.peek() == ("operator", "*"):
                self.place += 1
                found = Node("star", None, (found,))
            elif token == ("operator", "."):
                kind, name = self.take()
                if kind != "name":
                    raise ExpressionError(f"unexpected {name!r} after a dot")
                found = Node("index", None, (found, Node("literal", name)))
            else:
                found = Node("index", None, (found, self.expression(0)))
            if token == ("operator", "["):
                self.take("]")
        return found

    def call(self, name: str) -> Node:
        self.take("(")
        given: list[Node] = []
        while self.peek() != ("operator", ")"):
            if given:
                self.take(",")
            given.append(self.expression(0))
        self.take(")")
        values.check_call(name, len(given))
        return Node("call", name, tuple(given))
