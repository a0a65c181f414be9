"""Which variables are secret by their name, and which no policy may pass on: one list for whoever refuses or masks."""

from __future__ import annotations

import re

_NAMES = (
    r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|(PRIVATE|ACCESS|ACCOUNT|API|SAS)_?KEY|CONNECTION_?STRING"
    r"|(^|_)SAS(_|$)|REMOTE_ENV"
)
_SECRET = re.compile(_NAMES, re.I)
_REFUSED = re.compile(rf"^(GITHUB_|ACTIONS_|RUNNER_|INPUT_|TRACKSIDE_)|PRIVATE|_KEY$|{_NAMES}", re.I)


def secret(name: str) -> bool:
    """Whether a variable's value is to be masked."""
    return _SECRET.search(name) is not None


def refused(name: str) -> bool:
    """Whether stages never see a variable, whatever a policy lists: the runner's own, and what sounds secret."""
    return _REFUSED.search(name) is not None
