/** The daemon as scripts/install.sh installs it: a systemd service on a booted Debian, against a local cloud of this host. */
import { execFile, execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { readLocalTypes } from "../../src/cli/local-types.ts";
import type { RunView } from "../../src/core/view.ts";
import { BOOT_WAIT, makeDebianRoot } from "../support/booted-host.ts";
import { bootInstalledHost, type InstalledHost } from "../support/installed-host.ts";
import { readTemplate } from "../support/template.ts";
import { startTestCloud, type TestCloud } from "../support/test-cloud.ts";

const root = join(import.meta.dirname, "../..");
const debian = makeDebianRoot();
const suite = "path" in debian ? describe : describe.skip;

let world: TestCloud;
let host: InstalledHost;
let folder: string;
/** For commands that run on this host. */
let environment: Record<string, string>;

beforeAll(async () => {
  if (!("path" in debian)) return;
  folder = await mkdtemp(join(tmpdir(), "errand-install-"));
  world = await startTestCloud({
    instanceTypes: await readLocalTypes(),
    environment: { PATH: process.env.PATH ?? "" },
    throttling: true,
  });
  const { endpoint, region, bucket, accessKeyId, secretAccessKey } = world.cloud;
  environment = {
    PATH: process.env.PATH ?? "",
    HOME: folder,
    AWS_ENDPOINT_URL: endpoint,
    AWS_REGION: region,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    ERRAND_BUCKET: bucket,
  };
  const script = join(root, "scripts/package.sh");
  const packed = execFileSync("bash", [script, folder], { encoding: "utf8" }).trim();
  await mkdir(join(folder, "release"));
  execFileSync("tar", ["-xzf", packed, "-C", join(folder, "release"), "--strip-components=1"]);
  host = await bootInstalledHost(debian.path, join(folder, "release"));
}, 300_000);

afterAll(async () => {
  await host?.stop();
  await world?.dispose();
  if (folder) await rm(folder, { recursive: true, force: true });
}, 60_000);

const INSTALL = "bash /srv/release/scripts/install.sh";

async function errand(...words: string[]): Promise<string> {
  const main = join(root, "dist/src/cli/main.js");
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, [main, ...words], {
    env: environment,
    cwd: folder,
  });
  return stdout;
}

const show = async (run: string): Promise<RunView> =>
  JSON.parse(await errand("show", run, "--json")) as RunView;

const untilActive = (wanted: { restarts: number }) =>
  vi.waitFor(async () => {
    const { ActiveState, NRestarts, StatusText } = await host.service();
    expect({ ActiveState, NRestarts, StatusText }).toEqual({
      ActiveState: "active",
      NRestarts: String(wanted.restarts),
      StatusText: "taking drops",
    });
  }, BOOT_WAIT);

/** All that a host is told: where the bucket is. */
async function configure(): Promise<void> {
  const { region, bucket, queueUrl, instanceProfile, endpoint } = world.cloud;
  const { accessKeyId, secretAccessKey } = world.cloud;
  const where = { region, bucket, queueUrl, instanceProfile };
  const settings = { ...where, allowsHostPython: true, metricsPort: 9467 };
  const credentials = [
    `AWS_ENDPOINT_URL=${endpoint}`,
    `AWS_ACCESS_KEY_ID=${accessKeyId}`,
    `AWS_SECRET_ACCESS_KEY=${secretAccessKey}`,
  ].join("\n");
  await host.run(`
    printf '%s' '${JSON.stringify(settings)}' > /etc/errand/errand.yaml
    printf '%s\n' '${credentials}' > /etc/errand/environment`);
}

/** The id of a run whose one job is under way, and takes a while. */
async function submitWaiting(): Promise<string> {
  const bundle = join(folder, "bundle");
  await mkdir(join(bundle, ".dstack"), { recursive: true });
  const workflow = "{name: wait, provider: python, python_script: wait.py, artifacts: [out]}";
  await writeFile(join(bundle, ".dstack/workflows.yaml"), `workflows:\n  - ${workflow}\n`);
  await writeFile(
    join(bundle, "wait.py"),
    `import pathlib, time
print("waiting", flush=True)
time.sleep(20)
pathlib.Path("out").mkdir()
pathlib.Path("out/done").write_text("yes")
`,
  );
  const { id } = JSON.parse(await errand("submit", bundle, "--detach", "--json")) as { id: string };
  await vi.waitFor(async () => expect(await errand("logs", id)).toContain("waiting"), BOOT_WAIT);
  return id;
}

