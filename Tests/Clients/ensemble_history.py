"""Clients on bare sockets that roam over an ensemble while servers fail, and write down what they asked for and what they were told:
registers with versions, names that the server numbers, a queue, nodes that come and go, sessions. `History.verify` judges it.

Nothing is tried again: a request whose reply was lost is noted as such, for it may have been done, or be done later, or never.
Each client is one session at a time and moves it to another server when a connection ends.
"""
import collections
import random
import threading
import time
import types

import linearizability
import wire
from linearizability import CAS, READ, WRITE, Operation

REGISTERS, NUMBERS, QUEUE, NODES = "/r", "/n", "/q", "/d"
SEQUENTIAL, EPHEMERAL = 2, 1
NO_NODE, BAD_VERSION, NODE_EXISTS, SESSION_EXPIRED, SESSION_MOVED = -101, -103, -110, -112, -118


class Lost(Exception):
    """The connection ended before the reply."""


class Connection(wire.Connection):
    """Notes when the zxids of its session go back (P3)."""

    backwards = None

    def reply(self):
        before, self.zxid = self.zxid, 0
        answer = super().reply()
        if 0 < self.zxid < before:
            self.backwards = "session 0x%x: zxid 0x%x after 0x%x" % (self.session, self.zxid, before)
        self.zxid = max(self.zxid, before)
        return answer


class Roamer:
    """One session that goes from server to server."""

    def __init__(self, ports, seed, timeout=10000, wait=8):
        self.ports, self.chance, self.timeout, self.wait = list(ports), random.Random(seed), timeout, wait
        self.connection, self.session, self.password, self.zxid = None, 0, b"\0" * 16, 0
        self.moves, self.expired, self.backwards = 0, 0, []

    def connect(self, until):
        """A connection with the session, or a new session if it has expired; None when `until` is over."""
        while time.monotonic() < until:
            try:
                connection = Connection(self.chance.choice(self.ports), self.timeout, self.session, self.password,
                                        last_zxid=self.zxid, wait=self.wait)
            except wire.Refused:
                self.expired += 1
                self.session, self.password = 0, b"\0" * 16
                continue
            except (OSError, ValueError):
                time.sleep(self.chance.uniform(0.01, 0.05))
                continue
            self.moves += self.session != 0
            connection.zxid = self.zxid
            self.session, self.password = connection.session, connection.password
            self.connection = connection
            return connection
        return None

    def drop(self):
        if self.connection:
            self.zxid = max(self.zxid, self.connection.zxid)
            if self.connection.backwards:
                self.backwards.append(self.connection.backwards)
            self.connection.drop()
            self.connection = None

    def call(self, operation, body):
        """The reader of the reply; raises `wire.ServerError`, or `Lost` where nobody knows."""
        try:
            reader = self.connection.call(operation, body)
        except wire.ServerError as error:
            if error.code in (SESSION_EXPIRED, SESSION_MOVED):  # a definite error, but of a connection that is of no more use
                self.drop()
            raise
        except (OSError, ValueError) as error:
            self.drop()
            raise Lost(str(error))
        if self.connection.backwards:
            self.backwards.append(self.connection.backwards)
            self.connection.backwards = None
        return reader


