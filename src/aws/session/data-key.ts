/** KMS's GenerateDataKey by the SDK. The client is loaded when the first session asks for a key, which few accounts' do. */
import { CloudError } from "../../errors.ts";
import { callAws } from "../error-codes.ts";
import { type ClientOptions, commonOptions } from "../s3-client.ts";
import type { GenerateDataKey } from "./encryption.ts";

export function createGenerateDataKey(options: ClientOptions): GenerateDataKey {
  return async ({ keyId, bytes, context }) => {
    const { GenerateDataKeyCommand, KMSClient } = await import("@aws-sdk/client-kms");
    const kms = new KMSClient(commonOptions(options));
    const doing = `making a session key under ${keyId}`;
    const input = { KeyId: keyId, NumberOfBytes: bytes, EncryptionContext: { ...context } };
    try {
      const output = await callAws(doing, () => kms.send(new GenerateDataKeyCommand(input)));
      const { Plaintext: plaintext, CiphertextBlob: ciphertext } = output;
      if (plaintext && ciphertext) return { plaintext, ciphertext };
      throw new CloudError("unavailable", `${doing}: KMS gave no key`);
    } finally {
      kms.destroy();
    }
  };
}