async function untilDoneOnce(run: string): Promise<void> {
  await vi.waitFor(async () => expect((await show(run)).state).toBe("succeeded"), BOOT_WAIT);
  expect((await show(run)).jobs.map(({ attempts }) => attempts.length)).toEqual([1]);
}

suite("the service", () => {
  test("an installation without configuration is put in place, and says what comes next", async () => {
    const said = await host.run(INSTALL);
    expect(said).toContain("next: fill in /etc/errand/errand.yaml");
    expect(await host.run("stat -c '%U %G %a' /etc/errand/errand.yaml")).toBe("root errand 640\n");
    expect(await host.run("find /opt/errand ! -user root -o -perm /022 ! -type l")).toBe("");
    expect(await host.run("errand --version")).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await host.service()).ActiveState).toBe("inactive");
  });

  test("its unit is whole, and exposes little", async () => {
    const unit = "/etc/systemd/system/errand.service";
    expect(await host.run(`systemd-analyze verify ${unit} 2>&1`)).toBe("");
    const text = await host.run("systemd-analyze security errand.service --no-pager | tail -1");
    expect(Number(/level for errand.service: ([\d.]+)/.exec(text)?.[1])).toBeLessThan(2);
  });

  test("configured, it starts, is ready when drops are taken, and answers for its health", async () => {
    await configure();
    await host.run(`
      mkdir -p /etc/systemd/system/errand.service.d
      # Quick, so that the test need not wait.
      printf '[Service]\\nWatchdogSec=15\\nRestartSec=1\\n' > /etc/systemd/system/errand.service.d/test.conf
      systemctl daemon-reload
      systemctl start errand`);
    await untilActive({ restarts: 0 });
    expect(await (await fetch("http://127.0.0.1:9467/healthz")).text()).toBe("ok\n");
    const metrics = await (await fetch("http://127.0.0.1:9467/metrics")).text();
    expect(metrics).toContain("errand_lease_held 1");
    // The log is journald's.
    expect(await host.run("journalctl -u errand -o cat")).toContain("ready {");
  });

  test("a stop leaves a job running, and the next start takes it up", async () => {
    const id = await submitWaiting();
    await host.run("systemctl stop errand");
    const { ActiveState, Result } = await host.service();
    expect({ ActiveState, Result }).toEqual({ ActiveState: "inactive", Result: "success" });
    expect(await errand("instances")).toContain("running");
    await host.run("systemctl start errand");
    await untilDoneOnce(id);
  });

  test("killed, it is started again", async () => {
    await host.run("systemctl kill --signal=KILL errand");
    await untilActive({ restarts: 1 });
  });

  test("stuck, it is started again by the watchdog", async () => {
    await host.run("kill -STOP $(systemctl show errand -p MainPID --value)");
    await untilActive({ restarts: 2 });
    expect(await host.run("journalctl -u errand -o cat")).toContain("Watchdog timeout");
  });

  test("members of its group find its live logs, others do not", async () => {
    const note = `/run/errand/${world.cloud.bucket}.json`;
    expect(await host.run(`stat -c '%U %G %a' ${note}`)).toBe("errand errand 640\n");
    expect(await host.run("stat -c '%a' /run/errand")).toBe("750\n");
  });

  test("an upgrade and a rollback change the release in one step, and the service with it", async () => {
    const before = await host.run("readlink /opt/errand/current");
    expect(await host.run(INSTALL)).toContain("errand.service is up: taking drops");
    const after = await host.run("readlink /opt/errand/current");
    expect(after).not.toBe(before);
    expect(await host.run(`${INSTALL} --rollback`)).toContain("errand.service is up");
    expect(await host.run("readlink /opt/errand/current")).toBe(before);
    const cmdline = await host.run(
      "tr '\\0' ' ' < /proc/$(systemctl show errand -p MainPID --value)/cmdline",
    );
    expect(cmdline).toContain(before.trim());
  });

  test("three releases are kept, the one in use among them", async () => {
    for (let count = 0; count < 3; count += 1) await host.run(`sleep 1; ${INSTALL} --no-start`);
    const kept = (await host.run("ls /opt/errand/releases")).trim().split("\n");
    expect(kept).toHaveLength(3);
    const current = (await host.run("readlink /opt/errand/current")).trim().split("/").at(-1);
    expect(kept).toContain(current);
  });

  test("a host that is lost is replaced by one that knows the bucket alone", async () => {
    await host.run("systemctl restart errand");
    const run = await submitWaiting();
    await host.run(`systemctl kill --signal=KILL errand; ${INSTALL} --uninstall --purge`);
    await host.run(`${INSTALL} --no-start`);
    await configure();
    await host.run("systemctl start errand");
    await untilDoneOnce(run);
    expect(await errand("instances")).not.toContain("running");
  });

  test("uninstalled, it leaves configuration and state; purged, nothing", async () => {
    await host.run(`${INSTALL} --uninstall`);
    expect(await host.run("ls /etc/errand")).toContain("errand.yaml");
    expect(
      await host.run("ls -d /opt/errand /etc/systemd/system/errand.service 2>&1 || true"),
    ).toBe(
      "ls: cannot access '/opt/errand': No such file or directory\n" +
        "ls: cannot access '/etc/systemd/system/errand.service': No such file or directory\n",
    );
    await host.run(`${INSTALL} --uninstall --purge`);
    expect(await host.run("ls -d /etc/errand /var/lib/errand 2>/dev/null || true")).toBe("");
    expect(await host.run("id errand 2>&1 || true")).toContain("no such user");
  });
});

