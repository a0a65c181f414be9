"""What decides an image: pure text and digests. The packages come first and change least, the code last.

All names in the recipes are fixed: what comes from a repository lies in folders and labels. The Bento is made within
the build, without a network: the service's code, which BentoML imports, never runs beside the job's token.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from trackside.errors import ConfigError

PORT = 3000
USER = "10001:10001"
"""A number, so that Kubernetes can see that it is not root."""

PACKAGES = """\
FROM {base}
COPY site /opt/site
RUN ["python3", "-m", "compileall", "-q", "-j", "0", "-x", "/tests?/|lib2to3", "/opt/site"]
"""

SERVICE = """\
FROM {packages} AS built
ENV PYTHONPATH=/opt/site BENTOML_DO_NOT_TRACK=True BENTOML_HOME=/tmp/bentoml HOME=/tmp PATH=/tools:$PATH
COPY make.py words.json /
COPY source /source
RUN ["python3", "/make.py", "/source", "/words.json", "/made/bento", "/made/model"]
FROM {packages}
ENV PYTHONPATH=/opt/site PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \\
    BENTOML_DO_NOT_TRACK=True BENTOML_HOME=/tmp/bentoml HOME=/tmp OMP_NUM_THREADS=1
WORKDIR /bento/src
USER {user}
EXPOSE {port}
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python3", "-c", "{probe}"]
CMD ["python3", "-m", "bentoml", "serve", "/bento", "--host", "0.0.0.0", "--port", "{port}"]
COPY --from=built /made/model /bento/src
COPY --from=built /made/bento /bento
{labels}
"""
_PROBE = "import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/readyz', timeout=4)"


MAKE = '''\
"""Builds the Bento of a folder; arguments: the folder, words.json, where to put the Bento, where to put its model.

The model is laid apart, so that it is a layer of its own; without the last argument it stays in the Bento.
"""
import json, os, pathlib, shutil, sys

source, words, made = (pathlib.Path(text).resolve() for text in sys.argv[1:4])
told = json.loads(words.read_text())
tools = words.with_name("tools")  # is on PATH: BentoML installs uv where there is none, even to lock nothing
tools.mkdir()
(tools / "uv").symlink_to(sys.executable)
os.chdir(source)

import bentoml

bento = bentoml.bentos.build(
    told["service"],
    name=told["name"],
    version=told["version"],
    labels=told["labels"],
    include=["*"],
    python={"requirements_txt": told["requirements"], "lock_packages": False},
    build_ctx=str(source),
)
shutil.copytree(bento.path, made)
for path in (made, *made.rglob("*")):  # whoever serves it is another user
    path.chmod(0o755 if path.is_dir() else 0o644)
if len(sys.argv) > 4:
    place = pathlib.Path(sys.argv[4], told["model"])
    place.parent.mkdir(parents=True)
    shutil.move(made / "src" / told["model"], place)
'''
"""Run by the Python that has the service's packages."""


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
        return _digest(
            [PACKAGES, SERVICE, MAKE, *parts, self.base_digest, self.requirements_digest, dict(self.sources)]
        )

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
    return PACKAGES.format(base=reference(base))


def service_file(packages: str, labels: Mapping[str, str]) -> str:
    """Containerfile of the service on top of the packages; model and code are layers of their own, what never changes
    stands before them.
    """
    words = " ".join(f"{json.dumps(name)}={_quoted(text)}" for name, text in sorted(labels.items()))
    return SERVICE.format(
        packages=packages, labels=f"LABEL {words}", user=USER, port=PORT, probe=_PROBE.format(port=PORT)
    )


def words(inputs: Inputs, requirements: str, model_path: str) -> str:
    """What `MAKE` is told. A Bento's version names its inputs, because BentoML gives no version twice."""
    made = {
        "service": import_string(inputs.service),
        "name": inputs.model.lower(),
        "version": bento_version(inputs),
        "labels": {"model": f"{inputs.model}@v{inputs.version}", "run": inputs.run, "commit": inputs.commit},
        "requirements": requirements,
        "model": model_path,
    }
    return json.dumps(made, indent=2) + "\n"


def bento_version(inputs: Inputs) -> str:
    return f"{inputs.version}-{inputs.digest[7:15]}".replace("+", "_")


def import_string(service: str) -> str:
    """`a/service.py:Class` as Python imports it. Raises ConfigError for a path that cannot be imported."""
    path, _, name = service.partition(":")
    parts = path.removesuffix(".py").split("/")
    if not all(part.isidentifier() for part in parts):
        raise ConfigError(
            f"Python cannot import the service {service[:100]!r}",
            remedy="image:\n  service: service.py:MyService",
            link="image.md",
        )
    return f"{'.'.join(parts)}:{name}"


_IMAGE = re.compile(r"[a-z0-9][\w.-]*(?::\d+)?(?:/[a-z0-9][\w.-]*)*(?::\w[\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?")


def reference(image: str) -> str:
    """An image's name as it may stand in a recipe. Raises ConfigError for anything else."""
    if not _IMAGE.fullmatch(image):
        raise ConfigError(
            f"{image[:100]!r} is no name of an image",
            remedy="image:\n  base-image: python:3.12-slim-bookworm",
            link="image.md",
        )
    return image


def _digest(value: object) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _quoted(text: str) -> str:
    """A Containerfile's double-quoted string: no line end, no variable."""
    flat = "".join(char if char.isprintable() else " " for char in text)
    return '"' + flat.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'
