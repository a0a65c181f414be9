"""What interrupted uploads leave at a release."""

from __future__ import annotations

from trackside.forge.client import Client
from trackside.forge.operations import Applied, DiscardRemnant


def discard_remnant(client: Client, operation: DiscardRemnant) -> Applied:
    """Look at the asset once more, then delete it."""
    raw = client.find(f"/releases/assets/{operation.asset_id}")
    left = raw is not None and raw["state"] != "uploaded"
    if left:
        client.delete(f"/releases/assets/{operation.asset_id}")
    return Applied(operation=operation, outcome="updated" if left else "unchanged", id=operation.asset_id)
