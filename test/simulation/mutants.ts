/**
 * Bugs to plant: the simulation is trusted because it catches each of these. `find` must stand in the
 * file exactly once; `npm run test:all` plants them one by one.
 */
export type Mutant = {
  readonly name: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** Which test has to catch it; the storm where nothing is said. */
  readonly test?: string;
};

const RETENTION = "retention takes away nothing";

export const MUTANTS: readonly Mutant[] = [
  {
    name: "a report read before the instances",
    file: "src/daemon/tick.ts",
    find: `  const instances = await cloud.listInstances();
  const runs = await readOpenRuns(store);`,
    replace: `  const early = await readInbox(store);
  const instances = await cloud.listInstances();
  const runs = await readOpenRuns(store);
  if (early) return { ...runs, at: clock.now(), instances, inbox: early, catalog: await cloud.readCatalog() };`,
  },
  {
    name: "an inbox emptied before the save",
    file: "src/daemon/tick.ts",
    find: "        if (next.run !== before.run) await saveRun(store, next.run, before.etag);",
    replace: `        await removeAbsorbed(store, next.run.id, { inbox: world.inbox, reports: reportsOf(world.inbox, next.run.id) });
        if (next.run !== before.run) await saveRun(store, next.run, before.etag);`,
  },
  {
    name: "a record not saved and acted on all the same",
    file: "src/daemon/tick.ts",
    find: `        log.warn("run put off", { run: next.run.id, error: describeError(error) });
        return undefined;`,
    replace: "        return each;",
  },
  {
    name: "an ending before the claim is decided",
    file: "src/core/settle.ts",
    find: "  return isDecided ? { ...ending, at: scene.look.at } : undefined;",
    replace: "  return isDecided || ending ? { ...ending, at: scene.look.at } : undefined;",
  },
  {
    name: "an order voided in words only",
    file: "src/daemon/claims.ts",
    find: "    await store.put(claim, body, { condition: { ifAbsent: true } });",
    replace:
      "    if (body === claim) await store.put(claim, body, { condition: { ifAbsent: true } });",
  },
  {
    name: "a claim of the runner taken for ours",
    file: "src/daemon/claims.ts",
    find: `held.content.by === "daemon" ? "voided" : "claimed"`,
    replace: `held.content.by === "daemon" ? "voided" : "voided"`,
  },
  {
    name: "a cancel that kills the upload",
    file: "src/core/step.ts",
    find: `  if (attempt.stop) return [{ type: "stop", token, index, reason: reasonFor(attempt.stop) }];`,
    replace: `  if (attempt.stop) return [{ type: "terminate", instanceId: attempt.answer.instanceId }];`,
  },
  {
    name: "a retry before the machine is gone",
    file: "src/core/plan.ts",
    find: "  if (isLiving(last)) {",
    replace: "  if (isLiving(last) && !last.outcome) {",
  },
  {
    name: "a ceiling that each run has to itself",
    file: "src/daemon/tick.ts",
    find: "      ({ room, batches } = next);",
    replace: "      ({ batches } = next);",
  },
  {
    name: "an order that no record holds left to be worked on",
    file: "src/daemon/launching.ts",
    find: "    if (!isRecorded(run, orderKey(token, index))) {",
    replace: "    if (!run && !isRecorded(run, orderKey(token, index))) {",
  },
  {
    name: "a dependent started before what it needs",
    file: "src/core/plan.ts",
    find: `  const unmet = job.needs.filter((need) => states.get(need) !== "succeeded");`,
    replace: `  const unmet = job.needs.filter((need) => states.get(need) === "waiting");`,
  },
  {
    name: "a run closed before its last status",
    file: "src/daemon/tick.ts",
    find: "    await status.write(run, holds, world.at);",
    replace: `    if (isFinished(run)) await store.remove(key.open(run.id));
    await status.write(run, holds, world.at);`,
  },
  {
    name: "a gone attempt that is settled again",
    file: "src/core/settle.ts",
    find: "  if (attempt.goneAt !== undefined && !isOpen(attempt)) return attempt;",
    replace: "  if (attempt.goneAt !== undefined && !attempt.outcome) return attempt;",
  },
  {
    name: "retention that does not look again after its mark",
    file: "src/daemon/prune.ts",
    find: "await readReferences(pruner.store, pruner.clock);",
    replace: "{ keptBy: new Map(), unreadable: [] };",
    test: RETENTION,
  },
  {
    name: "a tag that does not look for a mark",
    file: "src/daemon/tags.ts",
    find: `  if (await keepRun(store, run, clock)) return { type: "done", before };`,
    replace: `  if (run) return { type: "done", before };`,
    test: RETENTION,
  },
  {
    name: "a condemned run taken for kept",
    file: "src/daemon/retention.ts",
    find: `    if (mark.content.stage === "kept") return true;`,
    replace: `    if (mark.content.stage !== "pruning") return true;`,
    test: RETENTION,
  },
  {
    name: "a point of no return that is passed whoever was first",
    file: "src/daemon/prune.ts",
    find: "    if (moved === undefined) return false;",
    replace: "",
    test: RETENTION,
  },
  {
    name: "inputs of a drop that nothing holds until its record stands",
    file: "src/daemon/intake.ts",
    find: "  await pin(store, run, sources);",
    replace: "",
    test: RETENTION,
  },
  {
    name: "a pin taken away before the record stands",
    file: "src/daemon/intake.ts",
    find: "  return makeRun(intake, drop, { name, id, bundleKey });",
    replace: `  const run = await makeRun(intake, drop, { name, id, bundleKey });
  await unpin(intake.store, id);
  return run;`,
    test: RETENTION,
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
  },
  {
    name: "a new token while nobody knows what became of the last",
    file: "src/daemon/launching.ts",
    find: `kind !== "quota" && kind !== "refused"`,
    replace: `kind !== "quota" && kind !== "refused" && kind !== "unavailable"`,
  },
  {
    name: "an orphan by an unreadable record",
    file: "src/daemon/sweep.ts",
    find: `  if (saved === "unreadable") return false;`,
    replace: `  if (saved === "unreadable") return true;`,
  },
  {
    name: "a partial set used as input",
    file: "src/core/launches.ts",
    find: `each.job === job && each.outcome?.type === "succeeded"`,
    replace: `each.job === job && each.outcome?.type !== undefined`,
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
  },
  {
    name: "an inbox swept of runs that go on",
    file: "src/daemon/sweep.ts",
    find: `saved !== "unreadable" && isFinished(saved.run)`,
    replace: `saved !== "unreadable"`,
  },
  {
    name: "a failure retried unasked",
    file: "src/core/states.ts",
    find: `count("failed") <= job.resources.retry.failed`,
    replace: `count("failed") <= job.resources.retry.failed + 1`,
  },
  {
    name: "a machine that shuts down taken for gone",
    file: "src/core/observation.ts",
    find: `instance.state !== "terminated"`,
    replace: `instance.state !== "terminated" && instance.state !== "shutting-down"`,
  },
  {
    name: "drops that only an event can find",
    file: "src/daemon/turns.ts",
    find: "    intakes.take(drops.map((drop) => drop.key));",
    replace: "",
  },
];
