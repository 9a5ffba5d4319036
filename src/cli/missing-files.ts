/** Scripts and requirements files that workflows name and that would not be there when their jobs begin. */
import { stat } from "node:fs/promises";
import path from "node:path";
import type { Job } from "../core/workflow.ts";
import { nearNames } from "../providers/near.ts";
import { mayBeCovered } from "../providers/paths.ts";
import { type Problem, quote } from "../providers/problem.ts";
import type { WantedFile } from "../providers/provider.ts";
import type { Compiled } from "../workflow/compile.ts";
import type { Bundle } from "./bundle.ts";

/** Each at the place that names it. What an input may bring is taken for there. */
export async function findMissingFiles(
  { directory, entries }: Pick<Bundle, "directory" | "entries">,
  { jobs, wants }: Pick<Compiled, "jobs" | "wants">,
): Promise<readonly Problem[]> {
  const sent = new Map(entries.map((entry) => [entry.path, entry.type]));
  const missing: Problem[] = [];
  for (const { job: name, files } of wants) {
    const job = jobs.find((each) => each.name === name);
    const absent = files.filter(
      (file) => file.what === "working directory" || (job && !mayBeBrought(file, job, jobs)),
    );
    for (const file of absent) {
      const fault = await faultOf(file, directory, sent);
      if (fault) missing.push({ ...file.place, ...fault });
      // Whatever lies in a folder that is missing is missing too.
      if (fault && file.what === "working directory") break;
    }
  }
  return missing;
}

function mayBeBrought({ path: wanted }: WantedFile, job: Job, jobs: readonly Job[]): boolean {
  const relative = path.posix.relative(job.workingDir, wanted);
  return job.inputs.some((input) => {
    // What an earlier run made is not known here.
    if (input.type === "set") return true;
    const artifacts = jobs.find((each) => each.name === input.job)?.artifacts ?? [];
    return mayBeCovered(relative, artifacts);
  });
}

async function faultOf(
  { what, path: wanted }: WantedFile,
  directory: string,
  sent: ReadonlyMap<string, string>,
): Promise<Pick<Problem, "message" | "hint"> | undefined> {
  const isFolder = what === "working directory";
  const type = sent.get(wanted);
  const found = await stat(path.join(directory, wanted)).catch(() => undefined);
  const isRight = found !== undefined && found.isDirectory() === isFolder;
  if (isRight && (type !== undefined || liesBehindLink(wanted, sent))) return undefined;
  if (isRight) {
    return {
      message: `the ${what} ${quote(wanted)} is left out of what is sent`,
      hint: "a .gitignore or .dstackignore names it; a line !NAME in .dstackignore brings it back",
    };
  }
  if (found && type !== undefined) {
    const message = `the ${what} ${quote(wanted)} is ${isFolder ? "a file" : "a folder"}`;
    return { message, hint: isFolder ? "name a folder" : "name the file in it" };
  }
  return { message: `the ${what} ${quote(wanted)} is not there`, hint: nearOnes(wanted, sent) };
}

function liesBehindLink(wanted: string, sent: ReadonlyMap<string, string>): boolean {
  const parts = wanted.split("/");
  return parts.some((_, index) => sent.get(parts.slice(0, index).join("/")) === "link");
}

/** Of the same name elsewhere, else of nearly the same name. */
function nearOnes(wanted: string, sent: ReadonlyMap<string, string>): string {
  const paths = [...sent.keys()];
  const sameName = paths.filter((each) => path.basename(each) === path.basename(wanted));
  const near = (sameName.length > 0 ? sameName : nearNames(wanted, paths)).slice(0, 3);
  return near.length > 0
    ? `did you mean ${near.map(quote).join(" or ")}?`
    : "paths are relative to the directory that holds .dstack, or to working_dir";
}
