/**
 * EC2 of the local cloud: its Query protocol, and the operations that Errand uses.
 *
 * Instances really execute their user-data (machines.ts). What it does as AWS does: all-or-nothing launches, zonal client tokens,
 * launch indexes, state reasons, filters and pages, rates, state-change events; a lag of listing as `settings.ts` says, and limits of
 * capacity and quota as rules of faults say. Gaps: one account, region, VPC, profile and security group; no ModifyX, StartInstances or
 * StopInstances.
 * By design: a parameter that is not known is refused (501 UnknownParameter), an action, too (InvalidAction).
 */
import { randomUUID } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { describeAvailabilityZones, describeImages, describeSubnets } from "./ec2-describe.ts";
import { describeSecurityGroups, describeVpcs } from "./ec2-describe-network.ts";
import { flag, list, parseForm, text } from "./ec2-form.ts";
import { describeInstanceStatus } from "./ec2-instance-status.ts";
import {
  describeInstanceTypeOfferings,
  describeInstanceTypes,
  type InstanceTypeData,
} from "./ec2-instance-types.ts";
import {
  describeInstances,
  pickInstances,
  renderReservation,
  renderState,
  stateEvent,
} from "./ec2-instances.ts";
import { createLaunchLimits, type LimitLaunch } from "./ec2-limits.ts";
import { createRunInstances } from "./ec2-run.ts";
import { addTags, checkTags, tagList } from "./ec2-tags.ts";
import { createEc2Throttle, type Ec2Throttle } from "./ec2-throttle.ts";
import { items, renderEc2Answer, type Xml } from "./ec2-xml.ts";
import type { Faults } from "./faults.ts";
import { ApiError, type LocalResponse, readBody, type Service } from "./http.ts";
import { createImds, IMDS_PREFIX, type ImdsRequest, type RoleCredentials } from "./imds.ts";
import { type Instances, isForgotten, type Log, startInstances } from "./instances.ts";
import {
  type Instance,
  type InstanceStore,
  listInstances,
  openInstanceStore,
  type Placed,
} from "./instances-store.ts";
import { createMachines, type HostEnvironment, type Machines } from "./machines.ts";
import { EC2_ACTIONS } from "./operations.ts";
import { chooseSandbox, type Sandbox } from "./sandbox.ts";
import { DEFAULT_SETTINGS, type Settings } from "./settings.ts";

export type Ec2Options = {
  /** EC2 keeps what it remembers in `reservations/` in it, and its machines in `instances/`. */
  readonly folder: string;
  readonly types: readonly InstanceTypeData[];
  /** `http://127.0.0.1:<port>`. Machines that run know it, so it should be the same after a restart. */
  readonly endpoint: string;
  /** What machines take over of the host's environment, and all of it; the PATH stands behind a machine's own. */
  readonly environment: HostEnvironment;
  readonly issueCredentials: (instanceId: string, now: number) => RoleCredentials;
  /** Where state-change events go. They are best effort, as on AWS: one that cannot be sent is lost. */
  readonly sendEvent: (body: string) => Promise<void>;
  /** Folders of the host that machines may write to, where a sandbox would keep them out: for tests. */
  readonly shares?: readonly string[];
  /** Boots machines in place of the host's shell: see `machines.ts`. */
  readonly machineProgram?: readonly string[] | undefined;
  readonly log: Log;
  readonly settings?: Settings;
  readonly faults?: Faults;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
};

export type Ec2 = {
  readonly service: Service;
  /** For paths that begin with `/imds/`, which nobody signs. */
  readonly imds: { handle(request: ImdsRequest): Promise<LocalResponse> };
  /** Rules of faults that have just been added may be about instances that live. */
  planTroubles(ruleIds: readonly string[]): Promise<void>;
  /** A rule of faults says that the instance has no network now. */
  isCutOff(instanceId: string): boolean;
  /** Those that have not been forgotten. */
  instances(): readonly Placed[];
  find(instanceId: string): Placed | undefined;
  /** Starts a command inside an instance's machine, as its SSM agent would. */
  run(instanceId: string, words: readonly string[]): ReturnType<Machines["run"]>;
  /** What isolates the machines. */
  readonly sandbox: Sandbox;
  /** Ends every machine. Requests must not come any more. */
  stop(): Promise<void>;
};

