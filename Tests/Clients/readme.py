"""The tours of README.md, as written: their kazoo lines and their zkCli.sh lines are run in their order, on servers that are started
as the README says (on other ports), and must print what stands there; where it says to kill a server, it is killed.
"""
import code
import contextlib
import io
import logging
import os
import re
import sys

from dev import Dev
from harness import BINARY, PYTHON_PACKAGES, ROOT, Check, Server, equal, expect, free_port, wait_until
from zkcli import Shell

sys.path.insert(0, PYTHON_PACKAGES)
logging.getLogger("kazoo").setLevel(logging.CRITICAL)
ONE, THREE = "## Two minutes with it", "## Three servers, one of them killed"


def tour(title):
    """The lines of a section: ("text" or "code", line)."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    expect(title in text, "README.md has no section %r" % title)
    section = text.split(title, 1)[1].split("\n## ", 1)[0]
    for line in section.splitlines():
        if line.strip():
            yield ("code", line[4:]) if line.startswith("    ") else ("text", line)


def steps():
    """The tour as steps: ["python" or "shell" or "prints", what is typed, lines expected] and ["kill"]."""
    out = []
    for kind, line in tour(ONE):
        if kind == "text":
            if "kill the server" in line:
                out.append(["kill", line, []])
            elif out:
                out.append(["text", line, []])
        elif line.startswith(">>> "):
            out.append(["python", line[4:], []])
        elif re.match(r"\[zk: .*\] ", line):
            out.append(["shell", re.sub(r"\[zk: .*?\] ", "", line, count=1), []])
        elif out and out[-1][0] in ("python", "shell"):
            out[-1][2].append(line)
        elif line.startswith("WatchedEvent"):
            out.append(["prints", line, []])
    return [step for step in out if step[0] != "text"]


class Started(Server):
    """A server started as the README starts it, but for the port."""

    def command(self):
        if self.kind != "aviary":
            return super().command()
        return [BINARY, "serve", "--port", str(self.port)]


class Console:
    """An interactive Python that shows what is printed."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.python = code.InteractiveInterpreter({})
        self.printed = io.StringIO()

    def run(self, line):
        line = re.sub(r'"127\.0\.0\.1:[^"]*"', '"%s"' % self.addresses, line)
        start = len(self.printed.getvalue())
        with contextlib.redirect_stdout(self.printed), contextlib.redirect_stderr(self.printed):
            wants_more = self.python.runsource(line, "<README>", "single")
        expect(not wants_more, "this line is no whole statement")
        return self.printed.getvalue()[start:].rstrip("\n").splitlines()


def main():
    with Check("readme") as check:
        server = Started(check.kind, check.work, {"4lw.commands.whitelist": "srvr"})
        check.servers.append(server)
        server.port = free_port()
        server.configure({})
        server.start()
        console, shell = Console(server.address), None
        # What the watch of the tour prints comes from another thread, whenever it comes.
        sys.stdout = Tee(sys.stdout, console.printed)
        for kind, typed, expected in steps():
            with check.case("README: " + typed[:90]):
                if kind == "python":
                    got = console.run(typed)
                    if expected:
                        equal(expected, got, "printed")
                    else:
                        expect(not any(line.startswith("Traceback") for line in got), "\n".join(got))
                elif kind == "shell":
                    if shell is None:
                        shell = Shell(server, os.path.join(check.work, "zkCli.log"))
                    equal(sorted(expected), sorted(shell.run(typed, 0)[0]), "printed")
                elif kind == "prints":
                    wait_until(typed, lambda: typed in console.printed.getvalue(), 10)
                else:
                    server.restart()
                    client = console.python.locals["zk"]
                    wait_until("kazoo to be back", lambda: client.connected, 30)
        if shell:
            shell.close()
        if check.kind == "aviary":
            three_servers(check)
            with check.case("README: the data is in ./aviary-data"):
                expect(os.path.isdir(os.path.join(server.work, "aviary-data", "version-2")), "it is not")
            with check.case("README: Ctrl-C stops the server"):
                server.process.send_signal(2)
                equal(0, server.process.wait(15), "exit code")
                expect(not re.search(r"\berror\b", server.text()), "its log says:\n" + server.tail())


def three_servers(check):
    """The section about the ensemble: commands go to the terminal of `aviary dev`, and the server that is killed is the one that
    leads, whichever number stands there."""
    steps = []
    for kind, line in tour(THREE):
        if kind == "code" and re.match(r">>> |[a-z] \d$|aviary ", line):
            steps.append((line, []))
        elif kind == "code":
            steps[-1][1].append(line)
    expect([typed[:10] for typed, _ in steps if typed.startswith("aviary")] == ["aviary dev"], "the section starts no ensemble")
    dev = console = None
    for typed, expected in steps:
        with check.case("README: " + typed[:90]):
            if typed.startswith("aviary "):
                dev = Dev(check, *typed.split()[2:], terminal=True).formed()
                console = Console(dev.connect_string())
                console.run("from kazoo.client import KazooClient")
            elif typed.startswith(">>> "):
                equal(expected, console.run(typed[4:]), "printed")
            else:
                letter, number = typed.split()
                leader = str(dev.leader)
                start = dev.type("%s %s" % (letter, leader))
                for line in expected:
                    # The leader has another number here, and so may the next one.
                    pattern = re.escape(line.replace(number, "@")).replace("@", leader)
                    dev.expect(re.sub(r"server\\ \d\\ leads", r"server\\ \\d\\ leads", pattern), start=start)
    console.python.locals["zk"].stop()
    equal(0, dev.end(), "exit code")


class Tee(io.TextIOBase):
    def __init__(self, *streams):
        self.streams = streams

    def write(self, text):
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self):
        self.streams[0].flush()


if __name__ == "__main__":
    main()
