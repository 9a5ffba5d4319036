import { describe, expect, it } from "vitest";
import { selectJobs } from "../../../src/cli/commands/logs.ts";
import { hintNear } from "../../../src/cli/near-hints.ts";
import { selectRun } from "../../../src/cli/select-run.ts";
import { noSuchTag } from "../../../src/cli/tag-reference.ts";
import { runName } from "../../../src/daemon/names.ts";
import { UserError } from "../../../src/errors.ts";
import { makeStore } from "../../support/memory-store.ts";
import { makeJobView, makeRunView } from "../../support/views.ts";

const RUN = "20261123-090000-bbbbbb";

function hintOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (error instanceof UserError) return error.hint;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("a name that is not there", () => {
  it("has the nearest for a hint, and what there is where none comes close", () => {
    expect(hintNear("bst", ["best", "fit", "best"], "List them.")).toBe('Did you mean "best"?');
    expect(hintNear("bost", ["best", "bust"], "")).toBe('Did you mean "best" or "bust"?');
    expect(hintNear("zzz", ["best"], "List them.")).toBe("List them.");
  });

  it.each([
    ["latst", 'Did you mean "latest"?'],
    ["20261123-090000-bbbbba", `Did you mean "${RUN}"?`],
    [runName(RUN).slice(1), `Did you mean "${runName(RUN)}"?`],
    ["zzzzzz", "List them: errand runs"],
  ])("of a run, %s, is told: %s", (name, hint) => {
    expect(hintOf(() => selectRun(name, [RUN]))).toBe(hint);
  });

  it.each([
    ["bst", 'Did you mean "best"?'],
    ["zzzzzz", "Its jobs are fit.v0.1, best."],
  ])("of a job, %s, is told: %s", (name, hint) => {
    const jobs = ["fit.v0.1", "best"].map((each) => makeJobView({ name: each }));
    expect(hintOf(() => selectJobs(makeRunView({ jobs }), name))).toBe(hint);
  });

  it("of a job among very many is told with some of them", () => {
    const jobs = Array.from({ length: 100 }, (_, at) => makeJobView({ name: `sweep.${at}` }));
    const hint = hintOf(() => selectJobs(makeRunView({ jobs }), "train"));
    expect(hint).toMatch(/^Its jobs are sweep\.0, .*, sweep\.19, and 80 more\.$/);
  });

  it.each([
    [{ workflow: "swep", tag: "best" }, 'Did you mean "sweep:best"?'],
    [{ workflow: "sweep", tag: "bset" }, 'Did you mean "sweep:best"?'],
    [{ workflow: "sweep", tag: "1999-12" }, "Tags: sweep:best."],
    [{ workflow: "other", tag: "1999-12" }, "List them: errand tags list"],
  ])("of a tag, %o, is told: %s", async (name, hint) => {
    const tag = { format: 1, run: RUN, sets: [], at: 0 };
    expect((await noSuchTag(makeStore({ "tags/sweep/best.json": tag }), name)).hint).toBe(hint);
  });
});
