/** The parameter `role`: which of the operator's `jobRoles` a job has on AWS. */
import { suggest } from "./near.ts";
import { quote } from "./problem.ts";
import type { Context } from "./provider.ts";
import { type Reader, scalar } from "./read.ts";
import { findEntry, type Value } from "./value.ts";

export const ROLE_PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";

export const role: Reader<string> = scalar(
  { type: "string", pattern: ROLE_PATTERN },
  { what: "the name of a role, as the operator lists it under jobRoles" },
  ({ value }) =>
    typeof value === "string" && new RegExp(ROLE_PATTERN).test(value) ? value : undefined,
);

/** Reports a role that is not on the operator's list, where that is known; one that is no name at all is told by the reader. */
export function checkRole(map: Value, { limits: { jobRoles }, report }: Context): void {
  const entry = map.type === "map" ? findEntry(map, "role") : undefined;
  const name = entry && role.read(entry.value, () => undefined);
  if (!entry || name === undefined || jobRoles === undefined || jobRoles.includes(name)) return;
  const cure =
    jobRoles.length === 0
      ? "this installation has none: its operator lists them under jobRoles"
      : suggest(name, jobRoles, "roles");
  report(entry.value.place, `there is no role ${quote(name)} for jobs`, cure);
}
