"""The model card: README.md of a release, with the metadata block that Hugging Face's tools read.

Block: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

from __future__ import annotations

from typing import Any

import yaml

from trackside.registry.notes import Facts, lineage_table, metrics_table
from trackside.report.escape import clean_block, code, fence, inline, plain
from trackside.report.text import duration

LIMIT = 20_000
"""Characters of one free text."""


def card(facts: Facts) -> str:
    """Markdown with the metadata block on top."""
    release, run, said = facts.release, facts.run, facts.model.card
    parts = [
        f"---\n{yaml.safe_dump(metadata(facts), sort_keys=False, allow_unicode=True)}---",
        f"# {inline(release.model)} {release.version}",
        _words(said.description) or f"A model of {code(run.source.repository or facts.web_url)}.",
        metrics_table(facts.metrics, facts.before.version if facts.before else "", release.version),
        "### How it was made\n\n" + _made(facts),
        _titled("Data lineage", lineage_table(run.dependencies)),
        _titled("Intended use", _words(said.intended_use) or "Not stated."),
        _titled("Limitations", _words(said.limitations) or "Not stated."),
        _titled("How to load it", _load(facts)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def metadata(facts: Facts) -> dict[str, Any]:
    """The block: licence, tags and results, in the shape of Hugging Face's `model-index`."""
    said, run = facts.model.card, facts.run
    made: dict[str, Any] = {"license": plain(said.license)} if said.license else {}
    made["tags"] = [plain(one) for one in said.tags] or ["trackside"]
    results = [
        {
            "task": {"type": "other"},
            "dataset": {"type": plain(one.file), "name": plain(one.file)},
            "metrics": [{"type": plain(one.name), "name": plain(one.name), "value": one.value}],
        }
        for one in run.metrics
        if one.value is not None
    ]
    name = f"{facts.release.model}@v{facts.release.version}"
    made["model-index"] = [{"name": name, "results": results}]
    return made


def _made(facts: Facts) -> str:
    release, run = facts.release, facts.run
    gpus = ", ".join(dict.fromkeys(gpu.name for gpu in run.hardware.gpus))
    rows = [
        ("Code", f"[`{release.commit[:12]}`]({facts.web_url}/commit/{release.commit})"),
        ("Training run", f"`{inline(run.id)}`, {inline(run.started_at)}, {duration(run.usage.wall_seconds)}"),
        ("Inputs", f"{code(run.input_digest)}"),
        ("Model", f"{code(release.model_digest)}"),
        ("Machine", inline(", ".join(one for one in (run.hardware.cpu, gpus) if one)) or "not recorded"),
        ("Python", f"{inline(run.environment.python)}, {run.environment.packages} packages"),
        ("Seeds", inline(", ".join(f"{name}={seed}" for name, seed in sorted(run.seeds.items()))) or "none declared"),
    ]
    return "\n".join(f"- {name}: {text}" for name, text in rows)


def _load(facts: Facts) -> str:
    tag, path = facts.release.tag, facts.model.path
    fetch = (
        f"gh release download '{tag}' --repo {facts.run.source.repository or 'OWNER/NAME'}\n"
        f"# {path} as it was trained: {facts.release.model_digest}"
    )
    parts = [str(fence(fetch, "sh"))]
    if facts.model.card.how_to_load:
        parts.append(str(fence(facts.model.card.how_to_load, "python", limit=LIMIT)))
    return "\n\n".join(parts)


def _words(text: str) -> str:
    """Paragraphs of the policy, which the default branch's reviewers have read; still no markup that hides things."""
    kept = clean_block(text)[:LIMIT]
    return "\n\n".join(str(inline(part, LIMIT)) for part in kept.split("\n\n") if part.strip())


def _titled(title: str, text: str) -> str:
    return f"### {title}\n\n{text}" if text else ""
