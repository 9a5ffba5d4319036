/** `eval "$(errand local env)"`: lets any AWS tool of this shell speak to the local cloud. */
import { needLocalCloud } from "../local-note.ts";
import type { Output } from "../output.ts";

export async function localEnv(
  output: Output,
  options: { readonly data: string; readonly json?: boolean },
): Promise<number> {
  const note = await needLocalCloud(options.data);
  const variables = {
    AWS_ENDPOINT_URL: note.endpoint,
    AWS_REGION: note.region,
    AWS_DEFAULT_REGION: note.region,
    AWS_ACCESS_KEY_ID: note.accessKeyId,
    AWS_SECRET_ACCESS_KEY: note.secretAccessKey,
    ERRAND_BUCKET: note.bucket,
    ERRAND_QUEUE_URL: note.queueUrl,
  };
  if (options.json) {
    output.json(variables);
    return 0;
  }
  for (const [name, value] of Object.entries(variables)) {
    output.line(`export ${name}=${shellQuote(value)}`);
  }
  // Of another account they would go first, and be wrong here.
  output.line("unset AWS_SESSION_TOKEN AWS_PROFILE");
  return 0;
}

const shellQuote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
