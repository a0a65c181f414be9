"""Numbers, sizes and times as people read them; plain text without any markup."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from trackside.documents.report import MetricRow
from trackside.documents.run import Money

MINUS = "\u2212"


def decimals(row: MetricRow) -> int:
    """Places that show two digits of the difference, between 3 and 5."""
    if not row.delta:
        return 4
    return min(5, max(3, 1 - math.floor(math.log10(abs(row.delta)))))


def number(value: float | None, places: int = 4, *, sign: bool = False) -> str:
    """A figure with thousands separators; very large and very small ones in scientific notation."""
    if value is None:
        return "–"
    size = abs(value)
    if value == 0:
        made = "0"
    elif size >= 1e9 or size < 10 ** -max(places, 4):
        made = f"{size:.3g}"
    elif size >= 1000:
        made = f"{size:,.{0 if size == int(size) else 1}f}"
    else:
        made = f"{size:,.{places}f}"
        made = str(int(size)) if size == int(size) and size >= 10 else made
    if not made.strip("0."):
        return made
    if value < 0:
        return MINUS + made
    return f"+{made}" if sign and value > 0 else made


def change(row: MetricRow) -> str:
    """`+0.0148`, or a dash."""
    return number(row.delta, decimals(row), sign=True) if row.delta is not None else "–"


def interval(row: MetricRow) -> str:
    """`+0.011 … +0.019`, or nothing."""
    if row.low is None or row.high is None:
        return ""
    places = decimals(row)
    return f"{number(row.low, places, sign=True)} … {number(row.high, places, sign=True)}"


def sentence(row: MetricRow) -> str:
    """`roc_auc 0.7012 → 0.7160 (+0.0148), below the minimum 0.72`."""
    places = decimals(row)
    if row.current is None:
        return f"{row.name} is {row.reason or 'missing'}"
    if row.delta is None:
        made = f"{row.name} {number(row.current, places)}"
    elif row.delta == 0:
        made = f"{row.name} stays at {number(row.current, places)}"
    else:
        made = f"{row.name} {number(row.baseline, places)} → {number(row.current, places)} ({change(row)})"
    return f"{made}, {row.reason}" if row.reason and row.verdict not in ("new", "unchanged") else made


def limits(row: MetricRow) -> str:
    """What the policy asks of a metric, in a few words."""
    parts = []
    if row.minimum is not None:
        parts.append(f"≥ {row.minimum:g}")
    if row.maximum is not None:
        parts.append(f"≤ {row.maximum:g}")
    if row.tolerance:
        parts.append(f"±{row.tolerance:g}")
    return ", ".join(parts)


def size(count: int | None) -> str:
    """Bytes in a unit with three digits."""
    if count is None:
        return ""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:,.3g} TB"


def duration(seconds: float) -> str:
    """`48 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def money(cost: Money) -> str:
    return f"{cost.amount:,.2f} {cost.currency}"


def short(digest: str) -> str:
    """A digest's kind and first twelve digits."""
    kind, _, rest = digest.rpartition(":")
    return f"{kind}:{rest[:12]}" if kind else rest[:12]


def value(thing: Any) -> str:
    """A parameter on one line."""
    if thing is None:
        return "–"
    if isinstance(thing, str):
        return short(thing) if re.fullmatch(r"(sha256|md5):[0-9a-f]{32,}", thing) else thing
    return json.dumps(thing, ensure_ascii=False, sort_keys=True, default=str)
