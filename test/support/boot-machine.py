# Boots a machine of the local cloud for real, in place of the shell that it would get otherwise: a Debian root (scripts/debian.sh)
# with systemd and cloud-init in systemd-nspawn. Its network is a cable to another one, where nothing is but the metadata service; the
# cloud's endpoint is on its loopback. As root: boot-machine.py LOCAL ROOT WORD… FOLDER, with sandbox.py and relay.py in LOCAL, more words for
# systemd-nspawn, and the machine's folder last; ROOT may be several, the topmost first, with colons between them. Ends when the machine is off. `flags/nspawn` has the id of systemd-nspawn, whose only child is the machine's
# first process.
import http.client
import os
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

LOCAL, ROOT, *WORDS, FOLDER = sys.argv[1:]
sys.path.insert(0, LOCAL)
sys.dont_write_bytecode = True

import relay  # noqa: E402
import sandbox  # noqa: E402

# What systemd-nspawn ends with when its machine wants to boot again.
REBOOT = 133
METADATA = urlsplit(os.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"])


def main():
    flag("started", f"{os.getpid()}\n")
    # Terminated, the cloud tells all of the machine's processes; this one goes when they have gone.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        ours.close()
        make_surroundings(theirs)
    theirs.close()
    relay.answer_metadata = answer_metadata
    for _ in range(2):
        services, _ = sandbox.receive_listeners(ours)
        relay.serve(services or [], {}, ())
    os.waitpid(child, 0)
    flag("power-off", "")


def flag(name, text):
    with open(f"{FOLDER}/flags/{name}", "w") as file:
        file.write(text)


# What is at the other end of the machine's cable.
def make_surroundings(connection):
    sandbox.unshare(sandbox.NEW_NETWORK)
    sandbox.raise_loopback(with_metadata=True)
    serve(connection, "imds", sandbox.METADATA, 80)
    end, machines_end = socket.socketpair()
    here = os.getpid()
    machine = os.fork()
    if machine == 0:
        sandbox.unshare(sandbox.NEW_NETWORK | sandbox.NEW_MOUNTS)
        sandbox.raise_loopback(with_metadata=False)
        ip(f"link add host0 type veth peer name cable netns {here}")
        machines_end.send(b"plugged in")
        machines_end.recv(16)
        ip("address add 172.31.0.2/24 dev host0", "link set host0 up", "route add default via 172.31.0.1")
        serve(connection, METADATA.port, "127.0.0.1", METADATA.port)
        boot()
    end.recv(16)
    ip("address add 172.31.0.1/24 dev cable", "link set cable up")
    end.send(b"up")
    os.waitpid(machine, 0)
    os._exit(0)


def ip(*commands):
    for each in commands:
        subprocess.run(["ip", *each.split()], check=True)


def serve(connection, name, host, port):
    listener = sandbox.listen(host, port)
    sandbox.send_listeners(connection, [(name, listener)], [])
    listener.close()


# In the machine's own namespaces; what is mounted is gone with its processes.
def boot():
    sandbox.mount(None, "/", None, sandbox.RECURSIVE | sandbox.PRIVATE)
    disk = FOLDER + "/disk"
    # Not every file system can lie above another.
    sandbox.mount("tmpfs", disk, "tmpfs", 0, "mode=755")
    for name in ("upper", "work", "root"):
        os.mkdir(f"{disk}/{name}")
    sandbox.mount("overlay", disk + "/root", "overlay", 0, f"lowerdir={ROOT},upperdir={disk}/upper,workdir={disk}/work")
    words = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=passive", "--link-journal=no"]
    # The runner gives the kernel a rule for the job's user.
    words += ["--capability=CAP_NET_ADMIN", "--resolv-conf=off", "--machine=errand-test", f"--directory={disk}/root", *WORDS]
    # In version 1 of control groups, the machine's systemd is not told that a unit's last process has ended.
    has_groups = any(os.path.exists(f"/sys/fs/cgroup/{name}cgroup.procs") for name in ("", "unified/"))
    environment = {"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1" if has_groups else "0"}
    code = REBOOT
    while code == REBOOT:
        nspawn = subprocess.Popen(words, env=environment, preexec_fn=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
        flag("nspawn", f"{nspawn.pid}\n")
        code = nspawn.wait()
    os._exit(0)


# Under the path that is this machine's alone. cloud-init does not take a container for a machine of EC2's and asks without a
# token, as in version 1: it is given one. The runner, which names no user agent, is not.
def answer_metadata(client, *_):
    first, headers, rest = relay.read_head(client)
    if any(each.lower().startswith(b"user-agent:") for each in headers):
        headers.append(b"x-aws-ec2-metadata-token: " + read_token())
    method, _, target = first.partition(b" ")
    first = method + b" " + METADATA.path.encode() + target
    headers = [*relay.without(headers, b"host", b"connection"), f"Host: {METADATA.netloc}".encode(), b"Connection: close"]
    relay.connect_and_relay(client, (METADATA.hostname, METADATA.port), relay.join_head(first, headers, rest))


def read_token():
    connection = http.client.HTTPConnection(METADATA.netloc)
    connection.request("PUT", METADATA.path + "/latest/api/token", headers={"x-aws-ec2-metadata-token-ttl-seconds": "60"})
    return connection.getresponse().read()


main()
