/** Tars byte by byte, for those that no tool makes. */
import { gzipSync } from "node:zlib";

export type TarEntry = {
  readonly name: string | Uint8Array;
  readonly body?: Uint8Array | string;
  /** What the header says of the body's size; its length where nothing else is said. */
  readonly size?: number;
  /** `0` a file, `1` a hard link, `2` a link, `3` and `4` devices, `5` a folder, `6` a pipe, `x` `g` pax, `L` `K` long names of GNU. */
  readonly type?: string;
  readonly linkname?: string | Uint8Array;
  readonly mode?: number;
};

const BLOCK = 512;

/** The header of an entry, its sum right. */
export function tarHeader(entry: TarEntry): Buffer {
  const { name, body = "", type = "0", linkname = "", mode = 0o644 } = entry;
  const header = Buffer.alloc(BLOCK);
  const put = (text: string | Uint8Array, offset: number, length: number) =>
    Buffer.from(text as string).copy(header, offset, 0, length);
  put(name, 0, 100);
  put(octal(mode, 7), 100, 8);
  put(octal(0, 7), 108, 8);
  put(octal(0, 7), 116, 8);
  putSize(header, entry.size ?? Buffer.byteLength(body));
  put(octal(0, 11), 136, 12);
  put(type, 156, 1);
  put(linkname, 157, 100);
  put("ustar\0", 257, 6);
  put("00", 263, 2);
  return withSum(header);
}

/** The same header with the sum that belongs to it. */
export function withSum(header: Buffer): Buffer {
  header.fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)}\0 `, 148, "latin1");
  return header;
}

const octal = (value: number, digits: number): string => value.toString(8).padStart(digits, "0");

/** Octal digits, or where they do not reach, the base-256 of GNU. */
function putSize(header: Buffer, size: number): void {
  if (size < 8 ** 11) {
    header.write(octal(size, 11), 124, "latin1");
    return;
  }
  header[124] = 0x80;
  header.writeBigUInt64BE(BigInt(size), 128);
}

export const tarEntry = (entry: TarEntry): Buffer => {
  const body = Buffer.from((entry.body ?? "") as string);
  const padding = Buffer.alloc((BLOCK - (body.length % BLOCK)) % BLOCK);
  return Buffer.concat([tarHeader(entry), body, padding]);
};

export const TAR_END = Buffer.alloc(2 * BLOCK);

export const makeTar = (entries: readonly TarEntry[]): Buffer =>
  Buffer.concat([...entries.map(tarEntry), TAR_END]);

export const makeTgz = (entries: readonly TarEntry[]): Buffer => gzipSync(makeTar(entries));
