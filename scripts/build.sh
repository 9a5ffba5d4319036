#!/usr/bin/env bash
# Compiles TypeScript into dist/ and copies what is not TypeScript beside it, so that a module finds
# its files by the same relative path in src/ and in dist/src/.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf dist
node_modules/.bin/tsc -p tsconfig.json
node -e '
const { cpSync } = require("node:fs");
const isAsset = (path) => /\.(py|sh|csv|html|css)$/.test(path) && !/(^|\/)test_[^/]*$/.test(path);
const isFolder = (path) => require("node:fs").statSync(path).isDirectory() && !path.endsWith("__pycache__");
cpSync("src", "dist/src", { recursive: true, filter: (path) => isFolder(path) || isAsset(path) });
'
chmod +x dist/src/cli/main.js 2>/dev/null || true
