"""Ensembles of real server processes on this machine: started, killed, paused, cut off from each other, compared.

    ensemble = Ensemble(check, 3, observers=1)          # servers 1 to 4, each of the kind that is checked
    ensemble = Ensemble(check, ["aviary", "apache", "apache"])
    ensemble.start()                                    # and waits until one leads and the others follow
    ensemble.leader.kill9(); ensemble.wait_formed()
    ensemble.links.cut(2)                               # ensemble_links.py
    ensemble.compare()                                  # every tree through its own server, all equal

Each member is a `Server` of harness.py, so that Apache and Aviary take the same zoo.cfg. Everything is on 127.0.0.1.
"""
import functools
import os
import re
import signal
import time

import wire
from ensemble_links import ELECTION, QUORUM, Links
from harness import BASE, Server, free_port, wait_until

# A tick of 500 ms: sessions from 1 to 30 s, a hung leader is given up after 2 s, joining may take 10 s.
SETTINGS = {"tickTime": "500", "initLimit": "20", "syncLimit": "4", "maxSessionTimeout": "30000"}
# Each server fills it with its own configuration, which names its relays, and with its own clock (quorum-protocol.md section 2.6).
LOCAL = "/zookeeper/config"
NO_NODE = -101
AT_ONCE = 100


class Member(Server):
    """One server of an ensemble."""

    host = "127.0.0.1"

    def __init__(self, ensemble, sid, kind, is_observer=False):
        self.ensemble, self.sid, self.is_observer = ensemble, sid, is_observer
        self.ports = {QUORUM: free_port(), ELECTION: free_port()}
        self.is_paused, self.launches = False, 0
        super().__init__(kind, ensemble.work, name="server.%d" % sid)
        self.identify()

    def identify(self):
        with open(os.path.join(self.data, "myid"), "w") as out:
            out.write("%d\n" % self.sid)

    def join(self, settings):
        """Writes zoo.cfg with every member as this one reaches it."""
        lines = {}
        for member in self.ensemble.members:
            ports = [self.ensemble.port(self, member, kind) for kind in (QUORUM, ELECTION)]
            lines["server.%d" % member.sid] = "%s:%d:%d%s" % (member.host, *ports, ":observer" if member.is_observer else "")
        if self.is_observer:
            lines["peerType"] = "observer"
        self.configure({**settings, **lines})

    def launch(self):
        with self.ensemble.check.lock:
            if self.ensemble.check.is_ending:
                raise AssertionError("the check is over")
            self.is_paused = False
            self.launches += 1
            if self.ensemble.links:
                self.ensemble.links.running(self.sid, True)
            return super().launch()

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def gone(self):
        if self.ensemble.links:
            self.ensemble.links.running(self.sid, False)

    def kill9(self):
        super().kill9()
        self.gone()

    def stop(self, seconds=20):
        try:
            return super().stop(seconds)
        finally:
            self.gone()

    def pause(self):
        """SIGSTOP: as a hung machine, whose connections stay open."""
        self.process.send_signal(signal.SIGSTOP)
        self.is_paused = True

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
        self.is_paused = False

    def restart(self):
        """kill -9, then a new process on the same directory and ports; the ensemble is not waited for."""
        if self.is_running:
            self.kill9()
        return self.launch()

    def wipe(self):
        """Takes away all files of a server that does not run; it comes back as a new one with its old number."""
        os.rename(self.data, "%s.wiped-%d" % (self.data, time.monotonic_ns()))
        os.makedirs(self.data)
        self.identify()

    @property
    def mode(self):
        """`leader`, `follower`, `observer`, or None while it serves nobody."""
        if not self.is_running or self.is_paused:
            return None
        try:
            told = re.search(r"^Mode: (\S+)", wire.four_letter_word(self.port, "srvr", 2), re.M)
        except OSError:
            return None
        return told.group(1) if told else None

    @property
    def zxid(self):
        """The last applied zxid, by srvr."""
        return int(re.search(r"^Zxid: (\S+)", wire.four_letter_word(self.port, "srvr", 5), re.M).group(1), 16)

    def serving(self, seconds=40):
        wait_until("server %d to serve" % self.sid, lambda: self.mode or not self.is_running, seconds)
        return self.expect_running()

    def expect_running(self):
        if not self.is_running:
            raise AssertionError("server %d ended with exit code %s\n%s" % (
                self.sid, self.process and self.process.returncode, self.tail(5)))
        return self

    def connect(self, **more):
        return wire.Connection(self.port, **more)

    def tree(self):
        """As `Server.tree`, after a sync, level by level with many requests in flight."""
        connection = self.super_user(timeout=20000, wait=30)
        try:
            connection.call(wire.SYNC, wire.string("/"))
            nodes, level = {}, ["/"]
            while level:
                level = [child for i in range(0, len(level), AT_ONCE)
                         for child in read_nodes(connection, level[i:i + AT_ONCE], nodes)]
            nodes.pop(LOCAL, None)
        except BaseException:
            connection.drop()                                  # answers are on their way that nobody reads
            raise
        connection.close()
        return nodes

    def mntr(self):
        return wire.mntr(self.port)


