#!/usr/bin/env bash
# Pins the shipped workflows, README and docs to a release. Usage: pin.sh SHA
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
sha=$(git rev-parse --verify "${1:?usage: pin.sh SHA}^{commit}")
git grep -lE 'trackside-ml/trackside[a-z/-]*@[0-9a-f]{40}' -- workflows README.md docs |
  xargs sed -i -E "s#(trackside-ml/trackside[a-z/-]*)@[0-9a-f]{40}#\1@$sha#"
echo "pinned to $sha"
