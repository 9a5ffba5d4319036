# What a sandboxed machine of the local cloud reaches of the world, for sandbox.py. The machine has a network of its own with
# nothing in it. Its listening sockets were made inside and are served from outside, by this code in the host's network: the
# cloud's endpoint, the metadata service, ports of the host's loopback that were allowed, and a proxy for HTTP and HTTPS.
# Python 3.9 and newer, the standard library alone.
import os
import socket
import stat
import struct
import threading
import time

BLOCK_BYTES = 1 << 18
HEAD_BYTES_MAX = 1 << 16
CONNECTIONS_MAX = 512
CONNECT_S = 20
HEAD_S = 60
# How long it may take until the proxy heeds that the network is lost.
NETWORK_S = 0.5


class Refused(Exception):
    # Said to whoever asked, with the HTTP status.
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


# Serves until the process ends. `owners` are those of the machine's sockets; for metadata alone.
def serve(services, settings, owners):
    slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
    threading.stack_size(256 * 1024)
    for service, listener in services:
        words = (service, listener, settings, owners, slots)
        threading.Thread(target=accept_all, args=words, daemon=True).start()


def accept_all(service, listener, settings, owners, slots):
    while True:
        slots.acquire()
        try:
            client, peer = listener.accept()
        except OSError:
            slots.release()
            continue
        words = (service, client, peer, settings, owners, slots)
        try:
            threading.Thread(target=answer, args=words, daemon=True).start()
        except RuntimeError:
            # No thread to be had: this caller is turned away, the next may fare better.
            client.close()
            slots.release()


def answer(service, client, peer, settings, owners, slots):
    try:
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if service == "imds":
                answer_metadata(client, peer, settings, owners)
            elif service == "proxy":
                answer_proxy(client, settings)
            else:
                connect_and_relay(client, ("127.0.0.1", service), b"")
    except (OSError, Refused):
        # Either side has hung up, or was hung up on.
        pass
    finally:
        slots.release()


def connect_and_relay(client, address, head):
    with socket.create_connection(address, timeout=CONNECT_S) as server:
        relay(client, server, head)


# Both directions, until both have ended. `head` goes to the server first.
def relay(client, server, head=b""):
    for each in (client, server):
        each.settimeout(None)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server.sendall(head)
    back = threading.Thread(target=pump, args=(server, client), daemon=True)
    back.start()
    pump(client, server)
    back.join()


def pump(source, sink):
    block = memoryview(bytearray(BLOCK_BYTES))
    try:
        while True:
            size = source.recv_into(block)
            if not size:
                break
            sink.sendall(block[:size])
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


# Returns (first line, header lines, what came after the head).
def read_head(client):
    client.settimeout(HEAD_S)
    got = b""
    while b"\r\n\r\n" not in got:
        block = client.recv(8192)
        if not block or len(got) > HEAD_BYTES_MAX:
            raise Refused(400, "no HTTP request")
        got += block
    head, _, rest = got.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    return first, headers, rest


def join_head(first, headers, rest):
    return b"\r\n".join([first, *headers]) + b"\r\n\r\n" + rest


def without(headers, *names):
    return [each for each in headers if each.split(b":")[0].strip().lower() not in names]


# ---- the metadata service ---------------------------------------------------------------------------


# To the cloud, under the path that is this machine's alone. One request a connection, since each must get that path.
def answer_metadata(client, peer, settings, owners):
    if not owners.is_root(peer, client.getsockname()):
        raise Refused(403, "not for the job")
    first, headers, rest = read_head(client)
    method, _, target = first.partition(b" ")
    first = method + b" " + settings["imdsPath"].encode() + target
    port = settings["cloudPort"]
    headers = [*without(headers, b"host", b"connection"), b"Host: 127.0.0.1:%d" % port, b"Connection: close"]
    connect_and_relay(client, ("127.0.0.1", port), join_head(first, headers, rest))


