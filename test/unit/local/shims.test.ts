import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { resolveShims } from "../../../src/local/shims.ts";

let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "errand-shims-"));
  await mkdir(join(root, "shims"));
  for (const name of ["3.9.18", "3.12.1", "3.10.13", "miniforge3"]) {
    await mkdir(join(root, "versions", name, "bin"), { recursive: true });
  }
});

afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

/** A shim as pyenv's, in the place of Python: it answers with the folder of the version that is switched on. */
async function writeShim(text: string): Promise<void> {
  await writeFile(join(root, "shims/python3"), `#!/bin/sh\n${text}\n`);
  await chmod(join(root, "shims/python3"), 0o755);
}

const bin = (version: string): string => join(root, "versions", version, "bin");
const path = (): string => `/opt/tools:${join(root, "shims")}:/usr/bin`;

describe("the PATH of machines", () => {
  it("has the Python that a shim starts before it, then pyenv's others, the newest first", async () => {
    await writeShim(`echo ${bin("3.10.13")}`);
    expect((await resolveShims({ PATH: path() })).split(":")).toEqual([
      "/opt/tools",
      ...[bin("3.10.13"), bin("3.12.1"), bin("3.9.18")],
      join(root, "shims"),
      "/usr/bin",
    ]);
  });

  it("has only that of a version manager whose folders are laid out otherwise", async () => {
    await writeShim("echo /somewhere/installs/python/3.12/bin");
    const wanted = `/opt/tools:/somewhere/installs/python/3.12/bin:${join(root, "shims")}:/usr/bin`;
    expect(await resolveShims({ PATH: path() })).toBe(wanted);
  });

  it("stays as it is where no version is switched on, where no shim is Python's, and without shims", async () => {
    expect(await resolveShims({ PATH: path() })).toBe(path());
    await writeShim("echo 'pyenv: python3: command not found' >&2; exit 127");
    expect(await resolveShims({ PATH: path() })).toBe(path());
    expect(await resolveShims({ PATH: "/usr/local/bin:/usr/bin" })).toBe("/usr/local/bin:/usr/bin");
  });
});
