"""kazoo's recipes, all at once on one server, each also across kill -9 and restart in the middle of its work.

A recipe is a generator: it works, yields where the server may be killed, and goes on when the server is back. What was acquired
before must still be held, and what was put in must still be there.
"""
import datetime
import logging
import threading

from harness import Check, equal, expect, raises, wait_until

from kazoo import exceptions as errors
from kazoo.client import KazooClient
from kazoo.recipe.barrier import DoubleBarrier
from kazoo.recipe.cache import TreeCache

logging.getLogger("kazoo").setLevel(logging.CRITICAL)
QUICK = dict(max_tries=-1, delay=0.05, max_delay=0.2, backoff=1.5)


class Clients:
    """Sessions of one recipe; after a restart of the server they must be the same ones."""

    def __init__(self, server):
        self.server, self.all, self.threads = server, [], []

    def new(self):
        client = KazooClient(hosts=self.server.address, timeout=15, connection_retry=QUICK, command_retry=QUICK)
        client.start(15)
        self.all.append((client, client.client_id))
        return client

    def back(self):
        """Waits until every session is connected again, as itself."""
        for client, identity in self.all:
            wait_until("the session to come back", lambda c=client: c.connected and c.state == "CONNECTED")
            equal(identity, client.client_id, "session id and password")

    def thread(self, function, *given):
        """Runs `function` aside; `result()` waits for it."""
        task = Task(function, given)
        self.threads.append(task)
        return task

    def close(self):
        for client, _ in self.all:
            client.stop()
            client.close()


class Task(threading.Thread):
    def __init__(self, function, given):
        super().__init__(daemon=True)
        self.function, self.given, self.value, self.error = function, given, None, None
        self.start()

    def run(self):
        try:
            self.value = self.function(*self.given)
        except Exception as error:
            self.error = error

    @property
    def done(self):
        return not self.is_alive()

    def result(self, seconds=20):
        self.join(seconds)
        expect(self.done, "%s still runs after %d s" % (self.function.__name__, seconds))
        if self.error:
            raise self.error
        return self.value


def lock(clients):
    "Lock: one holder, contenders, time-out, hand-over"
    one, two = clients.new(), clients.new()
    held, wanted = one.Lock("/lock", "first"), two.Lock("/lock", "second")
    expect(held.acquire(), "not acquired")
    equal(False, wanted.acquire(blocking=False))
    with raises(errors.LockTimeout):
        wanted.acquire(timeout=0.2)
    waiting = clients.thread(wanted.acquire)
    wait_until("two contenders", lambda: held.contenders() == ["first", "second"])
    yield
    expect(held.is_acquired and not waiting.done, "the lock changed hands")
    equal(["first", "second"], one.retry(held.contenders))
    equal(False, clients.new().Lock("/lock", "third").acquire(blocking=False))
    held.release()
    expect(waiting.result(), "the second did not get it")
    wanted.release()
    with two.Lock("/lock", "again"):
        pass
    equal([], two.get_children("/lock"))


def read_write_lock(clients):
    "ReadLock and WriteLock: readers together, a writer alone"
    one, two, three = clients.new(), clients.new(), clients.new()
    first, second = one.ReadLock("/rw", "r1"), two.ReadLock("/rw", "r2")
    writer = three.WriteLock("/rw", "w")
    expect(first.acquire() and second.acquire(), "two readers")
    equal(False, writer.acquire(blocking=False))
    waiting = clients.thread(writer.acquire)
    wait_until("the writer to queue up", lambda: len(one.get_children("/rw")) == 3)
    yield
    expect(not waiting.done, "the writer got in beside readers")
    first.release()
    expect(not waiting.done, "the writer got in beside a reader")
    second.release()
    expect(waiting.result(), "the writer did not get it")
    equal(False, one.ReadLock("/rw", "r3").acquire(blocking=False))
    writer.release()


def semaphore(clients):
    "Semaphore: as many leases as given"
    one, two, three = clients.new(), clients.new(), clients.new()
    a, b, c = (k.Semaphore("/semaphore", n, max_leases=2) for k, n in ((one, "a"), (two, "b"), (three, "c")))
    expect(a.acquire() and b.acquire(), "two leases")
    equal(False, c.acquire(blocking=False))
    equal(["a", "b"], sorted(a.lease_holders()))
    waiting = clients.thread(c.acquire)
    yield
    equal(["a", "b"], sorted(one.retry(a.lease_holders)))
    expect(not waiting.done, "a third lease")
    a.release()
    expect(waiting.result(), "the freed lease was not taken")
    equal(["b", "c"], sorted(b.lease_holders()))


