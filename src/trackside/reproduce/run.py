"""`trackside reproduce`: restore, train again, judge, explain; all of it in a folder that is taken away afterwards."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import disk_usage

import msgspec

import trackside
from trackside.app import Context
from trackside.documents.codec import dump
from trackside.documents.reproduction import DataObject, InputDifference, Reproduction, Restoration, Verdict
from trackside.documents.run import Run
from trackside.errors import DataError
from trackside.models.layout import columns, printable
from trackside.models.progress import Progress
from trackside.reproduce import show
from trackside.reproduce.again import Again, with_python
from trackside.reproduce.code import Code, Repository, find_code
from trackside.reproduce.data import Sources, Wanted, bring, sources_of, wanted, workspace_config
from trackside.reproduce.explain import cause_of, differences, sentences
from trackside.reproduce.judge import Judged, judge
from trackside.reproduce.place import cache_of, place
from trackside.reproduce.subject import Subject, find_subject
from trackside.runs import duration
from trackside.system.clock import SystemClock, rfc3339
from trackside.system.process import Processes
from trackside.system.text import inert
from trackside.system.workflow import WorkflowCommands
from trackside.train.confine import landlock_version
from trackside.train.environment import VARIABLES, environment
from trackside.train.hardware import Gpus, hardware, load_nvml
from trackside.train.home import homes
from trackside.train.job import TrainPorts, remote_env
from trackside.train.signals import cancellable
from trackside.train.workspace import guard

REASONS: dict[Verdict, str] = {
    "identical": "reproduced",
    "within_tolerance": "reproduced_within_tolerance",
    "differs": "not_reproduced",
}
DOCUMENT = "reproduction.json"


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was asked for. `name` is a version or a run; `keep` an empty or new folder that stays."""

    name: str
    repo: Path = Path()
    repository: str = ""
    keep: Path | None = None
    install: bool = True
    twice: bool = False
    dry_run: bool = False


def reproduce(context: Context, wish: Wish) -> int:
    """Returns 0 where it is identical or within tolerance, 1 where it differs.

    Raises:
        DataError: code, data or packages cannot be restored.
        Refused: the records do not fit each other.
        ToolError: a stage failed.
        Cancelled: by a signal; nothing is left behind.
    """
    with cancellable():
        subject = find_subject(context, wish.name, wish.repo, wish.repository)
        with place(cache_of(context.env), wish.keep) as folder:
            return _Reproduce(context, wish, subject, folder).run()