const BODY_BYTES_MAX = 1024 * 1024;

/** Takes over the machines that an earlier cloud left in the folder. Throws when it does not understand what is there. */
export async function createEc2(options: Ec2Options): Promise<Ec2> {
  const { log, settings = DEFAULT_SETTINGS, now = Date.now } = options;
  // Machines are told of their folder, and work elsewhere.
  const folder = resolve(options.folder);
  await mkdir(join(folder, "instances"), { recursive: true });
  const { egress, allowLoopback } = settings;
  const shares = options.shares ?? [];
  const wanted = { choice: settings.sandbox, egress, allowLoopback, shares };
  const sandbox = await chooseSandbox(wanted, options.environment);
  log(sandbox.notice, { sandbox: sandbox.mode });
  const store = await openInstanceStore(join(folder, "reservations"));
  const machines = createMachines({
    folder: join(folder, "instances"),
    environment: options.environment,
    sandbox,
    program: options.machineProgram,
  });
  const instances = await startInstances({
    store,
    machines,
    bootMs: settings.bootMs,
    faults: options.faults,
    metadataEndpoint: ({ id, metadataSecret }) =>
      `${options.endpoint}${IMDS_PREFIX}${id}/${metadataSecret}`,
    onState: async ({ id, state }) => {
      const event = stateEvent(id, state, randomUUID(), now());
      await options.sendEvent(event).catch((error) => log("event lost", { instanceId: id, error }));
    },
    now,
    log,
  });

  const types = options.types.toSorted((left, right) => (left.name < right.name ? -1 : 1));
  const vcpus = new Map(types.map((type) => [type.name, type.vcpus]));
  const limitLaunch: LimitLaunch = options.faults
    ? createLaunchLimits({
        faults: options.faults,
        listPlaced: () => listInstances(store),
        vcpusOf: (name) => vcpus.get(name) ?? 0,
        now,
      })
    : ({ countMax }) => countMax;
  return {
    service: createService(
      createOperations({ types, store, machines, instances, settings, limitLaunch, now }),
      settings.throttling ? createEc2Throttle(now) : () => {},
    ),
    imds: createImds({
      find: store.find,
      powerOff: instances.powerOff,
      isCutOff: instances.isCutOff,
      issueCredentials: options.issueCredentials,
      now,
    }),
    planTroubles: instances.planTroubles,
    isCutOff: instances.isCutOff,
    instances: () => listInstances(store),
    find: store.find,
    run: (instanceId, words) => {
      const cookie = store.find(instanceId)?.instance.cookie;
      if (cookie === undefined) throw new Error(`${instanceId} is gone`);
      return machines.run({ instanceId, cookie }, words);
    },
    sandbox,
    stop: instances.stop,
  };
}

type World = {
  readonly types: readonly InstanceTypeData[];
  readonly store: InstanceStore;
  readonly machines: Machines;
  readonly instances: Instances;
  readonly settings: Settings;
  readonly limitLaunch: LimitLaunch;
  readonly now: () => number;
};

