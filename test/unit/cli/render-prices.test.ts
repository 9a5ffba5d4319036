import { expect, test } from "vitest";
import { createOutput } from "../../../src/cli/output.ts";
import { createPalette } from "../../../src/cli/palette.ts";
import { describePrices, tellOldPrices } from "../../../src/cli/render-prices.ts";
import { makeCatalog } from "../../support/make.ts";
import { makeAttemptView, makeJobView, makeRunView } from "../../support/views.ts";

const NOW = Date.parse("2026-11-25T08:00:00Z");

test.each([
  [{ isLive: true, pricedOn: "2026-11-25" }, "prices are AWS's own for us-east-1, read today"],
  [
    { isLive: true, pricedOn: "2026-11-24", isEstimate: true, region: "cn-north-1" },
    "prices are AWS's own for cn-north-1, read 1 day ago, converted to US dollars: estimates",
  ],
  [
    { pricedOn: "2026-07-20" },
    "prices are those that Errand is shipped with, of 128 days ago (2026-07-20)",
  ],
  [
    { pricedOn: "2026-07-20", isEstimate: true, region: "eu-west-1" },
    "prices are those that Errand is shipped with, of 128 days ago (2026-07-20) for us-east-1: estimates for eu-west-1",
  ],
])("a plan says where its prices come from and how old they are: %j", (over, said) => {
  expect(describePrices(makeCatalog(over), NOW)).toBe(said);
});

const pricedOn = (...days: (string | null)[]) =>
  makeRunView({
    jobs: [makeJobView({ attempts: days.map((day) => makeAttemptView({ pricedOn: day })) })],
  });

test.each([
  ["of the day", [pricedOn(null)], false, []],
  ["of a run that has no machine yet", [makeRunView({})], false, []],
  [
    "that are old",
    [pricedOn(null, "2026-07-20")],
    false,
    ["prices are of 2026-07-20: AWS's own of the day were not to be had"],
  ],
  [
    "of several days",
    [pricedOn("2026-11-02"), pricedOn(null, "2026-07-20")],
    false,
    ["prices are of 2026-07-20 and later: AWS's own of the day were not to be had"],
  ],
  ["of the local cloud", [pricedOn("2026-07-20")], true, []],
])(
  "beside what is shown with prices %s there is a line only where they are old",
  (_, views, isLocal, said) => {
    const notes: string[] = [];
    const output = {
      ...createOutput(),
      note: (text: string) => notes.push(text),
      notePalette: createPalette(false),
    };
    tellOldPrices(output, views, { isLocal });
    expect(notes).toEqual(said);
  },
);
