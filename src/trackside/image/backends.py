"""The programs that build, start and push images: docker, podman or buildah, whichever works on this runner."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trackside.errors import ConfigError, ToolError
from trackside.image.recipe import PORT
from trackside.system.http import free_port
from trackside.system.process import Completed, Processes

PREFLIGHT_SECONDS = 5.0
"""What looking for a backend may take, all of them together."""

BUILD_SECONDS = 1800.0
PLAIN = {"BUILDX_BUILDER": "default", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
"""docker: build with the engine that also starts and pushes, and push one image rather than an index."""

KNOWN = ("docker", "podman", "buildah")


@dataclass(frozen=True, kw_only=True)
class Missing:
    """Why a backend cannot be used."""

    name: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Service:
    """A started service: where it answers, whether it still runs, the end of what it wrote."""

    url: str
    runs: Callable[[], bool]
    log: Callable[[], str]


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Docker's command line, which podman shares.

    Args:
        name: the program.
        login: folder with the registry credentials (`config.json`), or None.
    """

    name: str
    processes: Processes
    login: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)

    def _call(self, *words: str | Path, timeout: float = 120.0, check: bool = True) -> Completed:
        env = {**self.processes.env, **PLAIN, **self.env}
        if self.login is not None:
            env |= {"DOCKER_CONFIG": str(self.login), "REGISTRY_AUTH_FILE": str(self.login / "config.json")}
        return self.processes.run([self.name, *words], env=env, timeout=timeout, check=check)

    def _run(self, *words: str | Path, timeout: float = 120.0, check: bool = True) -> str:
        done = self._call(*words, timeout=timeout, check=check)
        return done.text.strip() if done.returncode == 0 else ""

    def image_id(self, reference: str) -> str:
        """Id of an image on this machine; empty where there is none."""
        return self._run("image", "inspect", "--format", "{{.Id}}", reference, check=False)

    def digest_of_base(self, reference: str) -> str:
        """What pins a base image: its registry's digest, else the id of a local one; pulled where it is missing."""
        if not self.image_id(reference):
            self._run("pull", "--quiet", reference, timeout=BUILD_SECONDS)
        found = self._run("image", "inspect", "--format", "{{json .RepoDigests}}", reference, check=False)
        name = re.sub(r"(@.*|:[^/]*)$", "", reference)
        for one in json.loads(found or "null") or []:
            if f"/{one}".partition("@")[0].endswith(f"/{name}"):  # it may lie in other registries under other names
                return str(one).rpartition("@")[2]
        return self.image_id(reference)

    def size(self, reference: str) -> int:
        """Bytes of all layers, unpacked."""
        return int(self._run("image", "inspect", "--format", "{{.Size}}", reference) or 0)

    def build(self, folder: Path, tag: str) -> None:
        """Build `folder` by its `Containerfile`, without a network. Raises ToolError with the end of the log."""
        words: list[str | Path] = [
            "build",
            "--network",
            "none",
            *self._format(),
            "--file",
            folder / "Containerfile",
            "--tag",
            tag,
        ]
        done = self._call(*words, folder, timeout=BUILD_SECONDS, check=False)
        if done.returncode != 0:
            log = (done.stdout + done.stderr).decode("utf-8", "replace")[-8000:]  # docker's older builder tells on both
            raise build_failed(f"the image {tag}", log)

    def _format(self) -> list[str]:
        """OCI's own format has no HEALTHCHECK."""
        return [] if self.name == "docker" else ["--format", "docker", "--layers"]

    def output_of(self, reference: str, words: Sequence[str]) -> str:
        """What a command in the image prints; empty when it fails."""
        isolated = ["--rm", "--network", "none", "--entrypoint", words[0]]
        return self._run("run", *isolated, reference, *words[1:], check=False)

    def tag(self, reference: str, name: str) -> None:
        self._run("tag", reference, name)

    def push(self, name: str) -> None:
        """Push a tag. Raises ToolError."""
        try:
            self._run("push", *self._plain(name), name, timeout=BUILD_SECONDS)
        except ToolError as error:
            raise ToolError(
                f"{name} could not be pushed",
                log=error.log,
                why=error.log.strip().rpartition("\n")[2][-300:] or error.message,
                remedy="permissions:\n  packages: write  # or the inputs registry-username and registry-password",
                link="image.md",
                reason_code="push_failed",
            ) from error

    def pull(self, name: str) -> None:
        """Pull a tag or digest. Raises ToolError."""
        self._run("pull", "--quiet", *self._plain(name), name, timeout=BUILD_SECONDS)

    def _plain(self, name: str) -> list[str]:
        """A registry on this machine speaks HTTP, which docker knows by itself."""
        local = name.startswith(("127.0.0.1:", "localhost:"))
        return ["--tls-verify=false"] if local and self.name != "docker" else []

    @contextlib.contextmanager
    def started(self, reference: str) -> Iterator[Service]:
        """The image's service: read-only, without capabilities, on a free port of the loopback interface."""
        limits = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]  # noqa: S108 - the container's own
        made = self._run("run", "--detach", *limits, "--publish", f"127.0.0.1::{PORT}", reference)
        container = made.splitlines()[-1]
        try:
            yield Service(
                url=f"http://{self._address(container)}",
                runs=lambda: self._runs(container),
                log=lambda: self._log(container),
            )
        finally:
            self._run("rm", "--force", "--volumes", container, check=False)

    def _address(self, container: str) -> str:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = self._run("port", container, f"{PORT}/tcp", check=False)
            if found:
                return found.splitlines()[0].strip()
            if not self._runs(container):
                break
            time.sleep(0.1)
        raise ToolError(
            "the container ended at once", log=self._log(container), link="image.md", reason_code="smoke_failed"
        )

    def _runs(self, container: str) -> bool:
        """Whether a container has not ended."""
        return self._run("inspect", "--format", "{{.State.Running}}", container, check=False) == "true"

    def _log(self, container: str) -> str:
        """The end of what a container wrote."""
        done = self.processes.run(
            [self.name, "logs", "--tail", "60", container], env={**self.processes.env, **self.env}, check=False
        )
        return (done.stdout + done.stderr).decode("utf-8", "replace")[-6000:]


