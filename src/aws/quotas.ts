/** vCPU quotas of the account, from Service Quotas, kept for some minutes. What cannot be known of them, EC2 says when it refuses. */
import {
  paginateListServiceQuotas,
  type ServiceQuota,
  type ServiceQuotasClient,
} from "@aws-sdk/client-service-quotas";
import type { QuotaGroup, Quotas } from "../core/quotas.ts";
import { isCloudError } from "../errors.ts";
import { callAws } from "./error-codes.ts";

/** Running On-Demand instances, by group: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-on-demand-instances.html */
const GROUPS: Readonly<Record<string, QuotaGroup>> = {
  "L-1216C47A": "standard",
  "L-DB2E81BA": "gAndVt",
  "L-417A185B": "p",
  "L-74FC7D96": "f",
  "L-7295265B": "x",
  "L-1945791B": "inf",
  "L-2C3B7624": "trn",
  "L-6E869C2A": "dl",
  "L-43DA4232": "highMemory",
  "L-F7808C92": "hpc",
};

export type QuotaReaderOptions = {
  /** An account that has asked for more wants it to be seen soon. */
  readonly freshMs?: number | undefined;
  /** Called once, when they cannot be read: jobs are held when EC2 refuses, and not before. */
  readonly onUnknown?: ((error: unknown) => void) | undefined;
  /** Milliseconds since 1970. */
  readonly now?: (() => number) | undefined;
};

const FRESH_MS = 5 * 60_000;

/** Reads them once in a while, once for all who ask meanwhile. Never throws CloudError: what cannot be read is as it was. */
export function createQuotaReader(
  client: ServiceQuotasClient,
  { freshMs = FRESH_MS, onUnknown = () => {}, now = Date.now }: QuotaReaderOptions,
): () => Promise<Quotas> {
  let current: Quotas = {};
  let until = Number.NEGATIVE_INFINITY;
  let isTold = false;
  let reading: Promise<Quotas> | undefined;

  async function refresh(): Promise<Quotas> {
    try {
      current = await readQuotas(client);
    } catch (error) {
      if (!isCloudError(error)) throw error;
      if (!isTold) onUnknown(error);
      isTold = true;
    } finally {
      until = now() + freshMs;
      reading = undefined;
    }
    return current;
  }
  return () => {
    if (now() < until) return Promise.resolve(current);
    reading ??= refresh();
    return reading;
  };
}

const PAGE_SIZE = 100;

function readQuotas(client: ServiceQuotasClient): Promise<Quotas> {
  return callAws("reading vCPU quotas", async () => {
    const found: Partial<Record<QuotaGroup, number>> = {};
    const input = { ServiceCode: "ec2", MaxResults: PAGE_SIZE };
    for await (const { Quotas = [] } of paginateListServiceQuotas({ client }, input)) {
      for (const { QuotaCode = "", Value } of Quotas as readonly ServiceQuota[]) {
        const group = GROUPS[QuotaCode];
        if (group !== undefined && Value !== undefined) found[group] = Value;
      }
    }
    return found;
  });
}
