"""`trackside models doctor`: reads the registry, says what is wrong, repairs it where asked, and looks again."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackside.config.load import load as load_config
from trackside.config.model import CONFIG_FILE
from trackside.errors import DOCS, ConfigError, Refused
from trackside.forge.access import access, origin_of
from trackside.models.doctor import findings
from trackside.models.finding import Facts, Finding
from trackside.models.layout import emit, printable
from trackside.models.reading import Patient, Server, read
from trackside.models.repair import LINK, Done, apply, says, wanted
from trackside.models.which import unknown_model
from trackside.registry.remote import Remote
from trackside.registry.tags import read as read_tag
from trackside.store.layout import DATA_BRANCH
from trackside.system.clock import Clock, SystemClock

if TYPE_CHECKING:
    from trackside.app import Context

ROUNDS = 5
"""How often is looked again for what a repair uncovered: a record that is back shows that its tag is gone."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The flags. `repo` is a clone or any folder, `repository` OWNER/NAME or empty, `model` empty for all."""

    repo: Path
    repository: str = ""
    model: str = ""
    fix: bool = False
    force: bool = False
    dry_run: bool = False
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class Visit:
    """What came of it: what is wrong now, and what was done about what was."""

    repository: str
    left: tuple[Finding, ...]
    done: tuple[Done, ...] = ()

    @property
    def problems(self) -> int:
        return sum(one.level == "problem" for one in self.left)

    @property
    def exit_code(self) -> int:
        if any(one.outcome == "refused" for one in self.done):
            return Refused.exit_code
        return 1 if self.problems else 0


def doctor(context: Context, wish: Wish, *, clock: Clock | None = None) -> int:
    """Examine, repair where asked, print; 0 where nothing is wrong any more, 1 where something is, 3 where a repair was
    wanted that the token has no right to.

    Raises:
        ConfigError: neither a clone nor a repository that may be asked; `--force` without `--fix`.
        NotFound: there is nothing of the model that is asked for (`version_unknown`).
        ForgeError, ToolError: GitHub or git failed while the registry was read.
    """
    if wish.force and not wish.fix:
        raise ConfigError("--force is for --fix", remedy="trackside models doctor --fix --force", link=LINK)
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        patient, repository, note = _patient(context, wish, Path(folder), clock or SystemClock())
        try:
            made = visit(patient, wish, repository=repository, notes=note)
        finally:
            if patient.server is not None:
                patient.server.forge.close()
    if context.json:
        emit(context, document(made))
    else:
        _print(context, made)
    return made.exit_code


def visit(patient: Patient, wish: Wish, *, repository: str = "", notes: Sequence[Finding] = ()) -> Visit:
    """The same without printing. A repair that failed or only started something is not tried again.

    Raises:
        NotFound: there is nothing of the model that is asked for (`version_unknown`).
    """
    done: list[Done] = []
    tried: set[str] = set()
    facts = read(patient)
    found = _of(facts, wish, notes)
    if wish.model and wish.model not in _models(facts) and (patient.server or not _clone_lacks(found)):
        raise unknown_model(facts.state, wish.model)
    for _ in range(ROUNDS if wish.fix else 0):
        due = {key: (one, repair) for key, one, repair in wanted(found, force=wish.force) if key not in tried}
        tried |= set(due)
        if wish.dry_run:
            done = [Done(finding=one, says=says(repair), outcome="planned") for one, repair in due.values()]
        if wish.dry_run or not due:
            break
        done += [apply(patient, one, repair) for one, repair in due.values()]
        found = _of(read(patient), wish, notes)
    started = {one.finding.subject for one in done if one.outcome == "started"}
    return Visit(repository=repository, left=tuple(_waiting(one, started) for one in found), done=tuple(done))


def _of(facts: Facts, wish: Wish, notes: Sequence[Finding]) -> tuple[Finding, ...]:
    return (*notes, *(one for one in findings(facts) if _about(one, wish.model)))


def _models(facts: Facts) -> set[str]:
    """Models of which anything is there: a tag, a record, or a release."""
    tags = (read_tag(one.tag) for one in facts.releases or ())
    made = {*facts.state.models(), *(one.model for one in facts.records), *(one.model for one in tags if one)}
    return made | {path.split("/")[1] for path in facts.damaged}


def _clone_lacks(found: Sequence[Finding]) -> bool:
    """Whether a model may be missing here only because the clone does not hold all."""
    return any(one.subject == "clone" and one.level == "problem" for one in found)


def _waiting(finding: Finding, started: Collection[str]) -> Finding:
    """What a job that was started just now will put right is wrong until it has ended."""
    if finding.subject not in started or finding.code != "claim_unfinished":
        return finding
    return replace(finding, why="its job was started just now", remedy="wait for its end, then look again")


