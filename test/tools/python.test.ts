/**
 * The python provider with the real uv, the real package index of this machine and whatever Pythons it has, through daemon and
 * commands as real processes. Skipped, and said so, where no index is reachable.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { RunView } from "../../src/core/view.ts";
import { makeDirectory } from "../support/directory.ts";
import { type Errand, startErrand } from "../support/errand.ts";

const ONLINE = { UV_OFFLINE: "0" };
const folder = mkdtempSync(path.join(tmpdir(), "errand-uv-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The wheel of the pinned uv, from this machine's package index; undefined, with a line that says why, where there is none. */
const wheel = fetchWheel();
const suite = wheel === undefined ? describe.skip : describe;

function fetchWheel(): string | undefined {
  const words = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
  try {
    const more = ["--only-binary=:all:", "--retries=1", "-d", folder, `uv==${uvVersion()}`];
    execFileSync("python3", [...words, ...more], { stdio: "pipe", timeout: 120_000 });
    return path.join(folder, readdirSync(folder)[0] ?? "");
  } catch (error) {
    const { stderr } = error as { stderr?: Buffer };
    const reason = stderr?.toString().trim().split("\n").at(-1) ?? String(error);
    process.stderr.write(`skipped, for want of a package index: ${reason}\n`);
    return undefined;
  }
}

function uvVersion(): string {
  const source = readFileSync(path.join(import.meta.dirname, "../../src/core/uv.ts"), "utf8");
  return /VERSION = "([\d.]+)"/.exec(source)?.[1] ?? "";
}

/** Exact interpreters that this machine has, by minor version. */
function findPythons(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const versions = path.join(homedir(), ".pyenv/versions");
  for (const name of existsSync(versions) ? readdirSync(versions) : []) {
    const minor = /^(3\.(?:[89]|\d\d))\.\d+$/.exec(name)?.[1];
    if (minor) found.set(minor, path.join(versions, name));
  }
  return found;
}

const pythons = findPythons();
const PLAIN_PATH = `${path.dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin`;

/** A local cloud whose bucket holds uv, so that its machines need none. */
async function startWithUv(environment: Readonly<Record<string, string>> = {}): Promise<Errand> {
  const errand = await startErrand({ environment: { ...ONLINE, ...environment } });
  const words = ["tools", "add", "uv", "--arch", "host", "--from", wheel ?? ""];
  const { code, stderr } = await errand.run(...words);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return errand;
}

type Workflow = Readonly<Record<string, unknown>>;

const project = (workflows: readonly Workflow[], files: Readonly<Record<string, string>>) =>
  makeDirectory({
    ".dstack/workflows.yaml": JSON.stringify({
      workflows: workflows.map((each) => ({ provider: "python", ...each })),
    }),
    ...files,
  });

async function submit(errand: Errand, directory: string): Promise<RunView> {
  await errand.run("submit", directory);
  return errand.show();
}

const linesOf = async (errand: Errand, job: string): Promise<string[]> =>
  (await errand.run("logs", "latest", job)).stdout.split("\n").filter((line) => line !== "");

const reasonsOf = (view: RunView) =>
  Object.fromEntries(view.jobs.map(({ name, state, reason }) => [name, reason || state]));

