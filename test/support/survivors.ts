/**
 * Gives a test run a folder of its own for temporary files, and at its end counts the processes of local machines that are
 * left: one is an error. The folder goes, too.
 */
import { chmodSync, mkdtempSync, realpathSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { listSurvivors } from "../../src/local/survivors.ts";

export default function setUp(): (() => Promise<void>) | undefined {
  // Each project of a run comes here.
  if (process.env.ERRAND_TEST_TMP) return undefined;
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "errand-tests-")));
  // Tests run programs as another user, too.
  chmodSync(folder, 0o1777);
  process.env.ERRAND_TEST_TMP = process.env.TMPDIR = folder;
  return async () => {
    const left = await listSurvivors(folder);
    await rm(folder, { recursive: true, force: true });
    if (left.length > 0) {
      throw new Error(`processes of local machines are left behind: ${left.join(", ")}`);
    }
    process.stdout.write("no process of a local machine is left behind\n");
  };
}
