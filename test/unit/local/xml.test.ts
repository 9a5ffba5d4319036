import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseXml, xmlDocument, xmlText } from "../../../src/local/xml.ts";

describe("XML", () => {
  it("is written with lists repeated, undefined left out and text escaped", () => {
    const value = { a: [1, { b: "x" }], c: undefined, d: '<&>"\n', e: true };
    expect(xmlDocument("r", value, "urn:n")).toBe(
      '<?xml version="1.0" encoding="UTF-8"?>\n<r xmlns="urn:n"><a>1</a><a><b>x</b></a><d>&lt;&amp;&gt;&quot;&#xA;</d><e>true</e></r>',
    );
  });

  it("is read with references, comments, attributes and empty elements", () => {
    const node = parseXml(
      '<?xml version="1.0"?>\n<Delete xmlns="x"><!-- <no> --><Key a="b">a&#10;b&amp;c &#x1F600;</Key><Quiet/></Delete>\n',
    );
    expect(xmlText(node, "Key")).toBe("a\nb&c 😀");
    expect(xmlText(node, "Quiet")).toBe("");
    expect(xmlText(node, "Other")).toBeUndefined();
  });

  it("says again what was written, whatever the text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(xmlText(parseXml(xmlDocument("r", { t: text })), "t")).toBe(text);
      }),
    );
  });

  it.each([
    "",
    "text",
    "<a>",
    "</a>",
    "<a></b>",
    "<a><b></a></b>",
    "<a/><b/>",
    "<a",
    `${"<a>".repeat(100)}${"</a>".repeat(100)}`,
  ])("that is not well-formed is refused: %j", (text) => {
    expect(() => parseXml(text)).toThrow();
  });
});
