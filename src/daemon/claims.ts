/** Taking an order's claim, so that it will never be carried out. */
import { z } from "zod";
import { key } from "../core/layout.ts";
import { isCloudError } from "../errors.ts";
import type { Store } from "../ports.ts";

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
  const object = await store.find(claim);
  if (!object) throw new Error(`claim ${claim} is refused as present and not there`);
  const held = claimSchema.parse(JSON.parse(new TextDecoder().decode(object.body)));
  return held.by === "daemon" ? "voided" : "claimed";
}
