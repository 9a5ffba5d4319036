/** Whether S3's events arrive: a probe object is written, and heard of by the daemon that runs, or here where none does. */
import { createEvents } from "../../aws/events.ts";
import { prefix } from "../../core/layout.ts";
import { LEASE_MS, readLease } from "../../daemon/lease.ts";
import { systemClock } from "../system-clock.ts";
import type { Patient } from "./doctor.ts";
import { fail, type Outcome, pass, warn } from "./finding.ts";

const LOOK_MS = 500;

export async function checkEvents(patient: Patient): Promise<Outcome> {
  const { store, config, token } = patient;
  const cure = "The stack notifies a queue of drops/ and inbox/, and has its URL as an output.";
  if (config.queueUrl === undefined) {
    return warn("no queueUrl is set: drops are found by a sweep, within a minute", cure);
  }
  const name = `${prefix.probes}${token}`;
  const lease = await readLease(store);
  const isWatched = lease !== undefined && Date.now() - lease.until < LEASE_MS;
  const beganAt = Date.now();
  await store.put(name, "");
  try {
    const isHeard = await (isWatched ? waitForDaemon(patient, name) : waitForEvent(patient, name));
    const seconds = ((Date.now() - beganAt) / 1_000).toFixed(1);
    if (isHeard) return pass(`an object was heard of after ${seconds} s`);
  } finally {
    await store.remove(name);
  }
  const who = isWatched ? "the daemon" : "the queue";
  return fail(`${who} did not hear of an object within ${patient.eventMs / 1_000} s`, cure);
}

/** A daemon removes probes that it hears of, and only those. */
async function waitForDaemon({ store, eventMs }: Patient, name: string): Promise<boolean> {
  const signal = new AbortController().signal;
  for (let waitedMs = 0; waitedMs < eventMs; waitedMs += LOOK_MS) {
    if (!(await store.findInfo(name))) return true;
    await systemClock.sleep(LOOK_MS, signal);
  }
  return false;
}

/** How often an object is written anew: a poll that a daemon left behind when it stopped may take an event with it. */
const AGAIN_MS = 5_000;

/** Nobody else reads the queue. What is not ours stays in it, and is seen again by the next daemon. */
async function waitForEvent(patient: Patient, name: string): Promise<boolean> {
  const { store } = patient;
  let written: Promise<unknown> | undefined;
  const writing = setInterval(() => {
    written = store.put(name, "").catch(() => undefined);
  }, AGAIN_MS);
  try {
    return await hears(patient, name);
  } finally {
    clearInterval(writing);
    // What is removed hereafter is not to come back.
    await written;
  }
}

async function hears({ clients, config, eventMs }: Patient, name: string): Promise<boolean> {
  const events = createEvents(clients.sqs, config.queueUrl ?? "");
  const signal = AbortSignal.timeout(eventMs);
  while (!signal.aborted) {
    const messages = await events.receive(signal);
    const ours = messages.filter(({ wakes }) =>
      wakes.some((wake) => wake.type === "object" && wake.key === name),
    );
    if (ours.length === 0) continue;
    await events.acknowledge(ours);
    return true;
  }
  return false;
}
