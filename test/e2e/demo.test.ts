import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { waitFor } from "../support/errand.ts";

const demoPath = path.join(
  fileURLToPath(new URL("../..", import.meta.url)),
  "dist/scripts/demo.js",
);

/** The demo with its output so far. */
function startDemo() {
  const child = spawn(process.execPath, [demoPath], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGTERM"));
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
  });
  const finished = once(child, "close").then(([code]) => code as number | null);
  return { child, finished, output: () => output };
}

it("the demo shows the whole way of a run and leaves nothing behind", async () => {
  const demo = startDemo();
  expect(await demo.finished).toBe(0);
  const output = demo.output();
  expect(output).toMatch(/^train +\| epoch 8\/8/m);
  expect(output).toMatch(/^ +train +succeeded +g4dn\.xlarge +us-east-1\w +\$0\.5260\/h/m);
  expect(output).toMatch(/^ +queued +api +pending +boot +inputs +setup +run +upload +terminate$/m);
  expect(output).toContain("loss.svg");
  expect(output).toContain("no process is left behind");
});

it("the demo leaves nothing behind when it is interrupted in the middle of a job", async () => {
  const demo = startDemo();
  await waitFor(
    "the first job",
    async () => demo.output(),
    (text) => text.includes("prepare  |"),
  );
  demo.child.kill("SIGINT");
  expect(await demo.finished).toBe(130);
  expect(demo.output()).toContain("no process is left behind");
});
