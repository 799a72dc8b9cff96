"""Ensembles of real processes on loopback: three servers and an observer, and five servers, under clients, while servers are
killed, paused, wiped and cut off from each other. What was acknowledged has to be there, on every server, and every tree equal.

The leader under all clients at once is in ensemble_faults.py, the long form is ensemble_long.py, ensembles of both kinds are in interop.py.
"""
import contextlib
import os
import re
import struct
import time

import ensemble_history
import ensemble_kazoo
import ensemble_links
import linearizability
import wire
from ensemble_addresses import Addresses
from ensemble_history import BAD_VERSION, EPHEMERAL, SEQUENTIAL, SESSION_MOVED, History
from ensemble_kazoo import KazooLoad
from ensemble_museum import Museum
from ensemble_servers import Ensemble, Member
from harness import Check, equal, expect, free_port, wait_until
from small_disk import SmallDisk

SET_WATCHES, SET_WATCHES_XID, DATA_CHANGED, DELETED = 101, -8, 3, 2


class Three:
    """The cases with three voters and an observer, one after the other on the same servers."""

    def __init__(self, check):
        self.check, self.ensemble = check, Ensemble(check, 3, observers=1)

    def run(self):
        self.ensemble.run_cases(self.check, [
            self.form, self.write_everywhere, self.move_session, self.expire, self.watch_elsewhere, self.kill_under_load,
            self.restart_follower, self.wipe_follower, self.damage_follower, self.truncate, self.diverge, self.lose_quorum, self.observe, self.sync_after_pause])
        self.ensemble.discard()

    def form(self):
        "three servers and an observer form an ensemble"
        e = self.ensemble
        leader = e.start()
        equal({"leader": 1, "follower": 2}, {mode: [m.mode for m in e.voters].count(mode) for mode in ("leader", "follower")})
        equal("observer", e.observers[0].mode)
        told = leader.mntr()
        equal(("leader", "2", "1"), (told["server_state"], told["synced_followers"], told["synced_observers"]))
        for member in e:
            equal("imok", wire.four_letter_word(member.port, "ruok"))
            equal("rw", wire.four_letter_word(member.port, "isro"))
            expect("server.3=" in text(member.connect().get("/zookeeper/config")[0]), "no members in /zookeeper/config")

    def write_everywhere(self):
        "writes through each server are read through every server, and the trees are equal"
        connections = {m: m.super_user() for m in self.ensemble}
        for member, c in connections.items():
            home = "/through-%d" % member.sid
            c.create(home, b"home")
            for i in range(20):
                c.create(home + "/n", b"%d" % i, flags=SEQUENTIAL)
            c.set(home, b"changed", 0)
            c.set_acl(home + "/n0000000001", [(1, "world", "anyone")])
            c.delete(home + "/n0000000002")
            equal([0, -110], c.multi([(wire.CREATE, wire.create_record("/never")), (wire.CREATE, wire.create_record(home))])[:2])
            equal([], c.multi([(wire.CREATE, wire.create_record(home + "/multi-%d" % i)) for i in range(3)]))
        for member, c in connections.items():
            c.call(wire.SYNC, wire.string("/"))
            for other in self.ensemble:
                equal(22, len(c.children("/through-%d" % other.sid)))
                equal(b"changed", c.get("/through-%d" % other.sid)[0])
            c.close()
        tree = self.ensemble.compare()
        expect("/never" not in tree, "a failed multi left something")
        zxids = sorted(node["stat"]["czxid"] for path, node in tree.items() if path.startswith("/through-"))
        expect(len(set(zxids)) >= len(zxids) - 8, "zxids are shared")      # the three creates of a multi are one transaction

    def move_session(self):
        "a session moves from server to server with its ephemeral and its watches"
        leader, (one, two), observer = self.ensemble.leader, self.ensemble.followers, self.ensemble.observers[0]
        writer = two.connect()
        writer.create("/moved", b"0")
        c = one.connect(timeout=10000)
        c.create("/moving", b"", flags=EPHEMERAL)
        session, password, stale = c.session, c.password, 0
        for round_, target in enumerate((leader, observer, two, one)):
            c.call(wire.SYNC, wire.string("/"))
            c.call(wire.GET_DATA, wire.string("/moved") + b"\1")
            old, last = c, c.zxid
            writer.set("/moved", b"%d" % (round_ + 1))
            c = target.connect(session=session, password=password, last_zxid=last)
            equal(session, c.session, "the session")
            # What still travels on the old connection must not take effect behind what the new one does (P2).
            c.create("/behind-%d" % round_)
            try:
                old.create("/stale-%d" % round_)
                stale += 1
            except wire.ServerError as error:
                equal(SESSION_MOVED, error.code)
            except OSError:
                pass
            old.drop()
            c.call(SET_WATCHES, struct.pack(">q", last) + struct.pack(">i", 1) + wire.string("/moved")
                   + struct.pack(">ii", 0, 0), xid=SET_WATCHES_XID)
            expect((DATA_CHANGED, "/moved") in [e[:2] for e in c.events], "the change while away was not told: %r" % c.events)
            equal(b"%d" % (round_ + 1), c.get("/moved")[0])
            equal(session, c.exists("/moving")["ephemeralOwner"])
        equal(0, stale, "writes on old connections that were done")
        c.close()
        writer.call(wire.SYNC, wire.string("/"))
        equal(None, writer.exists("/moving"))
        writer.close()
        expect(not any("/stale" in path for path in self.ensemble.compare()), "a write on an old connection was done")

    def expire(self):
        "a session that is heard of on a follower lives, one that is silent ends everywhere"
        one, two = self.ensemble.followers
        alive, silent = one.connect(timeout=1500), two.connect(timeout=1500)
        alive.create("/alive", b"", flags=EPHEMERAL)
        silent.create("/silent", b"", flags=EPHEMERAL)
        watchers = {m: m.connect() for m in self.ensemble}
        start = time.monotonic()
        while time.monotonic() - start < 10 and any(c.exists("/silent") for c in watchers.values()) or time.monotonic() - start < 4:
            alive.exists("/")                                  # reads alone: the leader never sees a request of it
            time.sleep(0.2)
        for member, c in watchers.items():
            c.call(wire.SYNC, wire.string("/"))
            equal(None, c.exists("/silent"), "server %d" % member.sid)
            equal(alive.session, c.exists("/alive")["ephemeralOwner"])
            try:
                member.connect(session=silent.session, password=silent.password).close()
                raise AssertionError("the session that has ended is taken up on server %d" % member.sid)
            except wire.Refused:
                pass
            c.close()
        alive.close()

    def watch_elsewhere(self):
        "watches fire on other servers than the write's, before what changed is read"
        members = list(self.ensemble)
        for i, member in enumerate(members):
            c, writer = member.connect(), members[i - 1].connect()
            path = "/watched-%d" % member.sid
            writer.create(path, b"0")
            c.call(wire.SYNC, wire.string(path))
            c.call(wire.GET_DATA, wire.string(path) + b"\1")
            writer.set(path, b"1")
            wait_until("the change to be read", lambda: c.get(path)[0] == b"1", every=0)
            equal([(DATA_CHANGED, path)], [e[:2] for e in c.events], "before the new data was read")
            c.call(wire.EXISTS, wire.string(path) + b"\1")
            writer.delete(path)
            wait_until("the node to go", lambda: c.exists(path) is None, every=0)
            equal((DELETED, path), c.events[-1][:2])
            c.close()
            writer.close()

    def kill_under_load(self):
        "the leader is killed under load: nothing acknowledged is lost, numbers are unique, locks are held by one"
        e = self.ensemble
        gaps = []
        with under_load(self.check, e, History(e, clients=4, seed=7), KazooLoad(e)) as history:
            for _ in range(2):
                time.sleep(1)
                leader, start = e.leader, time.monotonic()
                leader.kill9()
                goes_on(e, history)
                gaps.append(time.monotonic() - start)
                leader.launch()
                e.wait_formed()
            time.sleep(0.5)
        self.check.say("     service was back after %s s" % ", ".join("%.2f" % gap for gap in gaps))

    def restart_follower(self):
        "a follower that was away catches up from the leader's history"
        leader, follower = self.ensemble.leader, self.ensemble.followers[0]
        counts = counters(leader)
        follower.kill9()
        c = leader.connect()
        for i in range(60):
            c.create("/while-away-%d" % i)
        follower.launch().serving()
        c.create("/after")
        tree = self.ensemble.compare()
        equal(60, sum(path.startswith("/while-away-") for path in tree))
        self.told_apart(leader, counts, "diff_count")
        c.close()

    def wipe_follower(self):
        "a follower that lost its files gets a snapshot"
        leader, follower = self.ensemble.leader, self.ensemble.followers[-1]
        counts = counters(leader)
        follower.kill9()
        follower.wipe()
        follower.launch().serving()
        self.ensemble.compare()
        self.told_apart(leader, counts, "snap_count")
        follower.restart().serving()                           # and has it on its disk
        self.ensemble.compare()

    def damage_follower(self):
        "a follower whose files are damaged puts them aside, says so, and is brought up to date"
        follower = self.ensemble.followers[0]
        follower.kill9()
        files = os.path.join(follower.data, "version-2")
        named = lambda kind: sorted((n for n in os.listdir(files) if re.fullmatch(kind + r"\.[0-9a-f]+", n)),  # noqa: E731
                                    key=lambda n: int(n.partition(".")[2], 16))
        for name in named("snapshot"):
            if name != named("snapshot")[-1]:
                os.remove(os.path.join(files, name))           # no older one to begin with
        with open(os.path.join(files, named("snapshot")[-1]), "r+b") as file:
            file.seek(os.path.getsize(file.name) // 2)
            byte = file.read(1)
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte[0] ^ 1]))
        before = len(follower.text())
        follower.launch().serving()
        told = follower.text()[before:]
        expect("puts them aside" in told, "the log does not say so:\n" + told[-2000:])
        self.ensemble.compare()
        follower.restart().serving()
        self.ensemble.compare()

    def told_apart(self, leader, before, name):
        """Where the leader counts its learners' ways to catch up, this one was `name`."""
        now = counters(leader)
        if name in now:
            grown = {key for key in now if now[key] > before[key]}
            equal({name}, grown)

    def truncate(self):
        "a transaction that only the old leader logged is taken back when it follows"
        tree = self.leave_tail("/tail-a", None)
        expect("/tail-a" not in tree, "what nobody acknowledged was kept without its leader")

    def diverge(self):
        "so it is when the new leader has written meanwhile"
        tree = self.leave_tail("/tail-b", "/instead")
        expect("/tail-b" not in tree and "/instead" in tree, "not the new leader's history")

    def leave_tail(self, path, instead):
        """The leader logs the create of `path` that nobody else gets; the others go on, with `instead`; it comes back."""
        e = self.ensemble
        leader = e.leader
        others = [m for m in e if m is not leader]
        c = leader.connect()
        c.exists("/")
        e.links.cut(leader.sid)
        sent = c.request(wire.CREATE, wire.create_record(path, b"never"))
        c.socket.settimeout(1)
        try:
            got, error, _ = c.reply()
            raise AssertionError("reply to xid %d (sent %d), error %d, without a quorum" % (got, sent, error))
        except OSError:
            pass
        c.drop()
        leader.kill9()
        e.wait_formed(others)
        if instead:
            c = others[0].connect()
            c.create(instead)
            c.close()
        e.links.heal()
        leader.launch().serving()
        e.wait_formed()
        e.compare()
        leader.restart().serving()                             # nothing of it comes back from its disk
        return e.compare()

    def lose_quorum(self):
        "without a quorum writes are refused; with one again, service and sessions resume by themselves"
        e = self.ensemble
        leader, followers = e.leader, e.followers
        c = leader.connect(timeout=20000)
        c.create("/held", b"", flags=EPHEMERAL)
        last = c.zxid
        for follower in followers:
            follower.kill9()
        refused(c, "/without-quorum")
        wait_until("the leader to step down", lambda: leader.mode is None, 20)
        for member in (leader, e.observers[0]):
            expect(not serves(member), "server %d serves a client without a quorum" % member.sid)
        followers[0].launch()
        e.wait_formed([leader, followers[0], e.observers[0]])
        again = followers[0].connect(session=c.session, password=c.password, last_zxid=last)
        equal(c.session, again.exists("/held")["ephemeralOwner"])
        again.create("/with-quorum")
        followers[1].launch()
        e.wait_formed()
        expect("/with-quorum" in e.compare(), "a write is gone")
        again.close()

    def observe(self):
        "an observer serves, is not needed, and catches up"
        e, observer = self.ensemble, self.ensemble.observers[0]
        c = observer.connect()
        c.create("/by-observer", b"1")
        c.set("/by-observer", b"2", 0)
        try:
            c.set("/by-observer", b"3", 0)
            raise AssertionError("a version that does not match was taken")
        except wire.ServerError as error:
            equal(BAD_VERSION, error.code)
        e.links.cut(observer.sid)
        other = e.leader.connect()
        for i in range(30):
            other.create("/unobserved-%d" % i)
        e.links.heal()
        observer.restart().serving()
        other.close()
        expect("/unobserved-29" in e.compare(), "a write is gone")

    def sync_after_pause(self):
        "a read behind a sync sees what was acknowledged before, also on a leader that was paused and replaced"
        e, leader = self.ensemble, self.ensemble.leader
        c = leader.connect(timeout=30000)
        c.create("/p9", b"old")
        leader.pause()
        new = e.wait_formed()
        expect(new is not leader, "no other leader")
        writer = new.connect()
        writer.call(wire.SYNC, wire.string("/"))
        writer.set("/p9", b"new")
        c.request(wire.SYNC, wire.string("/p9"))
        c.request(wire.GET_DATA, wire.string("/p9") + b"\0")
        leader.resume()
        read = None
        try:
            _, error, _ = c.reply()
            _, failed, reader = c.reply()
            read = reader.buffer() if not error and not failed else None
        except OSError:
            pass                                               # closed: nothing wrong was said
        if leader.kind == "aviary":
            expect(read in (None, b"new"), "sync was answered and %r read" % read)
        elif read == b"old":
            self.check.say("     (Apache answers a sync without its followers: the read was stale, as its documentation says)")
        e.wait_formed()
        e.compare()
        writer.close()


