"""kazoo, the Python client: every operation and watch it has, then the same session across kill -9 and restart of the server."""
import logging
import threading

import wire
from harness import Check, equal, expect, raises, wait_until

from kazoo import exceptions as errors
from kazoo.client import KazooClient, KazooState, TransactionRequest
from kazoo.protocol.states import EventType
from kazoo.security import ACL, CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, READ_ACL_UNSAFE, Id, make_acl, make_digest_acl

logging.getLogger("kazoo").setLevel(logging.CRITICAL)
QUICK = dict(max_tries=-1, delay=0.05, max_delay=0.2, backoff=1.5)


def connect(server, **more):
    client = KazooClient(hosts=server.address, timeout=15, connection_retry=QUICK, command_retry=QUICK, **more)
    client.start(15)
    return client


class Recorder:
    """Collects what a watch is called with."""

    def __init__(self):
        self.seen, self.lock = [], threading.Lock()

    def __call__(self, *what):
        with self.lock:
            self.seen.append(what[0] if len(what) == 1 else what)

    def events(self, count):
        """The first `count` events as (type, path), waited for; NONE events of a lost connection are left aside."""
        def enough():
            return len([e for e in self.seen if e.type != EventType.NONE]) >= count
        wait_until("%d events" % count, enough, 10)
        return [(e.type, e.path) for e in self.seen if e.type != EventType.NONE]


def create_modes(server, k):
    "create: persistent, ephemeral, sequential, ephemeral sequential, with parents"
    equal("/modes", k.create("/modes", b"root"))
    equal("/modes/p", k.create("/modes/p", b"data"))
    equal("/modes/e", k.create("/modes/e", b"", ephemeral=True))
    equal("/modes/s0000000002", k.create("/modes/s", sequence=True))
    equal("/modes/es0000000003", k.create("/modes/es", ephemeral=True, sequence=True))
    equal("/modes/a/b/c", k.create("/modes/a/b/c", b"deep", makepath=True))
    path, stat = k.create("/modes/with-stat", b"12345", include_data=True)
    equal(("/modes/with-stat", 5, 0), (path, stat.dataLength, stat.version))
    equal(k.client_id[0], k.exists("/modes/e").ephemeralOwner)
    equal(0, k.exists("/modes/p").ephemeralOwner)
    k.ensure_path("/modes/ensured/below")
    expect(k.exists("/modes/ensured/below"), "ensure_path made nothing")
    equal("/modes/ünï/节点", k.create("/modes/ünï/节点", "値".encode(), makepath=True))
    equal("値".encode(), k.get("/modes/ünï/节点")[0])


def data_versions(server, k):
    "get and set with versions"
    k.create("/data", b"one")
    data, stat = k.get("/data")
    equal((b"one", 0), (data, stat.version))
    equal(1, k.set("/data", b"two").version)
    equal(2, k.set("/data", b"three", version=1).version)
    with raises(errors.BadVersionError):
        k.set("/data", b"four", version=0)
    data, after = k.get("/data")
    equal((b"three", 2, 5), (data, after.version, after.dataLength))
    expect(after.mzxid > after.czxid == stat.czxid, "zxids of the stat")
    expect(after.mtime >= after.ctime == stat.ctime > 10 ** 12, "times of the stat")
    big = bytes(range(256)) * 3900                                  # just below the limit of one frame
    k.set("/data", big)
    equal(big, k.get("/data")[0])


def delete_nodes(server, k):
    "delete: versions, not empty, recursive"
    k.create("/del/a/b", makepath=True)
    with raises(errors.NotEmptyError):
        k.delete("/del/a")
    with raises(errors.BadVersionError):
        k.delete("/del/a/b", version=3)
    k.delete("/del/a/b", version=0)
    equal(None, k.exists("/del/a/b"))
    k.create("/del/c/d/e", makepath=True)
    k.delete("/del", recursive=True)
    equal(None, k.exists("/del"))


