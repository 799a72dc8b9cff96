"""Data directories both ways: what one server wrote another must open with an equal tree, all fields of every Stat included, with
its sessions, and without a mismatch of the tree digest. Ours, Apache 3.9.5 and Debian's 3.8 take turns on the same directory,
each writing a varied history into it; every kind of node, ACLs, quotas, transactions, plain and compressed snapshots, ends by
SIGTERM and by kill -9.
"""
import os
import random
import shutil
import struct

import wire
from harness import BASE, Check, equal, expect

OURS, APACHE, DEBIAN = "aviary", "apache", "debian"


class Session:
    """A session that outlives its connection and its server."""

    def __init__(self, connection):
        self.id, self.password = connection.session, connection.password

    def attach(self, port):
        connection = wire.Connection(port, session=self.id, password=self.password, timeout=120000)
        equal(self.id, connection.session, "session id")
        connection.drop()


def write_history(server, root, seed):
    """Writes below `root` all that a tree can hold, and 300 random operations; returns the sessions left open."""
    chance = random.Random(seed)
    c = server.super_user(timeout=120000)
    alice = wire.Connection(server.port, timeout=120000).auth("digest", b"alice:wonder")
    c.create(root, b"root of the step")
    c.set("/", b"data of the root, " + root.encode())
    kinds = root + "/kinds"
    c.create(kinds)
    c.create(kinds + "/empty", b"")
    c.create(kinds + "/null", None)
    c.create(kinds + "/binary", bytes(range(256)) * 8)
    c.create(kinds + "/large", chance.randbytes(300000))
    c.create(kinds + "/ünï-节点-ά", "значение".encode())
    c.create(kinds + "/with space and = : ;", b"x")
    c.create(kinds + "/sequential-", b"1", flags=2)
    c.create(kinds + "/sequential-", b"2", flags=2)
    c.create(kinds + "/", b"only a number", flags=2)
    c.create(kinds + "/container", b"", flags=4)
    c.create(kinds + "/container/child", b"")
    c.create(kinds + "/ttl", b"t", flags=5, ttl=3600000)
    c.create(kinds + "/ttl-", b"t", flags=6, ttl=7200000)
    c.create(kinds + "/ttl/child", b"t")
    deep = kinds
    for i in range(30):
        deep += "/d%d" % i
        c.create(deep, b"%d" % i)

    acls = root + "/acls"
    c.create(acls)
    c.create(acls + "/read-only", b"r", acl=[(1, "world", "anyone")])
    c.create(acls + "/several", b"s", acl=[(31, "digest", "bob:8fmlJWRUbbhAO7oyTqXsbkHSPg4="), (3, "ip", "10.0.0.0/8"),
                                          (1, "world", "anyone")])
    alice.create(acls + "/auth", b"a", acl=[(31, "auth", "")])
    c.create(acls + "/changed", b"c")
    c.set_acl(acls + "/changed", [(7, "world", "anyone"), (31, "ip", "127.0.0.1")])
    c.set_acl(acls + "/changed", [(31, "world", "anyone")], version=1)

    quota = "/zookeeper/quota" + root
    for path in (quota, quota + "/limited"):
        c.create(path)
    c.create(root + "/limited", b"12345")
    c.create(quota + "/limited/zookeeper_limits", b"count=20,bytes=2000=;byteHardLimit=3000;countHardLimit=30")
    c.create(quota + "/limited/zookeeper_stats", b"count=0,bytes=0")
    for i in range(5):
        c.create(root + "/limited/n%d" % i, b"x" * i * 10)
    c.delete(root + "/limited/n3")
    c.set(root + "/limited/n4", b"shorter")

    multi = root + "/multi"
    c.create(multi)
    equal([], c.multi([
        (wire.CREATE, wire.create_record(multi + "/a", b"1")),
        (wire.CREATE, wire.create_record(multi + "/s-", b"2", flags=2)),
        (wire.SET_DATA, wire.string(multi + "/a") + wire.buffer(b"3") + struct.pack(">i", 0)),
        (wire.CREATE_CONTAINER, wire.create_record(multi + "/c", b"", flags=4)),
        (wire.CREATE_TTL, wire.create_record(multi + "/t", b"", flags=5, ttl=3600000)),
        (wire.CREATE, wire.create_record(multi + "/gone", b"")),
        (wire.DELETE, wire.string(multi + "/gone") + struct.pack(">i", 0)),
    ]))
    equal([0, -103, -2], c.multi([
        (wire.CREATE, wire.create_record(multi + "/never", b"")),
        (13, wire.string(multi + "/a") + struct.pack(">i", 5)),
        (wire.DELETE, wire.string(multi + "/a") + struct.pack(">i", -1)),
    ]), "a failed multi")
    for refused in (lambda: c.create(multi), lambda: c.delete(multi), lambda: c.set(multi, b"", 9),
                    lambda: c.create(root + "/none/x")):
        try:
            refused()
            raise AssertionError("a write that must be refused was done")
        except wire.ServerError:
            pass

    ephemerals = root + "/ephemerals"
    c.create(ephemerals)
    staying, closing = wire.Connection(server.port, timeout=120000), wire.Connection(server.port)
    for i in range(5):
        staying.create(ephemerals + "/e-", b"%d" % i, flags=3)
        closing.create(ephemerals + "/closing%d" % i, b"", flags=1)
    c.multi([(wire.CREATE, wire.create_record(ephemerals + "/of-c", b"", flags=1))])
    closing.close()

    churn, alive = root + "/churn", []
    c.create(churn)
    for i in range(300):
        path = churn + "/n%d" % i
        pick = chance.random()
        if pick < 0.5 or not alive:
            c.create(path, chance.randbytes(chance.randrange(200)))
            alive.append(path)
        elif pick < 0.75:
            c.set(chance.choice(alive), chance.randbytes(chance.randrange(200)))
        elif pick < 0.9:
            c.delete(alive.pop(chance.randrange(len(alive))))
        else:
            c.set_acl(chance.choice(alive), [(chance.randrange(1, 32), "world", "anyone")])
    for connection in (staying, c, alice):
        connection.drop()
    return [Session(staying), Session(c), Session(alice)]


