/** uv as an operator may bring it: whatever it is wrapped in, it is the pinned executable or it is refused. */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { fetchUv } from "../../../src/cli/fetch-uv.ts";
import { UV, uvPinSchema } from "../../../src/core/uv.ts";
import { makeTarGz, makeZip } from "../../support/archives.ts";
import { makeDirectory } from "../../support/directory.ts";

const EXECUTABLE = "#!/bin/sh\necho a uv\n";
const sha256 = createHash("sha256").update(EXECUTABLE).digest("hex");
/** A port where nobody listens. */
const url = "http://127.0.0.1:1/uv.tar.gz";
const pin = { version: "0.0.1", targets: { "linux-x86_64": { sha256, url } } };

async function fileOf(name: string, bytes: Uint8Array): Promise<string> {
  const file = path.join(await makeDirectory(), name);
  await writeFile(file, bytes);
  return file;
}

const tarOf = (name: string, text: string) => makeTarGz({ "uv-x/uvx": "another", [name]: text });
const wheelOf = (text: string) =>
  makeZip({ "uv-0.0.1.data/scripts/uvx": "another", "uv-0.0.1.data/scripts/uv": text });

const fetchFrom = (file: string | undefined, target = "linux-x86_64") =>
  fetchUv({ pin, target, file, note: () => {} });

describe("uv out of a file", () => {
  it("is found in a wheel, in a release's archive, and as it is", async () => {
    const files = [
      await fileOf("uv.whl", wheelOf(EXECUTABLE)),
      await fileOf("uv.tar.gz", await tarOf("uv-x86_64-unknown-linux-gnu/uv", EXECUTABLE)),
      await fileOf("uv", Buffer.from(EXECUTABLE)),
    ];
    for (const file of files) expect(`${await fetchFrom(file)}`).toBe(EXECUTABLE);
  });

  it("that is another is refused with both sums", async () => {
    const evil = Buffer.from("another");
    for (const bytes of [wheelOf("another"), await tarOf("uv", "another"), evil]) {
      const refused = expect(fetchFrom(await fileOf("uv", bytes))).rejects;
      await refused.toMatchObject({
        message: expect.stringContaining("is not uv 0.0.1 for linux"),
      });
    }
    await expect(fetchFrom(await fileOf("uv", evil))).rejects.toMatchObject({
      hint: expect.stringContaining(sha256),
    });
  });

  it("that holds none, is broken, or is not there is the user's error", async () => {
    const none = await fileOf("x.tgz", await tarOf("readme", EXECUTABLE));
    await expect(fetchFrom(none)).rejects.toThrow("there is no uv in this archive");
    const broken = await fileOf("x.tgz", (await tarOf("uv", EXECUTABLE)).subarray(0, 40));
    await expect(fetchFrom(broken)).rejects.toThrow(/^unpacking |no uv in this archive/);
    await expect(fetchFrom("/nowhere/uv")).rejects.toThrow("reading /nowhere/uv");
  });
});

it("a system that uv is not pinned for is named with those that it is pinned for", async () => {
  await expect(fetchFrom(undefined, "plan9-mips")).rejects.toMatchObject({
    message: "uv 0.0.1 is not pinned for plan9-mips",
    hint: "There are linux-x86_64.",
  });
});

it("the pin names an executable for every machine that Errand rents, and for those it is developed on", () => {
  expect(uvPinSchema.parse(UV)).toEqual(UV);
  expect(Object.keys(UV.targets).sort()).toEqual([
    "darwin-arm64",
    "darwin-x86_64",
    "linux-aarch64",
    "linux-x86_64",
  ]);
  for (const target of Object.values(UV.targets)) {
    expect(target.sha256).toMatch(/^[0-9a-f]{64}$/);
    expect(target.url).toContain(`/${UV.version}/`);
  }
});