# Who holds the sockets of the machine: by /proc/net/tcp and tcp6, and a socket of the kernel's diagnosis where there is one, all
# opened in the machine. The tables take milliseconds to read, the diagnosis of one socket does not.
class SocketOwners:
    def __init__(self, descriptors):
        is_socket = {each: stat.S_ISSOCK(os.fstat(each).st_mode) for each in descriptors}
        self.tables = [os.fdopen(each, "rb", buffering=0) for each in descriptors if not is_socket[each]]
        self.diagnoses = [socket.socket(fileno=each) for each in descriptors if is_socket[each]]
        self.lock = threading.Lock()

    # Whether root of the machine holds the other end of a connection; the job has another user. What is not found is not root's.
    def is_root(self, peer, own):
        with self.lock:
            user = self.diagnose(peer, own)
            return self.look_up(peer, own) if user is None else user == 0

    # None where the kernel does not tell, or tells of another socket.
    def diagnose(self, peer, own):
        # struct inet_diag_sockid: ports, addresses, interface, no cookie.
        names = struct.pack("!HH", peer[1], own[1]) + pack_address(peer) + pack_address(own)
        asked = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, ALL_STATES) + names + struct.pack("=III", 0, NO_COOKIE, NO_COOKIE)
        try:
            for diagnosis in self.diagnoses:
                diagnosis.settimeout(DIAGNOSIS_S)
                diagnosis.sendto(struct.pack("=IHHII", 16 + len(asked), DIAGNOSE, REQUEST, 0, 0) + asked, (0, 0))
                told = diagnosis.recv(4096)
                # A header, struct inet_diag_msg with the names after four bytes, and the user after three numbers.
                if len(told) >= 88 and told[4:6] == struct.pack("=H", DIAGNOSE) and told[20 : 20 + len(names)] == names:
                    return struct.unpack("=I", told[80:84])[0]
        except OSError:
            # What has not answered once might answer the next one late.
            self.diagnoses = []
        return None

    def look_up(self, peer, own):
        wanted = [kernel_address(peer), kernel_address(own)]
        for table in self.tables:
            table.seek(0)
            for line in table.read().decode().splitlines()[1:]:
                fields = line.split()
                if [strip_mapped(each) for each in fields[1:3]] == wanted:
                    return fields[7] == "0"
        return False


ALL_STATES = 0xFFFFFFFF
NO_COOKIE = 0xFFFFFFFF
DIAGNOSE, REQUEST = 20, 1
DIAGNOSIS_S = 1


def pack_address(address):
    return socket.inet_aton(address[0]) + bytes(12)


# As /proc/net/tcp writes it: the address as the machine's own integer, then the port.
def kernel_address(address):
    host, port = address[:2]
    number = int.from_bytes(socket.inet_aton(host), NATIVE)
    return "%08X:%04X" % (number, port)


# An IPv4 address in the table of IPv6.
def strip_mapped(address):
    host, _, port = address.partition(":")
    return (host[24:] if len(host) == 32 and host[:16] == "0" * 16 else host) + ":" + port


def native_order():
    import sys

    return sys.byteorder


NATIVE = native_order()


# ---- the proxy ----------------------------------------------------------------------------------------


def answer_proxy(client, settings):
    if network.is_cut_off(settings):
        return
    try:
        first, headers, rest = read_head(client)
        method, target, version = (first.split(b" ") + [b"", b""])[:3]
        if method == b"CONNECT":
            host, port = split_host(target.decode("latin-1"), 443)
            server = reach(host, port, "https", settings)
            head = rest
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            server, head = forward(method, target, version, headers, rest, settings)
    except Refused as cause:
        refuse(client, cause.status, str(cause))
        return
    except OSError as cause:
        refuse(client, 502, str(cause))
        return
    over = threading.Event()
    threading.Thread(target=break_off, args=(client, server, over, settings), daemon=True).start()
    try:
        with server:
            relay(client, server, head)
    finally:
        over.set()


# What is under way when the network is lost ends with it.
def break_off(client, server, over, settings):
    while not over.wait(NETWORK_S):
        if network.is_cut_off(settings):
            for each in (client, server):
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            return


class Network:
    # What the cloud says of this machine's network, asked once in a while. A cloud that is not there has cut nobody off.
    def __init__(self):
        self.lock = threading.Lock()
        self.asked_at = -NETWORK_S
        self.answer = False

    def is_cut_off(self, settings):
        with self.lock:
            if time.monotonic() - self.asked_at >= NETWORK_S:
                self.answer = self.ask(settings)
                self.asked_at = time.monotonic()
            return self.answer

    def ask(self, settings):
        port = settings["cloudPort"]
        request = f"GET {settings['imdsPath']}/local/network HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as cloud:
                cloud.sendall(request.encode())
                first, _, rest = read_head(cloud)
                return first.split(b" ")[1:2] == [b"200"] and (rest or cloud.recv(16)) == b"off"
        except (OSError, Refused):
            return False


network = Network()


def refuse(client, status, text):
    body = f"errand local cloud: {text}\n".encode()
    reason = {400: b"Bad Request", 403: b"Forbidden"}.get(status, b"Bad Gateway")
    head = b"HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    client.sendall(head % (status, reason, len(body)) + body)


