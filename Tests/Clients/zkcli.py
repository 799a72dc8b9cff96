"""Java's shell, zkCli.sh of Debian (3.8) and the one of the 3.9.5 jars: one scripted session over all its commands, run against
Apache ZooKeeper 3.9.5 and against the server under test, must print the same, command by command; kill -9 and restart of the
server included. Times, session ids and ports are masked, zxids are not: the same commands on a fresh server must take the same
zxids.
"""
import os
import re
import subprocess
import threading

from harness import JARS, Check, equal, expect, wait_until

SHELL = "/usr/share/zookeeper/bin/zkCli.sh"
JAVA = ["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8"]
JARS_SHELL = ["java"] + JAVA + ["-Dorg.apache.logging.log4j.level=OFF", "-Dlog4j2.StatusLogger.level=OFF", "-cp",
                                os.path.join(JARS, "*"), "org.apache.zookeeper.ZooKeeperMain"]
KILL = "kill -9 and restart"

# A command, or a command and the watch events that it brings about: the session waits for so many.
SESSION = [
    "version",
    "create /a x",
    "create -s /a/s",
    "create -e /a/e of-this-session",
    "create -s -e /a/es",
    "create -c /container",
    "create -c /container/child",
    "create -t 3600000 /ttl data",
    "create -s -t 3600000 /ttl-s",
    "create /ünï 'two words'",
    "create /with-acl data world:anyone:r",
    "create /empty",
    "create /a again",
    "create /none/x",
    "create /a/e/x",
    "create relative",
    "create /bad//path",
    "ls /",
    "ls -R /",
    "ls -s /a",
    "ls /none",
    "get /a",
    "get -s /a",
    "get /ünï",
    "get /empty",
    "get /none",
    "get -s /a/e",
    "set /a y",
    "set -v 1 /a z",
    "set -v 7 /a z",
    "set -s /a w",
    "set /none x",
    "stat /a",
    "stat /none",
    "stat -w /a",
    ("set /a watched", 1),
    "get -w /a",
    ("set /a watched-again", 1),
    "ls -w /a",
    ("create /a/child", 1),
    "ls -w /a/child",
    ("delete /a/child", 1),
    "getAcl /a",
    "getAcl -s /a",
    "getAcl /none",
    "setAcl -s /a world:anyone:cdrwa",
    "setAcl -v 9 /a world:anyone:cdrwa",
    "setAcl /a nosuchscheme:x:r",
    "set /with-acl y",
    "create /with-acl/child",
    "whoami",
    "addauth digest alice:wonder",
    "whoami",
    "create /digest secret auth::cdrwa",
    "getAcl /digest",
    "get /digest",
    "setAcl -R /container auth:alice:wonder:cdrwa",
    "getAcl /container/child",
    "addauth digest super:secret",
    "set /with-acl by-the-super-user",
    "getAcl -s /digest",
    "delete /a",
    "delete -v 3 /empty",
    "delete -v 0 /empty",
    "delete /none",
    "delete /zookeeper/quota",
    "create /q",
    "setquota -n 2 /q",
    "setquota -b 100 /q",
    "listquota /q",
    "create /q/one 12345",
    "create /q/two 12345",
    "listquota /q",
    "setquota -N 4 /q",
    "setquota -B 30 /q",
    "create /q/three 1234567890",
    "create /q/four 1234567890123456",
    "set /q/one 12345678901234567890123456789012",
    "create /q/five",
    "setquota -n 3 /q/one",
    "setquota -n 3 /",
    "listquota /q",
    "delquota -n /q",
    "listquota /q",
    "delquota -N /q",
    "delquota -B /q",
    "delquota /q",
    "listquota /q",
    "delquota /none",
    "create /tree",
    "create /tree/1",
    "create /tree/1/2",
    "create /tree/1/2/3",
    "create /tree/4",
    "getAllChildrenNumber /tree",
    "getAllChildrenNumber /",
    "deleteall /tree -b 2",
    "ls /",
    "deleteall /none",
    "getEphemerals",
    "getEphemerals /a/es",
    "getEphemerals /none",
    "sync /a",
    "sync /none",
    "addWatch -m PERSISTENT /p",
    ("create /p", 1),
    ("set /p 1", 1),
    ("create /p/child", 1),
    ("delete /p/child", 1),
    ("removewatches /p", 1),
    "set /p 2",
    "removewatches /p",
    "addWatch -m PERSISTENT_RECURSIVE /r",
    ("create /r", 1),
    ("create /r/below", 1),
    ("set /r/below x", 1),
    ("delete /r/below", 1),
    ("delete /r", 1),
    ("removewatches /r", 1),
    "addWatch -m NONSENSE /r",
    "get -w /p",
    "ls -w /p",
    ("delete /p", 1),
    "config",
    "config -s",
    "config -c",
    "reconfig -remove 1",
    "reconfig -add server.2=127.0.0.1:1:2;3",
    "printwatches off",
    "printwatches on",
    "redo 3",
    "history",
    "nosuchcommand",
    "stat",
    # What is armed here must work after the restart.
    "create /k before",
    "create -e /k/e mine",
    "get -w /k",
    "ls -w /k",
    "stat -w /ttl",
    "addWatch /persistent",
    (KILL, 2),
    "get -s /k",
    "get -s /k/e",
    "whoami",
    "getAcl /digest",
    ("set /k after", 1),
    ("create /k/child", 1),
    ("delete /ttl", 1),
    ("create /persistent", 1),
    ("create /persistent/child", 1),
    "getEphemerals",
    "create -s /a/s",
    "ls -R /",
    ("close", 1),
    "ls /",
    ("connect SERVER", 1),
    "ls -R /",
]