class _Reproduce:
    """One reproduction in `folder`."""

    def __init__(self, context: Context, wish: Wish, subject: Subject, folder: Path) -> None:
        self.context, self.wish, self.subject, self.folder = context, wish, subject, folder
        self.recorded, self.processes = subject.run, context.processes
        self.stream = sys.stderr if context.json else context.out
        self.clock = SystemClock()
        self.begun, self.start = rfc3339(self.clock.now()), self.clock.monotonic()

    def run(self) -> int:
        repository = self.repository(self.folder, self.subject.clone)
        began = self.clock.monotonic()
        code = find_code(repository, self.recorded, self.subject.commits, self.subject.policy)
        self.step(f"code: commit {code.commit[:12]} from {code.origin}", began)
        needed = wanted(code.tree, code.inputs)
        sources = sources_of(self.subject.clone, code.tree, cache_in(self.folder))
        if self.wish.dry_run:
            return self.dry(code, needed, sources)
        data = self.place(code, repository, needed, sources)
        again = self.train(code, self.folder)
        first = judge(self.recorded, again, code.model.metrics, code.inputs.stages)
        second = self.second(code, needed, again) if self.wish.twice and first.verdict != "identical" else None
        made = self.told(code, data, again, first, second)
        if self.wish.keep is not None:
            (self.folder / DOCUMENT).write_bytes(dump(made))
        self.context.say(dump(made).decode().rstrip() if self.context.json else show.reproduction(made))
        return 1 if made.verdict == "differs" else 0

    def repository(self, folder: Path, clone: Path | None) -> Repository:
        made = Repository(
            folder=folder / "checkout",
            clone=clone,
            url=self.subject.url,
            processes=self.processes,
            token=self.subject.token,
        )
        made.prepare()
        return made

    def place(self, code: Code, repository: Repository, needed: Sequence[Wanted], sources: Sources) -> list[DataObject]:
        """The checkout with the data that it needs in its cache."""
        began = self.clock.monotonic()
        self.room(needed)
        repository.checkout(code.commit)
        guard(repository.folder)
        data = bring(
            needed,
            sources,
            cache_in(repository.folder.parent),
            state=repository.folder.parent / "state",
            env={**self.processes.env, **remote_env(self.context.env.get("TRACKSIDE_REMOTE_ENV", ""))},
            processes=self.processes,
            progress=self.progress,
        )
        if data:
            size = show.size(sum(one.size or 0 for one in data))
            origins = ", ".join(dict.fromkeys(one.source for one in data))
            self.step(f"data: {len(data)} tracked, {size}, from {origins}", began)
        return data

    def room(self, needed: Sequence[Wanted]) -> None:
        """Raises DataError where the data and the outputs, once each, take more than is free."""
        least = sum(one.size or 0 for one in needed) + sum(one.size for one in self.recorded.artifacts)
        free = disk_usage(self.folder).free
        if free < least:
            raise DataError(
                f"{show.size(least)} are needed, {show.size(free)} are free in {self.folder.parent}",
                remedy="--keep DIR on a larger disk, or export XDG_CACHE_HOME=…",
                link="reproduce.md",
                reason_code="no_space",
            )

    def progress(self, label: str, total: int) -> Progress:
        room = 0 if self.context.json else columns(self.context)
        self.say(f"{label}, {show.size(total)}")
        return Progress(label, total, self.stream, room, self.clock.monotonic)

    def train(self, code: Code, folder: Path) -> Run:
        began = self.clock.monotonic()
        commands = WorkflowCommands({}, sys.stderr) if self.context.json else self.context.commands
        ports = TrainPorts(processes=self.processes, commands=commands, say=self.say, nvml=load_nvml)
        again = Again(envs=cache_of(self.context.env) / "envs", install=self.wish.install, ports=ports)
        self.say(f"packages: {self.packages(code)}")
        self.say(self.trusted(code, folder))
        config = workspace_config(self.subject.clone, code.tree)
        made = again.train(self.recorded, code, folder, dvc_config=config)
        self.step(f"trained: run {made.id}", began)
        return made

    def trusted(self, code: Code, folder: Path) -> str:
        """Whose code is about to run, and what it can read."""
        author = Repository(folder=folder / "checkout", clone=None, url="", processes=self.processes).author(
            code.commit
        )
        here = ", ".join(map(str, homes(self.processes.env))) if landlock_version() else ""
        reads = f"but for {here}" if here else "your home folder too: the kernel has no Landlock"
        of = f"{self.recorded.source.repository} " * bool(self.recorded.source.repository)
        return printable(
            f"running now: the code of {of}commit {code.commit[:12]} by {author}, from {code.origin}; it gets no"
            f" credentials and can read all that you may read, {reads}"
        )

    def second(self, code: Code, needed: Sequence[Wanted], again: Run) -> Judged:
        """Train once more, on what the first training had, and hold that against the first."""
        self.say("once more, to tell chance from the environment")
        folder = self.folder / "second"
        folder.mkdir()
        repository = self.repository(folder, self.folder / "checkout")
        self.place(code, repository, needed, Sources(cache=cache_in(self.folder), remotes=[]))
        return judge(again, self.train(code, folder), code.model.metrics, code.inputs.stages)

    def told(
        self, code: Code, data: list[DataObject], again: Run, first: Judged, second: Judged | None
    ) -> Reproduction:
        found = differences(self.recorded, again.environment, again.hardware)
        open_ = unrecorded(code)
        cause = cause_of(first.verdict, second.verdict if second else None, found, open_)
        return Reproduction(
            verdict=first.verdict,
            reason_code=REASONS[first.verdict],
            cause=cause,
            explanation=sentences(
                cause,
                found,
                twice=second is not None,
                seeds=self.recorded.seeds,
                origins=first.origins,
                unrecorded=open_,
            ),
            restoration=self.restoration(code, data, again.environment.python, found),
            outputs=first.outputs,
            metrics=first.metrics,
            stages=first.stages,
            second=second.verdict if second else None,
            second_outputs=second.outputs if second else [],
            again=again.id,
            started_at=self.begun,
            seconds=round(self.clock.monotonic() - self.start, 3),
            kept=str(self.folder) if self.wish.keep is not None else "",
            trackside=trackside.__version__,
        )

    def dry(self, code: Code, needed: Sequence[Wanted], sources: Sources) -> int:
        """What would be restored, and what is known to differ before anything is trained."""
        data = [
            DataObject(path=one.path, digest=one.obj.digest, size=one.size, source=sources.holder(one.obj))
            for one in needed
        ]
        processes = self.processes
        if self.installs(code):
            processes = Processes(with_python(self.recorded.environment.python, processes, self.folder / "python"))
        software, cudnn = environment(
            processes.env, processes, cwd=self.folder, lock_file="", dependencies=[], tools={}
        )
        if self.installs(code):  # its packages will be those of the lock
            software = msgspec.structs.replace(software, installed=[], packages_digest="")
        gpus = Gpus(load_nvml(), processes.env.get("CUDA_VISIBLE_DEVICES", ""))
        found = differences(self.recorded, software, hardware(gpus, cudnn=cudnn))
        gpus.close()
        made = self.restoration(code, data, software.python, found)
        self.context.say(dump(made).decode().rstrip() if self.context.json else show.restoration(made))
        return 0

    def restoration(self, code: Code, data: list[DataObject], python: str, found: list[InputDifference]) -> Restoration:
        recorded = self.recorded
        frozen = [stage.name for stage in code.inputs.stages if stage.frozen is not None]
        notes = [
            *self.subject.notes,
            *code.notes,
            *([f"frozen in dvc.yaml, so not run again: {', '.join(frozen)}"] if frozen else []),
        ]
        if recorded.trigger.event == "local":
            notes.append("the run was trained with its owner's own environment")
        lock = next((one for one in code.inputs.dependencies if one.path == code.train.requirements), None)
        return Restoration(
            subject=self.subject.name,
            model=recorded.model,
            version=self.subject.release.version if self.subject.release else "",
            run=recorded.id,
            commit=code.commit,
            code=code.origin,
            input_digest=recorded.input_digest,
            data=data,
            lock_file=lock.path if lock else "",
            lock_digest=lock.digest if lock else "",
            python=python,
            packages=self.packages(code),
            params=recorded.params,
            overrides=recorded.overrides,
            seeds=recorded.seeds,
            stages={one.name: one.seconds if one.outcome == "executed" else 0.0 for one in recorded.stages},
            differences=found,
            notes=notes,
        )

    def installs(self, code: Code) -> bool:
        return bool(self.wish.install and code.train.requirements)

    def packages(self, code: Code) -> str:
        if self.installs(code):
            return f"from {code.train.requirements}, as locked"
        return "those of the present Python: " + ("--no-venv" if code.train.requirements else "no lock is recorded")

    def step(self, text: str, began: float) -> None:
        self.say(f"{text} · {duration(self.clock.monotonic() - began)}")

    def say(self, text: str) -> None:
        print(inert(text) if self.context.commands.active else text, file=self.stream, flush=True)


def cache_in(folder: Path) -> Path:
    """DVC's cache of the checkout in a folder."""
    return folder / "checkout" / ".dvc" / "cache"


def unrecorded(code: Code) -> list[str]:
    """What can change a result and is in no record."""
    stages = {stage.name for stage in code.inputs.stages}
    made = [f"what stage {one} reads beside its dependencies" if one in stages else f"what {one} held"
            for one in code.inputs.volatile]  # fmt: skip
    return made + [f"the variable {name}" for name in code.train.pass_env if name not in VARIABLES]
