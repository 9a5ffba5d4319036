/** Which of the host's processes belong to a machine. */
import { expect, it } from "vitest";
import { type HostProcess, pickTree, type Tree } from "../../../src/local/machines-processes.ts";

const makeProcess = (pid: number, over: Partial<HostProcess> = {}): HostProcess => ({
  pid,
  parent: 1,
  group: pid,
  session: pid,
  cookie: "",
  ...over,
});

const pick = (processes: readonly HostProcess[], tree: Partial<Tree> = {}): number[] =>
  pickTree(processes, { cookie: "i-1:a", ...tree })
    .map(({ pid }) => pid)
    .toSorted((left, right) => left - right);

it("all that carry its cookie belong to it, and none that carry another", () => {
  const processes = [
    makeProcess(100, { cookie: "i-1:a" }),
    makeProcess(101, { cookie: "i-2:b", parent: 7 }),
    makeProcess(102, { cookie: "i-1:a", parent: 1 }),
  ];
  expect(pick(processes)).toEqual([100, 102]);
});

it("descendants without the cookie belong to it, however deep and in whatever order they are listed", () => {
  const processes = [
    makeProcess(103, { parent: 102 }),
    makeProcess(102, { parent: 101 }),
    makeProcess(101, { parent: 100 }),
    makeProcess(100, { cookie: "i-1:a" }),
    makeProcess(104, { parent: 1 }),
  ];
  expect(pick(processes)).toEqual([100, 101, 102, 103]);
});

it("an orphan without the cookie belongs to it by a session that it leads, or whose leader is gone", () => {
  const processes = [
    makeProcess(100, { cookie: "i-1:a" }),
    makeProcess(101, { session: 100 }),
    makeProcess(110, { cookie: "i-1:a", session: 109 }),
    makeProcess(111, { session: 109 }),
  ];
  expect(pick(processes)).toEqual([100, 101, 110, 111]);
});

it("the terminal of somebody who borrowed the cookie does not belong to it", () => {
  const shell = makeProcess(200);
  const borrowed = makeProcess(201, { parent: 200, session: 200, cookie: "i-1:a" });
  const other = makeProcess(202, { parent: 200, session: 200 });
  expect(pick([shell, borrowed, other])).toEqual([201]);
});

it("an orphan that has lost cookie and session belongs to it by its files, and to no other by theirs", () => {
  const processes = [
    makeProcess(100, { places: ["/", "/data/i-1/console.log"] }),
    makeProcess(101, { places: ["/data/i-12/disk"] }),
    makeProcess(102, { parent: 100 }),
    makeProcess(103, { cookie: "i-2:b", places: ["/data/i-1/disk"] }),
  ];
  expect(pick(processes, { folder: "/data/i-1" })).toEqual([100, 102]);
});

it("never holds the process that asks", () => {
  expect(pick([makeProcess(process.pid, { cookie: "i-1:a" })])).toEqual([]);
});

it("where environments cannot be read, its group belongs to it", () => {
  const processes = [
    makeProcess(100, { startedAt: 50_000 }),
    makeProcess(101, { group: 100, session: 100, startedAt: 90_000 }),
    makeProcess(102, { startedAt: 90_000 }),
  ];
  expect(pick(processes, { leader: { pid: 100, startedAt: 51_000 } })).toEqual([100, 101]);
});

it("a group whose number was given away again does not belong to it", () => {
  const processes = [makeProcess(100, { startedAt: 900_000 })];
  expect(pick(processes, { leader: { pid: 100, startedAt: 51_000 } })).toEqual([]);
});

it("a number alone proves nothing where cookies can be read", () => {
  expect(pick([makeProcess(100)], { leader: { pid: 100, startedAt: 51_000 } })).toEqual([]);
});
