/**
 * The local cloud's front: one loopback port for all services, as AWS clients see them. It verifies who calls, sends the
 * request to the service that the signature names, and words errors in that service's protocol.
 */
import { createHash, randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type Duplex, Readable } from "node:stream";
import type { Credentials } from "./credentials.ts";
import { renderError } from "./error-bodies.ts";
import type { CallFaults, GuardedCall } from "./fault-calls.ts";
import { describeCall, describeImds } from "./fault-operations.ts";
import {
  ApiError,
  type BodyStream,
  HangUp,
  isStream,
  type LocalRequest,
  type LocalResponse,
  readBody,
  type Service,
  type UnsignedRequest,
} from "./http.ts";
import { hashMismatch, openPayload } from "./payload.ts";
import {
  guessService,
  type ServiceName,
  type SignedRequest,
  type Verified,
  verifySignature,
} from "./signature.ts";

export type Log = (message: string, fields: Readonly<Record<string, unknown>>) => void;

export type ServerOptions = {
  readonly port: number;
  readonly region: string;
  readonly credentials: Credentials;
  readonly log: Log;
};

export type Services = Readonly<Partial<Record<ServiceName, Service>>> & {
  /** Requests under `/_local/`, signed as a call of any service. */
  readonly control?: Service;
  /** What goes wrong on the way to a service and back. */
  readonly faults?: CallFaults;
  /** Requests under `/imds/`, which carry no signature. */
  readonly imds?: { handle(request: UnsignedRequest): Promise<LocalResponse> };
  /** WebSocket connections, which carry no signature: the first message authenticates them. */
  readonly sessions?: { upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void };
  /** What `/_local/health` tells besides. */
  readonly health?: Readonly<Record<string, string>>;
};

export type RunningServer = {
  readonly port: number;
  /** Services are opened when the port is known, for their answers name it; until then all requests get 503. */
  serve(services: Services): void;
  /** Hangs up on everybody; resolves when no request is being worked on any more. */
  stop(): Promise<void>;
};

/** S3's bodies stream; those of all other services are read whole, and none of theirs is larger. */
const BODY_BYTES_MAX = 4 << 20;
/** Longer than clients keep an idle connection, so that none sends into one that is just being closed. */
const KEEP_ALIVE_MS = 75_000;

/** Listens on 127.0.0.1. Rejects when the port is taken. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  let services: Services | undefined;
  const working = new Set<Promise<void>>();
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0 });
  const port = await listen(server, options.port);
  server.on("request", (request: IncomingMessage, response: ServerResponse) => {
    const work = answer({ request, response, port, services, options });
    working.add(work);
    void work.finally(() => working.delete(work));
  });
  const upgraded = new Set<Duplex>();
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    upgraded.add(socket);
    socket.once("close", () => upgraded.delete(socket));
    upgrade({ request, port, services }, socket, head);
  });
  return {
    port,
    serve(opened) {
      services = opened;
    },
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      for (const socket of upgraded) socket.destroy();
      await Promise.all([...working, closed]);
    },
  };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      server.off("error", reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** Refuses what a request would be refused for, too. */
function upgrade(
  { request, port, services }: Pick<Exchange, "request" | "port" | "services">,
  socket: Duplex,
  head: Buffer,
): void {
  // A caller that hangs up is nobody's error.
  socket.on("error", () => socket.destroy());
  try {
    checkSource(request, port);
    if (!services?.sessions) throw new ApiError(404, "NotFound", "there are no sessions");
    services.sessions.upgrade(request, socket, head);
  } catch (error) {
    const status = error instanceof ApiError ? error.status : 500;
    socket.end(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  }
}

type Exchange = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly port: number;
  readonly services: Services | undefined;
  readonly options: ServerOptions;
};

/** Never rejects: a caller that has hung up is nobody's error. */
async function answer(exchange: Exchange): Promise<void> {
  const { request, response, options } = exchange;
  const requestId = randomUUID();
  const gone = new AbortController();
  const hangUp = (): void => gone.abort();
  response.once("close", hangUp);
  try {
    const result = await route(exchange, { requestId, signal: gone.signal });
    await send(exchange, requestId, result);
  } catch (error) {
    if (error instanceof HangUp) response.socket?.resetAndDestroy();
    else if (!response.headersSent && !response.destroyed) {
      if (!(error instanceof ApiError)) logFailure(options.log, request, error);
      await send(
        exchange,
        requestId,
        renderError(describeRequest(request), error, requestId),
      ).catch(hangUp);
    } else if (!gone.signal.aborted) {
      logFailure(options.log, request, error);
      response.destroy();
    }
  } finally {
    response.off("close", hangUp);
    // What is left of a refused body must be read, or the connection could not be used again.
    request.unpipe();
    request.resume();
  }
}

const logFailure = (log: Log, request: IncomingMessage, error: unknown): void =>
  log("local request failed", { method: request.method, path: pathOf(request), error });

const describeRequest = (
  request: IncomingMessage,
): { service: ServiceName; isHead: boolean; path: string } => ({
  service: guessService(toSigned(request)),
  isHead: request.method === "HEAD",
  path: pathOf(request),
});

