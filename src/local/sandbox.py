# A machine of the local cloud in a sandbox, where Linux lets us make one, and under a reaper where not. Its roles:
#   sandbox.py run CONFIG WORD…  from the host: makes the sandbox, stays outside of it and serves its network (relay.py)
#   sandbox.py inside SOCKET     inside, where bubblewrap has made it: the machine's first process
#   sandbox.py reap FILE CALLED NAME WORD…  without a sandbox: the command with all that descends from it, whatever that does to get away
#   sandbox.py enter MARK WORD…  from the host: a command inside a machine that is there, as its agent starts one; MARK is in its environment
#   sandbox.py job PORTS BASE SPEC  inside, for the job of a machine that has one user alone: a second sandbox in the first
# It is Python because Node can neither make namespaces nor receive sockets, and a machine needs Python anyway.
# Python 3.9 and newer, the standard library alone.
import array
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NETWORK = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
# As mountinfo writes them; whoever has no power over a mount must keep them.
KEPT = {"ro": RDONLY, "nosuid": NOSUID, "nodev": NODEV, "noexec": NOEXEC, "noatime": 1 << 10, "nodiratime": 1 << 11, "relatime": 1 << 21}
# What root of a container usually has: chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service,
# sys_chroot, and setfcap, without which root may not be mapped to the user of a job.
CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31)
CAP_LAST = 63
METADATA = "169.254.169.254"
# User and group of the job; between what systems give to people and what they give away dynamically.
JOB_ID = 59999
GRACE_S = 2
SOCKET_DIAGNOSIS = 4
PATH_INSIDE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# That of users first, which gives an ordinary user the power over the others.
NAMESPACES = ("user", "mnt", "pid", "net", "ipc", "uts")
# Whoever loses its parent becomes a child of the nearest process above that has asked for it.
SET_CHILD_SUBREAPER = 36
WAITED_FOR = {signal.SIGCHLD, signal.SIGUSR1}


def main(role, *words):
    if role == "run":
        run(*words)
    elif role == "inside":
        inside(socket.socket(fileno=int(words[0])))
    elif role == "reap":
        run_reaped(*words)
    elif role == "enter":
        enter_machine(*words)
    else:
        run_job(*words)


# ---- from the host ----------------------------------------------------------------------------------


def run(path, *words):
    with open(path) as file:
        config = json.load(file)
    config["inside"]["command"] += words
    if words:
        config["bwrap"] = without_links(config["bwrap"], config["root"])
    # The machine's processes are told to end one by one. This one goes when they have gone.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        ours.close()
        os.closerange(3, 4)
        end_with(parent)
        if config["mode"] == "bwrap":
            os.set_inheritable(theirs.fileno(), True)
            words = [*config["bwrap"], sys.executable, "-I", "-S", config["scripts"] + "/sandbox.py", "inside", str(theirs.fileno())]
            os.execve(words[0], words, config["environment"])
        enter(config, theirs)
    theirs.close()
    if config["mode"] == "bwrap":
        ours.send(json.dumps(config["inside"]).encode())
    services, tables = receive_listeners(ours)
    if services is not None:
        import relay

        relay.serve(services, config["relay"], relay.SocketOwners(tables))
        if not is_told_to_go():
            os._exit(1)
        # Before its first instruction, and where it cannot reach: nobody makes this machine a second time.
        open(os.path.join(os.path.dirname(path), "booted"), "w").close()
        ours.send(b"go")
        if ours.recv(16) == b"up":
            say_up()
    sys.exit(code_of(os.waitpid(child, 0)[1]))


# bubblewrap does not make a link a second time, and the disk has those of the first boot.
def without_links(words, root):
    kept = []
    while words:
        size = 3 if words[0] == "--symlink" else 1
        if size == 1 or not os.path.lexists(root + words[2]):
            kept += words[:size]
        words = words[size:]
    return kept


