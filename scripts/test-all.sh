#!/usr/bin/env bash
# What takes longer than `npm test` may. Each part installs what it needs by itself, and says what it
# skipped and why. Ends with `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.."
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
status=0

# Storms, a death at every call of every story, and the race of retention.
node dist/scripts/storms.js 2>&1 | tee "$results/simulation.txt" || status=1

# Planted bugs: the simulation must catch each of them.
node dist/scripts/mutants.js 2>&1 | tee "$results/mutants.txt" || status=1

# The local cloud, killed more often.
TORTURE_ROUNDS="${TORTURE_ROUNDS:-20}" node_modules/.bin/vitest run test/integration/local-torture.test.ts \
  --reporter=default --reporter=json --outputFile.json="$results/torture.json" || status=1

# More texts, and other ones each time: environment, words, paths and addresses on their way to a process.
export FC_SEED="${FC_SEED:-$RANDOM}"
echo "quoting: FC_SEED=$FC_SEED"
QUOTING_RUNS="${QUOTING_RUNS:-10}" node_modules/.bin/vitest run test/e2e/quoting.test.ts \
  --reporter=default --reporter=json --outputFile.json="$results/quoting.json" || status=1

# And more cases of every property.
PROPERTY_TIMES="${PROPERTY_TIMES:-10}" node_modules/.bin/vitest run --project unit --testTimeout=300000 \
  any-bundle workflow/schema brute-force interpolate words session/message \
  --reporter=default --reporter=json --outputFile.json="$results/properties.json" || status=1
unset FC_SEED

# Programs that we did not write: the aws command against the local cloud, our suites and an installation on moto, cfn-lint.
node_modules/.bin/vitest run --project tools \
  --reporter=default --reporter=json --outputFile.json="$results/tools.json" || status=1

# The runner with what is large: 5 GiB, 10,000 files, a log of 2 GB, a minute without network.
python3 -W ignore -m unittest discover -s src/runner -p 'heavy_*.py' 2>&1 | tee "$results/heavy.txt" || status=1

node dist/scripts/tally.js "$results/simulation.txt" "$results/mutants.txt" "$results/torture.json" \
  "$results/quoting.json" "$results/properties.json" "$results/heavy.txt" "$results/tools.json" || status=1
exit "$status"