class Client(threading.Thread):
    """Works until it is told to stop; its notes are read afterwards."""

    def __init__(self, history, number, seed):
        super().__init__(daemon=True)
        self.history, self.home, self.name, self.number = history, history.home, "client %d" % number, number
        self.chance = random.Random(seed)
        self.roamer = Roamer(history.ports, seed, history.timeout)
        self.operations, self.numbers, self.put, self.taken, self.nodes = [], [], [], [], []
        self.trouble, self.count, self.lost = None, 0, 0
        self.mine = {}

    def run(self):
        actions = [self.read] * 4 + [self.synced_read] * 4 + [self.write] * 4 + [self.cas] * 4 + [self.number_one] * 2 + [
            self.enqueue] * 2 + [self.dequeue] * 2 + [self.create] * 2 + [self.delete]
        try:
            while not self.history.stopping.is_set():
                if not self.roamer.connection and not self.roamer.connect(time.monotonic() + 1):
                    continue
                if self.chance.random() < self.history.restless:
                    self.roamer.drop()                         # to another server, with the session
                    continue
                try:
                    self.chance.choice(actions)()
                except Lost:
                    self.lost += 1
                except wire.ServerError as error:
                    if error.code not in (NO_NODE, SESSION_EXPIRED, SESSION_MOVED):
                        raise
                self.history.pause(self.chance)
        except Exception as error:
            self.trouble = "%s: %s: %s" % (self.name, type(error).__name__, error)
        finally:
            self.roamer.drop()

    def token(self):
        self.count += 1
        return b"%d-%d" % (self.number, self.count)

    def key(self):
        """One of a few registers; new ones come up as time goes by, so that the history of each stays short."""
        return self.history.register(self.history.generation, self.chance.randrange(self.history.keys))

    def note(self, kind, key, value=None, expected=None):
        operation = Operation(self.name, kind, key, time.monotonic(), value=value, expected=expected)
        self.operations.append(operation)
        return operation

    def read(self, synced=False):
        key = self.key()
        operation = self.note(READ, key)
        operation.client += "" if synced else "'"              # plain reads are judged by session, not by the register
        if synced:
            self.roamer.call(wire.SYNC, wire.string(key))
        reader = self.roamer.call(wire.GET_DATA, wire.string(key) + b"\0")
        operation.value, stat = reader.buffer(), reader.stat()
        operation.version, operation.end = stat["version"], time.monotonic()
        self.seen = (key, operation.version)

    def synced_read(self):
        self.read(synced=True)

    def set(self, operation, version):
        try:
            stat = self.roamer.call(wire.SET_DATA, wire.string(operation.key) + wire.buffer(operation.value)
                                    + version.to_bytes(4, "big", signed=True)).stat()
        except wire.ServerError as error:
            if error.code != BAD_VERSION:
                self.operations.remove(operation)              # a definite error: the moment of it says nothing
                raise
            operation.end = time.monotonic()
            return
        operation.version, operation.zxid, operation.end = stat["version"], stat["mzxid"], time.monotonic()

    def write(self):
        self.set(self.note(WRITE, self.key(), self.token()), -1)

    def cas(self):
        key = self.key()
        seen = getattr(self, "seen", (None, 0))
        version = max(0, (seen[1] if seen[0] == key else self.history.guess(key)) + self.chance.choice((0, 0, 0, 1)))
        self.set(self.note(CAS, key, self.token(), version), version)

    def number_one(self):
        """A name that the server numbers, under a parent of all."""
        note = types.SimpleNamespace(token=self.token(), start=time.monotonic(), end=None, path=None, zxid=0)
        self.numbers.append(note)
        note.path, stat = self.create_with_stat(self.home + NUMBERS + "/n-", note.token, SEQUENTIAL)
        note.zxid, note.end = stat["czxid"], time.monotonic()

    def create_with_stat(self, path, data, flags=0):
        reader = self.roamer.call(wire.CREATE2, wire.create_record(path, data, flags=flags))
        return reader.string(), reader.stat()

    def enqueue(self):
        note = {"token": self.token(), "path": None}
        self.put.append(note)
        note["path"], _ = self.create_with_stat(self.home + QUEUE + "/q-", note["token"], SEQUENTIAL)

    def dequeue(self):
        """Takes the first of the queue: whoever's delete succeeds has it."""
        reader = self.roamer.call(wire.GET_CHILDREN, wire.string(self.home + QUEUE) + b"\0")
        names = sorted(reader.vector(reader.string))
        if not names:
            return
        path = "%s%s/%s" % (self.home, QUEUE, self.chance.choice(names[:3]))
        data = self.roamer.call(wire.GET_DATA, wire.string(path) + b"\0").buffer()
        note = {"token": data, "path": path, "done": None}
        self.taken.append(note)
        try:
            self.roamer.call(wire.DELETE, wire.string(path) + b"\xff\xff\xff\xff")
            note["done"] = True
        except wire.ServerError:
            note["done"] = False
            raise

    def create(self):
        path = "%s%s/%d-%d" % (self.home, NODES, self.number, self.count + 1)
        note = {"path": path, "token": self.token(), "created": None, "deleted": False}
        self.nodes.append(note)
        self.mine[path] = note
        _, stat = self.create_with_stat(path, note["token"])
        note["created"] = stat["czxid"]

    def delete(self):
        known = [path for path, note in self.mine.items() if note["created"]]
        if not known:
            return
        note = self.mine.pop(self.chance.choice(known))
        note["deleted"] = None                                 # asked for
        self.roamer.call(wire.DELETE, wire.string(note["path"]) + b"\xff\xff\xff\xff")
        note["deleted"] = True


