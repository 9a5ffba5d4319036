import { describe, expect, it } from "vitest";
import { createPalette } from "../../../src/cli/palette.ts";
import { renderArtifactTree } from "../../../src/cli/render-artifacts.ts";
import { renderChanges } from "../../../src/cli/render-changes.ts";
import { tameLine } from "../../../src/cli/render-lines.ts";
import { renderFrame } from "../../../src/cli/render-live.ts";
import { renderRun } from "../../../src/cli/render-run.ts";
import { renderRuns } from "../../../src/cli/render-runs.ts";
import { clip, renderTable, textWidth } from "../../../src/cli/render-table.ts";
import {
  formatAgo,
  formatBytes,
  formatDuration,
  formatUsd,
  oneLine,
} from "../../../src/cli/render-values.ts";
import {
  BEGAN_AT,
  makeAttemptView,
  makeJobView,
  makeRunView,
  secondsIn,
} from "../../support/views.ts";

const plain = createPalette(false);
const text = (lines: readonly string[]): string => `\n${lines.join("\n")}\n`;

const succeeded = makeAttemptView({
  state: "succeeded",
  instanceType: "c6a.large",
  hourlyUsd: 0.0765,
  costUsd: 0.001275,
  startedAt: secondsIn(1),
  endedAt: secondsIn(3.4),
  phases: {
    queued: 40,
    api: 95,
    pending: 220,
    boot: 160,
    inputs: 9,
    setup: 230,
    run: 1900,
    upload: 110,
    terminate: 180,
  },
});

const finished = makeRunView({
  state: "failed",
  finishedAt: secondsIn(71),
  costUsd: 0.0119,
  warnings: [".dstack/workflows.yaml:7:5: workflows[download].output: lies under no artifact"],
  jobs: [
    makeJobView({
      name: "prepare",
      state: "succeeded",
      attempts: [succeeded],
      artifacts: [{ path: "data", bytes: 16_700, files: 3 }],
      notes: ["python 3.11 of this host stands in for 3.10"],
    }),
    makeJobView({
      name: "train",
      state: "failed",
      reason: "exit code 3",
      dependsOn: ["prepare"],
      artifacts: [{ path: "checkpoint", bytes: 2_660_000, files: 1 }],
      attempts: [
        makeAttemptView({ state: "lost", reason: "the instance ended by itself", costUsd: 0.0088 }),
        makeAttemptView({
          number: 2,
          state: "failed",
          exitCode: 3,
          reason: "exit code 3",
          startedAt: secondsIn(30),
          endedAt: secondsIn(70),
          costUsd: 0.0088,
          phases: { run: 39_000 },
        }),
      ],
    }),
    makeJobView({ name: "report", state: "skipped", reason: "train failed" }),
  ],
});

describe("a run that is shown", () => {
  it("has jobs, tries, reasons, phases, artifacts and notes", () => {
    expect(
      text(renderRun(finished, { palette: plain, now: 0, placeWords: "" })),
    ).toMatchInlineSnapshot(`
      "
      brave-otter-42 (20261123-211530-k3f9q2) failed in 1m 11s, $0.0119
        warning: .dstack/workflows.yaml:7:5: workflows[download].output: lies under no artifact

        job      state      try  instance     zone            price    time     cost  why
        prepare  succeeded       c6a.large    us-east-1a  $0.0765/h   2.4 s  $0.0013
        train    lost         1  g4dn.xlarge  us-east-1a  $0.5260/h          $0.0088  the instance ended by itself
        train    failed       2  g4dn.xlarge  us-east-1a  $0.5260/h  40.0 s  $0.0088  exit code 3
        report   skipped                                                              train failed

        phases
                       queued    api  pending    boot  inputs   setup     run  upload  terminate
        prepare         40 ms  95 ms   220 ms  160 ms    9 ms  230 ms   1.9 s  110 ms     180 ms
        train               -      -        -       -       -       -       -       -          -
        train (try 2)       -      -        -       -       -       -  39.0 s       -          -

        artifacts
        prepare  data        3 files  16.7 kB
        train    checkpoint   1 file  2.66 MB  partial

        notes
        prepare  python 3.11 of this host stands in for 3.10
      "
    `);
  });

  it("says why its drop never became jobs", () => {
    const view = makeRunView({
      state: "failed",
      finishedAt: secondsIn(0),
      problems: ["a: b", "c: d"],
    });
    expect(
      text(renderRun(view, { palette: plain, now: 0, placeWords: "" })),
    ).toMatchInlineSnapshot(`
      "
      brave-otter-42 (20261123-211530-k3f9q2) failed in 0 ms, $0.00
        a: b
        c: d
      "
    `);
  });

  it("says what a waiting job waits for", () => {
    const hold = {
      job: "train",
      reason: "quota",
      detail: "32 of 32 vCPUs of the G quota are in use",
      since: secondsIn(0),
      nextLookAt: null,
    } as const;
    const view = makeRunView({ jobs: [makeJobView({ holds: [hold] })] });
    expect(
      text(renderRun(view, { palette: plain, now: BEGAN_AT + 5_000, placeWords: "" })),
    ).toMatchInlineSnapshot(`
      "
      brave-otter-42 (20261123-211530-k3f9q2) running for 5.0 s, $0.00

        job    state    why
        train  waiting  32 of 32 vCPUs of the G quota are in use
      "
    `);
  });

  it("keeps text of others on one line and away from the cursor", () => {
    const view = makeRunView({ problems: ["bad \u001b[2Jname\nsecond"] });
    expect(renderRun(view, { palette: plain, now: 0, placeWords: "" })[1]).toBe(
      "  bad \\x1b[2Jname\\nsecond",
    );
  });
});

