"""The words of a retraining pull request: why, how far, since when, what it changes, how to silence it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trackside.documents.proposal import Changed
from trackside.documents.verdict import Test, Verdict
from trackside.report.escape import code, inline, title
from trackside.report.text import number

ROWS = 20
PLOTS = 3
CHECKS = 14
BARS = 24
SIGNS = {"drift": "🔴", "warning": "🟡", "ok": "🟢", "insufficient_data": "⚪", "invalid_data": "⚫"}
_SETTINGS = {
    "xyChart": {"width": 560, "height": 260},
    "themeVariables": {"xyChart": {"plotColorPalette": "#0969da, #8c959f"}},
}


@dataclass(frozen=True, kw_only=True)
class Words:
    """What the text is made from.

    `history` is newest first; `asked_by` the login and `asked_url` the comment of a person who asked; `starts_itself`
    says that an App opens the pull request; `auto_merge` and `cooldown_days` are the policy's.
    """

    model: str
    history: Sequence[Verdict]
    changes: Sequence[Changed]
    as_of: str
    cooldown_days: int
    starts_itself: bool
    auto_merge: bool = False
    asked_by: str = ""
    asked_url: str = ""


def heading(words: Words) -> str:
    """The pull request's title."""
    return f"Retrain {words.model} on data of {words.as_of}"


def message(words: Words) -> str:
    """The commit's message."""
    lines = [f"- {one.name} in {one.file}: {one.before} → {one.after}" for one in words.changes]
    return "\n".join([heading(words), "", *lines]) + "\n"


