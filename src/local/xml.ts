/** XML as the S3, EC2 and STS answers need it: elements without attributes but the namespace, and text. */

/** Text, a nested element's fields in order, or several of the same name. Undefined leaves the element out. */
export type XmlValue =
  | string
  | number
  | boolean
  | undefined
  | readonly XmlValue[]
  | { readonly [name: string]: XmlValue };

const DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n';

export const xmlDocument = (root: string, value: XmlValue, namespace?: string): string =>
  `${DECLARATION}<${root}${namespace === undefined ? "" : ` xmlns="${namespace}"`}>${xmlContent(value)}</${root}>`;

function xmlElement(name: string, value: XmlValue): string {
  if (value === undefined) return "";
  if (Array.isArray(value)) return value.map((item) => xmlElement(name, item)).join("");
  return `<${name}>${xmlContent(value)}</${name}>`;
}

function xmlContent(value: XmlValue): string {
  if (value === undefined) return "";
  if (typeof value !== "object") return escapeXml(String(value));
  return Object.entries(value)
    .map(([name, field]) => xmlElement(name, field))
    .join("");
}

/** Control characters are written as references, as S3 does even where XML 1.0 has no place for them. */
const escapeXml = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must be escaped.
  text.replace(/[&<>"\u0000-\u0008\u000a-\u001f\u007f]/g, (char) => {
    switch (char) {
      case "&":
        return "&amp;";
      case "<":
        return "&lt;";
      case ">":
        return "&gt;";
      case '"':
        return "&quot;";
      default:
        return `&#x${char.charCodeAt(0).toString(16).toUpperCase()};`;
    }
  });

export type XmlNode = {
  readonly name: string;
  /** All text directly in the element, white space kept. */
  readonly text: string;
  readonly children: readonly XmlNode[];
};

/** Deeper documents are nobody's honest request. */
const DEPTH_MAX = 16;
const TOKEN = /<\?[^>]*\?>|<!--[\s\S]*?-->|<(\/?)([\w:.-]+)(?:\s[^<>]*?)?(\/?)>|[^<]+/gy;

type OpenNode = { readonly name: string; text: string; readonly children: OpenNode[] };

/** Elements and text of a request's body, without attributes. Throws Error saying where it cannot be read. */
export function parseXml(text: string): XmlNode {
  const document: OpenNode = { name: "", text: "", children: [] };
  const open: OpenNode[] = [document];
  let end = 0;
  for (const token of text.matchAll(TOKEN)) {
    end = token.index + token[0].length;
    takeToken(open, token);
  }
  const root = document.children[0];
  if (end !== text.length || open.length !== 1 || !root || document.children.length !== 1) {
    throw new Error(`not well-formed at character ${end}`);
  }
  return root;
}

function takeToken(open: OpenNode[], [whole, closing, name, empty]: RegExpMatchArray): void {
  const top = open.at(-1);
  if (!top) throw new Error(`${whole} after the document's end`);
  if (name === undefined) {
    if (!whole.startsWith("<")) top.text += unescapeXml(whole);
    return;
  }
  if (closing) {
    if (top.name !== name) throw new Error(`</${name}> closes <${top.name}>`);
    open.pop();
    return;
  }
  const node: OpenNode = { name, text: "", children: [] };
  top.children.push(node);
  if (!empty) open.push(node);
  if (open.length > DEPTH_MAX) throw new Error("elements are nested too deeply");
}

export const xmlChildren = (node: XmlNode, name: string): readonly XmlNode[] =>
  node.children.filter((child) => child.name === name);

export const xmlText = (node: XmlNode, name: string): string | undefined =>
  node.children.find((child) => child.name === name)?.text;

const NAMED: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};

const unescapeXml = (text: string): string =>
  text.replace(/&(?:#x([0-9a-fA-F]{1,6})|#(\d{1,7})|(\w+));/g, (whole, hex, decimal, name) => {
    if (name !== undefined) return NAMED[name] ?? whole;
    const code = Number.parseInt(hex ?? decimal, hex === undefined ? 10 : 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
