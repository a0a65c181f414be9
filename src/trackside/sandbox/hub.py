"""The sandbox's GitHub as one object: pull requests, dispatches, releases, and seeding for demos and tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackside.sandbox import payloads
from trackside.sandbox.actions.workflow import parse, triggers
from trackside.sandbox.bus import HookEvent
from trackside.sandbox.core import ROLES, author
from trackside.sandbox.deployments import Deployments
from trackside.sandbox.git import ZERO
from trackside.sandbox.problem import Problem, not_found
from trackside.sandbox.state import Doc
from trackside.sandbox.views.core import BOT
from trackside.system.clock import SystemClock, rfc3339


class Hub(Deployments):
    """Everything that the REST side, the git side, the pages and the dispatcher call."""

    def dispatch(self, repo: str, workflow: str, ref: str, inputs: Mapping[str, str], actor: Doc) -> int:
        """Emit `workflow_dispatch`; returns the id that its run will have. Raises Problem 422 for an unknown ref."""
        bare = self.bare(repo)
        branch = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        names = (f"refs/heads/{branch}", f"refs/tags/{branch}")
        full, sha = next(((name, found) for name in names if (found := bare.sha(name))), ("", ""))
        if not sha:
            raise Problem(422, f"No ref found for: {ref}")
        run_id = self.state.next("id")
        given = dict(inputs)
        payload = payloads.workflow_dispatch(self, repo, workflow, full, given, author(actor))
        more: dict[str, Any] = {"workflow": workflow, "run_id": run_id, "inputs": given}
        self.emit(repo, "workflow_dispatch", payload, actor, ref=full, sha=sha, **more)
        return run_id

    def run_schedule(self, repo: str, workflow: str, cron: str = "") -> int:
        """Fire a workflow's cron line (its first one unless told), as GitHub does at its minute.

        Args:
            workflow: path of the file, or its name below `.github/workflows`.

        Returns:
            The id that the run will have.

        Raises:
            Problem: 404 without such a file on the default branch, 422 without such a line.
        """
        path = workflow if "/" in workflow else f".github/workflows/{workflow}"
        ref, sha = self.default_tip(repo)
        text = self.bare(repo).file(sha, path) if sha else None
        if text is None:
            raise not_found()
        try:
            lines = list(triggers(parse(text.decode("utf-8", "replace"))).get("schedule", {}).get("cron", []))
        except ValueError as error:
            raise Problem(422, str(error)) from None
        if not lines or (cron and cron not in lines):
            raise Problem(422, f"{path} has no such schedule")
        owner, run_id = repo.split("/")[0], self.state.next("id")
        payload = {**payloads.event(self, repo, owner), "schedule": cron or lines[0], "workflow": path}
        # Not through `emit`: schedules have no webhook that could be judged.
        self.bus.emit(
            HookEvent(repo=repo, name="schedule", action=None, payload=payload, ref=ref, sha=sha, sender=owner,
                      workflow=path, run_id=run_id)
        )  # fmt: skip
        return run_id

    # Seeding, for demo and tests

    def commit_folder(
        self,
        repo: str,
        branch: str,
        files: Mapping[str, bytes | None],
        message: str,
        actor: Doc,
        *,
        executable: frozenset[str] = frozenset(),
    ) -> str:
        """Commit files (None removes) on a branch, as a push by `actor`. New branches start at the default one."""
        with self.lock:
            bare = self.bare(repo)
            before = bare.sha(f"refs/heads/{branch}")
            parent = before or bare.sha(f"refs/heads/{self.repo(repo)['default_branch']}")
            entries: list[dict[str, str | None]] = [
                {
                    "path": path,
                    "mode": "100755" if path in executable else "100644",
                    "sha": bare.write_blob(data) if data is not None else None,
                }
                for path, data in files.items()
            ]
            tree = bare.write_tree(entries, bare.commit(parent).tree if parent else None)
            sha = bare.write_commit(tree, [parent] if parent else [], message, self.identity(author(actor)))
            bare.update_ref(f"refs/heads/{branch}", sha)
            self.pushed(repo, {f"refs/heads/{branch}": (before or ZERO, sha)}, actor)
            return sha


def now() -> str:
    """The machine's time as GitHub writes it."""
    return rfc3339(SystemClock().now())


def folder_files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path relative to it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


__all__ = ["BOT", "ROLES", "Hub", "Problem", "folder_files", "now"]
