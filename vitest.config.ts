import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

const project = (name: string, testTimeout: number, retry = 0) => ({
  extends: true as const,
  test: { name, include: [`test/${name}/**/*.test.ts`], testTimeout, hookTimeout: 120_000, retry },
});
/** Of tests of real processes. What needed one is told by scripts/tally.ts. */
const RETRIES = Number(process.env.TEST_RETRIES ?? 0);

export default defineConfig({
  test: {
    setupFiles: ["test/support/property-tests.ts"],
    globalSetup: ["test/support/survivors.ts"],
    // Half of the time a test waits for a process: one worker more than there are cores. Vitest's own choice is one less.
    maxWorkers: availableParallelism() + 1,
    // Tests share no state, and to load the SDK anew for each file takes longer than most of them.
    isolate: false,
    env: { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true" },
    projects: [
      project("unit", 10_000),
      project("simulation", 900_000),
      project("conformance", 60_000),
      project("integration", 60_000, RETRIES),
      project("e2e", 180_000, RETRIES),
      // For test:all alone: with programs from elsewhere, or with much disk.
      project("tools", 180_000, RETRIES),
      // And what anybody may drop, in quantities.
      project("hostile", 900_000, RETRIES),
    ],
  },
});