function createOperations(world: World): Operations {
  const { types, store, machines, instances, settings, now } = world;
  const isListed = ({ reservation, instance }: Placed): boolean =>
    now() >= reservation.launchedAt + settings.listingLagMs && !isForgotten(instance, now());
  const listPlaced = () => listInstances(store).filter(isListed);
  const prepareRun = createRunInstances({
    types,
    now,
    listReservations: store.list,
    limitLaunch: world.limitLaunch,
    launch: instances.launch,
  });
  return {
    RunInstances: (form) => {
      const run = prepareRun(form);
      return async () => renderReservation(await run());
    },
    DescribeInstances: reading((form) => describeInstances(listPlaced(), form)),
    TerminateInstances: (form) => {
      const picked = pickInstances(listPlaced(), parseForm(instanceIds, form).InstanceId);
      return async () => {
        await Promise.all(picked.map(({ instance }) => instances.terminate(instance.id)));
        return {
          instancesSet: items(
            picked.map((each) => renderChange(each, store.find(each.instance.id))),
          ),
        };
      };
    },
    RebootInstances: (form) => {
      const picked = pickInstances(listPlaced(), parseForm(instanceIds, form).InstanceId);
      return () => {
        for (const { instance } of picked) instances.reboot(instance.id);
        return { return: true };
      };
    },
    GetConsoleOutput: (form) => {
      const { InstanceId } = parseForm(console, form);
      const [placed] = pickInstances(listPlaced(), [InstanceId]);
      return () => readConsole(machines, placed?.instance, now());
    },
    CreateTags: (form) => {
      const { ResourceId, Tag } = parseForm(createTags, form);
      const picked = pickInstances(listPlaced(), ResourceId);
      const tags = checkTags(Tag);
      for (const each of picked) addTags(each, tags);
      return async () => {
        const change = (each: Instance): Instance => ({ ...each, tags: { ...each.tags, ...tags } });
        await Promise.all(picked.map(({ instance }) => store.change(instance.id, change)));
        return { return: true };
      };
    },
    DescribeInstanceTypes: reading((form) => describeInstanceTypes(types, form)),
    DescribeInstanceTypeOfferings: reading((form) => describeInstanceTypeOfferings(types, form)),
    DescribeSubnets: reading(describeSubnets),
    DescribeAvailabilityZones: reading(describeAvailabilityZones),
    DescribeImages: reading(describeImages),
    DescribeVpcs: reading(describeVpcs),
    DescribeSecurityGroups: reading(describeSecurityGroups),
    DescribeInstanceStatus: reading((form) => describeInstanceStatus(listPlaced(), form, now())),
  };
}

/** Reads and checks everything first, so that DryRun is the same up to the moment of doing. */
type Operation = (form: URLSearchParams) => () => Xml | Promise<Xml>;
/** What only reads has nothing left to do once it has been checked. */
const reading =
  (read: (form: URLSearchParams) => Xml): Operation =>
  (form) => {
    const answer = read(form);
    return () => answer;
  };

type Action = (typeof EC2_ACTIONS)[number];
type Operations = Readonly<Record<Action, Operation>>;

const createService = (operations: Operations, throttle: Ec2Throttle): Service => ({
  handle: async (request) => {
    const form = new URLSearchParams((await readBody(request, BODY_BYTES_MAX)).toString());
    const action = form.get("Action") ?? "";
    if (!isAction(action)) {
      const message = `The action ${action} is not valid for this web service.`;
      throw new ApiError(400, "InvalidAction", message);
    }
    if (request.caller.type !== "owner") {
      const message =
        "You are not authorized to perform this operation: the role of instances has no EC2.";
      throw new ApiError(403, "UnauthorizedOperation", message);
    }
    throttle(action, form);
    const isDryRun = parseForm(dryRun, pickParameters(form, "DryRun")).DryRun === true;
    const act = operations[action](dropParameters(form, "Action", "Version", "DryRun"));
    if (isDryRun) {
      const message = "Request would have succeeded, but DryRun flag is set.";
      throw new ApiError(412, "DryRunOperation", message);
    }
    return {
      status: 200,
      headers: { "content-type": "text/xml;charset=UTF-8" },
      body: renderEc2Answer(action, request.requestId, await act()),
    };
  },
});

const isAction = (name: string): name is Action => EC2_ACTIONS.some((each) => each === name);

const dryRun = z.strictObject({ DryRun: flag.optional() });

const pickParameters = (form: URLSearchParams, name: string): URLSearchParams =>
  new URLSearchParams([...form].filter(([each]) => each === name));

const dropParameters = (form: URLSearchParams, ...names: string[]): URLSearchParams =>
  new URLSearchParams([...form].filter(([each]) => !names.includes(each)));

const instanceIds = z.strictObject({ InstanceId: list(text) });
const console = z.strictObject({ InstanceId: text, Latest: flag.optional() });
const createTags = z.strictObject({ ResourceId: list(text), Tag: tagList });

const renderChange = (before: Placed, after: Placed | undefined): Xml => ({
  instanceId: before.instance.id,
  currentState: renderState(after?.instance.state ?? "terminated"),
  previousState: renderState(before.instance.state),
});

async function readConsole(
  machines: Machines,
  instance: Instance | undefined,
  at: number,
): Promise<Xml> {
  const output = instance && (await machines.readConsole(instance.id));
  return {
    instanceId: instance?.id,
    timestamp: new Date(at).toISOString(),
    output: Buffer.from(output ?? "").toString("base64"),
  };
}
