/**
 * Bugs to plant: the simulation is trusted because it catches each of these. `find` must stand in the
 * file exactly once; `npm run test:mutants` plants them one by one.
 */
export type Mutant = {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** What has to catch it; a storm where nothing is said. */
  readonly play?: string;
  /** Where it is looked for first. */
  readonly number?: number;
};

const RETENTION = "retention";

export const MUTANTS: readonly Mutant[] = [
  {
    name: "a report read before the instances",
    file: "src/daemon/tick.ts",
    find: `  const instances = await cloud.listInstances();
  const runs = await readOpenRuns(store, planner.looks.saved);
  planner.looks.saved = runs.saved;
  // Second order: reports after instances. A runner has reported, or given up, before it powers
  // off, so an instance seen dead has no report still to come.
  const inbox = await readInbox(store);`,
    replace: `  const inbox = await readInbox(store);
  const instances = await cloud.listInstances();
  const runs = await readOpenRuns(store, planner.looks.saved);`,
    number: 11,
  },
  {
    name: "an inbox emptied before the save",
    file: "src/daemon/tick.ts",
    find: "        if (next.run !== before.run) await saveRun(store, next.run, before.etag);",
    replace: `        await removeAbsorbed(store, next.run.id, { inbox: world.inbox, reports: reportsOf(world.inbox, next.run.id) });
        if (next.run !== before.run) await saveRun(store, next.run, before.etag);`,
    number: 2,
  },
  {
    name: "a record not saved and acted on all the same",
    file: "src/daemon/tick.ts",
    find: `        log.warn("run put off", { run: next.run.id, error: describeError(error) });
        return undefined;`,
    replace: "        return each;",
    number: 12,
  },
  {
    name: "an ending before the claim is decided",
    file: "src/core/settle.ts",
    find: "  return isDecided ? { ...ending, at: scene.look.at } : undefined;",
    replace: "  return isDecided || ending ? { ...ending, at: scene.look.at } : undefined;",
    number: 4,
  },
  {
    name: "an order voided in words only",
    file: "src/daemon/claims.ts",
    find: "    await store.put(claim, body, { condition: { ifAbsent: true } });",
    replace:
      "    if (body === claim) await store.put(claim, body, { condition: { ifAbsent: true } });",
    number: 3,
  },
  {
    name: "a claim of the runner taken for ours",
    file: "src/daemon/claims.ts",
    find: `held.content.by === "daemon" ? "voided" : "claimed"`,
    replace: `held.content.by === "daemon" ? "voided" : "voided"`,
    number: 130,
  },
  {
    name: "a cancel that kills the upload",
    file: "src/core/step.ts",
    find: `  if (attempt.stop) return [{ type: "stop", token, index, reason: reasonFor(attempt.stop) }];`,
    replace: `  if (attempt.stop) return [{ type: "terminate", instanceId: attempt.answer.instanceId }];`,
    number: 2,
  },
  {
    name: "a retry before the machine is gone",
    file: "src/core/plan.ts",
    find: "  if (isLiving(last)) {",
    replace: "  if (isLiving(last) && !last.outcome) {",
    number: 43,
  },
  {
    name: "a ceiling that each run has to itself",
    file: "src/daemon/tick.ts",
    find: "      ({ room, batches } = next);",
    replace: "      ({ batches } = next);",
    number: 2,
  },
  {
    name: "a ceiling counted from attempts alone",
    file: "src/core/limits.ts",
    find: "const strays = instances.filter(",
    replace: "const strays = instances.slice(0, 0).filter(",
    number: 63,
  },
  {
    name: "a ceiling of dollars counted from attempts alone",
    file: "src/core/limits.ts",
    find: "hourlyUsd: strayUsd.reduce((sum, usd) => sum - usd, left.hourlyUsd),",
    replace: "hourlyUsd: left.hourlyUsd,",
    number: 148,
  },
  {
    name: "a refusal taken for the answer to an earlier call",
    file: "src/daemon/launching.ts",
    find: "    if (!(await voidAll(frozen, options))) return lookUp(token, options, error);",
    replace: "",
    number: 181,
  },
  {
    name: "a machine lost because the clock was set",
    file: "src/core/settle.ts",
    find: "  listedAt - Math.max(since, watchedSince);",
    replace: "  listedAt - Math.max(since, watchedSince * 0);",
    number: 7,
  },
  {
    name: "a machine lost because its record could not be read",
    file: "src/daemon/tick.ts",
    find: "  looks.since = new Map(open.map(({ id }) => [id, before.get(id) ?? at]));",
    replace:
      "  looks.since = new Map(open.map(({ id }) => [id, before.get(id) ?? (isGap ? at : 0)]));",
    number: 786,
  },
  {
    name: "a second cancel removed with the first",
    file: "src/daemon/inbox.ts",
    find: "    await store.remove(key, { ifEtag: etag });",
    replace: "    if (etag) await store.remove(key);",
    number: 214,
  },
  {
    name: "a stop that is decided and never sent",
    file: "src/daemon/acts.ts",
    find: "      await store.put(key.stop(token, index), JSON.stringify({ format: 1, reason, at }));",
    replace: "",
    number: 2,
  },
  {
    name: "a budget that forgets what is under way",
    file: "src/core/budget.ts",
    find: "    .reduce((sum, attempt) => sum + leastUsd(attempt), 0);",
    replace: "    .reduce((sum, attempt) => sum + leastUsd(attempt) * 0, 0);",
    number: 60,
  },
  {
    name: "an order that no record holds left to be worked on",
    file: "src/daemon/launching.ts",
    find: "    if (!isRecorded(orderKey(token, index))) {",
    replace: "    if (!token && !isRecorded(orderKey(token, index))) {",
    number: 93,
  },
  {
    name: "a dependent started before what it needs",
    file: "src/core/plan.ts",
    find: `  const unmet = job.needs.filter((need) => states.get(need) !== "succeeded");`,
    replace: `  const unmet = job.needs.filter((need) => states.get(need) === "waiting");`,
    number: 4,
  },
  {
    name: "a run closed before its last status",
    file: "src/daemon/tick.ts",
    find: "    await status.write(run, holds, world.at);",
    replace: `    if (isFinished(run)) await store.remove(key.open(run.id));
    await status.write(run, holds, world.at);`,
    number: 2,
  },
  {
    name: "a gone attempt that is settled again",
    file: "src/core/settle.ts",
    find: "  if (attempt.goneAt !== undefined && !isOpen(attempt)) return withConsole(attempt, scene.look);",
    replace:
      "  if (attempt.goneAt !== undefined && !attempt.outcome) return withConsole(attempt, scene.look);",
  },
  {
    name: "retention that does not look again after its mark",
    file: "src/daemon/prune.ts",
    find: "await readReferences(pruner.store, pruner.clock);",
    replace: "{ keptBy: new Map(), unreadable: [] };",
    play: RETENTION,
  },
  {
    name: "a tag that does not look for a mark",
    file: "src/daemon/tags.ts",
    find: `  if (await keepRun(store, run, clock)) return { type: "done", before };`,
    replace: `  if (run) return { type: "done", before };`,
    play: RETENTION,
    number: 50,
  },
  {
    name: "a condemned run taken for kept",
    file: "src/daemon/retention.ts",
    find: `    if (mark.content.stage === "kept") return true;`,
    replace: `    if (mark.content.stage !== "pruning") return true;`,
    play: RETENTION,
    number: 89,
  },
  {
    name: "a point of no return that is passed whoever was first",
    file: "src/daemon/prune.ts",
    find: "    if (moved === undefined) return false;",
    replace: "",
    play: RETENTION,
    number: 89,
  },
  {
    name: "inputs of a drop that nothing holds until its record stands",
    file: "src/daemon/intake.ts",
    find: "  await pin(store, run, sources);",
    replace: "",
    play: RETENTION,
    number: 151,
  },
  {
    name: "a pin taken away before the record stands",
    file: "src/daemon/intake.ts",
    find: "  return makeRun(intake, drop, { name, id, bundleKey });",
    replace: `  const run = await makeRun(intake, drop, { name, id, bundleKey });
  await unpin(intake.store, id);
  return run;`,
    play: RETENTION,
    number: 32,
  },
  {
    name: "a launch sent otherwise than it was frozen",
    file: "src/daemon/launching.ts",
    find: "const instanceIds = await cloud.launch(frozen);",
    replace: "const instanceIds = await cloud.launch({ ...frozen, createdAt: clock.now() });",
  },
  {
    name: "a record cached in the sweep",
    file: "src/daemon/sweep.ts",
    find: "const saved = await readRun(sweeper.store, member.run);",
    replace: `const cache = (sweeper.missingLaunches.cache ??= new Map());
  if (!cache.has(member.run)) cache.set(member.run, await readRun(sweeper.store, member.run));
  const saved = cache.get(member.run);`,
  },
  {
    name: "a record taken for unchanged without asking",
    file: "src/daemon/documents.ts",
    find: "const find = () => store.findUnless(key, before.etag, BYTES_MAX);",
    replace: `const find = async () => "unchanged";`,
  },
  {
    name: "a drop deleted before its record is there",
    file: "src/daemon/intake.ts",
    find: "  return makeRun(intake, drop, { name, id, bundleKey });",
    replace: `  await removeDrop(intake.store, drop);
  return makeRun(intake, drop, { name, id, bundleKey });`,
  },
  {
    name: "a machine lost before EC2 has answered",
    file: "src/core/settle.ts",
    find: "  if (!next.answer) return next;",
    replace: "",
    number: 9,
  },
  {
    name: "a new token while nobody knows what became of the last",
    file: "src/daemon/launching.ts",
    find: `kind !== "quota" && kind !== "refused"`,
    replace: `kind !== "quota" && kind !== "refused" && kind !== "unavailable"`,
    number: 5,
  },
  {
    name: "an orphan by an unreadable record",
    file: "src/daemon/sweep.ts",
    find: `  if (saved === "unreadable") return false;`,
    replace: `  if (saved === "unreadable") return true;`,
    number: 37,
  },
  {
    name: "a partial set used as input",
    file: "src/core/launches.ts",
    find: `each.job === job && each.outcome?.type === "succeeded"`,
    replace: `each.job === job && each.outcome?.type !== undefined`,
    number: 2,
  },
  {
    name: "a dead daemon's lease that never lapses",
    file: "src/daemon/lease.ts",
    find: "    return at - watched.since > LEASE_MS;",
    replace: "    return false;",
  },
  {
    name: "a run closed while a machine of it lives",
    file: "src/core/states.ts",
    find: "  if (run.attempts.some(isLiving)) return false;",
    replace: "",
    number: 2,
  },
  {
    name: "an inbox swept of runs that go on",
    file: "src/daemon/sweep.ts",
    find: `saved !== "unreadable" && isFinished(saved.run)`,
    replace: `saved !== "unreadable"`,
    number: 3,
  },
  {
    name: "a failure retried unasked",
    file: "src/core/states.ts",
    find: `count("failed") <= job.resources.retry.failed`,
    replace: `count("failed") <= job.resources.retry.failed + 1`,
    number: 6,
  },
  {
    name: "a machine that shuts down taken for gone",
    file: "src/core/observation.ts",
    find: `instance.state !== "terminated"`,
    replace: `instance.state !== "terminated" && instance.state !== "shutting-down"`,
    number: 2,
  },
  {
    name: "drops that only an event can find",
    file: "src/daemon/turns.ts",
    find: "    intakes.take(drops.map((drop) => drop.key));",
    replace: "",
  },
  {
    name: "a record saved over another's",
    file: "src/daemon/records.ts",
    find: "return await store.put(key.record(run.id), body, { condition: { ifEtag: etag } });",
    replace: "return await store.put(key.record(run.id), body);",
    number: 63,
  },
  {
    name: "a record without its marker",
    file: "src/daemon/records.ts",
    find: `  await markOpen(store, run.id);
  await store.put(key.record(run.id), JSON.stringify(run), { condition: { ifAbsent: true } });`,
    replace: `  await store.put(key.record(run.id), JSON.stringify(run), { condition: { ifAbsent: true } });
  await markOpen(store, run.id);`,
    number: 38,
  },
  {
    name: "a drop taken in twice because its record is unreadable",
    file: "src/daemon/intake.ts",
    find: `    if (saved === "unreadable") {`,
    replace: `    if (saved === "unreadable") continue;
    if (saved === undefined) {`,
    number: 44,
  },
  {
    name: "a machine gone because one listing left it out",
    file: "src/core/settle.ts",
    find: "  return isAbsent(attempt, look) && isTold;",
    replace: "  return attempt.missingSince !== undefined && isTold;",
    number: 90,
  },
  {
    name: "a ceiling of dollars that a launch may exceed",
    file: "src/core/plan.ts",
    find: "  if (room.hourlyUsd + 1e-9 < offer.hourlyUsd) {",
    replace: "  if (room.hourlyUsd <= 0) {",
    number: 4,
  },
  {
    name: "a lease that nobody heeds",
    file: "src/daemon/lease.ts",
    find: "    return at - watched.since > LEASE_MS;",
    replace: "    return true;",
    number: 4,
  },
  {
    name: "a budget that holds and never stops",
    file: "src/core/settle.ts",
    find: "  if (!attempt.stop && detail !== undefined) {",
    replace: "  if (attempt.stop && detail !== undefined) {",
    number: 44,
  },
  {
    name: "a budget of a day that each run has to itself",
    file: "src/daemon/ledger.ts",
    find: "  return open.reduce((sum, run) => sum + costOfDay(run, at), closedUsd);",
    replace: "  return Math.max(0, ...open.map((run) => costOfDay(run, at)));",
    number: 11,
  },
  {
    name: "a budget of a day that forgets runs that are closed",
    file: "src/daemon/tick.ts",
    find: "    if (planner.limits.dayUsdMax !== undefined) await noteSpent(store, run, world.at);",
    replace: "",
    number: 11,
  },
  {
    name: "disks that cost nothing",
    file: "src/core/cost.ts",
    find: "  return (machine + billedMs(answer?.at, until) * diskHourlyUsd) / HOUR_MS;",
    replace: "  return (machine + billedMs(answer?.at, until) * diskHourlyUsd * 0) / HOUR_MS;",
    number: 19,
  },
  {
    name: "a minute that is not billed in full",
    file: "src/core/cost.ts",
    find: "Math.max(BILLED_MS_MIN, until - begin);",
    replace: "until - begin;",
    number: 60,
  },
  {
    name: "a quota that each look forgets",
    file: "src/core/limits.ts",
    find: `    vcpusInUse: withVcpus(
      room.vcpusInUse ?? {},
      attempts.map(({ offer }) => offer),
    ),`,
    replace: "    vcpusInUse: room.vcpusInUse ?? {},",
  },
  {
    name: "rests that a restart forgets",
    file: "src/daemon/capacity-book.ts",
    find: "  let capacity = await readCapacity(store);",
    replace: "  let capacity: Capacity = {};",
    number: 4,
  },
];
