/** The agent's handshake: it asks, the client answers, and where a KMS key is set both prove that they have the same data key. */
import { createCipheriv, createDecipheriv, randomBytes, timingSafeEqual } from "node:crypto";

export type AgentKms = {
  readonly keyId: string;
  /** Base64. */
  readonly challenge: string | undefined;
  /** KMS's Decrypt, with the context that a client must have given. Throws when it is not that. */
  readonly decrypt: (ciphertext: Buffer) => Buffer;
};

export type Cipher = { seal(plain: Buffer): Buffer; open(bytes: Buffer): Buffer };

export type HandshakeOptions = {
  readonly version: string;
  readonly kms: AgentKms | undefined;
  readonly send: (payloadType: number, payload: Buffer) => void;
  readonly onDone: (cipher: Cipher | undefined) => void;
};

const REQUEST = 5;
const RESPONSE = 6;
const COMPLETE = 7;
const CHALLENGE_REQUEST = 8;
const CHALLENGE_RESPONSE = 9;

/** Returns what takes the client's answers; it throws Error when the client did not do what it was asked. */
export function shakeHands(options: HandshakeOptions): (type: number, payload: Buffer) => void {
  const { send, kms } = options;
  const beganAt = Date.now();
  const challenge = randomBytes(64);
  let step: "hello" | "challenge" | "done" = "hello";
  let cipher: Cipher | undefined;

  function complete(): void {
    step = "done";
    const HandshakeTimeToComplete = (Date.now() - beganAt) * 1_000_000;
    send(COMPLETE, toJson({ HandshakeTimeToComplete, CustomerMessage: "" }));
    options.onDone(cipher);
  }

  function takeResponse(payload: Buffer): void {
    const key = readResponse(payload, kms);
    if (key === undefined) {
      complete();
      return;
    }
    cipher = createCipher(key);
    step = "challenge";
    send(CHALLENGE_REQUEST, toJson({ Challenge: cipher.seal(challenge).toString("base64") }));
  }

  function takeChallenge(payload: Buffer): void {
    const { Challenge } = JSON.parse(payload.toString());
    const answer = cipher?.open(Buffer.from(Challenge, "base64"));
    if (answer?.length !== challenge.length || !timingSafeEqual(answer, challenge)) {
      throw new Error("Encryption challenge response is wrong.");
    }
    complete();
  }

  send(REQUEST, toJson(requestOf(options)));
  return (type, payload) => {
    if (type === RESPONSE && step === "hello") takeResponse(payload);
    if (type === CHALLENGE_RESPONSE && step === "challenge") takeChallenge(payload);
  };
}

const toJson = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

function requestOf({ version, kms }: HandshakeOptions) {
  const SessionType = { SessionType: "NonInteractiveCommands", Properties: null };
  const actions: unknown[] = [{ ActionType: "SessionType", ActionParameters: SessionType }];
  if (kms) {
    const parameters = {
      KMSKeyId: kms.keyId,
      ...(kms.challenge ? { Challenge: kms.challenge } : {}),
    };
    actions.push({ ActionType: "KMSEncryption", ActionParameters: parameters });
  }
  return { AgentVersion: version, RequestedClientActions: actions };
}

/** Returns the data key where one was asked for. */
function readResponse(payload: Buffer, kms: AgentKms | undefined): Buffer | undefined {
  const { ProcessedClientActions: actions } = JSON.parse(payload.toString());
  const find = (type: string) =>
    actions.find((action: { ActionType: string }) => action.ActionType === type);
  for (const type of ["SessionType", ...(kms ? ["KMSEncryption"] : [])]) {
    if (find(type)?.ActionStatus === 1) continue;
    throw new Error(`${type} failed on client with status ${find(type)?.ActionStatus ?? "none"}`);
  }
  if (!kms) return undefined;
  const result = find("KMSEncryption").ActionResult;
  if (kms.challenge !== undefined && result.ChallengeAcknowledgement !== true) {
    throw new Error("The client does not acknowledge the KMS challenge.");
  }
  return kms.decrypt(Buffer.from(result.KMSCipherTextKey, "base64"));
}

/** The agent encrypts with the first half of the key, and the client with the second. */
function createCipher(key: Buffer): Cipher {
  const [own, theirs] = [key.subarray(0, 32), key.subarray(32, 64)];
  return {
    seal: (plain) => {
      const nonce = randomBytes(12);
      const gcm = createCipheriv("aes-256-gcm", own, nonce);
      const body = Buffer.concat([gcm.update(plain), gcm.final()]);
      return Buffer.concat([nonce, body, gcm.getAuthTag()]);
    },
    open: (bytes) => {
      const gcm = createDecipheriv("aes-256-gcm", theirs, bytes.subarray(0, 12));
      gcm.setAuthTag(bytes.subarray(bytes.length - 16));
      return Buffer.concat([gcm.update(bytes.subarray(12, bytes.length - 16)), gcm.final()]);
    },
  };
}
