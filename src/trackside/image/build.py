"""One released model → one tested image, pushed once: the steps in order."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from trackside.config.model import ImagePolicy, Model
from trackside.documents.image import Image, Smoke
from trackside.documents.release import Release
from trackside.errors import ForgeError, ToolError
from trackside.image import bento, packages, sbom, smoke
from trackside.image.backends import Backend, Service
from trackside.image.recipe import MAKE, Inputs, bento_version, packages_file, service_file, words
from trackside.system.clock import Clock, rfc3339
from trackside.system.files import sha256_of
from trackside.system.oci import Found, Registry
from trackside.system.process import Processes


@dataclass(frozen=True, kw_only=True)
class BuildJob:
    """What to build and with what.

    Args:
        checkout: the repository at the release's commit.
        golden: the recorded requests.
        model_file: the released model (a file or a folder), already held against its digest.
        backend: None where this runner has none: then the Bento is built and served without a container.
        registry: None where the policy names none: then nothing is pushed.
        previous: the image of an earlier version, whose latency this one is held against.
        work: an empty folder; `cache` keeps environments from job to job.
    """

    model: Model
    policy: ImagePolicy
    release: Release
    repository: str
    checkout: Path
    golden: str
    model_file: Path
    backend: Backend | None
    registry: Registry | None
    previous: Image | None
    work: Path
    cache: Path
    processes: Processes
    clock: Clock
    say: Callable[[str], None]
    ready_seconds: float = smoke.READY_SECONDS


@dataclass(frozen=True, kw_only=True)
class Built:
    """The image document and the SBOM (CycloneDX JSON); `known`: both were recorded before, nothing was built."""

    image: Image
    sbom: bytes = b""
    pushed: bool = False
    known: bool = False


@dataclass(kw_only=True)
class _Build:
    job: BuildJob
    files: list[str] = field(default_factory=list)

    @property
    def lock(self) -> Path:
        return self.job.checkout / self.job.policy.requirements

    def inputs(self, base_digest: str) -> Inputs:
        job = self.job
        self.files = bento.source_files(job.checkout, job.policy)
        packages.check_lock(self.lock.read_text(), job.policy.requirements)
        return Inputs(
            model=job.model.name,
            version=job.release.version,
            commit=job.release.commit,
            run=job.release.run,
            model_digest=job.release.model_digest,
            service=job.policy.service,
            base_digest=base_digest,
            requirements_digest=sha256_of(self.lock),
            sources=bento.sources_of(job.checkout, self.files),
            repository=job.repository,
        )

    def stage(self, folder: Path) -> Path:
        """The service's files and the released model, side by side."""
        bento.stage(self.job.checkout, self.files, self.job.model_file, self.job.model.path, folder)
        return folder

    def words(self, inputs: Inputs) -> str:
        return words(inputs, self.job.policy.requirements, self.job.model.path)

    def tested(self, service: Service) -> Smoke:
        job = self.job
        rows = smoke.read_golden(job.golden, job.policy.golden)
        smoke.wait_ready(service, job.clock, job.ready_seconds)
        found = smoke.check_answers(service, rows)
        job.say(f"smoke test: {found.passed} answers as recorded, {found.bad_refused} bad requests refused")
        return found

    def timed(self, tested: Smoke, service: Service, before: Service | None = None) -> Smoke:
        """The latency, and relative to that of another service where there is one. Raises ToolError when too slow."""
        job, last = self.job, self.job.previous
        rows = smoke.read_golden(job.golden, job.policy.golden)
        medians = smoke.latency([service, *([before] if before else [])], rows)
        tested = msgspec.structs.replace(tested, latency_seconds=medians[0])
        if before is None or last is None:
            return tested
        ratio = statistics.median(medians[0]) / statistics.median(medians[1])
        job.say(f"latency: {ratio:.2f} times that of {last.tag}")
        if ratio > job.policy.latency_tolerance:
            raise ToolError(
                f"a request takes {ratio:.2f} times as long as with {last.tag}",
                why=f"{job.policy.latency_tolerance:g} is allowed; medians of five runs, both measured on this runner",
                remedy="make it faster, or raise image.latency-tolerance",
                link="image.md",
                reason_code="latency_regressed",
            )
        return msgspec.structs.replace(tested, latency_ratio=round(ratio, 3), compared_with=last.digest)

    def document(self, inputs: Inputs, tested: Smoke) -> Image:
        job = self.job
        return Image(
            model=job.model.name,
            version=job.release.version,
            tag=job.release.tag,
            commit=job.release.commit,
            run=job.release.run,
            model_digest=job.release.model_digest,
            inputs_digest=inputs.digest,
            bento=_tag(inputs),
            service=job.policy.service,
            requirements_digest=inputs.requirements_digest,
            base_digest=inputs.base_digest,
            container=job.backend is not None,
            backend=job.backend.name if job.backend else "",
            base_image=job.policy.base_image if job.backend else "",
            smoke=tested,
            built_at=rfc3339(job.clock.now()),
        )

    def sbom(self, image: Image, listing: str, debian: str) -> bytes:
        return sbom.bom(
            model=image.model,
            version=image.version,
            container=image.container,
            inputs_digest=image.inputs_digest,
            made_at=self.job.clock.now(),
            python=sbom.python_packages(listing),
            debian=sbom.debian_packages(debian),
        )