def children(server, k):
    "get_children, with and without the stat"
    k.ensure_path("/kids")
    for name in ("x", "y", "z"):
        k.create("/kids/" + name)
    equal(["x", "y", "z"], sorted(k.get_children("/kids")))
    names, stat = k.get_children("/kids", include_data=True)
    equal((3, 3, 3), (len(names), stat.numChildren, stat.cversion))
    equal([], k.get_children("/kids/x"))
    expect("zookeeper" in k.get_children("/"), "the root has no /zookeeper")


def error_codes(server, k):
    "errors: no node, exists, parent missing, ephemeral parents, bad arguments"
    for call in (lambda: k.get("/nope"), lambda: k.set("/nope", b""), lambda: k.delete("/nope"),
                 lambda: k.get_children("/nope"), lambda: k.get_acls("/nope"), lambda: k.create("/nope/child")):
        with raises(errors.NoNodeError):
            call()
    k.create("/err")
    with raises(errors.NodeExistsError):
        k.create("/err")
    k.create("/err/eph", ephemeral=True)
    with raises(errors.NoChildrenForEphemeralsError):
        k.create("/err/eph/child")
    with raises(errors.InvalidACLError):
        k.create("/err/acl", acl=[ACL(31, Id("no-such-scheme", "x"))])
    with raises(errors.BadArgumentsError):
        k.delete("/zookeeper")


def transactions(server, k):
    "transactions: commit, rollback with one error and the rest"
    k.create("/tx", b"0")
    t = k.transaction()
    t.create("/tx/a", b"1")
    t.create("/tx/s", sequence=True)
    t.create("/tx/e", ephemeral=True)
    t.set_data("/tx", b"changed")
    t.check("/tx", 1)
    t.delete("/tx/a")
    a, s, e, changed, check, deleted = t.commit()
    equal(("/tx/a", "/tx/s0000000001", "/tx/e", 1, True, True), (a, s, e, changed.version, check, deleted))
    equal(["e", "s0000000001"], sorted(k.get_children("/tx")))
    one_zxid = {k.exists("/tx/e").czxid, k.exists("/tx/s0000000001").czxid, k.exists("/tx").mzxid}
    equal(1, len(one_zxid), "zxids of one transaction")
    t = k.transaction()
    t.create("/tx/never")
    t.check("/tx", 77)
    t.delete("/tx/e")
    results = t.commit()
    equal([errors.RolledBackError, errors.BadVersionError, errors.RuntimeInconsistency], [type(r) for r in results])
    equal(None, k.exists("/tx/never"))
    expect(k.exists("/tx/e"), "a part of a failed transaction was done")
    with k.transaction() as t:
        expect(isinstance(t, TransactionRequest), "no transaction")
        t.create("/tx/with")
    expect(k.exists("/tx/with"), "the transaction of a with block was not committed")


def acl_world(server, k):
    "ACLs: read, set, version, what a reader may not do"
    k.create("/acl", b"x", acl=OPEN_ACL_UNSAFE)
    acls, stat = k.get_acls("/acl")
    equal((OPEN_ACL_UNSAFE, 0), (acls, stat.aversion))
    equal(1, k.set_acls("/acl", READ_ACL_UNSAFE, version=0).aversion)
    with raises(errors.NoAuthError):
        k.set("/acl", b"y")
    with raises(errors.NoAuthError):
        k.create("/acl/child")
    with raises(errors.NoAuthError):
        k.set_acls("/acl", OPEN_ACL_UNSAFE)
    equal(b"x", k.get("/acl")[0])
    k.create("/acl-ip", acl=[make_acl("ip", "127.0.0.1", all=True)])
    k.set("/acl-ip", b"from here")
    k.create("/acl-other-ip", acl=[make_acl("ip", "10.9.8.0/24", all=True)])
    with raises(errors.NoAuthError):
        k.get("/acl-other-ip")


