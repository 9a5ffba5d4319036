/** A local cloud in a process of its own, to be killed: `local-cloud-host.ts DIRECTORY`. Prints where it is, as JSON. */
import { startLocalCloud } from "../../src/local/local-cloud.ts";

const cloud = await startLocalCloud({
  directory: process.argv[3] ?? "",
  port: 0,
  instanceTypes: [
    {
      name: "m5.large",
      vcpus: 2,
      memoryMib: 8192,
      architectures: ["x86_64"],
      hypervisor: "nitro",
      isBareMetal: false,
      isBurstable: false,
    },
  ],
  bootMs: 20,
  throttling: false,
  // Machines write where the test looks.
  sandbox: "none",
  // So that a kill hits a journal while it is rewritten, too.
  rewriteLinesMin: 200,
  log: (message, { error }) => {
    if (error instanceof Error) process.stderr.write(`${message}: ${error.stack}\n`);
  },
});
const { endpoint, region, accessKeyId, secretAccessKey } = cloud;
process.stdout.write(`${JSON.stringify({ endpoint, region, accessKeyId, secretAccessKey })}\n`);
