"""What goes into an image, and how: pure. Two recipes, so that changed code or a changed model installs nothing anew.

The first makes the packages image: the base plus an environment of the hash-pinned lock, from wheels alone and without
a network. The second builds the Bento on top of it and puts model, then code, into the final image. Neither needs
BuildKit. All names in the recipes are fixed: what comes from the repository lies in folders and labels.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trackside.config.model import ImagePolicy
from trackside.documents.release import Release
from trackside.errors import ConfigError

FORMAT = 1
"""Raised whenever the recipes change what an image does: it is part of the inputs."""

ENV = "/srv/env"
BENTO = "/srv/bento"
PYTHON = f"{ENV}/bin/python"
PORT = 3000
USER = "65532:65532"

_REFERENCE = re.compile(r"[a-z0-9][\w.-]*(?::\d+)?(?:/[a-z0-9][\w.-]*)*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?")
_SERVICE = re.compile(r"((?:[\w-]+/)*[A-Za-z_]\w*)\.py:([A-Za-z_]\w*)")

PACKAGES = """\
FROM {base} AS installed
COPY wheels /wheels
COPY requirements.txt /wheels/requirements.txt
RUN ["python3", "-m", "venv", "/installer"]
RUN ["python3", "-m", "venv", "--without-pip", "{env}"]
RUN ["/installer/bin/python", "-m", "pip", "--python", "{python}", "--isolated", "--disable-pip-version-check", \
"install", "--quiet", "--no-index", "--find-links", "/wheels", "--require-hashes", "--no-deps", "--only-binary", ":all:", \
"--root-user-action", "ignore", "-r", "/wheels/requirements.txt"]
COPY slim.py /installer/slim.py
RUN ["{python}", "-I", "/installer/slim.py", "{env}"]
FROM {base}
COPY --from=installed {env} {env}
"""

SLIM = '''\
"""Tests that packages ship are as large as some packages, and nothing of a service needs them."""
import compileall, pathlib, re, shutil, sys

(site,) = pathlib.Path(sys.argv[1], "lib").glob("python*/site-packages")
used = re.compile(r"^\\s*(?:from|import)\\s+([\\w.]*\\btests\\b[\\w.]*)", re.M)
kept = set()
for file in site.rglob("*.py"):
    if "tests" not in file.relative_to(site).parts:
        kept |= {name.split(".tests")[0] for name in used.findall(file.read_text("utf-8", "replace"))}
for folder in sorted(site.rglob("tests")):
    name = ".".join(folder.relative_to(site).parts[:-1])
    if folder.is_dir() and (folder / "__init__.py").is_file() and name and name not in kept:
        shutil.rmtree(folder)
'''

SERVICE = """\
FROM {packages} AS built
COPY build.py /build.py
COPY model /project
COPY code /project
ENV BENTOML_HOME=/bentoml BENTOML_DO_NOT_TRACK=true HOME=/tmp
RUN ["{python}", "/build.py"]
FROM {packages}
COPY --from=built /made/model {bento}
COPY --from=built /made/code {bento}
ENV BENTOML_HOME=/tmp/bentoml BENTOML_DO_NOT_TRACK=true HOME=/tmp PYTHONUNBUFFERED=1 PATH={env}/bin:/usr/local/bin:/usr/bin:/bin
WORKDIR {bento}
USER {user}
EXPOSE {port}
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["{python}", "-c", \
"import urllib.request as u; u.urlopen('http://127.0.0.1:{port}/readyz', timeout=4)"]
ENTRYPOINT ["{python}", "-m", "bentoml", "serve", "{bento}", "--host", "0.0.0.0", "--port", "{port}"]
CMD []
"""

BUILD = '''\
"""Builds the Bento of /project into /made: the model apart from everything else, so that each is a layer of its own."""
import json, os, pathlib, shutil, sys

import bentoml

os.chdir(sys.argv[1] if len(sys.argv) > 1 else "/project")
made = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "/made")
words = json.loads(pathlib.Path("trackside-bento.json").read_text())
pathlib.Path("trackside-bento.json").unlink()
bento = bentoml.bentos.build(
    words["service"],
    version=words["version"],
    labels=words["labels"],
    include=["*"],
    python={"requirements_txt": words["requirements"], "lock_packages": False},
    build_ctx=".",
)
shutil.copytree(bento.path, made / "code", symlinks=True)
model = pathlib.Path("src", words["model"])
target = made / "model" / model
target.parent.mkdir(parents=True)
shutil.move(made / "code" / model, target)
print("BENTO=" + str(bento.tag))
'''


@dataclass(frozen=True, kw_only=True)
class Project:
    """What an image is made of, beside the model.

    `code` are files of the released commit by path: the service, what `include` names, the lock. `golden` are the
    recorded requests.
    """

    release: Release
    policy: ImagePolicy
    model_path: str
    code: Mapping[str, bytes]
    golden: bytes

    @property
    def lock(self) -> bytes:
        return self.code[self.policy.requirements]


def import_string(service: str) -> str:
    """`a/service.py:Class` as BentoML names it. Raises ConfigError for a path that Python cannot import."""
    found = _SERVICE.fullmatch(service)
    if found is None:
        raise ConfigError(
            f"the service {service[:100]!r} cannot be imported",
            remedy="image:\n  service: service.py:MyService",
            link="image.md",
        )
    return f"{found[1].replace('/', '.')}:{found[2]}"


def inputs_digest(project: Project, *, container: bool) -> str:
    """`sha256:<64 hex>` over all that decides an image. The base counts by its name: pin it by digest."""
    policy = project.policy
    parts: list[object] = [
        FORMAT,
        container,
        project.release.model,
        project.release.version,
        project.release.commit,
        project.release.model_digest,
        project.model_path,
        policy.service,
        policy.base_image if container else "",
        policy.registry if container else "",
        sorted((path, hashlib.sha256(data).hexdigest()) for path, data in project.code.items()),
        hashlib.sha256(project.golden).hexdigest(),
    ]
    return "sha256:" + hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()


def bento_words(project: Project, digest: str) -> bytes:
    """What `build.py` is told: the version of a Bento names its inputs, because no name is given twice."""
    release = project.release
    words = {
        "service": import_string(project.policy.service),
        "version": f"{release.version}-{digest.removeprefix('sha256:')[:12]}".replace("+", "-"),
        "labels": {"model": release.model, "run": release.run, "commit": release.commit},
        "requirements": project.policy.requirements,
        "model": project.model_path,
    }
    return json.dumps(words, indent=1).encode()


def packages_file(base: str) -> str:
    """The recipe of the packages image."""
    return PACKAGES.format(base=reference(base), env=ENV, python=PYTHON)


def packages_key(base_id: str, base: str, requirements: str) -> str:
    """Names the packages image: the same base and the same pins are installed once."""
    text = "\n".join([base_id, packages_file(base), SLIM, requirements])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def service_file(packages: str) -> str:
    """The recipe of the final image."""
    return SERVICE.format(packages=reference(packages), env=ENV, python=PYTHON, bento=BENTO, user=USER, port=PORT)


def reference(image: str) -> str:
    """An image's name as it may stand in a recipe. Raises ConfigError."""
    if not _REFERENCE.fullmatch(image):
        raise ConfigError(
            f"{image[:100]!r} is no name of an image",
            remedy="image:\n  base-image: python:3.12-slim-bookworm",
            link="image.md",
        )
    return image


