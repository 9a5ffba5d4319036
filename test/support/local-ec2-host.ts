/**
 * A process that holds the EC2 part of a local cloud until it is killed, or told to end, which ends its machines:
 * `FOLDER PORT BOOT_MS SANDBOX ALLOWED-PORTS SHARE`. Prints its endpoint, and what isolates its machines.
 */
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
