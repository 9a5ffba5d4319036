/**
 * Sessions of accounts whose preferences name a KMS key. The client makes a data key of 64 bytes under it: the agent encrypts with the
 * first 32, the client with the others. AES-256-GCM; on the wire nonce (12), ciphertext, tag (16).
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";

/** KMS's GenerateDataKey. */
export type GenerateDataKey = (request: DataKeyRequest) => Promise<DataKey>;
export type DataKeyRequest = {
  readonly keyId: string;
  readonly bytes: number;
  readonly context: Readonly<Record<string, string>>;
};
export type DataKey = { readonly plaintext: Uint8Array; readonly ciphertext: Uint8Array };

export type Encryption = {
  /** Throws when the bytes were not encrypted with the agent's key. */
  decrypt(bytes: Uint8Array): Buffer;
  /** With a nonce of its own each time. */
  encrypt(bytes: Uint8Array): Buffer;
};

export const DATA_KEY_BYTES = 64;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const ALGORITHM = "aes-256-gcm";

export function createEncryption(dataKey: Uint8Array): Encryption {
  if (dataKey.length !== DATA_KEY_BYTES) {
    throw new Error(`KMS made a key of ${dataKey.length} bytes instead of ${DATA_KEY_BYTES}`);
  }
  const [agentKey, clientKey] = [dataKey.subarray(0, 32), dataKey.subarray(32)];
  return {
    decrypt: (bytes) => {
      if (bytes.length < NONCE_BYTES + TAG_BYTES) throw new Error("the ciphertext is too short");
      const decipher = createDecipheriv(ALGORITHM, agentKey, bytes.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      const body = bytes.subarray(NONCE_BYTES, -TAG_BYTES);
      return Buffer.concat([decipher.update(body), decipher.final()]);
    },
    encrypt: (bytes) => {
      const nonce = randomBytes(NONCE_BYTES);
      const cipher = createCipheriv(ALGORITHM, clientKey, nonce, { authTagLength: TAG_BYTES });
      return Buffer.concat([nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
    },
  };
}
