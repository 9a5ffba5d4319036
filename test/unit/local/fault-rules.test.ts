import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FAULT_NAMES, parseRules } from "../../../src/local/fault-rules.ts";
import { type Faults, openFaults } from "../../../src/local/faults.ts";

const noCapacity = { fault: "no-capacity" };

describe("a rule", () => {
  it.each([
    ["no list", { rule: 1 }, "rules are a list"],
    [
      "a fault that there is not",
      [{ fault: "earthquake" }],
      'rule 1 (earthquake): there is no fault "earthquake"; the faults are error, throttle',
    ],
    ["no fault", [{ times: 1 }], "rule 1: fault is missing; the faults are error, throttle"],
    ["what is no object", ["throttle"], "rule 1: must be an object"],
    [
      "a field of another fault",
      [{ ...noCapacity, ms: 5 }],
      "rule 1 (no-capacity): it has no field ms",
    ],
    [
      "a probability above 1",
      [noCapacity, { ...noCapacity, probability: 2 }],
      "rule 2 (no-capacity): probability: at most 1",
    ],
    [
      "a field that is missing",
      [{ fault: "delay", operation: "ec2:*" }],
      "rule 1 (delay): ms: is missing",
    ],
    [
      "a field of another type",
      [{ fault: "delay", operation: "ec2:*", ms: "soon" }],
      "rule 1 (delay): ms: must be a number",
    ],
    [
      "an operation without its service",
      [{ fault: "throttle", operation: "PutObject" }],
      "operation: an operation is a service and a name",
    ],
    [
      "a service that there is not",
      [{ fault: "throttle", operation: "iam:*" }],
      "the services are ec2, imds, kms, s3, secretsmanager, servicequotas, sqs, ssm, sts",
    ],
    [
      "an operation that there is not",
      [{ fault: "throttle", operation: "s3:PutObjects" }],
      'operation: the local cloud has no operation "s3:PutObjects"; near it are s3:PutObject, ',
    ],
    [
      "an operation of another service",
      [{ fault: "throttle", operation: "ec2:getobject" }],
      "near it are s3:GetObject",
    ],
    [
      "an operation that nothing is near to",
      [{ fault: "throttle", operation: "imds:Describe*" }],
      "near it are imds:Get, imds:PutToken",
    ],
    [
      "a code of no known status",
      [{ fault: "error", operation: "ec2:*", code: "Odd" }],
      "rule 1 (error): status: is needed",
    ],
    [
      "a success of what cannot fail so late",
      [{ fault: "error", operation: "s3:PutObject", code: "InternalError", status: 200 }],
      "rule 1 (error): status: 200 with an error in its body is what s3:CompleteMultipartUpload",
    ],
    [
      "a status that is none of an error",
      [{ fault: "error", operation: "s3:CopyObject", code: "InternalError", status: 302 }],
      "rule 1 (error): status: an HTTP status from 400 to 599, or 200",
    ],
    [
      "an id twice",
      [
        { ...noCapacity, id: "a" },
        { ...noCapacity, id: "a" },
      ],
      "the id a is given twice",
    ],
    [
      "an end that is no reason of EC2",
      [{ fault: "instance-dies", reason: "boredom" }],
      "a reason is one of EC2's",
    ],
  ])("with %s is refused by its number, its fault and its field", (_, value, message) => {
    expect(() => parseRules(value)).toThrow(message);
  });

  it("names all that is wrong at once", () => {
    expect(() => parseRules([{ fault: "x" }, { fault: "quota", family: "q" }])).toThrow(
      /rule 1 \(x\): [^\n]*\nrule 2 \(quota\): family: [^\n]*\nrule 2 \(quota\): vcpus: is missing/,
    );
  });

  it("of every fault can be written with little", () => {
    const call = { operation: "s3:*" };
    const needs: Record<string, object> = {
      error: { ...call, code: "SlowDown" },
      throttle: call,
      delay: { ...call, ms: 5 },
      "lost-reply": call,
      "lost-request": call,
      quota: { family: "p", vcpus: 0 },
      "event-late": { ms: 5 },
      "agent-absent": { forMs: 5 },
      "connection-closes": { afterMs: 5 },
      "idle-timeout": { afterMs: 5 },
      "session-pauses": { everyMs: 10 },
    };
    const rules = FAULT_NAMES.map((fault) => ({ fault, ...needs[fault] }));
    expect(parseRules(rules).map(({ fault }) => fault)).toEqual(FAULT_NAMES);
  });

  it("of calls may be about any service", () => {
    const services = [
      "ec2",
      "imds",
      "kms",
      "s3",
      "secretsmanager",
      "servicequotas",
      "sqs",
      "ssm",
      "sts",
    ];
    const rules = services.map((name) => ({ fault: "throttle", operation: `${name}:*` }));
    expect(parseRules(rules)).toHaveLength(services.length);
  });

  it("takes the seed of its file unless it has its own", () => {
    const rules = parseRules({ seed: 7, rules: [noCapacity, { ...noCapacity, seed: 8 }] });
    expect(rules.map(({ seed }) => seed)).toEqual([7, 8]);
  });
});

