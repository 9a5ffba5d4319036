import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  base85,
  bootstrapScript,
  renderUserData,
  USER_DATA_BYTES_MAX,
} from "../../../src/aws/user-data.ts";
import { UserError } from "../../../src/errors.ts";

const run = promisify(execFile);
const sources = new URL("../../../src/runner/", import.meta.url);

const header = {
  bucket: "errand-0123",
  region: "us-east-1",
  endpoint: "http://127.0.0.1:4577",
  token: "k3f9q2",
};

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "errand-user-data-"));
});
afterEach(() => rm(folder, { recursive: true }));

const python = async (code: string, ...words: string[]): Promise<string> =>
  (await run("python3", ["-c", code, ...words])).stdout;

describe("user-data", () => {
  it("is under 15 KB with the longest values there are", () => {
    const longest = {
      bucket: "b".repeat(63),
      region: "ap-southeast-12",
      endpoint: `https://${"e".repeat(200)}:65535`,
      token: "t".repeat(64),
    };
    const text = renderUserData(longest, bootstrapScript().script);
    expect(Buffer.byteLength(text)).toBeLessThan(USER_DATA_BYTES_MAX);
    expect(USER_DATA_BYTES_MAX).toBe(15 * 1024);
  });

  it("begins with its header, which names the script by the sha256 under which it is kept", () => {
    const { script, sha256 } = bootstrapScript();
    expect(renderUserData(header, script).split("\n").slice(0, 6)).toEqual([
      "#!/bin/bash",
      "ERRAND_BUCKET=errand-0123",
      "ERRAND_REGION=us-east-1",
      "ERRAND_ENDPOINT=http://127.0.0.1:4577",
      "ERRAND_TOKEN=k3f9q2",
      `ERRAND_SCRIPT=${sha256}`,
    ]);
    expect(createHash("sha256").update(script).digest("hex")).toBe(sha256);
  });

  it("is the same each time it is made", () => {
    expect(bootstrapScript()).toEqual(bootstrapScript());
  });

  it("differs only in its header from one launch to the next", () => {
    const { script } = bootstrapScript();
    const tail = (text: string) => text.split("\n").slice(5).join("\n");
    const other = { bucket: "other", region: "eu-west-1", endpoint: "", token: "z" };
    expect(tail(renderUserData(header, script))).toBe(tail(renderUserData(other, script)));
  });

  it("refuses a script that has no runner", () => {
    expect(() => renderUserData(header, "echo hello")).toThrow("bootstrapScript");
  });

  it.each([
    ["bucket", "errand;reboot"],
    ["bucket", "$(touch owned)"],
    ["bucket", "errand\ntouch owned"],
    ["region", "us-east-1 touch owned"],
    ["region", "`touch owned`"],
    ["endpoint", "http://127.0.0.1:4577/$(touch owned)"],
    ["endpoint", "http://127.0.0.1:4577;touch owned"],
    ["endpoint", "http://127.0.0.1:4577\n"],
    ["token", "a b"],
    ["token", "a'\"b"],
    ["token", ""],
  ] as const)("refuses the %s %j", (name, value) => {
    const hostile = { ...header, [name]: value };
    expect(() => renderUserData(hostile, bootstrapScript().script)).toThrow(UserError);
    expect(() => renderUserData(hostile, bootstrapScript().script)).toThrow(`${name} `);
  });

  it.each(["", "https://s3.example.com", "http://[::1]:4577", "http://localhost:1"])(
    "takes the endpoint %j",
    (endpoint) => {
      const text = renderUserData({ ...header, endpoint }, bootstrapScript().script);
      expect(text).toContain(`\nERRAND_ENDPOINT=${endpoint}\n`);
    },
  );
});

