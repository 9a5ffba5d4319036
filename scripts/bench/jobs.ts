/** One job that runs a script, dropped into a bucket as users do. */
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { key, runId } from "../../src/core/layout.ts";
import type { RunView } from "../../src/core/view.ts";
import type { Store } from "../../src/ports.ts";

export type RunningJob = { readonly run: string; readonly instanceId: string };

const WORKFLOWS =
  "workflows:\n  - {name: bench, provider: python, python_script: bench.py, resources: {max_duration: 10m}}\n";

/** Resolves when it runs. */
export async function submitScript(store: Store, script: string): Promise<RunningJob> {
  const letters = "abcdefghijklmnopqrstuvwxyz";
  const suffix = Array.from({ length: 6 }, () => letters[Math.floor(Math.random() * 26)]).join("");
  const run = runId(new Date().toISOString(), suffix);
  await store.put(`drops/${run}.tar.gz`, await packBundle(script));
  const view = await untilView(store, run, ({ jobs }) => jobs[0]?.state === "running");
  return { run, instanceId: view.jobs[0]?.attempts[0]?.instanceId ?? "" };
}

export async function untilView(
  store: Store,
  run: string,
  isSo: (view: RunView) => boolean,
): Promise<RunView> {
  let text = "";
  for (let tries = 0; tries < 3_000; tries++) {
    const object = await store.find(key.status(run));
    text = new TextDecoder().decode(object?.body);
    if (text !== "") {
      const view = JSON.parse(text) as RunView;
      if (isSo(view)) return view;
    }
    await sleep(50);
  }
  throw new Error(`run ${run} is not as it should be: ${text}`);
}

async function packBundle(script: string): Promise<Uint8Array> {
  const archive = pack();
  archive.entry({ name: ".dstack/workflows.yaml" }, WORKFLOWS);
  archive.entry({ name: "bench.py" }, script);
  archive.finalize();
  const parts: Uint8Array[] = [];
  for await (const part of archive) parts.push(part as Uint8Array);
  return gzipSync(Buffer.concat(parts));
}
