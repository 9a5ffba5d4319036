/** What the torture of the local cloud consists of: actors that write, remember what was acknowledged, and look after a restart. */
import type { EC2Client } from "@aws-sdk/client-ec2";
import type { S3Client } from "@aws-sdk/client-s3";
import type { SQSClient } from "@aws-sdk/client-sqs";

export type Clients = { readonly s3: S3Client; readonly sqs: SQSClient; readonly ec2: EC2Client };

export type Actor = {
  /** One call or a few; rejects when the cloud is gone, and then nobody knows what became of the last one. */
  act(clients: Clients): Promise<void>;
  /** After a restart: throws when something acknowledged is not there, or something is there that never was. */
  verify(clients: Clients): Promise<void>;
};

/** Has the actor act until the cloud is gone. Whatever the cloud itself refuses is a failure of the test. */
export async function actUntilGone(
  actor: Actor,
  clients: Clients,
  onActed: () => void,
): Promise<void> {
  for (;;) {
    try {
      await actor.act(clients);
    } catch (error) {
      const { $metadata } = error as { readonly $metadata?: { readonly httpStatusCode?: number } };
      if ($metadata?.httpStatusCode !== undefined || error instanceof TortureError) throw error;
      return;
    }
    onActed();
  }
}

/** Something was lost, torn, or made up. */
export class TortureError extends Error {}

export function check(holds: boolean, what: () => string): asserts holds {
  if (!holds) throw new TortureError(what());
}
