"""What stages may see of the environment, and secrets taken out of what is shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from trackside.config.variables import refused, secret

KEPT = (
    "PATH", "HOME", "LANG", "LANGUAGE", "TMPDIR", "TZ", "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
KEPT_PREFIXES = ("LC_", "NVIDIA_")

_LEAST = 6
MASK = "***"


def scrubbed(env: Mapping[str, str], pass_env: Iterable[str] = ()) -> dict[str, str]:
    """The few variables that code of a pull request may see.

    `pass_env` (policy of the default branch) adds names, but never a runner's own or one that names a secret.
    """
    wanted = {name for name in pass_env if not refused(name)}
    return {
        name: value for name, value in env.items() if name in KEPT or name.startswith(KEPT_PREFIXES) or name in wanted
    }


def secrets_of(*envs: Mapping[str, str]) -> list[str]:
    """Values of variables whose name says that they are secret, and each line of them; longest first."""
    found: set[str] = set()
    for env in envs:
        for name, value in env.items():
            if secret(name):
                for line in (value, *value.splitlines()):
                    found.update(part.strip() for part in (line, line.partition("=")[2]))
    return sorted((value for value in found if len(value) >= _LEAST), key=lambda value: (-len(value), value))


def masked(text: str, secrets: Iterable[str]) -> str:
    """Text without the secrets; the longest ones must come first."""
    for one in secrets:
        text = text.replace(one, MASK)
    return text
