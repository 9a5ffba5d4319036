/** Runs a TypeScript file in a process of its own, for tests that kill it: `node run-typescript.mjs FILE WORD…`. */
import { createViteServer } from "vitest/node";

const server = await createViteServer({
  configFile: false,
  logLevel: "error",
  server: { middlewareMode: true, ws: false, watch: null },
  optimizeDeps: { noDiscovery: true },
});
await server.ssrLoadModule(process.argv[2]);
