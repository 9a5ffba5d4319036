/** infra/image.yaml installs the uv that Errand pins. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { UV } from "../../../src/core/uv.ts";

const text = readFileSync(new URL("../../../infra/image.yaml", import.meta.url), "utf8");

it("installs the uv that machines fetch themselves, and holds it against the same sum", () => {
  const target = UV.targets["linux-x86_64"];
  expect(text).toContain(` ${target?.url}\n`);
  expect(text).toContain(`"${target?.sha256}  /usr/local/bin/uv"`);
});
