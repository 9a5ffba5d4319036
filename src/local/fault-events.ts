/** Faults of events on their way to a queue: lost, late, twice, out of order. What is not of S3 or EC2 passes unharmed. */
import { type EventFault, matchesFields, type RuleOf } from "./fault-rules.ts";
import type { Faults } from "./faults.ts";

export type EventFaults = {
  send(queue: string, body: string): void;
  /** Delivers what is still held back: a stop of the cloud loses no event that no rule said to lose. */
  close(): void;
};

type Held = { readonly queue: string; readonly body: string; timer?: NodeJS.Timeout };

/** `deliver` throws when the queue is gone; what comes late is then lost. */
export function createEventFaults(
  faults: Faults,
  deliver: (queue: string, body: string) => void,
): EventFaults {
  const held = new Set<Held>();
  /** Of those, the ones that wait to be overtaken. */
  const overtaken = new Set<Held>();

  const release = (event: Held): void => {
    clearTimeout(event.timer);
    overtaken.delete(event);
    if (!held.delete(event)) return;
    try {
      deliver(event.queue, event.body);
    } catch {
      // Nobody waits for it any more.
    }
  };
  const hold = (event: Held, ms: number): void => {
    held.add(event);
    event.timer = setTimeout(release, ms, event);
  };
  const deliverNow = (queue: string, body: string): void => {
    deliver(queue, body);
    for (const event of overtaken) if (event.queue === queue) release(event);
  };

  return {
    send: (queue, body) => {
      const isMatch = matcher(body);
      if (!isMatch) return deliver(queue, body);
      if (faults.fire("event-lost", isMatch)) return;
      const twice = faults.fire("event-twice", isMatch);
      if (twice) hold({ queue, body }, twice.ms);
      const late = faults.fire("event-late", isMatch);
      if (late) return hold({ queue, body }, late.ms);
      const disordered = faults.fire("event-out-of-order", isMatch);
      if (!disordered) return deliverNow(queue, body);
      const event: Held = { queue, body };
      overtaken.add(event);
      hold(event, disordered.ms);
    },
    close: () => {
      for (const event of held) release(event);
    },
  };
}

type IsMatch = (rule: RuleOf<EventFault>) => boolean;

/** Undefined for what is no event. */
function matcher(body: string): IsMatch | undefined {
  const event = readEvent(body);
  if (!event) return undefined;
  return ({ source, match }) =>
    (source === undefined || source === event.source) && matchesFields(match, event.fields);
}

type ReadEvent = {
  readonly source: "s3" | "ec2";
  /** S3: `name`, `bucket`, `key`. EC2: `instanceId`, `state`. */
  readonly fields: Readonly<Record<string, string>>;
};

/** The two forms that the local cloud itself writes. */
type Written = {
  readonly Records?: readonly {
    readonly eventName: string;
    readonly s3: { readonly bucket: { readonly name: string }; readonly object: { key: string } };
  }[];
  readonly detail?: { readonly "instance-id": string; readonly state: string };
};

function readEvent(body: string): ReadEvent | undefined {
  const { Records: [record] = [], detail } = JSON.parse(body) as Written;
  if (record) {
    const { bucket, object } = record.s3;
    const key = decodeURIComponent(object.key.replaceAll("+", " "));
    return { source: "s3", fields: { name: record.eventName, bucket: bucket.name, key } };
  }
  return (
    detail && {
      source: "ec2",
      fields: { instanceId: detail["instance-id"], state: detail.state },
    }
  );
}