class Five:
    """Five servers; any two may fail."""

    def __init__(self, check):
        self.check, self.ensemble = check, Ensemble(check, 5, links=False, name="five")

    def run(self):
        self.ensemble.run_cases(self.check, [self.kill_two, self.lose_three])
        self.ensemble.discard()

    def kill_two(self):
        "five servers: any two are killed, and writes go on"
        e = self.ensemble
        e.start()
        with under_load(self.check, e, History(e, clients=3, seed=11)) as history:
            followers = [m for m in e if m is not e.leader]
            for pair in ([e.leader, followers[0]], followers[2:4]):
                time.sleep(0.5)
                for member in pair:
                    member.kill9()
                goes_on(e, history)
                for member in pair:
                    member.launch()
                e.wait_formed()
            # The leader, and the one that leads after it, before the first is back.
            first = e.leader
            first.kill9()
            second = e.wait_formed()
            second.kill9()
            goes_on(e, history)
            first.launch()
            second.launch()
            e.wait_formed()

    def lose_three(self):
        "five servers: with three gone writes are refused, with one of them back they go on"
        e = self.ensemble
        leader, others = e.leader, [m for m in e if m is not e.leader]
        c = leader.connect(timeout=20000)
        c.create("/five", b"1")
        for member in others[:3]:
            member.kill9()
        refused(c, "/five/never")
        wait_until("the rest to stop serving", lambda: leader.mode is None and others[3].mode is None, 20)
        others[0].launch()
        e.wait_formed()
        for member in others[1:3]:
            member.launch()
        e.wait_formed()
        equal(b"1", e.compare()["/five"]["data"])


