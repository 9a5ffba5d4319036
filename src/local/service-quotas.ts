/**
 * Service Quotas: ListServiceQuotas of EC2, with the vCPU quotas that rules of faults set; others are without limit here, and not
 * listed.
 */
import { z } from "zod";
import { ACCOUNT_ID, REGION } from "./ec2-world.ts";
import type { QUOTA_FAMILIES } from "./fault-rules.ts";
import type { Faults } from "./faults.ts";
import { ApiError, notImplemented, readBody, type Service } from "./http.ts";

const BODY_BYTES_MAX = 64 * 1024;
const TARGET = "ServiceQuotasV20190624.ListServiceQuotas";

/** `other` is of several quotas, and of none of them here. */
const QUOTAS: Readonly<
  Record<(typeof QUOTA_FAMILIES)[number], { readonly code: string; readonly name: string } | null>
> = {
  standard: {
    code: "L-1216C47A",
    name: "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
  },
  "g-vt": { code: "L-DB2E81BA", name: "Running On-Demand G and VT instances" },
  p: { code: "L-417A185B", name: "Running On-Demand P instances" },
  other: null,
};

const listServiceQuotas = z.strictObject({
  ServiceCode: z.string(),
  MaxResults: z.int().min(1).max(100).optional(),
  NextToken: z.string().optional(),
});

export const createServiceQuotas = (faults: Pick<Faults, "list">): Service => ({
  handle: async (request) => {
    const target = String(request.headers["x-amz-target"] ?? "");
    if (target !== TARGET) throw notImplemented(`${target} of Service Quotas`);
    if (request.caller.type !== "owner") {
      const message = `the role of instances may not call ${target}`;
      throw new ApiError(400, "AccessDeniedException", message);
    }
    const body = (await readBody(request, BODY_BYTES_MAX)).toString();
    const parsed = listServiceQuotas.safeParse(JSON.parse(body || "{}"));
    if (!parsed.success) {
      throw new ApiError(400, "IllegalArgumentException", z.prettifyError(parsed.error));
    }
    if (parsed.data.ServiceCode !== "ec2") {
      const message = `there is no service ${parsed.data.ServiceCode} with quotas here`;
      throw new ApiError(400, "NoSuchResourceException", message);
    }
    return {
      status: 200,
      headers: { "content-type": "application/x-amz-json-1.1" },
      body: JSON.stringify({ Quotas: faults.list().flatMap(render) }),
    };
  },
});

function render(rule: ReturnType<Faults["list"]>[number]): readonly object[] {
  const quota = rule.fault === "quota" ? QUOTAS[rule.family] : null;
  if (rule.fault !== "quota" || !quota) return [];
  return [
    {
      ...{ ServiceCode: "ec2", ServiceName: "Amazon Elastic Compute Cloud (Amazon EC2)" },
      QuotaArn: `arn:aws:servicequotas:${REGION}:${ACCOUNT_ID}:ec2/${quota.code}`,
      ...{ QuotaCode: quota.code, QuotaName: quota.name, Value: rule.vcpus },
      ...{ Unit: "None", Adjustable: true, GlobalQuota: false },
    },
  ];
}
