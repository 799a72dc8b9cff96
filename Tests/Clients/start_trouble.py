"""What a user meets at start: help and version, the start without any configuration, and each kind of trouble, told in words with
a remedy and a non-zero exit code. Ours only, but for the cases that Apache's servers share.
"""
import contextlib
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

import wire
from harness import BINARY, GOLDEN, Check, equal, expect, wait_until
from small_disk import SmallDisk

NOBODY = 65534


def refused(server, *words, seconds=20, **popen):
    """Starts a server that must not come up: it ends with a non-zero exit code, and says each of `words` (regular
    expressions). Returns what it said."""
    before = len(server.text()) if os.path.exists(server.log) else 0
    if popen:
        with open(server.log, "ab") as log:
            server.process = subprocess.Popen(server.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                              **popen)
    else:
        server.launch()
    try:
        code = server.process.wait(seconds)
    except subprocess.TimeoutExpired:
        server.kill9()
        raise AssertionError("it started:\n" + server.tail())
    text = server.text()[before:]
    expect(code > 0, "exit code %d:\n%s" % (code, server.tail()))
    for word in words:
        expect(re.search(word, text, re.I | re.S), "it does not say %r:\n%s" % (word, server.tail()))
    expect("Fatal error" not in text and "Stack dump" not in text, "it crashed:\n" + server.tail())
    return text


def run(*arguments, **more):
    return subprocess.run([BINARY] + list(arguments), capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
                          **more)


def helps(check):
    "help and version"
    for arguments, words in ((["--help"], ["serve", "version"]), (["serve", "--help"], ["zoo.cfg", "port", "data"]),
                             (["version"], [r"3\.9\.5-aviary-\d+\.\d+\.\d+|\d+\.\d+\.\d+"])):
        done = run(*arguments)
        equal(0, done.returncode, "exit code of %s: %s" % (arguments, done.stderr))
        for word in words:
            expect(re.search(word, done.stdout, re.I), "%s does not say %r: %s" % (arguments, word, done.stdout))
    for arguments in (["nosuchcommand"], ["serve", "--nosuchflag"]):
        done = run(*arguments)
        expect(done.returncode > 0, "%s: exit code 0" % arguments)
        expect(arguments[-1].strip("-") in done.stdout + done.stderr, "%s: %s" % (arguments, done.stdout + done.stderr))


