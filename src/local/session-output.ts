/**
 * What the agent does to a command's output before it sends it: it decodes rune by rune, so that U+FFFD (three bytes) leaves as the one byte EF,
 * and a character that is not whole yet waits for the rest, and is lost when none comes. Messages carry at most 1024 bytes, whole runes.
 */

export type OutputCutter = { cut(bytes: Buffer): readonly Buffer[] };

const MESSAGE_BYTES = 1024;
const REPLACEMENT = Buffer.from("\uFFFD");

export function createOutputCutter(): OutputCutter {
  let carried: Buffer = Buffer.alloc(0);
  return {
    cut: (bytes) => {
      const all = carried.length > 0 ? Buffer.concat([carried, bytes]) : bytes;
      const whole = all.length - unfinishedBytes(all);
      carried = Buffer.from(all.subarray(whole));
      return slice(rewrite(all.subarray(0, whole)));
    },
  };
}

/** How many bytes at the end begin a character that is not whole. */
function unfinishedBytes(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    return lengthOf(byte) > back ? back : 0;
  }
  return 0;
}

/** Of a character, by its first byte; 1 for bytes that begin none. */
function lengthOf(lead: number): number {
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  if (lead >= 0xe0 && lead < 0xf0) return 3;
  return lead >= 0xc2 && lead < 0xe0 ? 2 : 1;
}

function rewrite(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  let start = 0;
  for (let at = bytes.indexOf(REPLACEMENT); at >= 0; at = bytes.indexOf(REPLACEMENT, start)) {
    parts.push(bytes.subarray(start, at + 1));
    start = at + REPLACEMENT.length;
  }
  return start === 0 ? bytes : Buffer.concat([...parts, bytes.subarray(start)]);
}

function slice(bytes: Buffer): readonly Buffer[] {
  const parts: Buffer[] = [];
  for (let start = 0; start < bytes.length; ) {
    let end = Math.min(bytes.length, start + MESSAGE_BYTES);
    const isCut = end < bytes.length;
    for (let back = 0; isCut && back < 3 && ((bytes[end] ?? 0) & 0xc0) === 0x80; back++) end--;
    parts.push(bytes.subarray(start, end));
    start = end;
  }
  return parts;
}
