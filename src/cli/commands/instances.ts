/** `errand instances`: what EC2 says runs, beside what the records say should run. */
import { createCloud } from "../../aws/cloud.ts";
import { prefix } from "../../core/layout.ts";
import { type Instance, isAlive } from "../../core/observation.ts";
import type { RunView } from "../../core/view.ts";
import { readInstallation } from "../../daemon/installation.ts";
import { connect } from "../connect.ts";
import type { Output } from "../output.ts";
import { paintState } from "../palette.ts";
import { readViews } from "../read-runs.ts";
import { renderTable } from "../render-table.ts";
import { formatDuration, oneLine } from "../render-values.ts";
import { systemClock } from "../system-clock.ts";
import type { CommonOptions } from "./runs.ts";

export type InstanceLine = {
  readonly instanceId: string;
  readonly instanceType: string;
  readonly zone: string;
  /** EC2's, or `absent` for one that a record names and EC2 does not list. */
  readonly state: Instance["state"] | "absent";
  /** ISO 8601; null where EC2 does not know it. */
  readonly launchedAt: string | null;
  readonly run: string | null;
  readonly job: string | null;
  readonly attempt: number | null;
  /** What EC2 and the records do not agree about; empty when they do. */
  readonly difference: string;
};

export async function instances(
  output: Output,
  options: CommonOptions & { readonly all?: boolean },
): Promise<number> {
  const { store, clients, config } = await connect(options);
  const installation = await readInstallation(store);
  const listed =
    installation === undefined
      ? []
      : await createCloud(await clients(), {
          region: config.region,
          subnets: config.subnets,
          images: config.images,
          installation,
          readScript: async () => "",
        }).listInstances();
  // After the instances: a record is written before its instance is launched.
  const open = await store.list(prefix.open);
  const views = await readViews(
    store,
    open.map((info) => info.key.slice(prefix.open.length)),
    ({ message }) => output.note(output.notePalette.warn(`warning: ${message}`)),
  );
  const lines = compareInstances(listed, views).filter(
    (line) => options.all || line.state !== "terminated" || line.difference !== "",
  );
  if (options.json) output.json(lines);
  else render(output, lines);
  return 0;
}

/** EC2's instances, the oldest first, then those that only records know. */
export function compareInstances(
  listed: readonly Instance[],
  open: readonly RunView[],
): InstanceLine[] {
  const wanted = new Map(
    open.flatMap((view) =>
      view.jobs.flatMap((job) =>
        job.attempts.flatMap((attempt) =>
          attempt.instanceId === null
            ? []
            : [[attempt.instanceId, { view, job, attempt }] as const],
        ),
      ),
    ),
  );
  const known = listed
    .toSorted((one, other) => one.launchedAt - other.launchedAt)
    .map((instance): InstanceLine => {
      const owner = wanted.get(instance.id);
      const isWorking = owner !== undefined && owner.attempt.endedAt === null;
      return {
        instanceId: instance.id,
        instanceType: instance.instanceType,
        zone: instance.zone,
        state: instance.state,
        launchedAt: new Date(instance.launchedAt).toISOString(),
        run: owner?.view.id ?? null,
        job: owner?.job.name ?? null,
        attempt: owner?.attempt.number ?? null,
        difference: differenceOf(instance, owner !== undefined, isWorking),
      };
    });
  const seen = new Set(listed.map((instance) => instance.id));
  const absent = [...wanted]
    .filter(([id, { attempt }]) => !seen.has(id) && attempt.endedAt === null)
    .map(
      ([instanceId, { view, job, attempt }]): InstanceLine => ({
        instanceId,
        instanceType: attempt.instanceType,
        zone: attempt.zone,
        state: "absent",
        launchedAt: null,
        run: view.id,
        job: job.name,
        attempt: attempt.number,
        difference: "a job counts on it, EC2 does not list it",
      }),
    );
  return [...known, ...absent];
}

function differenceOf(instance: Instance, isKnown: boolean, isWorking: boolean): string {
  if (isAlive(instance) && !isKnown) return "no open run wants it: the daemon will end it";
  if (!isAlive(instance) && isWorking) return "a job counts on it, EC2 has ended it";
  return "";
}

function render(output: Output, lines: readonly InstanceLine[]): void {
  if (lines.length === 0) {
    output.line("no instances");
    return;
  }
  const { palette } = output;
  const now = systemClock.now();
  const rows = lines.map((line) => [
    line.instanceId,
    line.instanceType,
    line.zone,
    paintState(line.state, palette),
    line.launchedAt === null ? "" : formatDuration(now - Date.parse(line.launchedAt)),
    line.run ?? "",
    line.job ?? "",
    palette.warn(oneLine(line.difference)),
  ]);
  const columns = [
    { title: "instance" },
    { title: "type" },
    { title: "zone" },
    { title: "state" },
    { title: "age", align: "right" },
    { title: "run" },
    { title: "job" },
    { title: "" },
  ] as const;
  for (const line of renderTable(columns, rows, palette.faint)) output.line(line);
}
