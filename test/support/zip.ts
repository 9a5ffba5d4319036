/** Zips byte by byte, for those that no tool makes. */
import { crc32, deflateRawSync } from "node:zlib";

export type ZipEntry = {
  readonly name: string | Uint8Array;
  readonly body?: Uint8Array | string;
  /** 0 stored, 8 deflated, or what nobody reads. */
  readonly method?: number;
  /** Of Unix, type and permissions. */
  readonly mode?: number;
  /** Bit 0 is encrypted, bit 11 UTF-8 names. */
  readonly flags?: number;
  /** What the directory says of the size unpacked; its length where nothing else is said. */
  readonly size?: number;
};

const UTF8 = 0x800;
const UNIX = 3 << 8;

export function makeZip(entries: readonly ZipEntry[]): Buffer {
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name as string);
    const body = Buffer.from((entry.body ?? "") as string);
    const { method = 8, mode = 0o100644, flags = UTF8, size = body.length } = entry;
    const data = method === 0 ? body : deflateRawSync(body, { level: 1 });
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(flags, 2);
    common.writeUInt16LE(method, 4);
    common.writeUInt32LE(crc32(body), 10);
    common.writeUInt32LE(data.length, 14);
    common.writeUInt32LE(size, 18);
    common.writeUInt16LE(name.length, 22);
    const file = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), common, name, data]);
    const more = Buffer.alloc(14);
    more.writeUInt16LE((mode & 0xffff) === mode ? mode : 0, 8);
    more.writeUInt32LE(offset, 10);
    const by = Buffer.alloc(2);
    by.writeUInt16LE(UNIX | 20, 0);
    const signature = Buffer.from("PK\x01\x02", "latin1");
    directory.push(Buffer.concat([signature, by, common, more, name]));
    files.push(file);
    offset += file.length;
  }
  const listed = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", 0, "latin1");
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(listed.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...files, listed, end]);
}
