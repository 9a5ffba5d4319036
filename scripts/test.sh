#!/usr/bin/env bash
# Everything that Node, bash and Python alone can test. Ends with `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.."
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
status=0

npm run --silent lint || status=1

python3 -m unittest discover -s src/runner -p 'test_*.py' 2>&1 | tee "$results/unittest.txt" || status=1

node_modules/.bin/vitest run --project '!tools' --reporter=default --reporter=json --outputFile.json="$results/vitest.json" || status=1

node dist/scripts/tally.js "$results/unittest.txt" "$results/vitest.json" || status=1
exit "$status"
