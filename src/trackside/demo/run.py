"""`trackside demo`: the story from beginning to end, its summary, and its pages as plain files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from trackside.demo.story import Story
from trackside.demo.world import REPO, World
from trackside.errors import TracksideError


def run_demo(
    out: Path, env: Mapping[str, str], say: Callable[[str], None], *, cache: Path, serve: bool = False, port: int = 0
) -> int:
    """The whole demo; exit code 0 only if every step's evidence was verified."""
    from trackside.sandbox.web import export, routes
    from trackside.sandbox.web.assets import ensure_mermaid

    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    world = World(out, cache, env, port=port)
    bundle = ensure_mermaid(cache, world.env)
    world.sandbox.extra_routes += routes(world.sandbox, bundle)
    with world:
        story = Story(world, out, say)
        code = 0
        try:
            story.run()
        except TracksideError as error:
            say(error.render())
            code = error.exit_code
        (out / "summary.json").write_text(json.dumps(story.summary(time.monotonic() - started), indent=2) + "\n")
        export(world.sandbox, REPO, out / "site", bundle)
        say(f"{'done' if code == 0 else 'stopped'} after {time.monotonic() - started:.1f} s")
        say(f"summary: {out / 'summary.json'}\npages: {out / 'site/index.html'}")
        if serve:
            say(f"the sandbox stays up at {world.sandbox.url}/{REPO} until Ctrl-C")
            with suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)
    return code
