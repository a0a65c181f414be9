"""Where answers about models come from: a clone, or GitHub itself. One set of questions for both."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from trackside.config.model import CONFIG_FILE
from trackside.documents.codec import Document, load
from trackside.documents.image import Image
from trackside.documents.release import Release
from trackside.documents.run import Run
from trackside.errors import ConfigError, DataError
from trackside.forge.access import Access, access, origin_of
from trackside.registry.clone import read_clone, require_whole
from trackside.registry.records import of_path, record_path
from trackside.registry.state import RegistryState
from trackside.registry.versions import Version
from trackside.store.branch import Problem
from trackside.store.files import CloneFiles
from trackside.store.layout import DATA_BRANCH, image_of_path, image_path, run_of_path, run_path
from trackside.system.process import Processes

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.forge.github import GithubForge

T = TypeVar("T", bound=Document)
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Models that can have records; GTO's names may also hold slashes and a folder."""


class Source(Protocol):
    """What is known of models. Damaged records count as absent and are told by `problems`."""

    @property
    def repository(self) -> str:
        """`owner/name`; empty where it is unknown."""
        ...

    @property
    def problems(self) -> tuple[Problem, ...]: ...

    def state(self, model: str = "") -> RegistryState:
        """The tags of a model, or of all.

        Raises:
            DataError: a clone that does not hold all tags (`registry_incomplete`).
        """
        ...

    def releases(self, model: str = "") -> tuple[Release, ...]:
        """Records of the data branch in every state, by model and version."""
        ...

    def release(self, model: str, version: Version | str) -> Release | None: ...

    def releases_of(self, model: str, versions: Iterable[Version]) -> dict[Version, Release]:
        """The records of some versions, those that there are: one question."""
        ...

    def recorded(self, model: str = "") -> Mapping[str, frozenset[Version]]:
        """The versions of each model that have a record in whatever state, by the records' names alone."""
        ...

    def images(self, model: str = "") -> tuple[Image, ...]:
        """Records of images, by model and version."""
        ...

    def images_of(self, model: str, versions: Iterable[Version]) -> dict[Version, Image]:
        """The images of some versions, those that there are: one question."""
        ...

    def image(self, model: str, version: Version | str) -> Image | None: ...

    def run(self, model: str, run_id: str) -> Run | None: ...

    def runs_of(self, releases: Mapping[Version, Release]) -> dict[Version, Run]:
        """The runs of some versions of one model, those that there are: one question."""
        ...

    def runs(self, model: str = "") -> tuple[Run, ...]:
        """Every recorded run, oldest first by start time."""
        ...

    def text(self, path: str) -> bytes | None:
        """A file of the project: of the work tree, or of the default branch."""
        ...

    def forge(self) -> GithubForge:
        """GitHub, to download from; a context manager. Raises ConfigError: unknown repository, or no token."""
        ...


class Records(ABC):
    """Parses and checks what the two ways of reading give."""

    def __init__(self) -> None:
        self._problems: dict[str, Problem] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._problems.values())

    @abstractmethod
    def _read(self, paths: list[str]) -> dict[str, bytes]:
        """The files of the data branch that exist."""

    @abstractmethod
    def _under(self, folder: str, wanted: Callable[[str], bool]) -> dict[str, bytes]:
        """All files of the data branch below a folder whose path is wanted."""

    def releases(self, model: str = "") -> tuple[Release, ...]:
        return self._all("releases", model, lambda path: of_path(path) is not None, self._release)

    def release(self, model: str, version: Version | str) -> Release | None:
        return self._one(record_path(model, version), self._release)

    def releases_of(self, model: str, versions: Iterable[Version]) -> dict[Version, Release]:
        return self._of({version: record_path(model, version) for version in versions}, self._release)

    def recorded(self, model: str = "") -> Mapping[str, frozenset[Version]]:
        names: list[str] = []

        def noted(path: str) -> bool:
            names.append(path)
            return False

        if not model or _MODEL.fullmatch(model):
            self._under(f"releases/{model}" if model else "releases", noted)
        made: dict[str, set[Version]] = {}
        for name, version in filter(None, map(of_path, names)):
            made.setdefault(name, set()).add(version)
        return {name: frozenset(versions) for name, versions in made.items()}

    def images(self, model: str = "") -> tuple[Image, ...]:
        return self._all("images", model, lambda path: image_of_path(path) is not None, self._image)

    def images_of(self, model: str, versions: Iterable[Version]) -> dict[Version, Image]:
        known = versions if _MODEL.fullmatch(model) else ()
        return self._of({version: image_path(model, str(version)) for version in known}, self._image)

    def image(self, model: str, version: Version | str) -> Image | None:
        return self._one(image_path(model, str(version)) if _MODEL.fullmatch(model) else "", self._image)

    def run(self, model: str, run_id: str) -> Run | None:
        return self._one(run_path(model, run_id), self._run)

    def runs_of(self, releases: Mapping[Version, Release]) -> dict[Version, Run]:
        return self._of({version: run_path(one.model, one.run) for version, one in releases.items()}, self._run)

    def runs(self, model: str = "") -> tuple[Run, ...]:
        found = self._all("runs", model, lambda path: run_of_path(path) is not None, self._run)
        return tuple(sorted(found, key=lambda run: run.started_at))

    def _all(
        self, folder: str, model: str, wanted: Callable[[str], bool], parse: Callable[[str, bytes], T | None]
    ) -> tuple[T, ...]:
        if model and not _MODEL.fullmatch(model):
            return ()
        found = self._under(f"{folder}/{model}" if model else folder, wanted)
        made = (parse(path, found[path]) for path in sorted(found, key=_by_version))
        return tuple(one for one in made if one is not None)

    def _of(self, paths: dict[Version, str], parse: Callable[[str, bytes], T | None]) -> dict[Version, T]:
        found = self._read([path for path in paths.values() if path])
        made = {version: parse(path, found[path]) for version, path in paths.items() if path in found}
        return {version: one for version, one in made.items() if one is not None}

    def _one(self, path: str, parse: Callable[[str, bytes], T | None]) -> T | None:
        data = self._read([path]).get(path) if path else None
        return None if data is None else parse(path, data)

    def _release(self, path: str, data: bytes) -> Release | None:
        return self._parsed(Release, path, data, lambda one: record_path(one.model, one.version))

    def _image(self, path: str, data: bytes) -> Image | None:
        return self._parsed(Image, path, data, lambda one: image_path(one.model, one.version))

    def _run(self, path: str, data: bytes) -> Run | None:
        return self._parsed(Run, path, data, lambda one: run_path(one.model, one.id))

    def _parsed(self, kind: type[T], path: str, data: bytes, own: Callable[[T], str]) -> T | None:
        try:
            made = load(kind, data, name=path)
            if own(made) != path:
                raise DataError(f"it belongs to {own(made)[:200] or 'no path'}")
        except DataError as error:
            self._problems[path] = Problem(path=path, why=error.why or error.message)
            return None
        return made


