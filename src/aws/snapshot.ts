/**
 * The snapshot: instance types and the regions that offer them, as `npm run catalog` read them and as
 * they are shipped. Two CSV files made for diffs: one row a type, and one row for sizes of a family that
 * the same regions offer. Lines that begin with `#` say where the figures come from.
 */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { InstanceType } from "../core/offers.ts";

export type Snapshot = {
  readonly types: readonly InstanceType[];
  /** Names of types by region. */
  readonly offerings: ReadonlyMap<string, ReadonlySet<string>>;
};

export const SNAPSHOT_FILES = {
  types: new URL("./snapshot/instance-types.csv", import.meta.url),
  offerings: new URL("./snapshot/offerings.csv", import.meta.url),
} as const;

export async function readSnapshot(): Promise<Snapshot> {
  const [types, offerings] = await Promise.all([
    readFile(SNAPSHOT_FILES.types, "utf8"),
    readFile(SNAPSHOT_FILES.offerings, "utf8"),
  ]);
  return { types: parseInstanceTypes(types), offerings: parseOfferings(offerings) };
}

const TYPE_COLUMNS =
  "instance_type,vcpus,memory_mib,arch,traits,gpus,gpu_name,gpu_manufacturer,gpu_memory_mib";

export function formatInstanceTypes(types: readonly InstanceType[], source: string): string {
  const rows = types.map(({ name, vcpus, memoryMib, arch, gpu, ...type }) => {
    const traits = TRAITS.filter(([, property]) => type[property]).map(([trait]) => trait);
    const gpuCells = gpu
      ? [gpu.count, gpu.name, gpu.manufacturer, gpu.memoryMib]
      : ["", "", "", ""];
    return formatRow([name, vcpus, memoryMib, arch, traits.join(" "), ...gpuCells]);
  });
  return formatTable(source, TYPE_COLUMNS, rows);
}

const TRAITS = [
  ["nitro", "isNitro"],
  ["metal", "isBareMetal"],
  ["burstable", "isBurstable"],
  ["accelerator", "hasOtherAccelerator"],
] as const;

export function parseInstanceTypes(text: string): readonly InstanceType[] {
  return parseTable(text, TYPE_COLUMNS).map((cells) => {
    const [name = "", vcpus, memoryMib, arch, traits = "", gpus, gpuName = "", maker = "", gpuMib] =
      cells;
    const words = traits.split(" ");
    const gpu = { name: gpuName, manufacturer: maker };
    return {
      name,
      vcpus: count(vcpus),
      memoryMib: count(memoryMib),
      arch: archSchema.parse(arch),
      isNitro: words.includes("nitro"),
      isBareMetal: words.includes("metal"),
      isBurstable: words.includes("burstable"),
      hasOtherAccelerator: words.includes("accelerator"),
      ...(gpus && { gpu: { ...gpu, count: count(gpus), memoryMib: count(gpuMib) } }),
    };
  });
}

const archSchema = z.enum(["x86_64", "arm64", "other"]);

function count(cell: string | undefined): number {
  if (!cell || !/^\d+$/.test(cell)) throw new Error(`reading the snapshot: "${cell}" is no count`);
  return Number(cell);
}

const OFFERING_COLUMNS = "family,sizes,regions";

export function formatOfferings(offerings: Snapshot["offerings"], source: string): string {
  const sizes = new Map<string, string[]>();
  for (const name of [...new Set([...offerings.values()].flatMap((names) => [...names]))].sort()) {
    const [family = "", size = ""] = name.split(".");
    const regions = [...offerings.keys()].filter((region) => offerings.get(region)?.has(name));
    const group = `${family},${regions.sort().join(" ")}`;
    sizes.set(group, [...(sizes.get(group) ?? []), size]);
  }
  const rows = [...sizes].map(([group, names]) => {
    const [family = "", regions = ""] = group.split(",");
    return formatRow([family, names.join(" "), regions]);
  });
  return formatTable(source, OFFERING_COLUMNS, rows);
}

export function parseOfferings(text: string): Snapshot["offerings"] {
  const offerings = new Map<string, Set<string>>();
  for (const [family, sizes = "", regions = ""] of parseTable(text, OFFERING_COLUMNS)) {
    for (const region of regions.split(" ")) {
      const names = offerings.get(region) ?? new Set();
      for (const size of sizes.split(" ")) names.add(`${family}.${size}`);
      offerings.set(region, names);
    }
  }
  return offerings;
}

function formatTable(source: string, columns: string, rows: readonly string[]): string {
  const comments = source.split("\n").map((line) => `# ${line}`);
  return `${[...comments, columns, ...rows].join("\n")}\n`;
}

/** No cell of EC2's holds a comma or a quote; one that did would be read back wrong, so it is refused here. */
function formatRow(cells: readonly (string | number)[]): string {
  const odd = cells.find((cell) => /[",\n]/.test(String(cell)));
  if (odd !== undefined)
    throw new Error(`writing the snapshot: "${odd}" cannot stand in a CSV cell`);
  return cells.join(",");
}

function parseTable(text: string, columns: string): readonly string[][] {
  const [head, ...rows] = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  if (head !== columns) {
    throw new Error(`reading the snapshot: its columns are "${head}", not "${columns}"`);
  }
  return rows.map((row) => row.split(","));
}
