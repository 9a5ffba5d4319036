/** What AWS said, sorted by what to do about it. */
export type CloudErrorKind =
  | "no-capacity" // another zone, then another type; this offer rests
  | "quota" // another zone will not help; wait, or fail when the limit can never fit
  | "already-launched" // this token has launched before: look for its instances
  | "refused" // never going to work: tell the user what to change
  | "conflict" // someone else wrote first, or we did and the reply was lost: read again
  | "not-found" // the object or instance is not there
  | "unavailable"; // throttled, timed out, 5xx: the next look is the retry

/** An answer of AWS that a caller decides about. Anything else that is thrown is a bug. */
export class CloudError extends Error {
  override readonly name = "CloudError";
  readonly kind: CloudErrorKind;
  /** The code AWS gave, such as `InsufficientInstanceCapacity`; empty when it gave none. */
  readonly code: string;

  constructor(kind: CloudErrorKind, message: string, options?: ErrorOptions & { code?: string }) {
    super(message, options);
    this.kind = kind;
    this.code = options?.code ?? "";
  }
}

/** Something the user can mend: a workflow file, the configuration, an argument. Exit code 2, no stack. */
export class UserError extends Error {
  override readonly name = "UserError";
  /** How to mend it, as a sentence; empty when the message says it. */
  readonly hint: string;

  constructor(message: string, hint = "", options?: ErrorOptions) {
    super(message, options);
    this.hint = hint;
  }
}

export const isCloudError = (error: unknown, ...kinds: CloudErrorKind[]): error is CloudError =>
  error instanceof CloudError && (kinds.length === 0 || kinds.includes(error.kind));

/** The message of an error and of all that caused it, on one line. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause === undefined ? "" : `: ${describeError(error.cause)}`;
  return `${error.message}${cause}`;
}
