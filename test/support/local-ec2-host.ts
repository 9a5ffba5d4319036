/** A process that holds the EC2 part of a local cloud until it is killed: `FOLDER PORT BOOT_MS`. Prints its endpoint. */
import { startLocalEc2 } from "./local-ec2.ts";

const [folder = "", port = "0", bootMs = "10"] = process.argv.slice(3);
const { endpoint } = await startLocalEc2({ folder, port: Number(port), bootMs: Number(bootMs) });
process.stdout.write(`${endpoint}\n`);
