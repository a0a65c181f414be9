"""CycloneDX of what an image holds: Python packages by their metadata, Debian packages as dpkg knows them."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Sequence
from datetime import datetime

DPKG = ("dpkg-query", "--show", "--showformat", "${Package}\t${Version}\t${Architecture}\n")
"""Asks an image for its Debian packages."""

_LIST = "import importlib.metadata as m\nfor d in m.distributions(): print(d.metadata['Name'], d.version, sep='\\t')"
PYTHON = ("python3", "-c", _LIST)
"""Asks an environment for its Python packages."""


def python_packages(listing: str) -> list[tuple[str, str]]:
    """Name and version of each distribution from what `PYTHON` printed, sorted."""
    rows = {tuple(line.split("\t")) for line in listing.splitlines()}
    return sorted((row[0].lower().replace("_", "-"), row[1]) for row in rows if len(row) == 2 and row[0])


def debian_packages(listing: str) -> list[tuple[str, str, str]]:
    """Package, version and architecture from what `DPKG` printed."""
    rows = [tuple(line.split("\t")) for line in listing.splitlines()]
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3 and row[1]]


def bom(
    *,
    model: str,
    version: str,
    container: bool,
    inputs_digest: str,
    made_at: datetime,
    python: Sequence[tuple[str, str]],
    debian: Sequence[tuple[str, str, str]],
) -> bytes:
    """CycloneDX 1.6 JSON. `trackside:os-packages` says how many were found, or that none could be looked for."""
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    kind = ComponentType.CONTAINER if container else ComponentType.APPLICATION
    made = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, inputs_digest))
    made.metadata.timestamp = made_at
    root = Component(name=model, version=version, type=kind, bom_ref=f"{model}@{version}")
    root.properties.add(Property(name="trackside:python-packages", value=str(len(python))))
    root.properties.add(Property(name="trackside:os-packages", value=str(len(debian)) if debian else "not scanned"))
    made.metadata.component = root
    purls = [PackageURL("pypi", None, name, found) for name, found in python]
    purls += [PackageURL("deb", "debian", name, found, {"arch": arch}) for name, found, arch in debian]
    parts = [
        Component(
            name=str(purl.name), version=str(purl.version), type=ComponentType.LIBRARY, purl=purl, bom_ref=str(purl)
        )
        for purl in purls
    ]
    made.components.update(parts)
    made.register_dependency(root, parts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather know who depends on whom, which wheels do not say reliably
        return (JsonV1Dot6(made).output_as_string(indent=2) + "\n").encode()
