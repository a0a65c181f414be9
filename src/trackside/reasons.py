"""The closed list of reason codes: why a command ended as it did. `docs/reason-codes.md` is generated from it."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "cancelled": "The run was cancelled or its runner shut down.",
    "config_invalid": "trackside.yaml or the command line is wrong; the message names file, line and column.",
    "conflict": "Another writer was faster and retries did not help.",
    "data_invalid": "Data is invalid or insufficient.",
    "document_invalid": "A document does not match its schema.",
    "document_too_large": "A document is larger than is read from an untrusted job.",
    "forbidden": "The token lacks a permission, which the message names.",
    "forge_failed": "GitHub or the network failed.",
    "gate_failed": "A metric broke its bound or regressed.",
    "internal_error": "A defect in Trackside; please report it.",
    "not_found": "The object does not exist, or the token may not see it.",
    "rate_limited": "GitHub's rate limit would have to be waited for longer than allowed.",
    "refused": "Not allowed; nothing was started.",
    "timed_out": "No answer in time.",
    "tool_failed": "An external tool failed.",
    "tool_missing": "An external tool is not installed.",
    "tool_timed_out": "An external tool ran past its time limit.",
    "unauthorized": "GitHub does not know the token.",
}