class Shell:
    """zkCli.sh on one server, command by command. The output of a command ends where that of the local command
    `printwatches`, sent behind each, begins; watch events come from another thread and are collected apart."""

    END = "printwatches is "

    def __init__(self, server, log, command=(SHELL,)):
        self.server = server
        environment = dict(os.environ, CLIENT_JVMFLAGS=" ".join(JAVA), TZ="UTC", LC_ALL="C.UTF-8",
                           ZOO_LOG_DIR=os.path.dirname(log))
        self.process = subprocess.Popen(list(command) + ["-server", server.address, "-timeout", "20000"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                        bufsize=1, env=environment, encoding="utf-8", errors="replace")
        self.log, self.lines, self.events = open(log, "w"), [], []
        self.ended = False
        threading.Thread(target=self.collect, daemon=True).start()
        self.send("printwatches")
        self.until_end()
        wait_until("the shell to connect", lambda: any(e.startswith("SyncConnected None null") for e in self.events), 30)
        self.taken = len(self.events)

    def collect(self):
        for line in self.process.stdout:
            self.log.write(line)
            self.log.flush()
            line = line.rstrip("\n")
            event = re.match(r"WatchedEvent state:(\S+) type:(\S+) path:(\S+)(?: zxid: (\S+))?", line)
            if event:
                self.events.append(" ".join(part for part in event.groups() if part))
            elif line not in ("", "WATCHER::") and not line.startswith("SLF4J:"):
                self.lines.append(line)
        self.ended = True

    def send(self, line):
        self.process.stdin.write(line + "\n")

    def until_end(self):
        """Output up to the mark, masked."""
        def complete():
            expect(not self.ended, "the shell ended: %r" % self.lines)
            return any(line.startswith(self.END) for line in self.lines)
        wait_until("the shell's answer; it printed %r" % self.lines, complete, 30, every=0.005)
        mark = next(i for i, line in enumerate(self.lines) if line.startswith(self.END))
        output, self.lines[:mark + 1] = self.lines[:mark], []
        return [masked(line, self.server) for line in output]

    @staticmethod
    def ordered(command, output):
        """The identities of whoami come in an order of the server's choosing."""
        return sorted(output) if command == "whoami" else output

    def run(self, command, events):
        """What a command printed, and its watch events."""
        if command == KILL:
            self.server.restart()
            output = []
        else:
            self.send(command.replace("SERVER", self.server.address))
            self.send("printwatches")
            output = self.ordered(command, self.until_end())
        missing = False
        if events:
            try:
                wait_until("events", lambda: len(self.events) >= self.taken + events, 20)
            except AssertionError:
                output.append("(%d of %d events came)" % (len(self.events) - self.taken, events))
                missing = True
        seen, self.taken = self.events[self.taken:], len(self.events)
        return output, seen, missing

    def close(self):
        if self.process.poll() is None:
            try:
                self.send("quit")
                self.process.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
        return self.process.wait(10)


def masked(line, server):
    line = line.replace(str(server.port), "PORT")
    line = re.sub(r"([cm]time = ).*", r"\1TIME", line)
    line = re.sub(r"(ephemeralOwner = )0x[0-9a-f]{6,}", r"\1SESSION", line)
    if line.startswith("[") and line.endswith("]"):
        line = "[%s]" % ", ".join(sorted(line[1:-1].split(", ")))
    return line


def session(check, name, shell_command, reference, tested):
    shells = [None, None]

    def start(i, server):
        shells[i] = Shell(server, os.path.join(check.work, "zkCli-%s.log" % server.name), shell_command)

    check.together(lambda: start(0, reference), lambda: start(1, tested))
    if None in shells:
        return
    used = {}
    for step in SESSION:
        command, events = step if isinstance(step, tuple) else (step, 0)
        used[command] = used.get(command, 0) + 1
        label = "%s: %s" % (name, command) + (" (%d)" % used[command] if used[command] > 1 else "")
        got = [None, None]

        def one(i):
            try:
                got[i] = shells[i].run(command, events)
            except AssertionError as error:
                got[i] = ([str(error)], [], True)
        check.together(lambda: one(0), lambda: one(1))
        if got[0][2]:
            check.fail(label, "Apache 3.9.5 itself did not answer as the script has it: %r" % (got[0],))
        elif got[0] == got[1]:
            check.ok(label)
        else:
            check.fail(label, "Apache 3.9.5 and the server under test differ")
            for title, a, b in (("output", got[0][0], got[1][0]), ("events", got[0][1], got[1][1])):
                if a != b:
                    check.say("    %s expected:\n      %s\n    %s got:\n      %s"
                              % (title, "\n      ".join(a) or "(nothing)", title, "\n      ".join(b) or "(nothing)"))
        if any(shell.ended for shell in shells):
            check.fail(name, "the shell ended early")
            break
    for i, shell in enumerate(shells):
        with check.case("%s: quit (%s)" % (name, ("Apache 3.9.5", "the server under test")[i])):
            equal(0, shell.close(), "exit code")


def one_command(check, tested):
    def run(*words):
        return subprocess.run([SHELL, "-server", tested.address] + list(words), capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL)
    with check.case("zkCli: a single command on the command line"):
        done = run("create", "/from-the-command-line", "x")
        expect("Created /from-the-command-line" in done.stdout + done.stderr, done.stdout + done.stderr)
        equal(0, done.returncode, "exit code")
    with check.case("zkCli: a single command that fails"):
        done = run("get", "/none")
        expect("Node does not exist: /none" in done.stdout + done.stderr, done.stdout + done.stderr)
        expect(done.returncode != 0, "exit code 0")


def main():
    with Check("zkcli") as check:
        for name, command in (("zkCli", [SHELL]), ("shell of 3.9.5", JARS_SHELL)):
            reference = check.server(name.replace(" ", "-") + "-reference", kind="apache")
            tested = check.server(name.replace(" ", "-") + "-tested")
            check.together(reference.start, tested.start)
            session(check, name, command, reference, tested)
            if name == "zkCli":
                one_command(check, tested)
            reference.stop()
            tested.stop()


if __name__ == "__main__":
    main()