describe("occasions", () => {
  let folder: string;
  let faults: Faults;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "errand-faults-"));
    faults = openFaults(join(folder, "faults.json"));
  });

  afterEach(async () => {
    faults.close();
    await rm(folder, { recursive: true, force: true });
  });

  const play = (occasions: number): string =>
    Array.from({ length: occasions }, () =>
      faults.fire("no-capacity", () => true) ? "x" : ".",
    ).join("");

  const playRule = (rule: object, occasions = 200): string => {
    faults.clear();
    faults.add(parseRules([{ ...noCapacity, ...rule }]));
    return play(occasions);
  };

  it("have the same fate again for the same seed, and another for another", () => {
    const first = playRule({ probability: 0.3, seed: 4 });
    expect(playRule({ probability: 0.3, seed: 4 })).toBe(first);
    expect(playRule({ probability: 0.3, seed: 5 })).not.toBe(first);
  });

  it("have that fate whatever the rule is called and whatever other rules there are", () => {
    const first = playRule({ probability: 0.3, seed: 4 });
    faults.clear();
    faults.add(parseRules([{ fault: "quota", family: "p", vcpus: 1 }]));
    faults.add(parseRules([{ ...noCapacity, probability: 0.3, seed: 4, id: "mine" }]));
    expect(play(200)).toBe(first);
  });

  it("fire about as often as the probability says", () => {
    const fired = playRule({ probability: 0.3, seed: 9 }, 1_000).replaceAll(".", "").length;
    expect(fired).toBeGreaterThan(250);
    expect(fired).toBeLessThan(350);
  });

  it("pass until `after`, then fire `times` times", () => {
    expect(playRule({ after: 2, times: 3 }, 8)).toBe("..xxx...");
  });

  it("are counted: those that matched, and those that fired", () => {
    playRule({ after: 1, times: 1 }, 5);
    expect(faults.list()).toMatchObject([{ matched: 5, fired: 1 }]);
  });

  it("go on where they were after a restart without a stop", () => {
    const whole = playRule({ probability: 0.5, seed: 3, times: 40 }, 100);
    faults.clear();
    faults.add(parseRules([{ ...noCapacity, probability: 0.5, seed: 3, times: 40 }]));
    const begin = play(whole.indexOf("x", 50) + 1);
    faults = openFaults(join(folder, "faults.json"));
    expect(begin + play(100 - begin.length)).toBe(whole);
  });

  it("of a rule that is chosen now and happens later count as fired when they have happened", () => {
    const [rule] = faults.add(parseRules([{ fault: "silent-boot", times: 1 }]));
    const fire = () => faults.fire("silent-boot", () => true, true);
    expect([fire()?.id, fire()?.id]).toEqual([rule?.id, undefined]);
    expect(faults.list()[0]?.fired).toBe(0);
    faults.happened(rule?.id ?? "");
    expect(faults.list()[0]?.fired).toBe(1);
  });

  it("a rule's id is not given again", () => {
    faults.add(parseRules([noCapacity]));
    faults.clear();
    expect(faults.add(parseRules([noCapacity])).map(({ id }) => id)).toEqual(["f2"]);
  });

  it("a rule whose id is taken is refused, and none of its file is added", () => {
    faults.add(parseRules([{ ...noCapacity, id: "a" }]));
    const more = parseRules([noCapacity, { ...noCapacity, id: "a" }]);
    expect(() => faults.add(more)).toThrow("there is a rule a already");
    expect(faults.list()).toHaveLength(1);
  });

  it("a file that is not understood is an error that names it", async () => {
    await writeFile(join(folder, "faults.json"), "{}");
    expect(() => openFaults(join(folder, "faults.json"))).toThrow(/faults\.json is not understood/);
  });
});
