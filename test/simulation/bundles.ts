/** Bundles to drop. Zips without compression: inflating takes real time, and then no two runs would be the same. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipFolder } from "../support/archives.ts";

type Shape = Readonly<
  Record<
    string,
    { readonly needs?: readonly string[]; readonly cpu?: number; readonly failed?: number }
  >
>;

const SHAPES: readonly Shape[] = [
  { fetch: {} },
  { fetch: {}, train: { needs: ["fetch"], cpu: 4, failed: 1 } },
  {
    fetch: { failed: 1 },
    train: { needs: ["fetch"] },
    score: { needs: ["fetch"], cpu: 3 },
    report: { needs: ["train", "score"] },
  },
  { a: {}, b: {}, c: {}, d: { cpu: 4 }, e: { failed: 1 } },
  { fetch: {}, train: { needs: ["fetch"] }, score: { needs: ["train"] }, plot: {} },
];

function workflowsOf(shape: Shape): string {
  const lines = Object.entries(shape).flatMap(([name, { needs = [], cpu = 2, failed = 0 }]) => [
    `  - name: ${name}`,
    "    provider: curl",
    "    url: https://example.com/data",
    `    output: out-${name}/data`,
    `    artifacts: [out-${name}]`,
    ...(needs.length > 0 ? [`    depends-on: [${needs.join(", ")}]`] : []),
    `    resources: {cpu: ${cpu}, max_duration: 30m, retry: {lost: 2, failed: ${failed}}}`,
  ]);
  return ["workflows:", ...lines, ""].join("\n");
}

function zipOf(workflows: string): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "errand-bundle-"));
  try {
    mkdirSync(join(folder, ".dstack"));
    writeFileSync(join(folder, ".dstack", "workflows.yaml"), workflows);
    return zipFolder(folder, "ZIP_STORED");
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const BUNDLES: readonly Uint8Array[] = SHAPES.map((shape) => zipOf(workflowsOf(shape)));

/** Drops that become failed runs. */
export const BROKEN_BUNDLES: readonly Uint8Array[] = [
  zipOf("workflows: [{name: fetch}]"),
  new TextEncoder().encode("no archive at all"),
  new Uint8Array(),
];
