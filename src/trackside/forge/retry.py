"""What to do after a failed request, as a pure decision: wait and send again, look first, or give up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

ATTEMPTS = 6
"""How often one request is sent before the last failure stands."""

SECONDARY_WAIT = 60.0
"""Seconds that GitHub asks for after a secondary limit that names no time; doubled each time."""

FIRST_BACKOFF = 0.25
"""Seconds before the first repetition after a server error; doubled each time, up to `LAST_BACKOFF`."""

LAST_BACKOFF = 4.0

Action = Literal["wait", "look", "give_up"]


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One failed attempt. `status` is 0 when no answer arrived; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """`wait`: sleep `seconds`, then send again. `look`: a write of unknown outcome. `limited`: GitHub set the time."""

    action: Action
    seconds: float = 0.0
    limited: bool = False


def rate_limited(failure: Failure) -> bool:
    """Whether GitHub refused because of a primary or secondary limit: the request had no effect."""
    if failure.status == 429:
        return True
    if failure.status != 403:
        return False
    text = failure.message.lower()
    return (
        "retry-after" in failure.headers
        or failure.headers.get("x-ratelimit-remaining") == "0"
        or "rate limit" in text
        or "abuse detection" in text
    )


def next_step(
    failure: Failure,
    *,
    repeatable: bool,
    attempt: int,
    waited: float,
    max_wait: float,
    now: datetime,
    jitter: float,
) -> Step:
    """Decide after attempt number `attempt` (from 1).

    Args:
        repeatable: sending the request twice has the effect of sending it once.
        waited: seconds already spent on this request because of rate limits.
        max_wait: most seconds to spend on rate limits.
        jitter: in 0..1, drawn by the caller; spreads writers that failed together.
    """
    if rate_limited(failure):
        asked = _asked(failure, attempt, now)
        if attempt >= ATTEMPTS or waited + asked > max_wait:
            return Step(action="give_up", seconds=asked, limited=True)
        return Step(action="wait", seconds=asked + 0.5 * jitter, limited=True)
    if failure.status == 0 or failure.status >= 500:
        if not repeatable:
            return Step(action="look")
        asked = _asked(failure, attempt, now) if "retry-after" in failure.headers else 0.0
        if attempt < ATTEMPTS and waited + asked <= max_wait:
            return Step(action="wait", seconds=asked + backoff(attempt, jitter), limited=asked > 0)
    return Step(action="give_up")


def backoff(attempt: int, jitter: float) -> float:
    """Seconds after failed attempt `attempt` (from 1): exponential, between half and all of the step."""
    whole = min(LAST_BACKOFF, FIRST_BACKOFF * 2.0 ** (attempt - 1))
    return whole * (0.5 + 0.5 * jitter)


def _asked(failure: Failure, attempt: int, now: datetime) -> float:
    """Seconds that the answer asks for: Retry-After, else the reset of the primary limit, else a minute and more."""
    text = failure.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text)
    if text:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            moment = now
        return max(0.0, (moment.astimezone(UTC) - now).total_seconds())
    reset = failure.headers.get("x-ratelimit-reset", "").strip()
    if failure.headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return max(0.0, float(reset) - now.timestamp()) + 1.0
    return SECONDARY_WAIT * 2.0 ** (attempt - 1)
