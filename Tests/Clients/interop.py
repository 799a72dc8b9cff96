"""Aviary and Apache 3.9.5 in one ensemble: Aviary follows Apache and leads it, its vote completes the quorum, writes go through
each, and every tree and digest is equal.

With `--server apache` every member is Apache's, which shows that the cases are right.
"""
import time

import wire
from ensemble import Masters, counters, goes_on, under_load
from ensemble_history import EPHEMERAL, SEQUENTIAL, History
from ensemble_kazoo import KazooLoad
from ensemble_servers import Ensemble
from harness import Check, equal, expect, wait_until


class Mixed:
    """Three voters, `ours` at the position of its number; the server with the highest number leads when it starts first."""

    def __init__(self, check, ours, observers=(), name="mixed"):
        kinds = ["apache"] * 3
        kinds[ours - 1] = check.kind
        self.check, self.ensemble = check, Ensemble(check, kinds, observers=observers, name=name)
        self.ours = self.ensemble[ours]
        self.others = [m for m in self.ensemble.voters if m is not self.ours]

    def start(self, leader):
        """Forms with `leader`: it starts first and has the highest number of those that are there when a quorum is."""
        self.ensemble.start(order=[leader.sid] + [m.sid for m in self.ensemble if m is not leader])
        for _ in range(5):
            now = self.ensemble.leader
            if now is leader:
                return
            now.kill9()                                        # the others elect, and `leader` has the highest number left
            self.ensemble.wait_formed()
            now.launch().serving()
        raise AssertionError("server %d does not come to lead" % leader.sid)

    def write_through_each(self, name, members=None):
        """Every kind of write through every server, in turns, so that each has to apply what came from each."""
        members = members or self.ensemble.running
        connections = [m.super_user(timeout=20000) for m in members]
        root = "/" + name
        connections[0].create(root)
        for round_ in range(6):
            for member, c in zip(members, connections):
                c.call(wire.SYNC, wire.string(root))
                home = "%s/%d-%d" % (root, member.sid, round_)
                c.create(home, b"data of %d" % member.sid)
                c.create(root + "/seq-", b"", flags=SEQUENTIAL)
                c.create(home + "/ephemeral", b"", flags=EPHEMERAL)
                c.create(home + "/ttl", b"", flags=5, ttl=3600000)
                c.create(home + "/container", b"", flags=4)
                c.create(home + "/container/child")
                c.set(home, b"more data", 0)
                c.set_acl(home, [(31, "world", "anyone"), (1, "digest", "somebody:hash")])
                c.create(home + "/gone")
                c.delete(home + "/gone", 0)
                equal([], c.multi([(wire.CREATE, wire.create_record(home + "/m")), (wire.SET_DATA, wire.string(home) + wire.buffer(b"m")
                                   + b"\xff\xff\xff\xff"), (wire.DELETE, wire.string(home + "/m") + b"\xff\xff\xff\xff")]))
                expect(c.multi([(wire.CREATE, wire.create_record(home + "/never")), (wire.CREATE, wire.create_record(root))]),
                       "a multi with a wrong part succeeded")
                for refused in (lambda: c.create(home), lambda: c.set(home, b"", 77), lambda: c.delete(home)):
                    try:
                        refused()
                    except wire.ServerError:
                        continue
                    raise AssertionError("a write that must fail succeeded")
        self.ensemble.compare(strict=True)                                # with the ephemerals
        for c in connections:
            c.close()
        tree = self.ensemble.compare(strict=True)
        equal(6 * len(members), sum(path.startswith(root + "/seq-") for path in tree))
        expect(not any(path.endswith("/ephemeral") for path in tree), "an ephemeral outlived its session")

    def quorum_by_ours(self):
        """One of the others is down: each write needs our vote. Then the other way about: without ours nothing is written."""
        leader = self.ensemble.leader
        absent = [m for m in self.others if m is not leader][0]
        absent.kill9()
        c = leader.connect()
        for i in range(200):
            c.create("/by-our-vote-%d" % i, b"x")
        through = self.ours.connect()
        for i in range(50):
            through.create("/through-ours-%d" % i, b"x")
        self.ensemble.compare(strict=True)
        self.ours.pause()
        c.socket.settimeout(1)
        try:
            c.create("/without-our-vote")
            raise AssertionError("a write was acknowledged without a quorum")
        except OSError:
            c.drop()
        self.ours.resume()
        self.ensemble.wait_formed()
        through.drop()
        absent.launch().serving()
        self.ensemble.wait_formed()
        tree = self.ensemble.compare(strict=True)
        equal(200, sum(path.startswith("/by-our-vote-") for path in tree))
        equal(50, sum(path.startswith("/through-ours-") for path in tree))


