"""Values of GitHub's expression language: coercion, comparison, access and functions."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable
from typing import Any

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|0x[0-9a-fA-F]+|0o[0-7]+|[-+]?Infinity")
_ARITY = {
    "always": (0, 0),
    "success": (0, 0),
    "failure": (0, 0),
    "cancelled": (0, 0),
    "hashfiles": (1, 255),
    "contains": (2, 2),
    "startswith": (2, 2),
    "endswith": (2, 2),
    "format": (1, 255),
    "join": (1, 2),
    "tojson": (1, 1),
    "fromjson": (1, 1),
    "case": (3, 255),
}


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class ExpressionError(ValueError):
    """Not an expression of GitHub's language, or one without a value."""


class Filtered(list[Any]):
    """What `.*` gives: access goes to the members, not to the list."""


def truthy(found: Any) -> bool:
    """False for null, false, 0, NaN and the empty string."""
    if isinstance(found, list | dict):
        return True
    return bool(found) and not (isinstance(found, float) and math.isnan(found))


def to_text(found: Any) -> str:
    """How a value reads inside a string; lists and objects read as `Array` and `Object`."""
    match found:
        case None:
            return ""
        case bool():
            return "true" if found else "false"
        case float():
            return _float_text(found)
        case dict():
            return "Object"
        case list():
            return "Array"
    return str(found)


def _float_text(found: float) -> str:
    if math.isnan(found):
        return "NaN"
    if math.isinf(found):
        return "Infinity" if found > 0 else "-Infinity"
    return str(int(found)) if found.is_integer() and abs(found) < 1e21 else f"{found:.15g}"


def number(text: str) -> int | float:
    """A number literal, or text in a comparison: empty is 0, what is no number is NaN."""
    text = text.strip()
    if not text:
        return 0
    if not _NUMBER.fullmatch(text):
        return math.nan
    if text[:2].lower() in ("0x", "0o"):
        return int(text, 0)
    found = float(text.replace("Infinity", "inf"))
    return int(found) if math.isfinite(found) and found.is_integer() and abs(found) < 2**53 else found


def _number(found: Any) -> float:
    if found is None or isinstance(found, bool):
        return float(bool(found))
    if isinstance(found, int | float):
        return float(found)
    return float(number(found)) if isinstance(found, str) else math.nan


def compare(sign: str, left: Any, right: Any) -> bool:
    """Text ignores case; unlike kinds compare as numbers; lists and objects are equal only to themselves."""
    if isinstance(left, str) and isinstance(right, str):
        left, right = left.upper(), right.upper()
    elif isinstance(left, list | dict) or isinstance(right, list | dict):
        return (left is right) == (sign in ("==", "<=", ">=")) and (left is right or sign == "!=")
    else:
        left, right = _number(left), _number(right)
    return bool(_OPERATORS[sign](left, right))


def member(found: Any, key: Any) -> Any:
    """`found[key]`; null where there is none. Object keys ignore case."""
    if isinstance(found, Filtered):
        picked = (_one(item, key) for item in found)
        return Filtered(item for item, there in picked if there)
    return _one(found, key)[0]


def _one(found: Any, key: Any) -> tuple[Any, bool]:
    if isinstance(found, dict) and not isinstance(key, list | dict):
        name = to_text(key)
        if name in found:
            return found[name], True
        return next(((item, True) for own, item in found.items() if str(own).lower() == name.lower()), (None, False))
    if isinstance(found, list):
        place = _number(key)
        if math.isfinite(place) and 0 <= math.floor(place) < len(found):
            return found[math.floor(place)], True
    return None, False


def members(found: Any) -> Filtered:
    """`found.*`: all values of an object or a list; of a filtered list, those of each member."""
    if isinstance(found, Filtered):
        return Filtered(one for item in found for one in _all(item))
    return Filtered(_all(found))


def _all(found: Any) -> list[Any]:
    return list(found.values()) if isinstance(found, dict) else list(found) if isinstance(found, list) else []


