"""Attestations that GitHub keeps: signed statements on files, found by the digest of a file."""

from __future__ import annotations

import json
from dataclasses import dataclass

from trackside.forge.client import Client, segment

MOST = 100
"""Attestations of one digest that are read, newest first."""


@dataclass(frozen=True, kw_only=True)
class FoundAttestation:
    """A Sigstore bundle as JSON text; empty where GitHub gives only an address of it. Nothing of it is verified."""

    bundle: str
    url: str = ""


class AttestationReads:
    """Attestations of the repository."""

    client: Client

    def attestations(self, digest: str) -> tuple[FoundAttestation, ...]:
        """Those that name a digest (`sha256:<64 hex>`), newest first; at most `MOST`. One call."""
        raw = self.client.find(f"/attestations/{segment(digest)}", per_page=MOST)
        found = raw.get("attestations") or [] if isinstance(raw, dict) else []
        return tuple(
            FoundAttestation(
                bundle=json.dumps(one["bundle"]) if one.get("bundle") else "", url=str(one.get("bundle_url") or "")
            )
            for one in found
        )
