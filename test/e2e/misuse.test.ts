/** What the commands say to somebody who gets them wrong, or whose machine is in the way. */
import { spawnSync } from "node:child_process";
import { chmod, mkdir, open } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { errandPath, runErrand, shareErrand } from "../support/errand.ts";
import { isRoot, ORDINARY_USER } from "../support/sandbox-host.ts";

const PROJECT = {
  ".dstack/workflows.yaml":
    "workflows: [{name: hello, provider: python, python_script: hello.py, artifacts: [out.txt]}]",
  "hello.py": "open('out.txt', 'w').write('hello')",
};
const AWS = ["--bucket", "errand-nobody", "--region", "us-east-1"];

/** With nothing of this machine's AWS, and more. As another user where one is named. */
function run(words: readonly string[], { stdout, input, user, ...more }: Options = {}) {
  const env = { PATH: process.env.PATH, HOME: "/nonexistent", NO_COLOR: "1", ...more };
  const { status, stderr } = spawnSync(process.execPath, [errandPath, ...words], {
    encoding: "utf8",
    stdio: ["pipe", stdout ?? "pipe", "pipe"],
    env: { ...env, AWS_EC2_METADATA_DISABLED: "true" },
    ...(input === undefined ? {} : { input }),
    ...(user === undefined ? {} : { uid: user, gid: user }),
  });
  return { code: status, stderr };
}
type Options = {
  readonly stdout?: number;
  readonly input?: Buffer;
  readonly user?: number;
  readonly [variable: `AWS_${string}`]: string;
};

describe("a command that cannot reach AWS says what to look at", () => {
  it("where there are no credentials", () => {
    expect(run(["runs", ...AWS])).toEqual({
      code: 2,
      stderr: expect.stringMatching(
        /CredentialsProviderError\)\nCredentials come as in every AWS tool/,
      ),
    });
  });

  it("where nobody answers", () => {
    const words = ["runs", ...AWS, "--endpoint", "http://127.0.0.1:1"];
    const keys = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b" } as const;
    expect(run(words, keys)).toEqual({
      code: 2,
      stderr: expect.stringMatching(/ECONNREFUSED\)\nNothing answers there: check the network/),
    });
  }, 60_000);
});

describe("words that are none", () => {
  it.each([
    ["of a command", ["show"], "(errand show --help says how)"],
    ["of a command's command", ["tags", "add"], "(errand tags add --help says how)"],
    ["a command of local", ["local", "faluts"], 'Did you mean "faults"?'],
    ["an option", ["submit", ".", "--detatch"], 'Did you mean "--detach"?'],
    ["a count", ["logs", "latest", "--tail", "-1"], "it is no whole number from 0 on."],
    ["a folder", ["artifacts", "latest", "--download", ""], "--download names no folder"],
    ["a tag", ["tags", "add", "a/b", "latest"], '"a/b" is no tag\nA tag is a name: '],
    ["a directory", ["runs", "--local", "--data", errandPath], "--data names a directory."],
    ["a fault", ["local", "faults", "add", "erorr"], 'Did you mean "error"?'],
  ])("%s are told with the cure", async (_, words, said) => {
    const { code, stderr } = await runErrand(...words);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(said) });
  });
});

it.skipIf(!isRoot)(
  "a file of the bundle that nobody may read is named, with the cure",
  async () => {
    const directory = await makeDirectory(PROJECT);
    await mkdir(path.join(directory, "closed"), { mode: 0o700 });
    await chmod(directory, 0o755);
    expect(run(["check", directory], { user: ORDINARY_USER })).toEqual({
      code: 2,
      stderr: expect.stringMatching(
        /^error: reading "closed": EACCES: .*\nMake it readable, or list it in \.dstackignore/,
      ),
    });
  },
);

it.skipIf(process.platform !== "linux")("an answer that finds no room is an error", async () => {
  const full = await open("/dev/full", "w");
  const directory = await makeDirectory(PROJECT);
  const { code, stderr } = run(["check", directory], { stdout: full.fd });
  await full.close();
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: expect.stringMatching(/^error: writing the answer: ENOSPC: .*\n$/),
  });
});

describe("with a local cloud", () => {
  const errand = shareErrand();

  it("names commands that find it again", async () => {
    const { stdout } = await errand().run("submit", await makeDirectory(PROJECT));
    const words = /: errand (artifacts .*) --download DIR\n$/.exec(stdout)?.[1] ?? "";
    expect(words).toContain(` --local --data ${errand().data}`);
    expect((await runErrand(...words.split(" "))).code).toBe(0);
  });

  it("takes no empty word for the only run that there is", async () => {
    for (const words of [
      ["cancel", ""],
      ["show", " "],
    ]) {
      const { code, stderr } = await errand().run(...words);
      expect({ code, stderr }).toEqual({
        code: 2,
        stderr: "error: no run is named\nName one, or latest. List them: errand runs\n",
      });
    }
  });

  it("names the folder of a download that cannot be made", async () => {
    const { code, stderr } = await errand().run(
      "artifacts",
      "latest",
      "hello",
      "--download",
      "/dev/null",
    );
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringMatching(
        /^error: making the folder \/dev\/null: EEXIST: .*\nCheck --download\.\n$/,
      ),
    });
  });

  it("refuses a secret that is no text, and keeps nothing of it", () => {
    const words = ["local", "secret", "put", "errand/bytes", "--data", errand().data];
    expect(run(words, { input: Buffer.from([0xff, 0xfe]) })).toEqual({
      code: 2,
      stderr: expect.stringContaining("the value is no UTF-8 text"),
    });
  });

  it("tells the place in a file of faults that is no YAML on one line", async () => {
    const directory = await makeDirectory({ "faults.yaml": "- {" });
    const file = path.join(directory, "faults.yaml");
    const { code, stderr } = await errand().run("local", "faults", "load", file);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: reading .*faults\.yaml: .* at line 1, column 4\n$/);
  });
});
