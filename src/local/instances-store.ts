/**
 * What EC2 remembers: one file for each RunInstances call, replaced as a whole, so that a call's instances are remembered all or not
 * at all. An answer is given only when its file is on the disk.
 */
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { INSTANCE_FAULTS } from "./fault-rules.ts";
import { describeProblems } from "./problems.ts";

const tagsSchema = z.record(z.string(), z.string());

/** What a rule of faults has in store for an instance. */
const troubleSchema = z.strictObject({
  /** The rule's id. */
  rule: z.string(),
  fault: z.enum(INSTANCE_FAULTS),
  /** Milliseconds since 1970, as `until`; without one it lasts. */
  at: z.number(),
  until: z.number().optional(),
  /** As EC2 gives it for an instance that it ends. */
  reason: z.string().optional(),
  hasHappened: z.boolean(),
});
export type Trouble = Readonly<z.infer<typeof troubleSchema>>;

const instanceSchema = z.strictObject({
  id: z.string(),
  /** AmiLaunchIndex. */
  index: z.number(),
  state: z.enum(["pending", "running", "shutting-down", "terminated", "stopping", "stopped"]),
  /** Why it left running or pending. */
  reason: z
    .strictObject({ code: z.string(), message: z.string(), transition: z.string() })
    .optional(),
  tags: tagsSchema,
  address: z.string(),
  /** In the path of its metadata service, which nobody else shall guess. */
  metadataSecret: z.string(),
  /** In the environment of all its processes, with the id before it. */
  cookie: z.string(),
  /** Of the host when it was booted. */
  bootId: z.string().optional(),
  /** Milliseconds since 1970. */
  terminatedAt: z.number().optional(),
  troubles: z.array(troubleSchema).optional(),
});
export type Instance = Readonly<z.infer<typeof instanceSchema>>;
export type InstanceState = Instance["state"];

const reservationSchema = z.strictObject({
  format: z.literal(1),
  id: z.string(),
  clientToken: z.string(),
  /** Of all parameters but the token: the same token with others is a mistake. */
  parametersSha256: z.string(),
  /** Milliseconds since 1970. */
  launchedAt: z.number(),
  instanceType: z.string(),
  imageId: z.string(),
  subnetId: z.string(),
  zone: z.string(),
  hasProfile: z.boolean(),
  securityGroupIds: z.array(z.string()),
  /** Base64. */
  userData: z.string(),
  shutdownBehavior: z.enum(["stop", "terminate"]),
  volume: z.strictObject({
    gib: z.number(),
    type: z.string(),
    isEncrypted: z.boolean(),
    tags: tagsSchema,
  }),
  metadata: z.strictObject({ hopLimit: z.number(), hasTags: z.boolean() }),
  autoRecovery: z.enum(["default", "disabled"]),
  instances: z.array(instanceSchema),
});
export type Reservation = Readonly<z.infer<typeof reservationSchema>>;

export type Placed = { readonly reservation: Reservation; readonly instance: Instance };

export type InstanceStore = {
  /** In the order of launches. */
  list(): readonly Reservation[];
  find(instanceId: string): Placed | undefined;
  /** Listed and found from the moment it is durable. */
  add(reservation: Reservation): Promise<void>;
  /** Seen at once by others; durable when the promise resolves. An instance that is not there is left so. */
  change(instanceId: string, change: (instance: Instance) => Instance): Promise<void>;
  remove(reservationId: string): Promise<void>;
};

export const listInstances = (store: InstanceStore): readonly Placed[] =>
  store
    .list()
    .flatMap((reservation) => reservation.instances.map((instance) => ({ reservation, instance })));

/** Reads what `folder` holds. Throws on a file that it does not understand: guessing could forget a machine that runs. */
export async function openInstanceStore(folder: string): Promise<InstanceStore> {
  await mkdir(folder, { recursive: true });
  const reservations = new Map<string, Reservation>();
  for (const reservation of await readAll(folder)) reservations.set(reservation.id, reservation);
  const homes = new Map<string, string>();
  const index = ({ id, instances }: Reservation): void => {
    for (const instance of instances) homes.set(instance.id, id);
  };
  for (const reservation of reservations.values()) index(reservation);

  const pathOf = (id: string): string => join(folder, `${id}.json`);
  const writeLatest = coalesce(async (id) => {
    const reservation = reservations.get(id);
    if (reservation) await writeDurably(pathOf(id), JSON.stringify(reservation));
  });

  return {
    list: () => [...reservations.values()],
    find: (instanceId) => {
      const reservation = reservations.get(homes.get(instanceId) ?? "");
      const instance = reservation?.instances.find(({ id }) => id === instanceId);
      return reservation && instance && { reservation, instance };
    },
    add: async (reservation) => {
      await writeDurably(pathOf(reservation.id), JSON.stringify(reservation));
      reservations.set(reservation.id, reservation);
      index(reservation);
    },
    change: async (instanceId, change) => {
      const reservation = reservations.get(homes.get(instanceId) ?? "");
      if (reservation === undefined) return;
      const instances = reservation.instances.map((each) =>
        each.id === instanceId ? change(each) : each,
      );
      reservations.set(reservation.id, { ...reservation, instances });
      await writeLatest(reservation.id);
    },
    remove: async (reservationId) => {
      for (const { id } of reservations.get(reservationId)?.instances ?? []) homes.delete(id);
      reservations.delete(reservationId);
      await writeLatest(reservationId);
      await rm(pathOf(reservationId), { force: true });
    },
  };
}

async function readAll(folder: string): Promise<readonly Reservation[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(".json"));
  const read = await Promise.all(
    names.map(async (name) => {
      const path = join(folder, name);
      const parsed = reservationSchema.safeParse(JSON.parse(await readFile(path, "utf8")));
      if (parsed.success) return parsed.data;
      throw new Error(`reading ${path}: ${describeProblems(parsed.error).join("; ")}`);
    }),
  );
  return read.toSorted((left, right) => left.launchedAt - right.launchedAt);
}

/** At most one write for an id at a time, and one waiting: it takes along every change that is made before it begins. */
function coalesce(write: (id: string) => Promise<void>): (id: string) => Promise<void> {
  const waiting = new Map<string, Promise<void>>();
  const last = new Map<string, Promise<void>>();
  return (id) => {
    const queued = waiting.get(id);
    if (queued !== undefined) return queued;
    const before = last.get(id) ?? Promise.resolve();
    const next = before
      .catch(() => {})
      .then(() => {
        waiting.delete(id);
        return write(id);
      })
      .finally(() => {
        if (last.get(id) === next) last.delete(id);
      });
    waiting.set(id, next);
    last.set(id, next);
    return next;
  };
}

let writes = 0;

async function writeDurably(path: string, text: string): Promise<void> {
  const temporary = `${path}.${process.pid}.${++writes}.tmp`;
  const file = await open(temporary, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.datasync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
