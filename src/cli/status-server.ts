/**
 * `/metrics` and `/healthz` of the daemon, on loopback alone. Nothing secret is among them, so nobody is asked who he is; a page in
 * a browser may not read them, whatever name it has for this host.
 */
import { createServer, type ServerResponse } from "node:http";
import { UserError } from "../errors.ts";
import type { Health } from "./health.ts";
import type { Metrics } from "./metrics.ts";

export type StatusServer = { readonly stop: () => Promise<void> };

type Served = { readonly metrics: Pick<Metrics, "render">; readonly health: Health };

/** Throws UserError when the port is taken. */
export async function startStatusServer(port: number, served: Served): Promise<StatusServer> {
  const names = [`127.0.0.1:${port}`, `localhost:${port}`];
  const server = createServer(({ method, url, headers }, response) => {
    const isAllowed = names.includes(headers.host ?? "") && headers.origin === undefined;
    if (!isAllowed) return say(response, 403, "ask for 127.0.0.1, and from no page\n");
    if (method !== "GET" && method !== "HEAD") return say(response, 405, "GET only\n");
    void answer(url ?? "", response, served);
  });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
  } catch (error) {
    throw new UserError(
      `serving metrics on 127.0.0.1:${port}`,
      "Choose another `metricsPort`, or none.",
      { cause: error },
    );
  }
  return {
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(url: string, response: ServerResponse, served: Served): Promise<void> {
  const { pathname } = new URL(url, "http://127.0.0.1");
  if (pathname === "/healthz") {
    const trouble = served.health.trouble();
    say(response, trouble ? 503 : 200, `${trouble ?? "ok"}\n`);
  } else if (pathname === "/metrics") {
    const { type, text } = await served.metrics.render();
    say(response, 200, text, type);
  } else {
    say(response, 404, "there are /metrics and /healthz\n");
  }
}

function say(response: ServerResponse, status: number, text: string, type = "text/plain"): void {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(text);
}
