/** `errand plan`: which machines a bundle would get, why those, and what they cost, without renting any. */
import { listPrices } from "../../aws/prices.ts";
import { readSnapshot } from "../../aws/snapshot.ts";
import { describeNearMisses } from "../../core/near-misses.ts";
import { type Catalog, chooseOffers, type Offer } from "../../core/offers.ts";
import { listPassedOver } from "../../core/passed-over.ts";
import type { Job } from "../../core/workflow.ts";
import { runName } from "../../daemon/names.ts";
import { UserError } from "../../errors.ts";
import { REGION, SUBNETS } from "../../local/ec2-world.ts";
import { renderProblem } from "../../providers/problem.ts";
import { compile, readBundle } from "../bundle.ts";
import { connect } from "../connect.ts";
import { chooseRunId } from "../drop.ts";
import { readLimits, readLimitsNearby } from "../limits.ts";
import { findMissingFiles } from "../missing-files.ts";
import type { Output } from "../output.ts";
import { loadProvidersNearby } from "../provider-modules.ts";
import { renderPlan } from "../render-plan.ts";
import { describePrices } from "../render-prices.ts";
import { type AskedOptions, readAsked } from "../request.ts";
import { systemClock } from "../system-clock.ts";
import type { CommonOptions } from "./runs.ts";

export type PlanOptions = CommonOptions & AskedOptions;

/** What a job is given of what the operator keeps: references, never values. */
export type Given = {
  /** Variables and the secrets that they take, as `/errand/token`. */
  readonly secrets?: Readonly<Record<string, string>>;
  readonly role?: string;
};

export type PlannedJob = Given & {
  readonly name: string;
  readonly workflow: string;
  readonly instanceType: string;
  readonly zones: readonly string[];
  readonly hourlyUsd: number;
  /** One try that runs for all of `max_duration`. */
  readonly worstCaseUsd: number;
  readonly runnersUp: readonly { readonly instanceType: string; readonly hourlyUsd: number }[];
};

export async function plan(
  output: Output,
  words: readonly string[],
  options: PlanOptions,
): Promise<number> {
  const { bundle, compiled, limits } = await compileAsked(words, options);
  const { offerBandPercent } = limits;
  const catalog = await readCatalog(options);
  const chosen = compiled.jobs.map((job) => ({
    job,
    choice: chooseOffers(job.resources, catalog, { offerBandPercent }),
  }));
  const misfits = chosen.filter(({ choice }) => choice.offers.length === 0);
  if (misfits.length > 0) {
    const lines = misfits.map(({ job, choice }) => `${job.name}: ${describeNearMisses(choice)}`);
    const isPinned = misfits.every(({ choice }) => choice.isPinned);
    const cure = isPinned
      ? "Name another, or none, under resources."
      : "Ask for less under resources.";
    throw new UserError(lines.join("\n"), cure);
  }
  const planned = chosen.map(({ job, choice }) => ({
    ...planJob(job, choice.offers),
    resources: job.resources,
  }));
  if (options.json) {
    const { region, pricedOn, isLive = false, isEstimate } = catalog;
    const prices = { region, pricedOn, isLive, isEstimate };
    output.json({ jobs: planned.map(({ resources: _, ...job }) => job), prices });
    return 0;
  }
  const missing = await findMissingFiles(bundle, compiled);
  for (const warning of [...compiled.warnings, ...missing.map(renderProblem)]) {
    output.note(output.notePalette.warn(`warning: ${warning}`));
  }
  const explained = planned.map((job) => ({
    ...job,
    passedOver: listPassedOver(job.resources, catalog, job),
  }));
  for (const line of renderPlan(explained, output.palette)) output.line(line);
  output.note(describePrices(catalog, systemClock.now()));
  return 0;
}

async function compileAsked(words: readonly string[], options: PlanOptions) {
  const { directory, request } = await readAsked(words, options);
  const id = chooseRunId(systemClock.now());
  const bundle = await readBundle(directory);
  const limits = options.local
    ? await readLimitsNearby(options)
    : await readLimits(await connect(options));
  const compiled = await compile(bundle, {
    request,
    run: { id, name: runName(id) },
    tags: async () => (await connect(options)).store,
    providers: await loadProvidersNearby(options),
    limits,
  });
  return { bundle, compiled, limits };
}

/** Locally what is shipped with Errand, so that a plan needs no cloud to run. */
async function readCatalog(options: PlanOptions): Promise<Catalog> {
  if (options.local) return readShippedCatalog();
  const [{ createCatalogReader }, { findLiveTypes }] = await Promise.all([
    import("../../aws/catalog.ts"),
    import("../../aws/live-types.ts"),
  ]);
  const { config, clients, store } = await connect(options);
  const { region, subnets, images } = config;
  // What the daemon has read: a plan asks for no prices itself.
  const found = await findLiveTypes(store, region);
  const live = { current: async () => found };
  return createCatalogReader(await clients(), { region, subnets, images, live })();
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
    ...givenTo(job),
    instanceType,
    zones: offers.filter((offer) => offer.instanceType === instanceType).map(({ zone }) => zone),
    hourlyUsd,
    // To the millionth: a short job costs less than a cent.
    worstCaseUsd: Math.round(hourlyUsd * hours * 1e6) / 1e6,
    runnersUp: [...others]
      .slice(0, RUNNERS_UP_MAX)
      .map(([type, usd]) => ({ instanceType: type, hourlyUsd: usd })),
  };
}

const RUNNERS_UP_MAX = 3;

function givenTo({ environment, role }: Job): Given {
  const secrets = Object.entries(environment).flatMap(([name, value]) => {
    if (typeof value === "string") return [];
    const key = "key" in value && value.key !== undefined ? ` ${value.key}` : "";
    return [[name, "ssm" in value ? value.ssm : `${value.secret}${key}`] as const];
  });
  return {
    ...(secrets.length > 0 && { secrets: Object.fromEntries(secrets) }),
    ...(role !== undefined && { role }),
  };
}