describe("the script", () => {
  it("holds the runner, whose code is that of the source, line by line", async () => {
    const { script } = bootstrapScript();
    const path = join(folder, "script");
    await writeFile(path, script);
    const code = `
import ast, base64, re, sys, zlib
script = open(sys.argv[1], "rb").read()
head, tail = script.split(b"\\n:RUNNER\\n")
payload = re.search(rb"<<'PAYLOAD'\\n(.*)\\nPAYLOAD", head).group(1)
for name, packed in (("boot.py", payload), ("runner.py", tail.strip())):
    code = lambda text: ast.dump(ast.parse(text), include_attributes=True)
    unpacked = zlib.decompress(base64.b85decode(packed)).decode()
    source = open(sys.argv[2] + name).read()
    print(name, code(unpacked) == code(source), unpacked.count("\\n") == source.count("\\n"))
`;
    expect(await python(code, path, sources.pathname)).toBe(
      "boot.py True True\nrunner.py True True\n",
    );
  });

  it("is read by bash without complaint", async () => {
    const path = join(folder, "user-data");
    await writeFile(path, renderUserData(header, bootstrapScript().script));
    expect(await run("bash", ["-n", path])).toEqual({ stdout: "", stderr: "" });
  });

  /** Runs the user-data with these scripts in place of commands; returns what they have written to `calls`. */
  async function runUserData(commands: Readonly<Record<string, string>>): Promise<string> {
    for (const [name, body] of Object.entries(commands)) {
      await writeFile(join(folder, name), `#!/bin/sh\n${body}\n`);
      await chmod(join(folder, name), 0o755);
    }
    const path = join(folder, "user-data");
    await writeFile(path, renderUserData(header, bootstrapScript().script));
    const env = {
      PATH: `${folder}:${process.env.PATH}`,
      TMPDIR: folder,
      // Says that this is no machine of EC2's: systemd is left alone.
      AWS_EC2_METADATA_SERVICE_ENDPOINT: "http://127.0.0.1:1/imds",
    };
    await run("bash", [path], { env });
    return readFileSync(join(folder, "calls"), "utf8");
  }
  const shutdown = () => `echo "shutdown $@" >>${folder}/calls`;

  it("starts boot.py with its header, which powers off when it breaks", async () => {
    // In place of boot.py's Python: it tells what it was started with, and breaks.
    const python3 = `shift 2; echo "$@" >>${folder}/calls; shutdown -P now`;
    const calls = await runUserData({ shutdown: shutdown(), python3 });
    const { sha256 } = bootstrapScript();
    expect(calls).toMatch(
      new RegExp(
        `^${folder}/errand\\.\\w+ local \\d+ errand-0123 us-east-1 http://127.0.0.1:4577 k3f9q2 ${sha256}$`,
        "m",
      ),
    );
    expect(calls).toContain("shutdown -P now\n");
  });

  it("powers off after 15 minutes when nothing comes of it", async () => {
    const python3 = `until [ -e ${folder}/calls ]; do /bin/sleep 0.05; done`;
    const sleep = `echo "$1" >>${folder}/slept`;
    const calls = await runUserData({ shutdown: shutdown(), python3, sleep });
    expect(calls).toBe("shutdown -P now\n");
    const seconds = readFileSync(join(folder, "slept"), "utf8").trim().split("\n");
    expect(seconds.reduce((sum, each) => sum + Number(each), 0)).toBe(15 * 60);
  });
});

describe("base85", () => {
  it("is what Python decodes to the same bytes, whatever their number", async () => {
    const samples = [0, 1, 2, 3, 4, 5, 256].map((size) =>
      Uint8Array.from({ length: size }, (_, index) => 255 - index),
    );
    const code =
      "import base64, sys; print([base64.b85decode(each).hex() for each in sys.argv[1:]])";
    const decoded = await python(code, ...samples.map(base85));
    const expected = samples.map((sample) => `'${Buffer.from(sample).toString("hex")}'`);
    expect(decoded.trim()).toBe(`[${expected.join(", ")}]`);
  });
});
