/**
 * SSM's sessions: StartSession, ResumeSession, TerminateSession, GetConnectionStatus, DescribeInstanceInformation, CreateDocument,
 * DescribeDocument, and the data channel, whose connections are authenticated by the token that a session gives. A session
 * really runs its document's command, inside the machine of its instance.
 *
 * Gaps: sessions with a terminal and port sessions, SendCommand, session history, preferences but for the KMS key, and that only for
 * whoever starts the cloud in a program. By design: sessions end with the cloud.
 */
import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { WebSocketServer } from "ws";
import { z } from "zod";
import type { Ec2 } from "./ec2.ts";
import type { Faults } from "./faults.ts";
import { ApiError } from "./http.ts";
import type { Placed } from "./instances-store.ts";
import type { Kms } from "./kms.ts";
import type { SSM_SESSION_OPERATIONS } from "./operations.ts";
import { describeProblems } from "./problems.ts";
import { createDocumentSchema, type Documents, openDocuments } from "./session-documents.ts";
import { createSessionFaults, isKeptAway } from "./session-faults.ts";
import type { AgentKms } from "./session-handshake.ts";
import { createLocalSession, type LocalSession } from "./session-service.ts";

export type SessionsOptions = {
  readonly folder: string;
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string;
  readonly ec2: Pick<Ec2, "instances" | "find" | "run" | "isCutOff">;
  readonly kms: Kms;
  readonly faults: Faults;
};

/** How an account's sessions are, for tests of those who open them. */
export type SessionPreferences = {
  /** Sessions are encrypted then. */
  readonly kmsKeyId: string | null;
  /** Agents since 3.3.808 send one. */
  readonly hasKmsChallenge: boolean;
  readonly agentVersion: string;
};

const PREFERENCES: SessionPreferences = {
  kmsKeyId: null,
  hasKmsChallenge: true,
  agentVersion: "3.3.0.0",
};

type Counted = "startedSessions" | "resumedSessions" | "encryptedSessions" | "deadPumps";

/** `open` are those that are there now, all else is since the start. */
export type SessionCounts = Readonly<Partial<Record<Counted, number>>> & { readonly open: number };

/** The bodies are not checked yet. */
type SessionOperation = (typeof SSM_SESSION_OPERATIONS)[number];
export type SsmOperations = Readonly<Record<SessionOperation, (body: unknown) => unknown>>;

export type Sessions = {
  readonly operations: SsmOperations;
  counts(): SessionCounts;
  prefer(preferences: Partial<SessionPreferences>): void;
  /** A connection for `/v1/data-channel/…`. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  stop(): void;
};

const CHANNEL_PATH = "/v1/data-channel/";
const FRAME_BYTES_MAX = 1 << 20;

export async function openSessions(options: SessionsOptions): Promise<Sessions> {
  const counted = new Map<Counted, number>();
  let preferences = PREFERENCES;
  const documents = await openDocuments(options.folder);
  const open = new Map<string, LocalSession>();
  const server = new WebSocketServer({ noServer: true, maxPayload: FRAME_BYTES_MAX });
  const world: World = {
    ...options,
    documents,
    open,
    preferences: () => preferences,
    count: (what) => counted.set(what, (counted.get(what) ?? 0) + 1),
  };
  return {
    operations: {
      ...sessionOperations(world),
      ...instanceOperations(world),
      CreateDocument: (body) => documents.create(parse(createDocumentSchema, body)),
      DescribeDocument: (body) => documents.describe(parse(describeDocument, body).Name),
    },
    counts: () => ({ ...Object.fromEntries(counted), open: open.size }),
    prefer: (changes) => {
      preferences = { ...preferences, ...changes };
    },
    upgrade: (request, socket, head) => {
      const path = (request.url ?? "").split("?")[0] ?? "";
      const id = path.startsWith(CHANNEL_PATH) ? path.slice(CHANNEL_PATH.length) : "";
      const session = open.get(id);
      if (session) server.handleUpgrade(request, socket, head, session.connect);
      else socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    },
    stop: () => {
      for (const each of [...open.values()]) each.kill();
      server.close();
    },
  };
}

type World = SessionsOptions & {
  readonly preferences: () => SessionPreferences;
  readonly count: (what: Counted) => void;
  readonly documents: Documents;
  /** By id. */
  readonly open: Map<string, LocalSession>;
};

/** Its agent is there: the machine runs, has a network, and has been there for long enough. */
function isConnected(world: World, target: string): boolean {
  const found = world.ec2.find(target);
  if (found?.instance.state !== "running" || world.ec2.isCutOff(target)) return false;
  const ageMs = Date.now() - found.reservation.launchedAt;
  return !isKeptAway(world.faults, { instanceId: target, ageMs });
}

