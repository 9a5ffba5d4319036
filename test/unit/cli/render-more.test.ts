/** What commands say of what EC2 refused, of boots that failed, and of what jobs are given. */
import { expect, it } from "vitest";
import { createPalette } from "../../../src/cli/palette.ts";
import { renderPlan } from "../../../src/cli/render-plan.ts";
import { renderRun } from "../../../src/cli/render-run.ts";
import {
  BEGAN_AT,
  makeAttemptView,
  makeJobView,
  makeRunView,
  secondsIn,
} from "../../support/views.ts";

const plain = createPalette(false);

it("a run that is shown has what EC2 refused, and says where a failed boot is told of", () => {
  const refusal = {
    ...{ instanceType: "g5.xlarge", zone: "us-east-1a", kind: "no-capacity" as const },
    ...{ code: "InsufficientInstanceCapacity", message: "none here", count: 2 },
    ...{ firstAt: secondsIn(0), lastAt: secondsIn(5) },
  };
  const attempts = [
    makeAttemptView({ state: "lost", consoleBytes: 812 }),
    makeAttemptView({ number: 2, consoleBytes: 0 }),
  ];
  const jobs = [makeJobView({ refusals: [refusal], attempts })];
  const lines = renderRun(makeRunView({ jobs }), {
    palette: plain,
    now: BEGAN_AT,
    placeWords: " --local",
  });
  const after = lines.slice(lines.findIndex((line) => line.includes("refused by EC2")));
  expect(after.map((line) => line.replace(/last .*/, "last then"))).toEqual([
    "  refused by EC2",
    "  train  g5.xlarge  us-east-1a  InsufficientInstanceCapacity  2 times  last then",
    "",
    "  notes",
    "  train  try 1 never began; what its machine said: errand logs 20261123-211530-k3f9q2 train --console --local",
  ]);
});

it("a plan names the secrets and the role of a job, and no values", () => {
  const job = {
    ...{ name: "train", workflow: "train", instanceType: "m7i.large", zones: ["us-east-1a"] },
    ...{ hourlyUsd: 0.1, worstCaseUsd: 2.4, runnersUp: [], passedOver: [] },
  };
  const given = { secrets: { TOKEN: "/errand/token", PASSWORD: "errand/db password" } };
  const lines = renderPlan([{ ...job, ...given, role: "training" }], plain);
  expect(lines.slice(2)).toEqual([
    "",
    "secrets and roles:",
    "  train  TOKEN     from /errand/token",
    "  train  PASSWORD  from errand/db password",
    "  train  role      training",
  ]);
  expect(renderPlan([job], plain)).toHaveLength(2);
});