def _by_version(path: str) -> tuple[str, Version | None, str]:
    of = of_path("releases/" + path.partition("/")[2])
    return (of[0], of[1], "") if of else ("", None, path)


class CloneSource(Records):
    """A clone's tags by one `git for-each-ref`, its records by `git cat-file --batch`; nothing is fetched."""

    def __init__(self, repo: Path, processes: Processes, *, context: Context | None = None) -> None:
        super().__init__()
        self._repo, self._processes, self._context = repo, processes, context
        self._files: CloneFiles | None = None
        self._whole = False

    @property
    def repository(self) -> str:
        return origin_of(self._repo, self._processes)[1]

    def state(self, model: str = "") -> RegistryState:
        found = read_clone(self._repo, self._processes, model=model)
        if not self._whole:
            require_whole(self._repo, self._processes, found, model=model)
            self._whole = True
        return found

    def text(self, path: str) -> bytes | None:
        file = self._repo / path
        return file.read_bytes() if file.is_file() else None

    def forge(self) -> GithubForge:
        env = self._context.env if self._context is not None else {}
        return _forge(_allowed(access(env, "", origin_of(self._repo, self._processes))))

    def _branch(self) -> CloneFiles:
        if self._files is None:
            self._files = CloneFiles(self._repo, data_branch(self.text(CONFIG_FILE)), self._processes)
        return self._files

    def _read(self, paths: list[str]) -> dict[str, bytes]:
        return self._branch().read(paths)

    def _under(self, folder: str, wanted: Callable[[str], bool]) -> dict[str, bytes]:
        return self._branch().under(folder, wanted)


def source_of(context: Context, repo: Path, repository: str = "") -> Source:
    """The clone at `repo`, or GitHub itself where a repository is named.

    Raises:
        ConfigError: a repository is named but there is no token for it.
    """
    processes = Processes(context.env)
    if not repository:
        return CloneSource(repo, processes, context=context)
    from trackside.models.server import ApiSource

    found = _allowed(access(context.env, repository, ("", "")))
    return ApiSource(_forge(found), found.token, processes)


def _allowed(found: Access | str) -> Access:
    if isinstance(found, str):
        raise ConfigError(
            f"GitHub cannot be asked: {found}",
            remedy="export GITHUB_TOKEN=…, and name the repository with --repository OWNER/NAME",
            link="registry.md",
            reason_code="token_missing",
        )
    return found


def _forge(found: Access) -> GithubForge:
    """Nothing is said of the token, not even to the runner: answers go to standard output, for scripts."""
    from trackside.forge.github import GithubForge

    return GithubForge(found.repository, found.token, found.api)


def data_branch(policy: bytes | None) -> str:
    """Which branch the policy names; that of a policy which cannot be read is the usual one."""
    if policy is None or (b"data_branch" not in policy and b"data-branch" not in policy):
        return DATA_BRANCH
    from trackside.config.load import load as load_config

    return load_config(policy.decode("utf-8", "replace")).data_branch
