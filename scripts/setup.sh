#!/usr/bin/env bash
# What `npm run demo` and `npm test` need first: the packages and a build. Does nothing when both are current.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  echo "errand: installing packages" >&2
  npm ci --include=dev --no-audit --no-fund --loglevel=error >&2
  touch node_modules/.package-lock.json
fi

# With node, because that is what a machine has for certain.
is_stale='
const { readdirSync, statSync } = require("node:fs");
const built = statSync("dist/.built", { throwIfNoEntry: false })?.mtimeMs ?? 0;
const isNewer = (path) => {
  const status = statSync(path);
  if (!status.isDirectory()) return status.mtimeMs > built;
  return readdirSync(path).some((name) => isNewer(`${path}/${name}`));
};
process.exit(["src", "scripts", "test/simulation", "test/support", "tsconfig.json", "package-lock.json"].some(isNewer) ? 0 : 1);
'
if node -e "$is_stale"; then
  echo "errand: building" >&2
  bash scripts/build.sh
  touch dist/.built
fi
