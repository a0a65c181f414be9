"""The exact data of a run, by digest: from the clone's cache, else from any remote that still has it."""

from __future__ import annotations

import configparser
import contextlib
import io
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import msgspec

from trackside.documents.reproduction import DataObject
from trackside.errors import DataError, ToolError
from trackside.models.progress import Progress
from trackside.plan.objects import GitTree
from trackside.plan.pipeline import PipelineInputs
from trackside.system.process import Processes
from trackside.train import lock
from trackside.train.dvc import Object, Remotes, intact, members, remotes, there, transfer
from trackside.train.workspace import pointers

LINK = "reproduce.md"
LOOK_SECONDS = 1.0
CONFIG = ".dvc/config"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An object that a stage reads. Imported data may also come from where it was imported."""

    path: str
    obj: Object
    size: int | None = None
    imported: bool = False


def wanted(tree: GitTree, inputs: PipelineInputs) -> list[Wanted]:
    """Tracked data, and outputs of frozen stages, which DVC never makes anew."""
    sizes = {one.path: one.size for one in inputs.dependencies}
    made = [
        Wanted(path=one.path, obj=one.obj, size=sizes.get(one.path), imported=one.imported)
        for one in pointers(tree, list(inputs.dependencies))
        if one.obj is not None
    ]
    frozen = {stage.name: stage for stage in inputs.stages if stage.frozen is not None}
    files = [path for path in {lock.lock_of(name)[0] for name in frozen} if path in tree.entries]
    texts = {path: data.decode("utf-8", "replace") for path, data in tree.read(files).items()} if files else {}
    for name, entry in lock.entries(texts, frozen).items():
        outs = lock.outputs(entry, frozen[name].wdir)
        made += [Wanted(path=path, obj=obj) for path, obj in outs.items() if obj is not None]
    return made


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where to look, in this order: `cache` of the clone, then remotes of today's configuration and of the commit's."""

    cache: Path | None
    remotes: Sequence[tuple[str, Remotes]]

    def holder(self, obj: Object) -> str:
        """Where an object is, without asking any remote: this machine's cache, else the first that will be asked."""
        if self.cache is not None and there(obj, self.cache):
            return "cache"
        return self.remotes[0][0] if self.remotes else ""


def sources_of(clone: Path | None, tree: GitTree, into: Path) -> Sources:
    """What may have the data.

    Args:
        clone: the user's checkout, whose `.dvc/config.local` counts too; None: there is none.
        into: the cache that objects are fetched into.
    """
    base = clone or tree.git_dir
    today = ""
    if clone is not None:
        files = [clone / ".dvc" / name for name in ("config", "config.local")]
        today = "\n".join(path.read_text(errors="replace") for path in files if path.is_file())
    then = tree.read([CONFIG])[CONFIG].decode("utf-8", "replace") if CONFIG in tree.entries else ""
    found: dict[str, tuple[str, Remotes]] = {}
    for text in (today, then):
        known = remotes(text, base)
        for name in sorted(known.names(), key=lambda name: name != known.default):
            config = _with_default(known.config, name)
            found.setdefault(_address(config, name), (name, Remotes(config=config, cache=into)))
    cache = remotes(today, base).cache if clone is not None else None
    return Sources(cache=cache, remotes=list(found.values()))


def workspace_config(clone: Path | None, tree: GitTree) -> str:
    """The commit's `.dvc/config` for the checkout: its remotes, but none to push to, and a cache of its own."""
    text = tree.read([CONFIG])[CONFIG].decode("utf-8", "replace") if CONFIG in tree.entries else ""
    config = remotes(text, clone or tree.git_dir).config
    config.remove_section("cache")
    if config.has_section("core"):
        config.remove_option("core", "remote")
    made = io.StringIO()
    config.write(made)
    return made.getvalue()


