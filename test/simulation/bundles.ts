/** Bundles to drop. Zips without compression: inflating takes real time, and then no two runs would be the same. */
import { crc32 } from "node:zlib";

type Shape = Readonly<
  Record<
    string,
    {
      readonly needs?: readonly string[];
      readonly cpu?: number;
      readonly memory?: string;
      readonly failed?: number;
    }
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
  { fetch: {}, embed: { memory: "100GB" }, index: { memory: "100GB" } },
];

function workflowsOf(shape: Shape): string {
  const lines = Object.entries(shape).flatMap(([name, { needs = [], ...asked }]) => [
    `  - name: ${name}`,
    "    provider: curl",
    "    url: https://example.com/data",
    `    output: out-${name}/data`,
    `    artifacts: [out-${name}]`,
    ...(needs.length > 0 ? [`    depends-on: [${needs.join(", ")}]`] : []),
    `    resources: ${resourcesOf(asked)}`,
  ]);
  return ["workflows:", ...lines, ""].join("\n");
}

function resourcesOf({ cpu = 2, memory, failed = 0 }: Shape[string]): string {
  const size = memory === undefined ? `cpu: ${cpu}` : `cpu: ${cpu}, memory: ${memory}`;
  return `{${size}, max_duration: 30m, retry: {lost: 2, failed: ${failed}}}`;
}

/** A zip of this one file, stored as it is: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT */
function zipOf(workflows: string): Uint8Array {
  const name = Buffer.from(".dstack/workflows.yaml");
  const body = Buffer.from(workflows);
  const common = Buffer.alloc(26);
  common.writeUInt16LE(20, 0);
  common.writeUInt32LE(crc32(body), 10);
  common.writeUInt32LE(body.length, 14);
  common.writeUInt32LE(body.length, 18);
  common.writeUInt16LE(name.length, 22);
  const local = Buffer.concat([Buffer.from("PK\x03\x04"), common, name, body]);
  const central = Buffer.concat([
    Buffer.from("PK\x01\x02"),
    Buffer.from([20, 0]),
    common,
    Buffer.alloc(14),
    name,
  ]);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06");
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(local.length, 16);
  return Buffer.concat([local, central, end]);
}

export const BUNDLES: readonly Uint8Array[] = SHAPES.map((shape) => zipOf(workflowsOf(shape)));

/** Drops that become failed runs. */
export const BROKEN_BUNDLES: readonly Uint8Array[] = [
  zipOf("workflows: [{name: fetch}]"),
  new TextEncoder().encode("no archive at all"),
  new Uint8Array(),
];
