"""What a server leaves on disk: the same files and records as Apache 3.9.5 after the same writes; old files purged as
configured; and an orderly end that complains of nothing.
"""
import contextlib
import os
import re
import struct
import zlib

import wire
from files import write_history
from harness import Check, equal, expect, wait_until


def files(server):
    """Names in version-2; what is not data is left aside."""
    return sorted(name for name in os.listdir(os.path.join(server.data, "version-2"))
                  if name.startswith(("log.", "snapshot.")))


def records(server, name):
    """What a log holds, by docs/protocol/disk-format.md section 3: (cxid, zxid, type, length) of each record; checksums are
    compared, and nothing but zeros may follow."""
    with open(os.path.join(server.data, "version-2", name), "rb") as file:
        raw = file.read()
    equal(b"ZKLG", raw[:4], "magic of " + name)                  # the other 12 bytes of the header no reader looks at
    out, at = [], 16
    while at + 12 <= len(raw):
        checksum, length = struct.unpack_from(">qi", raw, at)
        if length == 0:
            break
        payload = raw[at + 12:at + 12 + length]
        equal(zlib.adler32(payload), checksum, "checksum at %d of %s" % (at, name))
        equal(0x42, raw[at + 12 + length], "end of the record at %d of %s" % (at, name))
        _, cxid, zxid, _, kind = struct.unpack_from(">qiqqi", payload)
        out.append((cxid, zxid, kind, length))
        at += 13 + length
    expect(not any(raw[at:]), "%s holds something behind its last record" % name)
    return out


def same_files(check):
    "the same writes leave the same files as in Apache 3.9.5: their names, and their records but for times and session ids"
    settings = {"preAllocSize": "16", "snapCount": "100000"}
    apache = check.server("same-apache", settings, kind="apache")
    ours = check.server("same-ours", settings)
    check.together(apache.start, ours.start)
    for step in ("/first", "/second"):
        check.together(lambda: write_history(apache, step, 5), lambda: write_history(ours, step, 5))
        equal(files(apache), files(ours), "files")
        for name in files(apache):
            if name.startswith("log."):
                want, got = records(apache, name), records(ours, name)
                equal(len(want), len(got), "records in " + name)
                for a, b in zip(want, got):
                    equal(a, b, "(cxid, zxid, type, length) in " + name)
        for server in (apache, ours):
            server.restart()
    # The snapshot of a start is written beside the work.
    with contextlib.suppress(AssertionError):
        wait_until("the last snapshots", lambda: files(apache) == files(ours), 10)
    equal(files(apache), files(ours), "files after the last restart")


def purge(check):
    "purge: on by itself with the newest three snapshots kept, off with autopurge.purgeInterval=0, and never a log that is needed"
    for name, settings, kept in (("purge-default", {}, 3), ("purge-off", {"autopurge.purgeInterval": "0"}, None),
                                 ("purge-five", {"autopurge.purgeInterval": "1", "autopurge.snapRetainCount": "5"}, 5)):
        if check.kind != "aviary" and name == "purge-default":
            continue                                     # Apache's default is off
        server = check.server(name, dict(settings, snapCount="20", preAllocSize="16"))
        server.start()
        made = set()
        for round_ in range(8):
            c = wire.Connection(server.port)
            for i in range(30):
                c.create("/r%d-%d" % (round_, i), b"x")
            c.drop()
            # Snapshots are written beside the work; the next kill shall not meet one half done.
            wait_until("another snapshot", lambda: set(files(server)) - made, 10)
            made |= {n for n in files(server) if n.startswith("snapshot.")}
            server.restart()
        tree = server.tree()
        server.restart()                                 # the first purge is at start

        def snapshots():
            return [n for n in files(server) if n.startswith("snapshot.")]
        if kept:
            wait_until("the purge to leave %d snapshots; there are %s" % (kept, sorted(files(server))),
                       lambda: len(snapshots()) <= kept + 1, 20)
            expect(len(snapshots()) >= kept, "only %d snapshots are left" % len(snapshots()))
            oldest = min(int(n.split(".")[1], 16) for n in snapshots())
            logs = sorted(int(n.split(".")[1], 16) for n in files(server) if n.startswith("log."))
            expect(not logs or logs[0] <= oldest + 1, "the logs begin at %#x, the oldest snapshot is %#x" % (logs[0], oldest))
        else:
            expect(len(snapshots()) >= 8, "only %d snapshots are left" % len(snapshots()))
        equal([], wire.differences(tree, server.tree()), "the tree after it")


def orderly_end(check):
    "an orderly end, idle and under load: exit code 0, no error in the log, all sessions and data there again"
    server = check.server("orderly")
    server.start()
    c = wire.Connection(server.port)
    c.create("/kept", b"x")
    c.create("/ephemeral", b"", flags=1)
    for i in range(500):
        c.request(wire.CREATE, wire.create_record("/load%d" % i, b"x"))
    expected = 0 if check.kind == "aviary" else 143
    equal(expected, server.stop(), "exit code")
    acknowledged = 0
    try:
        for _ in range(500):
            _, error, _ = c.reply()
            acknowledged += error == 0
    except OSError:
        pass
    if check.kind == "aviary":
        bad = [line for line in server.text().splitlines() if re.search(r"\b(error|fatal|critical)\b", line, re.I)]
        equal([], bad, "errors in the log")
    server.start()
    again = wire.Connection(server.port, session=c.session, password=c.password)
    equal(c.session, again.session)
    children = set(again.children("/"))
    expect({"kept", "ephemeral"} | {"load%d" % i for i in range(acknowledged)} <= children, "acknowledged writes are lost")
    again.close()
    equal(expected, server.stop(), "exit code")


CASES = [same_files, purge, orderly_end]


def main():
    with Check("housekeeping") as check:
        check.run(CASES, check)


if __name__ == "__main__":
    main()
