/** `npm run schema`: writes the JSON Schemas of `.dstack/*.yaml` into schema/, for editors. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bundleSchemas } from "../src/workflow/schema.ts";

const folder = "schema";
await mkdir(folder, { recursive: true });
for (const [name, schema] of Object.entries(bundleSchemas())) {
  await writeFile(join(folder, `${name}.json`), `${JSON.stringify(schema, null, 2)}\n`);
}
