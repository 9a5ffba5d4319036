/** What every Events promises: that a written object wakes whoever waits, until it is acknowledged. */
import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import type { Events, Message, Store } from "../../src/ports.ts";
import { type Backend, conformance } from "./backend.ts";

export type EventsUnderTest = {
  readonly events: Events;
  /** The bucket whose `drops/` the events tell of. */
  readonly store: Store;
};

const RECEIVES_MAX = 20;

/** `makeWorld` is called for each test; all may share one queue. Unacknowledged messages should come again in seconds. */
export function eventsConformance(
  backend: Backend,
  makeWorld: () => Promise<EventsUnderTest>,
): void {
  conformance("events", backend, (test) => {
    const names = ["plain", "a space", "a+plus", "a%20percent", "snow ☃", "a&b=c"];
    for (const name of names) {
      test(`a drop named ${JSON.stringify(name)} wakes with its key`, async () => {
        const { events, store } = await makeWorld();
        const key = `drops/${randomUUID()}/${name}.tar.gz`;
        await store.put(key, "x");
        const message = await receiveOf(events, key);
        expect(message.wakes).toContainEqual({ type: "object", key });
        await events.acknowledge([message]);
      });
    }

    test("what is not acknowledged comes again, and what is does not", async () => {
      const { events, store } = await makeWorld();
      const key = `drops/${randomUUID()}.tar.gz`;
      const other = `drops/${randomUUID()}.tar.gz`;
      await store.put(key, "x");
      await receiveOf(events, key);
      const again = await receiveOf(events, key);
      await events.acknowledge([again]);
      await store.put(other, "x");
      const seen: string[] = [];
      for (let index = 0; index < RECEIVES_MAX && !seen.includes(other); index++) {
        seen.push(...(await receiveKeys(events)));
      }
      expect(seen).toContain(other);
      expect(seen).not.toContain(key);
    });

    test("acknowledging nothing, or the same twice, is no error", async () => {
      const { events, store } = await makeWorld();
      const key = `drops/${randomUUID()}.tar.gz`;
      await store.put(key, "x");
      const message = await receiveOf(events, key);
      await events.acknowledge([]);
      await events.acknowledge([message]);
      await events.acknowledge([message]);
    });

    test("waiting ends at once when the signal aborts", async () => {
      const { events } = await makeWorld();
      const controller = new AbortController();
      const received = events.receive(controller.signal);
      controller.abort();
      expect(await received).toBeInstanceOf(Array);
      expect(await events.receive(controller.signal)).toEqual([]);
    });
  });
}

/** Acknowledges other messages on the way. */
async function receiveOf(events: Events, key: string): Promise<Message> {
  for (let index = 0; index < RECEIVES_MAX; index++) {
    const messages = await events.receive(AbortSignal.timeout(30_000));
    const found = messages.find((message) => keysIn(message).includes(key));
    await events.acknowledge(messages.filter((message) => message !== found));
    if (found) return found;
  }
  throw new Error(`no event told of ${key}`);
}

/** Acknowledges what it receives. */
async function receiveKeys(events: Events): Promise<readonly string[]> {
  const messages = await events.receive(AbortSignal.timeout(30_000));
  await events.acknowledge(messages);
  return messages.flatMap(keysIn);
}

const keysIn = ({ wakes }: Message): readonly string[] =>
  wakes.flatMap((wake) => (wake.type === "object" ? [wake.key] : []));
