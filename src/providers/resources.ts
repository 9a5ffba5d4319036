/** The parameter `resources`: what a job's machine must have at least, how long it may run, how often it is tried. */
import type { Resources } from "../core/workflow.ts";
import type { Context } from "./provider.ts";
import { bytes, duration, formatDuration } from "./quantity.ts";
import {
  boolean,
  byShape,
  defined,
  fields,
  integer,
  mapped,
  oneOf,
  optional,
  type Reader,
  scalar,
} from "./read.ts";
import { findEntry, type MapValue, type Value } from "./value.ts";

const DISK_BYTES = 100e9;
/** The largest gp3 volume that every region has. */
const DISK_BYTES_MAX = 16 * 2 ** 40;
const MAX_DURATION_MS = 24 * 60 * 60_000;
/** Each try is paid for. */
const TRIES_MAX = 10;
const RETRY = { lost: 2, failed: 0 };

const any = Number.MAX_SAFE_INTEGER;
const tries = integer({ min: 0, max: TRIES_MAX });

type Gpu = NonNullable<Resources["gpu"]>;
/** `gpu: 0` reads as a count of 0 and ends as no GPU. */
type GpuRequest = Partial<Gpu> & { readonly count: number };

const WANTED_GPU = {
  what: "a whole number of GPUs, or a map of count, name and memory",
  hint: "write gpu: 1, or gpu: {count: 1, name: A10G}",
};

const gpuName = scalar<string>(
  { type: "string", pattern: "^[A-Za-z0-9][A-Za-z0-9 -]*$" },
  { what: 'the name of a GPU, as in "A10G"' },
  ({ value }) =>
    typeof value === "string" && /^[A-Za-z0-9][A-Za-z0-9 -]{0,40}$/.test(value) ? value : undefined,
);

const gpuCount = integer({ min: 0, max: any });

const gpu: Reader<GpuRequest> = byShape<GpuRequest>(
  {
    scalar: mapped(
      scalar(gpuCount.schema, WANTED_GPU, ({ value }) =>
        Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : undefined,
      ),
      (count) => ({ count }),
    ),
    map: mapped(
      fields(
        { count: optional(gpuCount), name: optional(gpuName), memory: optional(bytes) },
        WANTED_GPU,
      ),
      ({ count, name, memory }) => ({
        count: count ?? 1,
        ...defined({ name, memoryBytes: memory }),
      }),
    ),
  },
  WANTED_GPU,
);

const WANTED_RETRY = {
  what: `a number of further tries, at most ${TRIES_MAX}, or a map of lost and failed`,
  hint: "write retry: 2, or retry: {lost: 2, failed: 1}",
};

const retry: Reader<Resources["retry"]> = byShape<Resources["retry"]>(
  {
    scalar: mapped(tries, (lost) => ({ ...RETRY, lost })),
    map: mapped(
      fields({ lost: optional(tries), failed: optional(tries) }, WANTED_RETRY),
      ({ lost, failed }) => ({ lost: lost ?? RETRY.lost, failed: failed ?? RETRY.failed }),
    ),
  },
  WANTED_RETRY,
);

const instanceType = scalar<string>(
  { type: "string", pattern: "^[a-z0-9-]+\\.[a-z0-9-]+$" },
  { what: 'an EC2 instance type, as in "g5.xlarge"' },
  ({ value }) =>
    typeof value === "string" && /^[a-z0-9-]{1,40}\.[a-z0-9-]{1,40}$/.test(value)
      ? value
      : undefined,
);

const image = scalar<string>(
  { type: "string", pattern: "^ami-([0-9a-f]{8}|[0-9a-f]{17})$" },
  { what: 'the id of a machine image, as in "ami-0123456789abcdef0"' },
  ({ value }) =>
    typeof value === "string" && /^ami-([0-9a-f]{8}|[0-9a-f]{17})$/.test(value) ? value : undefined,
);

const disk: Reader<number> = {
  schema: bytes.schema,
  read: (value, report) => {
    const read = bytes.read(value, report);
    if (read === undefined || read <= DISK_BYTES_MAX) return read;
    return report(value.place, "is larger than any volume", "ask for 16TiB or less");
  },
};

const price = scalar<number>(
  { type: "number", exclusiveMinimum: 0 },
  { what: "a price in US dollars an hour, above 0", hint: "write a plain number, as in 1.50" },
  ({ value }) =>
    typeof value === "number" && Number.isFinite(value) && value > 0 ? value : undefined,
);

const parts = fields(
  {
    cpu: optional(integer({ min: 1, max: any })),
    memory: optional(bytes),
    gpu: optional(gpu),
    disk: optional(disk),
    max_duration: optional(duration),
    burstable: optional(boolean),
    instance_type: optional(instanceType),
    image: optional(image),
    arch: optional(oneOf(["x86_64", "arm64"])),
    max_price: optional(price),
    retry: optional(retry),
  },
  { what: "a map of cpu, memory, gpu and the like", hint: "write cpu: 2 below resources:" },
);

export const resourcesSchema = parts.schema;

export type ResourceDefaults = { readonly burstable: boolean };

/** `value` is undefined where the workflow names no resources. The operator's longest duration bounds default and wish. */
export function readResources(
  value: Value | undefined,
  defaults: ResourceDefaults,
  context: Context,
): Resources | undefined {
  const none: MapValue = { type: "map", entries: [], place: context.place };
  const read = parts.read(value ?? none, context.report);
  if (!read || (value && isTooLong(read.max_duration, value, context))) return undefined;
  const wished = read.gpu?.count === 0 ? undefined : read.gpu;
  return {
    ...defined({
      cpu: read.cpu,
      memoryBytes: read.memory,
      gpu: wished,
      instanceType: read.instance_type,
      image: read.image,
      maxHourlyUsd: read.max_price,
    }),
    diskBytes: read.disk ?? DISK_BYTES,
    maxDurationMs: read.max_duration ?? Math.min(MAX_DURATION_MS, context.limits.maxDurationMs),
    burstable: read.burstable ?? defaults.burstable,
    arch: read.arch ?? "x86_64",
    retry: read.retry ?? RETRY,
  };
}

function isTooLong(askedMs: number | undefined, value: Value, context: Context): boolean {
  const { maxDurationMs } = context.limits;
  if (askedMs === undefined || askedMs <= maxDurationMs) return false;
  const entry = value.type === "map" ? findEntry(value, "max_duration") : undefined;
  context.report(
    entry?.value.place ?? value.place,
    `${formatDuration(askedMs)} is longer than this installation allows`,
    `ask for ${formatDuration(maxDurationMs)} or less, or have the operator raise maxDurationMs`,
  );
  return true;
}
