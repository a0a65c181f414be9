#!/usr/bin/env bash
# Copies what the patterns name; the artifact appears whole or not at all.
set -euo pipefail
case "$NAME" in */* | '' | . | ..) echo "::error::bad artifact name" && exit 1 ;; esac
target=$SANDBOX_ARTIFACTS/$NAME
if [ -e "$target" ]; then echo "::error::an artifact named $NAME exists in this run" && exit 1; fi
mkdir -p "$SANDBOX_ARTIFACTS"
aside=$(mktemp -d "$SANDBOX_ARTIFACTS/.new-XXXXXX")
trap 'rm -rf "$aside"' EXIT
shopt -s nullglob globstar dotglob
count=0
cd "$GITHUB_WORKSPACE"
while IFS= read -r pattern; do
  [ -n "$pattern" ] || continue
  for path in $pattern; do
    if [ -d "$path" ]; then
      if [ -n "$(ls -A "$path")" ]; then cp -RP "$path"/. "$aside/" && count=$((count + 1)); fi
    elif [ -f "$path" ]; then
      cp -P "$path" "$aside/" && count=$((count + 1))
    fi
  done
done <<<"$PATHS"
if [ "$count" -eq 0 ]; then
  [ "$MISSING" = ignore ] || echo "::${MISSING/warn/warning}::no files were found at $PATHS"
  [ "$MISSING" != error ] || exit 1
  exit 0
fi
mv -T "$aside" "$target"
echo "artifact $NAME: $(find "$target" -type f | wc -l) files"