async function route(
  { request, port, services, options }: Exchange,
  context: Pick<UnsignedRequest, "requestId" | "signal">,
): Promise<LocalResponse> {
  checkSource(request, port);
  if (!services) throw new ApiError(503, "ServiceUnavailable", "the local cloud is starting");
  const rawPath = pathOf(request);
  const url = request.url ?? "/";
  const base = {
    ...context,
    method: request.method ?? "GET",
    rawPath,
    query: new URLSearchParams(url.slice(rawPath.length)),
    headers: request.headers,
  };
  if (rawPath === "/_local/health") {
    const { health, ...named } = services;
    return jsonResponse({ status: "running", services: Object.keys(named), ...health });
  }
  if (rawPath.startsWith("/imds/") && services.imds) {
    return answerImds(services.imds, services.faults, { ...base, body: request });
  }
  if (rawPath.startsWith("/_local/") && services.control) {
    return services.control.handle({ ...base, ...(await openWhole(request, options)) });
  }
  const signed = toSigned(request);
  const service = guessService(signed);
  const handler = services[service];
  if (!handler) throw new ApiError(501, "NotImplemented", `the local cloud has no ${service} yet`);
  const { whole, ...opened } =
    service === "s3"
      ? openStream(request, verify(signed, options, undefined))
      : await openWhole(request, options);
  const verified: LocalRequest = { ...base, ...opened };
  const handle = () => handler.handle(verified);
  const { caller } = verified;
  const call: GuardedCall = {
    service,
    request: verified,
    instanceId: caller.type === "instance" ? caller.instanceId : undefined,
    describe: () => describeCall(service, verified, whole),
  };
  return services.faults ? services.faults.guard(call, handle) : handle();
}

function answerImds(
  imds: NonNullable<Services["imds"]>,
  faults: CallFaults | undefined,
  received: Omit<UnsignedRequest, "trailers">,
): Promise<LocalResponse> {
  const request = { ...received, trailers: new Map<string, string>() };
  const { instanceId, call } = describeImds(request);
  const handle = () => imds.handle(request);
  // The sandbox's own question; rules are about the machine's.
  if (!faults || request.rawPath.endsWith("/local/network")) return handle();
  return faults.guard({ service: "imds", request, instanceId, describe: () => call }, handle);
}

type Opened = Pick<LocalRequest, "body" | "trailers" | "caller"> & {
  /** The body, where it does not stream. */
  readonly whole?: Buffer;
};

const openStream = (request: IncomingMessage, verified: Verified): Opened => ({
  ...openPayload(request, verified),
  caller: verified.caller,
});

async function openWhole(request: IncomingMessage, options: ServerOptions): Promise<Opened> {
  const bytes = await readBody({ body: request }, BODY_BYTES_MAX);
  const bodyHash = createHash("sha256").update(bytes).digest("hex");
  const verified = verify(toSigned(request), options, bodyHash);
  if (verified.payload !== bodyHash) throw hashMismatch();
  const body = Readable.from([bytes]);
  return { body, trailers: new Map(), caller: verified.caller, whole: bytes };
}

const verify = (
  request: SignedRequest,
  options: ServerOptions,
  bodyHash: string | undefined,
): Verified =>
  verifySignature(request, {
    credentials: options.credentials,
    region: options.region,
    now: Date.now(),
    bodyHash,
  });

/** A page in a browser could reach loopback, under a name of its own or with an Origin; no AWS tool sends either. */
function checkSource(request: IncomingMessage, port: number): void {
  if (request.headers.origin !== undefined) {
    throw new ApiError(403, "AccessDenied", "requests from web pages (with an Origin) are refused");
  }
  const host = request.headers.host ?? "";
  const name = host.slice(0, -`:${port}`.length);
  const isOurs = name === "127.0.0.1" || name === "localhost" || name.endsWith(".localhost");
  if (!host.endsWith(`:${port}`) || !isOurs) {
    throw new ApiError(403, "AccessDenied", `the Host must be 127.0.0.1:${port}, not "${host}"`);
  }
}

const toSigned = (request: IncomingMessage): SignedRequest => ({
  method: request.method ?? "GET",
  url: request.url ?? "/",
  rawHeaders: request.rawHeaders,
});

const pathOf = (request: IncomingMessage): string => (request.url ?? "/").split("?", 1)[0] ?? "/";

const jsonResponse = (value: unknown): LocalResponse => ({
  status: 200,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});

async function send(
  { request, response }: Exchange,
  requestId: string,
  result: LocalResponse,
): Promise<void> {
  const { body } = result;
  const headers: Record<string, string> = {
    "x-amz-request-id": requestId,
    "x-amzn-requestid": requestId,
    ...result.headers,
  };
  const isBodiless = request.method === "HEAD" || result.status === 204 || result.status === 304;
  if (isStream(body)) {
    try {
      response.writeHead(result.status, headers);
      if (!isBodiless) await stream(response, body);
      response.end();
    } finally {
      body.close();
    }
    return;
  }
  const bytes = typeof body === "string" ? Buffer.from(body) : (body ?? new Uint8Array());
  if (!isBodiless) headers["content-length"] = String(bytes.length);
  response.writeHead(result.status, headers);
  // One packet and one system call for an answer that is all head.
  if (isBodiless || bytes.length === 0) response.end();
  else response.end(bytes);
}

async function stream(response: ServerResponse, body: BodyStream): Promise<void> {
  for await (const chunk of body) await flush(response, chunk);
}

/** Resolves when the system has taken the chunk. Memory that is new for each costs more than the copy: nothing else may hold it. */
const flush = (response: ServerResponse, chunk: Uint8Array): Promise<void> =>
  new Promise((resolve, reject) => {
    const hangUp = (): void => reject(new Error("the caller hung up in the middle of a body"));
    if (response.destroyed) return hangUp();
    response.once("close", hangUp);
    response.write(chunk, (error) => {
      // Then it closes, too.
      if (error) return;
      response.off("close", hangUp);
      resolve();
    });
  });
