#!/usr/bin/env bash
# Packs a release: `errand-VERSION.tar.gz` in DIR (default: the working directory) with everything but Node, so that a host
# needs no package registry. Unpacked anywhere, its scripts/install.sh installs it.
set -euo pipefail
target=$(cd "${1:-.}" && pwd)
cd "$(dirname "$0")/.."
bash scripts/setup.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=$(node -p 'require("./package.json").version')
release="$work/errand-$version"
mkdir "$release"
# What package.json says belongs to the package, and no more.
npm pack --silent --pack-destination "$work" > /dev/null
tar -xzf "$work"/errand-*.tgz -C "$release" --strip-components=1
rm "$work"/errand-*.tgz
cp package-lock.json .npmrc "$release"
(cd "$release" && npm ci --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
touch "$release/.release"
# Bytes that depend on the content alone.
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -czf "$target/errand-$version.tar.gz" -C "$work" "errand-$version"
echo "$target/errand-$version.tar.gz"