def same_tree(want, server):
    bad = wire.differences(want, server.tree())
    expect(not bad, "%d differences: %s" % (len(bad), "; ".join(bad[:8])))


def turns(check, name, settings, order):
    """The servers of `order`, each (kind, how it ends), take turns on one directory."""
    data = os.path.join(check.work, name, "data")
    tree, sessions, writer = None, [], None
    for turn, (kind, end) in enumerate(order):
        actual = check.kind if kind == OURS else kind
        directory = os.path.join(name, "%d-%s" % (turn, actual))
        label = "%s, turn %d: %s" % (name, turn + 1, actual)
        server = check.server(directory, dict(settings), kind=actual, data=data)
        if tree is None:
            server.start()
        else:
            with check.case(label + " opens what %s wrote" % writer):
                server.start()
                same_tree(tree, server)
                for session in sessions:
                    session.attach(server.port)
            if not server.process or server.process.poll() is not None:
                return
            with check.case(label + " counts no digest mismatch"):
                # A snapshot of Apache taken while writes go on may hold more than its digest tells; ours are exact.
                if writer == check.kind or "snapCount" not in settings:
                    equal("0", wire.mntr(server.port).get("digest_mismatches_count"))
        with check.case(label + " writes its history"):
            sessions += write_history(server, "/turn%d" % (turn + 1), seed=turn)
            tree = server.tree()
        if end == "kill":
            server.kill9()
        else:
            with check.case(label + " ends cleanly"):
                server.stop()
        writer = actual
        if actual == check.kind:
            if "snapCount" in settings:
                with check.case(label + " wrote snapshots of the configured form"):
                    form = settings.get("snapshot.compression.method")
                    names = [n for n in os.listdir(os.path.join(data, "version-2"))
                             if n.startswith("snapshot.") and not n.endswith(".tmp")]
                    newest = max(names, key=lambda n: int(n.split(".")[1], 16))
                    equal(form, dict(enumerate(newest.split("."))).get(2), "suffix of " + newest)
            read_copies(check, label, data, settings, tree, sessions)


def read_copies(check, label, data, settings, tree, sessions):
    """Copies of a directory that we wrote, opened by both of Apache's servers."""
    for kind in (APACHE, DEBIAN):
        with check.case("%s: a copy opens in %s" % (label, kind)):
            place = os.path.join(os.path.dirname(data), "copy-for-" + kind)
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(data, os.path.join(place, "data"))
            reader = check.server(os.path.relpath(place, check.work), dict(settings), kind=kind,
                                  data=os.path.join(place, "data"))
            try:
                reader.start()
                same_tree(tree, reader)
                equal("0", wire.mntr(reader.port).get("digest_mismatches_count"), "digest mismatches")
                for session in sessions:
                    session.attach(reader.port)
            finally:
                if reader.process and reader.process.poll() is None:
                    reader.kill9()


# Sessions must outlive a turn, however slow the machine.
PLAIN = {"preAllocSize": "64", "maxSessionTimeout": "120000"}
SNAPSHOTS = dict(PLAIN, snapCount="60")
# More of every turn's order would only repeat pairs: each hand-over between two kinds, by both ends, is in here.
RUNS = {
    "logs alone": ({"maxSessionTimeout": "120000"}, [(OURS, "kill"), (APACHE, "kill"), (OURS, "stop"), (DEBIAN, "stop"), (OURS, "kill"), (DEBIAN, "kill")]),
    "snapshots": (SNAPSHOTS, [(APACHE, "stop"), (OURS, "stop"), (APACHE, "kill"), (OURS, "kill"), (DEBIAN, "stop")]),
    "gz snapshots": (dict(SNAPSHOTS, **{"snapshot.compression.method": "gz"}),
                     [(DEBIAN, "stop"), (OURS, "kill"), (APACHE, "stop"), (OURS, "stop")]),
    "snappy snapshots": (dict(SNAPSHOTS, **{"snapshot.compression.method": "snappy"}),
                         [(OURS, "stop"), (APACHE, "stop"), (OURS, "kill"), (DEBIAN, "stop"), (OURS, "stop")]),
}


def main():
    with Check("files") as check:
        expect(BASE["extendedTypesEnabled"] == "true", "TTL nodes are part of this")
        check.together(*[lambda n=n: turns(check, n, *RUNS[n]) for n in RUNS if check.wants(n)])


if __name__ == "__main__":
    main()