def acl_digest(server, k):
    "digest authentication: creator, another user, a user added later, default ACL, super user"
    owner = connect(server, auth_data=[("digest", "alice:wonder")])
    owner.create("/digest", b"secret", acl=CREATOR_ALL_ACL)
    acls, _ = owner.get_acls("/digest")
    equal("digest", acls[0].id.scheme)
    equal(make_digest_acl("alice", "wonder", all=True), acls[0])
    with raises(errors.NoAuthError):
        k.get("/digest")
    with raises(errors.NoAuthError):
        k.get_children("/digest")
    late = connect(server)
    with raises(errors.NoAuthError):
        late.get("/digest")
    late.add_auth("digest", "alice:wonder")
    equal(b"secret", late.get("/digest")[0])
    with raises(errors.AuthFailedError):
        k2 = connect(server)
        try:
            k2.add_auth("no-such-scheme", "x")
        finally:
            k2.stop()
            k2.close()
    root = connect(server, auth_data=[("digest", "super:secret")])
    root.set("/digest", b"by the super user")
    defaults = connect(server, default_acl=[make_digest_acl("bob", "b", all=True)], auth_data=[("digest", "bob:b")])
    defaults.create("/digest-default", b"d")
    equal("bob", defaults.get_acls("/digest-default")[0][0].id.id.split(":")[0])
    with raises(errors.NoAuthError):
        k.set("/digest-default", b"")
    for client in (owner, late, root, defaults):
        client.stop()
        client.close()


def sync_and_words(server, k):
    "sync, server_version, four-letter words, exists of the root"
    equal("/", k.sync("/"))
    k.create("/sync")
    equal("/sync", k.sync("/sync"))
    expect(k.server_version() >= (3, 8), "server_version %r" % (k.server_version(),))
    expect(k.server_version()[:2] == ((3, 8) if server.kind == "debian" else (3, 9)), "server_version")
    equal("imok", k.command(b"ruok"))
    expect("standalone" in k.command(b"srvr"), "srvr does not say standalone")
    expect(k.exists("/").numChildren > 1, "the root has no children")


def many_in_flight(server, k):
    "two thousand asynchronous operations in flight"
    k.create("/async")
    created = [k.create_async("/async/n%04d" % i, b"%d" % i) for i in range(1000)]
    read = [k.get_async("/async/n%04d" % i) for i in range(1000)]
    for i, result in enumerate(created):
        equal("/async/n%04d" % i, result.get(20))
    for i, result in enumerate(read):
        equal(b"%d" % i, result.get(20)[0])
    k.delete("/async", recursive=True)


def chroot(server, k):
    "a chroot in the connection string"
    k.create("/chroot")
    inner = KazooClient(hosts=server.address + "/chroot", timeout=15)
    inner.start(15)
    seen = Recorder()
    equal(None, inner.exists("/x", watch=seen))
    equal("/x", inner.create("/x", b"1"))
    equal([(EventType.CREATED, "/x")], seen.events(1))
    equal(b"1", k.get("/chroot/x")[0])
    inner.stop()
    inner.close()


def one_shot_watches(server, k):
    "one-shot watches: data, exists, children; one event each"
    data, exists, kids, gone = Recorder(), Recorder(), Recorder(), Recorder()
    equal(None, k.exists("/watch", watch=exists))
    k.create("/watch")
    equal([(EventType.CREATED, "/watch")], exists.events(1))
    k.get("/watch", watch=data)
    k.get_children("/watch", watch=kids)
    k.set("/watch", b"1")
    equal([(EventType.CHANGED, "/watch")], data.events(1))
    k.create("/watch/child")
    equal([(EventType.CHILD, "/watch")], kids.events(1))
    k.set("/watch", b"2")
    k.delete("/watch/child")
    k.get("/watch", watch=gone)
    k.delete("/watch")
    equal([(EventType.DELETED, "/watch")], gone.events(1))
    equal((1, 1, 1), (len(data.seen), len(kids.seen), len(exists.seen)), "one event each")


