"""GitHub's expression language, for what must be known before act runs a job: names, groups, conditions, labels.

Grammar and rules: "Evaluate expressions in workflows and actions" in GitHub's documentation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)|'(?P<string>(?:[^']|'')*)'|(?P<name>[A-Za-z_][\w-]*)"
    r"|(?P<operator>\|\||&&|==|!=|<=|>=|[<>!().,\[\]*]))"
)
_BINARY = {"||": 1, "&&": 2, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4}
_LITERALS = {"true": True, "false": False, "null": None}


class ExpressionError(ValueError):
    """Not an expression of GitHub's language."""


def render(text: str, contexts: Mapping[str, Any]) -> str:
    """Replace every `${{ … }}` in a text by its value as a string."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: to_text(evaluate(found[1], contexts)), text, flags=re.DOTALL)


def value(text: Any, contexts: Mapping[str, Any]) -> Any:
    """A YAML value: one whole expression keeps its type, text around it makes a string."""
    if not isinstance(text, str):
        return text
    whole = re.fullmatch(r"\s*\$\{\{((?:(?!\}\}).)*)\}\}\s*", text, flags=re.DOTALL)
    return evaluate(whole[1], contexts) if whole else render(text, contexts)


def evaluate(text: str, contexts: Mapping[str, Any]) -> Any:
    """The value of one expression. Raises ExpressionError."""
    parser = _Parser(_tokens(text), contexts)
    found = parser.expression(0)
    if parser.peek() is not None:
        raise ExpressionError(f"unexpected {parser.peek()!r} in {text!r}")
    return found


def truthy(found: Any) -> bool:
    return not (found is None or found is False or found == "" or (found == 0 and not isinstance(found, bool)))


def to_text(found: Any) -> str:
    if found is None:
        return ""
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, float) and found.is_integer():
        return str(int(found))
    return "Object" if isinstance(found, dict) else "Array" if isinstance(found, list) else str(found)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, place = [], 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ExpressionError(f"cannot read {text[place : place + 20]!r}")
        kind = str(found.lastgroup)
        tokens.append((kind, found[kind]))
        place = found.end()
    return tokens


class _Parser:
    """Precedence climbing that evaluates as it goes."""

    def __init__(self, tokens: list[tuple[str, str]], contexts: Mapping[str, Any]) -> None:
        self.tokens, self.place, self.contexts = tokens, 0, contexts

    def peek(self) -> tuple[str, str] | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def take(self, *expected: str) -> tuple[str, str]:
        token = self.peek()
        if token is None or (expected and token[1] not in expected):
            raise ExpressionError(f"expected {' or '.join(expected) or 'more'}, found {token}")
        self.place += 1
        return token

    def expression(self, floor: int) -> Any:
        left = self.unary()
        while (token := self.peek()) and token[0] == "operator" and _BINARY.get(token[1], 0) > floor:
            self.place += 1
            right = self.expression(_BINARY[token[1]])
            left = _combine(token[1], left, right)
        return left

    def unary(self) -> Any:
        if self.peek() == ("operator", "!"):
            self.place += 1
            return not truthy(self.unary())
        return self.access(self.primary())

    def primary(self) -> Any:
        kind, text = self.take()
        if kind == "number":
            return float(text) if "." in text else int(text)
        if kind == "string":
            return text.replace("''", "'")
        if kind == "name":
            if self.peek() == ("operator", "("):
                return self.function(text.lower())
            return _LITERALS[text] if text in _LITERALS else self.contexts.get(text)
        if text == "(":
            found = self.expression(0)
            self.take(")")
            return found
        raise ExpressionError(f"unexpected {text!r}")

    def access(self, found: Any) -> Any:
        while (token := self.peek()) and token[1] in (".", "[") and token[0] == "operator":
            self.place += 1
            if token[1] == ".":
                kind, name = self.take()
                key: Any = name
                if kind == "operator" and name != "*":
                    raise ExpressionError(f"unexpected {name!r} after a dot")
            else:
                key = self.expression(0)
                self.take("]")
            found = _member(found, key)
        return found

    def function(self, name: str) -> Any:
        self.take("(")
        arguments = []
        while self.peek() != ("operator", ")"):
            arguments.append(self.expression(0))
            if self.peek() == ("operator", ","):
                self.place += 1
        self.take(")")
        return _call(name, arguments, self.contexts)


def _member(found: Any, key: Any) -> Any:
    if key == "*":
        return list(found.values()) if isinstance(found, dict) else found
    if isinstance(found, dict):
        exact = found.get(str(key))
        return (
            exact if exact is not None else next((v for k, v in found.items() if k.lower() == str(key).lower()), None)
        )
    if isinstance(found, list):
        if isinstance(key, int) and 0 <= key < len(found):
            return found[key]
        return [one.get(key) for one in found if isinstance(one, dict)] if isinstance(key, str) else None
    return None


def _number(found: Any) -> float:
    """GitHub's coercion for comparisons: null 0, booleans 0 or 1, text as a JSON number (empty 0) or NaN."""
    if found is None or isinstance(found, bool):
        return float(bool(found))
    if isinstance(found, int | float):
        return float(found)
    if isinstance(found, str):
        try:
            return float(found) if found.strip() else 0.0
        except ValueError:
            return float("nan")
    return float("nan")


