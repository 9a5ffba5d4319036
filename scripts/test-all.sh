#!/usr/bin/env bash
# What takes longer than `npm test` may. Each part installs what it needs by itself, and says what it
# skipped and why. Ends with `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.."
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
status=0

# Storms, a death at every call of every story, and the race of retention.
SEEDS="${SEEDS:-600}" node dist/scripts/storms.js 2>&1 | tee "$results/simulation.txt" || status=1

# Planted bugs: the simulation, or the fuzz, must catch each of them.
node dist/scripts/mutants.js 2>&1 | tee "$results/mutants.txt" || status=1

# For sandboxes of every kind, which the next step makes.
if [ "$(uname)" = Linux ] && ! command -v bwrap >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    (apt-get update && apt-get install -y --no-install-recommends bubblewrap) >"$results/apt.log" 2>&1 ||
      echo "sandboxes: bubblewrap cannot be installed: $(tail -n 1 "$results/apt.log")"
  else
    echo "sandboxes: bubblewrap is not installed, and only root of a system with apt-get could"
  fi
fi

# The local cloud, killed more often; its machines in every sandbox that there is; more texts on their way to a process, and more
# cases of every property, other ones each time.
export FC_SEED="${FC_SEED:-$RANDOM}"
echo "texts and properties: FC_SEED=$FC_SEED"
SANDBOXES=all TORTURE_ROUNDS="${TORTURE_ROUNDS:-10}" QUOTING_RUNS="${QUOTING_RUNS:-6}" PROPERTY_TIMES="${PROPERTY_TIMES:-10}" \
  node_modules/.bin/vitest run --testTimeout=300000 local-torture local-sandbox e2e/quoting \
  any-bundle workflow/schema brute-force interpolate words session/message \
  --reporter=default --reporter=json --outputFile.json="$results/more.json" || status=1
unset FC_SEED

# A log of a million lines, and one of 200,000 that is followed through lost frames, closed connections, a killed daemon and a terminated machine.
LOG_LINES="${LOG_LINES:-200000}" node_modules/.bin/vitest run --testTimeout=300000 e2e/live-logs \
  --reporter=default --reporter=json --outputFile.json="$results/logs.json" || status=1

# What anybody may drop, and real processes in a storm. FUZZ_CASES, STORM_KILLS and the like change it.
node_modules/.bin/vitest run --project hostile \
  --reporter=default --reporter=json --outputFile.json="$results/hostile.json" || status=1

# Programs that we did not write: the aws command against the local cloud, our suites and an installation on moto, cfn-lint.
node_modules/.bin/vitest run --project tools \
  --reporter=default --reporter=json --outputFile.json="$results/tools.json" || status=1

# The runner under each Python that machines may have.
bash scripts/pythons.sh 2>&1 | tee "$results/pythons.txt" || status=1

# The runner with what is large: 5 GiB, 10,000 files, a log of 2 GB, a minute without network.
python3 -W ignore -m unittest discover -s src/runner -p 'heavy_*.py' 2>&1 | tee "$results/heavy.txt" || status=1

node dist/scripts/tally.js "$results/simulation.txt" "$results/mutants.txt" "$results/more.json" \
  "$results/logs.json" "$results/pythons.txt" "$results/heavy.txt" "$results/tools.json" "$results/hostile.json" || status=1
exit "$status"
