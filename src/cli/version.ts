/** Errand's version: of the package, which stands two folders above `src/` in the tree and three above what is built. */
import { readFileSync } from "node:fs";

export function readVersion(): string {
  for (const place of ["../../package.json", "../../../package.json"]) {
    try {
      const { version } = JSON.parse(readFileSync(new URL(place, import.meta.url), "utf8")) as {
        version: string;
      };
      return version;
    } catch {}
  }
  return "unknown";
}