describe("a list of runs", () => {
  it("lines up", () => {
    const runs = [
      finished,
      makeRunView({ name: "keen-lynx-7", state: "queued", workflows: ["a", "b"] }),
    ];
    expect(
      text(renderRuns(runs, { palette: plain, now: BEGAN_AT + 3_600_000 })),
    ).toMatchInlineSnapshot(`
      "
      run             id                      state   workflows  submitted     time     cost
      brave-otter-42  20261123-211530-k3f9q2  failed  train      1 hour ago  1m 11s  $0.0119
      keen-lynx-7     20261123-211530-k3f9q2  queued  a, b       1 hour ago  1h 00m    $0.00
      "
    `);
  });

  it("says how to begin when it is empty", () => {
    expect(renderRuns([], { palette: plain, now: 0 })).toEqual([
      "no runs yet; submit one: errand submit DIR WORKFLOW",
    ]);
  });
});

describe("a frame of the live view", () => {
  const options = { palette: plain, now: BEGAN_AT + 90_000, columns: 80, rows: 30 };

  it("has one line for each job", () => {
    expect(text(renderFrame(finished, options))).toMatchInlineSnapshot(`
      "
      brave-otter-42 (20261123-211530-k3f9q2) failed in 1m 11s, $0.0119
        prepare  ✓ succeeded  c6a.large     2.4 s
        train    ✗ failed     g4dn.xlarge  40.0 s  exit code 3
        report   – skipped                         train failed
      "
    `);
  });

  it("is never wider than the terminal", () => {
    const lines = renderFrame(finished, { ...options, columns: 24 });
    expect(Math.max(...lines.map(textWidth))).toBeLessThan(24);
  });

  it("leaves out jobs at rest first where the terminal is low", () => {
    const jobs = [
      ...Array.from({ length: 20 }, (_, at) =>
        makeJobView({ name: `done-${at}`, state: "succeeded" }),
      ),
      makeJobView({ name: "busy", state: "running" }),
      makeJobView({ name: "broken", state: "failed" }),
    ];
    const lines = renderFrame(makeRunView({ jobs }), { ...options, rows: 12 });
    expect(lines).toHaveLength(5);
    expect(lines.join("\n")).toMatch(/busy.*broken.*and 19 more/s);
  });
});

describe("changes between two views", () => {
  const jobs = (...states: [string, Parameters<typeof makeJobView>[0]][]) =>
    makeRunView({ jobs: states.map(([name, changes]) => makeJobView({ name, ...changes })) });

  it("say nothing of jobs that only wait for others", () => {
    const hold = {
      job: "b",
      reason: "needs",
      detail: "waits for a",
      since: secondsIn(0),
      nextLookAt: null,
    } as const;
    const view = jobs(["a", { state: "waiting" }], ["b", { holds: [hold] }]);
    expect(renderChanges(undefined, view, plain)).toEqual([]);
  });

  it("name the machine once, and the end with its time or its reason", () => {
    const booting = makeAttemptView();
    const running = makeAttemptView({ state: "running", startedAt: secondsIn(20) });
    const done = makeAttemptView({
      state: "succeeded",
      startedAt: secondsIn(20),
      endedAt: secondsIn(32),
    });
    const views = [
      jobs(["a", {}], ["long-b", {}]),
      jobs(["a", { state: "starting", attempts: [booting] }], ["long-b", {}]),
      jobs(["a", { state: "running", attempts: [running] }], ["long-b", {}]),
      jobs(
        ["a", { state: "succeeded", attempts: [done] }],
        ["long-b", { state: "failed", reason: "no instance type fits" }],
      ),
    ];
    const lines = views.flatMap((view, at) => renderChanges(views[at - 1], view, plain));
    expect(text(lines)).toMatchInlineSnapshot(`
      "
      a        starting on g4dn.xlarge in us-east-1a, $0.5260/h i-0123456789abcdef0
      a        running
      a        succeeded in 12.0 s
      long-b   failed: no instance type fits
      "
    `);
  });

  it("say nothing when only cost and times have moved", () => {
    const before = jobs(["a", { state: "running", attempts: [makeAttemptView({ costUsd: 1 })] }]);
    const now = jobs(["a", { state: "running", attempts: [makeAttemptView({ costUsd: 2 })] }]);
    expect(renderChanges(before, now, plain)).toEqual([]);
  });
});

