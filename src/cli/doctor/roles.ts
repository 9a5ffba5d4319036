/** What IAM says of the rights of whoever calls, which a daemon here would have, and of the machines' role. */
import { type Identity, readIdentity } from "../../aws/probes.ts";
import {
  type Decision,
  type Principal,
  principalOf,
  readProfileRole,
  simulateRights,
} from "../../aws/simulate-rights.ts";
import { readInstallation } from "../../daemon/installation.ts";
import { type CloudError, isCloudError } from "../../errors.ts";
import {
  contextOf,
  daemonGrants,
  foreignContextOf,
  type Grant,
  type Place,
  wideRights,
} from "./daemon-rights.ts";
import type { Patient } from "./doctor.ts";
import { fail, type Outcome, pass, policyStatement, skip, warn } from "./finding.ts";

const NO_IAM = "the local cloud has no IAM";

export async function checkOwnRights(patient: Patient): Promise<Outcome> {
  if (patient.isLocal) return skip(NO_IAM);
  const identity = await readIdentity(patient.where);
  const principal = principalOf(identity.arn);
  if (!principal) return skip(`IAM simulates users and roles, and ${identity.arn} is neither`);
  try {
    return await askForRights(patient, identity, principal);
  } catch (error) {
    if (isCloudError(error, "unavailable")) return skip(error.message);
    if (!isCloudError(error)) throw error;
    const detail = `rights of which there is no trial are not known: ${error.message}`;
    return warn(detail, cureOfRefusal(error, principal));
  }
}

/** IAM tells who may ask, and knows no role by its name where the role has a path. */
function cureOfRefusal({ kind, code }: CloudError, { arn }: Principal): string {
  if (kind !== "not-found" && !/^AccessDenied/.test(code))
    return "docs/operations.md has what to do.";
  const right =
    kind === "not-found"
      ? { Action: ["iam:GetRole"], Resource: arn.replace(":role/", ":role/*/") }
      : { Action: ["iam:SimulatePrincipalPolicy"], Resource: arn };
  return `Add to the policy of whoever calls: ${policyStatement([right])}`;
}

async function askForRights(
  patient: Patient,
  identity: Identity,
  principal: Principal,
): Promise<Outcome> {
  const { where } = patient;
  const place = await findPlace(patient, identity);
  const grants = daemonGrants(place);
  const { arn, decisions } = await simulateRights(where, principal, {
    questions: grants.map(({ statement, example }) => ({
      actions: statement.Action,
      resource: example,
    })),
    context: contextOf(place),
  });
  if (decisions.some(({ verdict }) => verdict !== "allowed")) {
    return tellMissing(arn, grants, decisions);
  }
  const wide = wideRights(place);
  const { decisions: wider } = await simulateRights(
    where,
    { arn },
    {
      questions: wide.map(({ action, example }) => ({ actions: [action], resource: example })),
      context: foreignContextOf(place),
    },
  );
  const more = wide.filter((_, index) => wider[index]?.verdict === "allowed");
  const suffix =
    more.length > 0
      ? `, and more: ${more.map(({ what }) => what).join(", ")}`
      : ", with no other roles, machines or shells";
  return pass(`${arn} may do what a daemon does${suffix}`);
}

async function findPlace({ config, store, where, token }: Patient, identity: Identity) {
  const { region, bucket, queueUrl, instanceProfile } = config;
  const installation = await readInstallation(store).catch(() => undefined);
  const machineRole = await readProfileRole(where, instanceProfile).catch((error: unknown) => {
    // A trial launch passes it, whichever it is.
    if (isCloudError(error)) return undefined;
    throw error;
  });
  const place: Place = {
    ...{ region, bucket, queueUrl, machineRole, userId: identity.userId },
    // As in arn:aws-cn:iam::…
    partition: identity.arn.split(":")[1] ?? "aws",
    account: identity.account,
    installation: installation ?? config.installation ?? token,
  };
  return place;
}

type Lack = { readonly grant: Grant; readonly refused: readonly Decision[] };

