/** Taking an order's claim, so that it will never be carried out. */
import { z } from "zod";
import { key } from "../core/layout.ts";
import { CloudError, isCloudError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { readDocument } from "./documents.ts";

const claimSchema = z.object({ by: z.enum(["runner", "daemon"]) });

/** `voided` when the claim is the daemon's, now or from before; `claimed` when the runner was first. */
export async function voidOrder(
  store: Store,
  { token, index, at }: { token: string; index: number; at: number },
): Promise<"voided" | "claimed"> {
  const claim = key.claim(token, index);
  const body = JSON.stringify({ format: 1, by: "daemon", at });
  try {
    await store.put(claim, body, { condition: { ifAbsent: true } });
    return "voided";
  } catch (error) {
    if (!isCloudError(error, "conflict")) throw error;
  }
  const held = await readDocument(store, claim, claimSchema);
  if (held.type === "found") return held.content.by === "daemon" ? "voided" : "claimed";
  // A claim that nobody can read may be the runner's: then its report will tell.
  if (held.type === "unreadable") return "claimed";
  throw new CloudError("conflict", `claiming ${claim}: somebody else is about to`);
}