def body(words: Words) -> str:
    """The pull request's text, as Markdown."""
    drifted = words.history[0] if words.history and words.history[0].verdict == "drift" else None
    parts = [_why(words, drifted)]
    if drifted is not None:
        parts += [_evidence(drifted), *_plots(drifted)]
    parts += [_history(words.history)] if words.history else []
    parts += [_changes(words), _next(words), _silence(words)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _why(words: Words, drifted: Verdict | None) -> str:
    asked = ""
    if words.asked_by:
        who = code(words.asked_by)
        asked = f"Asked for by {f'[{who}]({words.asked_url})' if words.asked_url else who}. "
    if drifted is None:
        return f"### Retraining of {code(words.model)}\n\n{asked}The newest drift check found no drift."
    streak = max(drifted.streak, 1)
    often = "" if streak == 1 else f", {streak} checks in a row"
    count = len(drifted.moved)
    what = f"{count} column{'s' if count != 1 else ''} moved" if count else "drift was found"
    current, reference = drifted.current, drifted.reference
    version = f" of version {code(reference.version)}" if reference.version else ""
    return (
        f"### Production data of {code(words.model)} moved away from what it was trained on\n\n"
        f"{asked}{what.capitalize()} by {code(drifted.as_of)}{often}: {number(current.rows, 0)} current rows "
        f"against the reference{version} ({number(reference.rows, 0)} rows)."
    )


def _evidence(verdict: Verdict) -> str:
    rank = {name: place for place, name in enumerate(verdict.moved)}
    alarmed = [test for test in verdict.tests if test.alarm]
    alarmed.sort(key=lambda test: (rank.get(test.column, len(rank)), test.test))
    if not alarmed:
        return ""
    rows = [
        "#### What moved, and how far",
        "",
        "| column | test | effect | threshold | q | |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for test in alarmed[:ROWS]:
        rows.append(
            f"| {code(test.column)} | {inline(test.test)} | {_effect(test)} | {_number(test.threshold)} "
            f"| {_chance(test.q_value)} | {inline(test.sentence)} |"
        )
    if len(alarmed) > ROWS:
        rows += ["", f"And {len(alarmed) - ROWS} more; the verdict on the data branch has them all."]
    return "\n".join(rows)


def _effect(test: Test) -> str:
    if test.effect is None:
        return "–"
    interval = f" ({_number(test.low)} to {_number(test.high)})" if test.low is not None else ""
    return f"**{_number(test.effect)}**{interval}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _chance(value: float | None) -> str:
    return "–" if value is None else "<0.001" if value < 0.001 else f"{value:.2g}"


# Plots


def _plots(verdict: Verdict) -> list[str]:
    """Both distributions of the columns that moved most."""
    made = []
    for name in verdict.moved:
        drawn = _plot(name, verdict.shapes.get(name))
        if drawn:
            made.append(f"```mermaid\n{drawn}\n```")
        if len(made) == PLOTS:
            break
    if made:
        made.append("Shares of the values: bars are current data (blue), the line is the reference (grey).")
    return made


def _plot(name: str, shape: Any) -> str:
    """An `xychart-beta`; empty when the shape cannot be drawn."""
    if not isinstance(shape, Mapping):
        return ""
    now, then = _shares(shape.get("current")), _shares(shape.get("reference"))
    if not now or len(now) != len(then) or len(now) > BARS:
        return ""
    axis = _axis(shape, len(now))
    if not axis:
        return ""
    top = max(0.01, *now, *then) * 1.05
    return "\n".join(
        [
            f"%%{{init: {json.dumps(_SETTINGS)}}}%%",
            "xychart-beta",
            f'    title "{title(name) or "column"}"',
            f"    x-axis {axis}",
            f'    y-axis "share" 0 --> {top:.4f}',
            f"    bar [{', '.join(f'{one:.5f}' for one in now)}]",
            f"    line [{', '.join(f'{one:.5f}' for one in then)}]",
        ]
    )


def _axis(shape: Mapping[str, Any], count: int) -> str:
    names, edges = shape.get("names"), shape.get("edges")
    if isinstance(names, list) and len(names) == count:
        return "[" + ", ".join(f'"{title(one, 16) or f"no. {place}"}"' for place, one in enumerate(names, 1)) + "]"
    if isinstance(edges, list) and len(edges) == count + 1 and all(isinstance(one, int | float) for one in edges):
        return "[" + ", ".join(f'"{edge:.4g}"' for edge in edges[:-1]) + "]"
    return ""


def _shares(values: Any) -> list[float]:
    fits = isinstance(values, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one <= 1.01 for one in values
    )
    return [float(one) for one in values] if fits else []


# The rest


def _history(history: Sequence[Verdict]) -> str:
    shown = history[:CHECKS]
    strip = "".join(SIGNS.get(one.verdict, "⚪") for one in reversed(shown))
    rows = [
        "<details>",
        f"<summary>The last {len(shown)} checks, oldest first: {strip}</summary>",
        "",
        "| data of | found | rows | columns that moved |",
        "| --- | --- | ---: | --- |",
    ]
    for one in shown:
        moved = ", ".join(str(code(name, 60)) for name in one.moved[:8])
        moved += f" and {len(one.moved) - 8} more" if len(one.moved) > 8 else ""
        found = inline(one.verdict.replace("_", " "))
        rows.append(
            f"| {inline(one.as_of)} | {SIGNS.get(one.verdict, '')} {found} | {number(one.current.rows, 0)} | {moved} |"
        )
    return "\n".join([*rows, "", "</details>"])


def _changes(words: Words) -> str:
    rows = ["#### What this changes", "", "| | before | after |", "| --- | --- | --- |"]
    for one in words.changes:
        what = f"{code(one.name)} in {code(one.file)}" if one.kind == "param" else f"data {code(one.file)}"
        rows.append(f"| {what} | {_short(one.before)} | {_short(one.after)} |")
    return "\n".join(rows)


def _short(text: str) -> str:
    """A digest is told by its first 12 digits."""
    parts = [part[:12] if len(part) >= 32 and part.isalnum() else part for part in text.split(" ")]
    return str(code(" ".join(parts))) or "–"


def _next(words: Words) -> str:
    started = (
        "This pull request was opened by an App, so its workflows start by themselves."
        if words.starts_itself
        else "Pull requests that a workflow's own token opens start no workflow by themselves: the training of this "
        "one was dispatched. Push to it with your own account, or comment `/train`, to train it again."
    )
    merged = (
        "When the gate passes, it is merged by itself and the new version is released."
        if words.auto_merge
        else "Merging it releases the new version."
    )
    return (
        "#### What happens now\n\n"
        f"{started} The report compares the new model with the current one on the same current data. {merged} "
        "Until then every check that still finds drift resets this branch to the newest state: commits of "
        "others on it are lost."
    )


def _silence(words: Words) -> str:
    days = words.cooldown_days
    pause = (
        f"Close it to hear nothing for {days} day{'s' if days != 1 else ''} (`cooldown-days`)" if days else "Close it"
    )
    return (
        f"<sub>{pause}, comment `/drift snooze 30d` for a longer silence, or remove `drift.retrain` of "
        f"{code(words.model)} from `trackside.yaml` to end these proposals.</sub>"
    )
