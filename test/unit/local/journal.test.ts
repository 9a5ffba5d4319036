import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Journal, openJournal } from "../../../src/local/journal.ts";

type Entry = { readonly key: string; readonly value: number };

let directory = "";
let path = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "errand-journal-"));
  path = join(directory, "journal");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A map that a journal keeps. */
function open(): { journal: Journal<Entry>; map: Map<string, number> } {
  const map = new Map<string, number>();
  const journal = openJournal<Entry>({
    path,
    apply: ({ key, value }) => void map.set(key, value),
    snapshot: () => [...map].map(([key, value]) => ({ key, value })),
  });
  return { journal, map };
}

function write(...entries: readonly Entry[]): void {
  const { journal } = open();
  for (const entry of entries) journal.append(entry);
  journal.close();
}

describe("a journal", () => {
  it("tells at the next start what it was told", () => {
    write({ key: "a", value: 1 }, { key: "ü\n", value: 2 });
    write({ key: "a", value: 3 });
    expect(open().map).toEqual(
      new Map([
        ["a", 3],
        ["ü\n", 2],
      ]),
    );
  });

  it("drops a last line that was cut short anywhere, and goes on behind the one before", () => {
    write({ key: "a", value: 1 });
    const whole = statSync(path).size;
    write({ key: "b", value: 2 });
    const bytes = readFileSync(path);
    for (let size = whole; size < bytes.length; size += 1) {
      writeFileSync(path, bytes);
      truncateSync(path, size);
      write({ key: "c", value: 3 });
      expect(open().map).toEqual(
        new Map([
          ["a", 1],
          ["c", 3],
        ]),
      );
    }
  });

  it("refuses a damaged line, naming file, line and byte", () => {
    write({ key: "a", value: 1 }, { key: "b", value: 2 });
    writeFileSync(path, readFileSync(path, "utf8").replace('"a"', '"x"'));
    expect(open).toThrow(`reading ${path}: line 1 is damaged at byte 0`);
  });

  it("stays short however often the same is written, and loses nothing by it", () => {
    const { journal, map } = open();
    for (let value = 0; value < 25_000; value += 1) {
      const entry = { key: `key ${value % 10}`, value };
      journal.append(entry);
      map.set(entry.key, entry.value);
    }
    expect(readFileSync(path, "utf8").split("\n").length).toBeLessThan(10_002);
    journal.close();
    expect(open().map).toEqual(map);
  });
});