def labels(project: Project, digest: str, source: str) -> dict[str, str]:
    """From the image back to where it comes from. `source` is the repository's page."""
    release = project.release
    return {
        "org.opencontainers.image.title": release.model,
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.revision": release.commit,
        "org.opencontainers.image.source": source,
        "dev.trackside.model": release.tag,
        "dev.trackside.run": release.run,
        "dev.trackside.model-digest": release.model_digest,
        "dev.trackside.inputs-digest": digest,
    }


def chosen(paths: Sequence[str], policy: ImagePolicy) -> tuple[str, ...]:
    """Files of the commit that go into the image: the service, the lock, and what `include` matches.

    A pattern matches files as in `.gitignore` without a leading slash: `*` within a folder, `**` across folders, a
    folder's name means all below it.

    Raises:
        ConfigError: a file that the policy names is not in the commit, or a pattern matches none.
    """
    found: dict[str, None] = {}
    named = (policy.service.rpartition(":")[0], policy.requirements)
    for name in named:
        if name not in paths:
            raise ConfigError(f"the commit has no {name[:200]}", link="image.md", reason_code="file_unknown")
        found[name] = None
    for pattern in policy.include:
        regex = _regex(pattern)
        matched = [path for path in paths if regex.fullmatch(path)]
        if not matched:
            raise ConfigError(
                f"`include` has {pattern[:100]!r}, which matches no file", link="image.md", reason_code="file_unknown"
            )
        found.update(dict.fromkeys(matched))
    return tuple(sorted(found))


def _regex(pattern: str) -> re.Pattern[str]:
    made = ""
    for part in re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", pattern.strip("/")):
        made += {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))
    return re.compile(made + "(?:/.*)?")
