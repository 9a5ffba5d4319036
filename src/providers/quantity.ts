/** Amounts with units: "32GB", "1h30m". */
import { type Reader, scalar } from "./read.ts";

const BYTES: Readonly<Record<string, number>> = {
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** Bytes, rounded up. "32GB" is decimal, "32GiB" binary; a number without a unit is refused. */
export const bytes: Reader<number> = scalar(
  { type: "string", pattern: "^[0-9]+(\\.[0-9]+)? ?([MGTmgt][Ii]?[Bb])$" },
  {
    what: 'an amount with its unit, as in "32GB"',
    hint: "units are MB, GB and TB (decimal), MiB, GiB and TiB (binary)",
  },
  ({ value }) => (typeof value === "string" ? parseBytes(value) : undefined),
);

function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,12}(?:\.\d{1,12})?) ?([a-z]+)$/i.exec(text);
  const unit = BYTES[match?.[2]?.toLowerCase() ?? ""];
  if (!match || !unit) return undefined;
  const amount = Math.ceil(Number(match[1]) * unit);
  return Number.isSafeInteger(amount) && amount > 0 ? amount : undefined;
}

const MS: Readonly<Record<string, number>> = {
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1_000,
};

/** Milliseconds. A number without a unit is seconds. */
export const duration: Reader<number> = scalar(
  { anyOf: [{ type: "number", exclusiveMinimum: 0 }, { type: "string" }] },
  {
    what: 'a length of time, as in "90m"',
    hint: "units are d, h, m and s, the largest first, as in 1h30m; a number alone is seconds",
  },
  ({ value }) => {
    const ms = typeof value === "number" ? Math.ceil(value * 1_000) : parseDuration(value);
    return ms !== undefined && Number.isSafeInteger(ms) && ms > 0 ? ms : undefined;
  },
);

/** Undefined for what is none. Digits alone are seconds. */
export function parseDuration(value: unknown): number | undefined {
  if (typeof value !== "string") return undefined;
  if (/^\d{1,12}$/.test(value)) return Number(value) * 1_000;
  const match = /^(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?$/.exec(value);
  if (!match || value === "") return undefined;
  return ["d", "h", "m", "s"].reduce(
    (sum, unit, index) => sum + Number(match[index + 1] ?? 0) * (MS[unit] ?? 0),
    0,
  );
}

/** "24h", "1h30m", "45s": as short as it can be said. */
export function formatDuration(ms: number): string {
  const parts = ["d", "h", "m", "s"].reduce<{ left: number; text: string }>(
    ({ left, text }, unit) => {
      const size = MS[unit] ?? 1;
      const isWhole = unit === "d" && left === size;
      const count = isWhole ? 0 : Math.floor(left / size);
      return { left: left - count * size, text: count > 0 ? `${text}${count}${unit}` : text };
    },
    { left: ms, text: "" },
  );
  return parts.text === "" ? "0s" : parts.text;
}
