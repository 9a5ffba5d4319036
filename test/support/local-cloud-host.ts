/** A local cloud in a process of its own, to be killed: `local-cloud-host.ts DIRECTORY`. Prints where it is, as JSON. */
import { startLocalCloud } from "../../src/local/local-cloud.ts";

const cloud = await startLocalCloud({
  directory: process.argv[3] ?? "",
  port: 0,
  instanceTypes: [],
  log: () => {},
});
const { endpoint, region, accessKeyId, secretAccessKey } = cloud;
process.stdout.write(`${JSON.stringify({ endpoint, region, accessKeyId, secretAccessKey })}\n`);
