/** The table of docs/local-cloud.md says what the conformance suites and their lists of gaps say, no more and no less. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Backend } from "../../conformance/backend.ts";
import { cloudConformance } from "../../conformance/cloud.suite.ts";
import { ec2Conformance } from "../../conformance/ec2.suite.ts";
import { eventsConformance } from "../../conformance/events.suite.ts";
import { LOCAL_GAPS, MOTO_GAPS, type Suite } from "../../conformance/gaps.ts";
import { s3Conformance } from "../../conformance/s3.suite.ts";
import { sqsConformance } from "../../conformance/sqs.suite.ts";
import { storeConformance } from "../../conformance/store.suite.ts";

const never = async () => {
  throw new Error("only titles are asked for");
};

const SUITES: Readonly<Record<Suite, (backend: Backend) => void>> = {
  store: (backend) => storeConformance(backend, never),
  events: (backend) => eventsConformance(backend, never),
  cloud: (backend) => cloudConformance(backend, never),
  S3: (backend) => s3Conformance(backend, never),
  SQS: (backend) => sqsConformance(backend, never),
  EC2: (backend) => ec2Conformance(backend, never),
};
const suiteNames = Object.keys(SUITES) as Suite[];

function titlesOf(suite: Suite): readonly string[] {
  const titles: string[] = [];
  SUITES[suite]({ name: "titles", onTitle: (title) => titles.push(title) });
  return titles;
}

type Row = {
  readonly suite: string;
  /** A test's title; a `…` in it stands for anything. */
  readonly behaviour: string;
  readonly local: string;
  readonly moto: string;
  readonly aws: string;
};

const page = readFileSync(join(import.meta.dirname, "../../../docs/local-cloud.md"), "utf8");
const rows: readonly Row[] = [
  ...page.matchAll(/^\| (\w+) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$/gm),
].flatMap(([, suite = "", behaviour = "", local = "", moto = "", aws = ""]) =>
  (suiteNames as string[]).includes(suite) ? [{ suite, behaviour, local, moto, aws }] : [],
);

const fits = (row: Row, suite: Suite, title: string): boolean =>
  row.suite === suite &&
  new RegExp(
    `^${row.behaviour
      .split("…")
      .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
      .join(".*")}$`,
    "s",
  ).test(title);

/** A row of its own goes before one with a `…`. */
function findRow(suite: Suite, title: string): Row | undefined {
  const found = rows.filter((row) => fits(row, suite, title));
  return found.find(({ behaviour }) => behaviour === title) ?? found[0];
}

describe("the table of docs/local-cloud.md", () => {
  it.each(suiteNames)("has every promise of the suite %s, with its gaps", (suite) => {
    const said = titlesOf(suite).map((title) => {
      const row = findRow(suite, title);
      return { title, local: row?.local, moto: row?.moto };
    });
    const expected = titlesOf(suite).map((title) => ({
      title,
      local: LOCAL_GAPS[suite][title]?.why ?? "yes",
      moto: MOTO_GAPS[suite][title]?.why ?? "yes",
    }));
    expect(said).toEqual(expected);
  });

  it("has no row that no test stands behind", () => {
    const all = suiteNames.flatMap((suite) =>
      titlesOf(suite).map((title) => findRow(suite, title)),
    );
    expect(rows.filter((row) => !all.includes(row))).toEqual([]);
  });

  it("names a source for what AWS does in every row", () => {
    expect(rows.filter(({ aws }) => !/^\[\d+\]$|^not verified$/.test(aws))).toEqual([]);
  });
});
