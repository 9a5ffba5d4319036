import { randomBytes } from "node:crypto";

/** Twenty characters of a..z and 2..7: a hundred bits of chance. */
export function newToken(): string {
  const alphabet = "abcdefghijklmnopqrstuvwxyz234567";
  return Array.from(randomBytes(20), (byte) => alphabet[byte % 32]).join("");
}