def bring(
    needed: Sequence[Wanted],
    sources: Sources,
    into: Path,
    *,
    state: Path,
    env: Mapping[str, str],
    processes: Processes,
    progress: Callable[[str, int], Progress],
) -> list[DataObject]:
    """Put objects into the cache `into`, each intact; tells where each came from.

    `progress` makes the bar of a remote, from its label and the bytes that are missing.

    Imported data that nobody has is left to DVC, which knows where it was imported from.

    Raises:
        DataError: no remote has some of it any more (`data_missing`), or one did not answer (`remote_failed`).
    """
    origin: dict[str, str] = {}
    if sources.cache is not None:
        for one in needed:
            if copied(one.obj, sources.cache, into):
                origin[one.path] = "cache"
    silent: list[str] = []
    for name, remote in sources.remotes:
        missing = [one for one in needed if not there(one.obj, into)]
        if not missing:
            break
        label = f"data: {len(missing)} of {len(needed)} from remote {name}"
        try:
            with progress(label, sum(one.size or 0 for one in missing)) as bar, watched(into, bar):
                transfer("fetch", [one.obj for one in missing], remote, state=state, env=env, processes=processes)
        except ToolError as error:
            silent.append(f"{name}: {(error.log.strip() or error.message).rpartition(chr(10))[2][-200:]}")
        origin |= {one.path: name for one in missing if there(one.obj, into)}
    gone = [one for one in needed if not one.imported and not there(one.obj, into)]
    if gone:
        raise _gone(gone, sources, silent)
    return [
        DataObject(path=one.path, digest=one.obj.digest, size=one.size, source=origin.get(one.path, "its import"))
        for one in needed
    ]


@contextmanager
def watched(folder: Path, told: Callable[[int], None]) -> Iterator[None]:
    """Meanwhile, tell how many bytes have come into a folder: DVC itself is silent where there is no terminal."""
    before, done = _bytes(folder), Event()

    def watch() -> None:
        pause = LOOK_SECONDS
        while not done.wait(pause):
            start = time.monotonic()
            told(_bytes(folder) - before)
            pause = max(LOOK_SECONDS, 20 * (time.monotonic() - start))  # folders of many files take long to look at

    thread = Thread(target=watch, daemon=True, name="progress")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(10)


def _bytes(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # DVC renames what has arrived
                total += os.lstat(f"{root}/{name}").st_size
    return total


def copied(obj: Object, source: Path, into: Path) -> bool:
    """Copy an object from one cache into another; False where it is not there whole. Links would share the bytes."""
    if not there(obj, source):
        return False
    for one in {obj, *(members(obj, source) or {}).values()}:
        target = one.path(into)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(one.path(source), target)
            except OSError as error:
                raise DataError(f"{one.digest} of the cache cannot be copied", why=str(error), link=LINK) from error
            target.chmod(0o444)
    if intact(obj, into):
        return True
    for one in {obj, *(members(obj, into) or {}).values()}:
        one.path(into).unlink(missing_ok=True)
    return False


def _with_default(config: configparser.ConfigParser, name: str) -> configparser.ConfigParser:
    made = configparser.ConfigParser(interpolation=None)
    made.read_dict({section: dict(config.items(section)) for section in config.sections()})
    if not made.has_section("core"):
        made.add_section("core")
    made.set("core", "remote", name)
    return made


def _address(config: configparser.ConfigParser, name: str) -> str:
    """Two remotes with the same settings are one."""
    found = next((s for s in config.sections() if s.strip("'") == f'remote "{name}"'), "")
    return msgspec.json.encode(dict(config.items(found)) if found else {}, order="sorted").decode()


def _gone(gone: Sequence[Wanted], sources: Sources, silent: Sequence[str]) -> DataError:
    names = [f"{one.path} ({one.obj.digest})" for one in gone]
    asked = ", ".join([*(["this clone's cache"] if sources.cache else []), *(name for name, _ in sources.remotes)])
    if silent:
        return DataError(
            "a data remote did not answer, and nothing else has " + ", ".join(names[:20]),
            why="; ".join(silent),
            remedy="check its credentials, as for `dvc fetch`",
            link=LINK,
            reason_code="remote_failed",
        )
    return DataError(
        "no remote has any more: " + ", ".join(names[:20]) + (f" and {len(names) - 20} more" if names[20:] else ""),
        why=f"asked: {asked}" if asked else "no DVC remote is configured, and there is no cache",
        remedy="`dvc push` from a machine whose cache has it; the digests above are what it must hold",
        link=LINK,
        reason_code="data_missing",
    )
