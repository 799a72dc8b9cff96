"""Crash durability on the real disk: kill -9 at random moments under load.

Four writers, each a process of its own, write down every request before they send it and again when it is acknowledged:
creates, sets, deletes, multis, sequential names, ephemerals, sessions that close, and ten requests in flight at once. After
each restart this process reads everything back and compares it with what they wrote down: every acknowledged write is there
with its zxid and version, nothing that was acknowledged as deleted is back, a request whose reply the kill took was done
wholly or not at all and never before an earlier one of its connection, sessions live unless their end was acknowledged, and
their ephemerals with them; no zxid and no sequence number is given twice. What is seen after one restart has to be there
after the next.

`--kills N` says how often (scripts/test --only durability --kills 200 for the long form), `--seed N` begins another run.
"""
import json
import multiprocessing
import os
import random
import struct
import time

import wire
from harness import Check, equal, expect, wait_until

WRITERS, LIVE = 4, 300
SEQUENTIAL, EPHEMERAL = 2, 1
TIMEOUT = 60000


def home(number):
    return "/load/w%d" % number


class Writer:
    """One writer process. Notes are lines of JSON: ["session", id, password], ["?", n, changes] before request n is sent,
    ["!", n, zxid, names] when it is acknowledged. A change is [kind, path, token, session]."""

    def __init__(self, port, number, round_, notes, seed, mine):
        self.port, self.number, self.round, self.chance = port, number, round_, random.Random(seed)
        self.out = open(notes, "a", buffering=1)
        self.mine = dict(mine)                                  # path: version
        self.step, self.c, self.session = 0, None, 0

    def note(self, *what):
        self.out.write(json.dumps(what) + "\n")

    def token(self):
        return "%d-%d-%d" % (self.number, self.round, self.step)

    def announce(self, changes):
        self.step += 1
        self.note("?", self.step, changes)
        return self.step

    def done(self, step, zxid, names=()):
        self.note("!", step, zxid, list(names))

    def connect(self):
        c = wire.Connection(self.port, timeout=TIMEOUT)
        expect(c.timeout == TIMEOUT, "the timeout is %d" % c.timeout)
        self.note("session", c.session, c.password.hex())
        return c

    def run(self):
        try:
            self.c = self.connect()
            actions = [self.create] * 6 + [self.set] * 5 + [self.delete] * 2 + [self.multi] * 3 + [self.sequential] * 3 + [
                self.ephemeral, self.pipeline, self.visit, self.visit]
            while True:
                if len(self.mine) > LIVE:
                    self.delete()
                self.chance.choice(actions)()
        except (OSError, struct.error):
            pass                                               # the kill

    def fresh(self):
        return "%s/r%d-%d" % (home(self.number), self.round, self.step + 1)

    def create(self):
        path, token = self.fresh(), self.token() + "x" * self.chance.choice((0, 0, 10, 3000))
        step = self.announce([["create", path, token, 0]])
        self.c.create(path, token.encode())
        self.done(step, self.c.zxid)
        self.mine[path] = 0

    def set(self):
        if not self.mine:
            return
        path, token = self.chance.choice(list(self.mine)), self.token()
        step = self.announce([["set", path, token, 0]])
        version = self.c.set(path, token.encode(), self.mine[path])["version"]
        self.done(step, self.c.zxid)
        self.mine[path] += 1
        equal(self.mine[path], version, "version of " + path)

    def delete(self):
        if not self.mine:
            return
        path = self.chance.choice(list(self.mine))
        step = self.announce([["delete", path, "", 0]])
        self.c.delete(path, self.mine[path])
        self.done(step, self.c.zxid)
        del self.mine[path]

    def multi(self):
        """Two creates, a set and a delete, or an attempt that fails as a whole."""
        token, name = self.token(), self.fresh()
        if self.chance.random() < 0.2:
            codes = self.c.multi([(wire.CREATE, wire.create_record(name, b"never")),
                                  (wire.DELETE, wire.string("/load/none") + struct.pack(">i", -1))])
            expect(codes, "a multi with a wrong part succeeded")
            return
        changes = [["create", name + "-a", token, 0], ["create", name + "-b", token, 0]]
        parts = [(wire.CREATE, wire.create_record(path, token.encode())) for _, path, _, _ in changes]
        others = self.chance.sample(list(self.mine), min(2, len(self.mine)))
        if len(others) == 2:
            changes += [["set", others[0], token, 0], ["delete", others[1], "", 0]]
            parts += [(wire.SET_DATA, wire.string(others[0]) + wire.buffer(token.encode())
                       + struct.pack(">i", self.mine[others[0]])),
                      (wire.DELETE, wire.string(others[1]) + struct.pack(">i", self.mine[others[1]]))]
        step = self.announce(changes)
        codes = self.c.multi(parts)
        expect(not codes, "multi: %r" % codes)
        self.done(step, self.c.zxid)
        self.mine[name + "-a"] = self.mine[name + "-b"] = 0
        if len(others) == 2:
            self.mine[others[0]] += 1
            del self.mine[others[1]]

    def sequential(self):
        """A name that the server numbers, under a parent that all writers share."""
        token = self.token()
        step = self.announce([["create", None, token, 0]])
        path = self.c.create("/load/seq/n-", token.encode(), flags=SEQUENTIAL)
        self.done(step, self.c.zxid, [path])
        self.mine[path] = 0

    def ephemeral(self, c=None):
        c = c or self.c
        path, token = self.fresh(), self.token()
        step = self.announce([["create", path, token, c.session]])
        c.create(path, token.encode(), flags=EPHEMERAL)
        self.done(step, c.zxid)

    def visit(self):
        """Another session, with ephemerals; it ends, or is left behind."""
        c = self.connect()
        for _ in range(self.chance.randrange(4)):
            self.ephemeral(c)
        if self.chance.random() < 0.8:
            step = self.announce([["close", None, "", c.session]])
            c.close()
            self.done(step, c.zxid)
        else:
            c.drop()

    def pipeline(self):
        """Ten requests in flight: their replies come in order, or not at all."""
        victims = self.chance.sample(list(self.mine), min(6, len(self.mine)))
        steps = []
        for index in range(10):
            token = self.token()
            if index < 3 and len(victims) == 6:
                path = victims[index]
                steps.append((self.announce([["delete", path, "", 0]]), path))
                self.c.request(wire.DELETE, wire.string(path) + struct.pack(">i", self.mine.pop(path)))
            elif index < 6 and len(victims) == 6:
                path = victims[index]
                steps.append((self.announce([["set", path, token, 0]]), path))
                self.c.request(wire.SET_DATA, wire.string(path) + wire.buffer(token.encode())
                               + struct.pack(">i", self.mine[path]))
                self.mine[path] += 1
            else:
                path = self.fresh()
                steps.append((self.announce([["create", path, token, 0]]), path))
                self.c.request(wire.CREATE, wire.create_record(path, token.encode()))
                self.mine[path] = 0
        for step, path in steps:
            _, error, _ = self.c.reply()
            expect(error == 0, "error %d for %s" % (error, path))
            self.done(step, self.c.zxid)


