"""A lock per model and stage: a ref whose newest commit says, as JSON, who holds it, why and until when.

The first claim creates the ref, each later step appends a commit to it. Refs move forward only, so of all that
start from the same commit one gets there; nothing is ever deleted, and the ref's history is the lock's log.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

import msgspec

from trackside.documents.codec import Document, dump, load
from trackside.errors import DataError, Refused
from trackside.forge.model import Commit
from trackside.system.clock import rfc3339

MINUTES = 15
"""A lock that a killed job left ends by itself after this; no promotion takes a minute."""
TRIES = 4
"""How often a claim looks again after another writer was faster."""


class Lock(Document, frozen=True, kw_only=True):
    """Content of a lock's newest commit. `owner` is the workflow run, `actor` the person, `until` an RFC 3339 time."""

    schema: Literal["trackside.lock/1"] = "trackside.lock/1"
    state: Literal["held", "free"]
    model: str
    stage: str
    owner: str
    actor: str
    reason: str
    at: str
    until: str
    url: str = ""
    nonce: str = ""


class LockPorts(Protocol):
    """What a lock is kept in; `forge.github.GithubForge` is one."""

    def ref(self, name: str) -> str | None: ...
    def commit(self, sha: str) -> Commit: ...
    def make_commit(self, tree: str, parents: Sequence[str], message: str) -> str: ...
    def create_ref(self, name: str, sha: str) -> bool: ...
    def advance_ref(self, name: str, sha: str) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Held:
    """A claim that was won: give it to `free`."""

    name: str
    sha: str
    tree: str
    lock: Lock


def lock_ref(model: str, stage: str) -> str:
    """Name of the ref, without `refs/`."""
    return f"trackside/locks/{model}/{stage}"


def wanted(
    *, model: str, stage: str, owner: str, actor: str, reason: str, now: datetime, url: str = "", minutes: int = MINUTES
) -> Lock:
    """What a claim writes. The nonce keeps two claims of one second apart."""
    return Lock(
        state="held",
        model=model,
        stage=stage,
        owner=owner,
        actor=actor,
        reason=reason[:500],
        at=rfc3339(now),
        until=rfc3339(now + timedelta(minutes=minutes)),
        url=url,
        nonce=secrets.token_hex(8),
    )


def claimable(found: Lock | None, lock: Lock) -> bool:
    """Whether a claim may follow what stands there: nothing readable, a free or expired lock, or its own run's."""
    if found is None or found.state == "free" or found.owner == lock.owner:
        return True
    return _when(found.until) <= _when(lock.at)


def claim(ports: LockPorts, lock: Lock, *, tree: str) -> Held:
    """Take the lock.

    Args:
        tree: SHA of any tree of the repository; commits need one.

    Raises:
        Refused: somebody else holds it (`lock_held`), with who, why and until when.
        ForgeError: GitHub or the network failed.
    """
    name = lock_ref(lock.model, lock.stage)
    found: Lock | None = None
    for _ in range(TRIES):
        tip = ports.ref(name)
        found = read(ports, tip) if tip else None
        if not claimable(found, lock):
            break
        made = ports.make_commit(tree, [tip] if tip else [], dump(lock).decode())
        won = ports.advance_ref(name, made) if tip else ports.create_ref(name, made)
        if won:
            return Held(name=name, sha=made, tree=tree, lock=lock)
    raise _held(lock, found)


def free(ports: LockPorts, held: Held) -> bool:
    """Give the lock back. False where it was taken over meanwhile, because its time was up: then it stays theirs."""
    done = msgspec.structs.replace(held.lock, state="free")
    made = ports.make_commit(held.tree, [held.sha], dump(done).decode())
    return ports.advance_ref(held.name, made)


def read(ports: LockPorts, sha: str) -> Lock | None:
    """The lock of a commit; None for a commit that is none of ours, which holds nothing."""
    try:
        return load(Lock, ports.commit(sha).message.encode(), name="the lock")
    except DataError:
        return None


def _when(text: str) -> datetime:
    """An RFC 3339 time; what is none is long past, so that it holds nothing."""
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return made if made.tzinfo is not None else made.replace(tzinfo=UTC)


def _held(lock: Lock, found: Lock | None) -> Refused:
    who = f"{found.actor} since {found.at}, at most until {found.until}" if found else "somebody else"
    why = f"{found.reason} {found.url}".strip() if found else "several claims at once"
    return Refused(
        f"{lock.stage} of {lock.model} is being changed by {who}",
        why=why,
        remedy="wait for its end, look at what holds the stage then, and ask again if that is not what you want",
        link="commands.md",
        reason_code="lock_held",
    )