# Whoever started us is told on descriptor 3 that all is ready, says when the machine may boot, and is told when it stands. If
# that one ends before, so do we, and the namespaces with us.
def is_told_to_go():
    try:
        os.write(3, b"ready\n")
        return os.read(3, 16) != b""
    except OSError:
        return False


def say_up():
    try:
        os.write(3, b"up\n")
        os.close(3)
    except OSError:
        pass


def code_of(status):
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def receive_listeners(connection):
    descriptors = array.array("i")
    text, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_LEN(64 * descriptors.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    if not text:
        return None, ()
    names = json.loads(text)
    sockets = [(name, socket.socket(fileno=each)) for name, each in zip(names, descriptors)]
    return sockets, list(descriptors)[len(names) :]


# In a fork of ours: new namespaces, and in them the machine's first process. Never returns.
def enter(config, connection):
    user, group = os.geteuid(), os.getegid()
    is_root = config["isRoot"]
    unshare(NEW_PIDS | NEW_MOUNTS | NEW_NETWORK | NEW_IPC | NEW_UTS | (0 if is_root else NEW_USER))
    if not is_root:
        map_user(f"0 {user} 1", f"0 {group} 1")
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        # Its parent is out of sight of the new namespace of processes.
        die_with_parent()
        plan = config["inside"]
        set_host_name(plan["name"])
        mount_all(config)
        live(plan, connection)
    os.close(connection.fileno())
    connection.detach()
    os._exit(code_of(os.waitpid(child, 0)[1]))


# ---- inside -------------------------------------------------------------------------------------------


def inside(connection):
    plan = json.loads(connection.recv(1 << 16))
    live(plan, connection)


# The first process of a machine: hands its listening sockets out, starts the boot script, and reaps until nothing is left.
# SIGUSR1 powers the machine off. Never returns.
def live(plan, connection):
    raise_loopback(with_metadata=True)
    listeners = [(each, listen(*address_of(each, plan))) for each in plan["services"]]
    tables = [os.open("/proc/net/" + name, os.O_RDONLY) for name in ("tcp", "tcp6") if os.path.exists("/proc/net/" + name)]
    tables += open_socket_diagnosis()
    send_listeners(connection, listeners, tables)
    for each in (*tables, *(listener.detach() for _, listener in listeners)):
        os.close(each)
    if connection.recv(16) != b"go":
        os._exit(1)
    limit_powers()
    # Blocked, they wait for `reap`; and the first process gets no other signal that it has no handler for.
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    child = os.fork()
    if child == 0:
        connection.close()
        start(plan)
    connection.send(b"up")
    connection.close()
    # Of a probe the exit code counts, of a machine nothing.
    os._exit(reap(child, lambda: kill_all(signal.SIGTERM)))


# Of the machine's own network, and only as it sees users. Not every kernel has it.
def open_socket_diagnosis():
    try:
        return [socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, SOCKET_DIAGNOSIS).detach()]
    except OSError:
        return []


def address_of(service, plan):
    if service == "imds":
        return METADATA, 80
    return "127.0.0.1", plan["proxyPort"] if service == "proxy" else service


def listen(host, port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(256)
    return listener


def send_listeners(connection, listeners, tables):
    descriptors = array.array("i", [listener.fileno() for _, listener in listeners] + list(tables))
    names = json.dumps([name for name, _ in listeners]).encode()
    connection.sendmsg([names], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])


def start(plan):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITED_FOR)
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, signal.SIG_DFL)
    os.setsid()
    os.chdir(plan["folder"])
    os.umask(0o022)
    try:
        os.execve(plan["command"][0], plan["command"], plan["environment"])
    except OSError as cause:
        print(f"local cloud: {plan['command'][0]}: {cause.strerror}", flush=True)
    os._exit(127)


# Until no child is left, whoever it descends from, or until the machine is powered off: `end` tells all to end. Returns how
# the first child ended.
def reap(child, end):
    code = 0
    while signal.sigwait(WAITED_FOR) == signal.SIGCHLD:
        try:
            found, status = os.waitpid(-1, os.WNOHANG)
            while found:
                code = code_of(status) if found == child else code
                found, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
    end()
    wait_for_all(time.monotonic() + GRACE_S)
    return code


