/** How EC2 writes its answers. */
import { type XmlValue, xmlDocument } from "./xml.ts";

export type Xml = { readonly [name: string]: XmlValue };

/** Lists are `<item>` elements, but for one or two of `<member>`. */
export const items = (values: readonly XmlValue[]): Xml => ({ item: values });

export const renderEc2Answer = (action: string, requestId: string, answer: Xml): string =>
  xmlDocument(
    `${action}Response`,
    { requestId, ...answer },
    "http://ec2.amazonaws.com/doc/2016-11-15/",
  );
