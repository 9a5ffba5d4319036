/** The note by which a running local cloud is found: `local.json` in its data directory, for its owner alone. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { z } from "zod";
import { UserError } from "../errors.ts";

const noteSchema = z.object({
  endpoint: z.string(),
  region: z.string(),
  accessKeyId: z.string(),
  secretAccessKey: z.string(),
  bucket: z.string(),
  queueUrl: z.string(),
  instanceProfile: z.string(),
  pid: z.number().int().positive(),
});
export type LocalNote = z.infer<typeof noteSchema>;

/** The local cloud that runs in a data directory; undefined when none does. Throws UserError for a note of another version. */
export async function findLocalCloud(directory: string): Promise<LocalNote | undefined> {
  const file = path.join(directory, "local.json");
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    const hint = code === "ENOTDIR" ? "--data names a directory." : "Is it yours?";
    throw new UserError(`reading ${file}`, hint, { cause: error });
  }
  const note = noteSchema.safeParse(JSON.parse(text));
  if (!note.success) {
    throw new UserError(
      `${file} was written by another version of Errand`,
      "Stop that one, and start errand local again.",
    );
  }
  return isRunning(note.data.pid) ? note.data : undefined;
}

/** Throws UserError when none runs there. */
export async function needLocalCloud(directory: string): Promise<LocalNote> {
  const note = await findLocalCloud(directory);
  if (note) return note;
  throw new UserError(
    `no local cloud runs in ${directory}`,
    `Start one: errand daemon --local${dataOption(directory)}; or name its directory by --data or ERRAND_DATA.`,
  );
}

export const DATA_DEFAULT = ".errand";

/** As a shell takes it; nothing for the default. */
export function dataOption(directory: string): string {
  if (directory === DATA_DEFAULT) return "";
  const isPlain = /^[\w./-]+$/.test(directory);
  return ` --data ${isPlain ? directory : `'${directory.replaceAll("'", "'\\''")}'`}`;
}

/** A process of another user is one too. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
