// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references of workflow files are written so.
/** Workflow files that are right, with lines and words moved, doubled, taken out and put in. */
import type { Random } from "../simulation/random.ts";
import { damage, pick } from "./pick.ts";

/** Small ones, that there may be many cases. */
const BUNDLES: readonly Readonly<Record<string, string>>[] = [
  {
    ".dstack/workflows.yaml": `workflows:
  - name: prepare
    provider: curl
    url: https://example.com/\${{ name }}.txt
    output: raw/input.txt
    artifacts: [raw]
`,
    ".dstack/variables.yaml": `variables:
  global: { name: data }
`,
  },
  {
    ".dstack/workflows.yaml": `workflows:
  - name: train
    provider: python
    depends-on: ["score:latest"]
    python_script: "train.py --epochs \${{ epochs }}"
    requirements: [numpy, "torch==2.1"]
    python: 3.10
    environment: { A: "1", B: "two words" }
    artifacts:
      - checkpoint
`,
    ".dstack/variables.yaml": `variables:
  train:
    epochs: 8
    both: "\${{ epochs }}-\${{ run.id }}"
`,
  },
  {
    ".dstack/workflows.yaml": `workflows:
  - name: train
    provider: python
    python_script: train.py
    resources:
      cpu: 4
      memory: 32GB
      gpu: { count: 1, name: T4 }
      max_duration: 90m
      retry: { lost: 2, failed: 1 }
  - { name: b, provider: python, python_script: b.py, depends-on: [train] }
`,
  },
  {
    ".dstack/workflows.yaml": `workflows:
  - name: grid
    provider: sweep
    values: [1, 2]
`,
    ".dstack/providers/sweep.yaml": `parameters:
  type: object
  properties:
    values: { type: array, items: { type: integer } }
  required: [values]
jobs:
  - name: v\${{ item }}
    each: \${{ values }}
    commands: ["echo \${{ item }}"]
    artifacts: ["out/\${{ item }}"]
`,
  },
];

const WORDS: readonly [string, ...string[]] = [
  "&a ",
  "*a",
  "<<: *a",
  "!!binary ",
  "!x ",
  "{",
  "}",
  "[",
  "]",
  "- ",
  "? ",
  ": ",
  "|",
  ">-",
  "'",
  '"',
  "#",
  "\t",
  "---\n",
  "...\n",
  "%YAML 1.1\n",
  "${{",
  "}}",
  "${{ run.id }}",
  "$${{",
  "__proto__: 1",
  "constructor",
  "1e999",
  "0x7fffffffffffffff",
  "-0",
  ".nan",
  "2001-01-01",
  "null",
  "~",
  "../..",
  "\u2028",
  "\ud83d\ude00",
  "\ufeff",
  "\\u0000",
  "a".repeat(300),
  "[".repeat(60),
  "{a: ".repeat(60),
  "\n  - name: train\n",
  "\r\n",
  "999999999999999999999",
];

function change(text: string, random: Random): string {
  const lines = text.split("\n");
  const at = random.between(0, lines.length - 1);
  const line = lines[at] ?? "";
  const column = random.between(0, line.length);
  switch (random.between(0, 6)) {
    case 0:
      return lines.toSpliced(at, 1).join("\n");
    case 1:
      return lines.toSpliced(at, 0, ...lines.slice(at, at + random.between(1, 4))).join("\n");
    case 2:
      return lines.toSpliced(at, 1, `${" ".repeat(random.between(1, 5))}${line}`).join("\n");
    case 3:
      return lines.toSpliced(at, 1, line.trimStart()).join("\n");
    case 4: {
      const word = pick(random, WORDS);
      return lines.toSpliced(at, 1, line.slice(0, column) + word + line.slice(column)).join("\n");
    }
    case 5: {
      const key = /^(.*?: )/.exec(line)?.[1] ?? "";
      return lines.toSpliced(at, 1, key + pick(random, WORDS)).join("\n");
    }
    default:
      return damage(Buffer.from(text), random).toString("utf8");
  }
}

/** The files of a bundle, by path. */
export function makeYamlCase(random: Random): Map<string, string> {
  const files = new Map(Object.entries(pick(random, BUNDLES) ?? {}));
  for (let left = random.between(0, 4); left > 0; left -= 1) {
    const file = pick(random, [...files.keys()]);
    if (file !== undefined) files.set(file, change(files.get(file) ?? "", random));
  }
  return files;
}
