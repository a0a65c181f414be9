"""Which recorded inputs are other ones here, and what that says of results that differ. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from trackside.documents.reproduction import Cause, InputDifference, Verdict
from trackside.documents.run import Environment, Hardware, Run

Kind = Literal["python", "package", "machine", "system", "variable", "tool"]
NAMED = 6
"""Inputs that a sentence names; the table has all."""
ABSENT = "not installed"


def differences(recorded: Run, environment: Environment, hardware: Hardware) -> list[InputDifference]:
    """Facts of the record that are others here, those that change results first.

    A fact that either side does not know is no difference.
    """
    old, new = recorded.environment, environment
    then, now = recorded.hardware, hardware
    return [
        *_pairs("python", ("Python", old.python, new.python)),
        *_packages(old, new),
        *_pairs("package", ("lock", _lock(old), _lock(new))),
        *_pairs(
            "machine",
            ("GPU", _gpus(then), _gpus(now)),
            ("CUDA driver", then.driver, now.driver),
            ("CUDA", then.cuda, now.cuda),
            ("cuDNN", then.cudnn, now.cudnn),
            ("CPU", then.cpu, now.cpu),
            ("cores", str(then.cores or ""), str(now.cores or "")),
            ("architecture", old.architecture, new.architecture),
        ),
        *_pairs(
            "system",
            ("operating system", old.os, new.os),
            ("container image", old.container_image, new.container_image),
        ),
        *_variables(old, new),
        *_pairs("system", ("kernel", old.kernel, new.kernel), matters=False),
        *_pairs("machine", ("memory", _gib(then.memory_bytes), _gib(now.memory_bytes)), matters=False),
        *_pairs(
            "tool", *((name, old.tools[name], new.tools.get(name, "")) for name in sorted(old.tools)), matters=False
        ),
    ]


def cause_of(
    verdict: Verdict, second: Verdict | None, found: Sequence[InputDifference], unrecorded: Sequence[str]
) -> Cause:
    """Why results differ, as far as can be told.

    Args:
        second: how a second training here compares with the first; None: there was none.
        unrecorded: what can change a result and is in no record, in words.
    """
    if verdict == "identical":
        return "none"
    if second is not None and second != "identical":
        return "not_deterministic"
    matters = any(one.matters for one in found)
    if second is not None:
        return "environment" if matters else "unrecorded"
    if matters:
        return "unknown"
    return "unrecorded" if unrecorded else "not_deterministic"


def sentences(
    cause: Cause,
    found: Sequence[InputDifference],
    *,
    twice: bool,
    seeds: Mapping[str, int],
    origins: Sequence[str],
    unrecorded: Sequence[str],
) -> list[str]:
    """What a person should know of a result that is not the recorded one; nothing for one that is."""
    if cause == "none":
        return []
    made = []
    if origins:
        made.append(f"it begins in {_some(origins)}: what that reads is as it was, what it makes is not")
    names = named(found)
    made.append(
        {
            "not_deterministic": "two trainings here differ from each other: the training is not deterministic"
            if twice
            else "nothing recorded differs: the training is not deterministic",
            "environment": f"two trainings here are alike, so the environment explains it: {_some(names)}",
            "unknown": f"these recorded inputs are others here and may explain it: {_some(names)}; "
            "--twice tells them from chance",
            "unrecorded": "two trainings here are alike and nothing recorded differs: "
            "something that no record holds does"
            if twice
            else "nothing recorded differs, but not all is recorded",
        }[cause]
    )
    if cause == "not_deterministic" and twice and names:
        made.append(f"recorded inputs differ as well: {_some(names)}")
    if not seeds and cause != "environment":
        made.append("no seed is recorded: name it in params.yaml, or under `seeds:` of the model in trackside.yaml")
    if unrecorded and cause != "environment":
        made.append(f"not recorded: {_some(unrecorded)}")
    return made


def _pairs(kind: Kind, *rows: tuple[str, str, str], matters: bool = True) -> Iterator[InputDifference]:
    for name, recorded, here in rows:
        if recorded and here and recorded != here:
            yield InputDifference(kind=kind, input=name, recorded=recorded, here=here, matters=matters)


def _packages(old: Environment, new: Environment) -> Iterator[InputDifference]:
    """By name where both sides list them: other versions first, then what only this machine has, then what it lacks."""
    if not _listed(old) or not _listed(new):
        yield from _pairs(
            "package",
            (
                "packages",
                f"{old.packages} ({old.packages_digest[:19]})" if old.packages_digest else "",
                f"{new.packages} ({new.packages_digest[:19]})" if new.packages_digest else "",
            ),
        )
        return
    then, now = (dict(line.partition("==")[::2] for line in one.installed) for one in (old, new))
    for name in sorted({*then, *now}, key=lambda name: (name not in now, name not in then, name)):
        yield from _pairs("package", (name, then.get(name, ABSENT), now.get(name, ABSENT)))


def _listed(one: Environment) -> bool:
    """Whether the list is whole: records of an older version, and shortened ones, have none."""
    return bool(one.python) and len(one.installed) == one.packages


def _variables(old: Environment, new: Environment) -> Iterator[InputDifference]:
    """Where the record knows no variable at all, it may be of a version that wrote none down."""
    if not old.variables or not new.variables:
        return
    for name in sorted({*old.variables, *new.variables}):
        yield from _pairs("variable", (name, old.variables.get(name, "not set"), new.variables.get(name, "not set")))


def named(found: Sequence[InputDifference]) -> list[str]:
    """The inputs that matter, many packages as their number."""
    packages = [one.input for one in found if one.kind == "package"]
    others = [one.input for one in found if one.matters and one.kind != "package"]
    few = packages if len(packages) <= NAMED // 2 else [f"{len(packages)} packages"]
    return [*others[:1], *few, *others[1:]] if "Python" in others else [*few, *others]


def _lock(one: Environment) -> str:
    return f"{one.lock_file} {one.lock_digest}" if one.lock_digest else ""


def _gpus(machine: Hardware) -> str:
    """A machine that nobody described has no processor either."""
    return ", ".join(gpu.name for gpu in machine.gpus) or ("none" if machine.cpu else "")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size else ""


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
