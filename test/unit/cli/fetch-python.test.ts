/** What fetching a Python says when there is none. A script stands in for uv, which no test may download; test/tools has the real one. */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { fetchPython } from "../../../src/cli/fetch-python.ts";
import { makeDirectory } from "../../support/directory.ts";

const build = (version: string) => ({
  version,
  url: `https://builds.example/1/cpython-${version}.tgz`,
});
const ALL = ["3.15.0rc1", "3.14.2", "3.14.1", "3.13.9"].map(build);

/** Lists those of a version, and installs nothing. */
const UV = `#!/bin/sh
[ "$2" = list ] || { echo "error: Failed to install" >&2; echo "  cause: no network" >&2; exit 2; }
for name; do :; done
case $name in
  cpython-linux-*) echo '${JSON.stringify(ALL)}' ;;
  cpython-3.14-*) echo '${JSON.stringify([build("3.14.2")])}' ;;
  cpython-3.15-*) echo '${JSON.stringify([build("3.15.0rc1")])}' ;;
  *) echo '[]' ;;
esac
`;

const fetch = (version: string, from?: string) =>
  fetchPython({ uv: Buffer.from(UV), version, target: "linux-x86_64", from });

describe("a Python that cannot be had", () => {
  it("because there is none is told with those there are", async () => {
    await expect(fetch("3.99")).rejects.toMatchObject({
      message: "uv has no Python 3.99 for linux-x86_64",
      hint: "Ask for 3.14, 3.13.",
    });
  });

  it("because it is not released is told with what there is of it", async () => {
    await expect(fetch("3.15")).rejects.toMatchObject({
      message: "Python 3.15 is not released yet for linux-x86_64: uv has 3.15.0rc1",
      hint: "Ask for 3.14, 3.13.",
    });
  });

  it("because uv does not get it is told in uv's words, with what to bring", async () => {
    await expect(fetch("3.14")).rejects.toMatchObject({
      message: "uv python install: Failed to install\n  cause: no network",
      hint: "Bring https://builds.example/1/cpython-3.14.2.tgz here and name it: --from FILE",
    });
  });

  it("out of a file that is another is told with what the file should be", async () => {
    const file = path.join(await makeDirectory(), "build.tgz");
    await writeFile(file, "junk");
    await expect(fetch("3.14", file)).rejects.toMatchObject({
      hint: "Check --from: the build is https://builds.example/1/cpython-3.14.2.tgz",
    });
  });
});
