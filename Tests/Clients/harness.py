"""What every check with real clients stands on: servers that are started, killed and restarted, and the way results are told.

A check is a script that names its cases:

    check = Check("kazoo")
    with check.case("create modes"):
        ...                                   # any exception is a failure
    check.finish()

and prints `ok CASE` and `FAIL CASE` lines, then `N passed, N failed`. Run alone it takes

    --server aviary|apache|debian             # whom to check: ours, Apache 3.9.5 from its jars, or Debian's 3.8
    --only TEXT                               # only cases whose name holds TEXT
    --work DIRECTORY, --keep                  # where servers keep their files, and whether they stay there
    --verbose                                 # whole tracebacks

so that each check can be shown to be right against the real server before it judges ours. Standard library only.
"""
import argparse
import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import wire

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CACHE = os.environ.get("AVIARY_TEST_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "aviary-test")
GOLDEN = os.environ.get("AVIARY_GOLDEN") or os.path.join(ROOT, "Tests", "Golden")
JARS = os.path.join(CACHE, "jars")
PYTHON_PACKAGES = os.path.join(CACHE, "python")
BINARY = os.path.abspath(os.environ.get("AVIARY_BINARY") or os.path.join(ROOT, ".build", "release", "aviary"))
DEBIAN_JAR = "/usr/share/java/zookeeper.jar"
DEBIAN_CLASSES = os.pathsep.join([DEBIAN_JAR, "/usr/share/java/slf4j-log4j12.jar", "/usr/share/java/log4j-1.2.jar"])
SUPER_DIGEST = "super:lK75jTNcA+U9vtVEw5vB51mj/w4="       # of super:secret
QUORUM_PEER_MAIN = "org.apache.zookeeper.server.quorum.QuorumPeerMain"

# Configuration of the profile "base" of Tests/Golden/client/README.md. Apache takes the keys of JVM_KEYS as -D flags only.
BASE = {
    "tickTime": "1000", "maxClientCnxns": "0", "4lw.commands.whitelist": "*", "reconfigEnabled": "false",
    "extendedTypesEnabled": "true", "enforceQuota": "true", "DigestAuthenticationProvider.superDigest": SUPER_DIGEST,
    "znode.container.checkIntervalMs": "1000", "znode.container.maxNeverUsedIntervalMs": "0",
    "admin.enableServer": "false",
}
JVM_KEYS = ("znode.", "readonlymode.enabled", "jute.maxbuffer", "snapshot.compression.method")

sys.path.insert(0, PYTHON_PACKAGES)


PORTS = os.path.join(tempfile.gettempdir(), "aviary-test-ports-%d" % os.getuid())
taken_ports = []


def take_port(port):
    """Whether `port` is this process's now: two checks at a time choose ports long before their servers listen on them. It stays so
    until the process ends, however it ends."""
    os.makedirs(PORTS, exist_ok=True)
    held = open(os.path.join(PORTS, str(port)), "w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        return False
    taken_ports.append(held)
    return True


def free_port(count=1):
    """A port nobody listens on or is going to, below the range from which the system takes local ports of outgoing connections: a port
    of that range could be taken, or connect to itself, by a client that retries while the server is down. The first of `count`."""
    lowest = 32768
    with contextlib.suppress(OSError, ValueError):
        lowest = int(open("/proc/sys/net/ipv4/ip_local_port_range").read().split()[0])
    while True:
        port = random.randrange(10000, max(lowest, 12000) - count)
        if all(take_port(port + i) and is_free(port + i) for i in range(count)):
            return port


def is_free(port):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def wait_until(what, condition, seconds=20, every=0.02):
    """Waits for `condition()` to be true and returns its value; tells what was waited for when time is up."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            value, last = condition(), None
            if value:
                return value
        except Exception as error:                        # a client may throw while its connection comes back
            last = error
        time.sleep(every)
    raise AssertionError("waited %d s for %s%s" % (seconds, what, ": last error %r" % last if last else ""))


def equal(want, got, what=""):
    if want != got:
        raise AssertionError("%sexpected %r, got %r" % (what + ": " if what else "", want, got))


def expect(truth, what):
    if not truth:
        raise AssertionError(what)


@contextlib.contextmanager
def raises(*kinds):
    """The block must raise one of `kinds` (exception classes)."""
    try:
        yield
    except kinds:
        return
    raise AssertionError("expected %s, nothing was raised" % " or ".join(k.__name__ for k in kinds))


class Server:
    """One server process with its configuration file, its data directory and its log."""

    def __init__(self, kind, work, configuration=None, port=None, data=None, name="server"):
        self.kind, self.name = kind, name
        self.work = os.path.join(work, name)
        os.makedirs(self.work, exist_ok=True)
        self.port = port or free_port()
        self.data = data or os.path.join(self.work, "data")
        os.makedirs(self.data, exist_ok=True)
        self.file, self.log = os.path.join(self.work, "zoo.cfg"), os.path.join(self.work, "server.log")
        self.process, self.environment = None, None            # None: that of the check
        self.configure(dict(BASE, **(configuration or {})))

    def configure(self, settings):
        """Writes zoo.cfg; a value None leaves its key out. Takes effect at the next start."""
        self.flags, lines = [], ["dataDir=" + self.data, "clientPort=%d" % self.port]
        for key, value in settings.items():
            if value is None:
                continue
            if self.kind != "aviary" and key.startswith(JVM_KEYS):
                prefix = "zookeeper." if key.startswith("snapshot.") else ""
                self.flags.append("-D%s%s=%s" % (prefix, key, value))
            elif self.kind == "aviary" and key == "admin.enableServer":
                continue
            else:
                lines.append("%s=%s" % (key, value))
        with open(self.file, "w") as out:
            out.write("\n".join(lines) + "\n")

    def command(self):
        if self.kind == "aviary":
            return [BINARY, "serve", self.file]
        java = ["java", "-Xmx256m", "-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"] + self.flags
        if self.kind == "apache":
            return java + ["-Dlog4j2.configurationFile=" + os.path.join(HERE, "java", "log4j2.properties"),
                           "-cp", os.path.join(JARS, "*"), QUORUM_PEER_MAIN, self.file]
        return java + ["-Dlog4j.configuration=file:" + os.path.join(HERE, "java", "log4j.properties"),
                       "-cp", DEBIAN_CLASSES, QUORUM_PEER_MAIN, self.file]

    def launch(self):
        """Starts the process without waiting for it to serve."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            cwd=self.work, env=self.environment)
        return self

    def start(self, seconds=40):
        self.launch()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError("%s ended at start with exit code %s\n%s"
                                     % (self.kind, self.process.returncode, self.tail()))
            try:
                if wire.four_letter_word(self.port, "srvr", 2).startswith("Zookeeper version"):
                    return self
            except OSError:
                pass
            time.sleep(0.03)
        raise AssertionError("%s does not serve after %d s\n%s" % (self.kind, seconds, self.tail()))

    def kill9(self):
        self.process.kill()
        self.process.wait(10)

    def restart(self):
        """kill -9, then a new process on the same directory and port."""
        self.kill9()
        return self.start()

    def stop(self, seconds=20):
        """A clean end by SIGTERM, by process id; after `seconds` by SIGKILL. Returns the exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
                raise AssertionError("%s did not end within %d s after SIGTERM" % (self.kind, seconds))
        return self.process.returncode

    def tail(self, lines=20):
        try:
            with open(self.log, errors="replace") as log:
                return "".join("    | " + line for line in log.readlines()[-lines:])
        except OSError:
            return ""

    def text(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def super_user(self, **more):
        return wire.Connection(self.port, **more).auth("digest", b"super:secret")

    def tree(self):
        """The whole tree, read as the super user on a session of its own that is closed again."""
        connection = self.super_user()
        try:
            return wire.tree(connection)
        finally:
            connection.close()


class Check:
    """The cases of one check, its arguments and its servers."""

    def __init__(self, name, options=None):
        self.name, self.passed, self.failed = name, 0, 0
        self.servers, self.lock, self.is_ending = [], threading.RLock(), False
        parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__,
                                         formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--server", choices=("aviary", "apache", "debian"), default="aviary")
        parser.add_argument("--only", default="")
        parser.add_argument("--work")
        parser.add_argument("--keep", action="store_true")
        parser.add_argument("--verbose", action="store_true")
        if options:
            options(parser)
        self.arguments = parser.parse_args()
        self.kind = self.arguments.server
        if self.arguments.work:
            os.makedirs(self.arguments.work, exist_ok=True)
        self.work = self.arguments.work or tempfile.mkdtemp(prefix="aviary-%s-" % name)
        # A runner that gives up ends this process by SIGTERM: the servers must not stay behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))

    def server(self, name="server", configuration=None, kind=None, **more):
        server = Server(kind or self.kind, self.work, configuration, name=name, **more)
        self.servers.append(server)
        return server

    def say(self, text):
        with self.lock:
            print(text, flush=True)

    def ok(self, name):
        with self.lock:
            self.passed += 1
            self.say("ok   " + name)

    def fail(self, name, why):
        with self.lock:
            self.failed += 1
            self.say("FAIL %s: %s" % (name, why))

    @contextlib.contextmanager
    def case(self, name):
        """Runs the block as one case; use `if check.wants(name)` around it where cases can be chosen singly."""
        try:
            yield
        except Exception as error:
            lines = traceback.format_exc().rstrip() if self.arguments.verbose else where(error)
            self.fail(name, "%s: %s%s" % (type(error).__name__, error, "\n" + lines if lines else ""))
        else:
            self.ok(name)

    def wants(self, name):
        return self.arguments.only in name

    def run(self, cases, *given):
        """Each function of `cases` with `given`, one case each, named by its documentation."""
        for function in cases:
            name = (function.__doc__ or function.__name__).strip().splitlines()[0].rstrip(".")
            if self.wants(name):
                with self.case(name):
                    function(*given)

    def together(self, *functions):
        """Each function on a thread of its own; for what mostly waits. A function reports its own cases."""
        def guarded(function):
            try:
                function()
            except Exception as error:
                self.fail("the check itself", "%s: %s\n%s" % (type(error).__name__, error, traceback.format_exc().rstrip()))

        threads = [threading.Thread(target=guarded, args=(f,), daemon=True) for f in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def run_together(self, cases, *given):
        """As `run`, each case on a thread of its own."""
        self.together(*[lambda f=f: self.run([f], *given) for f in cases])

    def results(self, process, seconds, on_line=None, where=""):
        """Takes over `ok NAME` and `FAIL NAME: WHY` lines of a client program in another language, with `where` behind each name;
        other lines go to `on_line`. Ends the program after `seconds`."""
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            for line in process.stdout:
                line = line.rstrip("\n")
                if line.startswith("ok "):
                    self.ok(line[3:].strip() + where)
                elif line.startswith("FAIL "):
                    name, _, why = line[5:].partition(": ")
                    self.fail(name.strip() + where, why)
                elif on_line:
                    on_line(line)
            return process.wait(10)
        finally:
            timer.cancel()

    def finish(self):
        """Ends every server, prints the totals and exits."""
        with self.lock:
            self.is_ending = True                              # a thread that still works must start none behind this
        for server in self.servers:
            if server.process and server.process.poll() is None:
                server.process.kill()
                server.process.wait(10)
        if self.failed:
            logs = [server for server in self.servers if os.path.exists(server.log)]
            for server in sorted(logs, key=lambda s: os.path.getmtime(s.log))[-3:]:
                self.say("  last lines of %s:" % server.log)
                self.say(server.tail(10).rstrip("\n"))
        keep = self.arguments.keep or self.failed
        if keep:
            self.say("  kept: " + self.work)
        else:
            shutil.rmtree(self.work, ignore_errors=True)
        if self.passed + self.failed == 0:
            self.failed = 1
            self.say("FAIL no case ran")
        self.say("%d passed, %d failed" % (self.passed, self.failed))
        sys.stdout.flush()
        os._exit(1 if self.failed else 0)                  # threads of client libraries must not hold the end up

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if error is not None and kind is not SystemExit:
            self.fail("the check itself", "".join(traceback.format_exception(kind, error, trace)).rstrip())
        elif kind is SystemExit:
            self.fail("the check itself", "ended before all cases had run")
        self.finish()


def where(error):
    """The innermost line of this suite that led to `error`."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(HERE)
              and not f.filename.endswith("harness.py")]
    return "    at " + ", ".join("%s:%d" % (os.path.basename(f.filename), f.lineno) for f in frames[-3:]) if frames else ""
