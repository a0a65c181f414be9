#!/usr/bin/env bash
# Compiles one hash-pinned, index-free lock file a set. `scripts/lock.sh --upgrade` takes newer versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

compile() { # output, further arguments
  local output=$1
  shift
  .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --no-emit-index-url --no-emit-find-links "$@" --output-file "requirements/$output.txt"
}

compile core pyproject.toml "$@"
for set_name in plan train drift image sandbox; do
  compile "$set_name" --extra "$set_name" pyproject.toml "$@"
done
compile dev --extra train --extra drift --extra sandbox pyproject.toml requirements/dev.in "$@"
