/**
 * A process that holds the EC2 part of a local cloud until it is killed, or told to end, which ends its machines:
 * `FOLDER PORT BOOT_MS SANDBOX ALLOWED-PORTS SHARE`. Prints its endpoint, and what isolates its machines. For each line that comes,
 * `["i-…", word…]`, it runs that command inside of that machine, and prints what it wrote and how it ended as one line.
 */
import { once } from "node:events";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import type { SandboxChoice } from "../../src/local/sandbox.ts";
import { startLocalEc2 } from "./local-ec2.ts";

const [folder = "", port = "0", bootMs = "10", sandbox = "none", ports = "", share = ""] =
  process.argv.slice(3);
const cloud = await startLocalEc2({
  folder,
  port: Number(port),
  bootMs: Number(bootMs),
  sandbox: sandbox as SandboxChoice,
  allowLoopback: ports.split(",").filter(Boolean).map(Number),
  shares: share === "" ? [] : [share],
});
process.once("SIGTERM", () => void cloud.stop().then(() => process.exit(0)));
process.stdout.write(`${cloud.endpoint}\n${cloud.sandbox.notice}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const [instanceId, ...words] = JSON.parse(line) as string[];
  const command = cloud.run(instanceId ?? "", words);
  const ended = once(command, "exit");
  const [stdout, stderr] = await Promise.all([text(command.stdout), text(command.stderr)]);
  const [code] = (await ended) as [number | null];
  process.stdout.write(`${JSON.stringify({ stdout, stderr, code })}\n`);
}
