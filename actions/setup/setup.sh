#!/usr/bin/env bash
# Makes, or finds again, the environment of one requirement set and prints its Python. `default` takes the set of the
# stage that the event, or the second word, asks for. TRACKSIDE_EXTRAS adds what DVC needs for a remote (s3, gs, …).
# Keyed by the digest of the lock file and the Python version; built aside and renamed, so a killed install is never used.
set -euo pipefail

set_name=${1:?usage: setup.sh core|plan|train|drift|image|verify|default [STAGE]}
case "$set_name" in core | plan | train | drift | image | verify | default) ;; *)
  echo "::error title=trackside::unknown requirement set '$set_name'; use core, plan, train, drift, image or verify" >&2
  exit 2
  ;;
esac
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd / # the workspace may hold files of a pull request: nothing is imported or configured from there

python=''
for candidate in "${TRACKSIDE_BASE_PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
  if [ -n "$candidate" ] && "$candidate" -I -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "::error title=trackside::no Python 3.11 or newer with venv on this runner; add actions/setup-python before this step" >&2
  exit 2
fi

stage='' mode=''
if [ "$set_name" = default ]; then
  chosen=$("$python" -I "$root/src/trackside/default.py" "${GITHUB_EVENT_NAME:-}" "${GITHUB_EVENT_PATH:-}" "${2:-}")
  read -r stage mode set_name <<<"$chosen"
fi

locks=("$root/requirements/$set_name.txt")
name=$set_name
if [ "$set_name" = train ] || [ "$set_name" = drift ]; then # the sets that talk to the data remote
  for extra in ${TRACKSIDE_EXTRAS:-}; do
    case "$extra" in s3 | gs | azure | ssh) ;; *)
      echo "::error title=trackside::TRACKSIDE_EXTRAS names '$extra'; use s3, gs, azure or ssh" >&2
      exit 2
      ;;
    esac
    locks+=("$root/requirements/remote-$extra.txt")
    name=$name-$extra
  done
fi

version=$("$python" -I -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])')
digest=$(cat "${locks[@]}" | sha256sum | cut -c1-16)
cache=${RUNNER_TOOL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/trackside
home=$cache/$name-$version-$digest
if [ ! -x "$home/bin/python" ]; then
  mkdir -p "$cache"
  aside=$(mktemp -d "$cache/.new-XXXXXX")
  trap 'rm -rf "$aside"' EXIT
  echo "installing the $name set ($(cat "${locks[@]}" | grep '==' | sort -u | wc -l) packages)" >&2
  requirements=()
  for lock in "${locks[@]}"; do requirements+=(-r "$lock"); done
  if command -v uv >/dev/null; then
    uv venv --quiet --python "$("$python" -I -c 'import sys; print(sys.executable)')" "$aside/env" >&2
    uv pip install --quiet --python "$aside/env/bin/python" --require-hashes "${requirements[@]}" >&2
  else
    "$python" -I -m venv "$aside/env" >&2
    # Like uv, without bytecode: a job imports a part of it, and Python keeps what it compiles.
    "$aside/env/bin/python" -I -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes "${requirements[@]}" >&2
  fi
  # Two jobs may finish at once: the second rename fails and the first environment serves both.
  mv -T "$aside/env" "$home" 2>/dev/null || [ -x "$home/bin/python" ]
fi

if [ -n "${GITHUB_OUTPUT:-}" ]; then
  printf 'python=%s\nsource=%s\n' "$home/bin/python" "$root/src" >>"$GITHUB_OUTPUT"
  if [ -n "$stage" ]; then
    printf 'stage=%s\nmode=%s\n' "$stage" "${mode#-}" >>"$GITHUB_OUTPUT"
  fi
fi
printf '%s\n' "$home/bin/python"