def _about(finding: Finding, model: str) -> bool:
    """Whether a finding is of a model; what is wrong with the clone is of every model."""
    subject = finding.subject
    if not model or subject in ("clone", "drafts"):
        return True
    return subject.startswith((f"{model}@", f"{model}#", f"releases/{model}/"))


def _patient(context: Context, wish: Wish, folder: Path, clock: Clock) -> tuple[Patient, str, tuple[Finding, ...]]:
    """What is examined, its name, and what to know about what could not be asked."""
    repo = wish.repo if _is_clone(context, wish.repo) else None
    origin = origin_of(wish.repo, context.processes) if repo else ("", "")
    found = "--offline" if wish.offline else access(context.env, wish.repository, origin)
    if isinstance(found, str):
        if repo is None:
            raise ConfigError(
                "there is no registry to look at",
                why=f"{wish.repo.resolve()} is no clone, and GitHub is not asked: {found}",
                remedy="go to a clone, or: GITHUB_TOKEN=… trackside models doctor --repository OWNER/NAME",
                link=LINK,
            )
        note = Finding(
            code="server_unasked",
            subject="clone",
            what=f"only the clone was looked at, neither releases nor the server's tags: {found}",
            remedy="export GITHUB_TOKEN=… of somebody who may read the repository",
            level="note",
        )
        branch = _branch(_text(wish.repo))
        patient = Patient(processes=context.processes, clock=clock, repo=repo, branch=branch, offline=wish.offline)
        return patient, origin[1], (note,)
    from trackside.doctor.place import DoctorForge

    context.commands.mask(found.token)
    forge = DoctorForge(found.repository, found.token, found.api, clock)
    facts = forge.repository_facts()
    server = Server(
        forge=forge,
        remote=Remote(folder / "job.git", facts.git_url, token=found.token, processes=context.processes, clock=clock),
        url=facts.git_url,
        token=found.token,
        folder=folder,
        writes=facts.push,
    )
    policy = forge.file(CONFIG_FILE, facts.default_branch)
    mine = repo if origin[1].lower() == facts.full_name.lower() else None  # another repository's clone tells nothing
    patient = Patient(processes=context.processes, clock=clock, repo=mine, server=server, branch=_branch(policy))
    return patient, facts.full_name, ()


def _is_clone(context: Context, folder: Path) -> bool:
    return not context.processes.run(["git", "-C", folder, "rev-parse", "--git-dir"], check=False).returncode


def _text(folder: Path) -> bytes | None:
    path = folder / CONFIG_FILE
    return path.read_bytes() if path.is_file() else None


def _branch(policy: bytes | None) -> str:
    """The data branch that a policy names; the usual one where there is none, or none that can be read."""
    try:
        return load_config(policy.decode("utf-8", "replace")).data_branch if policy else DATA_BRANCH
    except ConfigError:
        return DATA_BRANCH


# What people and tools read


def document(made: Visit) -> Mapping[str, Any]:
    """For tools; `repair` says what `--fix` does about a finding, `force` that it takes `--force` too."""
    return {
        "schema": "trackside.models-doctor/1",
        "repository": made.repository,
        "problems": made.problems,
        "findings": [
            {
                "code": one.code,
                "level": one.level,
                "subject": one.subject,
                "what": one.what,
                "why": one.why,
                "remedy": one.remedy,
                "repair": says(one.repair) if one.repair else "",
                "force": one.force,
            }
            for one in made.left
        ],
        "repairs": [
            {
                "code": one.finding.code,
                "subject": one.finding.subject,
                "says": one.says,
                "outcome": one.outcome,
                "error": one.error,
                "reason_code": one.reason_code,
                "url": one.url,
            }
            for one in made.done
        ],
    }


def _print(context: Context, made: Visit) -> None:
    for done in made.done:
        context.say(printable(f"{done.outcome.upper():9}  {done.says}  {done.url}").rstrip())
        for line in done.error.splitlines():
            context.say(" " * 11 + printable(line))
    if made.done:
        context.say("")
    for one in made.left:
        context.say(printable(f"{'PROBLEM' if one.level == 'problem' else 'note':9}  {one.code}: {one.what}"))
        for name, text in (("why", one.why), ("fix", one.remedy)):
            if text:
                context.say(printable(f"{'':9}  {name}: {text}"))
    repairable = sum(one.repair is not None and not one.force and one.level == "problem" for one in made.left)
    if not made.problems:
        alone = any(one.code == "server_unasked" for one in made.left)
        of = "what was looked at" if alone else made.repository
        context.say(f"nothing is wrong with {of}")
        return
    context.say(
        f"{made.problems} problem{'s' * (made.problems > 1)}, {repairable} of them for --fix; docs: {DOCS}/{LINK}"
    )