def _combine(operator: str, left: Any, right: Any) -> Any:
    if operator == "||":
        return left if truthy(left) else right
    if operator == "&&":
        return right if truthy(left) else left
    if isinstance(left, str) and isinstance(right, str):
        pair: tuple[Any, Any] = (left.lower(), right.lower())
    elif type(left) is type(right) and isinstance(left, dict | list):
        pair = (id(left), id(right))
    else:
        pair = (_number(left), _number(right))
    outcomes = {"==": pair[0] == pair[1], "!=": pair[0] != pair[1]}
    if operator in outcomes:
        return outcomes[operator]
    return {"<": pair[0] < pair[1], "<=": pair[0] <= pair[1], ">": pair[0] > pair[1], ">=": pair[0] >= pair[1]}[
        operator
    ]


def _call(name: str, given: list[Any], contexts: Mapping[str, Any]) -> Any:
    """Functions; `success()` and its kin read `needs` and the `cancelled` flag that the caller puts there."""
    results = [one.get("result") for one in (contexts.get("needs") or {}).values()]
    stopped = bool(contexts.get("cancelled"))
    match name, given:
        case "always", []:
            return True
        case "cancelled", []:
            return stopped
        case "success", []:
            return not stopped and all(result == "success" for result in results)
        case "failure", []:
            return not stopped and any(result == "failure" for result in results)
        case "contains", [whole, part]:
            if isinstance(whole, list):
                return any(_combine("==", one, part) for one in whole)
            return to_text(part).lower() in to_text(whole).lower()
        case "startswith", [whole, part]:
            return to_text(whole).lower().startswith(to_text(part).lower())
        case "endswith", [whole, part]:
            return to_text(whole).lower().endswith(to_text(part).lower())
        case "format", [template, *values]:
            return re.sub(
                r"\{\{|\}\}|\{(\d+)\}",
                lambda found: found[0][0] if found[1] is None else to_text(values[int(found[1])]),
                template,
            )
        case "join", [items, *rest]:
            separator = to_text(rest[0]) if rest else ","
            return separator.join(map(to_text, items)) if isinstance(items, list) else to_text(items)
        case "tojson", [found]:
            return json.dumps(found, indent=2)
        case "fromjson", [text]:
            try:
                return json.loads(to_text(text))
            except ValueError as error:
                raise ExpressionError(f"fromJSON: {error}") from error
    raise ExpressionError(f"unknown function {name}({len(given)} arguments)")
