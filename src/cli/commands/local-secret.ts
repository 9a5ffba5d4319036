/** `errand local secret put`: keeps a value in the local cloud. It comes by stdin: what stands in a command can be seen by others. */
import { isUtf8 } from "node:buffer";
import { buffer } from "node:stream/consumers";
import { UserError } from "../../errors.ts";
import { callLocalCloud } from "../local-control.ts";
import { needLocalCloud } from "../local-note.ts";
import type { Output } from "../output.ts";

export async function putSecret(
  output: Output,
  name: string,
  options: { readonly data: string },
): Promise<number> {
  if (!/^\/?errand\//.test(name)) {
    throw new UserError(
      `jobs may read no secret called ${name}`,
      "Call it /errand/NAME for {ssm: /errand/NAME}, or errand/NAME for {secret: errand/NAME}.",
    );
  }
  const note = await needLocalCloud(options.data);
  if (process.stdin.isTTY) output.note("type the value; Ctrl-D ends it");
  // As `echo` and editors end a file; a value that ends with a line break is put by the aws command.
  const bytes = await buffer(process.stdin);
  if (!isUtf8(bytes)) {
    throw new UserError(
      "the value is no UTF-8 text",
      "An environment holds texts: write bytes as base64.",
    );
  }
  const value = bytes.toString().replace(/\r?\n$/, "");
  if (value === "")
    throw new UserError(
      "there is no value on stdin",
      `Pipe it in: printf %s … | errand local secret put ${name}`,
    );
  await callLocalCloud(note, { method: "POST", path: "/_local/secrets", body: { name, value } });
  output.line(`kept ${name}`);
  return 0;
}
