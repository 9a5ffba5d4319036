/** `prepare:latest`: how a user names the artifacts that carry a tag. */
import { nearestNames } from "../core/near-names.ts";
import { listTags, type TagName } from "../daemon/tags.ts";
import { UserError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { isName, NAME_RULE } from "../workflow/names.ts";
import { didYouMean, listNames } from "./near-hints.ts";

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
  throw new UserError(`"${tag}" is no tag`, `A tag is a name: ${NAME_RULE}.`);
}

/** The tag does not exist: the error names one that comes close, or those there are. */
export async function noSuchTag(store: Store, { workflow, tag }: TagName): Promise<UserError> {
  const { found } = await listTags(store);
  const workflows = nearestNames(workflow, [...new Set(found.map((each) => each.workflow))]);
  const candidates = found.filter((each) => workflows.includes(each.workflow));
  const tags = nearestNames(tag, [...new Set(candidates.map((each) => each.tag))]);
  const near = candidates.filter((each) => tags.includes(each.tag));
  return new UserError(
    `no run of ${workflow} carries the tag "${tag}"`,
    hintOf(near.map(writeReference), candidates.map(writeReference)),
  );
}

const writeReference = ({ workflow, tag }: TagName): string => `${workflow}:${tag}`;

function hintOf(near: readonly string[], candidates: readonly string[]): string {
  if (near.length > 0) return didYouMean(near);
  if (candidates.length > 0) return `Tags: ${listNames(candidates)}.`;
  return "List them: errand tags list";
}
