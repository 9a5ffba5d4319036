/**
 * What one keeps in Parameter Store and Secrets Manager: one journal for both, whose values are encrypted with a key of the data
 * directory, so that its files show none. Versions that were replaced are gone.
 */
import { z } from "zod";
import { type Journal, openJournal } from "./journal.ts";
import type { Kms } from "./kms.ts";

export type Kept = {
  /** From 1. */
  readonly version: number;
  readonly type: "String" | "StringList" | "SecureString" | "secret";
  /** Six letters at the end of a secret's ARN; empty for parameters. */
  readonly suffix: string;
  /** Milliseconds since 1970, of this version. */
  readonly at: number;
  /** Base64. */
  readonly ciphertext: string;
};

export type KeptValue = Kept & { readonly value: string };

export type NewSecret = { readonly name: string; readonly value: string };

export type SecretStore = {
  /** Names of parameters begin with `parameter `, those of secrets with `secret `. */
  find(name: string): KeptValue | undefined;
  put(name: string, entry: Pick<Kept, "type" | "suffix"> & { readonly value: string }): KeptValue;
  /** False where there was none. */
  remove(name: string): boolean;
  close(): void;
};

const entrySchema = z.object({
  name: z.string(),
  kept: z
    .object({
      version: z.number(),
      type: z.enum(["String", "StringList", "SecureString", "secret"]),
      suffix: z.string(),
      at: z.number(),
      ciphertext: z.string(),
    })
    .nullable(),
});
type Entry = z.infer<typeof entrySchema>;

export function openSecretStore(
  path: string,
  { kms, now }: { readonly kms: Pick<Kms, "encrypt" | "decrypt">; readonly now: () => number },
): SecretStore {
  const all = new Map<string, Kept>();
  const apply = ({ name, kept }: Entry): void => {
    if (kept) all.set(name, kept);
    else all.delete(name);
  };
  const journal: Journal<Entry> = openJournal<Entry>({
    path,
    apply: (entry) => apply(entrySchema.parse(entry)),
    snapshot: () => [...all].map(([name, kept]) => ({ name, kept })),
  });
  const save = (entry: Entry): void => {
    journal.append(entry);
    apply(entry);
  };
  return {
    find: (name) => {
      const kept = all.get(name);
      if (!kept) return undefined;
      const value = kms.decrypt(Buffer.from(kept.ciphertext, "base64"), { name }).toString();
      return { ...kept, value };
    },
    put: (name, { type, suffix, value }) => {
      const version = (all.get(name)?.version ?? 0) + 1;
      const ciphertext = kms.encrypt(Buffer.from(value), { name }).toString("base64");
      const kept = { version, type, suffix, at: now(), ciphertext };
      save({ name, kept });
      return { ...kept, value };
    },
    remove: (name) => {
      if (!all.has(name)) return false;
      save({ name, kept: null });
      return true;
    },
    close: () => journal.close(),
  };
}