class FullDisks:
    """Three servers on disks of 96 MiB each: two may fill theirs by what is written here, and the third shall not."""

    def __init__(self, check):
        self.check, self.ensemble = check, Ensemble(check, 3, links=False, name="full", settings={
            "preAllocSize": "256", "snapCount": "100000"})
        self.disks = {member: SmallDisk(member, 96) for member in self.ensemble}

    def run(self):
        if not all(disk.is_possible for disk in self.disks.values()):
            return self.check.say("     (no file system can be mounted here: full disks are not tried)")
        self.ensemble.run_cases(self.check, [self.follower, self.leader], start=self.ensemble.start)
        self.ensemble.discard()

    def write(self, member, name, count=200, size=8000):
        """Creates by a client of `member` that are acknowledged; it connects elsewhere where that one stops serving."""
        rest, made = [m for m in self.ensemble if m is not member], []
        connection = member.connect(timeout=20000)
        for i in range(count):
            path = "/%s-%d" % (name, i)
            for _ in range(200):
                try:
                    connection.create(path, bytes(size))
                    made.append(path)
                    break
                except wire.ServerError as error:
                    if error.code == -110:                     # it had been done
                        made.append(path)
                        break
                    equal(-1, error.code, "of a write that is refused")
                except (OSError, struct.error):
                    connection.drop()
                time.sleep(0.05)                               # what is refused now is taken when somebody else leads
                with contextlib.suppress(OSError, struct.error, wire.Refused):
                    connection = rest[0].connect(timeout=20000, wait=2)
                    rest.append(rest.pop(0))
            else:
                raise AssertionError("%s was never taken" % path)
        connection.close()
        return made

    def follower(self):
        "a follower whose disk is full drops out, says so, and is back when there is room"
        follower = self.ensemble.followers[0]
        self.disks[follower].fill()
        made = self.write(self.ensemble.leader, "full-a", count=3000)
        wait_until("the follower to leave", lambda: follower.mode is None, 20)
        follower.expect_running()
        expect("takes no part in the ensemble" in follower.text(), "the log does not say so:\n" + follower.tail())
        self.disks[follower].make_room()
        self.ensemble.wait_formed()
        tree = self.ensemble.compare()
        expect(all(path in tree for path in made), "an acknowledged write is gone")

    def leader(self):
        "a leader whose disk is full hands over, and writes go on"
        leader = self.ensemble.leader
        self.disks[leader].fill()
        made = self.write(leader, "full-b", count=1500)
        expect(self.ensemble.leader is not leader, "the leader without room still leads")
        expect("another server may have room" in leader.text(), "the log does not say so:\n" + leader.tail())
        self.disks[leader].make_room()
        self.ensemble.wait_formed()
        tree = self.ensemble.compare()
        expect(all(path in tree for path in made), "an acknowledged write is gone")


