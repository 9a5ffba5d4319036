/**
 * How commands near the daemon find its loopback stream: a note in the local cloud's directory or, on AWS, in the daemon's user's
 * `~/.local/state/errand`, for that user alone; of a systemd service in `/run/errand`, for its group, too. Without it, or from elsewhere, logs come from
 * the bucket, some seconds later.
 */
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { z } from "zod";
import { readServiceEnvironment } from "../config.ts";
import { isRunning } from "./local-note.ts";

const noteSchema = z.object({
  bucket: z.string(),
  url: z.string().regex(/^http:\/\/127\.0\.0\.1:\d+$/),
  token: z.string(),
  pid: z.number().int().positive(),
});
export type StreamNote = z.infer<typeof noteSchema>;

/** Of the service that scripts/install.sh makes. */
const SERVICE_DIRECTORY = "/run/errand";

export type StreamPlace = {
  /** Of the local cloud; undefined on AWS. */
  readonly directory: string | undefined;
  readonly bucket: string;
};

export async function writeStreamNote(place: StreamPlace, note: StreamNote): Promise<void> {
  const { file, mode } = writtenTo(place);
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const fresh = `${file}.${note.pid}`;
  await writeFile(fresh, JSON.stringify(note), { mode: 0o600 });
  await chmod(fresh, mode);
  await rename(fresh, file);
}

/** Leaves the note of a daemon that came later. */
export async function removeStreamNote(place: StreamPlace, pid: number): Promise<void> {
  const { file } = writtenTo(place);
  const note = await readNote(file);
  if (note?.pid === pid) await rm(file, { force: true });
}

/** Undefined when no daemon of ours is near. */
export async function findStream(place: StreamPlace): Promise<StreamNote | undefined> {
  for (const file of readFrom(place)) {
    const note = await readNote(file);
    if (note?.bucket === place.bucket && isRunning(note.pid)) return note;
  }
  return undefined;
}

async function readNote(file: string): Promise<StreamNote | undefined> {
  try {
    return noteSchema.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    // Not there, not ours, or of another version: the bucket has the logs.
    return undefined;
  }
}

function writtenTo(place: StreamPlace): { readonly file: string; readonly mode: number } {
  const { runtimeDirectory } = readServiceEnvironment();
  if (place.directory !== undefined || runtimeDirectory === undefined) {
    return { file: userFile(place), mode: 0o600 };
  }
  return { file: path.join(runtimeDirectory, `${place.bucket}.json`), mode: 0o640 };
}

const readFrom = (place: StreamPlace): readonly string[] =>
  place.directory === undefined
    ? [userFile(place), path.join(SERVICE_DIRECTORY, `${place.bucket}.json`)]
    : [userFile(place)];

const userFile = ({ directory, bucket }: StreamPlace): string =>
  directory === undefined
    ? path.join(homedir(), ".local/state/errand", `${bucket}.json`)
    : path.join(directory, "daemon.json");