def write(*given):
    Writer(*given).run()


class Node:
    def __init__(self, token, czxid, owner):
        self.token, self.version, self.czxid, self.mzxid, self.owner = token, 0, czxid, czxid, owner


class Model:
    """What has to be there."""

    def __init__(self):
        self.nodes, self.sessions = {}, {}                      # path: Node, id: password
        self.parents = {"/load/seq": 0, **{home(n): 0 for n in range(WRITERS)}}     # path: cversion
        self.zxids, self.numbers = set(), []                    # of all writes; (zxid, sequence number)
        self.acknowledged, self.highest = 0, 0
        self.unacknowledged_done = self.unacknowledged_lost = 0

    def apply(self, changes, zxid, names=()):
        names = list(names)
        for kind, path, token, session in changes:
            if kind == "close":
                self.sessions.pop(session, None)
                for path in [p for p, node in self.nodes.items() if node.owner == session]:
                    self.remove(path)
                continue
            path = path or names.pop(0)
            if kind == "create":
                expect(path not in self.nodes, "%s was created twice" % path)
                self.nodes[path] = Node(token, zxid, session)
                self.parents[os.path.dirname(path)] += 1
                if path.startswith("/load/seq/"):
                    self.numbers.append((zxid, int(path[-10:])))
            elif kind == "set":
                node = self.nodes[path]
                node.token, node.mzxid, node.version = token, zxid, node.version + 1
            else:
                self.remove(path)

    def remove(self, path):
        del self.nodes[path]
        self.parents[os.path.dirname(path)] += 1

    def mine(self, number):
        """What a writer may go on with."""
        return {path: node.version for path, node in self.nodes.items()
                if not node.owner and (path.startswith(home(number) + "/") or node.token.startswith("%d-" % number))}


