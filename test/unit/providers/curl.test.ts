/** The provider curl: what it fetches, what it refuses, what it warns of. */
import { describe, expect, test } from "vitest";
import { curl } from "../../../src/providers/curl.ts";
import { compileWith } from "./read.ts";

const compile = (url: string, output = "data/x.csv", rest = "artifacts: [data]") =>
  compileWith(curl, `url: ${JSON.stringify(url)}\noutput: ${JSON.stringify(output)}\n${rest}\n`);

describe("curl", () => {
  test("becomes a job that may run on a burstable machine", () => {
    const { job, warned } = compile("https://example.com/x.csv");
    expect(warned).toEqual([]);
    expect(job).toEqual({
      part: "",
      task: { type: "curl", url: "https://example.com/x.csv", output: "data/x.csv" },
      environment: {},
      workingDir: ".",
      artifacts: ["data"],
      resources: {
        diskBytes: 100e9,
        maxDurationMs: 86_400_000,
        burstable: true,
        arch: "x86_64",
        retry: { lost: 2, failed: 0 },
      },
    });
  });

  test.each([
    "http://127.0.0.1:8080/a",
    "HTTPS://example.com",
    "ftp://user:secret@example.com/x",
    "https://example.com/a b?q=$(id)&x='y'\"z\"#f",
    "https://exämple.com/ü",
    "http://[::1]/x",
  ])("fetches %s as it is written", (url) => {
    expect(compile(url).job?.task).toMatchObject({ url });
  });

  test.each([
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "gopher://x",
    "data:text/plain,x",
    "scp://host/x",
    "example.com/x",
    "//example.com/x",
    "http:example.com",
    "http://",
    "http://exa mple.com",
    "https://example.com/\nx",
    " https://example.com",
    "https://example.com/\u007f",
    "-o /etc/passwd",
    "",
  ])("refuses %j", (url) => {
    const { job, told } = compile(url);
    expect(job).toBeUndefined();
    expect(told).toHaveLength(1);
  });

  test("takes a checksum that YAML reads as a number", () => {
    const digits = "1234567890".repeat(6).concat("1234");
    const { job } = compile("https://example.com", "x", `artifacts: [x]\nsha256: ${digits}`);
    expect(job?.task).toMatchObject({ sha256: digits });
    const upper = compile("https://example.com", "x", `artifacts: [x]\nsha256: ${"AB".repeat(32)}`);
    expect(upper.job?.task).toMatchObject({ sha256: "ab".repeat(32) });
  });

  test.each([
    ["data/x.csv", "[data]", true],
    ["data/x.csv", "[data/x.csv]", true],
    ["data/a/b/x.csv", "[other, data/a]", true],
    ["data/x.csv", '["data/*.csv"]', true],
    ["x.csv", '["*.csv"]', true],
    ["data/x.csv", "[dat]", false],
    ["data/x.csv", "[data/x]", false],
    ["data/x.csv", '["other/*"]', false],
    ["data/x.csv", "[]", false],
  ])("%s under artifacts %s: kept %s", (output, artifacts, isKept) => {
    const { warned } = compile("https://example.com", output, `artifacts: ${artifacts}`);
    const told = `${JSON.stringify(output)} lies under no artifact and will be gone with the machine`;
    expect(warned).toEqual(isKept ? [] : [told]);
  });
});
