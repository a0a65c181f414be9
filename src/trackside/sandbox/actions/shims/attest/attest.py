"""Makes an in-toto statement and has the sandbox sign it, which knows what job the token belongs to."""

import glob
import hashlib
import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

MOST = 1024
_HEX = re.compile(r"[0-9a-f]{64}")


def fail(text: str) -> None:
    print(f"::error::{text}")
    sys.exit(1)


def one(name: str, digest: str) -> dict[str, Any]:
    if not _HEX.fullmatch(digest):
        fail(f"Invalid digest: {digest}")
    return {"name": name, "digest": {"sha256": digest}}


def subjects(env: "os._Environ[str]", workspace: Path) -> list[dict[str, Any]]:
    """The subjects of the one input that is given."""
    given = [name for name in ("SUBJECT_PATH", "SUBJECT_DIGEST", "SUBJECT_CHECKSUMS") if env[name]]
    if len(given) != 1:
        fail("One of subject-path, subject-digest, or subject-checksums must be provided")
    if env["SUBJECT_DIGEST"]:
        if not env["SUBJECT_NAME"]:
            fail("subject-name must be provided when using subject-digest")
        return [one(env["SUBJECT_NAME"], env["SUBJECT_DIGEST"].removeprefix("sha256:"))]
    made = []
    if env["SUBJECT_CHECKSUMS"]:
        for line in (workspace / env["SUBJECT_CHECKSUMS"]).read_text(encoding="utf-8").splitlines():
            digest, space, name = line.partition(" ")
            if space:
                made.append(one(name[1:] if name[:1] in (" ", "*") else name, digest))
        return made
    for pattern in filter(None, env["SUBJECT_PATH"].splitlines()):
        for found in sorted(glob.glob(str(workspace / pattern.strip()), recursive=True)):  # noqa: PTH207
            path = Path(found)
            if path.is_file():
                made.append(one(path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
    return made


def main(env: "os._Environ[str]") -> None:
    workspace = Path(env["GITHUB_WORKSPACE"])
    named = subjects(env, workspace)
    if not 1 <= len(named) <= MOST:
        fail(f"{len(named)} subjects: at least 1, at most {MOST}")
    if not env["PREDICATE_TYPE"] or bool(env["PREDICATE"]) == bool(env["PREDICATE_PATH"]):
        fail("predicate-type, and one of predicate-path or predicate must be provided")
    path = workspace / env["PREDICATE_PATH"]
    if env["PREDICATE_PATH"] and not path.is_file():
        fail(f"predicate file not found: {env['PREDICATE_PATH']}")
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": named,
        "predicateType": env["PREDICATE_TYPE"],
        "predicate": json.loads(env["PREDICATE"] or path.read_text(encoding="utf-8")),
    }
    request = urllib.request.Request(  # noqa: S310
        f"{env['GITHUB_SERVER_URL']}/_sandbox/attest",
        data=json.dumps(statement).encode(),
        headers={"Authorization": f"Bearer {env['TOKEN']}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            made = json.load(answer)
    except urllib.error.HTTPError as error:
        fail(f"{error.code}: {error.read().decode(errors='replace')[:500]}")
        raise
    bundle = Path(env["RUNNER_TEMP"]) / f"attestation-{made['id']}.json"
    bundle.write_text(json.dumps(made["bundle"]) + "\n", encoding="utf-8")
    print(f"Attestation {made['id']} of {len(named)} subjects, signed by the sandbox as {made['signer']}")
    with Path(env["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as output:
        output.write(f"attestation-id={made['id']}\nbundle-path={bundle}\n")


main(os.environ)
