"""The reproduce phase: stage by stage through DVC, with nothing secret in reach, recorded as it goes."""

from __future__ import annotations

import re
import resource
import tempfile
from collections.abc import Mapping
from pathlib import Path

import trackside
from trackside.documents.run import Environment, Hardware, Money, StageRun, Status, Usage
from trackside.errors import DataError, ToolError, TracksideError
from trackside.plan.pipeline import PipelineInputs, ResolvedStage
from trackside.system.clock import rfc3339
from trackside.train import home, state, venv
from trackside.train.champion import evaluate
from trackside.train.confine import landlock_version
from trackside.train.dvc import argv, quiet, remotes
from trackside.train.environment import environment, probe
from trackside.train.hardware import Gpus, Sampler, hardware
from trackside.train.job import TrainJob, TrainPorts
from trackside.train.runner import Confined, Tail, TimedOutRun, Within, progress
from trackside.train.scrub import scrubbed, secrets_of
from trackside.train.signals import Cancelled, cancellable
from trackside.train.workspace import apply_overrides, guard

_VERDICT = re.compile(r"(Running stage|Stage) '(.+?)'(:?$| is cached - skipping run| didn't change, skipping)")
_EXITED = re.compile(r"failed to run: .*exited with (-?\d+)")


def reproduce(job: TrainJob, ports: TrainPorts) -> state.Reproduced:
    """Run what was not restored. A run that is done already is returned as it is.

    Raises:
        ToolError: a stage failed (`stage_failed`), time was up (`stage_timed_out`), no environment. All are recorded.
        Cancelled: by a signal; recorded too.
        DataError: the pull phase did not end.
    """
    found, pulled = state.read(job.state, state.Inputs), state.read(job.state, state.Pulled)
    if found is None or pulled is None or pulled.input_digest != found.inputs.digest:
        raise DataError("there is nothing to reproduce yet", remedy="run the pull phase first", link="train.md")
    before = state.read(job.state, state.Reproduced)
    if before is not None and before.input_digest != pulled.input_digest:
        before = None
    if before is not None and before.status == "succeeded":
        return before
    return _Reproduce(job, ports, found.inputs, pulled, before).run()