class Following:
    """Server 1 is ours: it follows Apache."""

    def __init__(self, check):
        self.check, self.mixed = check, Mixed(check, 1, name="following")
        self.ensemble, self.ours = self.mixed.ensemble, self.mixed.ours

    def run(self):
        self.ensemble.run_cases(self.check, [self.follow, self.complete, self.catch_up, self.move],
                                lambda: self.mixed.start(self.ensemble[3]))
        self.ensemble.discard()

    def follow(self):
        "ours follows Apache: writes through each, trees and digests equal"
        self.lead_by_apache()
        equal("follower", self.ours.mode)
        self.mixed.write_through_each("following")

    def complete(self):
        "one Apache server is down and our vote completes the quorum"
        self.lead_by_apache()
        self.mixed.quorum_by_ours()

    def catch_up(self):
        "ours catches up from Apache by DIFF, and by SNAP when its files are gone"
        leader = self.lead_by_apache()
        for name, wipe in (("diff", False), ("snap", True)):
            counts = counters(leader)
            self.ours.kill9()
            if wipe:
                self.ours.wipe()
            c = leader.connect()
            for i in range(100):
                c.create("/%s-%d" % (name, i), b"x" * 100)
            c.close()
            self.ours.launch().serving()
            grown = {key for key, value in counters(leader).items() if value > counts[key]}
            equal({name + "_count"}, grown)
            self.ensemble.compare(strict=True)
        self.mixed.write_through_each("caught-up")

    def move(self):
        "a session moves between Apache and ours with its ephemeral and its watch"
        apache = self.lead_by_apache()
        writer = apache.connect()
        writer.create("/mixed-move", b"0")
        c, version = apache.connect(timeout=15000), 0
        c.create("/mixed-ephemeral", b"", flags=EPHEMERAL)
        for target in (self.ours, self.mixed.others[0], self.ours, self.mixed.others[1]):
            c.call(wire.GET_DATA, wire.string("/mixed-move") + b"\1")
            session, password, last = c.session, c.password, c.zxid
            c.drop()
            version += 1
            writer.set("/mixed-move", b"%d" % version)
            c = target.connect(session=session, password=password, last_zxid=last)
            equal(session, c.session)
            c.call(101, last.to_bytes(8, "big") + b"\0\0\0\1" + wire.string("/mixed-move") + b"\0" * 8, xid=-8)
            wait_until("the change to be told", lambda: c.exists("/") and (3, "/mixed-move") in [e[:2] for e in c.events], 5)
            equal(b"%d" % version, c.get("/mixed-move")[0])
            equal(session, c.exists("/mixed-ephemeral")["ephemeralOwner"])
        c.close()
        writer.close()
        expect("/mixed-ephemeral" not in self.ensemble.compare(strict=True), "the ephemeral outlived its session")

    def lead_by_apache(self):
        """The leader, which is Apache's: ours is restarted where it leads."""
        if self.ensemble.leader is self.ours:
            self.ours.kill9()
            self.ensemble.wait_formed()
            self.ours.launch().serving()
            self.ensemble.wait_formed()
        return self.ensemble.leader


class Leading:
    """Server 3 is ours: it leads two Apache servers, and an observer of theirs."""

    def __init__(self, check):
        self.check, self.mixed = check, Mixed(check, 3, observers=["apache"], name="leading")
        self.ensemble, self.ours = self.mixed.ensemble, self.mixed.ours

    def run(self):
        self.ensemble.run_cases(self.check, [self.lead, self.teach, self.answer_in_order, self.fail_over], lambda: self.mixed.start(self.ours))
        self.ensemble.discard()

    def lead(self):
        "ours leads two Apache followers and an observer: writes through each, trees and digests equal"
        self.lead_by_ours()
        equal(["follower", "follower", "observer"], [m.mode for m in self.ensemble if m is not self.ours])
        self.mixed.write_through_each("leading")
        for member in self.mixed.others:
            equal("0", member.mntr().get("digest_mismatches_count"))

    def teach(self):
        "Apache servers catch up from ours, by DIFF and by SNAP"
        self.lead_by_ours()
        for wipe in (False, True):
            follower = self.ensemble.followers[0]
            follower.kill9()
            if wipe:
                follower.wipe()
            c = self.ours.connect()
            for i in range(100):
                c.create("/taught-%s-%d" % (wipe, i), b"x" * 100)
            c.close()
            follower.launch().serving()
            self.ensemble.compare(strict=True)
            equal("0", follower.mntr().get("digest_mismatches_count"))
        self.mixed.write_through_each("taught")

    def answer_in_order(self):
        "syncs and writes of many clients of Apache's servers: each is answered"
        self.lead_by_ours()
        for member in self.mixed.others:
            clients = [member.connect() for _ in range(8)]
            clients[0].create("/ordered-%d" % member.sid, b"")
            for _ in range(50):
                for number, client in enumerate(clients):
                    for _ in range(4):
                        client.request(wire.SYNC, wire.string("/"))
                        client.request(wire.SET_DATA, wire.string("/ordered-%d" % member.sid) + wire.buffer(b"%d" % number)
                                       + b"\xff\xff\xff\xff")
                for client in clients:
                    for _ in range(8):
                        client.reply()
            for client in clients:
                client.close()

    def fail_over(self):
        "clients work while leadership goes from ours to Apache and back"
        self.lead_by_ours()
        e = self.ensemble
        with under_load(self.check, e, History(e, clients=3, seed=3), KazooLoad(e, workers=2)) as history:
            for _ in range(2):
                time.sleep(1)
                leader = e.leader
                leader.kill9()
                goes_on(e, history)
                leader.launch()
                e.wait_formed()

    def lead_by_ours(self):
        for _ in range(4):
            leader = self.ensemble.leader
            if leader is self.ours:
                return
            leader.kill9()
            self.ensemble.wait_formed()
            leader.launch().serving()
            self.ensemble.wait_formed()
        raise AssertionError("ours does not come to lead")


def main():
    with Check("interop") as check:
        check.together(Following(check).run, Leading(check).run)
        masters = Masters(check, ["apache", check.kind, "apache"], ["apache", check.kind], "masters")
        masters.run()


if __name__ == "__main__":
    main()
