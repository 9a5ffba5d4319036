/**
 * Keys of the local cloud. Nothing is stored but one secret per data directory: all keys are derived from it,
 * so they survive a restart and cannot be guessed by other users of the machine.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Caller } from "./http.ts";

export type KeyPair = { readonly accessKeyId: string; readonly secretAccessKey: string };

export type RoleCredentials = KeyPair & {
  readonly sessionToken: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
};

export type KnownKey = {
  readonly secretAccessKey: string;
  readonly caller: Caller;
  /** Milliseconds since 1970; the owner's keys do not expire. */
  readonly expiresAt?: number;
};

export type Credentials = {
  readonly owner: KeyPair;
  /** The same answer within one hour, as the metadata service of EC2 gives; `now` in milliseconds since 1970. */
  issueForInstance(instanceId: string, now: number): RoleCredentials;
  /** Good until `expiresAt`, milliseconds since 1970. `arn` and `session` hold no blanks. */
  issueForRole(role: { arn: string; session: string; expiresAt: number }): RoleCredentials;
  /** Undefined when the key is not ours, or the token does not belong to it. Expiry is the caller's to judge. */
  find(accessKeyId: string, sessionToken?: string): KnownKey | undefined;
};

const HOUR_MS = 3_600_000;
/** EC2 hands out role credentials that are good for about six hours. */
const LIFETIME_HOURS = 6;

/** `secret` is the data directory's, 32 random bytes. */
export function makeCredentials(secret: Uint8Array): Credentials {
  const derive = (purpose: string): Buffer => createHmac("sha256", secret).update(purpose).digest();
  const owner: KeyPair = {
    accessKeyId: `AKIA${base32(derive("owner id"))}`,
    secretAccessKey: derive("owner secret").toString("base64url").slice(0, 40),
  };

  /** A claim says whose the keys are and until when; only we can make the keys that go with it. */
  const deriveFor = (claim: string): RoleCredentials => ({
    accessKeyId: `ASIA${base32(derive(`session id ${claim}`))}`,
    secretAccessKey: derive(`session secret ${claim}`).toString("base64url").slice(0, 40),
    sessionToken: `${claim}.${derive(`session token ${claim}`).toString("base64url")}`,
    expiresAt: readClaim(claim).expiresAt,
  });

  return {
    owner,
    issueForInstance(instanceId, now) {
      const expiresAt = (Math.ceil(now / HOUR_MS) + LIFETIME_HOURS) * HOUR_MS;
      return deriveFor(writeClaim(expiresAt, instanceId));
    },
    issueForRole: ({ arn, session, expiresAt }) => deriveFor(writeClaim(expiresAt, arn, session)),
    find(accessKeyId, sessionToken) {
      if (sessionToken === undefined) {
        if (accessKeyId !== owner.accessKeyId) return undefined;
        return { secretAccessKey: owner.secretAccessKey, caller: { type: "owner" } };
      }
      const claim = sessionToken.split(".")[0] ?? "";
      const issued = deriveFor(claim);
      if (!isSame(issued.sessionToken, sessionToken)) return undefined;
      if (issued.accessKeyId !== accessKeyId) return undefined;
      const { secretAccessKey, expiresAt } = issued;
      return { secretAccessKey, caller: readClaim(claim).caller, expiresAt };
    },
  };
}

const writeClaim = (expiresAt: number, ...whose: readonly string[]): string =>
  Buffer.from([expiresAt, ...whose].join(" ")).toString("base64url");

function readClaim(claim: string): { readonly expiresAt: number; readonly caller: Caller } {
  const [expiresAt = "0", whose = "", session] = Buffer.from(claim, "base64url")
    .toString()
    .split(" ");
  const caller: Caller =
    session === undefined
      ? { type: "instance", instanceId: whose }
      : { type: "role", arn: whose, session };
  return { expiresAt: Number(expiresAt), caller };
}

/** Compares in constant time, so that a signature cannot be guessed byte by byte. */
export function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Sixteen characters of the alphabet that AWS uses in access key ids. */
function base32(bytes: Buffer): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  return Array.from(bytes.subarray(0, 16), (byte) => alphabet[byte % 32]).join("");
}