class History:
    """Clients of one ensemble and what is to be said about what they saw.

    `restless`: how often a client changes the server though nothing is wrong. `rest`: seconds between requests, at most."""

    def __init__(self, ensemble, clients=5, seed=1, keys=3, timeout=10000, restless=0.01, rest=0.01, generation_seconds=1.0,
                 home="/history"):
        self.ensemble, self.ports = ensemble, [member.port for member in ensemble]
        self.timeout, self.restless, self.rest, self.keys, self.generation = timeout, restless, rest, keys, 0
        self.generation_seconds, self.home = generation_seconds, home
        self.stopping, self.versions = threading.Event(), {}
        self.clients = [Client(self, n, seed * 1000 + n) for n in range(clients)]
        self.keeper = threading.Thread(target=self.new_registers, daemon=True)
        self.roamer = Roamer(self.ports, seed, timeout)

    def pause(self, chance):
        time.sleep(chance.uniform(0, self.rest))

    def guess(self, key):
        """The highest version of `key` that any client was told."""
        return self.versions.get(key, 0)

    def start(self):
        self.ensure([self.home] + [self.home + part for part in (REGISTERS, NUMBERS, QUEUE, NODES)] + self.registers(0))
        for client in self.clients:
            client.start()
        self.keeper.start()
        return self

    def registers(self, generation):
        return [self.register(generation, n) for n in range(self.keys)]

    def register(self, generation, number):
        return "%s%s/%d-%d" % (self.home, REGISTERS, generation, number)

    def ensure(self, paths):
        """Creates empty nodes, over whatever happens to the servers; gives up after 120 s."""
        end = time.monotonic() + 120
        for path in paths:
            while True:
                try:
                    if not self.roamer.connection and not self.roamer.connect(min(end, time.monotonic() + 1)):
                        raise Lost("no connection")
                    self.roamer.call(wire.CREATE, wire.create_record(path))
                except Lost:
                    if time.monotonic() > end or self.stopping.is_set():
                        return False
                    continue
                except wire.ServerError as error:
                    if error.code in (SESSION_EXPIRED, SESSION_MOVED):
                        continue
                    if error.code != NODE_EXISTS:
                        raise
                break
        return True

    def new_registers(self):
        """The nodes of a generation exist before a client uses one; the creation is not part of the history."""
        while not self.stopping.wait(self.generation_seconds):
            if self.ensure(self.registers(self.generation + 1)):
                self.generation += 1

    def acknowledged(self):
        """How many requests were answered so far, by all clients: whether there is progress."""
        return sum(len(c.operations) + len(c.numbers) + len(c.put) + len(c.nodes) - c.lost for c in self.clients)

    def stop(self):
        self.stopping.set()
        for client in self.clients + [self.keeper]:
            client.join(60)
            if client.is_alive():
                raise AssertionError("a client still waits after 60 s")
        self.roamer.drop()
        trouble = [c.trouble for c in self.clients if c.trouble]
        if trouble:
            raise AssertionError("; ".join(trouble))
        return self

    def all(self, name):
        return [note for client in self.clients for note in getattr(client, name)]

    def verify(self, tree, strict_sync=True):
        """What is wrong with the history, given the tree that all servers hold at the end; a list of words. Without `strict_sync`
        reads behind a sync count as plain ones: Apache's leader answers a sync without asking anybody (P9)."""
        operations = self.all("operations")
        strict = [o for o in operations if o.kind != READ or o.is_known and strict_sync and not o.client.endswith("'")]
        wrong = linearizability.check_registers(strict)
        for o in operations:
            o.client = o.client.rstrip("'")
        wrong += linearizability.check_reads(operations)
        wrong += linearizability.check_order([o for o in operations if o.kind != READ and o.is_known and o.version]
                                             + [note for note in self.all("numbers") if note.end])
        for client in self.clients:
            wrong += ["%s: %s" % (client.name, text) for text in client.roamer.backwards]
        wrong += self.verify_last(operations, tree) + self.verify_numbers(tree) + self.verify_queue(tree)
        return wrong + self.verify_nodes(tree)

    def verify_last(self, operations, tree):
        """No register is behind what was acknowledged."""
        highest = {}
        for o in operations:
            if o.kind != READ and o.is_known and o.version:
                highest[o.key] = max(highest.get(o.key, 0), o.version)
        return ["%s has version %s, %d was acknowledged" % (key, tree[key]["stat"]["version"] if key in tree else "none", version)
                for key, version in highest.items() if key not in tree or tree[key]["stat"]["version"] < version]

    def verify_numbers(self, tree):
        """P11: numbers are unique, and follow the zxids."""
        told = [note for note in self.all("numbers") if note.end]
        wrong = ["the name %s was given %d times" % (path, times)
                 for path, times in collections.Counter(note.path for note in told).items() if times > 1]
        wrong += ["%s with %r was acknowledged and is not there" % (note.path, note.token)
                  for note in told if note.path not in tree or tree[note.path]["data"] != note.token]
        there = sorted((node["stat"]["czxid"], path) for path, node in tree.items() if path.startswith(self.home + NUMBERS + "/"))
        if there != sorted(there, key=lambda pair: pair[1]):
            wrong.append("the numbers of names do not follow their zxids")
        tokens = [tree[path]["data"] for _, path in there]
        if len(tokens) != len(set(tokens)):
            wrong.append("a create was done twice")
        return wrong

    def verify_queue(self, tree):
        """Everything put in is there or was taken, by one."""
        wrong, taken, left = [], {}, {node["data"]: path for path, node in tree.items() if path.startswith(self.home + QUEUE + "/")}
        unknown = {n["token"] for n in self.all("taken") if n["done"] is None}
        for note in self.all("taken"):
            if note["done"]:
                taken.setdefault(note["token"], []).append(note)
        wrong += ["%r was taken %d times" % (token, len(notes)) for token, notes in taken.items() if len(notes) > 1]
        wrong += ["%r was taken and is still there" % token for token in taken if token in left]
        for note in self.all("put"):
            if note["path"] and note["token"] not in left and note["token"] not in taken and note["token"] not in unknown:
                wrong.append("%r was put in as %s and is lost" % (note["token"], note["path"]))
        known = {note["token"] for note in self.all("put")}
        return wrong + ["%r was taken or is there and nobody put it in" % t for t in set(taken) | set(left) if t not in known]

    def verify_nodes(self, tree):
        wrong = []
        for note in self.all("nodes"):
            there = tree.get(note["path"])
            if note["created"] and note["deleted"] is False and (
                    not there or there["stat"]["czxid"] != note["created"] or there["data"] != note["token"]):
                wrong.append("%s was created by 0x%x and is not there" % (note["path"], note["created"]))
            if note["deleted"] and there:
                wrong.append("%s was deleted and is there" % note["path"])
        return wrong

    def told(self):
        """What was done, in a line."""
        operations, moves = self.all("operations"), sum(c.roamer.moves for c in self.clients)
        return "%d register operations, %d names, %d put in and %d taken, %d nodes; %d replies lost, %d moves of sessions, %d expired" % (
            len(operations), len(self.all("numbers")), len(self.all("put")), sum(n["done"] is True for n in self.all("taken")),
            len(self.all("nodes")), sum(c.lost for c in self.clients), moves, sum(c.roamer.expired for c in self.clients))


