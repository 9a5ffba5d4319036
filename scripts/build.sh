#!/usr/bin/env bash
# Compiles TypeScript into dist/ and copies what is not TypeScript beside it, so that a module finds
# its files by the same relative path in src/ and in dist/src/.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf dist
node_modules/.bin/tsc -p tsconfig.json
(cd src && find . -type f \( -name '*.py' -o -name '*.sh' -o -name '*.csv' -o -name '*.html' -o -name '*.css' \) ! -name 'test_*' -print0 |
  while IFS= read -r -d '' file; do
    mkdir -p "../dist/src/$(dirname "$file")"
    cp "$file" "../dist/src/$file"
  done)
chmod +x dist/src/cli/main.js 2>/dev/null || true
