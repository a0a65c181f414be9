"""What decides an image: pure text and digests. The packages come first and change least, the code last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PORT = 3000
USER = "10001:10001"
"""A number, so that Kubernetes can see that it is not root."""

PACKAGES = """\
FROM {base}
COPY site /opt/site
RUN ["python3", "-m", "compileall", "-q", "-j", "0", "-x", "/tests?/|lib2to3", "/opt/site"]
"""

SERVICE = """\
FROM {packages}
ENV PYTHONPATH=/opt/site PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \\
    BENTOML_DO_NOT_TRACK=True BENTOML_HOME=/tmp/bentoml HOME=/tmp
COPY model /bento/src
COPY bento /bento
{labels}
WORKDIR /bento/src
USER {user}
EXPOSE {port}
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python3", "-c", "{probe}"]
CMD ["python3", "-m", "bentoml", "serve", "/bento", "--host", "0.0.0.0", "--port", "{port}"]
"""
_PROBE = "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/readyz', timeout=4)"


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that an image is made of. Digests are `sha256:<64 hex>`; `sources` are those of the service's files."""

    model: str
    version: str
    commit: str
    run: str
    model_digest: str
    service: str
    base_digest: str
    requirements_digest: str
    sources: Mapping[str, str]
    repository: str

    @property
    def digest(self) -> str:
        """Digest over everything that decides the image, this recipe included."""
        parts = (self.model, self.version, self.commit, self.model_digest, self.service)
        return _digest([PACKAGES, SERVICE, *parts, self.base_digest, self.requirements_digest, dict(self.sources)])

    @property
    def packages_digest(self) -> str:
        """Digest over what decides the layer of packages."""
        return _digest([PACKAGES, self.base_digest, self.requirements_digest])

    def labels(self) -> dict[str, str]:
        """Labels that lead from the image to the commit, the version and the run."""
        return {
            "org.opencontainers.image.title": self.model,
            "org.opencontainers.image.version": self.version,
            "org.opencontainers.image.revision": self.commit,
            "org.opencontainers.image.source": self.repository,
            "dev.trackside.model": f"{self.model}@v{self.version}",
            "dev.trackside.model-digest": self.model_digest,
            "dev.trackside.run": self.run,
            "dev.trackside.inputs": self.digest,
        }


def packages_file(base: str) -> str:
    """Containerfile of the packages: wheels that were unpacked outside, so that no build tool gets in."""
    return PACKAGES.format(base=base)


def service_file(packages: str, labels: Mapping[str, str]) -> str:
    """Containerfile of the service on top of the packages; model and code are layers of their own."""
    lines = "".join(f"LABEL {json.dumps(name)}={_quoted(text)}\n" for name, text in sorted(labels.items()))
    return SERVICE.format(
        packages=packages, labels=lines.rstrip("\n"), user=USER, port=PORT, probe=_PROBE.format(port=PORT)
    )


def bentofile(service: str, name: str, requirements: str, include: Sequence[str]) -> str:
    """`bentofile.yaml` (JSON is YAML): packages stay as locked, nothing is resolved again."""
    made = {
        "service": service,
        "name": name.lower(),
        "include": list(include),
        "python": {"requirements_txt": requirements, "lock_packages": False},
    }
    return json.dumps(made, indent=2) + "\n"


def _digest(value: object) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _quoted(text: str) -> str:
    """A Containerfile's double-quoted string: no line end, no variable."""
    flat = "".join(char if char.isprintable() else " " for char in text)
    return '"' + flat.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'
