/** `errand submit`: packs a directory, drops it, and follows the run to its end. */
import type { RunView } from "../../core/view.ts";
import { runName } from "../../daemon/names.ts";
import { renderProblem } from "../../providers/problem.ts";
import { type Bundle, compile, readBundle } from "../bundle.ts";
import { type Connection, connect } from "../connect.ts";
import { isDaemonAlive, startHint } from "../daemon-alive.ts";
import { chooseRunId, dropKey, dropMetadata } from "../drop.ts";
import { followRun } from "../follow.ts";
import { exitCodeOf, listenForInterrupt } from "../interrupt.ts";
import { readLimits } from "../limits.ts";
import { findMissingFiles } from "../missing-files.ts";
import type { Output } from "../output.ts";
import { largestFiles, packBundle } from "../pack.ts";
import { createPresenter, type Presenter } from "../presenter.ts";
import { loadProviders } from "../provider-modules.ts";
import { viewDrop } from "../read-runs.ts";
import { tellOldPrices } from "../render-prices.ts";
import { renderTable } from "../render-table.ts";
import { formatBytes, formatCount, oneLine } from "../render-values.ts";
import { type AskedOptions, readAsked } from "../request.ts";
import { systemClock } from "../system-clock.ts";
import type { CommonOptions } from "./runs.ts";

export type SubmitOptions = CommonOptions &
  AskedOptions & {
    readonly detach?: boolean;
  };

/** 0 when the run succeeded, 1 when it failed or was cancelled, 130 when the user stopped to watch. */
export async function submit(
  output: Output,
  words: readonly string[],
  options: SubmitOptions,
): Promise<number> {
  const { directory, request } = await readAsked(words, options);
  const bundle = await readBundle(directory);
  const connection = await connect(options);
  const { store } = connection;
  const id = chooseRunId(systemClock.now());
  const run = { id, name: runName(id) };
  const limits = await readLimits(connection);
  const providers = await loadProviders(connection.config.providers);
  const tags = async () => store;
  const compiled = await compile(bundle, { request, run, limits, tags, providers });
  // What is missing fails its job soon; the user may know better, so it is sent all the same.
  const missing = await findMissingFiles(bundle, compiled);
  for (const warning of [...compiled.warnings, ...missing.map(renderProblem)]) {
    output.note(output.notePalette.warn(`warning: ${warning}`));
  }
  tellOfFiles(output, bundle);
  const metadata = dropMetadata(request);
  const body = await packBundle(directory, bundle.entries);
  await store.put(dropKey(id, request), body, { metadata, contentType: "application/gzip" });

  const [workflow] = request.workflows.length === 1 ? request.workflows : [];
  if (options.detach) {
    if (options.json) output.json(viewDrop({ id, workflow }));
    else output.line(`${run.name} (${id}) submitted, ${formatBytes(body.length)}`);
    if (!(await isDaemonAlive(store, systemClock.now()))) {
      output.note(output.notePalette.warn(startHint(connection)));
    }
    return 0;
  }
  const waiting = viewDrop({ id, workflow });
  const presenter = createPresenter(output, {
    view: waiting,
    isSilent: options.json === true,
    placeWords: connection.placeWords,
  });
  return follow(output, connection, { presenter, waiting, json: options.json });
}

/** What nobody expects in a bundle. */
function tellOfFiles(output: Output, bundle: Bundle): void {
  for (const name of bundle.leftOut) {
    output.note(`left out ${oneLine(name)}: neither file, folder nor link`);
  }
  const large = largestFiles(bundle.entries);
  if (large.length === 0) return;
  const bytes = bundle.entries.reduce(
    (sum, entry) => sum + ("bytes" in entry ? entry.bytes : 0),
    0,
  );
  output.note(
    output.notePalette.warn(
      `the bundle has ${formatBytes(bytes)} in ${formatCount(bundle.entries.length, "file")}; its largest:`,
    ),
  );
  const rows = large.map((file) => [formatBytes(file.bytes), oneLine(file.path)]);
  for (const line of renderTable([{ title: "", align: "right" }, { title: "" }], rows)) {
    output.note(`  ${line}`);
  }
  output.note("what a job does not need can be listed in .dstackignore");
}

/** A drop is taken in within a second; after this a user wonders. */
const PATIENCE_MS = 3_000;

async function follow(
  output: Output,
  connection: Connection,
  {
    presenter,
    waiting,
    json,
  }: { presenter: Presenter; waiting: RunView; json: boolean | undefined },
): Promise<number> {
  const { store, logs, pollMs } = connection;
  const interrupt = listenForInterrupt();
  let hasHinted = false;
  const onWaiting = async (waitedMs: number) => {
    if (hasHinted || waitedMs < PATIENCE_MS) return;
    hasHinted = true;
    if (await isDaemonAlive(store, systemClock.now())) return;
    presenter.note(`waiting to be taken in: ${startHint(connection)}`);
  };
  try {
    const view = await followRun(
      { store, logs, clock: systemClock, run: waiting.id, pollMs },
      {
        onView: presenter.view,
        onCaughtUp: presenter.caughtUp,
        onLines: presenter.lines,
        onOpen: presenter.open,
        onWaiting,
      },
      interrupt.signal,
    );
    if (!view || view.finishedAt === null) {
      presenter.stop();
      tellOfInterrupt(output, waiting, connection);
      return exitCodeOf(interrupt.name());
    }
    presenter.finish(view);
    if (json) output.json(view);
    else tellOldPrices(output, [view], connection);
    return view.state === "succeeded" ? 0 : 1;
  } finally {
    presenter.stop();
    interrupt.release();
  }
}

function tellOfInterrupt(
  output: Output,
  { id, name }: RunView,
  { placeWords }: Pick<Connection, "placeWords">,
): void {
  const words = `${id}${placeWords}`;
  output.note(`${name} goes on without you. Watch it again: errand logs ${words} --follow`);
  output.note(`Cancel it: errand cancel ${words}`);
}