describe("a tree of artifacts", () => {
  it("is indented, with sizes, links and what a glob matched", () => {
    const set = {
      job: "train",
      attempt: 1,
      complete: false,
      artifacts: [
        { path: "out/checkpoint", bytes: 8_123, files: 2 },
        { path: "*.csv", bytes: 10, files: 1 },
        { path: "missing-from-entries", bytes: 5, files: 1 },
      ],
      entries: [
        { type: "directory", path: "out/checkpoint", mode: 0o755 },
        { type: "directory", path: "out/checkpoint/deep", mode: 0o755 },
        {
          type: "file",
          path: "out/checkpoint/deep/model.json",
          mode: 0o644,
          size: 8_000,
          sha256: "",
        },
        { type: "file", path: "out/checkpoint/a\nb", mode: 0o644, size: 123, sha256: "" },
        { type: "link", path: "out/checkpoint/latest", target: "deep/model.json" },
        { type: "file", path: "x.csv", mode: 0o644, size: 10, sha256: "" },
      ],
    } as const;
    expect(text(renderArtifactTree(set, plain))).toMatchInlineSnapshot(`
      "
      train partial
        out/checkpoint/              8.12 kB  2 files
          a\\nb                         123 B
          deep/
            model.json               8.00 kB
          latest -> deep/model.json
        *.csv                           10 B  1 file
        missing-from-entries             5 B  1 file
        x.csv                           10 B
      "
    `);
  });
});

describe("a table", () => {
  it("leaves out columns that hold nothing", () => {
    const lines = renderTable([{ title: "a" }, { title: "b" }, { title: "c" }], [["1", "", "3"]]);
    expect(lines).toEqual(["a  c", "1  3"]);
  });

  it("lines up text that is coloured, wide or combined", () => {
    const { good } = createPalette(true);
    const lines = renderTable(
      [{ title: "" }, { title: "" }],
      [
        ["日本", "x"],
        [good("ab"), "x"],
        ["é", "x"],
      ],
    );
    expect(lines).toEqual(["日本  x", "\x1b[32mab\x1b[39m    x", "é     x"]);
  });

  it("clips at the right place and closes colours", () => {
    const { bad } = createPalette(true);
    expect(clip(bad("abcdef"), 4)).toBe("\x1b[31mabc\x1b[39m…");
  });
});

describe("a job's line on a terminal", () => {
  it.each([
    ["keeps colours and ends them", "\x1b[31mred\x1b[0m x", "\x1b[31mred\x1b[0m x\x1b[0m"],
    ["loses what moves the cursor", "\x1b[2J\x1b[1;1Hhello\x1b[K", "hello"],
    ["loses titles and links", "\x1b]0;title\x07text", "text"],
    ["shows the last state of a progress bar", "10%\r50%\r100%\r", "100%"],
    ["keeps tabs", "a\tb", "a\tb"],
  ])("%s", (_, line, tame) => {
    expect(tameLine(line)).toBe(tame);
  });
});

describe("values", () => {
  it.each([
    [null, "-"],
    [0, "0 ms"],
    [999, "999 ms"],
    [1_000, "1.0 s"],
    [59_940, "59.9 s"],
    [59_960, "1m 00s"],
    [125_000, "2m 05s"],
    [3_599_700, "1h 00m"],
    [90_000_000, "1d 1h"],
  ])("a duration of %s ms is %s", (ms, shown) => {
    expect(formatDuration(ms)).toBe(shown);
  });

  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [8_052, "8.05 kB"],
    [999_600, "1.00 MB"],
    [5e12, "5.00 TB"],
  ])("%s bytes are %s", (bytes, shown) => {
    expect(formatBytes(bytes)).toBe(shown);
  });

  it.each([
    [0, "$0.00"],
    [0.0021, "$0.0021"],
    [1.5, "$1.50"],
  ])("%s dollars are %s", (usd, shown) => {
    expect(formatUsd(usd)).toBe(shown);
  });

  it("tell how long ago", () => {
    expect([30_000, 60_000, 7_200_000, 200_000_000].map(formatAgo)).toEqual([
      "just now",
      "1 minute ago",
      "2 hours ago",
      "2 days ago",
    ]);
  });

  it("show control characters instead of obeying them", () => {
    expect(oneLine("a\x1b[31m\tb\nc\x9b")).toBe("a\\x1b[31m b\\nc\\x9b");
  });
});