# Whether no child is left.
def wait_for_all(until):
    while time.monotonic() < until:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.02)
        except ChildProcessError:
            return True
    return False


# All but this process itself, which is the first.
def kill_all(name):
    try:
        os.kill(-1, name)
    except OSError:
        pass


# ---- into a machine that is there -----------------------------------------------------------------------


# In all of its namespaces, with the powers that its root has. SIGINT and SIGTERM are for the command; it ends with us.
def enter_machine(mark, *words):
    place = f"/proc/{find_inside(mark.encode())}/ns/"
    # All of them first: once inside, this /proc is out of reach.
    spaces = [os.open(place + name, os.O_RDONLY) for name in NAMESPACES if is_other(place, name)]
    for space in spaces:
        call("setns", space, 0)
        os.close(space)
    child = os.fork()
    if child == 0:
        limit_powers()
        die_with_parent()
        os.chdir("/")
        try:
            os.execve(words[0], words, {"PATH": PATH_INSIDE, **{name: os.environ[name] for name in mark.split("=")[:1]}})
        except OSError as cause:
            print(f"{words[0]}: {cause.strerror}", file=sys.stderr, flush=True)
        os._exit(127)
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: os.kill(child, number))
    end_as(os.waitpid(child, 0)[1])


def is_other(place, name):
    return os.stat(place + name).st_ino != os.stat("/proc/self/ns/" + name).st_ino


# A process of that machine that is in its own namespace of processes, and in no further one, such as that of a job.
def find_inside(mark):
    inside = []
    for each in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{each}/environ", "rb") as file:
                if mark not in file.read().split(b"\0"):
                    continue
            inside.append((count_namespaces(each), int(each)))
        except OSError:
            continue
    nested = [found for found in inside if found[0] > count_namespaces("self")]
    if not nested:
        sys.exit("the machine has no process")
    return min(nested)[1]


def count_namespaces(process):
    with open(f"/proc/{process}/status") as file:
        return next(len(line.split()) for line in file if line.startswith("NSpid:"))


# ---- without a sandbox --------------------------------------------------------------------------------------


# The command's processes cannot leave this one: those that lose their parent become its children. Its process id stands in the
# file, and it is told apart by the variable CALLED, which the command has as NAME. SIGUSR1 ends all of them.
def run_reaped(file, called, name, *words):
    call("prctl", SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    # As in `run`.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    if not is_told_to_go():
        os._exit(1)
    with open(file, "w") as output:
        output.write(str(os.getpid()))
    child = os.fork()
    if child == 0:
        os.closerange(3, 4)
        environment = dict(os.environ)
        environment[name] = environment.pop(called)
        start({"folder": os.getcwd(), "command": words, "environment": environment})
    say_up()
    reap(child, lambda: tell_descendants(signal.SIGTERM))
    while not wait_for_all(time.monotonic() + 0.05):
        tell_descendants(signal.SIGKILL)
    os._exit(0)


def tell_descendants(name):
    for each in list_descendants(os.getpid()):
        try:
            os.kill(each, name)
        except OSError:
            pass


def list_descendants(root):
    children = {}
    for each in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{each}/stat") as file:
                # The name in parentheses may hold anything.
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(each))
    found = [root]
    for each in found:
        found += children.get(each, ())
    return found[1:]


# ---- the job of a machine that has one user ---------------------------------------------------------------


