/** The JSON that messages of the data channel carry. Unknown keys are let through: agents of all ages send it. */
import { z } from "zod";

const actionSchema = z.object({
  ActionType: z.string(),
  ActionParameters: z.unknown(),
});

export const handshakeRequestSchema = z.object({
  AgentVersion: z.string().catch(""),
  RequestedClientActions: z
    .array(actionSchema)
    .nullish()
    .transform((actions) => actions ?? []),
});
export type HandshakeRequest = z.infer<typeof handshakeRequestSchema>;
export type RequestedAction = z.infer<typeof actionSchema>;

export const kmsActionSchema = z.object({
  KMSKeyId: z.string().min(1),
  /** Newer agents bind the key to this session by it. */
  Challenge: z.string().nullish(),
});

export type ProcessedAction = {
  readonly ActionType: string;
  readonly ActionStatus: 1 | 2 | 3;
  readonly ActionResult: unknown;
  readonly Error: string;
};
export const ACTION_STATUS = { success: 1, failed: 2, unsupported: 3 } as const;

export const challengeSchema = z.object({ Challenge: z.string() });

export const acknowledgeSchema = z.object({
  AcknowledgedMessageSequenceNumber: z.number(),
});

export const closedSchema = z.object({ Output: z.string().catch("") });

/** Undefined when the payload is not JSON of this shape. */
export function readJson<Value>(schema: z.ZodType<Value>, payload: Uint8Array): Value | undefined {
  try {
    return schema.parse(JSON.parse(Buffer.from(payload).toString("utf8")));
  } catch {
    return undefined;
  }
}
