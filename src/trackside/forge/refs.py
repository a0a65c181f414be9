"""Refs as memory that several writers share: created once, moved only forward from what the writer saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trackside.errors import Conflict, ForgeError
from trackside.forge.client import Client, Unsure, segments
from trackside.forge.commit import LOST
from trackside.system.text import valid


class RefWrites:
    """Compare-and-swap on refs below `refs/`, full names without that (`trackside/locks/delay/prod`)."""

    client: Client

    def ref(self, name: str) -> str | None:
        """The SHA that a ref holds; None where there is none."""
        raw = self.client.find(f"/git/ref/{segments(name)}")
        # A server may answer a prefix with the list of what is below it.
        return str(raw["object"]["sha"]) if isinstance(raw, dict) and raw["ref"] == f"refs/{name}" else None

    def make_commit(self, tree: str, parents: Sequence[str], message: str) -> str:
        """A commit that no ref names yet; its SHA."""
        body = {"message": valid(message), "tree": tree, "parents": list(parents)}
        return str(self.client.post("/git/commits", body, repeatable=True)["sha"])

    def create_ref(self, name: str, sha: str) -> bool:
        """Whether this writer created the ref. Raises ForgeError for anything but a lost race."""
        return self._won(name, sha, lambda: self.client.post("/git/refs", {"ref": f"refs/{name}", "sha": sha}))

    def advance_ref(self, name: str, sha: str) -> bool:
        """Whether this writer moved the ref to `sha`, a child of what it held: of two children one gets there."""
        path = f"/git/refs/{segments(name)}"
        body = {"sha": sha, "force": False}
        return self._won(name, sha, lambda: self.client.patch(path, body, repeatable=False))

    def _won(self, name: str, sha: str, send: Callable[[], object]) -> bool:
        try:
            send()
        except (Unsure, Conflict):  # the answer was lost: what the ref holds now tells
            return self.ref(name) == sha
        except ForgeError as error:
            if any(words in error.why.lower() for words in LOST):
                return False
            raise
        return True