def election(clients):
    "Election: one leader, the next one after it"
    one, two = clients.new(), clients.new()
    first, second = one.Election("/election", "first"), two.Election("/election", "second")
    leading, leave, order = threading.Event(), threading.Event(), []

    def lead(name):
        order.append(name)
        leading.set()
        leave.wait(30)

    a = clients.thread(first.run, lead, "first")
    expect(leading.wait(10), "nobody leads")
    b = clients.thread(second.run, lead, "second")
    wait_until("two contenders", lambda: first.contenders() == ["first", "second"])
    yield
    equal(["first"], order, "leaders")
    equal(["first", "second"], one.retry(first.contenders))
    leave.set()
    a.result()
    b.result()
    equal(["first", "second"], order, "leaders")


def queue(clients):
    "Queue: in order, by priority"
    one, two = clients.new(), clients.new()
    q = one.Queue("/queue")
    for i in range(5):
        q.put(b"%d" % i)
    q.put(b"urgent", priority=1)
    equal((6, b"urgent", b"0"), (len(q), q.get(), q.get()))
    yield
    other = two.Queue("/queue")
    equal(4, one.retry(len, q))
    equal([b"1", b"2", b"3", b"4", None], [other.get() for _ in range(5)])


def locking_queue(clients):
    "LockingQueue: entries are held, consumed, or given back"
    one, two = clients.new(), clients.new()
    mine, other = one.LockingQueue("/locking"), two.LockingQueue("/locking")
    mine.put_all([b"a", b"b", b"c"])
    mine.put(b"first", priority=1)
    equal(b"first", mine.get(5))
    equal(b"a", other.get(5))
    expect(mine.holds_lock() and other.holds_lock(), "entries are not held")
    yield
    expect(one.retry(mine.holds_lock), "the held entry was lost")
    expect(mine.consume(), "consume")
    expect(other.release(), "release")
    equal(b"a", mine.get(5))
    expect(mine.consume(), "consume")
    equal(b"b", other.get(5))
    expect(other.consume(), "consume")
    equal(1, len(other))


def barrier(clients):
    "Barrier: holds until removed"
    one, two = clients.new(), clients.new()
    gate = one.Barrier("/barrier")
    gate.create()
    equal(False, two.Barrier("/barrier").wait(0.1))
    yield
    waiting = clients.thread(two.Barrier("/barrier").wait, 20)
    wait_until("the waiter's watch", lambda: "/barrier\n" in one.command(b"wchp"))
    expect(not waiting.done, "the barrier is gone")
    gate.remove()
    expect(waiting.result(), "the waiter was not let through")
    equal(True, two.Barrier("/barrier").wait(1))


def double_barrier(clients):
    "DoubleBarrier: in together, out together"
    members = [DoubleBarrier(clients.new(), "/double", 3, "m%d" % i) for i in range(3)]
    early = [clients.thread(m.enter) for m in members[:2]]
    wait_until("two to wait", lambda: len(clients.all[2][0].retry(_children, clients.all[2][0], "/double")) == 2)
    expect(not early[0].done and not early[1].done, "in before the third came")
    members[2].enter()
    for task in early:
        task.result()
    expect(all(m.participating for m in members), "not in")
    yield
    leaving = [clients.thread(m.leave) for m in members[:2]]
    members[2].leave()
    for task in leaving:
        task.result()
    expect(not any(m.participating for m in members), "not out")


def _children(client, path):
    return client.get_children(path) if client.exists(path) else []


def party(clients):
    "Party and ShallowParty: who is there"
    one, two = clients.new(), clients.new()
    a, b, s = one.Party("/party", "a"), two.Party("/party", "b"), one.ShallowParty("/shallow", "s")
    a.join()
    b.join()
    s.join()
    equal((2, ["a", "b"], ["s"]), (len(a), sorted(a), list(s)))
    yield
    equal(["a", "b"], sorted(one.retry(list, a)))
    equal(["s"], list(s))
    b.leave()
    equal(["a"], list(b))
    one.stop()
    wait_until("a to leave with its session", lambda: list(b) == [])