def prove():
    """Raises unless `verify` accepts what is right and finds what is taken from it or put into it."""
    def node(data=b"", version=0, zxid=1):
        return {"data": data, "acl": [], "stat": {"version": version, "czxid": zxid}}

    home = "/history"

    def fresh():
        history = History([], clients=2)
        one, two = history.clients
        one.operations = [Operation("client 0", WRITE, "k", 0, 1, b"1", version=1, zxid=1)]
        two.operations = [Operation("client 1", READ, "k", 2, 3, b"1", version=1), Operation("client 1'", READ, "k", 4, 5, b"1", version=1)]
        one.numbers = [types.SimpleNamespace(token=b"a%d" % i, start=9 + i, end=9.5 + i, path=home + NUMBERS + "/n-%010d" % i, zxid=5 + i)
                       for i in range(2)]
        one.put = [{"token": b"p%d" % i, "path": home + QUEUE + "/q-%d" % i} for i in range(3)]
        two.taken = [{"token": b"p0", "path": home + QUEUE + "/q-0", "done": True}, {"token": b"p1", "path": home + QUEUE + "/q-1", "done": None}]
        one.nodes = [{"path": home + NODES + "/a", "token": b"n", "created": 8, "deleted": False},
                     {"path": home + NODES + "/b", "token": b"n", "created": 9, "deleted": True}]
        tree = {"k": node(b"1", 1), home + NUMBERS + "/n-0000000000": node(b"a0", zxid=5), home + NUMBERS + "/n-0000000001": node(b"a1", zxid=6),
                home + QUEUE + "/q-2": node(b"p2"), home + NODES + "/a": node(b"n", zxid=8)}
        return history, tree, one, two

    def faults():
        """Each takes (history's parts) and spoils something."""
        yield "a register set back", lambda tree, one, two: tree.update(k=node(b"", 0))
        yield "a register gone", lambda tree, one, two: tree.pop("k")
        yield "a stale synced read", lambda tree, one, two: vars_of(two.operations[0], value=b"", version=0)
        yield "a read that goes back", lambda tree, one, two: vars_of(two.operations[1], value=b"", version=0)
        yield "a name gone", lambda tree, one, two: tree.pop(home + NUMBERS + "/n-0000000001")
        yield "a name given twice", lambda tree, one, two: vars_of(one.numbers[1], path=one.numbers[0].path)
        yield "numbers against the zxids", lambda tree, one, two: tree[home + NUMBERS + "/n-0000000001"]["stat"].update(czxid=4)
        yield "a create done twice", lambda tree, one, two: tree.update({home + NUMBERS + "/n-0000000002": node(b"a1", zxid=7)})
        yield "zxids against time", lambda tree, one, two: vars_of(one.numbers[1], zxid=4)
        yield "an item lost", lambda tree, one, two: tree.pop(home + QUEUE + "/q-2")
        yield "an item taken and there", lambda tree, one, two: tree.update({home + QUEUE + "/q-0": node(b"p0")})
        yield "an item taken twice", lambda tree, one, two: two.taken.append(dict(two.taken[0]))
        yield "an item from nowhere", lambda tree, one, two: tree.update({home + QUEUE + "/q-9": node(b"p9")})
        yield "a node gone", lambda tree, one, two: tree.pop(home + NODES + "/a")
        yield "a node made again", lambda tree, one, two: tree.update({home + NODES + "/a": node(b"n", zxid=10)})
        yield "a deleted node back", lambda tree, one, two: tree.update({home + NODES + "/b": node(b"n", zxid=9)})
        yield "zxids of a session going back", lambda tree, one, two: one.roamer.backwards.append("0x1 after 0x2")

    def vars_of(thing, **values):
        for name, value in values.items():
            setattr(thing, name, value)

    history, tree, *_ = fresh()
    assert not history.verify(tree), history.verify(tree)
    for name, spoil in faults():
        history, tree, one, two = fresh()
        spoil(tree, one, two)
        assert history.verify(tree), name
