"""`aviary dev`: an ensemble with one command. What it prints is true, clients are served while servers are killed and restarted, and
nothing is left running behind it, however it ends.
"""
import contextlib
import logging
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import wire
from harness import BINARY, PYTHON_PACKAGES, Check, equal, expect, free_port, wait_until

sys.path.insert(0, PYTHON_PACKAGES)
logging.getLogger("kazoo").setLevel(logging.CRITICAL)


class Dev:
    """One `aviary dev` and what it printed so far. In a terminal of its own, commands can be typed."""

    def __init__(self, check, *arguments, terminal=False):
        self.check, self.text, self.lock = check, "", threading.Lock()
        self.scratch = os.path.join(check.work, "tmp")
        os.makedirs(self.scratch, exist_ok=True)
        if terminal:
            ours, theirs = pty.openpty()
            own = dict(stdin=theirs, stdout=theirs, stderr=theirs)
        else:
            ours, theirs = os.pipe()
            own = dict(stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
        # Its terminal is its own, as in a window; a new session takes the first terminal that it opens or is given.
        self.process = subprocess.Popen([sys.executable, "-c", TAKE_TERMINAL, BINARY, "dev", *arguments]
                                        if terminal else [BINARY, "dev", *arguments],
                                        env=dict(os.environ, TMPDIR=self.scratch), start_new_session=True, **own)
        os.close(theirs)
        self.ours = ours
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()
        self.started = time.monotonic()
        STARTED.append(self)

    def follow(self):
        with contextlib.suppress(OSError):                         # a terminal ends with an error
            while True:
                told = os.read(self.ours, 65536)
                if not told:
                    return
                with self.lock:
                    self.text += told.decode(errors="replace").replace("\r\n", "\n")

    def formed(self):
        """Waits for the table."""
        self.expect("connect to", 30)
        self.expect(r"(Ctrl-C|k N kill).*\n", 5)
        return self

    def expect(self, pattern, seconds=15, start=0):
        """Waits for a pattern in what is printed from `start` on; returns its match."""
        def found():
            if self.process.poll() is not None:
                self.thread.join(2)
            return re.search(pattern, self.text[start:])
        try:
            return wait_until(pattern, lambda: found() or self.process.poll() is not None and found(), seconds)
        except AssertionError as error:
            raise AssertionError("%s; it printed:\n%s" % (error, self.text))

    def type(self, line):
        """Types a command; returns where what is printed from now on begins."""
        start = len(self.text)
        os.write(self.ours, (line + "\n").encode())
        return start

    @property
    def rows(self):
        """The newest table: {server: {column: value}}."""
        table = self.text[self.text.rindex("  server  role"):].split("\n\n", 1)[0].splitlines()
        names = table[0].split()
        return {int(row.split()[0]): dict(zip(names, row.split())) for row in table[1:]}

    @property
    def leader(self):
        return next(number for number, row in self.rows.items() if row["role"] == "leader")

    def pids(self):
        """The servers that run now, by the system's word."""
        return children(self.process.pid)

    def connect_string(self):
        return re.search(r"connect to +(\S+)", self.text).group(1)

    def client(self):
        from kazoo.client import KazooClient
        client = KazooClient(self.connect_string(), timeout=8, connection_retry=dict(max_tries=-1, delay=0.02, max_delay=0.2),
                             command_retry=dict(max_tries=-1, delay=0.02, max_delay=0.2))
        client.start(20)
        return client

    def end(self, number=signal.SIGTERM, seconds=20):
        """Ends it with a signal; returns its exit code."""
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        self.thread.join(5)
        return code


STARTED = []
# Makes the given terminal the one that this process is controlled by, in the foreground.
TAKE_TERMINAL = "import fcntl,os,sys,termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


def process_of(pid):
    """State and parent of a process, or None when it is not there or waits for its parent alone."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            state, parent = file.read().rpartition(")")[2].split()[:2]
    except (OSError, ValueError):
        return None
    return None if state == "Z" else (state, int(parent))


def children(parent):
    """Processes whose parent is `parent`."""
    found = ((int(name), process_of(int(name))) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid, process in found if process and process[1] == parent]


def stands_still(pid):
    """Each of its threads is stopped."""
    threads = ["/proc/%d/task/%s/stat" % (pid, thread) for thread in os.listdir("/proc/%d/task" % pid)]
    return all(open(path).read().rpartition(")")[2].split()[0] == "T" for path in threads)


def is_alive(pid):
    return process_of(pid) is not None


def all_gone(pids, seconds=15):
    wait_until("all servers to end", lambda: not any(map(is_alive, pids)), seconds)


def mode(port):
    told = re.search(r"^Mode: (\S+)", wire.four_letter_word(port, "srvr", 2), re.M)
    return told.group(1) if told else None


def put(client, path, data):
    """Writes until it is done: what is under way when its server is killed has no answer."""
    client.retry(client.ensure_path, path)
    client.retry(client.set, path, data)


def table(check):
    "the table of three servers is true: ports, process ids, directories, logs, who leads"
    dev = Dev(check, "--servers", "3").formed()
    rows = dev.rows
    equal([1, 2, 3], sorted(rows))
    equal(sorted(dev.pids()), sorted(int(row["pid"]) for row in rows.values()), "process ids")
    equal(["follower", "follower", "leader"], sorted(row["role"] for row in rows.values()))
    for number, row in rows.items():
        equal(row["role"], mode(int(row["client"])), "server %d" % number)
        for column in ("quorum", "election"):
            if column == "election" or row["role"] == "leader":          # only a leader listens on its quorum port
                socket.create_connection(("127.0.0.1", int(row[column])), 5).close()
        equal("%d" % number, open(os.path.join(row["directory"], "myid")).read().strip())
        expect(os.path.isdir(os.path.join(row["directory"], "version-2")), "no data in its directory")
        expect("serving clients" in open(row["log"]).read(), "nothing in its log")
    equal(",".join("127.0.0.1:" + rows[n]["client"] for n in sorted(rows)), dev.connect_string())
    dev.expect(r"leads +server %d, epoch 1" % dev.leader)
    directory = os.path.dirname(rows[1]["log"])
    expect(directory.startswith(dev.scratch), "its directory is no temporary one: " + directory)
    equal(0, dev.end(), "exit code")
    all_gone([int(row["pid"]) for row in rows.values()], 1)
    expect(not os.path.exists(directory), "the temporary directory stays")


def writes_go_on(check):
    "writes go on when the leader's process is killed, and it says who leads then"
    dev = Dev(check).formed()
    client, leader = dev.client(), dev.leader
    client.create("/before", b"killed")
    start = len(dev.text)
    os.kill(int(dev.rows[leader]["pid"]), signal.SIGKILL)
    put(client, "/after", b"killed")
    dev.expect(r"server %d \(pid %s\) was killed by signal 9; to start it again: " % (leader, dev.rows[leader]["pid"]), start=start)
    told = dev.expect(r"server (\d) leads now, epoch 2", start=start)
    expect(int(told.group(1)) != leader, "the one that was killed is said to lead")
    equal("leader", mode(int(dev.rows[int(told.group(1))]["client"])))
    # As it says: started by hand, it is one of them again.
    command = re.search(r"to start it again: (\S+) serve (\S+)", dev.text).groups()
    again = subprocess.Popen([command[0], "serve", command[1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        dev.expect(r"server %d follows server %s\n" % (leader, told.group(1)), start=start)
        port = int(dev.rows[leader]["client"])
        connection = wire.Connection(port)
        connection.call(wire.SYNC, wire.string("/"))
        equal(b"killed", connection.get("/after")[0])
        connection.close()
    finally:
        again.kill()
        again.wait(10)
    client.stop()
    client.close()
    equal(0, dev.end(signal.SIGINT), "exit code")


def commands(check):
    "in a terminal: kill, restart, pause, continue, status, quit"
    dev = Dev(check, "--servers", "3", terminal=True).formed()
    client, leader = dev.client(), dev.leader
    client.create("/kept", b"1")
    start = dev.type("k %d" % leader)
    dev.expect(r"server %d is killed; r %d starts it again" % (leader, leader), start=start)
    second = int(dev.expect(r"server (\d) leads now, epoch 2", start=start).group(1))
    put(client, "/kept", b"2")

    start = dev.type("r %d" % leader)
    dev.expect(r"server %d is started, pid \d+" % leader, start=start)
    dev.expect(r"server %d follows server %d\n" % (leader, second), start=start)
    connection = wire.Connection(int(dev.rows[leader]["client"]))
    connection.call(wire.SYNC, wire.string("/"))
    equal(b"2", connection.get("/kept")[0])
    connection.close()

    start = dev.type("r %d" % leader)                              # one that runs
    dev.expect(r"server %d is started, pid \d+" % leader, start=start)
    dev.expect(r"server %d follows server %d\n" % (leader, second), start=start)

    start = dev.type("p %d" % second)
    dev.expect(r"server %d is paused" % second, start=start)
    third = int(dev.expect(r"server (\d) leads now, epoch 3", start=start).group(1))
    put(client, "/kept", b"3")
    start = dev.type("c %d" % second)
    dev.expect(r"server %d follows server %d\n" % (second, third), start=start)

    others = [n for n in (1, 2, 3) if n != third]
    for number in others:
        start = dev.type("k %d" % number)
        dev.expect(r"server %d is killed" % number, start=start)
    dev.expect(r"nobody serves: 1 of 3 servers run, and 2 are needed", start=start)
    start = dev.type("r %d" % others[0])
    dev.expect(r"server \d leads now, epoch 4", start=start)
    put(client, "/kept", b"4")

    start = dev.type("s")
    dev.expect(r"connect to", start=start)
    equal(["ended", "follower", "leader"], sorted(row["role"] for row in dev.rows.values()))
    for typed, told in (("k", "k wants the number of a server, 1 to 3"), ("k 4", "k wants the number"), ("x 1", "'x' is no command"),
                        ("k %d" % others[1], "server %d does not run" % others[1]), ("h", "k N kill -9")):
        dev.expect(re.escape(told), start=dev.type(typed))
    pids = dev.pids()
    client.stop()
    client.close()
    dev.type("q")
    equal(0, dev.process.wait(20), "exit code")
    all_gone(pids, 1)


def terminal_goes(check):
    "Ctrl-C and the end of its terminal stop everything"
    dev = Dev(check, "--servers", "2", terminal=True).formed()
    pids = dev.pids()
    equal(2, len(pids))
    os.write(dev.ours, b"\x03")
    equal(0, dev.process.wait(20), "exit code")
    all_gone(pids, 1)
    dev = Dev(check, "--servers", "2", terminal=True).formed()
    pids = dev.pids()
    dev.type("p 2")
    dev.expect("server 2 is paused")
    os.write(dev.ours, b"\x04")                                     # Ctrl-D, with a server that is paused
    equal(0, dev.process.wait(20), "exit code")
    all_gone(pids, 1)


def killed_parent(check):
    "killed itself, it leaves no server behind, not even a paused one, and its directory can be used again at once"
    directory = os.path.join(check.work, "killed")
    dev = Dev(check, "--dir", directory, terminal=True).formed()
    pids, rows = dev.pids(), dev.rows
    equal(3, len(pids))
    client = dev.client()
    client.create("/kept", b"through the kill")
    client.stop()
    client.close()
    dev.type("p %d" % dev.leader)
    dev.expect("is paused")
    dev.process.kill()
    dev.process.wait(10)
    second = Dev(check, "--dir", directory).formed()
    all_gone(pids, 1)
    equal({n: rows[n]["client"] for n in rows}, {n: row["client"] for n, row in second.rows.items()}, "ports")
    client = second.client()
    equal(b"through the kill", client.get("/kept")[0])
    client.stop()
    client.close()
    refused = Dev(check, "--dir", directory)
    equal(1, refused.process.wait(10), "exit code of a second one on the same directory")
    refused.expect(r"in use by another `aviary dev` \(pid %d\)" % second.process.pid)
    equal(0, second.end(), "exit code")


def continues(check):
    "a second start goes on with the data and the ports, for as many servers as there were"
    directory = os.path.join(check.work, "kept", "below")
    dev = Dev(check, "--servers", "2", "--dir", directory).formed()
    rows = dev.rows
    client = dev.client()
    client.create("/kept", b"1")
    client.stop()
    client.close()
    equal(0, dev.end(), "exit code")
    other = Dev(check, "--servers", "3", "--dir", directory)
    equal(1, other.process.wait(10), "exit code")
    other.expect("holds an ensemble of 2 servers, not of 3: --servers 2 goes on with it")
    port = free_port()
    dev = Dev(check, "--dir", directory, "--port", str(port)).formed()
    equal([str(port), str(port + 1)], [dev.rows[n]["client"] for n in (1, 2)])
    equal([rows[n]["election"] for n in (1, 2)], [dev.rows[n]["election"] for n in (1, 2)])
    client = dev.client()
    equal(b"1", client.get("/kept")[0])
    client.stop()
    client.close()
    equal(0, dev.end(), "exit code")
    expect(os.path.isdir(os.path.join(directory, "1", "version-2")), "the data is gone")


def reconfigured(check):
    "with reconfigEnabled a second start goes on as well, with the ports that a reconfiguration gave"
    directory, wanted = os.path.join(check.work, "reconfigured"), ("--set", "reconfigEnabled=true", "--set", "skipACL=yes")
    dev = Dev(check, "--dir", directory, *wanted).formed()
    rows = dev.rows
    client = dev.client()
    client.create("/kept", b"1")
    wait_until("the members to move out of the files", lambda: all(
        "dynamicConfigFile" in open(os.path.join(directory, "%d.cfg" % n)).read() for n in rows))
    equal(0, dev.end(), "exit code")
    dev = Dev(check, "--dir", directory, *wanted).formed()
    for column in ("client", "quorum", "election"):
        equal({n: rows[n][column] for n in rows}, {n: row[column] for n, row in dev.rows.items()}, column)
    equal(b"1", client.get("/kept")[0])
    # One moves to other ports and one goes; both are there again the next time.
    moved, gone = [n for n in rows if n != dev.leader]
    ports = [free_port() for _ in range(3)]
    client.reconfig(joining="server.%d=127.0.0.1:%d:%d;127.0.0.1:%d" % (moved, *ports), leaving=str(gone), new_members=None)
    wait_until("the change in the files", lambda: "127.0.0.1:%d" % ports[2] in "".join(
        open(os.path.join(directory, name)).read() for name in os.listdir(directory) if ".dynamic." in name))
    client.stop()
    client.close()
    equal(0, dev.end(), "exit code")
    dev = Dev(check, "--dir", directory, *wanted)
    dev.expect("connect to", 30)
    row = dev.rows[moved]
    equal([str(port) for port in ports], [row["quorum"], row["election"], row["client"]])
    equal(rows[gone]["election"], dev.rows[gone]["election"])
    wait_until("it to serve", lambda: mode(ports[2]) in ("leader", "follower"))
    equal(0, dev.end(), "exit code")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)   # connections of before linger there
        taken.bind(("127.0.0.1", ports[1]))
        taken.listen()
        dev = Dev(check, "--dir", directory, *wanted)
        equal(1, dev.process.wait(10), "exit code")
        dev.expect("port %d, of server %d, is taken, and with reconfigEnabled=true" % (ports[1], moved))
    dev = Dev(check, "--dir", directory, "--port", str(free_port(3)), *wanted)
    equal(1, dev.process.wait(10), "exit code")
    dev.expect("a reconfiguration gave server %d the port %d for clients" % (moved, ports[2]))


def alone(check):
    "one server stands alone"
    dev = Dev(check, "--servers", "1", "--set", "tickTime=300").formed()
    row = dev.rows[1]
    equal("standalone", row["role"])
    expect("quorum" not in row, "it has a quorum port")
    expect("tickTime=300" in open(os.path.dirname(row["log"]) + "/1.cfg").read(), "--set is not in its file")
    connection = wire.Connection(int(row["client"]))
    connection.create("/alone", b"")
    connection.close()
    start = len(dev.text)
    os.kill(int(row["pid"]), signal.SIGKILL)
    dev.expect("was killed by signal 9", start=start)
    equal(0, dev.end(), "exit code")


def errors(check):
    "what is wrong is said, with what to do"
    foreign = os.path.join(check.work, "foreign")
    os.makedirs(foreign)
    with open(os.path.join(foreign, "1.cfg"), "w") as out:
        out.write("tickTime=2000\n")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port(2) + 1))            # the one in front of it stays free
        taken.listen()
        os.makedirs(os.path.join(check.work, "tmp"), exist_ok=True)
        before = os.listdir(os.path.join(check.work, "tmp"))
        port = taken.getsockname()[1]
        for arguments, code, told in (
                (["--port", str(port - 1)], 1, "port %d, for server 2, is taken" % port),
                (["--servers", "0"], 64, "--servers wants a number from 1 to 9"),
                (["--servers", "10"], 64, "--servers wants a number from 1 to 9"),
                (["--port", "65535"], 1, "3 servers need ports up to 65537"),
                (["--set", "nonsense"], 64, "--set wants key=value"),
                (["--set", "server.4=127.0.0.1:1:2"], 64, "aviary dev` decides that itself"),
                (["--set", "tickTime=often"], 64, "tickTime"),
                (["--dir", "/dev/null/x"], 1, "cannot make the directory"),
                (["--dir", os.path.dirname(BINARY)], 1, "holds other things"),
                (["--dir", foreign], 1, "/1.cfg is no file of `aviary dev`")):
            dev = Dev(check, *arguments)
            equal(code, dev.process.wait(20), "exit code of %r" % arguments)
            dev.expect(re.escape(told))
            equal(before, os.listdir(dev.scratch), "temporary directories")
    equal("tickTime=2000\n", open(os.path.join(foreign, "1.cfg")).read(), "somebody's own file")
    equal(["1.cfg"], os.listdir(foreign), "what is in somebody's own directory")


def two_at_once(check):
    "two of them at the same time do not get in each other's way"
    both = [Dev(check, "--servers", "3"), Dev(check, "--servers", "3")]
    for dev in both:
        dev.formed()
    taken = [row[port] for dev in both for row in dev.rows.values() for port in ("client", "quorum", "election")]
    equal(18, len(set(taken)), "different ports")
    for dev in both:
        equal(0, dev.end(), "exit code")


def no_start(check):
    "a server that cannot start is told with its reason, and the exit code says so"
    directory = os.path.join(check.work, "broken")
    dev = Dev(check, "--servers", "1", "--dir", directory).formed()
    equal(0, dev.end(), "exit code")
    os.rename(os.path.join(directory, "1", "version-2"), os.path.join(directory, "1", "away"))
    open(os.path.join(directory, "1", "version-2"), "w").close()
    dev = Dev(check, "--dir", directory)
    equal(1, dev.process.wait(20), "exit code")
    dev.expect(r"server 1 \(pid \d+\) ended with exit code 1: .*version-2")


def failed_stop(check):
    "a server that crashes while it stops is told, and the exit code says so"
    dev = Dev(check, "--servers", "1").formed()
    row = dev.rows[1]
    # A server that stands still is told to go on when it is told to end: what waits for it by then ends it first.
    os.kill(int(row["pid"]), signal.SIGSTOP)
    wait_until("the server to stand still", lambda: stands_still(int(row["pid"])), every=0.005)
    os.kill(int(row["pid"]), signal.SIGUSR1)
    dev.process.send_signal(signal.SIGTERM)
    equal(1, dev.process.wait(20), "exit code")
    dev.expect(r"server 1 \(pid %s\) was killed by signal 10 while it stopped" % row["pid"])
    dev.expect("for the logs of what went wrong")


def early_commands(check):
    "servers can be paused and killed before there is a first table"
    dev = Dev(check, "--servers", "3", terminal=True)
    start = dev.type("p 2\np 3\nk 1")
    dev.expect("server 1 is killed", start=start)
    dev.expect("server 3 is paused", start=start)
    dev.type("c 2\nc 3")
    dev.formed()
    equal("ended", dev.rows[1]["role"])
    equal(["follower", "leader"], sorted(dev.rows[n]["role"] for n in (2, 3)))
    dev.type("q")
    equal(0, dev.process.wait(20), "exit code")


def main():
    with Check("dev") as check:
        try:
            check.run([table, writes_go_on, commands, terminal_goes, killed_parent, continues, reconfigured, two_at_once, alone, no_start,
                       failed_stop, early_commands, errors], check)
        finally:
            if check.failed:                                       # their logs go with them otherwise
                shutil.copytree(os.path.join(check.work, "tmp"), os.path.join(check.work, "failed"), dirs_exist_ok=True)
            for dev in STARTED:
                if dev.process.poll() is None:
                    dev.process.terminate()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        dev.process.wait(15)
                    dev.process.kill()


if __name__ == "__main__":
    main()