suite("exact versions", () => {
  it.skipIf(pythons.size < 2)(
    "run each job on just the minor version that it asks for, side by side",
    async () => {
      const errand = await startWithUv();
      const versions = [...pythons.keys()];
      const workflows = versions.map((version) => ({
        name: `on-${version}`,
        python: version,
        python_script: "main.py",
        requirements: ["six==1.16.0"],
      }));
      const view = await submit(
        errand,
        await project(workflows, {
          "main.py": `
import six, sys
print("%d.%d" % sys.version_info[:2], six.__version__, sys.prefix != sys.base_prefix)
`,
        }),
      );
      expect(view.jobs.map((job) => [job.name, job.state, job.notes])).toEqual(
        versions.map((version) => [`on-${version}`, "succeeded", []]),
      );
      for (const version of versions) {
        expect(await linesOf(errand, `on-${version}`)).toContain(`${version} 1.16.0 True`);
      }
    },
  );

  const [old] = [...pythons.entries()];
  it.skipIf(old === undefined || process.platform !== "linux")(
    "come from the bucket where a machine has neither that Python nor the internet",
    async () => {
      const [version = "", home = ""] = old ?? [];
      const archive = path.join(folder, `cpython-${path.basename(home)}+1-test.tar.gz`);
      packPython(home, archive);
      const catalog = path.join(folder, "catalog.json");
      writeFileSync(catalog, JSON.stringify(catalogOf(path.basename(home), archive)));
      const offline = { PATH: PLAIN_PATH, UV_OFFLINE: "1", UV_SYSTEM_CERTS: "1" };
      const errand = await startErrand({
        environment: { ...offline, UV_PYTHON_DOWNLOADS_JSON_URL: catalog },
        // Made of an interpreter that finds its library by an absolute path, unlike the builds that uv installs: it has to be seen.
        words: ["--sandbox", "none"],
      });
      await errand.run("tools", "add", "uv", "--arch", "host", "--from", wheel ?? "");
      const words = ["tools", "add", "python", version, "--arch", "host", "--from", archive];
      const added = await errand.run(...words);
      expect(added.stderr).toBe("");
      expect(added.stdout).toContain(`python ${path.basename(home)}: tools/python/`);
      // What the machines know of it comes from the bucket alone.
      rmSync(archive);
      rmSync(catalog);

      const workflow = { name: "old", python: version, python_script: "main.py" };
      const main = "import sys; print(sys.version.split()[0], sys.base_prefix)";
      const view = await submit(errand, await project([workflow], { "main.py": main }));
      expect(reasonsOf(view)).toEqual({ old: "succeeded" });
      const [ran = ""] = (await linesOf(errand, "old")).filter((line) => line.startsWith("3."));
      expect(ran.startsWith(`${path.basename(home)} /`)).toBe(true);
      // The shared cache, wherever a machine sees it.
      expect(ran).toMatch(/\/cache(\/errand)?\/python\//);
    },
  );
});

suite("errand tools add python", () => {
  it("refuses a file that is not the build that the pinned uv knows", async () => {
    const errand = await startWithUv();
    const junk = path.join(folder, "junk.tar.gz");
    const place = ["-C", import.meta.dirname, "--transform=s,^,python/,"];
    execFileSync("tar", [...place, "-czf", junk, path.basename(import.meta.filename)]);
    const words = ["tools", "add", "python", "3.12", "--arch", "host", "--from", junk];
    const { code, stderr } = await errand.run(...words);
    expect(code).toBe(2);
    expect(stderr).toContain("Hash mismatch");
    const listed = await errand.run("tools", "list", "--json");
    expect(listed.stdout).not.toContain("tools/python/");
  });

  it("names the Pythons there are for one that is not", async () => {
    const errand = await startWithUv();
    const { code, stderr } = await errand.run("tools", "add", "python", "3.99", "--arch", "host");
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^error: uv has no Python 3\.99 for \S+\nAsk for 3\.\d+(, 3\.\d+)+\.\n$/,
    );
  });
});

/** As the builds are packed that uv installs: all below python/. */
function packPython(home: string, archive: string): void {
  const out = ["--exclude=test", "--exclude=*.a", "--exclude=__pycache__", "--exclude=idlelib"];
  const words = ["-C", home, ...out, "--transform=s,^\\./,python/,", "-czf", archive];
  execFileSync("tar", [...words, "./bin", "./lib", "./include"]);
}

function catalogOf(version: string, archive: string) {
  const [major, minor, patch] = version.split(".").map(Number);
  const family = process.arch === "arm64" ? "aarch64" : "x86_64";
  const sum = createHash("sha256").update(readFileSync(archive)).digest("hex");
  const place = { os: "linux", arch: { family, variant: null }, libc: "gnu", build: "1" };
  const build = { name: "cpython", major, minor, patch, prerelease: "", variant: null, ...place };
  // Where uv's own builds come from, for which a mirror can stand in.
  const releases = "https://github.com/astral-sh/python-build-standalone/releases/download";
  const url = `${releases}/1/${encodeURIComponent(path.basename(archive))}`;
  return { [`cpython-${version}-linux-${family}-gnu`]: { ...build, url, sha256: sum } };
}

