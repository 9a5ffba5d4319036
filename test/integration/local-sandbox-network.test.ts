/** A machine in a sandbox that loses its network loses its way out, too: what goes through the sandbox's proxy. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { EC2Client, GetConsoleOutputCommand } from "@aws-sdk/client-ec2";
import { expect, it, onTestFinished, vi } from "vitest";
import { makeFaultCalls } from "../support/faults.ts";
import { TEST_TYPES } from "../support/local-ec2.ts";
import { launch, WAIT } from "../support/machine.ts";
import { whyNot } from "../support/sandbox-host.ts";
import { startTestCloud } from "../support/test-cloud.ts";

/** Stands in for the internet: the host's own proxy, whose answers do not end. */
async function startUpstream(): Promise<string> {
  const server = createServer((_request, response) => {
    const timer = setInterval(() => response.write("still here\n"), 50);
    response.on("close", () => clearInterval(timer));
  });
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Says what becomes of a transfer, and of the next ones. */
const USER_DATA = `#!/usr/bin/env python3
import http.client, os, time, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": os.environ["http_proxy"]}))
os.environ["no_proxy"] = ""
while True:
    try:
        answer = opener.open("http://example.test/", timeout=10)
        print("reached", flush=True)
        while answer.read(11): pass
    except OSError:
        print("unreachable", flush=True)
    except http.client.IncompleteRead:
        print("broken off", flush=True)
    time.sleep(0.1)
`;

it("the proxy of a machine breaks off and refuses while its network is lost, and no longer", async ({
  skip,
}) => {
  const reason = (await whyNot("bwrap")) && (await whyNot("unshare"));
  if (reason !== "") return skip(reason);
  const world = await startTestCloud({
    instanceTypes: TEST_TYPES,
    bootMs: 10,
    sandbox: "auto",
    environment: { PATH: process.env.PATH ?? "", http_proxy: await startUpstream() },
  });
  onTestFinished(world.dispose);
  const { endpoint, region, accessKeyId, secretAccessKey } = world.cloud;
  const ec2 = new EC2Client({ endpoint, region, credentials: { accessKeyId, secretAccessKey } });
  const [id = ""] = await launch(ec2, USER_DATA);
  const told = async (): Promise<readonly string[]> => {
    const { Output = "" } = await ec2.send(new GetConsoleOutputCommand({ InstanceId: id }));
    const lines = Buffer.from(Output, "base64").toString().trim().split("\n");
    return lines.filter((line, index) => line !== lines[index - 1]);
  };
  await vi.waitFor(async () => expect(await told()).toEqual(["reached"]), WAIT);
  const faults = makeFaultCalls(() => world.cloud);
  await faults.add({ fault: "network-loss", forMs: 2_000, match: { instanceId: id } });
  const expected = ["reached", "broken off", "unreachable", "reached"];
  await vi.waitFor(async () => expect(await told()).toEqual(expected), WAIT);
  ec2.destroy();
});
