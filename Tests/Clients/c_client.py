"""The C client: a program on libzookeeper_mt (c/client.c), compiled here, and a scripted session of its shell cli_mt; each with
one handle across kill -9 and restart of the server.
"""
import os
import re
import subprocess
import threading

from harness import HERE, Check, equal, wait_until

SHELL = "/usr/lib/zookeeper/bin/cli_mt"


def program(check):
    binary = os.path.join(check.work, "client")
    with check.case("client.c compiles and links with libzookeeper_mt"):
        built = subprocess.run(["gcc", "-O1", "-Wall", "-o", binary, os.path.join(HERE, "c", "client.c"),
                                "-lzookeeper_mt", "-lpthread"], capture_output=True, text=True)
        equal(0, built.returncode, built.stderr)
    server = check.server("program").start()
    process = subprocess.Popen([binary, server.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=open(os.path.join(check.work, "client.log"), "w"), text=True, bufsize=1)

    def on_line(line):
        if line == "KILL":
            server.restart()
            process.stdin.write("\n")

    code = check.results(process, 120, on_line)
    if code:
        check.fail("the program on libzookeeper_mt", "exit code %d" % code)


class Shell:
    """cli_mt, command by command."""

    def __init__(self, server):
        self.process = subprocess.Popen(["stdbuf", "-o0", SHELL, server.address], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
        self.output, self.mark = "", 0
        threading.Thread(target=self.collect, daemon=True).start()

    def collect(self):
        while True:
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                return
            self.output += piece.decode("utf-8", "replace")

    def awaits(self, pattern, seconds=15):
        """Waits for output that matches, from where the last match ended."""
        def found():
            return re.compile(pattern, re.S).search(self.output, self.mark)
        try:
            match = wait_until("output like %r" % pattern, found, seconds)
        except AssertionError as error:
            raise AssertionError("%s; it printed %r" % (error, self.output[self.mark:][-600:]))
        self.mark = match.end()
        return match

    def does(self, command, pattern, seconds=15):
        self.process.stdin.write(command + "\n")
        return self.awaits(pattern, seconds)


def shell(check):
    server = check.server("shell").start()
    cli = Shell(server)
    with check.case("cli_mt: connects and says its session"):
        cli.awaits("state = CONNECTED_STATE")
        session = cli.awaits(r"new session id: 0x([0-9a-f]+)").group(1)
    with check.case("cli_mt: create, every flag"):
        cli.does("create /a", r"\[/a\]: rc = 0\n\tname = /a\n")
        cli.does("create +e /a/e", r"rc = 0\n\tname = /a/e\n")
        cli.does("create +s /a/s", r"rc = 0\n\tname = /a/s0000000001\n")
        cli.does("create +es /a/es", r"rc = 0\n\tname = /a/es0000000002\n")
        cli.does("create +c /container", r"rc = 0\n\tname = /container\n")
        cli.does("create +t=3600000 /ttl", r"rc = 0\n\tname = /ttl\n")
        cli.does("create2 /with-stat", r"name = /with-stat\n.*czxid=([0-9a-f]+)\n.*mzxid=\1\n\tversion=0\taversion=0")
        cli.does("create /a", r"rc = -110")
    with check.case("cli_mt: get, set, exists, ls, ls2"):
        cli.does("get /a", r"/a: rc = 0\n value_len = 3\nnew\nStat:")
        cli.does("set /a hello", r"/a: rc = 0 Stat:.*version=1\t")
        cli.does("get /a", r" value_len = 5\nhello\n.*ephemeralOwner = 0")
        names = cli.does("ls /a", r"/a: rc = 0\n((?:\t\S+\n)+)").group(1).split()
        equal(["e", "es0000000002", "s0000000001"], sorted(names))
        cli.does("ls2 /a", r"/a: rc = 0\n(?:\t\S+\n){3}.*version=1\t")
        cli.does("get /a/e", "/a/e: rc = 0\n.*ephemeralOwner = " + session.lstrip("0"))
        cli.does("get /none", "/none: rc = -101")
    with check.case("cli_mt: a watch on a node to come"):
        cli.does("wexists /later", "Error -101 for /later")
        cli.does("create /later", "CREATED_EVENT state = CONNECTED_STATE for path /later")
        cli.awaits(r"\[/later\]: rc = 0")
    with check.case("cli_mt: sync, delete, authentication"):
        cli.does("sync /a", r"\[/a\]: rc = 0")
        cli.does("delete /with-stat", "/with-stat: rc = 0")
        cli.does("delete /a", "/a: rc = -111")
        cli.does("addauth digest dave:pw", "")
        cli.does("sync /a", r"\[/a\]: rc = 0")
    with check.case("cli_mt: across kill -9, the same session and its ephemeral"):
        server.restart()
        cli.awaits("state = CONNECTING_STATE|state = NOTCONNECTED_STATE|state = CONNECTED_STATE", 20)
        wait_until("the shell to be back", lambda: cli.does("get /a", r"/a: rc = (-?\d+)").group(1) == "0",
                   30, every=0.3)
        cli.does("myid", "session Id = " + session)
        cli.does("get /a/e", "/a/e: rc = 0\n.*ephemeralOwner = " + session.lstrip("0"))
        equal(1, cli.output.count("new session id"), "sessions")
    with check.case("cli_mt: quit ends it"):
        cli.process.stdin.write("quit\n")
        equal(0, cli.process.wait(15), "exit code")
    if cli.process.poll() is None:
        cli.process.kill()


def main():
    with Check("c-client") as check:
        check.together(lambda: program(check), lambda: shell(check))


if __name__ == "__main__":
    main()
