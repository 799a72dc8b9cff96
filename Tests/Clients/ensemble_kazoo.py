"""kazoo's clients on an ensemble while servers fail: locks, ephemerals, sequential names, watches. `KazooLoad.verify` says what went
wrong. Every client may connect to every server, and goes on with its session wherever it finds one."""
import contextlib
import logging
import random
import threading
import time
import types

from harness import wait_until

from kazoo import exceptions as errors
from kazoo.client import KazooClient
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import EventType, KazooState

logging.getLogger("kazoo").setLevel(logging.CRITICAL)
QUICK = dict(max_tries=-1, delay=0.02, max_delay=0.2, backoff=1.5)
# What a request may end with while servers fail: nobody knows whether it was done.
UNKNOWN = (errors.ConnectionLoss, errors.ConnectionClosedError, errors.SessionExpiredError, errors.OperationTimeoutError,
           KazooTimeoutError, errors.CancelledError)


class Session:
    """A client that counts how often its session was lost."""

    def __init__(self, load):
        self.lost = 0
        self.client = KazooClient(hosts=load.hosts, timeout=load.timeout, connection_retry=QUICK, command_retry=QUICK)
        self.client.add_listener(self.changed)
        self.start(time.monotonic() + 60)

    def start(self, deadline):
        """kazoo reports a connection that was made and has broken at once as a time-out as well, however early it is."""
        while True:
            try:
                return self.client.start(60)
            except KazooTimeoutError:
                if time.monotonic() > deadline:
                    raise

    def changed(self, state):
        self.lost += state == KazooState.LOST

    def end(self):
        self.client.stop()
        self.client.close()