def read(c, parents):
    """{path: (token, stat)} of what is below `parents`, and their own stats; a thousand reads in flight."""
    found, stats = {}, {}
    for parent in parents:
        stats[parent] = c.exists(parent)
        paths = [parent + "/" + name for name in c.children(parent)]
        for at in range(0, len(paths), 1000):
            part = paths[at:at + 1000]
            for path in part:
                c.request(wire.GET_DATA, wire.string(path) + b"\0")
            for path in part:
                _, error, reader = c.reply()
                expect(error == 0, "reading %s: error %d" % (path, error))
                found[path] = (reader.buffer().decode(), reader.stat())
    return found, stats


class Verification:
    """One look at the server after a restart."""

    def __init__(self, server, model):
        self.server, self.model = server, model
        self.c = server.super_user()
        self.tree, self.stats = read(self.c, model.parents)
        self.alive = {}

    def take(self, notes):
        """Applies what one writer noted; what has no reply is looked up."""
        announced, acknowledged = {}, {}
        for line in open(notes):
            entry = json.loads(line)
            if entry[0] == "session":
                self.model.sessions[entry[1]] = bytes.fromhex(entry[2])
            elif entry[0] == "?":
                announced[entry[1]] = entry[2]
            else:
                acknowledged[entry[1]] = entry[2:]
        later = False
        for step, changes in announced.items():
            if step in acknowledged:
                zxid, names = acknowledged[step]
                expect(not later, "a reply behind a missing one")
                self.count(zxid)
                self.model.apply(changes, zxid, names)
                self.model.acknowledged += 1
                continue
            found = [self.find(change) for change in changes]
            is_done = found[0] is not None
            expect(all((f is not None) == is_done for f in found), "a transaction was done in part: %r" % changes)
            expect(not (later and is_done), "done although an earlier request of its connection was not: %r" % changes)
            if is_done:
                zxid = max(zxid for zxid, _ in found)
                if zxid:
                    self.count(zxid)
                self.model.apply(changes, zxid, [name for _, name in found if name])
                self.model.unacknowledged_done += 1
            else:
                later = True
                self.model.unacknowledged_lost += 1

    def count(self, zxid):
        expect(zxid not in self.model.zxids, "zxid %#x was given twice" % zxid)
        expect(zxid > self.model.highest, "zxid %#x, although %#x had been given before" % (zxid, self.model.highest))
        self.model.zxids.add(zxid)

    def find(self, change):
        """(zxid, name) if the change was done, otherwise nothing; the zxid is 0 where no node tells it."""
        kind, path, token, session = change
        if kind == "close":
            return None if self.reattach(session) else (0, None)
        if kind == "delete":
            return None if path in self.tree else (0, None)
        if path is None:
            path = next((p for p, (t, _) in self.tree.items() if t == token), None)
            return (self.tree[path][1]["czxid"], path) if path else None
        if path not in self.tree or self.tree[path][0] != token:
            # An ephemeral goes with its session, which no reply is needed for.
            return None
        return self.tree[path][1]["mzxid"], None

    def reattach(self, session):
        """A connection to a session, unless the server does not know it."""
        if session not in self.alive:
            try:
                self.alive[session] = wire.Connection(self.server.port, timeout=TIMEOUT, session=session,
                                                      password=self.model.sessions[session])
            except wire.Refused:
                self.alive[session] = None
        return self.alive[session]

    def compare(self):
        model, tree = self.model, self.tree
        lost = [p for p in model.nodes if p not in tree]
        back = [p for p in tree if p not in model.nodes]
        expect(not lost, "%d of %d are lost: %s" % (len(lost), len(model.nodes), ", ".join(lost[:5])))
        expect(not back, "%d are back, or nobody wrote them: %s" % (len(back), ", ".join(back[:5])))
        for path, node in model.nodes.items():
            token, stat = tree[path]
            want = (node.token, node.version, node.czxid, node.mzxid, node.owner)
            got = (token, stat["version"], stat["czxid"], stat["mzxid"], stat["ephemeralOwner"])
            expect(want[0] == got[0] and want[1] == got[1] and want[2] == got[2] and want[4] == got[4]
                   and want[3] in (got[3], 0), "%s: expected %r, got %r" % (path, want, got))
        for parent, cversion in model.parents.items():
            equal(cversion, self.stats[parent]["cversion"], "cversion of " + parent)
            equal(sum(p.startswith(parent + "/") for p in tree), self.stats[parent]["numChildren"], "children of " + parent)
        numbers = [number for _, number in sorted(model.numbers)]
        expect(all(a < b for a, b in zip(numbers, numbers[1:])), "sequence numbers are not in the order of their zxids")
        del model.numbers[:-1]                                  # the newest is what the next has to be above

    def sessions(self, chance):
        """Every session whose end nobody was told of lives; some of them end now."""
        for session in list(self.model.sessions):
            c = self.reattach(session)
            expect(c, "session %#x is gone, and nobody ended it" % session)
            owned = {p for p, node in self.model.nodes.items() if node.owner == session}
            if chance.random() < 0.5:
                c.close()
                self.model.apply([["close", None, "", session]], c.zxid)
                left = [path for path in owned if self.c.exists(path)]
                expect(not left, "ephemerals of a closed session: %s" % ", ".join(left))
            else:
                c.drop()

    def probe(self):
        """Zxids go on above everything that was ever seen."""
        newest = max(self.model.zxids | {self.model.highest})
        self.c.set("/load", b"probe")
        expect(self.c.zxid > newest, "zxid %#x was given, although %#x had been before" % (self.c.zxid, newest))
        self.model.highest = self.c.zxid
        self.model.zxids.clear()
        self.c.close()


