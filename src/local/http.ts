/** What the local cloud's services see of a request, and what they answer. */
import type { IncomingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";

/** A request as it came, before or without a signature. */
export type UnsignedRequest = {
  readonly requestId: string;
  readonly method: string;
  /** As sent, still percent-encoded, without the query. */
  readonly rawPath: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingHttpHeaders;
  /** Decoded of `aws-chunked`, checksums not yet verified. It errs with ApiError when it is not what was signed. */
  readonly body: Readable;
  /** Trailing headers in lower case; filled when the body has ended. */
  readonly trailers: ReadonlyMap<string, string>;
  /** Aborts when the caller hangs up or the server stops. */
  readonly signal: AbortSignal;
};

/** A request whose signature has been verified. */
export type LocalRequest = UnsignedRequest & { readonly caller: Caller };

/** Who signed: the owner of the data directory, an instance by its role, or whoever has taken another role. */
export type Caller =
  | { readonly type: "owner" }
  | { readonly type: "instance"; readonly instanceId: string }
  | { readonly type: "role"; readonly arn: string; readonly session: string };

export type LocalResponse = {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array | BodyStream;
};

/**
 * A body that is too large to be held. A chunk is valid until the next one is asked for: the memory is used again. Whoever has it
 * calls `close`, once, read or not.
 */
export type BodyStream = AsyncIterable<Uint8Array> & { close(): void };

export const isStream = (body: LocalResponse["body"]): body is BodyStream =>
  typeof body === "object" && "close" in body;

/** One AWS service. It throws ApiError for every refusal; anything else thrown answers 500. */
export type Service = { handle(request: LocalRequest): Promise<LocalResponse> };

/** An error as AWS words it; the server renders it in the service's own protocol. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly code: string;
  /** Further elements of an S3 error body, such as `Key`. */
  readonly fields: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    message: string,
    fields: Readonly<Record<string, string>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.status = status;
    this.code = code;
    this.fields = fields;
  }
}

/** Thrown where the caller is to hear nothing: its connection is reset. */
export class HangUp extends Error {
  override readonly name = "HangUp";
}

/** For what AWS can do and the local cloud cannot: said aloud, with its name, never ignored. */
export const notImplemented = (what: string): ApiError =>
  new ApiError(501, "NotImplemented", `the local cloud does not implement ${what}`);

/** The whole body, of at most `bytesMax`; a larger one is refused with 413. */
export async function readBody(
  request: Pick<UnsignedRequest, "body">,
  bytesMax: number,
): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Giving up must not hang up: the caller is to read the refusal.
  for await (const chunk of request.body.iterator({ destroyOnReturn: false })) {
    bytes += chunk.length;
    if (bytes > bytesMax) {
      throw new ApiError(413, "EntityTooLarge", `the request's body is larger than ${bytesMax} B`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
