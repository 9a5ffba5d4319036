/** Runs the checks, one after the other, and says each finding when it is made. */
import type { Clients } from "../../aws/clients.ts";
import type { ClientOptions } from "../../aws/s3-client.ts";
import type { Config } from "../../config.ts";
import type { Clock, Cloud, Store } from "../../ports.ts";
import { CHECKS } from "./checks.ts";
import { type Finding, refusalOf, skip, type Verdict } from "./finding.ts";

export type Patient = {
  readonly store: Store;
  readonly clients: Clients;
  readonly cloud: Cloud;
  readonly config: Config;
  readonly where: ClientOptions;
  readonly isLocal: boolean;
  /** Random: names what this examination writes. */
  readonly token: string;
  /** How long an event may take. */
  readonly eventMs: number;
  readonly clock: Pick<Clock, "now" | "sleep">;
  /** End machines that nobody wants. */
  readonly reap: boolean;
};

export async function examine(
  patient: Patient,
  onFinding: (finding: Finding) => void,
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const isFailed = (name: string): boolean =>
    findings.some(
      ({ check, verdict }) => check === name && verdict !== "pass" && verdict !== "warn",
    );
  for (const { name, needs, run } of CHECKS) {
    const missing = needs.find(isFailed);
    const outcome = missing ? skip(`needs ${missing}`) : await run(patient).catch(refusalOf);
    const finding = { check: name, ...outcome };
    findings.push(finding);
    onFinding(finding);
  }
  return findings;
}

/** The worst of them. */
export const verdictOf = (findings: readonly Finding[]): Exclude<Verdict, "skip"> => {
  const has = (wanted: Verdict): boolean => findings.some(({ verdict }) => verdict === wanted);
  if (has("fail")) return "fail";
  return has("warn") ? "warn" : "pass";
};
