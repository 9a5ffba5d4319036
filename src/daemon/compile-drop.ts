/** From a drop's copy in the bucket to the jobs of its run: reads `.dstack/` alone, never the code beside it. */
import { z } from "zod";
import type { Limits } from "../core/limits.ts";
import type { Run } from "../core/run.ts";
import { UserError } from "../errors.ts";
import type { Clock, ObjectInfo, Store } from "../ports.ts";
import type { Provider } from "../providers/provider.ts";
import { BundleError } from "../workflow/bundle-error.ts";
import { type Compiled, type CompileInput, compileBundle } from "../workflow/compile.ts";
import type { Request } from "../workflow/request.ts";
import { ARCHIVE_LIMITS, readTarDotDstack, readZipDotDstack } from "./archive.ts";
import type { DropName } from "./drop-name.ts";
import { readTags } from "./tags.ts";

export type CompiledDrop = Pick<Run, "workflows" | "jobs" | "warnings" | "tag">;

/** Reading a bundle that takes longer than this is given up as the user's to mend. */
const READ_MS = 10 * 60_000;
/** Compiling more than this takes long, and nothing else happens meanwhile. */
const LONG_CHARACTERS = 65_536;

/** Throws UserError for everything that whoever made the bundle can mend. */
export async function compileDrop(
  {
    store,
    clock,
    limits,
    providers,
    goAside,
  }: {
    readonly store: Store;
    readonly clock: Clock;
    readonly limits: Limits;
    readonly providers: readonly Provider[];
    readonly goAside: (() => Promise<void>) | undefined;
  },
  {
    drop,
    name,
    run,
    bundleKey,
  }: {
    readonly drop: ObjectInfo & { readonly metadata: Readonly<Record<string, string>> };
    readonly name: DropName;
    readonly run: { readonly id: string; readonly name: string };
    readonly bundleKey: string;
  },
): Promise<CompiledDrop> {
  const request = readRequest(drop.metadata, name.workflow);
  const bundle = { bundleKey, isZip: name.isZip, bytes: drop.bytes };
  const files = await readFiles({ store, clock, goAside }, bundle);
  const input = { files, request, run, limits, providers };
  const { jobs, workflows, warnings, tag } = await compileWithTags(input, store);
  return {
    jobs: [...jobs],
    workflows: [...workflows],
    warnings: [...warnings],
    ...(tag === undefined ? {} : { tag }),
  };
}

/** Large files take long: most need no tags, and are compiled once. */
async function compileWithTags(input: Omit<CompileInput, "tags">, store: Store): Promise<Compiled> {
  const asked: { workflow: string; tag: string }[] = [];
  const find = (workflow: string, tag: string) => void asked.push({ workflow, tag });
  try {
    const compiled = compileBundle({ ...input, tags: { find, list: () => [] } });
    if (asked.length === 0) return compiled;
  } catch (error) {
    if (asked.length === 0 || !(error instanceof BundleError)) throw error;
  }
  const tags = await readTags(store, asked);
  return compileBundle({ ...input, tags });
}

async function readFiles(
  {
    store,
    clock,
    goAside,
  }: { store: Store; clock: Clock; goAside: (() => Promise<void>) | undefined },
  { bundleKey, isZip, bytes }: { bundleKey: string; isZip: boolean; bytes: number },
): Promise<ReadonlyMap<string, string>> {
  if (bytes > ARCHIVE_LIMITS.expandedBytesMax) {
    const message = `the bundle is larger than ${ARCHIVE_LIMITS.expandedBytesMax / 1e9} GB`;
    throw new UserError(message, "Leave data out of it.");
  }
  const stop = new AbortController();
  const begin = () => {
    const timer = new AbortController();
    const ring = () => timer.signal.aborted || stop.abort();
    void clock.sleep(READ_MS, timer.signal).then(ring);
    return timer;
  };
  let timer: AbortController | undefined = begin();
  const { signal } = stop;
  let isAside = goAside === undefined;
  const waitAside = async () => {
    if (isAside) return;
    isAside = true;
    timer?.abort();
    await goAside?.();
    if (timer !== undefined) timer = begin();
  };
  const options = { signal, goAside: waitAside };
  try {
    const read = (start: number, end: number) => store.open(bundleKey, { start, end });
    const files = isZip
      ? await readZipDotDstack({ bytes, read }, options)
      : await readTarDotDstack(await store.open(bundleKey), options);
    const characters = [...files.values()].reduce((sum, text) => sum + text.length, 0);
    if (characters > LONG_CHARACTERS) await waitAside();
    return files;
  } catch (cause) {
    if (!signal.aborted) throw cause;
    const hint = "Send fewer or smaller files.";
    throw new UserError("the bundle could not be read within 10 minutes", hint, { cause });
  } finally {
    timer?.abort();
    timer = undefined;
  }
}

const requestSchema = z.object({
  workflows: z.array(z.string()).default([]),
  variables: z.record(z.string(), z.string()).default({}),
  tag: z.string().optional(),
});

/**
 * What the drop's metadata asks for. `errand-request` is what the submit command wrote and goes first; then
 * `workflow`, `var-<name>` and `tag`, as anybody may set them. The folder below `drops/` names a workflow.
 */
export function readRequest(
  metadata: Readonly<Record<string, string>>,
  folder: string | undefined,
): Request {
  const written = readWritten(metadata["errand-request"]);
  const named = (metadata.workflow ?? "").split(",").map((each) => each.trim());
  const workflows = chooseWorkflows({
    written: written.workflows,
    folder: folder === undefined ? [] : [folder],
    named: named.filter(Boolean),
  });
  const variables = Object.entries(metadata)
    .filter(([key]) => key.startsWith("var-"))
    .map(([key, value]) => [key.slice("var-".length), value] as const);
  const tag = written.tag ?? metadata.tag;
  return {
    workflows: [...workflows],
    variables: { ...Object.fromEntries(variables), ...written.variables },
    ...(tag === undefined ? {} : { tag }),
  };
}

/** Which of them is meant cannot be known where they differ: nothing is run rather than the wrong thing. */
function chooseWorkflows(from: {
  readonly written: readonly string[];
  readonly folder: readonly string[];
  readonly named: readonly string[];
}): readonly string[] {
  const candidates = [
    { workflows: from.written, source: "its metadata errand-request" },
    { workflows: from.folder, source: "its folder" },
    { workflows: from.named, source: "its metadata workflow" },
  ].filter(({ workflows }) => workflows.length > 0);
  const [first, ...others] = candidates;
  if (!first) return [];
  const setOf = (names: readonly string[]) => JSON.stringify([...new Set(names)].sort());
  const other = others.find(({ workflows }) => setOf(workflows) !== setOf(first.workflows));
  if (!other) return first.workflows;
  const say = ({ workflows, source }: typeof first) => `${source} says ${workflows.join(", ")}`;
  throw new UserError(
    `the drop contradicts itself about what is to be run: ${say(first)}, ${say(other)}`,
    "Name the workflows in one place: the folder below drops/, or the metadata.",
  );
}

function readWritten(text: string | undefined): z.infer<typeof requestSchema> {
  if (text === undefined) return requestSchema.parse({});
  const cure = "Send the bundle with errand submit, or leave that metadata out.";
  try {
    const parsed = requestSchema.safeParse(
      JSON.parse(Buffer.from(text, "base64").toString("utf8")),
    );
    if (parsed.success) return parsed.data;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new UserError("the drop's metadata errand-request is not base64 JSON", cure, { cause });
  }
  throw new UserError("the drop's metadata errand-request is not of the form it should be", cure);
}