def read_nodes(connection, paths, nodes):
    """Adds data, ACL and Stat of `paths` to `nodes`; returns their children."""
    for path in paths:
        connection.request(wire.GET_DATA, wire.string(path) + b"\0")
        connection.request(wire.GET_ACL, wire.string(path))
        connection.request(wire.GET_CHILDREN, wire.string(path) + b"\0")
    found = []
    for path in paths:
        (data, stat), acl, names = (body(connection, path, form) for form in (
            lambda r: (r.buffer(), r.stat()), lambda r: r.vector(r.acl), lambda r: r.vector(r.string)))
        nodes[path] = {"data": data, "acl": acl, "stat": stat}
        found += [path.rstrip("/") + "/" + name for name in names]
    return found


def body(connection, path, form):
    _, error, reader = connection.reply()
    if error:
        raise wire.ServerError(error, "reading " + path)
    return form(reader)


class Ensemble:
    """The members of one ensemble and the links between them. `voters` is how many, or their kinds one by one; with
    `links=False` they are connected directly, without relays. A value None in `settings` leaves that key out."""

    def __init__(self, check, voters=3, observers=0, settings=None, links=True, name="ensemble", member=Member):
        self.check, self.work = check, os.path.join(check.work, name)
        kinds = [check.kind] * voters if isinstance(voters, int) else list(voters)
        kinds += [check.kind] * observers if isinstance(observers, int) else list(observers)
        count = len(kinds) - (observers if isinstance(observers, int) else len(observers))
        self.members, self.links = [], None
        for i, kind in enumerate(kinds):
            self.members.append(member(self, i + 1, kind, is_observer=i >= count))
        check.servers += self.members
        if links:
            self.links = Links({member.sid: member.ports for member in self.members})
        self.settings = {**BASE, **SETTINGS, **(settings or {})}
        for member in self.members:
            member.join(self.settings)

    def __getitem__(self, sid):
        return self.members[sid - 1]

    def __iter__(self):
        return iter(self.members)

    def port(self, a, b, kind):
        """Where `a` reaches `b`, or listens itself."""
        return b.ports[kind] if a is b or not self.links else self.links.ports[a.sid, b.sid, kind]

    @property
    def voters(self):
        return [m for m in self.members if not m.is_observer]

    @property
    def observers(self):
        return [m for m in self.members if m.is_observer]

    @property
    def running(self):
        return [m for m in self.members if m.is_running and not m.is_paused]

    @property
    def hosts(self):
        """For the clients of libraries: every server."""
        return ",".join(member.address for member in self.members)

    @property
    def leader(self):
        leaders = [m for m in self.voters if m.mode in ("leader", "standalone")]
        if len(leaders) != 1:
            raise AssertionError("who leads: %r" % {m.sid: m.mode for m in self.voters})
        return leaders[0]

    @property
    def followers(self):
        return [m for m in self.voters if m.mode == "follower"]

    def start(self, order=None, seconds=60):
        """Launches all servers, in the `order` of ids if one is given, and waits until the ensemble has formed."""
        for member in [self[sid] for sid in order] if order else self.members:
            if not member.is_running:
                member.launch()
        return self.wait_formed(seconds=seconds)

    def wait_formed(self, members=None, seconds=60):
        """Waits until one of `members` (all that run) leads and the others follow or observe; returns the leader."""
        members = members or self.running

        def formed():
            if any(not member.is_running for member in members):
                return members                                 # it does not come any more
            modes = {m: m.mode for m in members}
            wanted = {m: ("observer",) if m.is_observer else ("leader", "follower") for m in members}
            leaders = [m for m, mode in modes.items() if mode == "leader"]
            return leaders if len(leaders) == 1 and all(modes[m] in wanted[m] for m in members) else None
        try:
            leader = wait_until("the ensemble to form", formed, seconds, every=0.05)[0]
        except AssertionError as error:
            raise AssertionError("%s; modes: %r" % (error, {m.sid: m.mode for m in self.members}))
        for member in members:
            member.expect_running()
        return leader

    def restore(self, seconds=60):
        """Everything runs, connected, whatever a case that failed left behind."""
        if self.links:
            self.links.heal()
        for member in self.members:
            if member.is_paused:
                member.resume()
            if not member.is_running:
                member.launch()
        return self.wait_formed(seconds=seconds)

    def run_cases(self, check, cases, start=None):
        """As `Check.run`; each case finds everything running, also where an earlier one failed. `start` is how it all begins."""
        def restored(function):
            @functools.wraps(function)
            def case():
                begun = any(member.launches for member in self.members)
                (self.restore if begun or not start else start)()
                function()
            return case
        check.run([restored(function) for function in cases])

    def compare(self, members=None, strict=False):
        """Reads every tree through its own server and expects them all to be equal; returns the tree. `strict`: Apache's servers
        count no digest mismatch either. They do so for nothing after they joined under load, when a snapshot holds half a
        transaction."""
        members = members or self.running
        first, *others = members
        for attempt in range(10):                              # a session that ends during a reading or between two changes the tree
            try:
                want = first.tree()
                found = [(member.sid, wire.differences(want, member.tree())) for member in others]
            except wire.ServerError as error:
                if error.code != NO_NODE:
                    raise
                found = [(first.sid, [str(error)])]
            found = [(sid, differences) for sid, differences in found if differences]
            if not found:
                break
            time.sleep(1)
        else:
            raise AssertionError("; ".join("the trees of servers %d and %d differ in %d places: %s" % (
                first.sid, sid, len(differences), "; ".join(differences[:5])) for sid, differences in found))
        self.compare_digests(members, strict)
        return want

    def compare_digests(self, members, strict):
        """Digests that the servers noted at the same zxid are equal, and no server counts a mismatch."""
        noted = {}
        for member in members:
            mismatches = member.mntr().get("digest_mismatches_count", "0")
            if mismatches != "0" and member.kind != "aviary" and not strict:
                continue
            if mismatches != "0":
                raise AssertionError("server %d counts %s digest mismatches" % (member.sid, mismatches))
            for zxid, digest in digests(member):
                other = noted.setdefault(zxid, (member, digest))
                if other[1] != digest:
                    raise AssertionError("at zxid 0x%x server %d has the digest %s, server %d %s" % (
                        zxid, other[0].sid, other[1], member.sid, digest))

    def stop(self):
        """Ends every server by SIGTERM and the links."""
        for member in self.members:
            if member.is_paused:
                member.resume()
        for member in self.members:
            member.stop()
        if self.links:
            self.links.stop()

    def discard(self):
        """Ends everything at once; for an ensemble that is of no more use."""
        for member in self.members:
            if member.is_running:
                member.kill9()
        if self.links:
            self.links.stop()


def digests(member):
    """[(zxid, digest)] that the server noted, one every 128 transactions, by the four-letter word `hash`."""
    told = wire.four_letter_word(member.port, "hash")
    return [(int(zxid, 16), digest) for zxid, digest in re.findall(r"^(?:0x)?([0-9a-f]+): *(\S+)$", told, re.M)]