function sessionOperations(
  world: World,
): Pick<SsmOperations, "StartSession" | "ResumeSession" | "TerminateSession"> {
  const { open, endpoint } = world;
  const answerOf = (session: LocalSession) => ({
    SessionId: session.id,
    TokenValue: session.issueToken(),
    StreamUrl: `${endpoint.replace("http", "ws")}${CHANNEL_PATH}${session.id}?role=publish_subscribe`,
  });
  return {
    StartSession: (body) => answerOf(start(world, parse(startSession, body))),
    ResumeSession: (body) => {
      const { SessionId } = parse(sessionId, body);
      const session = open.get(SessionId);
      if (!session) return { SessionId };
      world.count("resumedSessions");
      return answerOf(session);
    },
    TerminateSession: (body) => {
      const { SessionId } = parse(sessionId, body);
      open.get(SessionId)?.terminate();
      return { SessionId };
    },
  };
}

function start(
  world: World,
  { Target, DocumentName, Parameters }: z.infer<typeof startSession>,
): LocalSession {
  const { open, documents } = world;
  if (!isConnected(world, Target)) {
    throw new ApiError(400, "TargetNotConnected", `${Target} is not connected.`);
  }
  const { words, isSeparated } = documents.prepare(DocumentName, Parameters);
  const id = `local-${randomBytes(9).toString("hex").slice(0, 17)}`;
  const session = createLocalSession({
    id,
    instanceId: Target,
    faults: createSessionFaults(world.faults, Target),
    agent: {
      version: world.preferences().agentVersion,
      isSeparated,
      start: () => world.ec2.run(Target, words),
      kms: kmsOf(world, id, Target),
      onPumpDead: () => world.count("deadPumps"),
    },
    isCutOff: () => world.ec2.isCutOff(Target),
    isMachineThere: () => world.ec2.find(Target)?.instance.state === "running",
    onOver: () => open.delete(id),
  });
  open.set(id, session);
  world.count("startedSessions");
  return session;
}

function kmsOf(world: World, sessionId: string, target: string): AgentKms | undefined {
  const { kmsKeyId: keyId, hasKmsChallenge } = world.preferences();
  if (keyId === null) return undefined;
  world.count("encryptedSessions");
  const challenge = hasKmsChallenge ? randomBytes(16).toString("base64") : undefined;
  const context = {
    "aws:ssm:SessionId": sessionId,
    "aws:ssm:TargetId": target,
    ...(challenge ? { "aws:ssm:RandomChallenge": challenge } : {}),
  };
  return { keyId, challenge, decrypt: (ciphertext) => world.kms.decrypt(ciphertext, context) };
}

function instanceOperations(
  world: World,
): Pick<SsmOperations, "GetConnectionStatus" | "DescribeInstanceInformation"> {
  return {
    GetConnectionStatus: (body) => {
      const { Target } = parse(connectionStatus, body);
      return { Target, Status: isConnected(world, Target) ? "connected" : "notconnected" };
    },
    DescribeInstanceInformation: (body) => {
      const wanted = parse(instanceInformation, body).Filters?.[0]?.Values;
      const known = world.ec2
        .instances()
        .filter(({ instance: { id } }) => !wanted || wanted.includes(id))
        .filter(({ instance: { id } }) => isConnected(world, id));
      const { agentVersion } = world.preferences();
      return { InstanceInformationList: known.map((each) => describe(each, agentVersion)) };
    },
  };
}

const startSession = z.strictObject({
  Target: z.string().regex(/^i-[0-9a-f]+$/),
  DocumentName: z.string(),
  Parameters: z.record(z.string(), z.array(z.string())).default({}),
  Reason: z.string().max(256).optional(),
});
const sessionId = z.strictObject({ SessionId: z.string() });
const connectionStatus = z.strictObject({ Target: z.string() });
const describeDocument = z.strictObject({
  Name: z.string(),
  DocumentVersion: z.enum(["1", "$LATEST", "$DEFAULT"]).optional(),
});
const instanceInformation = z.strictObject({
  Filters: z
    .array(z.strictObject({ Key: z.literal("InstanceIds"), Values: z.array(z.string()).min(1) }))
    .max(1)
    .optional(),
  MaxResults: z.int().min(5).max(50).optional(),
});

const describe = ({ instance: { id, address } }: Placed, AgentVersion: string) => ({
  InstanceId: id,
  PingStatus: "Online",
  LastPingDateTime: Math.floor(Date.now() / 1_000),
  AgentVersion,
  IsLatestVersion: true,
  PlatformType: "Linux",
  PlatformName: "Amazon Linux",
  PlatformVersion: "2023",
  ResourceType: "EC2Instance",
  IPAddress: address,
  ComputerName: `ip-${address.replaceAll(".", "-")}.ec2.internal`,
});

function parse<Value>(schema: z.ZodType<Value>, body: unknown): Value {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new ApiError(400, "ValidationException", describeProblems(parsed.error).join("; "));
}
