#!/usr/bin/env bash
# What takes longer than `npm test` may. Each part installs what it needs by itself, and says what it
# skipped and why. Ends with `N passed, N failed, N skipped`.
set -uo pipefail
cd "$(dirname "$0")/.."
results=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$results"' EXIT
status=0

# Planted bugs: the simulation must catch each of them.
node dist/scripts/mutants.js 2>&1 | tee "$results/mutants.txt" || status=1

# Storms, a death at every call of every story, and the race of retention: in what the others leave of the processors, which is a lot,
# since real processes wait more than they work.
idle=(nice -n 19)
if command -v chrt >/dev/null; then idle=(chrt --idle 0); fi
SEEDS="${SEEDS:-20000}" "${idle[@]}" node dist/scripts/storms.js >"$results/simulation.txt" 2>&1 &
storms=$!

# For sandboxes of every kind, which the next step makes.
if [ "$(uname)" = Linux ] && ! command -v bwrap >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    (apt-get update && apt-get install -y --no-install-recommends bubblewrap) >"$results/apt.log" 2>&1 ||
      echo "sandboxes: bubblewrap cannot be installed: $(tail -n 1 "$results/apt.log")"
  else
    echo "sandboxes: bubblewrap is not installed, and only root of a system with apt-get could"
  fi
fi

# Beside the rest, and one after the other: the Debian that boots, which the tools' tests want; the runner under each Python that
# machines may have; the runner with what is large: 5 GiB, 10,000 files, a log of 2 GB, a minute without network.
(
  bash scripts/debian.sh boot >"$results/debian.txt" 2>&1
  bash scripts/pythons.sh >"$results/pythons.txt" 2>&1
  pythons=$?
  python3 -W ignore -m unittest discover -s src/runner -p 'heavy_*.py' >"$results/heavy.txt" 2>&1 && exit "$pythons"
) &
runner=$!

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
wait "$runner" || status=1
cat "$results/debian.txt" "$results/pythons.txt" "$results/heavy.txt"
node_modules/.bin/vitest run --project tools \
  --reporter=default --reporter=json --outputFile.json="$results/tools.json" || status=1

wait "$storms" || status=1
cat "$results/simulation.txt"

node dist/scripts/tally.js "$results/simulation.txt" "$results/mutants.txt" "$results/more.json" \
  "$results/logs.json" "$results/pythons.txt" "$results/heavy.txt" "$results/tools.json" "$results/hostile.json" || status=1
exit "$status"
