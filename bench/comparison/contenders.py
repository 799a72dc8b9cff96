"""The servers that are compared: Apache 3.9.5 and Aviary with the same settings, and zknull, the floor under both.

Each is a child process on a free port with a data directory of its own, all on the disk of the work directory, and is ended
by its process id. Durability is on everywhere: a write is answered after it was flushed (zknull: with --log).
"""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(BENCH)
sys.path[:0] = [BENCH, os.path.join(ROOT, "scripts", "suite"), os.path.join(ROOT, "Tests", "Clients")]
import harness  # noqa: E402
import needs  # noqa: E402
import zkwire  # noqa: E402

# What both configuration files say; everything else has its default. No limit of connections, or the load could not be made.
SETTINGS = {"tickTime": "2000", "maxClientCnxns": "0", "admin.enableServer": "false"}
TITLES = {"apache": "Apache 3.9.5", "aviary": "Aviary", "zknull": "zknull", "zknull --log": "zknull --log"}


def command(bench, kind, file):
    """How a server of `kind` is started with the configuration `file`."""
    if kind == "aviary":
        return [bench.binary, "serve", file]
    quiet = os.path.join(ROOT, "Tests", "Clients", "java", "log4j2.properties")
    return ["java", *bench.java, "-Dlog4j2.configurationFile=" + quiet, "-cp", os.path.join(harness.JARS, "*"),
            harness.QUORUM_PEER_MAIN, file]


class Contender(harness.Server):
    """Apache or Aviary. `settings` are further lines of its configuration file."""

    def __init__(self, bench, kind, name=None, data=None, **settings):
        self.bench = bench
        work = os.path.join(bench.work, "servers")
        name = name or kind
        shutil.rmtree(os.path.join(work, name), ignore_errors=True)
        super().__init__(kind, work, {**dict.fromkeys(harness.BASE), **SETTINGS, **settings}, data=data, name=name)

    def command(self):
        return command(self.bench, self.kind, self.file)

    def start(self, seconds=300):
        return super().start(seconds)

    def stop(self, seconds=60):
        with contextlib.suppress(AssertionError):              # it did not end by itself and was killed
            super().stop(seconds)


class Floor:
    """zknull: canned answers, no tree; with `log`, the simplest correct group commit."""

    def __init__(self, bench, log=False):
        self.kind, self.port, self.process = "zknull --log" if log else "zknull", harness.free_port(), None
        self.arguments = [os.path.join(BENCH, "zknull"), "--port", str(self.port)]
        if log:
            directory = os.path.join(bench.work, "servers", "zknull")
            os.makedirs(directory, exist_ok=True)
            self.arguments += ["--log", os.path.join(directory, "log")]

    def command(self):
        return self.arguments

    def start(self):
        self.process = subprocess.Popen(self.arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            try:
                zkwire.Client("127.0.0.1", self.port).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise AssertionError("zknull does not serve")
                time.sleep(0.01)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def processes(server):
    """The processes of a server, or of all servers of an ensemble."""
    return server.processes if hasattr(server, "processes") else [server.process]


def alive(server):
    return all(process is not None and process.poll() is None for process in processes(server))


def entry(server):
    """A server as compare.py wants it."""
    hosts = server.hosts if hasattr(server, "hosts") else "127.0.0.1:%d" % server.port
    return {"name": server.kind, "hosts": hosts, "pids": [process.pid for process in processes(server)]}


def rss_mb(server):
    return sum(zkwire.rss_kb(process.pid) for process in processes(server)) / 1024


@contextlib.contextmanager
def running(*servers):
    """All of them serving; ended at the end, with their files removed unless these lie outside the servers' own folders."""
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            server.stop()
            if hasattr(server, "work"):
                shutil.rmtree(server.work, ignore_errors=True)


def prepare(bench):
    """Builds what is measured and measures with; brings Java and the jars. Returns None, or what is missing."""
    def say(text):
        print("== " + text, file=sys.stderr, flush=True)
    missing = needs.provide({"gcc", "jdk", "jars"}, say)
    if missing:
        return "; ".join(missing.values())
    if not shutil.which("make") and needs.install_debian(["make"], say):
        return "make"
    trouble = needs.quietly(["make", "-C", BENCH])
    if not trouble and not bench.arguments.binary and not bench.arguments.stand_in:
        say("building the release executable")
        trouble = needs.quietly(["swift", "build", "-c", "release", "--product", "aviary"], cwd=ROOT)
    return trouble or (None if bench.arguments.stand_in or os.access(bench.binary, os.X_OK) else bench.binary + " is not there")
