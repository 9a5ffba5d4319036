// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
/**
 * Whatever text stands in a workflow file reaches the process byte for byte: through YAML, the compiler, records and orders, the
 * real bash and the real runner. Each run carries many texts at once. QUOTING_RUNS asks for more runs, FC_SEED for others.
 */
import { readFile } from "node:fs/promises";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { JobArtifacts } from "../../src/cli/manifests.ts";
import { makeDirectory } from "../support/directory.ts";
import { type Errand, startErrand } from "../support/errand.ts";
import { serve } from "../support/serve.ts";

const RUNS = Number(process.env.QUOTING_RUNS ?? 1);

/** What shells, YAML, JSON, globs, URLs and terminals read more into than is written. */
const ODD = [
  ..."\"'\\`$!*?[]{}()<>|&;#~%^=:,@ \t\n\r/-+.",
  "$()",
  "${{",
  "$${{ x }}",
  "${HOME}",
  "$(touch /tmp/x)",
  "%41",
  "%s",
  "\u001b[2J",
  "\u007f",
  "\u0085",
  "\u2028",
  "\ufeff",
  "é",
  "e\u0301",
  "雪",
  "\u{1f600}",
  "\uffff",
  "\u{10ffff}",
  "\x01",
];

const unit = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...ODD) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", minLength: 1, maxLength: 1 }) },
  { weight: 1, arbitrary: fc.constantFrom("a", "b", "1", "yes", "null", "0x10", "1e3") },
);
const text = fc
  .array(unit, { maxLength: 12 })
  .map((units) => units.join("").replace(/[\0\p{Surrogate}]/gu, ""));

const bytesOf = (value: string): number => Buffer.byteLength(value);
/** Names of variables: no `=`, not empty, none that this test or Python itself looks at. */
const name = text.filter((each) => /^[^=A-Za-z_][^=]*$/s.test(each));

/** A path inside the working directory, as a user may write it; compared in its one spelling. */
const path = fc
  .array(
    text.map((part) => part.replaceAll("/", "")),
    { minLength: 1, maxLength: 3 },
  )
  .filter((parts) => parts.every((part) => part !== "." && part !== ".." && bytesOf(part) < 200))
  .map((parts) => parts.filter((part) => part !== "").join("/"))
  .filter((each) => each !== "" && !each.startsWith("~/"));

/** Each below a folder of its own, so that none is a folder of another. */
const paths = (count: number) =>
  fc
    .array(path, { minLength: count, maxLength: count })
    .map((all) => all.map((each, index) => `${index}${each}`));

const urlPath = text.filter((each) => {
  const url = `http://127.0.0.1:1/${each}`;
  return !/\p{Cc}/u.test(each) && each === each.trimEnd() && URL.canParse(url);
});

const batch = fc.record({
  // A reference in a key is an error, so that one is told who expects it to work.
  environment: fc.dictionary(
    name.filter((each) => !each.includes("${{")),
    text,
    { minKeys: 40, maxKeys: 40, noNullPrototype: true },
  ),
  list: fc.uniqueArray(fc.tuple(name, text), {
    minLength: 20,
    maxLength: 20,
    selector: ([each]) => each,
  }),
  words: fc.array(text, { minLength: 60, maxLength: 60 }),
  artifacts: paths(20),
  bash: fc.array(text, { minLength: 20, maxLength: 20 }),
  url: urlPath,
  output: path,
});
type Batch = typeof batch extends fc.Arbitrary<infer Value> ? Value : never;

