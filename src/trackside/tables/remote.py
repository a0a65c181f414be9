"""Current data in object stores and other file systems: found through fsspec, read in place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trackside.errors import ConfigError, DataError, ToolError
from trackside.tables.readers import File
from trackside.tables.table import ending

FILES = 10_000
"""Files that a pattern may find."""
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "s3": {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token",
           "AWS_ENDPOINT_URL": "endpoint_url"},
    "gs": {"GOOGLE_APPLICATION_CREDENTIALS": "token"},
    "az": {"AZURE_STORAGE_ACCOUNT_NAME": "account_name", "AZURE_STORAGE_ACCOUNT_KEY": "account_key",
           "AZURE_STORAGE_CONNECTION_STRING": "connection_string", "AZURE_STORAGE_SAS_TOKEN": "sas_token"},
    "sftp": {"SFTP_USERNAME": "username", "SFTP_PASSWORD": "password"},
}  # fmt: skip
"""How credentials are handed to a driver, by the names that the stores' own tools use."""
_SAME = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adl": "az", "ssh": "sftp"}


def knows(scheme: str) -> bool:
    """Whether fsspec has a driver by that name, installed or not."""
    from fsspec.registry import available_protocols

    return scheme in available_protocols()


def found(url: str, *, shown: str, scheme: str, credentials: Mapping[str, str]) -> list[File]:
    """The tables of a file, a folder or a pattern, by name.

    Raises:
        ConfigError: the driver is not installed.
        DataError: there is no such data.
        ToolError: the store failed.
    """
    system, path = _system(url, shown, scheme, credentials)
    try:
        if re.search(r"[*?\[]", path):
            paths = system.glob(path)
        elif system.isdir(path):
            paths = system.find(path)
        else:
            paths = [path] if system.exists(path) else []
    except Exception as error:  # drivers raise what they like
        raise _failed(shown, error) from None
    if len(paths) > FILES:
        raise DataError(f"{shown} has more than {FILES:,} files", link="drift.md")
    tables = [str(one) for one in sorted(paths) if len(paths) == 1 or ending(str(one))]
    if not tables:
        raise DataError(f"there is no current data at {shown}", link="drift.md", reason_code="current_missing")
    return [File(path=one, system=system) for one in tables]


def _system(url: str, shown: str, scheme: str, credentials: Mapping[str, str]) -> tuple[Any, str]:
    import fsspec

    options = OPTIONS.get(_SAME.get(scheme, scheme), {})
    given = {option: credentials[name] for name, option in options.items() if name in credentials}
    try:
        system, path = fsspec.core.url_to_fs(url, **given)
    except ImportError as error:
        package = re.search(r"[Ii]nstall ([\w.-]+)", str(error))
        raise ConfigError(
            f"{shown} needs the package {package[1] if package else error.name or scheme}, which is not installed",
            why=f"fsspec reads {scheme}:// by it",
            remedy="install it in a step before this one, with the Python of the action's output `python`",
            link="drift.md",
            reason_code="tool_missing",
        ) from None
    except Exception as error:
        raise _failed(shown, error) from None
    return system, path


def _failed(shown: str, error: Exception) -> ToolError:
    """By the kind of error only: drivers put addresses with logins into their words."""
    return ToolError(
        f"{shown} could not be reached",
        why=type(error).__name__,
        remedy="check the address and its credentials in TRACKSIDE_REMOTE_ENV",
        link="drift.md",
        reason_code="source_failed",
    )
