"""The tour of README.md, as written: its kazoo lines and its zkCli.sh lines are run in their order, on a server that is started as
the README says (on another port), and must print what stands there; where it says to kill the server, it is killed.
"""
import code
import contextlib
import io
import logging
import os
import re
import sys

from harness import BINARY, PYTHON_PACKAGES, ROOT, Check, Server, equal, expect, free_port, wait_until
from zkcli import Shell

sys.path.insert(0, PYTHON_PACKAGES)
logging.getLogger("kazoo").setLevel(logging.CRITICAL)
TITLE = "## Two minutes with it"


def tour():
    """The lines of the tour: ("text" or "code", line)."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    expect(TITLE in text, "README.md has no section %r" % TITLE)
    section = text.split(TITLE, 1)[1].split("\n## ", 1)[0]
    for line in section.splitlines():
        if line.strip():
            yield ("code", line[4:]) if line.startswith("    ") else ("text", line)


def steps():
    """The tour as steps: ["python" or "shell" or "prints", what is typed, lines expected] and ["kill"]."""
    out = []
    for kind, line in tour():
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

    def __init__(self, server):
        self.server = server
        self.python = code.InteractiveInterpreter({})
        self.printed = io.StringIO()

    def run(self, line):
        line = line.replace("127.0.0.1:2181", self.server.address)
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
        console, shell = Console(server), None
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
            with check.case("README: the data is in ./aviary-data"):
                expect(os.path.isdir(os.path.join(server.work, "aviary-data", "version-2")), "it is not")
            with check.case("README: Ctrl-C stops the server"):
                server.process.send_signal(2)
                equal(0, server.process.wait(15), "exit code")
                expect(not re.search(r"\berror\b", server.text()), "its log says:\n" + server.tail())


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
