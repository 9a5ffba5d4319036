/** The queues of the local SQS: standard queues with visibility, long polls and dead letters, durable in one journal. */
import { createHash, randomUUID } from "node:crypto";
import { type Journal, openJournal } from "./journal.ts";
import type { MessageAttributes } from "./sqs-message-attributes.ts";

export type Message = {
  readonly id: string;
  readonly body: string;
  /** Of the body, hex. */
  readonly md5: string;
  readonly attributes?: MessageAttributes;
  /** Times in milliseconds since 1970. */
  readonly sentAt: number;
  /** Before this it is delayed or with a receiver. */
  readonly visibleAt: number;
  readonly receiveCount: number;
  readonly firstReceivedAt?: number;
  /** Of the last receive; only this one deletes the message. */
  readonly receipt?: string;
};

/** Attributes by AWS's names, as text. */
export type QueueAttributes = Readonly<Record<string, string>>;

export type Queue = {
  readonly name: string;
  readonly attributes: QueueAttributes;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly modifiedAt: number;
};

export type Receive = {
  readonly queue: string;
  readonly messagesMax: number;
  readonly visibilityMs: number;
  readonly waitMs: number;
  readonly signal: AbortSignal;
};

export type SendOptions = {
  /** Instead of the queue's own delay. */
  readonly delayMs?: number | undefined;
  readonly attributes?: MessageAttributes;
};

export type Queues = {
  list(): readonly Queue[];
  find(name: string): Queue | undefined;
  /** Creates the queue, or gives it these attributes. */
  put(name: string, attributes: QueueAttributes): void;
  /** With all its messages; those who wait for one get none. */
  removeQueue(name: string): void;
  /** All methods below throw Error for a queue that does not exist. */
  send(name: string, body: string, more?: SendOptions): Message;
  /** Waits up to `waitMs` for the first message; none when the signal aborts. */
  receive(options: Receive): Promise<readonly Message[]>;
  /** Undefined when it has been deleted. */
  findMessage(name: string, id: string): Message | undefined;
  remove(name: string, id: string): void;
  /** The message is seen again at `visibleAt`, milliseconds since 1970. */
  setVisibleAt(name: string, id: string, visibleAt: number): void;
  purge(name: string): void;
  count(name: string): {
    readonly visible: number;
    readonly inFlight: number;
    readonly delayed: number;
  };
  close(): void;
};

type Entry =
  | { readonly type: "queue"; readonly queue: Queue }
  | { readonly type: "no-queue"; readonly name: string }
  | MessageEntry;

type MessageEntry =
  | { readonly type: "sent"; readonly queue: string; readonly message: Message }
  | {
      readonly type: "changed";
      readonly queue: string;
      readonly id: string;
      readonly change: Partial<Message>;
    }
  | { readonly type: "moved"; readonly queue: string; readonly id: string; readonly to: string }
  | { readonly type: "gone"; readonly queue: string; readonly id: string }
  | { readonly type: "purged"; readonly queue: string };

/** Messages stand in the order of their sending. */
type Held = {
  queue: Queue;
  readonly messages: Map<string, Message>;
  readonly sleepers: Set<() => void>;
};

type State = {
  readonly held: Map<string, Held>;
  readonly journal: Journal<Entry>;
  readonly now: () => number;
};

export type QueuesOptions = {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Of the journal. */
  readonly rewriteLinesMin?: number | undefined;
};

/** AWS refuses longer timers; a sleeper looks again after this at the latest. */
const WAIT_MS_MAX = 20_000;

/** `path` is the journal's. Throws Error when it is damaged. */
export function openQueues(
  path: string,
  { now = Date.now, rewriteLinesMin }: QueuesOptions = {},
): Queues {
  const held = new Map<string, Held>();
  const journal = openJournal<Entry>({
    path,
    apply: (entry) => apply(held, entry),
    snapshot: () => snapshot(held),
    rewriteLinesMin,
  });
  const state: State = { held, journal, now };
  return {
    list: () => [...held.values()].map(({ queue }) => queue),
    find: (name) => held.get(name)?.queue,
    put(name, attributes) {
      const createdAt = held.get(name)?.queue.createdAt ?? now();
      write(state, { type: "queue", queue: { name, attributes, createdAt, modifiedAt: now() } });
    },
    removeQueue: (name) => write(state, { type: "no-queue", name }),
    send: (name, body, more = {}) => send(state, { name, body, more }),
    receive: (options) => receive(state, options),
    findMessage: (name, id) => findHeld(held, name).messages.get(id),
    remove(name, id) {
      if (findHeld(held, name).messages.has(id)) write(state, { type: "gone", queue: name, id });
    },
    setVisibleAt(name, id, visibleAt) {
      write(state, { type: "changed", queue: name, id, change: { visibleAt } });
    },
    purge: (name) => write(state, { type: "purged", queue: name }),
    count: (name) => count(findHeld(held, name), now()),
    close: () => journal.close(),
  };
}

function write(state: State, entry: Entry): void {
  // Before it is written: what cannot be applied now could not be at the next start either, and that would refuse the journal.
  if (entry.type !== "queue" && entry.type !== "no-queue") findHeld(state.held, entry.queue);
  state.journal.append(entry);
  apply(state.held, entry);
}

function apply(held: Map<string, Held>, entry: Entry): void {
  if (entry.type === "queue") applyQueue(held, entry.queue);
  else if (entry.type === "no-queue") removeQueue(held, entry.name);
  else applyMessage(held, entry);
}

function removeQueue(held: Map<string, Held>, name: string): void {
  const removed = held.get(name);
  held.delete(name);
  if (removed) wake(removed);
}

