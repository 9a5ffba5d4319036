/** The provider curl against a server that redirects, stumbles and lies. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import path from "node:path";
import { expect, it } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { runErrand, startErrand } from "../support/errand.ts";
import { serve } from "../support/serve.ts";

const BODY = "a file worth having\n".repeat(50_000);
const SHA256 = createHash("sha256").update(BODY).digest("hex");

const HEAD = { "content-length": BODY.length, "accept-ranges": "bytes", etag: '"1"' };

/** At /file BODY, at /broken its halves, at /busy BODY on the third try, at /moved two redirects. */
function answerer(): (url: string, from: number, response: ServerResponse) => void {
  let calls = 0;
  const whole = (response: ServerResponse) => response.writeHead(200, HEAD).end(BODY);
  const places: Readonly<Record<string, (response: ServerResponse, from: number) => unknown>> = {
    "/file": whole,
    "/a%20b%27%24(x)%C3%BC": whole,
    "/moved": (response) => response.writeHead(302, { location: "/moved-again" }).end(),
    "/moved-again": (response) => response.writeHead(307, { location: "/file" }).end(),
    "/busy": (response) => {
      calls += 1;
      return calls > 2 ? whole(response) : response.writeHead(503).end("busy");
    },
    "/broken": (response, from) => {
      if (from === 0) {
        return response
          .writeHead(200, HEAD)
          .write(BODY.slice(0, 400_000), () => response.destroy());
      }
      const range = `bytes ${from}-${BODY.length - 1}/${BODY.length}`;
      const head = { ...HEAD, "content-range": range, "content-length": BODY.length - from };
      return response.writeHead(206, head).end(BODY.slice(from));
    },
  };
  return (url, from, response) => {
    const answer = places[url];
    if (answer) answer(response, from);
    else response.writeHead(403).end("no");
  };
}

function serveAll(): Promise<string> {
  const answer = answerer();
  return serve(({ url = "", headers }, response) => {
    answer(url, Number(/^bytes=(\d+)-/.exec(headers.range ?? "")?.[1] ?? 0), response);
  });
}

const job = (name: string, url: string, output: string, rest = "") =>
  `  - name: ${name}\n    provider: curl\n    url: ${JSON.stringify(url)}\n    output: ${JSON.stringify(output)}\n    artifacts: [raw]\n${rest}`;

it("follows redirects, tries again, resumes, checks the sum, and leaves no part of a file that is not whole", async () => {
  const url = await serveAll();
  const errand = await startErrand();
  const directory = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:\n${[
      job("moved", `${url}/moved`, "raw/deep/er/x", `    sha256: ${SHA256.toUpperCase()}\n`),
      job("busy", `${url}/busy`, "raw/x"),
      job("broken", `${url}/broken`, "raw/x", `    sha256: ${SHA256}\n`),
      job("odd", `${url}/a%20b%27%24(x)%C3%BC`, "raw/$(x) 'ü\" b"),
      job("refused", `${url}/refused`, "raw/x"),
      job("wrong", `${url}/file`, "raw/x", `    sha256: ${"0".repeat(64)}\n`),
    ].join("")}`,
  });
  expect((await errand.run("submit", directory)).code).toBe(1);
  const view = await errand.show();
  const reasons = Object.fromEntries(
    view.jobs.map(({ name, state, reason }) => [name, reason || state]),
  );
  expect(reasons).toEqual({
    ...{ moved: "succeeded", busy: "succeeded", broken: "succeeded", odd: "succeeded" },
    refused: `HTTP 403 for ${url}/refused`,
    wrong: expect.stringMatching(/sha256/),
  });
  const into = await makeDirectory();
  expect((await errand.run("artifacts", "latest", "--download", into)).code).toBe(0);
  const read = (file: string) => readFile(path.join(into, file), "utf8").catch(() => "nothing");
  expect(await read("moved/raw/deep/er/x")).toBe(BODY);
  expect(await read("busy/raw/x")).toBe(BODY);
  expect(await read("broken/raw/x")).toBe(BODY);
  expect(await read("odd/raw/$(x) 'ü\" b")).toBe(BODY);
  expect([await read("refused/raw/x"), await read("wrong/raw/x")]).toEqual(["nothing", "nothing"]);
  // A download may use a machine on CPU credits.
  expect(view.jobs[0]?.attempts[0]?.instanceType).toMatch(/^t3a?\./);
});

it("refuses other schemes and odd checksums, and warns of an output that no artifact holds", async () => {
  const refused = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:\n${job("a", "file:///etc/passwd", "raw/x", "    sha256: 12\n")}`,
  });
  const { code, stdout } = await runErrand("check", refused);
  expect(code).toBe(2);
  expect(stdout).toContain('"file:" URLs are refused; only http, https and ftp are fetched');
  expect(stdout).toContain("must be a SHA-256 checksum of 64 hex digits");
  const lost = await makeDirectory({
    ".dstack/workflows.yaml": `workflows:\n${job("a", "https://example.com/x", "other/x")}`,
  });
  const warned = await runErrand("check", lost);
  expect(warned.code).toBe(0);
  expect(warned.stderr).toContain(
    '"other/x" lies under no artifact and will be gone with the machine',
  );
});
