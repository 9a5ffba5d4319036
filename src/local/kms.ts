/** KMS: GenerateDataKey under any key that is asked for, and for the local agents Decrypt. There are no keys to manage. */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { z } from "zod";
import { ACCOUNT_ID, REGION } from "./ec2-world.ts";
import { ApiError, readBody, type Service } from "./http.ts";
import { describeProblems } from "./problems.ts";

export type Kms = {
  readonly service: Service;
  /** Throws Error when the ciphertext was made with another context. */
  decrypt(ciphertext: Buffer, context: Readonly<Record<string, string>>): Buffer;
  encrypt(plain: Buffer, context: Readonly<Record<string, string>>): Buffer;
};

const BODY_BYTES_MAX = 64 * 1024;
const ALGORITHM = "aes-256-gcm";

const generateDataKey = z.strictObject({
  KeyId: z.string().min(1),
  NumberOfBytes: z.int().min(1).max(1_024),
  EncryptionContext: z.record(z.string(), z.string()).default({}),
});

export function createKms(secret: Buffer): Kms {
  const key = Buffer.from(hkdfSync("sha256", secret, "", "errand local kms", 32));
  const decrypt: Kms["decrypt"] = (ciphertext, context) => {
    const decipher = createDecipheriv(ALGORITHM, key, ciphertext.subarray(0, 12));
    decipher.setAAD(contextBytes(context));
    decipher.setAuthTag(ciphertext.subarray(12, 28));
    try {
      return Buffer.concat([decipher.update(ciphertext.subarray(28)), decipher.final()]);
    } catch (error) {
      throw new Error("InvalidCiphertextException: it was made with another context", {
        cause: error,
      });
    }
  };
  const encrypt = (plain: Buffer, context: Readonly<Record<string, string>>): Buffer => {
    const nonce = randomBytes(12);
    const cipher = createCipheriv(ALGORITHM, key, nonce);
    cipher.setAAD(contextBytes(context));
    const body = Buffer.concat([cipher.update(plain), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), body]);
  };
  return {
    decrypt,
    encrypt,
    service: {
      handle: async (request) => {
        const target = String(request.headers["x-amz-target"] ?? "");
        if (target !== "TrentService.GenerateDataKey") {
          const message = `the local cloud does not know the operation ${target} of KMS`;
          throw new ApiError(400, "UnknownOperationException", message);
        }
        const text = (await readBody(request, BODY_BYTES_MAX)).toString();
        const parsed = generateDataKey.safeParse(JSON.parse(text));
        if (!parsed.success) {
          throw new ApiError(400, "ValidationException", describeProblems(parsed.error).join("; "));
        }
        const { KeyId, NumberOfBytes, EncryptionContext } = parsed.data;
        const plain = randomBytes(NumberOfBytes);
        const answer = {
          KeyId: KeyId.startsWith("arn:")
            ? KeyId
            : `arn:aws:kms:${REGION}:${ACCOUNT_ID}:key/${KeyId}`,
          Plaintext: plain.toString("base64"),
          CiphertextBlob: encrypt(plain, EncryptionContext).toString("base64"),
        };
        return {
          status: 200,
          headers: { "content-type": "application/x-amz-json-1.1" },
          body: JSON.stringify(answer),
        };
      },
    },
  };
}

const contextBytes = (context: Readonly<Record<string, string>>): Buffer =>
  Buffer.from(
    JSON.stringify(Object.entries(context).toSorted(([one], [other]) => (one < other ? -1 : 1))),
  );
