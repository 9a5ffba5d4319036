/** Which run the user means: an id, the beginning of one, a name, or `latest`. */
import { RUN_ID } from "../core/layout.ts";
import type { RunView } from "../core/view.ts";
import { runName } from "../daemon/names.ts";
import { UserError } from "../errors.ts";
import type { Store } from "../ports.ts";
import { hintNear } from "./near-hints.ts";
import { findView, listRuns } from "./read-runs.ts";

/** The id meant by `reference` among `ids`, which are sorted by time. Throws UserError. */
export function selectRun(reference: string, ids: readonly string[]): string {
  const latest = ids.at(-1);
  if (latest === undefined) {
    throw new UserError("there are no runs yet", "Submit one: errand submit DIR WORKFLOW");
  }
  // An empty one, of a script's unset variable, would be the beginning of the only run there is.
  if (reference.trim() === "") {
    throw new UserError("no run is named", "Name one, or latest. List them: errand runs");
  }
  if (reference === "latest") return latest;
  if (ids.includes(reference)) return reference;
  const matches = ids.filter((id) => id.startsWith(reference) || runName(id) === reference);
  const [only] = matches;
  if (only !== undefined && matches.length === 1) return only;
  if (matches.length === 0) {
    const known = ["latest", ...ids.flatMap((id) => [id, runName(id)])];
    throw new UserError(
      `there is no run "${reference}"`,
      hintNear(reference, known, "List them: errand runs"),
    );
  }
  const shown = matches.slice(-MATCHES_SHOWN).map((id) => `${id} (${runName(id)})`);
  throw new UserError(
    `"${reference}" fits ${matches.length} runs: ${shown.join(", ")}`,
    "Give more of the id.",
  );
}

const MATCHES_SHOWN = 5;

/** The view of the run that `reference` means, taken in or still a drop. Throws UserError. */
export async function findRun(store: Store, reference: string): Promise<RunView> {
  // A whole id needs no listing.
  const known = RUN_ID.test(reference) ? await findView(store, reference) : undefined;
  if (known) return known;
  const { told, waiting } = await listRuns(store);
  const ids = [...told, ...waiting.map((view) => view.id)].sort();
  const id = selectRun(reference, ids);
  const view = waiting.find((each) => each.id === id) ?? (await findView(store, id));
  if (!view) throw new UserError(`run ${id} has gone meanwhile`, "List them: errand runs");
  return view;
}
