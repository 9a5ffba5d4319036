/** `errand doctor`: whether an installation is whole, and what to do where it is not. Nothing is launched or changed, but by --reap. */
import { createCloud } from "../../aws/cloud.ts";
import { readInstallation } from "../../daemon/installation.ts";
import { connect } from "../connect.ts";
import { examine, verdictOf } from "../doctor/doctor.ts";
import type { Finding, Verdict } from "../doctor/finding.ts";
import type { Output } from "../output.ts";
import type { Palette } from "../palette.ts";
import { systemClock } from "../system-clock.ts";
import { newToken } from "../token.ts";
import type { CommonOptions } from "./runs.ts";

const EXIT_FAILED = 1;
/** S3 takes seconds at most as a rule, and promises nothing. */
const EVENT_MS = 30_000;

export type DoctorOptions = CommonOptions & { readonly reap?: boolean };

export async function doctor(output: Output, options: DoctorOptions): Promise<number> {
  const connection = await connect(options);
  const { store, config, where, isLocal } = connection;
  const clients = await connection.clients();
  const installation = await readInstallation(store).catch(() => undefined);
  const cloud = createCloud(clients, {
    region: config.region,
    subnets: config.subnets,
    images: config.images,
    installation: installation ?? "",
    readScript: async () => "",
  });
  const token = newToken();
  try {
    const patient = {
      ...{ store, clients, cloud, config, where, isLocal, token },
      ...{ eventMs: EVENT_MS, clock: systemClock, reap: options.reap === true },
    };
    const say = options.json ? () => {} : (finding: Finding) => render(output, finding);
    const findings = await examine(patient, say);
    const verdict = verdictOf(findings);
    if (options.json) output.json({ verdict, findings });
    else output.line(summary(findings, verdict));
    return verdict === "fail" ? EXIT_FAILED : 0;
  } finally {
    clients.close();
  }
}

/** As wide as the longest name. */
const NAME_WIDTH = 18;

function render(output: Output, { check, verdict, detail, cure }: Finding): void {
  const { palette } = output;
  const mark = paintVerdict(verdict, palette)(verdict.padEnd(4));
  output.line(`${mark}  ${check.padEnd(NAME_WIDTH)}  ${detail}`);
  if (cure !== "") output.line(`${" ".repeat(NAME_WIDTH + 8)}${palette.strong(cure)}`);
}

function paintVerdict(verdict: Verdict, palette: Palette): (text: string) => string {
  switch (verdict) {
    case "pass":
      return palette.good;
    case "warn":
      return palette.warn;
    case "fail":
      return palette.bad;
    case "skip":
      return palette.faint;
  }
}

function summary(findings: readonly Finding[], verdict: Verdict): string {
  const count = (wanted: Verdict): number =>
    findings.filter((each) => each.verdict === wanted).length;
  const counts = `${count("pass")} pass, ${count("warn")} warn, ${count("fail")} fail, ${count("skip")} skip`;
  return verdict === "fail" ? `${counts}: something has to be mended` : counts;
}