function applyQueue(held: Map<string, Held>, queue: Queue): void {
  const before = held.get(queue.name);
  if (before) before.queue = queue;
  else held.set(queue.name, { queue, messages: new Map(), sleepers: new Set() });
}

function applyMessage(held: ReadonlyMap<string, Held>, entry: MessageEntry): void {
  const { messages } = findHeld(held, entry.queue);
  switch (entry.type) {
    case "sent":
      messages.set(entry.message.id, entry.message);
      break;
    case "changed": {
      const message = messages.get(entry.id);
      if (message) messages.set(entry.id, { ...message, ...entry.change });
      break;
    }
    case "moved": {
      const message = messages.get(entry.id);
      messages.delete(entry.id);
      if (message) findHeld(held, entry.to).messages.set(entry.id, message);
      break;
    }
    case "gone":
      messages.delete(entry.id);
      break;
    case "purged":
      messages.clear();
  }
  if (entry.type !== "gone") wake(findHeld(held, entry.type === "moved" ? entry.to : entry.queue));
}

function* snapshot(held: ReadonlyMap<string, Held>): Iterable<Entry> {
  for (const { queue } of held.values()) yield { type: "queue", queue };
  for (const { queue, messages } of held.values()) {
    for (const message of messages.values()) yield { type: "sent", queue: queue.name, message };
  }
}

function findHeld(held: ReadonlyMap<string, Held>, name: string): Held {
  const found = held.get(name);
  if (!found) throw new Error(`there is no queue ${name}`);
  return found;
}

function send(
  state: State,
  { name, body, more }: { name: string; body: string; more: SendOptions },
): Message {
  const { queue } = findHeld(state.held, name);
  const sentAt = state.now();
  const message: Message = {
    id: randomUUID(),
    body,
    md5: createHash("md5").update(body).digest("hex"),
    sentAt,
    ...(more.attributes && { attributes: more.attributes }),
    visibleAt: sentAt + (more.delayMs ?? seconds(queue, "DelaySeconds")),
    receiveCount: 0,
  };
  write(state, { type: "sent", queue: name, message });
  return message;
}

async function receive(state: State, options: Receive): Promise<readonly Message[]> {
  const held = findHeld(state.held, options.queue);
  const deadline = state.now() + Math.min(options.waitMs, WAIT_MS_MAX);
  for (;;) {
    // The queue may have been deleted, and another created under its name.
    if (options.signal.aborted || state.held.get(options.queue) !== held) return [];
    const taken = take(state, held, options);
    const leftMs = deadline - state.now();
    if (taken.length > 0 || leftMs <= 0) return taken;
    await sleepUntilChange(held, {
      timeoutMs: Math.min(leftMs, msToNextVisible(held, state.now())),
      signal: options.signal,
    });
  }
}

function take(state: State, held: Held, options: Receive): Message[] {
  const now = state.now();
  const taken: Message[] = [];
  const keptMs = seconds(held.queue, "MessageRetentionPeriod");
  for (const message of held.messages.values()) {
    if (taken.length >= options.messagesMax) break;
    if (message.sentAt + keptMs <= now) {
      write(state, { type: "gone", queue: options.queue, id: message.id });
    } else if (message.visibleAt <= now && !buryDead(state, held.queue, message)) {
      const change = {
        visibleAt: now + options.visibilityMs,
        receiveCount: message.receiveCount + 1,
        firstReceivedAt: message.firstReceivedAt ?? now,
        receipt: randomUUID(),
      };
      write(state, { type: "changed", queue: options.queue, id: message.id, change });
      taken.push({ ...message, ...change });
    }
  }
  return taken;
}

/** True when the message has been received too often and now lies in the dead-letter queue. */
function buryDead(state: State, queue: Queue, message: Message): boolean {
  const policy = readRedrivePolicy(queue.attributes);
  if (!policy || message.receiveCount < policy.maxReceiveCount) return false;
  if (policy.queue === queue.name || !state.held.has(policy.queue)) return false;
  write(state, { type: "moved", queue: queue.name, id: message.id, to: policy.queue });
  return true;
}

/** Where messages go that were received too often; undefined when there is no policy, or none that can be read. */
export function readRedrivePolicy(
  attributes: QueueAttributes,
): { readonly queue: string; readonly maxReceiveCount: number } | undefined {
  try {
    const policy = JSON.parse(attributes.RedrivePolicy ?? "") as Record<string, unknown>;
    const queue = String(policy.deadLetterTargetArn).split(":")[5];
    const maxReceiveCount = Number(policy.maxReceiveCount);
    if (!queue || !(maxReceiveCount >= 1 && maxReceiveCount <= 1000)) return undefined;
    return { queue, maxReceiveCount };
  } catch {
    return undefined;
  }
}

function msToNextVisible(held: Held, now: number): number {
  let next = WAIT_MS_MAX;
  for (const { visibleAt } of held.messages.values()) next = Math.min(next, visibleAt - now);
  return Math.max(next, 1);
}

function sleepUntilChange(
  held: Held,
  { timeoutMs, signal }: { timeoutMs: number; signal: AbortSignal },
): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      held.sleepers.delete(done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, timeoutMs);
    held.sleepers.add(done);
    signal.addEventListener("abort", done);
  });
}

function wake(held: Held): void {
  for (const sleeper of [...held.sleepers]) sleeper();
}

function count(held: Held, now: number): ReturnType<Queues["count"]> {
  const counts = { visible: 0, inFlight: 0, delayed: 0 };
  for (const message of held.messages.values()) {
    if (message.visibleAt <= now) counts.visible += 1;
    else if (message.receiveCount > 0) counts.inFlight += 1;
    else counts.delayed += 1;
  }
  return counts;
}

const seconds = (queue: Queue, attribute: string): number =>
  Number(queue.attributes[attribute] ?? 0) * 1000;
