/**
 * The daemon's loopback stream: `GET /v1/logs/<instance>?from=<line>` answers with server-sent events, one for each LogEvent, until
 * the caller hangs up. It listens on 127.0.0.1 alone; whoever knows the token, which a file keeps for the daemon's user, may watch. A page in a browser
 * may not, whatever name it has for this host.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Logs } from "../ports.ts";
import { failureWords } from "./followers.ts";

export type LogStream = {
  /** Such as `http://127.0.0.1:40123`. */
  readonly url: string;
  readonly token: string;
  /** Hangs up on everybody. */
  stop(): Promise<void>;
};

/** A reader of ours takes a connection that is quiet for longer for dead. */
const HEARTBEAT_MS = 10_000;
const PATH = /^\/v1\/logs\/(i-[0-9a-f]{8,40})\?from=([1-9]\d{0,14})$/;

export async function startLogStream(logs: Logs): Promise<LogStream> {
  const token = randomBytes(32).toString("base64url");
  const working = new Set<Promise<void>>();
  const server = createServer((request, response) => {
    const work = answer({ request, response, logs, token, port: portOf(server.address()) });
    working.add(work);
    void work.finally(() => working.delete(work));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    url: `http://127.0.0.1:${portOf(server.address())}`,
    token,
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await Promise.all([closed, ...working]);
    },
  };
}

type Exchange = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly logs: Logs;
  readonly token: string;
  readonly port: number;
};

const portOf = (address: AddressInfo | string | null): number =>
  typeof address === "object" && address ? address.port : 0;

/** Never rejects: what goes wrong is told to the caller, and a caller that is gone is nobody's error. */
async function answer(exchange: Exchange): Promise<void> {
  const { request, response, logs } = exchange;
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  response.on("error", () => gone.abort());
  const refusal = refusalOf(exchange);
  const [, instanceId = "", from = ""] = PATH.exec(request.url ?? "") ?? [];
  if (refusal !== undefined || instanceId === "") {
    response.writeHead(refusal ?? 404).end();
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.flushHeaders();
  const beating = setInterval(() => response.write(":\n\n"), HEARTBEAT_MS);
  try {
    for await (const event of logs.follow(instanceId, Number(from), gone.signal)) {
      const isRoom = response.write(`data: ${JSON.stringify(event)}\n\n`);
      if (!isRoom) await drained(response, gone.signal);
    }
  } catch (error) {
    response.write(`event: failed\ndata: ${JSON.stringify(failureWords(error))}\n\n`);
  } finally {
    clearInterval(beating);
    response.end();
  }
}

/** The status to refuse with. */
function refusalOf({ request, token, port }: Exchange): number | undefined {
  const { host, origin, authorization = "" } = request.headers;
  if (origin !== undefined || host !== `127.0.0.1:${port}`) return 403;
  const [given, wanted] = [Buffer.from(authorization), Buffer.from(`Bearer ${token}`)];
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return 401;
  return request.method === "GET" ? undefined : 405;
}

function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const go = (): void => {
      response.off("drain", go);
      signal.removeEventListener("abort", go);
      resolve();
    };
    response.once("drain", go);
    signal.addEventListener("abort", go, { once: true });
  });
}