def build(job: BuildJob, known: Image | None = None) -> Built:
    """Build, test, push; where `known` was made of the same inputs, nothing.

    Raises:
        ConfigError, DataError: the policy, the lock or the recorded requests are wrong.
        ToolError: a build failed (`tool_failed`), the smoke test (`smoke_failed`), or it got too slow
            (`latency_regressed`).
        ForgeError: the registry does not answer, or refuses.
    """
    work = _Build(job=job)
    backend = job.backend
    inputs = work.inputs(backend.digest_of_base(job.policy.base_image) if backend else "")
    complete = known is not None and (bool(known.digest) or job.registry is None or backend is None)
    if known is not None and complete and known.inputs_digest == inputs.digest:
        job.say(f"{known.tag}: an image of the same inputs is recorded: nothing is built")
        return Built(image=known, known=True)
    return _served(work, job, inputs) if backend is None else _contained(work, job, backend, inputs)


def _served(work: _Build, job: BuildJob, inputs: Inputs) -> Built:
    """Without a container: the Bento in an environment of this machine."""
    job.say("installing the service's packages on this machine")
    python = packages.environment(work.lock, job.cache, job.processes)
    job.say(f"building the Bento {_tag(inputs)}")
    source = work.stage(job.work / "source")
    folder = bento.build(python, source, work.words(inputs), work=job.work, processes=job.processes)
    job.say("serving the Bento without a container")
    with bento.served(python, folder, job.work, job.processes) as service:
        tested = work.timed(work.tested(service), service)
    image = work.document(inputs, tested)
    listing = job.processes.run([python, *sbom.PYTHON[1:]]).text
    return Built(image=image, sbom=work.sbom(image, listing, ""))


def _contained(work: _Build, job: BuildJob, backend: Backend, inputs: Inputs) -> Built:
    name = f"v{job.release.version}".replace("+", "_")
    there = _already(job, inputs, name)
    if there is not None and job.registry is not None:
        job.say(f"{job.registry.repository}:{name} was pushed from the same inputs: nothing is built")
        local = f"{job.registry.repository}@{there.digest}"
        backend.pull(local)
    else:
        local = _built(work, job, backend, inputs)
    with backend.started(local) as service:
        tested = _compared(work, backend, work.tested(service), service)
    pushed = there is None and job.registry is not None
    if pushed and job.registry is not None:
        there = _pushed(job, backend, job.registry, local, name, inputs)
    image = work.document(inputs, tested)
    image = msgspec.structs.replace(
        image,
        size=backend.size(local),
        reference=f"{job.registry.repository}:{name}" if job.registry and there else "",
        digest=there.digest if there else "",
    )
    listings = [backend.output_of(local, words) for words in (sbom.PYTHON, sbom.DPKG)]
    return Built(image=image, sbom=work.sbom(image, *listings), pushed=pushed)


def _already(job: BuildJob, inputs: Inputs, name: str) -> Found | None:
    """What the registry has of these very inputs: left by a job that was ended before it could say so."""
    try:
        found = job.registry.find(name) if job.registry else None
    except ForgeError as error:
        if error.reason_code != "registry_refused":
            raise
        return None  # some registries refuse to speak of what was never pushed; the push will tell
    return found if found is not None and found.labels.get("dev.trackside.inputs") == inputs.digest else None


def _tag(inputs: Inputs) -> str:
    """The Bento's name, as BentoML writes it."""
    return f"{inputs.model.lower()}:{bento_version(inputs)}"


def _built(work: _Build, job: BuildJob, backend: Backend, inputs: Inputs) -> str:
    """The local name of the image, once it is built."""
    base = f"trackside/packages:{inputs.packages_digest[7:31]}"
    if not backend.image_id(base):
        job.say("laying the packages on the base image")
        folder = job.work / "packages"
        target = packages.target_of(backend.output_of(job.policy.base_image, packages.PROBE), job.policy.base_image)
        packages.unpack(work.lock, target, folder / "site", job.processes)
        (folder / "Containerfile").write_text(packages_file(job.policy.base_image))
        backend.build(folder, base)
    folder = job.work / "image"
    work.stage(folder / "source")
    (folder / "make.py").write_text(MAKE)
    (folder / "words.json").write_text(work.words(inputs))
    (folder / "Containerfile").write_text(service_file(base, inputs.labels()))
    local = f"trackside/{job.model.name.lower()}:{inputs.digest[7:31]}"
    job.say(f"building the Bento {_tag(inputs)} and its image with {backend.name}")
    backend.build(folder, local)
    return local


def _compared(work: _Build, backend: Backend, tested: Smoke, service: Service) -> Smoke:
    """The latency, relative to that of the last released image where it can be had and started."""
    job, last = work.job, work.job.previous
    with contextlib.ExitStack() as stack:
        before = None
        if last is not None and last.digest and last.reference:
            reference = f"{last.reference.rpartition(':')[0]}@{last.digest}"
            try:
                backend.pull(reference)
                before = stack.enter_context(backend.started(reference))
                smoke.wait_ready(before, job.clock, job.ready_seconds)
            except ToolError as error:
                job.say(f"the latency of {last.tag} cannot be measured: {error.message}")
                before = None
        return work.timed(tested, service, before)


def _pushed(job: BuildJob, backend: Backend, registry: Registry, local: str, name: str, inputs: Inputs) -> Found:
    """Push, then believe only what the registry gives back: the manifest of the very image that was tested."""
    full = f"{registry.repository}:{name}"
    job.say(f"pushing {full}")
    backend.tag(local, full)
    backend.push(full)
    found = registry.find(name)
    same = found is not None and backend.image_id(local).removeprefix("sha256:") in (found.config[7:], found.digest[7:])
    if found is None or not same or found.labels.get("dev.trackside.inputs") != inputs.digest:
        raise ForgeError(
            f"{full} is not what was pushed",
            why="somebody else pushed the same tag meanwhile, or the registry lost it",
            remedy="run the job again",
            link="image.md",
            reason_code="push_lost",
        )
    return found
