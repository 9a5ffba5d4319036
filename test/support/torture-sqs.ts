/** Messages under torture: all actors share one queue, and what is known of it. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import {
  ChangeMessageVisibilityCommand,
  CreateQueueCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
} from "@aws-sdk/client-sqs";
import type { Random } from "../simulation/random.ts";
import { type Actor, type Clients, check } from "./torture.ts";

type Known = {
  isSent: boolean;
  /** `asked` where the deletion was not answered. */
  deletion: "none" | "asked" | "done";
  /** How often it was certainly received. */
  receives: number;
};

/** By the message's body. */
export type Ledger = Map<string, Known>;

const QUEUE = "torture";
const VISIBILITY_SECONDS = 1;

async function openQueue({ sqs }: Clients): Promise<string> {
  const { QueueUrl = "" } = await sqs.send(new CreateQueueCommand({ QueueName: QUEUE }));
  return QueueUrl;
}

/** `shared` is the same for all actors. Only one of them should verify. */
export function makeSqsActor(shared: Ledger, random: Random): Actor {
  let url: string | undefined;
  async function send({ sqs }: Clients, QueueUrl: string): Promise<void> {
    const MessageBody = randomUUID();
    const one: Known = { isSent: false, deletion: "none", receives: 0 };
    shared.set(MessageBody, one);
    await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody }));
    one.isSent = true;
  }

  async function receive({ sqs }: Clients, QueueUrl: string): Promise<void> {
    const command = { QueueUrl, VisibilityTimeout: VISIBILITY_SECONDS, MaxNumberOfMessages: 5 };
    const { Messages = [] } = await sqs.send(new ReceiveMessageCommand(command));
    for (const { Body = "", ReceiptHandle } of Messages) {
      const one = shared.get(Body);
      check(one !== undefined, () => `a message that nobody sent: ${Body}`);
      check(one.deletion !== "done", () => `a deleted message was received: ${Body}`);
      one.receives += 1;
      if (!random.chance(0.6)) continue;
      if (one.deletion === "none") one.deletion = "asked";
      await sqs.send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle }));
      // With the handle of an earlier receive it need not be deleted.
      if (one.receives === 1) one.deletion = "done";
    }
  }

  return {
    async act(clients) {
      url ??= await openQueue(clients);
      return random.chance(0.6) ? send(clients, url) : receive(clients, url);
    },
    async verify(clients) {
      await verifyQueue(clients, shared, await openQueue(clients));
    },
  };
}

async function verifyQueue(clients: Clients, ledger: Ledger, url: string): Promise<void> {
  const { sqs } = clients;
  const found = new Map<string, Message>();
  for (const message of await listMessages(clients, url)) found.set(message.Body ?? "", message);
  for (const [body, one] of ledger) {
    const message = found.get(body);
    if (message) {
      check(one.deletion !== "done", () => `a deleted message is there: ${body}`);
      const count = Number(message.Attributes?.ApproximateReceiveCount);
      // This look is one more.
      check(count > one.receives, () => `${body} was received ${one.receives} times, not ${count}`);
      one.isSent = true;
      one.deletion = "none";
      one.receives = count;
    } else {
      const mayBeGone = !one.isSent || one.deletion !== "none";
      check(mayBeGone, () => `an acknowledged message is lost: ${body}`);
      ledger.delete(body);
    }
  }
  const strange = [...found.keys()].find((body) => !ledger.has(body));
  check(strange === undefined, () => `a message that nobody sent: ${strange}`);
  for (const { ReceiptHandle } of found.values()) {
    const back = { QueueUrl: url, ReceiptHandle, VisibilityTimeout: 0 };
    await sqs.send(new ChangeMessageVisibilityCommand(back));
  }
}

const LOOKS_MAX = 100;

/** Each once. Waits for those that are with receivers who are gone. */
async function listMessages({ sqs }: Clients, QueueUrl: string): Promise<readonly Message[]> {
  for (let look = 0; ; look += 1) {
    const ask = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ["All"] });
    const { Attributes = {} } = await sqs.send(ask);
    if (Attributes.ApproximateNumberOfMessagesNotVisible === "0") break;
    check(look < LOOKS_MAX, () => "messages stay with receivers that are gone");
    await sleep(50);
  }
  const messages: Message[] = [];
  for (;;) {
    const command = new ReceiveMessageCommand({
      QueueUrl,
      VisibilityTimeout: 300,
      MaxNumberOfMessages: 10,
      MessageSystemAttributeNames: ["ApproximateReceiveCount"],
    });
    const { Messages = [] } = await sqs.send(command);
    if (Messages.length === 0) return messages;
    messages.push(...Messages);
  }
}