# A plain request, in the form that the next hop wants. One a connection, for the next may name another host.
def forward(method, target, version, headers, rest, settings):
    from urllib.parse import urlsplit

    url = urlsplit(target.decode("latin-1"))
    if url.scheme != "http" or not url.hostname:
        raise Refused(400, "the proxy takes http:// addresses and CONNECT")
    headers = [*without(headers, b"connection", b"proxy-connection", b"proxy-authorization"), b"Connection: close"]
    port = url.port or 80
    upstream = choose_upstream(url.hostname, port, "http", settings)
    if upstream:
        server = socket.create_connection((upstream.hostname, upstream.port or 80), timeout=CONNECT_S)
        return server, join_head(method + b" " + target + b" " + version, headers + credentials(upstream), rest)
    path = target.decode("latin-1").split("://", 1)[1]
    path = path[path.find("/") :] if "/" in path else "/"
    return dial(url.hostname, port, settings), join_head(method + b" " + path.encode("latin-1") + b" " + version, headers, rest)


def split_host(target, port):
    host, colon, last = target.rpartition(":")
    if not colon or not last.isdigit():
        return target.strip("[]"), port
    return host.strip("[]"), int(last)


# A connection to a host, through the host's own proxy where it has one.
def reach(host, port, scheme, settings):
    upstream = choose_upstream(host, port, scheme, settings)
    if not upstream:
        return dial(host, port, settings)
    server = socket.create_connection((upstream.hostname, upstream.port or 80), timeout=CONNECT_S)
    name = f"[{host}]" if ":" in host else host
    first = f"CONNECT {name}:{port} HTTP/1.1".encode()
    server.sendall(join_head(first, [f"Host: {name}:{port}".encode(), *credentials(upstream)], b""))
    status, _, rest = read_head(server)
    if status.split(b" ")[1:2] != [b"200"]:
        server.close()
        raise Refused(502, f"the host's proxy says {status.decode('latin-1')}")
    return Early(server, rest) if rest else server


class Early:
    # A connection of which the first bytes were read already.
    def __init__(self, connection, early):
        self.connection = connection
        self.early = early

    def recv_into(self, block):
        if self.early:
            size = min(len(block), len(self.early))
            block[:size], self.early = self.early[:size], self.early[size:]
            return size
        return self.connection.recv_into(block)

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()


def credentials(upstream):
    from base64 import b64encode
    from urllib.parse import unquote

    if upstream.username is None:
        return []
    pair = unquote(upstream.username) + ":" + unquote(upstream.password or "")
    return [b"Proxy-Authorization: Basic " + b64encode(pair.encode())]


# The host's own proxy for a destination. What must not be reached is refused here, too, as far as its name tells.
def choose_upstream(host, port, scheme, settings):
    from urllib.parse import urlsplit

    if settings["egress"] == "none":
        raise Refused(403, "machines have no way out (egress: none)")
    found = settings["proxies"].get(scheme) or settings["proxies"].get("all") or ""
    upstream = urlsplit(found if "://" in found else "http://" + found) if found else None
    if upstream is None or upstream.scheme != "http" or skips_proxy(host, port, settings["proxies"].get("no", "")):
        return None
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        raise Refused(403, f"{host} is the host's loopback")
    try:
        check_address(host, settings["egress"])
    except ValueError:
        # A name, which the proxy resolves.
        pass
    return upstream


# NO_PROXY: names and their subdomains, addresses, `*`; a port may follow.
def skips_proxy(host, port, rules):
    for rule in rules.lower().split(","):
        name, _, wanted = rule.strip().partition(":")
        if wanted and wanted != str(port):
            continue
        name = name.lstrip("*").lstrip(".") if name != "*" else name
        if name and (name in ("*", host.lower()) or host.lower().endswith("." + name)):
            return True
    return False


# Connects to the very address that was checked: a second look-up might answer otherwise.
def dial(host, port, settings):
    error = None
    for family, kind, number, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        check_address(address[0], settings["egress"])
        server = socket.socket(family, kind, number)
        server.settimeout(CONNECT_S)
        try:
            server.connect(address)
            if server.getsockname()[0] == server.getpeername()[0]:
                raise Refused(403, f"{host} is the host itself")
            return server
        except OSError as cause:
            error = cause
            server.close()
        except Refused:
            server.close()
            raise
    raise error or OSError(f"{host} has no address")


# Throws ValueError for what is no address.
def check_address(text, egress):
    import ipaddress

    address = ipaddress.ip_address(text.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified:
        raise Refused(403, f"{address} is the host's loopback: allow its port by --allow-loopback")
    if address.is_link_local or address.is_multicast:
        raise Refused(403, f"machines do not reach {address}")
    if egress == "public" and not address.is_global:
        raise Refused(403, f"{address} is private, and machines reach public addresses alone (egress: public)")
