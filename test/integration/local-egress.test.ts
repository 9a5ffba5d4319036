/** The way out that machines in sandboxes have: relay.py as it is served to them, with the host's own proxy behind it or nothing. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type IncomingMessage, request, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";

const SOURCES = join(import.meta.dirname, "../../src/local");
const SERVE = `
import json, socket, sys, time
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import relay
listener = socket.create_server(("127.0.0.1", 0))
relay.serve([("proxy", listener)], json.loads(sys.argv[2]), None)
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
`;

/** Prints, of a connection of this user, of one of another where that may be, and of none: the user, and what the tables say of root. */
const OWNERS = `
import json, os, socket, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import relay
diagnosis = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4)
owners = relay.SocketOwners([os.open("/proc/net/tcp", os.O_RDONLY), diagnosis.detach()])
listener = socket.create_server(("127.0.0.1", 0))
def ask(peer, own):
    return [owners.diagnose(peer, own), owners.look_up(peer, own), owners.is_root(peer, own)]
def connect(user):
    done, tell = os.pipe()
    if os.fork() == 0:
        os.close(tell)
        if user != os.getuid(): os.setuid(user)
        # Nothing that would load a module, which the other user may not read.
        client = socket.socket()
        client.connect(listener.getsockname())
        os.read(done, 1)
        os._exit(0)
    server, peer = listener.accept()
    found = ask(peer, server.getsockname())
    os.close(tell)
    return found
users = [os.getuid()] + ([65534] if os.getuid() == 0 else [])
# A socket that listens is not one that is connected.
print(json.dumps([users, [connect(each) for each in users], ask(listener.getsockname(), ("127.0.0.1", 9))]))
`;

type Settings = {
  readonly egress: "any" | "public" | "none";
  readonly proxies?: Readonly<Record<string, string>>;
};

