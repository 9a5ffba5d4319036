/** Plants one bug of mutants.ts while the source is loaded, and says which case of the fuzz finds it. */
import { createViteServer } from "vitest/node";

const CASES = 20_000;
const { file, find, replace } = JSON.parse(process.argv[2]);
const server = await createViteServer({
  configFile: false,
  logLevel: "error",
  server: { middlewareMode: true, ws: false, watch: null },
  optimizeDeps: { noDiscovery: true },
  plugins: [
    {
      name: "plant-mutant",
      enforce: "pre",
      transform(code, id) {
        if (!id.endsWith(file)) return undefined;
        if (code.split(find).length !== 2) throw new Error(`no single place for it in ${file}`);
        return code.replace(find, () => replace);
      },
    },
  ],
});
const { runCase } = await server.ssrLoadModule("/test/hostile/fuzz.ts");
let answer = "missed";
for (let seed = 1; seed <= CASES && answer === "missed"; seed += 1) {
  try {
    await runCase(seed);
  } catch (error) {
    answer = `caught by seed ${seed}: ${error.message}`;
  }
}
process.stdout.write(`${answer}\n`);
await server.close();
