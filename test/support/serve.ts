/** Servers on loopback for jobs to fetch from. Jobs of an errand that is started later may reach them, and nothing else of the host. */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, onTestFinished } from "vitest";

const ports = new Set<number>();

export const servedPorts = (): readonly number[] => [...ports];

/** Serves until the test is over. Returns the base URL. */
export async function serve(listener: RequestListener): Promise<string> {
  const { base, close } = await listen(listener);
  onTestFinished(close);
  return base;
}

/** Serves for all tests of a file; stands before its `shareErrand`. */
export function shareServer(listener: RequestListener): () => string {
  let server: Awaited<ReturnType<typeof listen>> | undefined;
  beforeAll(async () => {
    server = await listen(listener);
  });
  afterAll(() => server?.close());
  return () => {
    if (!server) throw new Error("the server is started before the first test");
    return server.base;
  };
}

/** One text at one path; any other is a 404. */
export const textAt =
  (name: string, body: string): RequestListener =>
  (request, response) => {
    response.writeHead(request.url === `/${name}` ? 200 : 404);
    response.end(request.url === `/${name}` ? body : "not here");
  };

async function listen(listener: RequestListener) {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  ports.add(port);
  const close = () => {
    ports.delete(port);
    server.close();
    server.closeAllConnections();
  };
  return { base: `http://127.0.0.1:${port}`, close };
}
