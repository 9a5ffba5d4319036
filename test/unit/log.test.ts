import { Writable } from "node:stream";
import { expect, test } from "vitest";
import { createLog, type LogOptions } from "../../src/log.ts";

function makeLog(over: Partial<LogOptions> = {}) {
  const lines: string[] = [];
  const stream = new Writable({
    write: (chunk, _, done) => {
      lines.push(String(chunk).trimEnd());
      done();
    },
  });
  return { log: createLog({ level: "info", format: "json", stream, ...over }), lines };
}

test("a line of JSON has level, message, time and fields", () => {
  const { log, lines } = makeLog();
  log.info("instances launched", { count: 2, instanceIds: ["i-1", "i-2"] });
  expect(JSON.parse(lines[0] ?? "")).toEqual({
    level: "info",
    message: "instances launched",
    timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    count: 2,
    instanceIds: ["i-1", "i-2"],
  });
});

test("a line of text has the fields after the message, quoted where they need it", () => {
  const { log, lines } = makeLog({ format: "text" });
  log.warn("run put off", { run: "r-1", error: "a b", count: 0, nothing: undefined });
  expect(lines[0]).toMatch(/^\S+ warn run put off run=r-1 error="a b" count=0 nothing=undefined$/);
});

test("an error is written as the chain of its messages", () => {
  const { log, lines } = makeLog();
  log.error("catalog not refreshed", { error: new Error("reading", { cause: new Error("down") }) });
  expect(JSON.parse(lines[0] ?? "").error).toBe("reading: down");
});

test("fields named message and level do not change the line's own", () => {
  const { log, lines } = makeLog();
  log.info("job asked to stop", { message: "m", level: "l" });
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({
    level: "info",
    message: "job asked to stop",
    text: "m",
    atLevel: "l",
  });
});

test("what is below the level is not written, and silent writes nothing", () => {
  const info = makeLog();
  info.log.debug("look taken");
  const silent = makeLog({ level: "silent" });
  silent.log.error("run not decided");
  expect([info.lines, silent.lines]).toEqual([[], []]);
});
