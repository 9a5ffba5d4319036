import { expect, test } from "vitest";
import { describePrices } from "../../../src/cli/render-plan.ts";
import { makeCatalog } from "../../support/make.ts";

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