def counter(clients):
    "Counter: no increment is lost"
    one, two = clients.new(), clients.new()
    mine, other = one.Counter("/counter"), two.Counter("/counter")

    def add(c, times):
        for _ in range(times):
            c += 1

    tasks = [clients.thread(add, mine, 30), clients.thread(add, other, 30)]
    for task in tasks:
        task.result()
    equal(60, mine.value)
    half = one.Counter("/half", default=0.5)
    half += 1.0
    yield
    equal(60, one.retry(lambda: other.value))
    equal(1.5, half.value)
    mine -= 50
    equal(10, other.value)


def partitioner(clients):
    "SetPartitioner: the set is divided, and divided anew"
    one, two = clients.new(), clients.new()
    items = ("a", "b", "c", "d")
    parts = [k.SetPartitioner("/partition", items, time_boundary=0.2, identifier=n, max_reaction_time=1)
             for k, n in ((one, "1"), (two, "2"))]

    def settled():
        for part in parts:
            if part.release:
                part.release_set()
            elif part.allocating:
                part.wait_for_acquire(0.1)
            expect(not part.failed, "a partitioner failed")
        return all(p.acquired for p in parts) and sorted(parts[0]) + sorted(parts[1]) in (
            ["a", "c", "b", "d"], ["b", "d", "a", "c"])

    wait_until("the set to be divided", settled, 30)
    yield
    # The recipe releases what it holds when its connection is suspended, and allocates anew.
    wait_until("the set to be divided again", settled, 40)
    parts[1].finish()

    def alone():
        if parts[0].release:
            parts[0].release_set()
        elif parts[0].allocating:
            parts[0].wait_for_acquire(0.1)
        return parts[0].acquired and sorted(parts[0]) == list(items)

    wait_until("the one that is left to have it all", alone, 30)


def lease(clients):
    "NonBlockingLease: one holder for its time"
    one, two = clients.new(), clients.new()
    hour = datetime.timedelta(hours=1)
    expect(one.NonBlockingLease("/lease", hour, identifier="one"), "not taken")
    expect(not two.NonBlockingLease("/lease", hour, identifier="two"), "taken twice")
    yield
    expect(not two.retry(two.NonBlockingLease, "/lease", hour, identifier="two"), "taken twice")
    expect(one.NonBlockingLease("/lease", hour, identifier="one"), "its holder could not renew it")


def tree_cache(clients):
    "TreeCache: follows a whole subtree"
    one, two = clients.new(), clients.new()
    one.create("/cached/a/b", b"deep", makepath=True)
    cache = TreeCache(two, "/cached")
    cache.start()
    wait_until("the first fill", lambda: cache.get_data("/cached/a/b") and cache.get_data("/cached/a/b").data == b"deep")
    one.set("/cached/a/b", b"deeper")
    wait_until("the change", lambda: cache.get_data("/cached/a/b").data == b"deeper")
    yield
    one.retry(one.create, "/cached/a/c", b"new")
    wait_until("a node made after the restart", lambda: cache.get_data("/cached/a/c") is not None)
    one.delete("/cached/a/b")
    wait_until("a node to go", lambda: cache.get_data("/cached/a/b") is None)
    equal({"c"}, set(cache.get_children("/cached/a")))
    cache.close()


RECIPES = [lock, read_write_lock, semaphore, election, queue, locking_queue, barrier, double_barrier, party, counter,
           partitioner, lease, tree_cache]


def main():
    with Check("kazoo-recipes") as check:
        server = check.server().start()
        recipes = [r for r in RECIPES if check.wants(r.__doc__)]
        arrived, restarted = threading.Semaphore(0), threading.Event()

        def work(recipe):
            clients, met = Clients(server), False
            try:
                with check.case(recipe.__doc__):
                    steps = recipe(clients)
                    try:
                        next(steps)
                    finally:
                        met = True
                        arrived.release()
                    expect(restarted.wait(60), "the server was not restarted")
                    clients.back()
                    expect(next(steps, "end") == "end", "a recipe yields once")
            finally:
                if not met:
                    arrived.release()
            clients.close()

        def kill():
            for _ in recipes:
                arrived.acquire(timeout=60)
            server.restart()
            restarted.set()

        check.together(kill, *[lambda r=r: work(r) for r in recipes])


if __name__ == "__main__":
    main()
