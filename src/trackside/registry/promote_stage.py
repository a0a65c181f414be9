"""The stage promote: from the event and the environment of a job to a promotion, a rollback or a deprecation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.documents.release import Release
from trackside.documents.result import Result
from trackside.errors import ConfigError
from trackside.registry.promote import TASKS
from trackside.registry.promote_job import Dispatch, run_promotion
from trackside.registry.requirements import Attested

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.forge.github import GithubForge


def stage_promote(context: Context) -> Result:
    """`actions/promote`: what the dispatch of release.yml with task promote, rollback or deprecate asks for."""
    import msgspec

    from trackside.command.job import write_result
    from trackside.event.model import DispatchEvent
    from trackside.stages import event_of, forge_of, tell
    from trackside.system.clock import SystemClock

    forge = forge_of(context, "promote")
    event = event_of(context)
    if not isinstance(event, DispatchEvent) or event.inputs.get("task") not in TASKS:
        raise ConfigError(
            "actions/promote is for workflow_dispatch with task promote, rollback or deprecate", link="actions.md"
        )
    run, server = context.need("GITHUB_RUN_ID"), context.need("GITHUB_SERVER_URL")
    result, applied = run_promotion(
        Dispatch(
            inputs=event.inputs,
            actor=context.actor,
            run=run,
            url=f"{server}/{forge.repository}/actions/runs/{run}",
            now=SystemClock().now(),
        ),
        forge,
        attestations_of(forge, server, event.workflow, context.env.get("TRACKSIDE_TRUSTED_ROOT", "")),
    )
    tell(context, applied)
    context.say(result.message)
    result = msgspec.structs.replace(result, api_calls=forge.calls)
    write_result(result, Path(context.value("out", "promote")))
    return result


def attestations_of(
    forge: GithubForge, server: str, workflow: str = "", root: str = ""
) -> Callable[[Release, bytes], Attested | None]:
    """Looks attestations up at GitHub and verifies them: signed by the workflow file `workflow` of the default branch,
    believed by the trust root of the file `root`, else by Sigstore's public one.
    """

    def attested(release: Release, statement: bytes) -> Attested | None:
        from trackside.trust.signatures import Trust
        from trackside.trust.signatures import attested as look_up

        trust = Trust(root=Path(root)) if root else None
        file = workflow.rpartition("/")[2] or "release.yml"
        return look_up(
            forge,
            release,
            repository=forge.repository,
            server=server,
            workflow=file,
            trust=trust,
            statement=statement,
        )

    return attested
