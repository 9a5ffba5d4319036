/** What all XML answers of S3 have in common. */
import { ApiError, type LocalResponse } from "./http.ts";
import { parseXml, type XmlNode } from "./xml.ts";

export const S3_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/";

export const xmlResponse = (
  body: string,
  headers: Readonly<Record<string, string>> = {},
): LocalResponse => ({
  status: 200,
  headers: { "content-type": "application/xml", ...headers },
  body,
});

/** Throws ApiError MalformedXML where it cannot be read or its root has another name. */
export function parseRequest(bytes: Uint8Array, rootName: string): XmlNode {
  try {
    const root = parseXml(Buffer.from(bytes).toString("utf8"));
    if (root.name === rootName) return root;
  } catch (error) {
    throw malformed(String(error));
  }
  throw malformed(`the root is not ${rootName}`);
}

const malformed = (why: string): ApiError =>
  new ApiError(
    400,
    "MalformedXML",
    `The XML you provided was not well-formed or did not validate against our published schema: ${why}`,
  );
