/** The examples of AWS's own documentation of Signature Version 4 for S3, which were computed by somebody else. */
import { describe, expect, it } from "vitest";
import type { Credentials } from "../../../src/local/credentials.ts";
import { guessService, type SignedRequest, verifySignature } from "../../../src/local/signature.ts";

const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const NOW = Date.UTC(2013, 4, 24);
const credentials: Credentials = {
  owner: { accessKeyId: "", secretAccessKey: "" },
  issueForInstance: () => {
    throw new Error("not asked for here");
  },
  issueForRole: () => {
    throw new Error("not asked for here");
  },
  find: (accessKeyId) =>
    accessKeyId === "AKIAIOSFODNN7EXAMPLE"
      ? {
          secretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
          caller: { type: "owner" },
        }
      : undefined,
};
const verify = (request: SignedRequest, now = NOW) =>
  verifySignature(request, { credentials, region: "us-east-1", now, bodyHash: undefined });
const codeOf = (call: () => unknown): string => {
  try {
    call();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return "accepted";
};

const SCOPE = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
const authorize = (signedHeaders: string, signature: string): string =>
  `AWS4-HMAC-SHA256 Credential=${SCOPE},SignedHeaders=${signedHeaders},Signature=${signature}`;
const host = ["Host", "examplebucket.s3.amazonaws.com", "x-amz-date", "20130524T000000Z"];

const GET_OBJECT: SignedRequest = {
  method: "GET",
  url: "/test.txt",
  rawHeaders: [
    ...host,
    "Range",
    "bytes=0-9",
    "x-amz-content-sha256",
    EMPTY,
    "Authorization",
    authorize(
      "host;range;x-amz-content-sha256;x-amz-date",
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
  ],
};

const PRESIGNED: SignedRequest = {
  method: "GET",
  url: `/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${encodeURIComponent(SCOPE)}&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404`,
  rawHeaders: host.slice(0, 2),
};

describe("signatures", () => {
  it("in a header are accepted as AWS documents them", () => {
    expect(verify(GET_OBJECT)).toMatchObject({ service: "s3", payload: EMPTY });
  });

  it("of a key with characters to encode and of a query with a bare name are accepted", () => {
    const put: SignedRequest = {
      method: "PUT",
      url: "/test%24file.text",
      rawHeaders: [
        "Date",
        "Fri, 24 May 2013 00:00:00 GMT",
        ...host,
        "x-amz-storage-class",
        "REDUCED_REDUNDANCY",
        "x-amz-content-sha256",
        "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        "Authorization",
        authorize(
          "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
          "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
      ],
    };
    const lifecycle: SignedRequest = {
      method: "GET",
      url: "/?lifecycle",
      rawHeaders: [
        ...host,
        "x-amz-content-sha256",
        EMPTY,
        "Authorization",
        authorize(
          "host;x-amz-content-sha256;x-amz-date",
          "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
      ],
    };
    const list: SignedRequest = {
      ...lifecycle,
      url: "/?max-keys=2&prefix=J",
      rawHeaders: [
        ...lifecycle.rawHeaders.slice(0, -1),
        authorize(
          "host;x-amz-content-sha256;x-amz-date",
          "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
      ],
    };
    for (const request of [put, lifecycle, list]) expect(verify(request).service).toBe("s3");
  });

  it("in a query are accepted until they expire", () => {
    expect(verify(PRESIGNED).payload).toBe("UNSIGNED-PAYLOAD");
    expect(codeOf(() => verify(PRESIGNED, NOW + 86_400_000))).toBe("accepted");
    expect(codeOf(() => verify(PRESIGNED, NOW + 86_400_001))).toBe("AccessDenied");
  });

  it.each([
    ["method", { ...GET_OBJECT, method: "PUT" }],
    ["path", { ...GET_OBJECT, url: "/test.tx" }],
    ["query", { ...GET_OBJECT, url: "/test.txt?a" }],
    [
      "signed header",
      { ...GET_OBJECT, rawHeaders: GET_OBJECT.rawHeaders.map((v) => v.replace("0-9", "0-8")) },
    ],
    ["presigned query", { ...PRESIGNED, url: PRESIGNED.url.replace("86400", "86401") }],
  ] as const)("do not cover another %s", (_, request) => {
    expect(codeOf(() => verify(request))).toBe("SignatureDoesNotMatch");
  });

  it("must cover every x-amz- header", () => {
    const rawHeaders = [...GET_OBJECT.rawHeaders, "x-amz-acl", "public-read"];
    expect(codeOf(() => verify({ ...GET_OBJECT, rawHeaders }))).toBe("AccessDenied");
  });

  it("are good for 15 minutes", () => {
    expect(codeOf(() => verify(GET_OBJECT, NOW + 900_000))).toBe("accepted");
    expect(codeOf(() => verify(GET_OBJECT, NOW + 900_001))).toBe("RequestTimeTooSkewed");
    expect(codeOf(() => verify(GET_OBJECT, NOW - 900_001))).toBe("RequestTimeTooSkewed");
  });

  it.each([
    ["", "AccessDenied"],
    ["Bearer abc", "AuthorizationHeaderMalformed"],
    ["AWS AKIA:abc", "AuthorizationHeaderMalformed"],
    [
      "AWS4-HMAC-SHA256 Credential=A/b/c/s3,SignedHeaders=host,Signature=00",
      "AuthorizationHeaderMalformed",
    ],
    [
      "AWS4-HMAC-SHA256 Credential=A/b/c/lambda/aws4_request,SignedHeaders=host,Signature=00",
      "NotImplemented",
    ],
  ])("of the form %j are refused with %s", (authorization, code) => {
    const rawHeaders = [...host, ...(authorization ? ["Authorization", authorization] : [])];
    expect(codeOf(() => verify({ method: "GET", url: "/", rawHeaders }))).toBe(code);
  });
});

describe("Signature Version 2", () => {
  it("is refused with the cure", () => {
    const request = { method: "GET", url: "/x?AWSAccessKeyId=A&Signature=b", rawHeaders: [] };
    expect(() => verify(request)).toThrow("Please use AWS4-HMAC-SHA256");
  });
});

describe("the service", () => {
  it("is the one of the credential's scope, and S3 where there is none", () => {
    const rawHeaders = ["Authorization", authorize("host", "00").replace("/s3/", "/sqs/")];
    expect(guessService({ method: "POST", url: "/", rawHeaders })).toBe("sqs");
    expect(guessService({ method: "POST", url: "/", rawHeaders: [] })).toBe("s3");
  });
});
