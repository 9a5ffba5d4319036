/** Bugs to plant in what reads drops: the fuzz must find each of them. */
import type { Mutant } from "../simulation/mutants.ts";

const BUGS: readonly Mutant[] = [
  {
    name: "a path that leads out is taken",
    file: "src/daemon/archive.ts",
    find: 'parts.includes("..")',
    replace: "false",
  },
  {
    name: "a link in .dstack is taken",
    file: "src/daemon/archive.ts",
    find: "if (isOurs) refuseSpecial(path, type);",
    replace: "",
  },
  {
    name: "what an entry says of its size is believed only when it comes",
    file: "src/daemon/archive.ts",
    find: "      check(declared);\n",
    replace: "",
  },
  {
    name: "a damaged archive is an error of the daemon",
    file: "src/daemon/archive.ts",
    find: '    ? new UserError("the bundle is cut off or damaged", "Pack and send it again.", { cause })',
    replace: "    ? cause",
  },
  {
    name: "text that is not UTF-8 is read all the same",
    file: "src/daemon/archive.ts",
    find: "{ fatal: true }",
    replace: "{ fatal: false }",
  },
  {
    name: "a rejected drop is kept under its whole name",
    file: "src/daemon/rejected.ts",
    find: "Buffer.byteLength(whole) <= KEY_BYTES_MAX",
    replace: "true",
  },
];

export const FUZZ_MUTANTS: readonly Mutant[] = BUGS.map((bug) => ({ ...bug, play: "fuzz" }));
