/** `errand prune --older-than 30d`: takes away what old runs left, but what tags and open runs need. */
import { randomUUID } from "node:crypto";
import { parseRetention } from "../../config.ts";
import { runName } from "../../daemon/names.ts";
import {
  type PruneCandidate,
  type Pruned,
  prune as prunePass,
  survey,
} from "../../daemon/prune.ts";
import { UserError } from "../../errors.ts";
import { connect } from "../connect.ts";
import type { Output } from "../output.ts";
import { renderTable } from "../render-table.ts";
import { formatAgo, formatBytes, formatCount, oneLine } from "../render-values.ts";
import { systemClock } from "../system-clock.ts";
import type { CommonOptions } from "./runs.ts";

export type PruneOptions = CommonOptions & {
  readonly olderThan?: string;
  readonly apply?: boolean;
  readonly yes?: boolean;
};

const ALL = { runsMax: Number.POSITIVE_INFINITY, objectsMax: Number.POSITIVE_INFINITY };

export async function prune(output: Output, options: PruneOptions): Promise<number> {
  const asked = options.olderThan === undefined ? undefined : readAge(options.olderThan);
  const { store, config } = await connect(options);
  const ageMs = asked ?? config.retention;
  if (ageMs === undefined) {
    const hint = "Say --older-than 30d, or set retention in the configuration.";
    throw new UserError("how old a run has to be is not said", hint);
  }
  const pruner = { store, clock: systemClock, newToken: () => randomUUID() };
  const limit = { before: systemClock.now() - ageMs, ...ALL };
  const isApplied = options.apply === true || options.yes === true;
  const found = isApplied ? await prunePass(pruner, limit) : await survey(pruner, limit);
  const runs = isApplied ? (found as Pruned).pruned : found.due;
  if (found.blockedBy.length > 0) {
    throw new UserError(
      `what keeps artifacts cannot all be read: ${found.blockedBy.map(oneLine).join(", ")}`,
      "Nothing is pruned until these are mended or removed: they may need any run.",
    );
  }
  for (const each of found.unreadable) {
    output.note(output.notePalette.warn(`warning: ${each} cannot be read; its run is left alone`));
  }
  if (options.json) {
    output.json({ applied: isApplied, runs: runs.map(viewCandidate), kept: found.kept });
    return 0;
  }
  render(output, { runs, kept: found.kept, isApplied });
  return 0;
}

function readAge(text: string): number {
  const ms = parseRetention(text);
  if (ms !== undefined) return ms;
  throw new UserError(`"${text}" is no length of time`, "Write it as in --older-than 30d, or 12h.");
}

const viewCandidate = ({ run, finishedAt, ...rest }: PruneCandidate) => ({
  id: run,
  ...rest,
  finishedAt: new Date(finishedAt).toISOString(),
});

function render(
  output: Output,
  {
    runs,
    kept,
    isApplied,
  }: { runs: readonly PruneCandidate[]; kept: Pruned["kept"]; isApplied: boolean },
): void {
  const { palette } = output;
  const now = systemClock.now();
  const rows = runs.map((each) => [
    each.name,
    palette.faint(each.run),
    formatAgo(now - each.finishedAt),
    formatCount(each.objects, "object"),
    formatBytes(each.bytes),
  ]);
  const columns = [
    { title: "run" },
    { title: "id" },
    { title: "finished" },
    { title: "objects", align: "right" },
    { title: "size", align: "right" },
  ] as const;
  for (const line of renderTable(columns, rows, palette.faint)) output.line(line);
  for (const { run, why } of kept) output.line(`kept ${runName(run)} (${run}): ${why}`);
  const bytes = formatBytes(runs.reduce((sum, each) => sum + each.bytes, 0));
  const what = `${formatCount(runs.length, "run")}, ${bytes}`;
  if (isApplied) output.line(`pruned ${what}`);
  else if (runs.length === 0) output.line("nothing to prune");
  else {
    output.line(`would prune ${what}`);
    output.note("nothing was changed; --apply does it");
  }
}
