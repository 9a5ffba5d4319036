/** What has been dropped to do harm, or by mistake, kept as files: what comes of each. The runner's tests unpack the same files. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DEFAULT_LIMITS } from "../../../src/core/limits.ts";
import { runSchema } from "../../../src/core/run.ts";
import { takeIn } from "../../../src/daemon/intake.ts";
import { Bucket } from "../../support/bucket.ts";
import { makeClock, quietLog } from "../../support/make.ts";

const FOLDER = join(import.meta.dirname, "../../hostile/corpus");

async function outcomeOf(file: string): Promise<string> {
  const bucket = new Bucket(() => 0);
  await bucket.put(`drops/${file}`, readFileSync(join(FOLDER, file)));
  const clock = makeClock(() => 0);
  const intake = { store: bucket, clock, log: quietLog, limits: DEFAULT_LIMITS, providers: [] };
  await takeIn(intake, `drops/${file}`);
  const [record = ""] = bucket.keys("records/");
  const { rejected, jobs } = runSchema.parse(JSON.parse(bucket.read(record) ?? ""));
  expect(bucket.keys("rejected/")).toHaveLength(rejected ? 1 : 0);
  return rejected ? (rejected[0] ?? "") : `taken: ${jobs.map(({ name }) => name).join(", ")}`;
}

test("each archive of the corpus ends as it should, and those refused are kept", async () => {
  const files = readdirSync(FOLDER).sort();
  const outcomes: string[] = [];
  for (const file of files) outcomes.push(`${file}: ${await outcomeOf(file)}`);
  await expect(`${outcomes.join("\n")}\n`).toMatchFileSnapshot("../../hostile/corpus.txt");
});
