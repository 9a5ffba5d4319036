/** The checksums of S3 that Node's zlib does not have: CRC32C (Castagnoli) and CRC64NVME, both reflected. */

const CRC32C_POLYNOMIAL = 0x82f63b78;
/** 0x9a6c9329ac4bc9b5, from the NVM Express specification, in two halves. */
const CRC64_HIGH = 0x9a6c9329;
const CRC64_LOW = 0xac4bc9b5;

/** Of the table for byte k ahead, entry i is at k * 256 + i: eight bytes are folded at once. */
const SLICES = 8;
const TABLE_32C = makeTable32(CRC32C_POLYNOMIAL);
const TABLE_64 = makeTable64();

/** The checksum of `before`'s bytes followed by `bytes`; an unsigned number of 32 bits. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  let at = 0;
  const t = TABLE_32C;
  for (const end = bytes.length - (bytes.length % SLICES); at < end; at += SLICES) {
    crc ^= word(bytes, at);
    crc =
      entry(t, 7, crc) ^
      entry(t, 6, crc >>> 8) ^
      entry(t, 5, crc >>> 16) ^
      entry(t, 4, crc >>> 24) ^
      entry(t, 3, byte(bytes, at + 4)) ^
      entry(t, 2, byte(bytes, at + 5)) ^
      entry(t, 1, byte(bytes, at + 6)) ^
      entry(t, 0, byte(bytes, at + 7));
  }
  for (; at < bytes.length; at += 1) crc = (crc >>> 8) ^ entry(t, 0, crc ^ byte(bytes, at));
  return ~crc >>> 0;
}

export type Crc64 = { readonly high: number; readonly low: number };

/** As `crc32c`, in two unsigned halves of 32 bits. */
export function crc64nvme(bytes: Uint8Array, before: Crc64 = { high: 0, low: 0 }): Crc64 {
  let high = ~before.high;
  let low = ~before.low;
  let at = 0;
  const { high: h, low: l } = TABLE_64;
  for (const end = bytes.length - (bytes.length % SLICES); at < end; at += SLICES) {
    const a = low ^ word(bytes, at);
    const b = high ^ word(bytes, at + 4);
    high = fold(h, a, b);
    low = fold(l, a, b);
  }
  for (; at < bytes.length; at += 1) {
    const index = low ^ byte(bytes, at);
    low = ((low >>> 8) | (high << 24)) ^ entry(l, 0, index);
    high = (high >>> 8) ^ entry(h, 0, index);
  }
  return { high: ~high >>> 0, low: ~low >>> 0 };
}

const fold = (table: Uint32Array, a: number, b: number): number =>
  entry(table, 7, a) ^
  entry(table, 6, a >>> 8) ^
  entry(table, 5, a >>> 16) ^
  entry(table, 4, a >>> 24) ^
  entry(table, 3, b) ^
  entry(table, 2, b >>> 8) ^
  entry(table, 1, b >>> 16) ^
  entry(table, 0, b >>> 24);

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

function word(bytes: Uint8Array, at: number): number {
  return (
    byte(bytes, at) |
    (byte(bytes, at + 1) << 8) |
    (byte(bytes, at + 2) << 16) |
    (byte(bytes, at + 3) << 24)
  );
}

function entry(table: Uint32Array, slice: number, index: number): number {
  return table[slice * 256 + (index & 255)] ?? 0;
}

function makeTable32(polynomial: number): Uint32Array {
  const table = new Uint32Array(SLICES * 256);
  for (let index = 0; index < 256; index += 1) {
    let crc = index;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? polynomial : 0);
    table[index] = crc;
  }
  for (let at = 256; at < table.length; at += 1) {
    const crc = table[at - 256] ?? 0;
    table[at] = (crc >>> 8) ^ entry(table, 0, crc);
  }
  return table;
}

function makeTable64(): { readonly high: Uint32Array; readonly low: Uint32Array } {
  const high = new Uint32Array(SLICES * 256);
  const low = new Uint32Array(SLICES * 256);
  for (let index = 0; index < 256; index += 1) {
    let [h, l] = [0, index];
    for (let bit = 0; bit < 8; bit += 1) {
      const carry = l & 1;
      l = (l >>> 1) | (h << 31);
      h >>>= 1;
      if (carry) [h, l] = [h ^ CRC64_HIGH, l ^ CRC64_LOW];
    }
    high[index] = h;
    low[index] = l;
  }
  for (let at = 256; at < low.length; at += 1) {
    const [h, l] = [high[at - 256] ?? 0, low[at - 256] ?? 0];
    low[at] = ((l >>> 8) | (h << 24)) ^ entry(low, 0, l);
    high[at] = (h >>> 8) ^ entry(high, 0, l);
  }
  return { high, low };
}