# A namespace of users of its own, in which the machine's user is another, unprivileged one: it sees no process of the runner,
# and writes below BASE/job and the folders for temporary files alone. Its network has the machine's services but for the
# metadata. What is to be run stands in a file, for variables such as LD_PRELOAD must not work before we are inside. Ends as
# the command did.
def run_job(ports, base, spec):
    with open(spec) as file:
        command = json.load(file)
    os.remove(spec)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent, user, group = os.getpid(), os.geteuid(), os.getegid()
    child = os.fork()
    if child == 0:
        ours.close()
        end_with(parent)
        unshare(NEW_USER | NEW_PIDS | NEW_MOUNTS | NEW_NETWORK | NEW_IPC)
        map_user(f"{JOB_ID} {user} 1", f"{JOB_ID} {group} 1")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        first = os.fork()
        if first == 0:
            die_with_parent()
            live_as_job(command, json.loads(ports), base, theirs)
        theirs.close()
        os._exit(code_of(os.waitpid(first, 0)[1]))
    theirs.close()
    # For the job to heed or not; we end when it has.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    services, _ = receive_listeners(ours)
    if services is not None:
        import relay

        relay.serve(services, {}, None)
        ours.send(b"go")
    status = ours.recv(16)
    code = code_of(os.waitpid(child, 0)[1])
    if status:
        end_as(int(status))
    os._exit(code)


def live_as_job(command, ports, base, connection):
    words, folder, environment, *more = command
    raise_loopback(with_metadata=False)
    listeners = [(port, listen("127.0.0.1", port)) for port in ports + sum(more, [])]
    send_listeners(connection, listeners, ())
    for _, listener in listeners:
        listener.close()
    if connection.recv(16) != b"go":
        os._exit(1)
    mount_job(base)
    limit_powers()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            os.chdir(folder)
            os.execvpe(words[0], words, environment)
        except OSError as cause:
            print(f"errand: {words[0]} cannot be started: {cause.strerror}", flush=True)
        os._exit(127)
    # Whoever has lost its parent is ours, too; when the command itself has ended, all end.
    found = status = 0
    while found != child:
        found, status = os.waitpid(-1, 0)
    connection.send(str(status).encode())
    os._exit(0)


def end_as(status):
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != signal.SIGKILL:
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
        time.sleep(1)
    os._exit(code_of(status))


# ---- mounts -----------------------------------------------------------------------------------------------


# The machine's disk is the root; what comes from the host is laid over it.
def mount_all(config):
    root = config["root"]
    mount(None, "/", None, RECURSIVE | PRIVATE)
    mount(root, root, None, BIND | RECURSIVE)
    for kind, source, target in config["mounts"]:
        place = root + target
        if kind != "link":
            make_place(root, place, kind in ("proc", "dev") or os.path.isdir(source))
        if kind == "link":
            if not os.path.lexists(place):
                os.symlink(source, place)
        elif kind == "proc":
            mount("proc", place, "proc", NOSUID | NODEV | NOEXEC)
        elif kind == "dev":
            mount_dev(place)
        else:
            mount(source, place, None, BIND | RECURSIVE)
            if kind == "read-only":
                make_read_only(place)
    change_root(root)


