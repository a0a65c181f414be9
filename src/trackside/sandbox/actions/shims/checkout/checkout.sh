#!/usr/bin/env bash
# Fetches one commit (or all history) from the sandbox and checks it out.
set -euo pipefail
ref=${REF:-$GITHUB_SHA}
target=$(realpath -m "$GITHUB_WORKSPACE/$TARGET")
case "$target/" in "$(realpath "$GITHUB_WORKSPACE")"/*) ;; *) echo "::error::path is outside the workspace" && exit 1 ;; esac
mkdir -p "$target"
cd "$target"
git init --quiet --initial-branch=sandbox-checkout .
url=$GITHUB_SERVER_URL/$REPOSITORY
git remote remove origin 2>/dev/null || true
git remote add origin "$url"
header="AUTHORIZATION: basic $(printf 'x-access-token:%s' "$TOKEN" | base64 -w0)"
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="http.$GITHUB_SERVER_URL/.extraheader" GIT_CONFIG_VALUE_0="$header" GIT_TERMINAL_PROMPT=0
options=(--quiet --no-recurse-submodules)
[ "$TAGS" = true ] && options+=(--tags) || options+=(--no-tags)
if [ "$DEPTH" = 0 ]; then
  git fetch "${options[@]}" origin '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'
else
  options+=("--depth=$DEPTH")
fi
git fetch "${options[@]}" origin "$ref"
if [ -n "$SPARSE" ]; then printf '%s\n' "$SPARSE" | git sparse-checkout set --stdin; fi
case "$ref" in
  refs/heads/*) git checkout --quiet --force -B "${ref#refs/heads/}" FETCH_HEAD ;;
  *) git checkout --quiet --force --detach FETCH_HEAD ;;
esac
git clean -ffdxq
if [ "$PERSIST" = true ]; then git config "http.$GITHUB_SERVER_URL/.extraheader" "$header"; fi
commit=$(git rev-parse HEAD)
echo "checked out $commit of $REPOSITORY"
echo "commit=$commit" >>"$GITHUB_OUTPUT"
