/** What a job can reach of the machine that it runs on, in the sandbox that this host lets us have; as root and as an ordinary user. */
import { readFile } from "node:fs/promises";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { makeDirectory } from "../support/directory.ts";
import { startErrand } from "../support/errand.ts";
import { isRoot, ORDINARY_USER, whyNot } from "../support/sandbox-host.ts";

const why = (await whyNot("bwrap")) && (await whyNot("unshare"));
const users = isRoot ? [undefined, ORDINARY_USER] : [undefined];

const PROBE = `
import glob, json, os, subprocess, urllib.error, urllib.request
def reach(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return "unreachable"
def read(path):
    try:
        return bool(open(path, "rb").read())
    except OSError:
        return False
def write(path):
    try:
        open(path, "w").close()
        return True
    except OSError:
        return False
others = [pid for pid in os.listdir("/proc") if pid.isdigit() and b"runner" in (open(f"/proc/{pid}/cmdline", "rb").read())]
os.makedirs("out")
json.dump({
    "root": os.getuid() == 0,
    "metadata": reach("http://169.254.169.254/latest/api/token"),
    "proxied": reach("http://169.254.169.254.nip.invalid/"),
    "memory": any(read(f"/proc/{pid}/environ") for pid in others if int(pid) != os.getpid() and os.stat(f"/proc/{pid}").st_uid != os.getuid()),
    "first": read("/proc/1/environ") and os.stat("/proc/1").st_uid != os.getuid(),
    "flags": write("/run/errand/flags/power-off"),
    "runner": write("/var/lib/errand/runner.py"),
    "log": read("/var/lib/errand/log") and os.getuid() == 0,
    "off": subprocess.run(["shutdown", "-P", "now"], stderr=subprocess.DEVNULL).returncode == 0 and write("/run/errand/flags/x"),
    "own": write("/tmp/mine") and write("mine") and write(os.path.join(os.environ["HOME"], "mine")),
}, open("out/found.json", "w"))
subprocess.Popen(["env", "-i", "setsid", "sleep", "300"])
print("probed")
`;

describe.skipIf(why !== "")(
  `a job${why === "" ? "" : ` (there is no sandbox here: ${why})`}`,
  () => {
    it.each(users)(
      "has no root, no metadata and nothing of the runner, with the cloud of user %s",
      async (user) => {
        const errand = await startErrand(user === undefined ? {} : { user });
        const directory = await makeDirectory({
          ".dstack/workflows.yaml":
            "workflows:\n  - {name: probe, provider: python, python_script: probe.py, artifacts: [out]}\n",
          "probe.py": PROBE,
        });
        const submitted = await errand.run("submit", directory);
        expect(submitted.stdout).toContain("probed");
        expect(submitted.code).toBe(0);
        const into = await makeDirectory();
        await errand.run("artifacts", "latest", "--download", into);
        expect(JSON.parse(await readFile(path.join(into, "probe/out/found.json"), "utf8"))).toEqual(
          {
            root: false,
            metadata: "unreachable",
            proxied: 502,
            memory: false,
            first: false,
            flags: false,
            runner: false,
            log: false,
            off: false,
            own: true,
          },
        );
      },
    );
  },
);
