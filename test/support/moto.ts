/** moto, an AWS that we did not write, as a process: with a bucket, its queue and the notifications between them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { CreateBucketCommand, PutBucketNotificationConfigurationCommand } from "@aws-sdk/client-s3";
import { CreateQueueCommand, GetQueueAttributesCommand } from "@aws-sdk/client-sqs";
import { type Clients, createClients } from "../../src/aws/clients.ts";

export type Moto = {
  readonly endpoint: string;
  readonly region: string;
  readonly clients: Clients;
  readonly bucket: string;
  readonly queueUrl: string;
  stop(): Promise<void>;
};

const REGION = "us-east-1";
const BUCKET = "errand-moto";

/** With a bucket and its queue. Everything is in its memory, and gone with it. */
export async function startMoto(bin: string): Promise<Moto> {
  const { endpoint, stop: kill } = await startMotoServer(bin);
  const credentials = { accessKeyId: "moto", secretAccessKey: "moto" };
  const clients = createClients({ region: REGION, endpoint, credentials });
  const stop = async () => {
    clients.close();
    await kill();
  };
  try {
    const queueUrl = await prepare(clients);
    return { endpoint, region: REGION, clients, bucket: BUCKET, queueUrl, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

export type MotoServer = { readonly endpoint: string; stop(): Promise<void> };

/** The process alone. `bin` is where `moto_server` is. */
export async function startMotoServer(bin: string): Promise<MotoServer> {
  const server = spawn(join(bin, "moto_server"), ["-H", "127.0.0.1", "-p", "0"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = once(server, "exit");
  const stop = async () => {
    server.kill("SIGKILL");
    await ended;
  };
  try {
    return { endpoint: await readEndpoint(server), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** It says where it listens once it does, and later a line for each request, which must be read on. */
async function readEndpoint(server: ChildProcess): Promise<string> {
  if (!server.stderr) throw new Error("moto has no output");
  const lines = createInterface(server.stderr);
  const said: string[] = [];
  const found = new Promise<string>((resolve, reject) => {
    lines.on("line", (line) => {
      if (said.length < 50) said.push(line);
      const endpoint = /Running on (http:\/\/127\.0\.0\.1:\d+)/.exec(line)?.[1];
      if (endpoint) resolve(endpoint);
    });
    lines.on("close", () => reject(new Error(`moto ended at once: ${said.join("\n")}`)));
  });
  return found;
}

async function prepare({ s3, sqs }: Clients): Promise<string> {
  await s3.send(new CreateBucketCommand({ Bucket: BUCKET }));
  const { QueueUrl = "" } = await sqs.send(new CreateQueueCommand({ QueueName: "errand" }));
  const asked = { QueueUrl, AttributeNames: ["QueueArn" as const] };
  const { Attributes } = await sqs.send(new GetQueueAttributesCommand(asked));
  await s3.send(
    new PutBucketNotificationConfigurationCommand({
      Bucket: BUCKET,
      NotificationConfiguration: {
        QueueConfigurations: ["drops/", "inbox/"].map((prefix) => ({
          QueueArn: Attributes?.QueueArn,
          Events: ["s3:ObjectCreated:*"],
          Filter: { Key: { FilterRules: [{ Name: "prefix", Value: prefix }] } },
        })),
      },
    }),
  );
  return QueueUrl;
}
