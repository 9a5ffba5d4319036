/** The agent's request at a session's start, and our answer: we follow commands, and make a key when the account encrypts. */
import {
  createEncryption,
  DATA_KEY_BYTES,
  type Encryption,
  type GenerateDataKey,
} from "./encryption.ts";
import {
  ACTION_STATUS,
  handshakeRequestSchema,
  kmsActionSchema,
  type ProcessedAction,
  type RequestedAction,
  readJson,
} from "./payloads.ts";

export type HandshakeAnswer = {
  readonly response: unknown;
  readonly encryption: Encryption | undefined;
  /** Why the session cannot be; the agent is told, and cancels it. Empty when all is well. */
  readonly problem: string;
};

export type HandshakeOptions = {
  readonly sessionId: string;
  readonly instanceId: string;
  readonly generateDataKey: GenerateDataKey;
};

/** Below 1.2.312 the agent asks for an upgrade instead of separating the streams. */
export const CLIENT_VERSION = "1.2.677.0";

export async function answerHandshake(
  payload: Uint8Array,
  options: HandshakeOptions,
): Promise<HandshakeAnswer> {
  const request = readJson(handshakeRequestSchema, payload);
  if (!request) return { response: responseOf([]), encryption: undefined, problem: UNREADABLE };
  const processed: ProcessedAction[] = [];
  let encryption: Encryption | undefined;
  for (const action of request.RequestedClientActions) {
    const { key, ...done } = await processAction(action, options);
    encryption = key ?? encryption;
    processed.push(done);
  }
  const problem = processed.find(({ ActionStatus }) => ActionStatus !== ACTION_STATUS.success);
  return { response: responseOf(processed), encryption, problem: problem?.Error ?? "" };
}

const UNREADABLE = "the agent's handshake is unreadable";

const responseOf = (actions: readonly ProcessedAction[]) => ({
  ClientVersion: CLIENT_VERSION,
  ProcessedClientActions: actions,
  Errors: actions.map((action) => action.Error).filter((problem) => problem !== ""),
});

type Processed = ProcessedAction & { readonly key?: Encryption };

async function processAction(
  action: RequestedAction,
  options: HandshakeOptions,
): Promise<Processed> {
  const ActionType = action.ActionType;
  const refuse = (ActionStatus: 2 | 3, problem: string): Processed => ({
    ActionType,
    ActionStatus,
    ActionResult: null,
    Error: problem,
  });
  if (ActionType === "SessionType") {
    return { ActionType, ActionStatus: ACTION_STATUS.success, ActionResult: null, Error: "" };
  }
  if (ActionType !== "KMSEncryption") {
    return refuse(ACTION_STATUS.unsupported, `the agent asks for ${ActionType}, which is unknown`);
  }
  const kms = kmsActionSchema.safeParse(action.ActionParameters);
  if (!kms.success) return refuse(ACTION_STATUS.failed, "the agent names no KMS key");
  try {
    return await makeKey(kms.data, options);
  } catch (error) {
    return refuse(ACTION_STATUS.failed, error instanceof Error ? error.message : String(error));
  }
}

async function makeKey(
  { KMSKeyId, Challenge }: { KMSKeyId: string; Challenge?: string | null | undefined },
  { sessionId, instanceId, generateDataKey }: HandshakeOptions,
): Promise<Processed> {
  const { plaintext, ciphertext } = await generateDataKey({
    keyId: KMSKeyId,
    bytes: DATA_KEY_BYTES,
    context: {
      "aws:ssm:SessionId": sessionId,
      "aws:ssm:TargetId": instanceId,
      ...(Challenge ? { "aws:ssm:RandomChallenge": Challenge } : {}),
    },
  });
  return {
    ActionType: "KMSEncryption",
    ActionStatus: ACTION_STATUS.success,
    ActionResult: {
      KMSCipherTextKey: Buffer.from(ciphertext).toString("base64"),
      KMSCipherTextHash: null,
      ...(Challenge ? { ChallengeAcknowledgement: true } : {}),
    },
    Error: "",
    key: createEncryption(plaintext),
  };
}
