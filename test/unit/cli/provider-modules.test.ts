import { expect, test } from "vitest";
import { loadProviders } from "../../../src/cli/provider-modules.ts";
import { makeDirectory } from "../../support/directory.ts";

const provider = (name: string) =>
  `{ name: "${name}", parameters: { type: "object", properties: {} }, compile: () => [] }`;

async function load(files: Readonly<Record<string, string>>, modules: readonly string[]) {
  const directory = await makeDirectory(files);
  return loadProviders(modules.map((module) => ({ module, directory })));
}

test("modules are found by a path from the configuration, or as a package beside it", async () => {
  const loaded = await load(
    {
      "own/one.mjs": `export const provider = ${provider("one")};`,
      "two.cjs": `exports.createProvider = () => (${provider("two")});`,
      "node_modules/three/package.json": '{"name": "three", "type": "module", "main": "./main.js"}',
      "node_modules/three/main.js": `export default ${provider("three")};`,
    },
    ["./own/one.mjs", "./two.cjs", "three"],
  );
  expect(loaded.map(({ name }) => name)).toEqual(["one", "two", "three"]);
});

test.each<[string, Record<string, string>, string, RegExp]>([
  ["is not there", {}, "./gone.mjs", /\.\/gone\.mjs is not there.*looked at \//],
  ["is a package that is not there", {}, "gone", /module gone is not there.*node_modules of/],
  [
    "is a path that looks like a package",
    {},
    "own.ts",
    /node_modules of .*, for a path begins with \.\/$/,
  ],
  [
    "does not parse",
    { "a.mjs": "export const = 1" },
    "./a.mjs",
    /a\.mjs cannot be loaded: .*Unexpected token/s,
  ],
  ["throws", { "a.mjs": "throw new Error('oops')" }, "./a.mjs", /a\.mjs cannot be loaded: oops/],
  [
    "exports no provider",
    { "a.mjs": "export const a = 1" },
    "./a.mjs",
    /exports no provider; it has to export/,
  ],
  [
    "takes a built-in name",
    { "a.mjs": `export const provider = ${provider("python")}` },
    "./a.mjs",
    /"python" is built in/,
  ],
])("a module that %s is an error that names it", async (_what, files, module, message) => {
  await expect(load(files, [module])).rejects.toThrow(message);
});

test("all that is wrong with modules is told at once", async () => {
  const files = { "a.mjs": `export const provider = ${provider("a")}` };
  const failed = load({ ...files, "b.mjs": files["a.mjs"] }, ["./a.mjs", "./b.mjs", "./gone.mjs"]);
  await expect(failed).rejects.toThrow(/b\.mjs: "a" is another module's\n.*gone\.mjs is not there/);
});
