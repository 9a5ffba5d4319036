import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { crc32c, crc64nvme } from "../../../src/local/crc.ts";
import { makeHasher } from "../../../src/local/s3-checksums.ts";

const digits = Buffer.from("123456789");

describe("checksums", () => {
  it("have the check values of the catalogue of CRC algorithms", () => {
    expect(crc32c(digits)).toBe(0xe3069283);
    expect(crc64nvme(digits)).toEqual({ high: 0xae8b1486, low: 0x0a799888 });
  });

  it("of pieces one after the other are those of the whole", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, cut) => {
        const [head, tail] = [bytes.subarray(0, cut), bytes.subarray(cut)];
        expect(crc32c(tail, crc32c(head))).toBe(crc32c(bytes));
        expect(crc64nvme(tail, crc64nvme(head))).toEqual(crc64nvme(bytes));
      }),
    );
  });

  it.each([
    ["CRC32", "y/Q5Jg=="],
    ["CRC32C", "4waSgw=="],
    ["CRC64NVME", "rosUhgp5mIg="],
    ["SHA1", "98O8HYCOBHMq32eZZczDTKeuNEE="],
    ["SHA256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="],
  ] as const)("of %s are written as S3 writes them", (algorithm, value) => {
    const hasher = makeHasher(algorithm);
    hasher.update(digits.subarray(0, 4));
    hasher.update(digits.subarray(4));
    expect(hasher.digest()).toBe(value);
  });
});
