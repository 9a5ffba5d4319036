/** `errand init --stack NAME`: writes the configuration of an installation from the stack that was deployed for it. */
import { open, writeFile } from "node:fs/promises";
import { readStack } from "../../aws/stack.ts";
import { readPlace } from "../../config.ts";
import { UserError } from "../../errors.ts";
import type { Output } from "../output.ts";
import { renderStackConfig } from "../stack-config.ts";

export type InitOptions = {
  readonly stack: string;
  readonly region?: string;
  readonly endpoint?: string;
  /** Where it is written. */
  readonly config: string;
  readonly force?: boolean;
  readonly json?: boolean;
};

export async function init(output: Output, options: InitOptions): Promise<number> {
  const { stack, config: path } = options;
  const place = readPlace(options);
  const found = await readStack(place, stack);
  if (!found) {
    throw new UserError(
      `there is no stack ${stack} in ${place.region}`,
      "Look at --stack, --region and the credentials: aws cloudformation list-stacks",
    );
  }
  const text = renderStackConfig(found, { stack, ...place });
  await write(path, text, options.force === true);
  if (options.json) {
    output.json({ config: path, stack, region: place.region, bucket: found.outputs.get("Bucket") });
    return 0;
  }
  output.line(`wrote ${path}`);
  output.note(`The daemon's rights are those of ${found.outputs.get("DaemonRoleArn")}.`);
  output.note("Next: errand daemon; and from anywhere with this configuration, errand submit DIR");
  return 0;
}

/** What is there was perhaps written by hand: it stays, unless it is the same. */
async function write(path: string, text: string, isForced: boolean): Promise<void> {
  try {
    if (isForced) return await writeFile(path, text);
    const file = await open(path, "wx");
    await file.writeFile(text).finally(() => file.close());
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") {
      throw new UserError(`${path} exists`, "Say --force to overwrite it, or --config FILE.");
    }
    throw new UserError(`writing ${path}`, "Check that its folder exists and may be written to.", {
      cause: error,
    });
  }
}
