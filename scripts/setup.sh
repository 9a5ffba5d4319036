#!/usr/bin/env bash
# What `npm run demo` and `npm test` need first: the packages and a build. Does nothing when both are current.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "errand: installing packages" >&2
  npm ci --include=dev --no-audit --no-fund --loglevel=error >&2
  touch node_modules/.package-lock.json
fi

if [ ! -e dist/.built ] || [ -n "$(find src scripts tsconfig.json package-lock.json -newer dist/.built -type f -print -quit)" ]; then
  echo "errand: building" >&2
  bash scripts/build.sh
  touch dist/.built
fi
