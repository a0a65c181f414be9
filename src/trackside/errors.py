"""The error tree: every failure a user can meet has a reason code, an exit code, a remedy and a link.

TracksideError (6 internal)
├── GateFailed (1)     the gate failed, only where the caller asked to fail
├── ConfigError (2)    usage or configuration; carries file, line and column
├── Refused (3)        permission, fork, stale SHA
├── ForgeError (4)     GitHub or network
│   ├── NotFound       the object does not exist or the token may not see it
│   ├── Forbidden      the token lacks a permission (named in the remedy)
│   ├── Conflict       lost a race: re-read and retry
│   └── TimedOut       no answer: the write may or may not have happened
├── ToolError (5)      an external tool (dvc, git, docker) failed
└── DataError (7)      data invalid or insufficient
"""

from __future__ import annotations

DOCS = "https://github.com/trackside-ml/trackside/blob/main/docs"


class TracksideError(Exception):
    """What happened, why, what to change and where to read more.

    Args:
        message: what happened, one sentence.
        why: the cause, if it is known and not obvious.
        remedy: what the user should change; may hold the YAML to add.
        link: page of the documentation, relative to `docs/`.
        reason_code: machine-readable, lower snake case, listed in `docs/reason-codes.md`.
    """

    exit_code = 6
    reason_code = "internal_error"

    def __init__(self, message: str, *, why: str = "", remedy: str = "", link: str = "", reason_code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.why = why
        self.remedy = remedy
        self.link = f"{DOCS}/{link}" if link else ""
        if reason_code:
            self.reason_code = reason_code

    def render(self) -> str:
        """The text for a terminal: one labelled line for each part that is set."""
        parts = [f"error: {self.message}"]
        if self.why:
            parts.append(f"  why: {self.why}")
        if self.remedy:
            parts.append("  fix: " + self.remedy.replace("\n", "\n       "))
        if self.link:
            parts.append(f" docs: {self.link}")
        return "\n".join(parts)


class GateFailed(TracksideError):
    """A gate failed and the caller asked for a failing exit code."""

    exit_code = 1
    reason_code = "gate_failed"


class ConfigError(TracksideError):
    """Wrong usage or configuration. `file:line:column` leads the message where a position is known."""

    exit_code = 2
    reason_code = "config_invalid"

    def __init__(
        self,
        message: str,
        *,
        file: str = "",
        line: int = 0,
        column: int = 0,
        why: str = "",
        remedy: str = "",
        link: str = "",
        reason_code: str = "",
    ) -> None:
        where = f"{file}:{line}:{column}: " if file and line else f"{file}: " if file else ""
        super().__init__(where + message, why=why, remedy=remedy, link=link, reason_code=reason_code)
        self.file, self.line, self.column = file, line, column


class Refused(TracksideError):
    """Permission, fork or stale SHA: nothing was started."""

    exit_code = 3
    reason_code = "refused"


class ForgeError(TracksideError):
    """GitHub or the network failed."""

    exit_code = 4
    reason_code = "forge_failed"


class NotFound(ForgeError):
    """The object does not exist, or the token may not see it."""

    reason_code = "not_found"


class Forbidden(ForgeError):
    """The token lacks a permission."""

    reason_code = "forbidden"


class Conflict(ForgeError):
    """A race was lost: re-read and retry."""

    reason_code = "conflict"


class TimedOut(ForgeError):
    """No answer arrived; a write may or may not have happened."""

    reason_code = "timed_out"


class ToolError(TracksideError):
    """An external tool failed. `log` holds its last lines."""

    exit_code = 5
    reason_code = "tool_failed"

    def __init__(
        self, message: str, *, log: str = "", why: str = "", remedy: str = "", link: str = "", reason_code: str = ""
    ) -> None:
        super().__init__(message, why=why, remedy=remedy, link=link, reason_code=reason_code)
        self.log = log


class DataError(TracksideError):
    """Data is invalid or insufficient."""

    exit_code = 7
    reason_code = "data_invalid"