def listening(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def nothing_configured(check):
    "aviary serve with nothing configured: port 2181 of this machine alone, ./aviary-data, and what to try next"
    if listening(2181):
        check.say("     (port 2181 is taken on this machine: that start is not tried)")
        return
    work = os.path.join(check.work, "nothing-configured")
    os.makedirs(work)
    log = open(os.path.join(work, "output"), "w+")
    process = subprocess.Popen([BINARY, "serve"], cwd=work, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_until("port 2181", lambda: listening(2181))
        c = wire.Connection(2181)
        c.create("/first", b"x")
        c.close()
        for word in ("ruok", "srvr", "isro", "mntr"):
            expect("not in the whitelist" not in wire.four_letter_word(2181, word), word)
        expect("not in the whitelist" in wire.four_letter_word(2181, "wchp"), "wchp is allowed by default")
        expect(os.path.isdir(os.path.join(work, "aviary-data", "version-2")), "no ./aviary-data/version-2")
        # Loopback only: no socket of this process listens on another address.
        held = set()
        for descriptor in os.listdir("/proc/%d/fd" % process.pid):
            with contextlib.suppress(OSError):
                name = os.readlink("/proc/%d/fd/%s" % (process.pid, descriptor))
                if name.startswith("socket:["):
                    held.add(name[8:-1])
        addresses = set()
        for table in ("/proc/net/tcp", "/proc/net/tcp6"):
            with contextlib.suppress(OSError):
                for line in open(table).read().splitlines()[1:]:
                    fields = line.split()
                    if fields[3] == "0A" and fields[9] in held:
                        addresses.add(fields[1])
        expect(addresses, "no listening socket found")
        loopback = ("0100007F:0885", "00000000000000000000000001000000:0885")
        expect(addresses <= set(loopback), "it listens on %s" % addresses)
        process.terminate()
        equal(0, process.wait(15), "exit code after SIGTERM")
        log.seek(0)
        text = log.read()
        for word in ("2181", "aviary-data", "127.0.0.1|localhost|loopback", "clientPortAddress|--address|--host|--listen",
                     "zkCli|kazoo|srvr|nc "):
            expect(re.search(word, text), "it does not say %r:\n%s" % (word, text))
        if os.geteuid() == 0:
            expect(re.search(r"\broot\b", text), "it does not warn of running as root:\n" + text)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def port_taken(check):
    "the port is taken"
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        server = check.server("port-taken", port=taken.getsockname()[1])
        words = [str(server.port), "in use|taken|already"] if check.kind == "aviary" else ["in use"]
        refused(server, *words)


def file_for_directory(check):
    "dataDir is a file"
    place = os.path.join(check.work, "a-file")
    open(place, "w").close()
    server = check.server("file-for-directory", data=os.path.join(check.work, "unused"))
    text = open(server.file).read().replace(server.data, place)
    open(server.file, "w").write(text)
    refused(server, "a-file")


def as_nobody(server):
    """Arguments to start `server` as a user without rights, its files and the way to them opened for reading; None where
    that cannot be: not root, or a clone below a folder that others may not enter."""
    if os.geteuid() != 0:
        return None
    place = server.work
    while place != tempfile.gettempdir() and place != "/":
        os.chmod(place, os.stat(place).st_mode | 0o055)
        place = os.path.dirname(place)
    popen = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with contextlib.suppress(OSError):
        for command in ([BINARY, "version"], ["cat", server.file]):
            if subprocess.run(command, capture_output=True, cwd="/", **popen).returncode:
                return None
        return popen
    return None


def not_writable(check):
    "the data directory is not writable"
    server = check.server("not-writable")
    popen = as_nobody(server)
    if popen is None and os.geteuid() == 0:
        check.say("     (another user cannot run this binary here: that start is not tried)")
        return
    os.chmod(server.data, 0o555)
    try:
        refused(server, re.escape(server.data), "permission|writ|owner|may not", **(popen or {}))
    finally:
        os.chmod(server.data, 0o755)


def wrong_owner(check):
    "the data belongs to another user"
    server = check.server("wrong-owner")
    popen = as_nobody(server)
    if popen is None:
        check.say("     (no other user to be here: that start is not tried)")
        return
    server.start()
    c = wire.Connection(server.port)
    c.create("/of-root")
    c.close()
    server.stop()
    refused(server, re.escape(server.data), "root|owner|permission|may not", **popen)


def in_use(check):
    "a second server on the same directory"
    first = check.server("first").start()
    c = wire.Connection(first.port)
    c.create("/one", b"1")
    second = check.server("second", data=first.data)
    refused(second, re.escape(first.data), "in use|another|already|second", str(first.process.pid))
    equal(b"1", c.get("/one")[0])
    c.create("/two", b"2")
    first.kill9()
    second.start()                          # a dead server holds nothing
    equal({"/one", "/two"}, set(second.tree()) & {"/one", "/two"})
    second.stop()
    first.start()
    first.stop()


def damaged_log(check):
    "a damaged log is named, with offset and last good zxid, and not served"
    server = check.server("damaged-log", data=os.path.join(check.work, "damaged-log-data"))
    shutil.rmtree(server.data)
    shutil.copytree(os.path.join(GOLDEN, "disk", "e-corrupt-middle"), server.data)
    before = snapshot_of(server.data)
    words = ["log\\.1", "744", "0x7"] if check.kind == "aviary" else ["CRC"]
    refused(server, *words)
    if check.kind == "aviary":
        equal(before, snapshot_of(server.data), "files of the directory")


def snapshot_of(directory):
    """{file: bytes} of all data files below a directory; the lock file is not one."""
    out = {}
    for place, _, names in os.walk(directory):
        for name in names:
            if name.startswith(("log.", "snapshot.")):
                with open(os.path.join(place, name), "rb") as file:
                    out[os.path.relpath(os.path.join(place, name), directory)] = file.read()
    return out


def damaged_snapshot(check):
    "a damaged snapshot: the one before it and the logs give the same tree; with none left it is refused"
    server = check.server("damaged-snapshot", {"snapCount": "40", "preAllocSize": "64"}).start()
    c = wire.Connection(server.port)
    for i in range(200):
        c.create("/n%d" % i, b"%d" % i)
    c.drop()
    files = os.path.join(server.data, "version-2")

    def snapshots():
        return sorted((n for n in os.listdir(files) if re.fullmatch("snapshot\\.[0-9a-f]+", n)),
                      key=lambda n: int(n.split(".")[1], 16))
    wait_until("two snapshots", lambda: len(snapshots()) >= 2)
    server.kill9()
    newest = snapshots()[-1]
    spoil(os.path.join(files, newest))
    server.start()
    missing = {"/n%d" % i for i in range(200)} - set(server.tree())
    expect(not missing, "missing: %s" % sorted(missing)[:5])
    server.kill9()
    if check.kind == "aviary":
        expect(newest in server.text(), "it does not name %s:\n%s" % (newest, server.tail()))
    for name in snapshots():
        if name != newest:
            spoil(os.path.join(files, name))
    refused(server, *(["snapshot\\."] if check.kind == "aviary" else []))


def spoil(path):
    with open(path, "r+b") as file:
        size = os.path.getsize(path)
        file.seek(size // 2)
        byte = file.read(1)
        file.seek(size // 2)
        file.write(bytes([byte[0] ^ 0xFF]))


def missing_log(check):
    "a missing log in the middle is told, not skipped"
    server = check.server("missing-log", data=os.path.join(check.work, "missing-log-data"))
    shutil.rmtree(server.data)
    shutil.copytree(os.path.join(GOLDEN, "disk", "b-snapshots-and-logs"), server.data)
    files = os.path.join(server.data, "version-2")
    for name in os.listdir(files):
        if name.startswith("snapshot.") and name != "snapshot.9":
            os.remove(os.path.join(files, name))
    os.remove(os.path.join(files, "log.22"))
    refused(server, *(["log\\.2b|log\\.18|0x22"] if check.kind == "aviary" else []))


def configuration(check):
    "zoo.cfg: bad values, unknown keys, what is not there yet"
    def config(name, extra):
        server = check.server("cfg-" + name)
        with open(server.file, "a") as out:
            out.write(extra + "\n")
        return server, len(open(server.file).read().splitlines())

    server, line = config("bad-value", "snapCount=many")
    refused(server, "zoo\\.cfg", r"\b%d\b" % line, "snapCount", "many")
    server, line = config("two-bad-values", "preAllocSize=big\nsnapCount=many")
    refused(server, "preAllocSize", "snapCount")
    for name, extra, words in (("tls", "secureClientPort=2281", ["secureClientPort", "TLS"]),
                               ("sasl", "sessionRequireClientSASLAuth=true", ["sessionRequireClientSASLAuth"]),
                               ("audit", "audit.enable=true", ["audit"]),
                               ("ensemble", "initLimit=5\nsyncLimit=2\nserver.1=a:2888:3888\nserver.2=b:2888:3888"
                                            "\nserver.3=c:2888:3888", ["ensemble"])):
        refused(config(name, extra)[0], *words)
    server, _ = config("unknown", "maxClientCnxn=3\ninitLimit=5\nadmin.serverPort=8080\nforceSync=no\nskipACL=yes")
    server.start()
    server.stop()
    text = server.text()
    for word in ("maxClientCnxn.{0,80}maxClientCnxns", "initLimit", "admin.serverPort", "forceSync", "skipACL"):
        expect(re.search(word, text, re.S), "it does not say %r:\n%s" % (word, server.tail()))
    server = check.server("cfg-none")
    os.remove(server.file)
    refused(server, "zoo\\.cfg", "no such file|not found|does not exist|cannot be read|missing")


def full_disk(check):
    "a full disk: new writes get SystemError and no zxid, reads and closing go on, writes resume with space"
    server = check.server("full-disk", {"preAllocSize": "256", "snapCount": "100000"})
    disk = SmallDisk(server)
    if not disk.is_possible:
        check.say("     (no file system can be mounted here: the full disk is not tried)")
        return
    server.start()
    c, reader, leaving = wire.Connection(server.port), wire.Connection(server.port), wire.Connection(server.port)
    c.create("/d", b"")
    leaving.create("/ephemeral", b"", flags=1)
    disk.fill()
    acknowledged, codes = 0, []
    for i in range(2000):
        try:
            c.create("/d/n%d" % i, bytes(8000))
            acknowledged += 1
        except wire.ServerError as error:
            codes.append(error.code)
            if len(codes) >= 20:
                break
    equal([-1] * 20, codes, "codes of the refused writes")
    zxid = c.zxid
    c.get("/d")
    for call in (lambda: c.set("/d", b"x"), lambda: c.delete("/d/n0"), lambda: c.multi(
            [(wire.CREATE, wire.create_record("/m"))])):
        with contextlib.suppress(wire.ServerError):
            call()
    equal(acknowledged, len(reader.children("/d")), "children while the disk is full")
    expect(reader.exists("/ephemeral"), "the ephemeral is gone")
    leaving.close()
    equal(None, reader.exists("/ephemeral"), "the ephemeral of a session closed while the disk is full")
    equal(zxid + 1, reader.zxid, "zxid after refused writes and one closed session")
    expect(re.search("full|space", server.text(), re.I), "the log says nothing:\n" + server.tail())
    lines = [line for line in server.text().splitlines() if re.search("full|no space|disk", line, re.I)]
    expect(len(lines) <= 5, "%d lines of log: %s" % (len(lines), lines[:8]))
    disk.make_room()

    def resumes():
        try:
            return c.create("/d/later-", b"", flags=2)
        except wire.ServerError as error:
            equal(-1, error.code, "while it resumes")
    wait_until("writes to resume", resumes, 20, every=0.2)
    equal(acknowledged + 1, len(reader.children("/d")), "children")
    copy = check.server("full-disk-copy")
    shutil.rmtree(copy.data)
    server.process.send_signal(19)                                 # SIGSTOP: a copy of one moment
    try:
        time.sleep(0.1)
        shutil.copytree(disk.path, copy.data)
    finally:
        server.process.send_signal(18)
    server.kill9()
    copy.start()
    equal(acknowledged + 1, copy.tree()["/d"]["stat"]["numChildren"], "children after a restart on a copy")


SHARED = [port_taken, file_for_directory, damaged_log, damaged_snapshot, missing_log]
OURS = [helps, nothing_configured, not_writable, wrong_owner, in_use, configuration, full_disk]


def main():
    with Check("start-trouble") as check:
        check.run(SHARED + (OURS if check.kind == "aviary" else []), check)


if __name__ == "__main__":
    main()
