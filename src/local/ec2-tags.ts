/** Tags of instances and volumes, and what EC2 refuses of them. */
import type { z } from "zod";
import { list, strictTag } from "./ec2-form.ts";
import { ApiError } from "./http.ts";
import type { Placed } from "./instances-store.ts";

const TAGS_MAX = 50;

export const tagList = list(strictTag);

/** As AWS limits them. Throws ApiError. */
export function checkTags(tags: readonly z.output<typeof strictTag>[]): Record<string, string> {
  for (const { Key, Value = "" } of tags) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: XML cannot carry these, so no tag may hold them.
    const isWhole = !/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(Key + Value);
    if (Key === "" || Key.length > 128 || Value.length > 256 || /^aws:/i.test(Key) || !isWhole) {
      const message = `Tag key or value is not valid: '${Key}'. Keys have 1-128 characters and do not begin with aws:, values up to 256.`;
      throw new ApiError(400, "InvalidParameterValue", message);
    }
  }
  const named = Object.fromEntries(tags.map(({ Key, Value = "" }) => [Key, Value]));
  if (Object.keys(named).length !== tags.length) {
    throw new ApiError(400, "InvalidParameterValue", "Duplicate tag keys found");
  }
  checkTagCount(named);
  return named;
}

function checkTagCount(tags: Readonly<Record<string, string>>): void {
  if (Object.keys(tags).length <= TAGS_MAX) return;
  throw new ApiError(400, "TagLimitExceeded", `A resource has at most ${TAGS_MAX} tags`);
}

/** What an instance has once these are added. Throws ApiError. */
export function addTags(
  { reservation, instance }: Placed,
  tags: Readonly<Record<string, string>>,
): Readonly<Record<string, string>> {
  const all = { ...instance.tags, ...tags };
  checkTagCount(all);
  if (reservation.metadata.hasTags) checkMetadataTags(Object.keys(tags));
  return all;
}

/** IMDS shows tags under their keys, so these must do as a path. Throws ApiError. */
export function checkMetadataTags(keys: readonly string[]): void {
  const bad = keys.find(
    (key) => !/^[A-Za-z0-9+\-=.,_:@]+$/.test(key) || /^(\.|\.\.|_index)$/.test(key),
  );
  if (bad === undefined) return;
  const message = `'${bad}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{1,255}), and must not be a reserved name ('.', '..', '_index')`;
  throw new ApiError(400, "InvalidParameterValue", message);
}
