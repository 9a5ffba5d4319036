/** `prepare:latest`: how a user names the artifacts that carry a tag. */
import { readTags, type TagName } from "../daemon/tags.ts";
import { UserError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { isName, NAME_RULE } from "../workflow/names.ts";

/** Undefined for what has no colon. Throws UserError for what has one and is no reference. */
export function parseTagReference(text: string): TagName | undefined {
  const [workflow = "", tag, ...rest] = text.split(":");
  if (tag === undefined) return undefined;
  if (rest.length > 0 || !isName(workflow) || !isName(tag)) {
    throw new UserError(`"${text}" is no workflow and tag`, "Write it as in prepare:latest.");
  }
  return { workflow, tag };
}

/** Throws UserError for what is no name of a tag. */
export function checkTag(tag: string): string {
  if (isName(tag)) return tag;
  throw new UserError(`"${tag}" is no tag`, `${NAME_RULE}.`);
}

/** The tag does not exist: the error names those there are. */
export async function noSuchTag(store: Store, { workflow, tag }: TagName): Promise<UserError> {
  const known = (await readTags(store, [{ workflow, tag }])).list(workflow);
  const hint =
    known.length > 0
      ? `Tags of ${workflow}: ${known.slice(0, 20).join(", ")}.`
      : `${workflow} has no tags. List all: errand tags list`;
  return new UserError(`no run of ${workflow} carries the tag "${tag}"`, hint);
}
