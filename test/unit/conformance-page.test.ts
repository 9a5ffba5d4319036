/** docs/conformance.md names tests that exist, in each of its rows. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

const root = new URL("../../", import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), "utf8");
const page = read("docs/conformance.md");

type Row = { readonly line: number; readonly promise: string; readonly proofs: string };

const isRow = (line: string): boolean => /^\|(?!---)(?! promise \|)/.test(line);

const rows: readonly Row[] = page.split("\n").flatMap((line, index) => {
  if (!isRow(line)) return [];
  const cut = line.lastIndexOf(" | ");
  const [promise, proofs] = [line.slice(2, cut), line.slice(cut + 3).replace(/ \|$/, "")];
  return [{ line: index + 1, promise, proofs }];
});

/** What is wrong with the proofs of a row, one line each. */
function faultsOf({ line, promise, proofs }: Row): readonly string[] {
  const where = `docs/conformance.md:${line}: ${promise}`;
  const named = proofs.split(/; (?=`)/).map((each) => /^`([^`]+)`: (.+)$/.exec(each));
  return named.flatMap((match) => {
    const [, file = "", title = ""] = match ?? [];
    if (!match) return [`${where}: names no test; write \`file\`: title`];
    if (!/^(test\/(e2e|tools)|src\/runner)\//.test(file))
      return [`${where}: ${file} is no end-to-end test`];
    if (!existsSync(new URL(file, root))) return [`${where}: ${file} does not exist`];
    return titlesOf(read(file)).includes(title) ? [] : [`${where}: ${file} has no test "${title}"`];
  });
}

/** Titles of tests, those of `each` with their placeholders, and names of Python's. Not of a `skip` or a `todo`. */
function titlesOf(source: string): readonly string[] {
  const calls = /^\s*(?:it|test)(?:\.(?:each|skipIf)\([\s\S]*?\))?\(\s*"((?:[^"\\]|\\.)*)"/gm;
  const titles = [...source.matchAll(calls)].map(([, title]) => JSON.parse(`"${title}"`) as string);
  return [...titles, ...[...source.matchAll(/^ +def (test_\w+)\(/gm)].map(([, name = ""]) => name)];
}

describe("docs/conformance.md", () => {
  test("names an existing end-to-end test in every row", () => {
    expect(rows.length).toBeGreaterThanOrEqual(70);
    expect(rows.flatMap(faultsOf)).toEqual([]);
  });

  test("would be told a title or a file that is not there, an empty row, and a test that is not end to end", () => {
    const wrong = ["", "`test/e2e/seed.test.ts`: no such title", "`test/e2e/no.test.ts`: x"];
    for (const proofs of [...wrong, "`test/unit/log.test.ts`: x"]) {
      expect(faultsOf({ line: 1, promise: "x", proofs })).toHaveLength(1);
    }
  });

  /** Every key that an editor is told of stands on the page. */
  test("has a row for every key of the workflow files", () => {
    const { definitions } = JSON.parse(read("schema/workflows.json")) as {
      readonly definitions: Readonly<Record<string, { readonly properties: object }>>;
    };
    const named = ["python", "curl"].flatMap((name) =>
      Object.keys(definitions[name]?.properties ?? {}),
    );
    expect(named.length).toBeGreaterThan(15);
    const promises = rows.map(({ promise }) => promise).join("\n");
    expect([...new Set(named)].filter((key) => !promises.includes(key))).toEqual([]);
  });
});
