#!/usr/bin/env bash
# Fetches one commit (or all history) from the sandbox and checks it out.
set -euo pipefail

fail() {
  echo "::error::$1"
  exit 1
}

folder=$(realpath -m "$GITHUB_WORKSPACE/$TARGET")
case "$folder/" in "$(realpath "$GITHUB_WORKSPACE")"/*) ;; *) fail "Repository path is not under the workspace: $TARGET" ;; esac
case "$REF" in -*) fail "not a ref: $REF" ;; esac

# A privileged event must not bring a stranger's code into the job.
case "$GITHUB_EVENT_NAME" in
  pull_request_target | workflow_run)
    if [ -n "$HEAD_REPOSITORY" ] && [ "$HEAD_REPOSITORY" != "$GITHUB_REPOSITORY" ]; then
      case "$REF" in
        refs/pull/* | pull/* | "${HEAD_SHA:-none}" | "${MERGE_SHA:-none}") fail "refusing to check out a fork's code on $GITHUB_EVENT_NAME" ;;
      esac
      [ "$REPOSITORY" != "$HEAD_REPOSITORY" ] || fail "refusing to check out a fork's code on $GITHUB_EVENT_NAME"
    fi
    ;;
esac

mkdir -p "$folder"
cd "$folder"
git init --quiet --initial-branch=sandbox-checkout .
git remote remove origin 2>/dev/null || true
git remote add origin "$GITHUB_SERVER_URL/$REPOSITORY"
header="AUTHORIZATION: basic $(printf 'x-access-token:%s' "$TOKEN" | base64 -w0)"
export GIT_TERMINAL_PROMPT=0
if [ -n "$TOKEN" ]; then
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="http.$GITHUB_SERVER_URL/.extraheader" GIT_CONFIG_VALUE_0="$header"
fi

has() { git ls-remote --exit-code --quiet origin "$1" >/dev/null; }

# What to fetch, and the branch to stand on.
branch=''
wanted=$REF
if [ -z "$REF" ] && [ "$REPOSITORY" = "$GITHUB_REPOSITORY" ]; then
  wanted=$GITHUB_SHA
  case "$GITHUB_REF" in refs/heads/*) branch=${GITHUB_REF#refs/heads/} ;; esac
elif [ -z "$REF" ]; then
  wanted=$(git ls-remote --symref origin HEAD | sed -n 's/^ref: \(.*\)\tHEAD$/\1/p')
elif ! [[ $REF =~ ^[0-9a-f]{40}$ || $REF == refs/* ]]; then
  if has "refs/heads/$REF"; then
    wanted=refs/heads/$REF
  elif has "refs/tags/$REF"; then
    wanted=refs/tags/$REF
  else
    fail "A branch or tag with the name '$REF' could not be found"
  fi
fi
case "$wanted" in refs/heads/*) branch=${wanted#refs/heads/} ;; esac

options=(--quiet --no-recurse-submodules)
if [ "$TAGS" = true ]; then options+=(--tags); else options+=(--no-tags); fi
if [ "$DEPTH" = 0 ]; then
  git fetch "${options[@]}" origin '+refs/heads/*:refs/remotes/origin/*' '+refs/tags/*:refs/tags/*'
else
  options+=("--depth=$DEPTH")
fi
git fetch "${options[@]}" origin "$wanted"
commit=$(git rev-parse 'FETCH_HEAD^{commit}')
if [ -n "$SPARSE" ]; then
  mode=--cone
  [ "$CONE" = true ] || mode=--no-cone
  printf '%s\n' "$SPARSE" | git sparse-checkout set "$mode" --stdin
fi
if [ -n "$branch" ]; then
  git update-ref "refs/remotes/origin/$branch" "$commit"
  git checkout --quiet --force -B "$branch" "$commit"
else
  git checkout --quiet --force --detach "$commit"
fi
if [ "$CLEAN" = true ]; then git clean -ffdxq; fi
if [ "$PERSIST" = true ] && [ -n "$TOKEN" ]; then git config "http.$GITHUB_SERVER_URL/.extraheader" "$header"; fi
echo "checked out $commit of $REPOSITORY"
printf 'commit=%s\nref=%s\n' "$commit" "${REF:-${branch:-$commit}}" >>"$GITHUB_OUTPUT"