class Masters:
    """Three voters and two observers of the given kinds, where followers serve observers."""

    def __init__(self, check, voters, observers, name):
        # The port is the same on all servers, so each has an address of its own.
        class Apart(Member):
            @property
            def host(self):
                return "127.0.0.%d" % self.sid

        port = free_port()
        settings = {"observerMasterPort": str(port)}
        self.check, self.port = check, port
        self.ensemble = Ensemble(check, voters, observers=observers, settings=settings, links=False, name=name, member=Apart)

    def run(self):
        self.ensemble.run_cases(self.check, [self.serve], start=self.ensemble.start)
        self.ensemble.discard()

    def serve(self):
        "followers serve observers, and when one is killed they go to another"
        e = self.ensemble
        writer = e.leader.connect(timeout=20000)
        watchers = {m: m.connect(timeout=20000) for m in e.observers}
        for n, (member, c) in enumerate(watchers.items()):
            path = "/of-observer-%d" % member.sid
            c.create(path, b"0", flags=EPHEMERAL)              # its session is the leader's to know
            c.call(wire.SYNC, wire.string("/"))
            writer.set(path, b"%d" % n)
            c.call(wire.SYNC, wire.string(path))
            equal(b"%d" % n, c.get(path)[0], "behind a sync")
        if all(member.kind == "aviary" for member in e):       # Apache's observers ask a leader as well, and ours serves them
            equal("0", e.leader.mntr()["synced_observers"], "observers at the leader")
        e.compare()
        follower = e.followers[0]
        follower.kill9()
        for i in range(50):
            writer.create("/masters-%d" % i)
        e.wait_formed([m for m in e if m is not follower])
        for member in e.observers:
            c = wire.Connection(member.port, timeout=20000, session=watchers[member].session, password=watchers[member].password)
            c.call(wire.SYNC, wire.string("/"))
            equal(c.session, c.exists("/of-observer-%d" % member.sid)["ephemeralOwner"], "the session went on")
            expect(c.exists("/masters-49"), "what was written meanwhile")
            c.close()
        follower.launch().serving()
        e.wait_formed()
        expect("/masters-49" in e.compare(), "a write is gone")
        writer.close()


