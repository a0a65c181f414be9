"""A YAML file that deploys an image → the same file with the new digest: at most two lines change. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trackside.errors import ConfigError
from trackside.system import yaml_text
from trackside.system.yaml_text import Key

LINK = "deploy.md"
CODE = "deploy_invalid"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_PREFIX = re.compile(r"[ \t]*(?:-[ \t]+)*")


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is deployed: `repository` without tag (`ghcr.io/acme/delay`), `tag`, and `digest` as `sha256:<64 hex>`."""

    model: str
    repository: str
    tag: str
    digest: str

    @classmethod
    def of(cls, model: str, reference: str, version: str, digest: str) -> Target:
        """From an image's reference. Raises ConfigError where the digest is none."""
        if not _DIGEST.fullmatch(digest):
            raise ConfigError(f"{digest[:80]!r} is no digest of an image", link=LINK, reason_code=CODE)
        repository, tag, _ = split(reference)
        return cls(model=model, repository=repository, tag=tag or version, digest=digest)


def split(reference: str) -> tuple[str, str, str]:
    """`registry:5000/a/b:tag@sha256:…` as repository, tag and digest; what is not there is empty."""
    name, _, digest = reference.partition("@")
    folder, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    return folder + slash + last, tag, digest


def edit(text: str, target: Target, *, file: str, key: str = "") -> str:
    """The text that deploys the target; the same text where it does already.

    With a `key` its value is set: a digest, `tag@digest` where the key is a tag, or a whole reference, as stands there.
    Without one the file is a kustomization, whose `images:` has an entry for the image. A tag beside the digest
    follows it.

    Raises:
        ConfigError: the file does not name the image there, or cannot be changed line by line.
    """
    data = yaml_text.load(text, file=file)
    if key:
        return _keyed(text, data, target, file=file, key=key)
    return _kustomized(text, data, target, file=file)


# A dotted path


def _keyed(text: str, data: Any, target: Target, *, file: str, key: str) -> str:
    path = yaml_text.path_of(data, key)
    old = _at(data, path)
    if isinstance(old, dict | list) or (old is None and not _exists(data, path)):
        raise ConfigError(
            f"{key!r} is no value of {file}" if old is None else f"{key!r} of {file} is a group, not a value",
            remedy=f"models.{target.model}.image.deploy.key: image.digest",
            link=LINK,
            reason_code=CODE,
        )
    text = yaml_text.replace(text, path, _value(old, str(path[-1]), target), file=file)
    beside = (*path[:-1], "tag")
    if path[-1] == "digest" and isinstance(_at(data, beside), str) and _at(data, beside):
        text = yaml_text.replace(text, beside, target.tag, file=file)
    return text


def _value(old: Any, key: str, target: Target) -> str:
    """What to write: by what stands there, else by the name of the key."""
    there = str(old or "")
    if key.lower().endswith("digest") or _DIGEST.fullmatch(there):
        return target.digest
    if key.lower().endswith("tag"):
        return f"{target.tag}@{target.digest}"
    repository, tag, _ = split(there or f"{target.repository}:{target.tag}")
    return f"{repository}:{target.tag}@{target.digest}" if tag else f"{repository}@{target.digest}"


def _at(data: Any, path: Sequence[Key]) -> Any:
    for key in path:
        if isinstance(data, dict):
            data = data.get(key)
        else:
            data = data[key] if isinstance(data, list) and isinstance(key, int) and key < len(data) else None
    return data


def _exists(data: Any, path: Sequence[Key]) -> bool:
    parent = _at(data, path[:-1])
    return isinstance(parent, dict) and path[-1] in parent


# Kustomize


def _kustomized(text: str, data: Any, target: Target, *, file: str) -> str:
    images = data.get("images") if isinstance(data, dict) else None
    if not isinstance(images, list) or not all(isinstance(one, dict) for one in images):
        raise _unnamed(target, file, "it has no list `images:`")
    place = _entry(images, target, file)
    entry, at = images[place], ("images", place)
    if "digest" in entry:
        text = yaml_text.replace(text, (*at, "digest"), target.digest, file=file)
    else:
        after = next(name for name in ("newTag", "newName", "name") if name in entry)
        text = _inserted(text, (*at, after), "digest", target.digest, file=file)
    if isinstance(entry.get("newTag"), str) and entry["newTag"]:
        text = yaml_text.replace(text, (*at, "newTag"), target.tag, file=file)
    return text


def _entry(images: Sequence[Mapping[str, Any]], target: Target, file: str) -> int:
    """The one entry of the image: by its full name, else by its last part or the model's name."""
    names = [{str(one.get("name", "")), str(one.get("newName", ""))} for one in images]
    short = {posixpath.basename(target.repository), target.model}
    for fits in (
        [place for place, found in enumerate(names) if target.repository in found],
        [place for place, found in enumerate(names) if short & {posixpath.basename(one) for one in found}],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            raise _unnamed(target, file, f"{len(fits)} entries of `images:` do")
    raise _unnamed(target, file, "no entry of `images:` does")


def _unnamed(target: Target, file: str, why: str) -> ConfigError:
    return ConfigError(
        f"{file} does not name the image {target.repository}",
        why=why,
        remedy=f"images:\n  - name: {target.repository}\n    digest: {target.digest}",
        link=LINK,
        reason_code=CODE,
    )


def _inserted(text: str, beside: Sequence[Key], name: str, value: str, *, file: str) -> str:
    """A new key behind another one of the same mapping: on a line of its own, or inside the same braces."""
    before = yaml_text.load(text, file=file)
    expected = _with(before, beside, name, value)
    spot = yaml_text.spots(text, file=file).get(tuple(beside))
    if spot is not None and not spot.alias:
        start = text.rfind("\n", 0, spot.start) + 1
        end = text.find("\n", spot.end)
        end = len(text) if end < 0 else end
        newline = "\r\n" if text[:end].endswith("\r") or "\r\n" in text else "\n"
        lead = _PREFIX.match(text, start)
        indent = re.sub("[^\t]", " ", lead[0] if lead else "")
        line = text[:end].rstrip("\r") + f"{newline}{indent}{name}: {value}" + text[len(text[:end].rstrip("\r")) :]
        braces = f"{text[: spot.end]}, {name}: {value}{text[spot.end :]}"
        for made in (line, braces):
            try:
                if yaml_text.same(yaml_text.load(made, file=file), expected):
                    return made
            except ConfigError:
                continue
    where = yaml_text.dotted(beside[:-1])
    raise ConfigError(
        f"{file} cannot be given a digest at {where}", remedy=f"add `{name}: {value}` there by hand", link=LINK,
        reason_code=CODE,
    )  # fmt: skip


def _with(data: Any, beside: Sequence[Key], name: str, value: str) -> Any:
    """Plain data with a key added behind another one."""
    key, rest = beside[0], beside[1:]
    if rest:
        items = enumerate(data) if isinstance(data, list) else data.items()
        made = {at: _with(one, rest, name, value) if at == key else one for at, one in items}
        return list(made.values()) if isinstance(data, list) else made
    return {
        at: one
        for found, old in data.items()
        for at, one in ([(found, old), (name, value)] if found == key else [(found, old)])
    }
