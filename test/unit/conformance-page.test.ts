/** docs/conformance.md names tests that exist, in each of its rows. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const root = new URL("../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");
const page = read("docs/conformance.md");

type Row = { readonly line: number; readonly promise: string; readonly proofs: string };

const isRow = (line: string): boolean => /^\|(?!---)(?! promise \|)/.test(line);

const rowsOf = (text: string): readonly Row[] =>
  text.split("\n").flatMap((line, index) => {
    if (!isRow(line)) return [];
    const cut = line.lastIndexOf(" | ");
    const [promise, proofs] = [line.slice(2, cut), line.slice(cut + 3).replace(/ \|$/, "")];
    return [{ line: index + 1, promise, proofs }];
  });
const rows = rowsOf(page);

/** Tests of one unit that may stand on the page: no plan that we found shows it with today's types and prices. */
const UNITS: readonly string[] = ["test/unit/core/offers.test.ts"];

/** What is wrong with the proofs of a row, one line each. */
function faultsOf({ line, promise, proofs }: Row): readonly string[] {
  const where = `docs/conformance.md:${line}: ${promise}`;
  const named = proofs.split(/; (?=`)/).map((each) => /^`([^`]+)`: (.+)$/.exec(each));
  return named.flatMap((match) => {
    const [, file = "", title = ""] = match ?? [];
    if (!match) return [`${where}: names no test; write \`file\`: title`];
    if (!/^(test\/(e2e|tools)|src\/runner)\//.test(file) && !UNITS.includes(file))
      return [`${where}: ${file} is no end-to-end test`];
    if (!existsSync(new URL(file, root))) return [`${where}: ${file} does not exist`];
    return titlesOf(read(file)).includes(title) ? [] : [`${where}: ${file} has no test "${title}"`];
  });
}

/** Titles of tests, those of `each` with their placeholders, and names of Python's. Not of a `skip` or a `todo`. */
function titlesOf(source: string): readonly string[] {
  const calls = /^\s*(?:it|test)(?:\.(?:each|skipIf)\([\s\S]*?\))?\(\s*"((?:[^"\\]|\\.)*)"/gm;
  const titles = [...source.matchAll(calls)].map(([, title]) => JSON.parse(`"${title}"`) as string);
  const methods = source.matchAll(/^(?: +@(.+)\n)? +def (test_\w+)\(self\):/gm);
  const names = [...methods].flatMap(([, decorator = "", name = ""]) =>
    decorator.startsWith("unittest.skip(") ? [] : [name],
  );
  return [...titles, ...names];
}

type Schema = { readonly [part: string]: Schema };

/** Names of all keys below, `gpu.name` for one of a map, and without the map where they are those of `resources`. */
function keysOf(schema: Schema): readonly string[] {
  if (typeof schema !== "object" || schema === null) return [];
  return Object.entries(schema).flatMap(([part, below]) => {
    if (part !== "properties") return keysOf(below);
    return Object.entries(below).flatMap(([key, value]) => {
      const inner = keysOf(value);
      return [key, ...(key === "resources" ? inner : inner.map((each) => `${key}.${each}`))];
    });
  });
}

const schemaOf = (name: string): Schema => JSON.parse(read(`schema/${name}.json`)) as Schema;
const { python = {}, curl = {} } = schemaOf("workflows").definitions ?? {};
const keys: readonly string[] = [
  ...new Set([...keysOf(python), ...keysOf(curl)].map((key) => `\`${key}\``)),
  ...keysOf(schemaOf("run")).map((key) => `\`${key}\` in \`.dstack/run.yaml\``),
];

function keysWithoutRow(text: string): readonly string[] {
  const promises = rowsOf(text)
    .map(({ promise }) => promise)
    .join("\n");
  return keys.filter((key) => !promises.includes(key));
}

describe("docs/conformance.md", () => {
  test("names an existing end-to-end test in every row", () => {
    expect(rows.length).toBeGreaterThanOrEqual(70);
    expect(rows.flatMap(faultsOf)).toEqual([]);
  });

  test.each([
    ["an empty row", ""],
    ["a title that is not there", "`test/e2e/seed.test.ts`: no such title"],
    ["a file that is not there", "`test/e2e/no.test.ts`: x"],
    ["a test that is not end to end", "`test/unit/log.test.ts`: x"],
    ["a method of Python's that is not there", "`src/runner/test_orders.py`: test_no_such"],
    ["one of Python's that is no test", "`src/runner/test_machines.py`: carry_out"],
    ["the second of two that is not there", `${rows[0]?.proofs}; \`test/e2e/no.test.ts\`: x`],
  ])("would be told %s", (_, proofs) => {
    expect(faultsOf({ line: 1, promise: "x", proofs })).toHaveLength(1);
  });

  test("takes no test that is skipped for one", () => {
    const methods = `    @unittest.skip("later")\n    def test_a(self):\n    @unittest.skipUnless(IS_ROOT, "root")\n    def test_b(self):\n`;
    expect(titlesOf(`${methods}it.skip("c", ...)\nit("d", ...)\n`)).toEqual(["d", "test_b"]);
  });

  /** Every key that an editor is told of stands on the page. */
  test("has a row for every key of the workflow files", () => {
    expect(keys.length).toBeGreaterThan(25);
    expect(keysWithoutRow(page)).toEqual([]);
  });

  test("would be told of a key without a row, also one of a map and one that is part of another word", () => {
    for (const key of ["arch", "gpu.name", "cpu"]) {
      expect(keysWithoutRow(page.replaceAll(`\`${key}\``, `\`${key}s\` ${key}`))).toEqual([
        `\`${key}\``,
      ]);
    }
    const other = page.replace("`tag` in `.dstack/run.yaml`", "`tag`");
    expect(keysWithoutRow(other)).toEqual(["`tag` in `.dstack/run.yaml`"]);
  });
});