def data_and_children_watches(server, k):
    "DataWatch and ChildrenWatch: every state, of nodes that come and go"
    data, kids = Recorder(), Recorder()
    k.DataWatch("/dw", lambda value, stat: data(value))
    k.create("/dw", b"1")
    wait_until("the value 1", lambda: data.seen[-1:] == [b"1"])
    k.ChildrenWatch("/dw", lambda names: kids(sorted(names)))
    wait_until("no children yet", lambda: kids.seen[-1:] == [[]])
    k.set("/dw", b"2")
    wait_until("the value 2", lambda: data.seen[-1:] == [b"2"])
    k.create("/dw/a")
    wait_until("one child", lambda: kids.seen[-1:] == [["a"]])
    k.create("/dw/b")
    wait_until("two children", lambda: kids.seen[-1:] == [["a", "b"]])
    k.delete("/dw", recursive=True)
    wait_until("no value", lambda: data.seen[-1:] == [None])
    equal(None, data.seen[0], "first call")


def other_sessions_events(server, k):
    "events of another session's writes, and of its end"
    other = connect(server)
    changed, kids = Recorder(), Recorder()
    k.create("/others", b"")
    k.get("/others", watch=changed)
    other.set("/others", b"by other")
    equal([(EventType.CHANGED, "/others")], changed.events(1))
    other.create("/others/eph", ephemeral=True)
    k.get_children("/others", watch=kids)
    other.stop()
    other.close()
    equal([(EventType.CHILD, "/others")], kids.events(1))
    equal([], k.get_children("/others"))


def across_a_kill(check):
    "across kill -9: acknowledged data, the session, its ephemerals and its watches"
    server = check.server("kill").start()
    k, states = connect(server), Recorder()
    k.add_listener(states)
    for i in range(50):
        k.create("/acked/n%02d" % i, b"value %d" % i, makepath=True)
    k.create("/acked/eph", b"mine", ephemeral=True)
    k.create("/watched", b"0")
    data, kids = Recorder(), Recorder()
    k.DataWatch("/watched", lambda value, stat: data(value))
    k.ChildrenWatch("/watched", lambda names: kids(sorted(names)))
    before, stat = k.client_id, k.exists("/acked/n07")
    for round_ in range(1, 4):
        server.restart()
        wait_until("the connection to come back", lambda: k.connected and k.state == KazooState.CONNECTED)
        equal(before, k.client_id, "session id and password, round %d" % round_)
        equal(before[0], k.retry(k.exists, "/acked/eph").ephemeralOwner, "owner of the ephemeral")
        for i in range(50):
            equal(b"value %d" % i, k.retry(k.get, "/acked/n%02d" % i)[0])
        equal(stat, k.exists("/acked/n07"), "the stat of a node")
        k.retry(k.set, "/watched", b"%d" % round_)
        wait_until("the DataWatch", lambda: data.seen[-1:] == [b"%d" % round_])
        k.retry(k.create, "/watched/c%d" % round_)
        wait_until("the ChildrenWatch", lambda: kids.seen[-1:] == [["c%d" % i for i in range(1, round_ + 1)]])
        equal("/acked/after%010d" % (51 + round_ - 1), k.create("/acked/after", sequence=True))
    expect(KazooState.LOST not in states.seen, "the session was lost")
    other = connect(server)
    k.stop()
    k.close()
    equal(None, other.exists("/acked/eph"), "the ephemeral of a closed session")
    other.stop()
    other.close()


def expiry_across_a_kill(check):
    "across kill -9: a session whose client does not come back expires, and its ephemerals go"
    server = check.server("expiry").start()
    gone = wire.Connection(server.port, timeout=2000)
    gone.create("/left-behind", flags=1)
    gone.drop()
    server.restart()
    k = connect(server)
    seen = Recorder()
    k.DataWatch("/left-behind", lambda value, stat: seen(value))
    wait_until("the ephemeral to go", lambda: seen.seen[-1:] == [None], 20)
    k.stop()
    k.close()


OPERATIONS = [create_modes, data_versions, delete_nodes, children, error_codes, transactions, acl_world, acl_digest,
              sync_and_words, many_in_flight, chroot, one_shot_watches, data_and_children_watches, other_sessions_events]


def main():
    with Check("kazoo") as check:
        def operations():
            server = check.server().start()
            k = connect(server)
            check.run(OPERATIONS, server, k)
            k.stop()
            k.close()

        check.together(operations, lambda: check.run([across_a_kill], check),
                       lambda: check.run([expiry_across_a_kill], check))


if __name__ == "__main__":
    main()