def mount_dev(place):
    mount("tmpfs", place, "tmpfs", NOSUID, "mode=755")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        os.close(os.open(f"{place}/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
        mount("/dev/" + name, f"{place}/{name}", None, BIND)
    for name in ("pts", "shm"):
        os.mkdir(f"{place}/{name}")
    mount("devpts", place + "/pts", "devpts", NOSUID | NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    mount("tmpfs", place + "/shm", "tmpfs", NOSUID | NODEV, "mode=1777")
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("core", "/proc/kcore")):
        os.symlink(target, f"{place}/{name}")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{place}/{name}")


# The machine's root once more, read-only but for what is the job's.
def mount_job(base):
    root = "/run/errand/job-root"
    mount(None, "/", None, RECURSIVE | PRIVATE)
    mount("/", root, None, BIND | RECURSIVE)
    make_read_only(root)
    for name in ("/root", "/run/errand/flags"):
        mount("tmpfs", root + name, "tmpfs", NOSUID | NODEV | RDONLY, "mode=755")
    for name in (base + "/job", "/tmp", "/var/tmp", "/var/cache/errand"):
        if os.path.isdir(name):
            mount(name, root + name, None, BIND | RECURSIVE)
    mount("tmpfs", root + "/dev/shm", "tmpfs", NOSUID | NODEV, "mode=1777")
    mount("proc", root + "/proc", "proc", NOSUID | NODEV | NOEXEC)
    change_root(root)


# Of a place on the disk. At a later boot the machine has had its hands on that, and no link of it may lead elsewhere.
def make_place(root, path, is_folder):
    above = os.path.realpath(os.path.dirname(path))
    if os.path.islink(path) or (above + "/").startswith(os.path.realpath(root) + "/") is False:
        raise OSError(f"{path} leads out of the machine's disk")
    if os.path.lexists(path):
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if is_folder:
        os.mkdir(path)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


# With all that is mounted below. Flags that are there already stay: without power over a mount they must.
def make_read_only(path):
    path = os.path.realpath(path)
    with open("/proc/self/mountinfo") as file:
        lines = [line.split(" ") for line in file]
    for fields in lines:
        # Odd characters stand as octal numbers.
        place = fields[4].encode().decode("unicode_escape").encode("latin-1").decode("utf-8", "surrogateescape")
        if place != path and not place.startswith(path.rstrip("/") + "/"):
            continue
        flags = sum(KEPT.get(each, 0) for each in fields[5].split(","))
        try:
            mount(None, place, None, REMOUNT | BIND | flags | RDONLY | NOSUID)
        except OSError:
            # Something else may be mounted above a place below.
            if place == path:
                raise


def change_root(root):
    os.chdir(root)
    call("pivot_root", b".", b".")
    call("umount2", b".", 2)
    os.chdir("/")


# ---- the kernel ---------------------------------------------------------------------------------------------


def libc():
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def call(name, *words):
    import ctypes

    if getattr(libc(), name)(*words) != 0:
        number = ctypes.get_errno()
        shown = ", ".join(os.fsdecode(each) if isinstance(each, bytes) else str(each) for each in words)
        raise OSError(number, f"{name}({shown}): {os.strerror(number)}")


def unshare(flags):
    call("unshare", flags)


def mount(source, target, kind, flags, data=None):
    import ctypes

    words = [os.fsencode(each) if each is not None else None for each in (source, target, kind)]
    call("mount", *words, ctypes.c_ulong(flags), os.fsencode(data) if data else None)


def set_host_name(name):
    call("sethostname", name.encode(), len(name))


def map_user(users, groups):
    for name, text in (("setgroups", "deny"), ("uid_map", users), ("gid_map", groups)):
        with open("/proc/self/" + name, "w") as file:
            file.write(text)


# Without ctypes there is bubblewrap, which sees to it itself.
def end_with(parent):
    try:
        die_with_parent()
    except ImportError:
        return
    if os.getppid() != parent:
        os._exit(1)


def die_with_parent():
    call("prctl", 1, signal.SIGKILL, 0, 0, 0)


# What a machine's root may do; nothing for whoever is not root. New privileges are not to be had by any program.
def limit_powers():
    try:
        import ctypes
    except ImportError:
        return
    for each in range(CAP_LAST + 1):
        if each not in CAPABILITIES:
            # Numbers that this kernel does not know are refused, and nobody has them.
            libc().prctl(24, ctypes.c_ulong(each), 0, 0, 0)
    call("prctl", 38, 1, 0, 0, 0)


# `lo` up, and on it the address of the metadata service.
def raise_loopback(with_metadata):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        flags = struct.unpack("16xh", fcntl.ioctl(control, 0x8913, struct.pack("16s16x", b"lo"))[:18])[0]
        fcntl.ioctl(control, 0x8914, struct.pack("16sh14x", b"lo", flags | 1))
        if with_metadata:
            address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(METADATA))
            mask = struct.pack("HH4s8x", socket.AF_INET, 0, b"\xff" * 4)
            fcntl.ioctl(control, 0x8916, struct.pack("16s16s", b"lo:0", address))
            fcntl.ioctl(control, 0x891C, struct.pack("16s16s", b"lo:0", mask))


if __name__ == "__main__":
    main(*sys.argv[1:])
