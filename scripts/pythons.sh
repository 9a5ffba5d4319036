#!/usr/bin/env bash
# Runs the runner's own tests under each Python that machines may have: those of pyenv, of uv and on PATH, and, as root on Linux, that
# of a Debian younger than any (scripts/debian.sh). Two lines for each: which it is, and `N passed, N failed, N skipped`; one that is
# not to be had is one skipped. Exits with 1 when a test has failed.
set -uo pipefail
cd "$(dirname "$0")/.."
versions="3.9 3.10 3.11 3.12 3.13 3.14"
at_once=3
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

is_version() { [ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$2" ]; }

# A name on PATH may be a shim for what is not there.
find_python() {
  local candidate
  for candidate in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1."*/bin/"python$1" \
    "$(command -v "python$1")" "$(UV_PYTHON_DOWNLOADS=never uv python find "$1" 2>/dev/null)"; do
    [ -x "$candidate" ] && is_version "$candidate" "$1" && echo "$candidate" && return
  done
  return 1
}

# The tests in that Debian, with nothing of this system but the source.
in_debian() {
  unshare --mount --propagation private bash -c '
    for each in proc dev sys; do mount --rbind "/$each" "$1/$each"; done
    mount -t tmpfs tmpfs "$1/tmp" && mkdir "$1/tmp/src" && mount --bind -o ro src "$1/tmp/src" || exit 1
    exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin HOME=/root PYTHONDONTWRITEBYTECODE=1 \
      python3 -W ignore -m unittest discover -s /tmp/src/runner -p "test_*.py"' - "$1"
}

run() {
  local python debian
  if python=$(find_python "$1"); then
    echo "$python" >"$results/$1.name"
    "$python" -W ignore -m unittest discover -s src/runner -p 'test_*.py' >"$results/$1.txt" 2>&1
  elif debian=$(bash scripts/debian.sh python 2>"$results/$1.why") && chroot "$debian" python3 --version | grep -q " $1\."; then
    echo "of $(basename "$debian")" >"$results/$1.name"
    in_debian "$debian" >"$results/$1.txt" 2>&1
  fi
}

for version in $versions; do
  while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n; done
  run "$version" &
done
wait

status=0
for version in $versions; do
  if [ ! -e "$results/$version.name" ]; then
    echo "Python $version: skipped: there is none here$(sed 's/^/; /' "$results/$version.why" 2>/dev/null | tail -n 1)"
    echo "0 passed, 0 failed, 1 skipped"
    continue
  fi
  echo "Python $version: $(cat "$results/$version.name")"
  env -u ERRAND_TALLY node dist/scripts/tally.js "$results/$version.txt" || {
    status=1
    grep -A 30 -E '^(FAIL|ERROR):' "$results/$version.txt" | head -n 200
  }
done
exit "$status"