class KazooLoad:
    """`workers` clients with a lock, an ephemeral and sequential names each, one that comes and goes, one that writes what another
    watches."""

    def __init__(self, ensemble, workers=3, timeout=10.0, home="/kazoo"):
        self.hosts, self.timeout, self.home = ensemble.hosts, timeout, home
        self.stopping, self.trouble, self.sessions = threading.Event(), [], []
        self.held, self.names, self.left, self.stayed = [], [], [], []
        self.written, self.seen, self.children_seen = 0, [], []
        self.count = workers
        self.threads = []

    def start(self):
        first = Session(self)
        self.sessions.append(first)
        for path in ("lock", "names", "ephemerals", "watched"):
            first.client.retry(first.client.ensure_path, self.home + "/" + path)
        self.watch(first)
        workers = [(self.work, n) for n in range(self.count)] + [(self.come_and_go, 0), (self.write_watched, 0)]
        self.threads = [threading.Thread(target=self.guarded, args=given, daemon=True) for given in workers]
        for thread in self.threads:
            thread.start()
        return self

    def guarded(self, function, number):
        try:
            function(number)
        except Exception as error:
            self.trouble.append("%s: %s: %s" % (function.__name__, type(error).__name__, error))

    def watch(self, session):
        client = session.client

        @client.DataWatch(self.home + "/watched")
        def data_changed(data, stat):
            if stat is not None:
                self.seen.append((stat.mzxid, data))

        self.watch_names(client)

    def watch_names(self, client):
        """As kazoo's ChildrenWatch, which reads again behind a reconnection only where it thinks that it has to: of 2.11 one whose
        connection breaks just behind an answer, before the thread that waits for it has gone on, never speaks again."""
        path, one_at_a_time = self.home + "/names", threading.Lock()

        def read():
            with one_at_a_time, contextlib.suppress(*UNKNOWN):  # connected again it is read again
                names = client.retry(client.get_children, path, changed)
                self.children_seen.append(len(names))
                self.children = set(names)

        def changed(event):
            if event.type != EventType.NONE:
                client.handler.spawn(read)

        def moved(state):
            if state == KazooState.CONNECTED:
                client.handler.spawn(read)

        client.add_listener(moved)
        read()

    def work(self, number):
        session, chance = Session(self), random.Random(number)
        self.sessions.append(session)
        lost, client = session.lost, session.client
        path = "%s/ephemerals/stays-%d" % (self.home, number)
        client.retry(self.make_ephemeral, client, path)
        while not self.stopping.is_set():
            lock = client.Lock(self.home + "/lock", "worker %d" % number)
            try:
                if not lock.acquire(timeout=30):
                    continue
                begun, before = time.monotonic(), session.lost
                time.sleep(chance.uniform(0, 0.01))
                self.name_one(client, number)
                ended = time.monotonic()
                lock.release()
                if session.lost == before:
                    self.held.append((begun, ended, number))
            except errors.LockTimeout:
                continue
            except UNKNOWN:
                self.give_up(lock)
            time.sleep(chance.uniform(0, 0.02))
        self.stayed.append((path, session, lost == session.lost))

    @staticmethod
    def make_ephemeral(client, path):
        try:
            client.create(path, b"", ephemeral=True)
        except errors.NodeExistsError:
            if client.exists(path).ephemeralOwner != client.client_id[0]:
                raise

    def give_up(self, lock):
        try:
            lock.cancel()
            lock.release()
        except UNKNOWN:
            pass

    def name_one(self, client, number):
        try:
            self.names.append(client.create(self.home + "/names/n-", b"%d" % number, sequence=True))
        except UNKNOWN:
            pass

    def come_and_go(self, _):
        """Sessions that end by themselves: their ephemerals are gone when the end is acknowledged."""
        while not self.stopping.is_set():
            session = Session(self)
            try:
                path = session.client.create(self.home + "/ephemerals/goes-", b"", ephemeral=True, sequence=True)
            except UNKNOWN:
                path = None
            lost = session.lost
            session.end()
            if path:
                self.left.append((path, session.client.client_id, lost))
            time.sleep(0.05)

    def write_watched(self, _):
        session = Session(self)
        self.sessions.append(session)
        while not self.stopping.is_set():
            self.written += 1
            try:
                session.client.set(self.home + "/watched", b"%d" % self.written)
            except UNKNOWN:
                pass
            time.sleep(0.02)

    def progress(self):
        return len(self.held) + len(self.names)

    def stop(self):
        """Ends the work; the sessions stay until `end`, so that their ephemerals can be looked at."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
            if thread.is_alive():
                raise AssertionError("a kazoo client still waits after 60 s")
        if self.trouble:
            raise AssertionError("; ".join(self.trouble))
        return self

    def verify(self, tree, wait=10):
        """What went wrong, in words; to be called before `end`. Within `wait` seconds the last changes have to be told."""
        wrong, last = [], (0, 0, 0)
        for interval in sorted(self.held):
            if interval[0] < last[1]:
                wrong.append("workers %d and %d held the lock together for %.1f ms" % (
                    last[2], interval[2], (min(last[1], interval[1]) - interval[0]) * 1e3))
            last = max(last, interval, key=lambda i: i[1])
        if len(self.names) != len(set(self.names)):
            wrong.append("a number was given twice")
        wrong += ["%s was acknowledged and is not there" % name for name in self.names if name not in tree]
        for path, session, kept in self.stayed:
            if kept and (path not in tree or tree[path]["stat"]["ephemeralOwner"] != session.client.client_id[0]):
                wrong.append("%s is gone, though its session lives" % path)
        wrong += self.verify_owners(tree) + self.verify_watches(tree, wait)
        return wrong

    def verify_owners(self, tree):
        """No ephemeral of a session that has ended stays. kazoo does not say whether the end was acknowledged, so the session's
        time-out is waited for by the caller: `settled`."""
        return ["%s is there, though its session has ended" % path for path, _, _ in self.left if path in tree]

    def settled(self, read):
        """Waits until what sessions left behind is gone, at most for their time-out and some ticks; returns the tree then."""
        end = time.monotonic() + self.timeout + 5
        while True:
            tree = read()
            if not self.verify_owners(tree) or time.monotonic() > end:
                return tree
            time.sleep(0.5)

    def verify_watches(self, tree, wait):
        wrong, zxids = [], [zxid for zxid, _ in self.seen]
        if zxids != sorted(zxids):
            wrong.append("what was watched went back")
        want = tree[self.home + "/watched"]["data"]
        names = {path.rsplit("/", 1)[1] for path in tree if path.startswith(self.home + "/names/")}
        try:
            wait_until("the last change to be told", lambda: self.seen[-1][1] == want and self.children == names, wait)
        except AssertionError as error:
            wrong.append("watches: %s; last data told %r, data %r; %d of %d children told" % (
                error, self.seen[-1:], want, len(self.children & names), len(names)))
        return wrong

    def end(self):
        self.stopping.set()
        for session in self.sessions:
            with contextlib.suppress(Exception):
                session.end()

    def told(self):
        return "kazoo: the lock was held %d times, %d names, %d sessions came and went, %d and %d watch events, %d sessions lost" % (
            len(self.held), len(self.names), len(self.left), len(self.seen), len(self.children_seen),
            sum(s.lost for s in self.sessions))


def prove():
    """Raises unless `verify` accepts what is right and finds what is not."""
    def node(data=b"", owner=0):
        return {"data": data, "stat": {"ephemeralOwner": owner}}

    def fresh():
        load = KazooLoad(types.SimpleNamespace(hosts=""))
        load.held, load.names, load.children = [(0, 1, 0), (1, 2, 1), (3, 4, 0)], ["/kazoo/names/n-0", "/kazoo/names/n-1"], {"n-0", "n-1"}
        load.stayed = [("/kazoo/ephemerals/stays-0", types.SimpleNamespace(client=types.SimpleNamespace(client_id=(7, b""))), True)]
        load.left, load.seen = [("/kazoo/ephemerals/goes-0", None, 0)], [(5, b"1"), (6, b"2")]
        return load, {"/kazoo/names/n-0": node(), "/kazoo/names/n-1": node(), "/kazoo/ephemerals/stays-0": node(owner=7),
                      "/kazoo/watched": node(b"2")}

    faults = {
        "two with the lock": lambda load, tree: load.held.append((0.5, 0.6, 2)),
        "a long holder": lambda load, tree: load.held.append((-1, 9, 2)),
        "a name given twice": lambda load, tree: load.names.append("/kazoo/names/n-0"),
        "a name gone": lambda load, tree: tree.pop("/kazoo/names/n-1"),
        "an ephemeral gone": lambda load, tree: tree.pop("/kazoo/ephemerals/stays-0"),
        "an ephemeral of another": lambda load, tree: tree.update({"/kazoo/ephemerals/stays-0": node(owner=8)}),
        "an ephemeral left": lambda load, tree: tree.update({"/kazoo/ephemerals/goes-0": node(owner=9)}),
        "a watch that goes back": lambda load, tree: load.seen.insert(0, (9, b"0")),
        "a change not told": lambda load, tree: tree.update({"/kazoo/watched": node(b"3")}),
        "children not told": lambda load, tree: load.children.discard("n-1"),
    }
    load, tree = fresh()
    assert not load.verify(tree), load.verify(tree)
    for name, spoil in faults.items():
        load, tree = fresh()
        spoil(load, tree)
        assert load.verify(tree, wait=0.01), name
