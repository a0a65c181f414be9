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
for set_name in plan train drift image verify sandbox; do
  compile "$set_name" --extra "$set_name" pyproject.toml "$@"
done
# What DVC needs for a kind of remote, beside the sets train and drift: of the same versions, without what both hold.
mapfile -t held < <(grep -oE '^[A-Za-z0-9._-]+==' requirements/plan.txt | tr -d '=' | sort -u | sed 's/^/--no-emit-package=/')
for remote in s3 gs azure ssh; do
  compile "remote-$remote" --extra "$remote" pyproject.toml -c requirements/train.txt -c requirements/drift.txt \
    "${held[@]}" "$@"
done
compile dev --extra train --extra drift --extra image --extra verify --extra sandbox pyproject.toml requirements/dev.in "$@"
