/**
 * How commands near the daemon find its loopback stream: a note for the daemon's user alone, in the local cloud's directory or, on AWS, in that
 * user's `~/.local/state/errand`. Without it, or from elsewhere, logs come from the bucket, some seconds later.
 */
import { chmod, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { z } from "zod";
import { isRunning } from "./local-note.ts";

const noteSchema = z.object({
  bucket: z.string(),
  url: z.string().regex(/^http:\/\/127\.0\.0\.1:\d+$/),
  token: z.string(),
  pid: z.number().int().positive(),
});
export type StreamNote = z.infer<typeof noteSchema>;

export type StreamPlace = {
  /** Of the local cloud; undefined on AWS. */
  readonly directory: string | undefined;
  readonly bucket: string;
};

export async function writeStreamNote(place: StreamPlace, note: StreamNote): Promise<void> {
  const file = fileOf(place);
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const fresh = `${file}.${note.pid}`;
  await writeFile(fresh, JSON.stringify(note), { mode: 0o600 });
  await chmod(fresh, 0o600);
  await rename(fresh, file);
}

/** Leaves the note of a daemon that came later. */
export async function removeStreamNote(place: StreamPlace, pid: number): Promise<void> {
  const note = await readNote(place);
  if (note?.pid === pid) await rm(fileOf(place), { force: true });
}

/** Undefined when no daemon of ours is near. */
export async function findStream(place: StreamPlace): Promise<StreamNote | undefined> {
  const note = await readNote(place);
  return note?.bucket === place.bucket && isRunning(note.pid) ? note : undefined;
}

async function readNote(place: StreamPlace): Promise<StreamNote | undefined> {
  try {
    return noteSchema.parse(JSON.parse(await readFile(fileOf(place), "utf8")));
  } catch {
    // Not there, not ours, or of another version: the bucket has the logs.
    return undefined;
  }
}

const fileOf = ({ directory, bucket }: StreamPlace): string =>
  directory === undefined
    ? path.join(homedir(), ".local/state/errand", `${bucket}.json`)
    : path.join(directory, "daemon.json");
