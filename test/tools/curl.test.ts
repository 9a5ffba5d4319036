/** The curl provider with a file that fits into no memory, from a server that breaks off in the middle. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { expect, it } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { listMachineProcesses, startErrand } from "../support/errand.ts";
import { serve } from "../support/serve.ts";

const MIB = 1 << 20;
const SIZE_MIB = 1024;
/** Each differs from its neighbours, so that a piece in the wrong place is another file. */
const blockOf = (at: number): Buffer => Buffer.alloc(MIB, `block ${at} `);

/** Answers ranges that begin on a whole block; of the first answer, only half is sent. */
function serveHalf(request: IncomingMessage, response: ServerResponse, isFirst: boolean): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const size = SIZE_MIB * MIB;
  const isRest = from > 0 && request.headers["if-range"] === '"v1"';
  const start = isRest ? from : 0;
  response.writeHead(isRest ? 206 : 200, {
    etag: '"v1"',
    "content-length": size - start,
    ...(isRest && { "content-range": `bytes ${start}-${size - 1}/${size}` }),
  });
  const end = isFirst ? size / 2 : size;
  void send(response, start, end).then(() => isFirst && response.destroy());
}

async function send(response: ServerResponse, start: number, end: number): Promise<void> {
  for (let at = start; at < end && !response.destroyed; ) {
    const block = blockOf(Math.floor(at / MIB)).subarray(at % MIB);
    at += block.length;
    if (!response.write(block)) await once(response, "drain").catch(() => undefined);
  }
  if (end === SIZE_MIB * MIB) response.end();
}

it("a file of 1 GiB whose transfer breaks off is resumed, verified, and never held in memory", async () => {
  const ranges: (string | undefined)[] = [];
  const base = await serve((request, response) => {
    ranges.push(request.headers.range);
    serveHalf(request, response, ranges.length === 1);
  });
  const sum = createHash("sha256");
  for (let at = 0; at < SIZE_MIB; at++) sum.update(blockOf(at));
  const project = await makeDirectory({
    ".dstack/workflows.yaml": JSON.stringify({
      workflows: [
        {
          name: "large",
          provider: "curl",
          url: `${base}/large.bin`,
          output: "raw/large.bin",
          sha256: sum.digest("hex"),
        },
      ],
    }),
  });
  const errand = await startErrand();
  const submitted = errand.start("submit", project);
  const peaks: number[] = [];
  let isOver = false;
  void submitted.finished.then(() => {
    isOver = true;
  });
  while (!isOver) {
    peaks.push(...(await peaksOf(errand.data)));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { code, stdout } = await submitted.finished;

  expect(code, stdout).toBe(0);
  expect(stdout).toMatch(new RegExp(`large\\.bin: ${SIZE_MIB * MIB} bytes`));
  expect(ranges[0]).toBeUndefined();
  expect(ranges.slice(1).every((range) => /^bytes=\d{6,}-$/.test(range ?? ""))).toBe(true);
  expect(ranges.length).toBeGreaterThan(1);
  // An interpreter with its libraries is some 30 MiB.
  expect(peaks.length).toBeGreaterThan(0);
  expect(Math.max(...peaks)).toBeLessThan(96 * MIB);
});

/** The most memory that the downloading process, and the runner beside it, have had so far. */
async function peaksOf(data: string): Promise<number[]> {
  const peaks: number[] = [];
  for (const pid of await listMachineProcesses(data)) {
    const words = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    const kib = /^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1];
    if (words.includes("\0fetch\0") && kib) peaks.push(Number(kib) * 1024);
  }
  return peaks;
}