suite("requirements", () => {
  it("are installed from the index, from a file or a list, for each job alone", async () => {
    const errand = await startWithUv();
    const show = `
import importlib, sys
for name in sys.argv[1:]:
    try:
        print(name, importlib.import_module(name).__version__)
    except ImportError:
        print(name, "missing")
`;
    const view = await submit(
      errand,
      await project(
        [
          { name: "file", requirements: "req/all.txt", python_script: "show.py six numpy" },
          { name: "list", requirements: ["six==1.15.0"], python_script: "show.py six numpy" },
          { name: "local", requirements: ["./mine"], python_script: "show.py mine" },
          { name: "none", python_script: "show.py six numpy" },
        ].map((each) => ({ python: hostVersion(), ...each })),
        {
          "show.py": show,
          "req/all.txt": "-r more.txt\nsix==1.16.0\n",
          "req/more.txt": 'numpy; python_version > "3"\n',
          "mine/mine.py": "__version__ = '7'",
          "mine/pyproject.toml": `[project]\nname = "mine"\nversion = "7"\n[tool.setuptools]\npy-modules = ["mine"]\n`,
        },
      ),
    );
    expect(reasonsOf(view)).toEqual({
      file: "succeeded",
      list: "succeeded",
      local: "succeeded",
      none: "succeeded",
    });
    expect((await linesOf(errand, "file")).at(-2)).toBe("six 1.16.0");
    expect((await linesOf(errand, "file")).at(-1)).toMatch(/^numpy \d+\.\d+/);
    expect((await linesOf(errand, "list")).slice(-2)).toEqual(["six 1.15.0", "numpy missing"]);
    expect((await linesOf(errand, "local")).at(-1)).toBe("mine 7");
    expect((await linesOf(errand, "none")).slice(-2)).toEqual(["six missing", "numpy missing"]);
  });

  it("come from the cache that machines share the next time, and no job can spoil it", async () => {
    const errand = await startWithUv();
    const workflow = { name: "spoil", python: hostVersion(), requirements: ["six==1.16.0"] };
    const spoil = `
import six
print("first", six.__version__)
with open(six.__file__, "a") as file:
    file.write("__version__ = 'spoilt'")
`;
    const first = await project([{ ...workflow, python_script: "main.py" }], { "main.py": spoil });
    expect(reasonsOf(await submit(errand, first))).toEqual({ spoil: "succeeded" });
    await errand.stop();

    const again = await startAgain(errand, { UV_OFFLINE: "1", PIP_NO_INDEX: "1" });
    const second = await project([{ ...workflow, python_script: "main.py" }], {
      "main.py": "import six\nprint('second', six.__version__)",
    });
    expect(reasonsOf(await submit(again, second))).toEqual({ spoil: "succeeded" });
    expect(await linesOf(again, "spoil")).toContain("second 1.16.0");
  });

  it("that cannot be resolved or read fail the job with what is wrong with them", async () => {
    const errand = await startWithUv();
    const started = Date.now();
    const view = await submit(
      errand,
      await project(
        [
          { name: "unknown", requirements: ["errand-no-such-package-x"] },
          { name: "version", requirements: ["six==99"] },
          { name: "conflict", requirements: ["six<1.16", "six>=1.16"] },
          { name: "syntax", requirements: "bad.txt" },
          { name: "nowhere", requirements: ["./nowhere"] },
          { name: "missing", requirements: "missing.txt" },
        ].map((each) => ({ python: hostVersion(), python_script: "never.py", ...each })),
        { "never.py": "print('never')", "bad.txt": "six 1.16\n" },
      ),
    );
    const what = "the requirements cannot be installed: ";
    const table: Record<string, RegExp> = {
      unknown: RegExp(`^${what}No solution found .*errand-no-such-package-x was not found`),
      version: RegExp(`^${what}No solution found .*no version of six==99`),
      conflict: RegExp(`^${what}No solution found .*six`),
      syntax: RegExp(`^${what}Couldn't parse requirement in .bad.txt.`),
      nowhere: RegExp(`^${what}Distribution not found at: file:.*/nowhere$`),
      missing: /^missing\.txt is not in the bundle$/,
    };
    const reasons = reasonsOf(view);
    for (const [name, reason] of Object.entries(table)) expect(reasons[name]).toMatch(reason);
    // Not a limit: a run of six jobs on a busy machine. It would be minutes where something hangs.
    expect(Date.now() - started).toBeLessThan(120_000);
  });
});

/** A version that this machine has, so that none has to be fetched. */
function hostVersion(): string {
  const print = "import sys; print('%d.%d' % sys.version_info[:2])";
  return execFileSync("python3", ["-c", print]).toString().trim();
}

/** Another daemon on the data of one that has stopped, with another environment. */
async function startAgain(
  { data }: Errand,
  environment: Readonly<Record<string, string>>,
): Promise<Errand> {
  return startErrand({ environment, data });
}
