/** Logs of ports.ts from the daemon's loopback stream. */
import { get, type IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import { CloudError, isCloudError } from "../errors.ts";
import type { LogEvent, Logs } from "../ports.ts";
import type { StreamNote } from "./stream-note.ts";

/** The daemon says something at least every 10 s. */
const SILENCE_MAX_MS = 30_000;

/** `find` is asked each time, for a daemon that was started again listens elsewhere. */
export function createStreamLogs(find: () => Promise<StreamNote | undefined>): Logs {
  return {
    follow: async function* follow(instanceId, firstLine, signal) {
      const note = await find();
      if (!note) throw new CloudError("unavailable", "no daemon is near");
      const response = await open(note, `/v1/logs/${instanceId}?from=${firstLine}`, signal);
      if (!response) return;
      try {
        yield* readEvents(response);
      } catch (error) {
        if (!signal.aborted) throw toCloudError(error);
      } finally {
        response.destroy();
      }
    },
  };
}

async function* readEvents(response: IncomingMessage): AsyncGenerator<LogEvent, void, void> {
  let name = "";
  for await (const line of createInterface({ input: response })) {
    if (line === "") name = "";
    else if (line.startsWith("event: ")) name = line.slice("event: ".length);
    else if (line.startsWith("data: ")) {
      const data: unknown = JSON.parse(line.slice("data: ".length));
      // What gets better by itself is waited for on the other side.
      if (name === "failed") throw new CloudError("refused", String(data));
      yield data as LogEvent;
    }
  }
}

/** What the connection says when the other side is gone; anything else is a bug. */
function toCloudError(error: unknown): unknown {
  const isGone = error instanceof Error && ("code" in error || error.message === "silence");
  if (!isGone || isCloudError(error)) return error;
  return new CloudError("unavailable", "the daemon hung up", { cause: error });
}

/** Undefined when nobody wants it any more. */
function open(
  { url, token }: StreamNote,
  path: string,
  signal: AbortSignal,
): Promise<IncomingMessage | undefined> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` };
    const request = get(
      `${url}${path}`,
      { headers, signal, timeout: SILENCE_MAX_MS },
      (response) => {
        if (response.statusCode === 200) return resolve(response);
        response.resume();
        reject(new CloudError("unavailable", `the daemon answered ${response.statusCode}`));
      },
    );
    request.on("timeout", () => request.destroy(new Error("silence")));
    request.on("error", (error) => {
      if (signal.aborted) resolve(undefined);
      else reject(new CloudError("unavailable", "the daemon is not there", { cause: error }));
    });
  });
}
