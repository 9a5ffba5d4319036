/**
 * Machines in the sandbox that this host lets us have, and with SANDBOXES=all in each that it does: as this user and, where the
 * test may, as an ordinary one.
 */
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join, relative, sep } from "node:path";
import { TerminateInstancesCommand } from "@aws-sdk/client-ec2";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { describeInstance, launch, WAIT, waitForFile, waitForState } from "../support/machine.ts";
import {
  isRoot,
  ORDINARY_USER,
  type SandboxHost,
  startSandboxHost,
  whyNot,
} from "../support/sandbox-host.ts";

const KINDS = ["bwrap", "unshare"] as const;
const reasons = new Map(
  await Promise.all(KINDS.map(async (kind) => [kind, await whyNot(kind)] as const)),
);
const had = KINDS.filter((kind) => reasons.get(kind) === "");
const kinds = process.env.SANDBOXES === "all" || had.length === 0 ? KINDS : had.slice(0, 1);
const USERS = isRoot ? [undefined, ORDINARY_USER] : [undefined];
const cases = kinds.flatMap((sandbox) => USERS.map((user) => ({ sandbox, user })));
const describeUser = (user: number | undefined): string =>
  user === undefined ? (isRoot ? "root" : "this user") : "an ordinary user";

/** A checkout below /tmp is seen there as far as the PATH leads into it. */
const CHECKOUT_IN_TMP = relative("/tmp", import.meta.dirname).split(sep)[0];

let secret: Server;
let allowed: Server;

const serve = async (body: string): Promise<Server> => {
  const server = createServer((_, response) => response.end(body));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
};
const portOf = (server: Server): number => (server.address() as AddressInfo).port;

beforeAll(async () => {
  [secret, allowed] = [await serve("secret"), await serve("allowed")];
});
afterAll(() => {
  for (const server of [secret, allowed]) {
    server.close();
    server.closeAllConnections();
  }
});

