#!/usr/bin/env bash
# Everything that Node, bash and Python alone can test. Ends with `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.."
results=$(mktemp -d)
runner=
trap '[ -z "$runner" ] || kill "$runner" 2>/dev/null; rm -rf "$results"' EXIT
status=0

npm run --silent lint || status=1

# Beside the others: the runner's tests wait more than they work.
python3 -m unittest discover -s src/runner -p 'test_*.py' >"$results/unittest.txt" 2>&1 &
runner=$!
# By name: of several projects that are left out, vitest takes each for leave to run all others.
projects=(--project unit --project simulation --project conformance --project integration --project e2e)
node_modules/.bin/vitest run "${projects[@]}" --reporter=default --reporter=json --outputFile.json="$results/vitest.json" || status=1
wait "$runner" || status=1
cat "$results/unittest.txt"

node dist/scripts/tally.js "$results/unittest.txt" "$results/vitest.json" || status=1
exit "$status"