/** As a workflow file writes a text that is no reference. */
const literal = (value: string): string => value.replaceAll("${{", () => "$${{");
const shellQuoted = (word: string): string => `'${word.replaceAll("'", "'\\''")}'`;
/** JSON is YAML, but for characters that YAML wants escaped. */
const yamlOf = (value: unknown): string =>
  JSON.stringify(value).replace(
    /[\u007f-\u00a0\u2028\u2029\ufeff\ufffe\uffff]/g,
    (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );

const CHECK = `
import json, os, sys
wanted = json.load(open("wanted.json", encoding="utf-8"))
given = os.environb
for name, value in wanted["environment"]:
    found = given.get(name.encode())
    if found != value.encode():
        print("variable", ascii(name), "is", found, "not", value.encode())
words = [os.fsencode(word) for word in sys.argv[1:]]
if words != [word.encode() for word in wanted["words"]]:
    print("words", words)
for path in wanted["artifacts"]:
    full = path.encode()
    os.makedirs(os.path.dirname(full) or b".", exist_ok=True)
    with open(full, "wb") as file:
        file.write(full)
print("checked", len(wanted["environment"]), len(words))
`;

/** A provider whose commands print what bash has in its variables. */
const SHOW = `
parameters: {properties: {texts: {type: object, additionalProperties: true}}}
jobs:
  - environment: "\${{ texts }}"
    commands: |
      for name in $(compgen -e V_); do printf '%s\\0' "\${!name}"; done >shown
    artifacts: [shown]
`;

function projectOf(
  { environment, list, words, artifacts, bash, url, output }: Batch,
  base: string,
) {
  const literals = (all: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(all).map(([each, value]) => [each, literal(value)]));
  const script = ["check.py", ...words].map(shellQuoted).join(" ");
  const shared = { provider: "python", python_script: literal(script) };
  const workflows = [
    {
      ...shared,
      name: "map",
      environment: literals(environment),
      artifacts: artifacts.map(literal),
    },
    {
      ...shared,
      name: "list",
      environment: list.map(([each, value]) => literal(`${each}=${value}`)),
      working_dir: "other",
    },
    {
      name: "bash",
      provider: "show",
      texts: Object.fromEntries(bash.map((value, at) => [variable(at), literal(value)])),
    },
    {
      name: "fetch",
      provider: "curl",
      url: literal(`${base}/${url}`),
      output: literal(output),
      artifacts: [literal(output)],
    },
  ];
  const wanted = (pairs: readonly (readonly [string, string])[], made: readonly string[]) =>
    JSON.stringify({ environment: pairs, words, artifacts: made });
  return makeDirectory({
    ".dstack/workflows.yaml": yamlOf({ workflows }),
    ".dstack/providers/show.yaml": SHOW,
    "check.py": CHECK,
    "wanted.json": wanted(Object.entries(environment), artifacts),
    "other/check.py": CHECK,
    "other/wanted.json": wanted(list, []),
  });
}

/** In the order in which bash lists them. */
const variable = (at: number): string => `V_${String(at).padStart(3, "0")}`;

async function artifactsOf(errand: Errand, job: string): Promise<JobArtifacts["entries"]> {
  const { stdout } = await errand.run("artifacts", "latest", job, "--json");
  const [set] = JSON.parse(stdout) as JobArtifacts[];
  return set?.entries ?? [];
}

/** Serves anything, and remembers what it was asked for. */
async function serveAll(): Promise<{ readonly base: string; readonly asked: string[] }> {
  const asked: string[] = [];
  const base = await serve((request, response) => {
    asked.push(request.url ?? "");
    response.end("body");
  });
  return { base, asked };
}

/** Percent-encoded or not, the same bytes are asked for. */
const decoded = (address: string): Buffer =>
  Buffer.from(
    Buffer.from(address, "utf8")
      .toString("latin1")
      .replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      ),
    "latin1",
  );

it(
  "any text in environment, words, paths, url and output reaches the process byte for byte",
  async () => {
    const { base, asked } = await serveAll();
    const errand = await startErrand();
    await fc.assert(
      fc.asyncProperty(batch, async (given) => {
        const submitted = await errand.run("submit", await projectOf(given, base));
        expect([0, 1], submitted.stderr).toContain(submitted.code);
        const view = await errand.show();
        const states = Object.fromEntries(
          view.jobs.map((job) => [job.name, job.reason || job.state]),
        );
        const good = { map: "succeeded", list: "succeeded", bash: "succeeded", fetch: "succeeded" };
        expect(states, submitted.stderr + submitted.stdout).toEqual(good);

        const { words, artifacts, bash, url, output } = given;
        expect((await errand.run("logs", "latest", "map")).stdout).toMatch(
          RegExp(`(^errand: .*\n)*^checked 40 ${words.length}\n$`, "m"),
        );
        const list = await errand.run("logs", "latest", "list");
        expect(list.stdout).toContain(`checked 20 ${words.length}\n`);
        expect(`${list.stdout}${submitted.stdout}`).not.toMatch(/^(\w+ +\| )?(variable|words) /m);
        const made = (await artifactsOf(errand, "map")).map((each) => each.path);
        expect(made).toEqual(expect.arrayContaining(artifacts));
        expect(await shownBy(errand)).toEqual(bash);
        expect(decoded(asked.at(-1) ?? "")).toEqual(decoded(`/${url.replace(/#.*/s, "")}`));
        expect((await artifactsOf(errand, "fetch")).map((each) => each.path)).toContain(output);
      }),
      // A smaller example would need many runs more: what differs is in the message.
      { numRuns: RUNS, endOnFailure: true },
    );
  },
  180_000 * RUNS,
);

async function shownBy(errand: Errand): Promise<readonly string[]> {
  const folder = await makeDirectory();
  await errand.run("artifacts", "latest", "bash", "--download", folder);
  return (await readFile(`${folder}/shown`, "utf8")).split("\0").slice(0, -1);
}