for (const { sandbox, user } of cases) {
  const why = reasons.get(sandbox) ?? "";
  const title = `a machine in a sandbox of ${sandbox}, as ${describeUser(user)}`;
  describe.skipIf(why !== "")(why === "" ? title : `${title} (not to be had here: ${why})`, () => {
    let host: SandboxHost;
    beforeAll(async () => {
      host = await startSandboxHost({ sandbox, user, allowLoopback: [portOf(allowed)] });
    });
    afterAll(async () => {
      await host.stop();
      expect(await host.listSurvivors()).toEqual([]);
    });
    const out = (name: string): string => join(host.out, name);
    const start = (name: string, ...lines: string[]) =>
      launch(host.ec2, ["#!/bin/bash", `out='${shell(out(name))}'`, ...lines, ""].join("\n"));
    /** What a Python program prints in a machine that then powers off; `get` answers with status and text. */
    const ask = async (name: string, ...lines: string[]): Promise<unknown> => {
      await start(name, `python3 - >"$out" 2>&1 <<'END'`, PYTHON, ...lines, "END", "poweroff");
      return JSON.parse(await waitForFile(out(name)));
    };

    it("sees the host's system and a disk of its own, and nothing of the user's", async () => {
      const found = await ask(
        "system",
        `names = lambda path: sorted(n for n in os.listdir(path) if not n.startswith((".", "errand")))`,
        `def fails(action):`,
        `    try: action()`,
        `    except OSError: return True`,
        `    return False`,
        `open("/tmp/mine", "w").write("x"); open("/root/mine", "w").write("x"); os.mkdir("/data")`,
        `tell({`,
        `  "user": os.getuid(),`,
        `  "data": os.path.exists(${JSON.stringify(join(host.folder, "reservations"))}),`,
        `  "home": names("/root"), "homes": names("/home"),`,
        `  "tmp": [n for n in names("/tmp") if n != ${JSON.stringify(CHECKOUT_IN_TMP)}],`,
        `  "shadow": os.path.exists("/etc/shadow"),`,
        `  "source": os.path.exists(${JSON.stringify(join(import.meta.dirname, "local-sandbox.test.ts"))}),`,
        `  "usr": fails(lambda: open("/usr/bin/errand-was-here", "w")),`,
        `  "switch": fails(lambda: open("/proc/sys/kernel/hostname", "w").write("x")),`,
        `  "processes": len([n for n in names("/proc") if n.isdigit()]) < 6,`,
        `  "mount": os.system("mount -t tmpfs none /mnt 2>/dev/null || mount -t tmpfs none /opt 2>/dev/null") != 0,`,
        `})`,
      );
      expect(found).toEqual({
        user: 0,
        data: false,
        home: ["mine", "per-boot", "user-data"],
        homes: [],
        tmp: ["mine"],
        shadow: false,
        source: false,
        usr: true,
        switch: true,
        processes: true,
        mount: true,
      });
    });

    it("is entered by what its agent runs: its files, processes, network and powers, and no others", async () => {
      const [id = ""] = await start(
        "entered",
        "echo mine >/root/mine",
        'echo up >"$out"',
        "exec sleep 300",
      );
      await waitForFile(out("entered"));
      const asked = [
        PYTHON,
        `tell({`,
        `  "mine": open("/root/mine").read(),`,
        `  "first": open("/proc/1/cmdline").read() != "" and os.getppid() == 0,`,
        `  "processes": len([n for n in os.listdir("/proc") if n.isdigit()]) < 6,`,
        `  "metadata": get("http://169.254.169.254/latest/meta-data/instance-id")[0],`,
        `  "data": os.path.exists(${JSON.stringify(join(host.folder, "reservations"))}),`,
        `  "user": os.getuid(),`,
        `  "mount": os.system("mount -t tmpfs none /mnt 2>/dev/null || mount -t tmpfs none /opt 2>/dev/null") != 0,`,
        `})`,
      ].join("\n");
      const ran = await host.run(id, "/usr/bin/env", "python3", "-c", asked);
      expect(ran).toMatchObject({ code: 0, stderr: "" });
      expect(JSON.parse(ran.stdout)).toMatchObject({
        mine: "mine\n",
        first: true,
        processes: true,
        metadata: 401,
        data: false,
        user: 0,
        mount: true,
      });
      expect(await host.run(id, "/bin/sh", "-c", "exit 7")).toMatchObject({ code: 7 });
      await host.ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
      await waitForState(host.ec2, id, "terminated");
      expect((await host.run(id, "/bin/true")).code).not.toBe(0);
    });

    it("reads its own metadata at 169.254.169.254, by version 2 alone", async () => {
      const lines = [
        `token = get("http://169.254.169.254/latest/api/token", "PUT", {"x-aws-ec2-metadata-token-ttl-seconds": "60"})[1]`,
        `read = lambda path: get("http://169.254.169.254/latest/" + path, "GET", {"x-aws-ec2-metadata-token": token})`,
        `tell([read("meta-data/instance-id")[1], get("http://169.254.169.254/latest/meta-data/instance-id")[0]])`,
      ];
      const script = (name: string) =>
        start(name, `python3 - >"$out" 2>&1 <<'END'`, PYTHON, ...lines, "END", "sleep 300");
      const ids = (await Promise.all([script("one"), script("two")])).flat();
      const found = await Promise.all(["one", "two"].map((name) => waitForFile(out(name))));
      expect(found.map((text) => JSON.parse(text))).toEqual(ids.map((id) => [id, 401]));
      await host.ec2.send(new TerminateInstancesCommand({ InstanceIds: ids }));
      await Promise.all(ids.map((id) => waitForState(host.ec2, id, "terminated")));
    });

    it("reaches of the host's loopback the cloud's endpoint and what was allowed, by no way more", async () => {
      const closed = `127.0.0.1:${portOf(secret)}`;
      const found = await ask(
        "loopback",
        `tell({`,
        `  "cloud": json.loads(get(${JSON.stringify(`${host.endpoint}/_local/health`)})[1])["status"],`,
        `  "allowed": get("http://127.0.0.1:${portOf(allowed)}/"),`,
        `  "direct": get("http://${closed}/")[0],`,
        `  "proxied": get("http://${closed}/", proxy=True)[0],`,
        `  "mapped": get("http://[::ffff:127.0.0.1]:${portOf(secret)}/", proxy=True)[0],`,
        `  "named": get("http://localhost:${portOf(secret)}/", proxy=True)[0],`,
        `  "zero": get("http://0.0.0.0:${portOf(secret)}/", proxy=True)[0],`,
        `  "tunnel": tunnel("${closed}"),`,
        `  "link-local": tunnel("169.254.169.254:80"),`,
        `})`,
      );
      expect(found).toEqual({
        cloud: "running",
        allowed: [200, "allowed"],
        direct: "ConnectionRefusedError",
        proxied: 403,
        mapped: 403,
        named: 403,
        zero: 403,
        tunnel: 403,
        "link-local": 403,
      });
    });

    it("is powered off by whatever name and path, and leaves no process", async () => {
      const paths = ["/sbin/shutdown", "/usr/sbin/poweroff"].filter((path) => existsSync(path));
      const calls = ["poweroff", "shutdown -P now", ...paths.map((path) => `${path} -P now`)];
      const ids = await Promise.all(
        calls.map((call) => start("off", "setsid sleep 300 &", "trap '' TERM", call, "sleep 300")),
      );
      for (const id of ids.flat()) {
        const instance = await waitForState(host.ec2, id, "terminated");
        expect(instance.StateReason?.Code).toBe("Client.InstanceInitiatedShutdown");
      }
      expect(await host.listSurvivors()).toEqual([]);
    });

    it("ends whole when it is terminated, whatever its processes did to get away", async () => {
      const [id = ""] = await start(
        "away",
        "trap '' TERM",
        `(env -i setsid bash -c 'trap "" TERM; (while :; do sleep 1; done) & disown' &)`,
        `env -i python3 -c 'import os, time, signal`,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "if os.fork(): os._exit(0)",
        "os.setsid()",
        "if os.fork(): os._exit(0)",
        "time.sleep(300)'",
        'echo ready >"$out"',
        "while :; do sleep 1; done",
      );
      await waitForFile(out("away"));
      expect((await host.listSurvivors()).length).toBeGreaterThan(3);
      await host.ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
      await waitForState(host.ec2, id, "terminated");
      expect(await host.listSurvivors()).toEqual([]);
    });

    it("outlives a cloud that is killed, and the next one serves it as before", async () => {
      const [id = ""] = await start(
        "kept",
        'echo begun >"$out"',
        'until [ -e "$out.go" ]; do sleep 0.05; done',
        `python3 - >"$out.after" 2>&1 <<'END'`,
        PYTHON,
        `tell(get("http://169.254.169.254/latest/api/token", "PUT", {"x-aws-ec2-metadata-token-ttl-seconds": "60"})[0])`,
        "END",
        "poweroff",
      );
      await waitForFile(out("kept"));
      await host.kill();
      expect((await host.listSurvivors()).length).toBeGreaterThan(0);
      await host.restart();
      expect((await describeInstance(host.ec2, id))?.State?.Name).toBe("running");
      await writeFile(out("kept.go"), "");
      expect(JSON.parse(await waitForFile(out("kept.after")))).toBe(200);
      await waitForState(host.ec2, id, "terminated");
      expect(await host.listSurvivors()).toEqual([]);
    });

    it("boots again from its disk, without its user-data", async () => {
      const [id = ""] = await start(
        "again",
        'cat >"$ERRAND_LOCAL_PER_BOOT/unit" <<END',
        "#!/bin/sh",
        'echo \\$(cat /root/kept) \\$(ls -d /usr) >"$out.boot"',
        "poweroff",
        "END",
        'chmod +x "$ERRAND_LOCAL_PER_BOOT/unit"',
        "echo kept >/root/kept",
        "setsid sleep 300 &",
        "reboot",
      );
      const instance = await waitForState(host.ec2, id, "terminated");
      expect(instance.StateReason?.Code).toBe("Client.InstanceInitiatedShutdown");
      expect(await waitForFile(out("again.boot"))).toBe("kept /usr");
    });

    it("whose disk was tampered with does not lead the next boot out of it", async () => {
      const [id = ""] = await start(
        "tampered",
        `rm -rf /srv && ln -s '${shell(host.out)}' /srv && mv /etc /etc-gone && ln -s '${shell(host.out)}/etc' /etc`,
        'echo tampered >"$out"',
        "reboot",
      );
      await waitForFile(out("tampered"));
      await vi.waitFor(async () => expect(await host.listSurvivors()).toEqual([]), WAIT);
      await host.ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
      await waitForState(host.ec2, id, "terminated");
      expect(existsSync(out("etc"))).toBe(false);
    });

    it("that loses its power with its relay is gone at once", async () => {
      const [id = ""] = await start("power", 'echo ready >"$out"', "setsid sleep 300");
      await waitForFile(out("power"));
      const [relay = 0] = [...(await host.listSurvivors())].sort((left, right) => left - right);
      process.kill(relay, "SIGKILL");
      await vi.waitFor(async () => expect(await host.listSurvivors()).toEqual([]), WAIT);
      await host.ec2.send(new TerminateInstancesCommand({ InstanceIds: [id] }));
      await waitForState(host.ec2, id, "terminated");
    });
  });
}

const shell = (text: string): string => text.replaceAll("'", "'\\''");

const PYTHON = `
import http.client, json, os, sys, urllib.error, urllib.request
def get(url, method="GET", headers={}, proxy=False):
    way = {"http": os.environ["http_proxy"]} if proxy else {}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(way))
    if proxy: os.environ["no_proxy"] = ""
    try:
        with opener.open(urllib.request.Request(url, method=method, headers=headers), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except urllib.error.URLError as error:
        return type(error.reason).__name__, ""
def tunnel(target):
    proxy = http.client.HTTPConnection(os.environ["https_proxy"].split("//")[1], timeout=10)
    proxy.request("CONNECT", target)
    return proxy.getresponse().status
def tell(value):
    print(json.dumps(value), flush=True)
`;