/** Returns the port of the proxy that a machine would have. */
async function serve({ egress, proxies = {} }: Settings): Promise<number> {
  // Nothing listens on port 1: a cloud that is not there has cut no machine off.
  const settings = { egress, proxies, cloudPort: 1, imdsPath: "" };
  const words = ["-I", "-c", SERVE, SOURCES, JSON.stringify(settings)];
  const child: ChildProcess = spawn("python3", words, { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  if (!child.stdout) throw new Error("the relay has no output");
  const [port] = await once(createInterface(child.stdout), "line");
  return Number(port);
}

type Answer = { readonly status: number; readonly text: string };

async function get(port: number, target: string): Promise<Answer> {
  const asked = request({ host: "127.0.0.1", port, path: target }).end();
  const [response] = (await once(asked, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  return { status: response.statusCode ?? 0, text };
}

async function openTunnel(
  port: number,
  path: string,
): Promise<{ readonly status: number; readonly socket: Socket; readonly early: Buffer }> {
  const asked = request({ host: "127.0.0.1", port, method: "CONNECT", path }).end();
  const [response, socket, early] = (await once(asked, "connect")) as [
    IncomingMessage,
    Socket,
    Buffer,
  ];
  onTestFinished(() => void socket.destroy());
  return { status: response.statusCode ?? 0, socket, early };
}

/** A proxy of the host: it tells what it was asked for, and a tunnel through it ends at an echo. */
let upstream: Server;
const asked: { readonly line: string; readonly authorization: string | undefined }[] = [];

beforeAll(async () => {
  const note = ({ method, url, headers }: IncomingMessage): void => {
    asked.push({ line: `${method} ${url}`, authorization: headers["proxy-authorization"] });
  };
  upstream = createServer((incoming, response) => {
    note(incoming);
    response.end("from outside");
  });
  upstream.on("connect", (incoming: IncomingMessage, socket: Socket) => {
    note(incoming);
    // Its first bytes come with the head.
    socket.write("HTTP/1.1 200 Connection established\r\n\r\nhello ");
    socket.pipe(socket);
  });
  await once(upstream.listen(0, "127.0.0.1"), "listening");
});

afterAll(() => {
  upstream.close();
  upstream.closeAllConnections();
});

const hostProxy = (): string =>
  `http://me:p%40ss@127.0.0.1:${(upstream.address() as AddressInfo).port}`;
const AUTHORIZATION = `Basic ${Buffer.from("me:p@ss").toString("base64")}`;

describe("through the host's own proxy", () => {
  it("a request goes as it was sent, with the name and the password that the host has for it", async () => {
    const port = await serve({ egress: "any", proxies: { http: hostProxy() } });
    const answer = await get(port, "http://somewhere.test/file?a=b");
    expect(answer).toEqual({ status: 200, text: "from outside" });
    expect(asked.at(-1)).toEqual({
      line: "GET http://somewhere.test/file?a=b",
      authorization: AUTHORIZATION,
    });
  });

  it("a tunnel carries bytes both ways, also those that came with its opening", async () => {
    const port = await serve({ egress: "any", proxies: { all: hostProxy() } });
    const { status, socket, early } = await openTunnel(port, "somewhere.test:443");
    expect(status).toBe(200);
    let seen = early.toString();
    socket.setEncoding("utf8").on("data", (text: string) => {
      seen += text;
    });
    socket.write("world");
    await expect.poll(() => seen).toBe("hello world");
    expect(asked.at(-1)).toEqual({
      line: "CONNECT somewhere.test:443",
      authorization: AUTHORIZATION,
    });
  });

  it("goes nothing that names the host's loopback, nor what NO_PROXY names", async () => {
    const proxies = { http: hostProxy(), no: "10.1.2.3,internal.test:8080" };
    const port = await serve({ egress: "public", proxies });
    const before = asked.length;
    for (const host of ["localhost", "a.localhost", "127.0.0.1:80", "[::1]", "169.254.169.254"]) {
      expect(await get(port, `http://${host}/`), host).toMatchObject({ status: 403 });
    }
    // Asked for directly, and that is refused for what it is.
    expect((await get(port, "http://10.1.2.3/")).text).toContain("10.1.2.3 is private");
    expect(asked).toHaveLength(before);
    expect(await get(port, "http://internal.test/")).toMatchObject({ status: 200 });
  });
});

describe("without one", () => {
  it("egress none lets nothing out", async () => {
    const port = await serve({ egress: "none", proxies: { http: hostProxy() } });
    const before = asked.length;
    const { status, text } = await get(port, "http://somewhere.test/");
    expect([status, text]).toEqual([403, expect.stringContaining("no way out (egress: none)")]);
    expect((await openTunnel(port, "somewhere.test:443")).status).toBe(403);
    expect(asked).toHaveLength(before);
  });

  it.each(["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "[fd00::1]"])(
    "egress public refuses the private address %s, by request and by tunnel",
    async (host) => {
      const port = await serve({ egress: "public" });
      const { status, text } = await get(port, `http://${host}/`);
      expect([status, text]).toEqual([403, expect.stringContaining("is private")]);
      expect((await openTunnel(port, `${host}:443`)).status).toBe(403);
    },
  );

  const own = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ internal, family }) => !internal && family === "IPv4")?.address;

  it.skipIf(own === undefined)("the host's own addresses are no way to its ports", async () => {
    const server = createServer((_, response) => response.end("secret")).listen(0, "0.0.0.0");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const port = await serve({ egress: "any" });
    const answer = await get(port, `http://${own}:${(server.address() as AddressInfo).port}/`);
    expect(answer.status).toBe(403);
    expect(answer.text).toContain("is the host itself");
  });

  it("what is no request is answered with 400, and the next one is served", async () => {
    const port = await serve({ egress: "none" });
    const socket = connect(port, "127.0.0.1").end("GET\r\n\r\n");
    let seen = "";
    for await (const chunk of socket.setEncoding("utf8")) seen += chunk;
    expect(seen).toMatch(/^HTTP\/1\.1 400 /);
    expect((await get(port, "ftp://somewhere.test/")).status).toBe(400);
    expect((await get(port, "http://somewhere.test/")).status).toBe(403);
  });
});

it.runIf(process.platform === "linux")(
  "who asks for metadata is told alike by the kernel's diagnosis of a socket and by its tables",
  async () => {
    const words = ["-I", "-c", OWNERS, SOURCES];
    const { stdout } = await promisify(execFile)("python3", words);
    const [users, found, none] = JSON.parse(stdout);
    expect(found).toEqual(users.map((user: number) => [user, user === 0, user === 0]));
    expect(none).toEqual([null, false, false]);
  },
);
