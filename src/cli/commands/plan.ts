/** `errand plan` and `errand check`: what a bundle would do and cost, without doing any of it. */
import { listPrices } from "../../aws/prices.ts";
import { readSnapshot } from "../../aws/snapshot.ts";
import { describeNearMisses } from "../../core/near-misses.ts";
import { type Catalog, chooseOffers, type Offer } from "../../core/offers.ts";
import type { Job } from "../../core/workflow.ts";
import { runName } from "../../daemon/names.ts";
import { UserError } from "../../errors.ts";
import { REGION, SUBNETS } from "../../local/ec2-world.ts";
import { compile, readBundle, type TagLookup } from "../bundle.ts";
import { connect } from "../connect.ts";
import { chooseRunId } from "../drop.ts";
import type { Output } from "../output.ts";
import { renderTable } from "../render-table.ts";
import { formatCount, formatHourlyUsd, formatUsd } from "../render-values.ts";
import { readAsked } from "../request.ts";
import { systemClock } from "../system-clock.ts";
import type { CommonOptions } from "./runs.ts";

export type PlanOptions = CommonOptions & {
  readonly var?: readonly string[];
  readonly tag?: string;
};

export type PlannedJob = {
  readonly name: string;
  readonly workflow: string;
  readonly instanceType: string;
  readonly zones: readonly string[];
  readonly hourlyUsd: number;
  /** All tries of the job, each for as long as a machine may live at most. */
  readonly worstCaseUsd: number;
  readonly runnersUp: readonly { readonly instanceType: string; readonly hourlyUsd: number }[];
};

export async function plan(
  output: Output,
  words: readonly string[],
  options: PlanOptions,
): Promise<number> {
  const tags = async () => (await connect(options)).store;
  const compiled = await compileAsked(words, options, tags);
  const { catalog, offerBandPercent } = await readCatalog(options);
  const chosen = compiled.jobs.map((job) => ({
    job,
    choice: chooseOffers(job.resources, catalog, { offerBandPercent }),
  }));
  const misfits = chosen.filter(({ choice }) => choice.offers.length === 0);
  if (misfits.length > 0) {
    const lines = misfits.map(({ job, choice }) => `${job.name}: ${describeNearMisses(choice)}`);
    throw new UserError(lines.join("\n"), "Ask for less under resources.");
  }
  const jobs = chosen.map(({ job, choice }) => planJob(job, choice.offers));
  if (options.json) {
    output.json({ jobs });
    return 0;
  }
  tellWarnings(output, compiled.warnings);
  renderPlan(output, jobs);
  if (catalog.isEstimate) {
    output.note(
      `prices are those of us-east-1 on ${catalog.pricedOn}: estimates for ${catalog.region}`,
    );
  }
  return 0;
}

export async function check(
  output: Output,
  words: readonly string[],
  options: PlanOptions,
): Promise<number> {
  const { jobs, workflows, warnings } = await compileAsked(words, options, "assumed");
  if (options.json) {
    output.json({ workflows, jobs: jobs.map((job) => job.name), warnings });
    return 0;
  }
  tellWarnings(output, warnings);
  output.line(`all is well: ${formatCount(jobs.length, "job")} for ${workflows.join(", ")}`);
  return 0;
}

async function compileAsked(words: readonly string[], options: PlanOptions, tags: TagLookup) {
  const { directory, request } = await readAsked(words, {
    given: options.var ?? [],
    tag: options.tag,
  });
  const id = chooseRunId(systemClock.now());
  return compile(await readBundle(directory), { request, run: { id, name: runName(id) }, tags });
}

function tellWarnings(output: Output, warnings: readonly string[]): void {
  for (const warning of warnings) output.note(output.notePalette.warn(`warning: ${warning}`));
}

/** Locally what is shipped with Errand, so that a plan needs no cloud to run. */
async function readCatalog(
  options: PlanOptions,
): Promise<{ readonly catalog: Catalog; readonly offerBandPercent: number }> {
  if (options.local) return { catalog: await readShippedCatalog(), offerBandPercent: 2 };
  const { createCatalogReader } = await import("../../aws/catalog.ts");
  const connection = await connect(options);
  const { config } = connection;
  const { region, subnets, images, limits } = config;
  const catalog = await createCatalogReader(await connection.clients(), {
    region,
    subnets,
    images,
  })();
  return { catalog, offerBandPercent: limits.offerBandPercent };
}

async function readShippedCatalog(): Promise<Catalog> {
  const { types, offerings } = await readSnapshot();
  const offered = offerings.get(REGION);
  return {
    region: REGION,
    types: types
      .filter((type) => offered?.has(type.name) ?? true)
      .map((type) => ({ ...type, hourlyUsd: listPrices.hourlyUsd(type, REGION) })),
    places: SUBNETS.map(({ zone, id }) => ({ zone, subnetId: id })),
    images: [],
    isEstimate: listPrices.isEstimate(REGION),
    pricedOn: listPrices.pricedOn,
  };
}

function planJob(job: Job, offers: readonly Offer[]): PlannedJob {
  const [best] = offers;
  if (!best) throw new Error(`${job.name} has no offers`);
  const { hourlyUsd, instanceType } = best;
  const hours = job.resources.maxDurationMs / 3_600_000;
  const others = new Map(offers.map((offer) => [offer.instanceType, offer.hourlyUsd]));
  others.delete(instanceType);
  return {
    name: job.name,
    workflow: job.workflow,
    instanceType,
    zones: offers.filter((offer) => offer.instanceType === instanceType).map(({ zone }) => zone),
    hourlyUsd,
    worstCaseUsd: Math.round(hourlyUsd * hours * 100) / 100,
    runnersUp: [...others]
      .slice(0, RUNNERS_UP_MAX)
      .map(([type, usd]) => ({ instanceType: type, hourlyUsd: usd })),
  };
}

const RUNNERS_UP_MAX = 3;

function renderPlan(output: Output, jobs: readonly PlannedJob[]): void {
  const rows = jobs.map((job) => [
    job.name,
    job.instanceType,
    job.zones.join(" "),
    formatHourlyUsd(job.hourlyUsd),
    formatUsd(job.worstCaseUsd),
    job.runnersUp.map((other) => other.instanceType).join(", "),
  ]);
  const columns = [
    { title: "job" },
    { title: "instance" },
    { title: "zones" },
    { title: "price", align: "right" },
    { title: "at worst", align: "right" },
    { title: "then" },
  ] as const;
  for (const line of renderTable(columns, rows, output.palette.faint)) output.line(line);
}
