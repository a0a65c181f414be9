"""Optional publisher: hands a comment's body to an installed `cml`, which finds its own comment by a title."""

from __future__ import annotations

from pathlib import Path

from trackside.errors import ToolError
from trackside.forge.operations import Applied, UpsertComment
from trackside.system.process import Processes


def comment(operation: UpsertComment, processes: Processes, *, folder: Path) -> Applied:
    """Create or update the comment. Uploading to CML's image host is turned off: a report holds no images.

    Whatever stops it becomes a `failed` outcome, so that the check is written all the same.
    """
    file = folder / f"comment-{operation.issue}.md"
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(operation.body, encoding="utf-8")
    title = operation.marker.removeprefix("<!-- ").removesuffix(" -->")
    argv = ["cml", "comment", "update", f"--target=pr/{operation.issue}", "--publish=false"]
    argv += ["--driver=github", f"--watermark-title={title}", str(file)]
    try:
        done = processes.run(argv, timeout=120)
    except ToolError as error:
        return Applied(
            operation=operation,
            outcome="failed",
            error=f"{error.render()}\n{error.log[-500:]}",
            reason_code=error.reason_code,
        )
    url = next((line for line in reversed(done.text.splitlines()) if line.startswith("https://")), "")
    return Applied(operation=operation, outcome="updated", url=url)