def build_failed(what: str, log: str) -> ToolError:
    """The error of a build, with the lines that tell why."""
    lines = [line for line in log.splitlines() if line.strip()]
    return ToolError(
        f"{what} could not be built",
        log=log,
        why="\n".join(lines[-12:])[-1500:],
        link="image.md",
        reason_code="image_build_failed",
    )


class Buildah(Backend):
    """buildah builds and pushes; its containers share the machine's network, so that a service takes a free port."""

    def image_id(self, reference: str) -> str:
        return self._inspect(reference, "{{.FromImageID}}")

    def _inspect(self, reference: str, what: str) -> str:
        return self._run("inspect", "--type", "image", "--format", what, reference, check=False)

    def digest_of_base(self, reference: str) -> str:
        if not self.image_id(reference):
            self._run("pull", "--quiet", reference, timeout=BUILD_SECONDS)
        return self._inspect(reference, "{{.FromImageDigest}}") or self.image_id(reference)

    def size(self, reference: str) -> int:
        rows = json.loads(self._run("images", "--json", reference, check=False) or "[]")
        return int(rows[0].get("size_bytes", 0)) if rows and isinstance(rows[0].get("size_bytes", 0), int) else 0

    def output_of(self, reference: str, words: Sequence[str]) -> str:
        container = self._run("from", "--pull-never", reference)
        try:
            return self._run("run", container, "--", *words, check=False)
        finally:
            self._run("rm", container, check=False)

    @contextlib.contextmanager
    def started(self, reference: str) -> Iterator[Service]:
        port = free_port()
        container = self._run("from", "--pull-never", reference)
        serve = ["python3", "-m", "bentoml", "serve", "/bento", "--host", "127.0.0.1", "--port", str(port)]
        lines: deque[str] = deque(maxlen=60)
        child = self.processes.spawn(
            [self.name, "run", "--network", "host", container, "--", *serve],
            env={**self.processes.env, **self.env},
            on_line=lines.append,
        )
        try:
            yield Service(
                url=f"http://127.0.0.1:{port}",
                runs=lambda: child.returncode is None,
                log=lambda: "\n".join(lines)[-6000:],
            )
        finally:
            child.stop(grace=5.0)
            self._run("rm", container, check=False)


def find(
    wanted: str, processes: Processes, login: Path | None = None, *, seconds: float = PREFLIGHT_SECONDS
) -> tuple[Backend | None, list[Missing]]:
    """The first backend that works, and why those before it do not.

    Args:
        wanted: `docker`, `podman`, `buildah`, `none`, or `auto` for the first of them that works.
        seconds: what all attempts may take together.

    Raises:
        ConfigError: `wanted` is another word.
    """
    if wanted not in ("auto", "none", *KNOWN):
        raise ConfigError(f"backend {wanted[:40]!r} is none of auto, {', '.join(KNOWN)}, none", link="image.md")
    missing: list[Missing] = []
    deadline = time.monotonic() + seconds
    for name in KNOWN if wanted == "auto" else [] if wanted == "none" else [wanted]:
        left = max(deadline - time.monotonic(), 0.5)
        kind = Buildah if name == "buildah" else Backend
        try:
            done = processes.run([name, "info"], timeout=left, check=False)
        except ToolError as error:
            missing.append(Missing(name=name, why=error.message))
            continue
        if done.returncode == 0:
            return kind(name=name, processes=processes, login=login), missing
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        missing.append(Missing(name=name, why=f"`{name} info` fails: {said[-1][:200] if said else 'no words'}"))
    return None, missing