def verify(server, model, notes, chance):
    look = Verification(server, model)
    for file in notes:
        look.take(file)
    look.compare()
    look.sessions(chance)
    look.probe()


def options(parser):
    parser.add_argument("--kills", type=int, default=6, help="how often the server is killed (default 6)")
    parser.add_argument("--seed", type=int, default=7)


def main():
    with Check("durability", options) as check:
        # Small snapshots and log files, so that kills fall into rolls, snapshots and purges too.
        server = check.server(configuration={"snapCount": "300", "preAllocSize": "256",
                                             "maxSessionTimeout": str(TIMEOUT)}).start()
        c = wire.Connection(server.port)
        for path in ["/load", "/load/seq"] + [home(n) for n in range(WRITERS)]:
            c.create(path)
        c.close()
        model, chance = Model(), random.Random(check.arguments.seed)
        kills = round_ = snapshots = 0
        while kills < check.arguments.kills and not check.failed:
            round_ += 1
            with check.case("kill -9 under load, round %d: every acknowledged write is there" % round_):
                before, processes, notes = model.acknowledged, [], []
                for number in range(WRITERS):
                    file = os.path.join(check.work, "notes-%d-%d" % (number, round_))
                    notes.append(file)
                    process = multiprocessing.Process(
                        target=write, daemon=True,
                        args=(server.port, number, round_, file, chance.randrange(1 << 30), model.mine(number)))
                    process.start()
                    processes.append(process)
                wait_until("a first write", lambda: any('["!"' in open(f).read() for f in notes if os.path.exists(f)), 20,
                      every=0.01)
                time.sleep(chance.random() * chance.choice((0.1, 0.5, 1.5)))
                server.kill9()
                kills += 1
                for process in processes:
                    process.join(20)
                    equal(0, process.exitcode, "a writer")
                # Now and then the next start is killed too, while it reads and repairs.
                while kills < check.arguments.kills and chance.random() < 0.25:
                    server.launch()
                    time.sleep(chance.random() * 0.1)
                    server.kill9()
                    kills += 1
                server.start()
                verify(server, model, notes, chance)
                expect(model.acknowledged > before, "no write was acknowledged in this round")
                for file in notes:
                    os.remove(file)
                snapshots = max(snapshots, newest_snapshot(server))
        check.say("     %d kills, %d acknowledged writes, %s lost; of those without a reply %d had been done and %d not; "
                  "the newest snapshot is %#x, %d times old files were removed"
                  % (kills, model.acknowledged, "none" if not check.failed else "SOME", model.unacknowledged_done,
                     model.unacknowledged_lost, snapshots, server.text().count("removed old snapshots and logs")))
        with check.case("an orderly end keeps them too"):
            server.stop()
            server.start()
            verify(server, model, [], chance)
        with check.case("no mismatch of the tree digest"):
            equal("0", wire.mntr(server.port).get("digest_mismatches_count"))


def newest_snapshot(server):
    names = os.listdir(os.path.join(server.data, "version-2"))
    return max([int(n.split(".")[1], 16) for n in names if n.startswith("snapshot.") and n.count(".") == 1] or [0])


if __name__ == "__main__":
    main()