def text(raw):
    return raw.decode() if raw else ""


def counters(leader):
    return {key: int(value) for key, value in leader.mntr().items() if key in ("diff_count", "snap_count")}


def refused(connection, path):
    """A create on `connection` gets no success reply within 3 s."""
    connection.socket.settimeout(3)
    try:
        connection.create(path)
    except (OSError, wire.ServerError):
        return
    raise AssertionError("%s was acknowledged without a quorum" % path)


def serves(member):
    try:
        member.connect(wait=1).drop()
        return True
    except (OSError, struct.error):
        return False


def goes_on(ensemble, history, members=None):
    """`members` (what runs) form an ensemble, and answer the clients."""
    before = history.acknowledged()
    ensemble.wait_formed(members)
    wait_until("requests to be answered again", lambda: history.acknowledged() > before + 20, 30)


@contextlib.contextmanager
def under_load(check, ensemble, history, load=None):
    """The block runs while clients work; then what they saw and what is left is judged, through every server."""
    try:
        history.start()
        if load:
            load.start()
        yield history
        history.stop()
        if load:
            load.stop()
        tree = load.settled(ensemble.compare) if load else ensemble.compare()
        wrong = history.verify(tree, strict_sync=all(m.kind == "aviary" for m in ensemble))
        check.say("     " + history.told())
        if load:
            wrong += load.verify(tree)
            check.say("     " + load.told())
        expect(not wrong, "%d things are wrong: %s" % (len(wrong), "; ".join(wrong[:5])))
    finally:
        history.stopping.set()
        if load:
            load.end()


def main():
    with Check("ensemble") as check:
        for name, proofs in (("the checkers find planted faults", [linearizability.prove, ensemble_history.prove, ensemble_kazoo.prove]),
                             ("the relays cut, hold, delay and reset", [ensemble_links.prove])):
            if check.wants(name):
                with check.case(name):
                    for proof in proofs:
                        proof()
        check.together(Three(check).run, Five(check).run)
        FullDisks(check).run()
        Addresses(check).run()
        Masters(check, 3, 2, "masters").run()
        Museum(check).run()


if __name__ == "__main__":
    main()