def check_call(name: str, count: int) -> None:
    """Raises ExpressionError for an unknown function or a wrong number of arguments."""
    if name not in _ARITY:
        raise ExpressionError(f"unrecognized function: '{name}'")
    least, most = _ARITY[name]
    if not least <= count <= most or (name == "case" and count % 2 == 0):
        raise ExpressionError(f"{name} does not take {count} arguments")


def call(name: str, lazy: list[Callable[[], Any]]) -> Any:
    """A function that needs nothing but its arguments; each is evaluated when called."""
    if name == "case":
        return _case(lazy)
    given = [one() for one in lazy]
    first = given[0] if given else None
    match name:
        case "contains":
            if isinstance(first, list):
                return any(compare("==", one, given[1]) for one in first)
            return _plain(first) and _plain(given[1]) and to_text(given[1]).upper() in to_text(first).upper()
        case "startswith":
            return _plain(first) and _plain(given[1]) and to_text(first).upper().startswith(to_text(given[1]).upper())
        case "endswith":
            return _plain(first) and _plain(given[1]) and to_text(first).upper().endswith(to_text(given[1]).upper())
        case "format":
            return _format(to_text(first), given[1:])
        case "join":
            separator = to_text(given[1]) if len(given) > 1 and _plain(given[1]) else ","
            if isinstance(first, list):
                return separator.join(map(to_text, first))
            return to_text(first) if _plain(first) else ""
        case "tojson":
            return json.dumps(_whole(first), indent=2, ensure_ascii=False)
        case "fromjson":
            try:
                return json.loads(to_text(first), parse_constant=_no_constant)
            except ValueError as error:
                raise ExpressionError(f"fromJSON: {error}") from None
    raise ExpressionError(f"{name} has no value here")


def _case(lazy: list[Callable[[], Any]]) -> Any:
    for place in range(0, len(lazy) - 1, 2):
        if truthy(lazy[place]()):
            return lazy[place + 1]()
    return lazy[-1]()


def _plain(found: Any) -> bool:
    return not isinstance(found, list | dict)


def _whole(found: Any) -> Any:
    """JSON knows one kind of number: 3.0 reads 3."""
    if isinstance(found, dict):
        return {key: _whole(item) for key, item in found.items()}
    if isinstance(found, list):
        return [_whole(item) for item in found]
    if isinstance(found, float) and not math.isfinite(found):
        return None
    return int(found) if isinstance(found, float) and found.is_integer() else found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _format(template: str, given: list[Any]) -> str:
    def piece(found: re.Match[str]) -> str:
        if found[0] in ("{{", "}}"):
            return found[0][0]
        if found[1] is None or int(found[1]) >= len(given):
            raise ExpressionError(f"format: {found[0]!r} in {template!r} names no argument")
        return to_text(given[int(found[1])])

    return re.sub(r"\{\{|\}\}|\{(\d{1,9})\}|[{}]", piece, template)


def literal(found: Any) -> str:
    """An expression with this value that holds no brace, line break or control character, whatever the value."""
    if found is None or isinstance(found, bool):
        return {None: "null", True: "true", False: "false"}[found]
    if isinstance(found, int | float):
        # act knows no NaN and no Infinity.
        return repr(found) if math.isfinite(found) else f"'{to_text(found)}'"
    if isinstance(found, str) and re.fullmatch(r"[\w ./:@+=,#()\[\]-]*", found, re.ASCII):
        return f"'{found}'"
    return f"fromJSON('{_json(found)}')"


def _json(found: Any) -> str:
    """JSON in which no two braces meet and every special character of a text is escaped."""
    if isinstance(found, dict):
        return "{" + ", ".join(f"{_json(str(key))}: {_json(item)}" for key, item in found.items()) + " }"
    if isinstance(found, list):
        return "[" + ", ".join(map(_json, found)) + "]"
    if isinstance(found, str):
        return re.sub(r"[{}'$]", lambda hit: f"\\u{ord(hit[0]):04x}", json.dumps(found))
    return json.dumps(_whole(found))
