import { expect, it } from "vitest";
import { chooseSandbox, type SandboxChoice } from "../../../src/local/sandbox.ts";

const choose = (choice: SandboxChoice, PATH: string) =>
  chooseSandbox({ choice, egress: "any", allowLoopback: [], shares: [] }, { PATH });

it("a kind that is not to be had is an error with its reason, its cure and the other kinds", async () => {
  const said = await choose("bwrap", "/nowhere").then(
    () => "",
    (error: Error) => error.message,
  );
  expect(said).toMatch(/^there is no sandbox of the kind bwrap: (it is not installed|needs Linux)/);
  expect(said).toContain("Install bubblewrap and Python 3.9 or newer");
  expect(said).toContain("or choose another kind: auto, or none");
});

it("none is what was asked for, and its notice says what that means", async () => {
  const sandbox = await choose("none", process.env.PATH ?? "");
  expect(sandbox.mode).toBe("none");
  expect(sandbox.notice).toMatch(
    /^machines run without isolation, as the user of the local cloud.*\(as was asked for\)$/,
  );
  const isHeld = sandbox.mode === "none" && sandbox.reaper !== "";
  expect(sandbox.notice.includes("may be left behind")).toBe(!isHeld);
});