class _Reproduce:
    """One attempt; `before` is what an earlier attempt at the same inputs left."""

    def __init__(
        self,
        job: TrainJob,
        ports: TrainPorts,
        inputs: PipelineInputs,
        pulled: state.Pulled,
        before: state.Reproduced | None,
    ) -> None:
        self.job, self.ports, self.inputs, self.pulled = job, ports, inputs, pulled
        self.isolated = job.dvc_config is not None
        self.gpus = Gpus(ports.nvml(), ports.processes.env.get("CUDA_VISIBLE_DEVICES", ""))
        self.tail = Tail(secrets=secrets_of(ports.processes.env, job.remote_env))
        for note in pulled.notes:
            self.tail.add(f"trackside: {note}")
        self.earlier = {one.name: one for one in before.stages if one.outcome == "executed"} if before else {}
        self.used = before.usage if before else Usage()
        self.runs: dict[str, StageRun] = {}
        self.started_at = before.started_at if before else rfc3339(ports.clock.now())
        self.start = ports.clock.monotonic()
        self.cpu = _children_cpu()
        self.gpu_seconds = 0.0
        self.environment: Environment | None = None
        self.read: list[Path] = []
        self.hardware = Hardware()
        self.sampler = Sampler(self.gpus, ports.clock)

    def run(self) -> state.Reproduced:
        try:
            with cancellable(), self.sampler:
                self.save(None)
                confined = self.go()
            made = self.save("succeeded")
        except Cancelled as error:
            self.save("cancelled", error.reason_code)
            raise
        except TimedOutRun:
            self.save("timed_out", "stage_timed_out")
            raise ToolError(
                f"training ran past {self.job.budget_seconds:g} s and was stopped",
                log=self.tail.text(),
                remedy="raise train.timeout-minutes in trackside.yaml of the default branch",
                link="train.md",
                reason_code="stage_timed_out",
            ) from None
        except TracksideError as error:
            self.tail.add(f"trackside: {error.message}")
            self.save("failed", error.reason_code)
            raise
        finally:
            self.gpus.close()
        if self.job.champion and self.isolated:
            with cancellable():
                evaluate(self.job, self.ports, self.inputs, self.pulled, confined)
        return made

    def go(self) -> Confined:
        """Run the stages; returns what they ran in."""
        guard(self.job.workspace)
        env = self.base_env()
        if self.job.hide:
            env["PATH"], python = home.python_of(env, self.ports.processes)
            self.read = [self.job.envs, self.job.state, *python]
        confined = self.confined(env)
        confined = self.with_environment(confined)
        apply_overrides(self.job.workspace, self.job.overrides)
        for stage in self.inputs.stages:
            if stage.name in self.pulled.restored:
                self.ports.say(f"{stage.name} · restored")
                self.runs[stage.name] = StageRun(name=stage.name, command=_command(stage), outcome="restored")
                continue
            self.one(stage, confined)
            self.save(None)
        return confined

    def base_env(self) -> dict[str, str]:
        """What stages see; on one's own machine all of the environment."""
        if not self.isolated:
            return {**self.ports.processes.env, "DVC_NO_ANALYTICS": "1"}
        env = scrubbed(self.ports.processes.env, self.job.train.pass_env)
        work = state.scratch(self.job.state, "work")
        env |= {"TMPDIR": str(state.scratch(work, "tmp")), "XDG_CACHE_HOME": str(state.scratch(work, "cache"))}
        if self.job.hide:
            env |= home.own(work)
        return quiet(env, self.job.state)

    def confined(self, env: Mapping[str, str]) -> Confined:
        return Confined(
            workspace=self.job.workspace,
            env=env,
            write=self.writable() if self.isolated else None,
            processes=self.ports.processes,
            clock=self.ports.clock,
            say=self.ports.say,
            tail=self.tail,
            deadline=self.start + self.job.budget_seconds,
            sampler=self.sampler,
            hide=self.job.hide,
            read=[*self.read, *home.needed(env, self.job.workspace)] if self.job.hide else (),
        )

    def writable(self) -> list[Path]:
        """The checkout, DVC's cache, a scratch folder; the shared temporary one unless something of ours is in it."""
        job = self.job
        cache = remotes(job.dvc_config or "", job.workspace).cache
        cache.mkdir(parents=True, exist_ok=True)
        made = [job.workspace, cache, state.scratch(job.state, "work")]
        shared = Path(tempfile.gettempdir()).resolve()
        ours = [
            job.state,
            job.envs,
            job.workspace,
            Path(trackside.__file__),
            Path(self.ports.processes.env.get("RUNNER_TEMP", "/")),
            *job.hide,
        ]
        return made if any(path.resolve().is_relative_to(shared) for path in ours) else [*made, shared]

    def with_environment(self, confined: Confined) -> Confined:
        """Make the stages' environment where the policy names requirements, and describe what they run with."""
        job, processes = self.job, self.ports.processes
        env = dict(confined.env)
        if job.train.requirements and self.isolated and job.install:
            python, _ = probe(env, processes, job.workspace)
            name = venv.key(self.inputs.dependencies, python)
            bin_ = venv.make(
                job.envs, name, job.train.requirements, workspace=job.workspace, env=env, processes=processes,
                run=confined.checked,
            )  # fmt: skip
            env |= {"PATH": f"{bin_}:{env.get('PATH', '')}", "VIRTUAL_ENV": str(bin_.parent)}
        version = landlock_version() if self.isolated else 0
        confined = self.confined(env)
        self.environment, cudnn = environment(
            env,
            Within(confined) if self.isolated else processes,
            cwd=job.workspace,
            lock_file=job.train.requirements,
            dependencies=self.inputs.dependencies,
            tools={"confinement": f"landlock {version}" if version else "none"},
        )
        runner = processes.env.get("RUNNER_NAME", "")
        self.hardware = hardware(self.gpus, runner=runner, cudnn=cudnn)
        return confined

    def one(self, stage: ResolvedStage, confined: Confined) -> None:
        """Run one stage; DVC says first whether it will, before any code of the stage can speak."""
        ports, name = self.ports, stage.name
        begun = ports.clock.monotonic()
        verdict = exited = ""

        def listen(line: str) -> None:
            nonlocal verdict, exited
            found = _VERDICT.match(line)
            if found and not verdict and found[2] == name:
                verdict = "executed" if found[1] == "Running stage" else "cached"
            elif status := _EXITED.search(line):
                exited = status[1]

        self.runs[name] = StageRun(name=name, command=_command(stage), outcome="failed")
        options = ["--no-run-cache"] if self.isolated else ["--pull"]
        try:
            with ports.commands.group(f"{name}: {_command(stage)[:200]}"), ports.commands.untrusted():
                status = confined.run(argv("repro", "--single-item", *options, name), on_line=listen, label=name)
        finally:
            seconds = round(ports.clock.monotonic() - begun, 3)
            self.runs[name] = StageRun(name=name, command=_command(stage), outcome="failed", seconds=seconds)
            self.gpu_seconds += seconds * len(self.gpus.handles) if verdict == "executed" else 0.0
        if status != 0:
            code = int(exited) if exited else None
            self.runs[name] = StageRun(
                name=name, command=_command(stage), outcome="failed", seconds=seconds, exit_code=code
            )
            raise ToolError(
                f"stage {name} failed" + (f" with exit status {code}" if code is not None else ""),
                log=self.tail.text(),
                remedy=f"`dvc repro {name}` shows the same locally",
                link="train.md",
                reason_code="stage_failed",
            )
        made = StageRun(
            name=name,
            command=_command(stage),
            outcome="executed" if verdict == "executed" else "cached",
            seconds=seconds,
            exit_code=0,
        )
        if made.outcome == "cached" and name in self.earlier:
            made = self.earlier[name]
        self.runs[name] = made
        ports.say(f"{progress(name, seconds, self.sampler)} · {made.outcome}")

    def save(self, status: Status | None, reason: str = "") -> state.Reproduced:
        """Write down how far it is."""
        stages = [
            self.runs.get(stage.name) or StageRun(name=stage.name, command=_command(stage), outcome="not_run")
            for stage in self.inputs.stages
        ]
        restored = bool(stages) and all(one.outcome == "restored" for one in stages)
        made = state.Reproduced(
            input_digest=self.inputs.digest,
            started_at=self.started_at,
            finished_at=rfc3339(self.ports.clock.now()),
            status=status,
            reason_code=reason or ("restored" if restored else "trained"),
            stages=stages,
            environment=self.environment,
            hardware=self.hardware,
            usage=self.usage(),
            log_tail=self.tail.text(),
            restored_from=self.pulled.restored_from if restored else "",
        )
        state.save(self.job.state, made)
        return made

    def usage(self) -> Usage:
        """What this attempt and those before it took."""
        seen, old = self.sampler.seen, self.used
        gpu_seconds = old.gpu_seconds + self.gpu_seconds
        price = self.job.train.gpu_hour_price
        cost = None
        if price is not None and self.gpus.handles:
            cost = Money(amount=round(price.amount * gpu_seconds / 3600, 6), currency=price.currency)
        return Usage(
            wall_seconds=round(old.wall_seconds + self.ports.clock.monotonic() - self.start, 3),
            cpu_seconds=round(old.cpu_seconds + _children_cpu() - self.cpu, 3),
            gpu_seconds=round(gpu_seconds, 3),
            gpu_energy_joules=_sum(old.gpu_energy_joules, seen.energy),
            gpu_utilisation=seen.utilisation if seen.utilisation is not None else old.gpu_utilisation,
            peak_gpu_memory_bytes=_most(old.peak_gpu_memory_bytes, seen.peak_gpu_memory),
            peak_memory_bytes=_most(old.peak_memory_bytes, seen.peak_memory),
            cost=cost,
        )


def _command(stage: ResolvedStage) -> str:
    return " && ".join(stage.cmd)[:4000]


def _children_cpu() -> float:
    """CPU seconds of all finished children and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _sum(one: float | None, two: float | None) -> float | None:
    return two if one is None else one if two is None else one + two


def _most(one: int | None, two: int | None) -> int | None:
    return two if one is None else one if two is None else max(one, two)
