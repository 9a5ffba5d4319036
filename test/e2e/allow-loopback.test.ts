/** `errand local --allow-loopback`: which ports of the host's loopback the machines in sandboxes have. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { runErrand, startErrand } from "../support/errand.ts";
import { whyNot } from "../support/sandbox-host.ts";

const hasNoSandbox = (await whyNot("bwrap")) !== "" && (await whyNot("unshare")) !== "";

/** One of the host's servers that no test has said machines may reach. */
async function listen(): Promise<number> {
  const server = createServer((_, response) => response.end("served"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

const PROBE = `
import sys, urllib.request
def reach(port):
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read().decode()
    except OSError as error:
        return "unreachable"
print(*map(reach, sys.argv[1:]))
`;

it.skipIf(hasNoSandbox)("lets machines have the named ports and no others", async () => {
  const [open, shut] = [await listen(), await listen()];
  const errand = await startErrand({ words: ["--allow-loopback", `${open},1`] });
  const directory = await makeDirectory({
    ".dstack/workflows.yaml": `workflows: [{name: probe, provider: python, python_script: probe.py ${open} ${shut}}]`,
    "probe.py": PROBE,
  });
  const { code, stdout } = await errand.run("submit", directory);
  expect(code).toBe(0);
  expect(stdout).toContain("| served unreachable\n");
});

it.each(["0", "65536", "http", "", "80,,81", "80,"])("refuses the ports %j", async (ports) => {
  const { code, stderr } = await runErrand("local", "--allow-loopback", ports);
  expect(code).toBe(2);
  expect(stderr).toContain("write ports from 1 to 65535, as in 8000,8001.");
});
