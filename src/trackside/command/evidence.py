"""A comment as evidence: read anew by its number in each job that acts on it, bound to the commit its author saw."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from trackside.command.parse import Command, Reply, parse
from trackside.command.table import MAX_AGE_HOURS, needed
from trackside.config.model import Config
from trackside.errors import NotFound, Refused
from trackside.forge.model import ROLES, Comment, Pull, Push, Role

LINK = "commands.md"
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")


class CommentReader(Protocol):
    """What evidence is read from."""

    def comment(self, comment_id: int) -> Comment: ...
    def role(self, login: str) -> Role: ...
    def last_push(self, branch: str) -> Push | None: ...


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command, the comment that says it, and who wrote that with which role. `at` is an RFC 3339 time."""

    command: Command
    comment: int
    issue: int
    author: str
    role: Role
    at: str
    url: str = ""


def permitted(role: Role, least: Role) -> bool:
    """Whether a role is at least another; what is no role is none."""
    return role in ROLES and ROLES.index(role) >= max(ROLES.index(least), 1)


def read_again(
    comment: str,
    forge: CommentReader,
    config: Config,
    *,
    now: datetime,
    names: Collection[str],
    issue: int | None = None,
) -> Asked:
    """Read the comment that a dispatch names, and check all of it again.

    Args:
        comment: its number, as a dispatch passes it on.
        config: policy of the default branch.
        names: commands that the caller follows.
        issue: number of the issue or pull request that the comment must stand at.

    Raises:
        Refused: it is gone (`comment_gone`), was edited (`comment_edited`), is older than a day (`comment_old`), says
            something else (`identity_mismatch`, or the reason of its reply), or its author may not
            (`permission_missing`).
    """
    if not _NUMBER.fullmatch(comment):
        raise _untrue(f"{comment[:40]!r} is no number of a comment")
    try:
        found = forge.comment(int(comment))
    except NotFound as error:
        raise Refused("the comment that asked for this is gone", link=LINK, reason_code="comment_gone") from error
    if issue is not None and found.issue != issue:
        raise _untrue(f"comment {comment} does not stand at #{issue}")
    command = checked(found, config, now=now)
    if command.name not in names:
        raise _untrue(f"comment {comment} says /{command.name}")
    role = forge.role(found.author)
    if not permitted(role, needed(command.name, config.commands)):
        raise lacking(found.author, role, command.name, config)
    return Asked(
        command=command,
        comment=found.id,
        issue=found.issue,
        author=found.author,
        role=role,
        at=found.created_at,
        url=found.url,
    )


def checked(found: Comment, config: Config, *, now: datetime) -> Command:
    """The command of a comment by a person, unedited and of today. Raises Refused."""
    if found.bot or not found.author or found.author.endswith("[bot]"):
        raise _untrue("the comment is no person's")
    if not found.created_at or found.created_at != found.updated_at:
        raise Refused(
            "the comment was edited after it was written",
            why="what it says now is not what was approved",
            remedy="write a new comment",
            link=LINK,
            reason_code="comment_edited",
        )
    if now - moment(found.created_at) > timedelta(hours=MAX_AGE_HOURS):
        raise Refused(
            f"the comment is older than {MAX_AGE_HOURS} hours",
            remedy="write a new comment",
            link=LINK,
            reason_code="comment_old",
        )
    said = parse(found.body, config)
    if isinstance(said, Command):
        return said
    if isinstance(said, Reply):
        raise Refused(
            "the comment's command cannot be followed", why=said.text, link=LINK, reason_code=said.reason_code
        )
    raise _untrue(f"the comment is no command: {said.why}")


def lacking(author: str, role: Role, name: str, config: Config) -> Refused:
    """The refusal for want of a role."""
    return Refused(
        f"/{name} needs the role {needed(name, config.commands)}; {author} has {role}",
        remedy="ask somebody with that role to write the comment",
        link=LINK,
        reason_code="permission_missing",
    )


def by_hand(name: str, actor: str, forge: CommentReader, config: Config) -> None:
    """Hold who dispatched a workflow without a comment to the role of the command that it stands for.

    GitHub lets everybody with write access dispatch; the policy may ask for more. Raises Refused.
    """
    role = "none" if not actor or actor.endswith("[bot]") else forge.role(actor)
    if not permitted(role, needed(name, config.commands)):
        raise lacking(actor or "nobody", role, name, config)


def bind(asked: Asked, pull: Pull, forge: CommentReader) -> None:
    """Make sure that the head is the commit that the command's author saw. Raises Refused."""
    open_look = not asked.command.sha and not pull.from_fork
    bound(asked.command, asked.at, pull, forge.last_push(pull.head_ref) if open_look else None)


def bound(command: Command, at: str, pull: Pull, push: Push | None) -> None:
    """The pure half of `bind`: `at` is when the comment was written, `push` the last one of the head's branch.

    Raises:
        Refused: the head is another one (`head_moved`), or nothing tells which one was meant (`sha_missing`).
    """
    head, short = pull.head_sha, pull.head_sha[:12]
    if command.sha:
        if head.startswith(command.sha):
            return
        raise _moved(pull, f"the comment is about {command.sha[:12]}")
    if pull.from_fork:
        raise Refused(
            f"#{pull.number} comes from a fork: the command must name the commit that it is about",
            why="whoever owns the fork may push at any time, also after the comment",
            remedy=f"read the commit, then comment: /{command.name} sha={short}",
            link=LINK,
            reason_code="sha_missing",
        )
    if push is None:
        raise Refused(
            "GitHub tells nothing about the last push to this branch, so the command must name its commit",
            remedy=f"read the commit, then comment: /{command.name} sha={short}",
            link=LINK,
            reason_code="sha_missing",
        )
    if push.after != head or moment(push.at) >= moment(at):
        raise _moved(pull, "the branch was pushed to at the time of the comment or after it")


def _moved(pull: Pull, why: str) -> Refused:
    return Refused(
        f"the head of #{pull.number} is {pull.head_sha[:12]}, which the comment does not vouch for",
        why=why,
        remedy="read the newest commit, then comment again",
        link=LINK,
        reason_code="head_moved",
    )


def moment(text: str) -> datetime:
    """An RFC 3339 time; what is none is the end of time, so that it never counts as earlier."""
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
    return made if made.tzinfo is not None else made.replace(tzinfo=UTC)


def _untrue(what: str) -> Refused:
    return Refused(
        f"the dispatch does not describe what it claims: {what}",
        remedy="write the command as a comment",
        link=LINK,
        reason_code="identity_mismatch",
    )