/** In place of what Amazon Linux has and Debian has not: S3 gives the release out once there is one, and no package is missing. */
const STAND_INS = `
  cat > /usr/local/bin/aws << 'END'
#!/bin/bash
[ -e /srv/released ] && tar -czf "$5" --transform 's,^release,errand-0,' -C /srv release
END
  printf '#!/bin/sh\n' > /usr/local/bin/rpm
  chmod 755 /usr/local/bin/aws /usr/local/bin/rpm
  mkdir -p /etc/systemd/system/errand-install.service.d
  # Quick, so that the test need not wait.
  printf '[Service]\nRestartSec=1\n' > /etc/systemd/system/errand-install.service.d/test.conf`;

suite("the stack's own host", () => {
  const property = async (name: string): Promise<string> =>
    (await host.run(`systemctl show errand-install -p ${name} --value`)).trim();

  test("tries again until its release is there, also if it boots anew meanwhile", async () => {
    const { UserData } =
      readTemplate({ DaemonHostType: "t3.small" }).properties("DaemonHost") ?? {};
    await host.run(STAND_INS);
    await host.run(String(UserData));
    const unit = "/etc/systemd/system/errand-install.service";
    expect(await host.run(`systemd-analyze verify ${unit} 2>&1`)).toBe("");
    await configure();
    await vi.waitFor(
      async () => expect(Number(await property("NRestarts"))).toBeGreaterThan(1),
      BOOT_WAIT,
    );
    const told = await host.run("journalctl -u errand-install -o cat");
    expect(told).toContain("there is no release to be had at s3://Bucket-id/tools/errand/");
    expect(await property("UnitFileState")).toBe("enabled");
  });

  test("installs it once, and lets it be from then on", async () => {
    await host.run("touch /srv/released");
    await untilActive({ restarts: 0 });
    await vi.waitFor(async () => expect(await property("ActiveState")).toBe("inactive"), BOOT_WAIT);
    expect(await property("Result")).toBe("success");
    const releases = await host.run("ls /opt/errand/releases");
    await host.run("systemctl start errand-install");
    expect(await property("ConditionResult")).toBe("no");
    expect(await host.run("ls /opt/errand/releases")).toBe(releases);
  });
});
