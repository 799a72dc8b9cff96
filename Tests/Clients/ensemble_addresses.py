"""Members with two addresses each, as on two networks, and members whose name nobody knows. Part of the check `ensemble`."""
import os

import wire
from ensemble_links import ELECTION, QUORUM, Links
from ensemble_servers import Ensemble, Member
from harness import expect, free_port, wait_until

# What a relay is told of an election port here: it leaves the callers' own addresses in their first messages alone.
VOTES = "votes"


class Homed(Member):
    """A member on two networks."""

    def __init__(self, *given, **more):
        super().__init__(*given, **more)
        self.networks = [{QUORUM: free_port(), VOTES: free_port()} for _ in range(2)]

    def join(self, settings):
        lines = {"server.%d" % member.sid: "|".join(
            "%s:%d:%d" % (self.host, *(self.ensemble.reached(self, member, network, kind) for kind in (QUORUM, VOTES)))
            for network in range(2)) for member in self.ensemble}
        self.configure({**settings, **lines, "multiAddress.enabled": "true"})

    def gone(self):
        for network in self.ensemble.networks:
            network.running(self.sid, False)

    def launch(self):
        for number in self.ensemble.up:
            self.ensemble.networks[number].running(self.sid, True)
        return super().launch()


class TwoNetworks(Ensemble):
    def __init__(self, check, name):
        self.networks, self.up = [], {0, 1}
        super().__init__(check, 3, links=False, name=name, member=Homed)

    def reached(self, a, b, network, kind):
        if not self.networks:
            self.networks = [Links({m.sid: m.networks[n] for m in self.members}) for n in range(2)]
        return b.networks[network][kind] if a is b else self.networks[network].ports[a.sid, b.sid, kind]

    def bring(self, number, is_up):
        """A network fails: its connections break, and new ones are refused. Or it is there again."""
        (self.up.add if is_up else self.up.discard)(number)
        for member in self.members:
            self.networks[number].running(member.sid, is_up and member.is_running)
        if not is_up:
            for a in self.members:
                for b in self.members:
                    if a.sid < b.sid:
                        self.networks[number].reset(a.sid, b.sid)

    def discard(self):
        super().discard()
        for network in self.networks:
            network.stop()


class Addresses:
    def __init__(self, check):
        self.check = check

    def run(self):
        self.check.run([self.two_networks, self.unknown_name])

    def two_networks(self):
        "members with two addresses go on while one network of two is down, either of them, and elect on it"
        e = TwoNetworks(self.check, "addresses")
        try:
            e.start()
            self.writes(e, "both")
            for number in (0, 1):
                e.bring(number, False)
                e.wait_formed()
                self.writes(e, "without-%d" % number)
                leader = e.leader
                leader.kill9()
                e.wait_formed()
                self.writes(e, "elected-without-%d" % number)
                leader.launch()
                e.wait_formed()
                e.bring(number, True)
            self.writes(e, "at-last")
            e.compare(strict=True)
        finally:
            e.discard()

    def unknown_name(self):
        "a member whose name nobody knows is tried again and again, and the others serve"
        e = Ensemble(self.check, 3, links=False, name="names")
        try:
            for member in e:
                path = os.path.join(member.work, "zoo.cfg")
                text = open(path).read()
                # RFC 6761: no resolver knows a name below "invalid".
                line = "server.3=127.0.0.1:"
                expect(line in text, "no line of server 3 in " + text)
                if member.sid != 3:
                    text = text.replace(line, "server.3=nobody.invalid:")
                    open(path, "w").write(text)
            for sid in (1, 2):
                e[sid].launch()
            e.wait_formed([e[1], e[2]])
            # It calls the others, and whoever calls is somebody.
            e[3].launch()
            wait_until("the third to follow", lambda: e[3].mode in ("follower", "leader") or None, 30)
            self.writes(e, "named")
            e.compare(strict=True)
            for member in e:
                member.expect_running()
        finally:
            e.discard()

    def writes(self, ensemble, name):
        for member in ensemble.running:
            c = member.connect()
            c.create("/%s-%d" % (name, member.sid), b"x")
            c.close()
        c = ensemble.running[0].connect()
        c.call(wire.SYNC, wire.string("/"))
        for member in ensemble.running:
            expect(c.exists("/%s-%d" % (name, member.sid)), "%s of server %d is gone" % (name, member.sid))
        c.close()