function tellMissing(
  arn: string,
  grants: readonly Grant[],
  decisions: readonly Decision[],
): Outcome {
  const lacks: readonly Lack[] = grants.flatMap((grant) => {
    const refused = decisions.filter(
      ({ action, resource, verdict }) =>
        verdict !== "allowed" &&
        resource === grant.example &&
        grant.statement.Action.includes(action),
    );
    return refused.length > 0 ? [{ grant, refused }] : [];
  });
  const told = lacks.flatMap(({ grant, refused }) => refused.map((each) => describe(each, grant)));
  const isFatal = lacks.some(
    ({ grant, refused }) =>
      grant.without === undefined && refused.some(({ verdict }) => verdict !== "unclear"),
  );
  return (isFatal ? fail : warn)(`${arn} may not: ${told.join(", ")}`, cureOf(lacks));
}

function describe({ action, resource, why }: Decision, { without }: Grant): string {
  const remarks = [why, without === undefined ? "" : `without, ${without}`].filter(Boolean);
  return `${action} on ${resource}${remarks.length > 0 ? ` (${remarks.join("; ")})` : ""}`;
}

function cureOf(lacks: readonly Lack[]): string {
  const isBarred = ({ verdict }: Decision): boolean => verdict === "barred";
  const statements = lacks.flatMap(({ grant, refused }) => {
    const Action = refused.filter((each) => !isBarred(each)).map(({ action }) => action);
    return Action.length > 0 ? [{ ...grant.statement, Action }] : [];
  });
  return [
    statements.length > 0
      ? `Add to its policy (infra/errand.yaml has it whole): ${policyStatement(statements)}`
      : "",
    lacks.some(({ refused }) => refused.some(isBarred))
      ? "What is denied stays so whatever is added: lift the denial."
      : "",
  ]
    .filter(Boolean)
    .join(" ");
}

/** What the runner calls, on examples of the keys it calls it for; docs/architecture.md has the whole. */
const rightsOfRunner = (bucket: string, partition: string) => {
  const object = (action: string, key: string) => ({
    actions: [`s3:${action}`],
    resource: `arn:${partition}:s3:::${bucket}/${key}`,
  });
  return [
    object("GetObject", "launches/TOKEN/0.json"),
    object("GetObject", "runs/RUN/bundle.tar.gz"),
    object("GetObject", "tools/bootstrap/SHA256"),
    object("PutObject", "launches/TOKEN/0.claim"),
    object("PutObject", "inbox/reports/TOKEN.0.started.json"),
    object("PutObject", "runs/RUN/JOB/1/log/0000000001"),
    object("PutObject", "runs/RUN/JOB/1/artifacts/out"),
    object("PutObject", "runs/RUN/JOB/1/manifest.json"),
    object("PutObject", "runs/RUN/JOB/1/heartbeat.json"),
    object("AbortMultipartUpload", "runs/RUN/JOB/1/artifacts/out"),
    { actions: ["ssmmessages:OpenDataChannel"], resource: "*" },
  ];
};

export async function checkMachineRole({ where, config, isLocal }: Patient): Promise<Outcome> {
  if (isLocal) return skip(NO_IAM);
  const { instanceProfile, bucket } = config;
  let role: string;
  let decisions: readonly Decision[];
  try {
    role = await readProfileRole(where, instanceProfile);
    const partition = role.split(":")[1] ?? "aws";
    const questions = rightsOfRunner(bucket, partition);
    // A claim is written so, and no other way is allowed.
    const context = { "s3:if-none-match": "*", "aws:SecureTransport": "true" };
    ({ decisions } = await simulateRights(where, { arn: role }, { questions, context }));
  } catch (error) {
    // Whoever runs the daemon need not be allowed to look at roles.
    if (isCloudError(error, "refused", "unavailable")) return skip(error.message);
    if (!isCloudError(error, "not-found")) throw error;
    return fail(
      `there is no instance profile ${instanceProfile}`,
      "Take `instanceProfile` from errand init.",
    );
  }
  const missing = decisions.filter(({ verdict }) => verdict !== "allowed");
  if (missing.length === 0) return pass(`${role} may do what runners do`);
  const told = missing.map(({ action, resource }) => `${action} on ${resource}`).join(", ");
  const statements = missing.map(({ action, resource }) => ({
    Action: [action],
    Resource: resource,
  }));
  return fail(
    `${role} may not: ${told}`,
    `Add to its policy (infra/errand.yaml has it whole): ${policyStatement(statements)}`,
  );
}
