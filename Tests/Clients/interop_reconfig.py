"""Reconfiguration where Aviary and Apache 3.9.5 meet: in one ensemble, each leading the other through changes; on the same files, one
going on with what the other wrote, in the middle of a change as well; and with Apache's shell. A server that stands alone becomes
one of three and five and stands alone again.

With `--server apache` every server is Apache's, which shows that the cases are right.
"""
import contextlib
import os
import re
import struct
import subprocess
import time

import wire
from ensemble_reconfig import BAD_ARGUMENTS, RECONFIG, Changing, Dynamic, Writer
from ensemble_servers import Ensemble
from harness import Check, equal, expect, wait_until
from zkcli import JARS_SHELL

MEMBER_KEYS = ("server.", "group.", "weight.", "peerType")


class Either(Dynamic):
    """A member of either kind, which may become the other one at a restart."""

    def become(self, kind):
        """kill -9, and a server of `kind` on the same files."""
        self.kill9()
        self.kind = kind
        return self.launch()

    def configuration_on_disk(self):
        """As of any member, without the comments, which Apache's servers lose."""
        told = properties(open(self.file).read())
        path = told["dynamicConfigFile"]
        wanted = {key: value for key, value in properties(self.first).items()
                  if not key.startswith(MEMBER_KEYS) and key not in ("clientPort", "clientPortAddress", "dynamicConfigFile")}
        equal({**wanted, "dynamicConfigFile": path}, told, "zoo.cfg of server %d" % self.sid)
        expect(not os.path.exists(self.file + ".dynamic.next"), "server %d: a proposal is left" % self.sid)
        lines = open(path).read().split()
        equal(sorted(lines), lines, "the order of server %d's lines" % self.sid)
        return lines, int(path.rsplit(".", 1)[1], 16)


def properties(text):
    return dict(re.findall(r"^([^#!\s=]+)=(.*)$", text, re.M))


class Mixed(Changing):
    """Voters of the `kinds`, one by one."""

    def __init__(self, check, kinds, name, settings=None):
        Ensemble.__init__(self, check, kinds, links=False, name=name, member=Either,
                          settings={"reconfigEnabled": "true", **(settings or {})})
        self.wanted = list(self.members)

    def newcomer(self, kind, is_observer=False):
        member = Either(self, len(self.members) + 1, kind, is_observer=is_observer)
        self.members.append(member)
        self.check.servers.append(member)
        member.join(self.settings, known=self.wanted)
        member.launch().serving()
        return member

    def lead_by(self, kind):
        """The leader, of `kind`: others are restarted where they lead."""
        for _ in range(12):
            leader = self.wait_formed(self.wanted)
            if leader.kind == kind:
                return leader
            leader.kill9()
            self.wait_formed([m for m in self.wanted if m is not leader])
            leader.launch().serving()
        raise AssertionError("no server of %s comes to lead" % kind)

    def changed(self, writer=None):
        """Settled, writes go on, and the trees are equal."""
        version = self.settled()
        if writer:
            writer.members = list(self.wanted)
            writer.goes_on()
            with writer.paused():
                self.compare(self.wanted)
        else:
            self.compare(self.wanted)
        return version


@contextlib.contextmanager
def writing(ensemble, members=None):
    """A client that creates nodes; at the end, each that was acknowledged has to be in the tree of every member."""
    writer = Writer(ensemble, list(members or ensemble.wanted)).start()
    try:
        yield writer
    finally:
        writer.stop()
    writer.verify(ensemble.compare(ensemble.wanted))


class Together:
    """Two servers of each kind, and what comes to them and leaves."""

    def __init__(self, check):
        self.check, self.ours = check, check.kind
        self.ensemble = Mixed(check, [self.ours, "apache", self.ours, "apache"], "together")

    def run(self):
        self.check.run([self.first, self.by_apache, self.by_ours, self.hand_over, self.shell])
        self.ensemble.discard()

    def first(self):
        "the first configuration with a version is in the same files of both kinds"
        e = self.ensemble
        e.start()
        expect(e.changed() > 0, "no version")

    def by_apache(self):
        "Apache leads while one of ours is added, promoted, moved, demoted and removed"
        self.life("apache", self.ours)

    def by_ours(self):
        "ours leads while one of Apache's is added, promoted, moved, demoted and removed"
        self.life(self.ours, "apache")

    def life(self, leading, kind):
        e = self.ensemble
        e.lead_by(leading)
        with writing(e) as writer:
            self.come_and_go(leading, kind, writer)

    def come_and_go(self, leading, kind, writer):
        e = self.ensemble
        newcomer = e.newcomer(kind, is_observer=True)
        e.reconfig(joining=newcomer.line, through=e.leader)
        e.wanted.append(newcomer)
        e.changed(writer)
        wait_until("it to observe", lambda: newcomer.mode == "observer")
        newcomer.is_observer = False
        e.reconfig(joining=newcomer.line, through=e.wanted[0])
        e.changed(writer)
        wait_until("it to follow", lambda: newcomer.mode == "follower")
        newcomer.move()
        e.reconfig(joining=newcomer.line, through=e.wanted[0])
        e.changed(writer)
        newcomer.is_observer = True
        e.reconfig(joining=newcomer.line, through=e.wanted[1])
        e.changed(writer)
        wait_until("it to observe", lambda: newcomer.mode == "observer")
        equal(leading, e.leader.kind, "who leads")
        e.wanted.remove(newcomer)
        writer.members = list(e.wanted)
        e.reconfig(leaving=str(newcomer.sid), through=e.leader)
        e.changed(writer)
        newcomer.kill9()

    def hand_over(self):
        "a leader of each kind is removed, the others go on at once, and it comes back"
        e = self.ensemble
        for kind in ("apache", self.ours):
            leader = e.lead_by(kind)
            e.wanted.remove(leader)
            with writing(e) as writer:
                # Who is asked follows somebody else now, and Apache's server may close its clients before they are answered.
                through = next((m for m in e.wanted if m.kind != "apache"), e.wanted[0])
                with contextlib.suppress(*[OSError] * (through.kind == "apache")):
                    e.reconfig(leaving=str(leader.sid), through=through)
                e.changed(writer)
                leader.kill9()
                leader.join(e.settings, known=e.wanted)
                leader.launch().serving()
                e.reconfig(joining=leader.line, through=e.wanted[0])
                e.wanted = sorted(e.wanted + [leader], key=lambda m: m.sid)
                e.changed(writer)

    def shell(self):
        "Apache's shell removes, adds and names members anew, and prints what there is"
        e = self.ensemble
        for kind in ("apache", self.ours):
            leader = e.lead_by(kind)
            through = next(m for m in e.wanted if m.kind != kind or kind == self.ours and m is not leader)
            moved = next(m for m in e.wanted if m not in (leader, through))
            version = e.settled()
            names = os.path.join(e.work, "members")
            with open(names, "w") as out:
                out.write("".join(m.line + "\n" for m in e.wanted))
            told = self.run_shell(through, "reconfig -remove %d" % moved.sid, "reconfig -add %s" % moved.line, "config -c",
                                  "reconfig -v %x -remove 1" % version, "reconfig -file %s" % names, "config")
            equal(3, told.count("Committed new configuration:"), told)
            expect("BadVersion" in told or "version No is not valid" in told, told)
            for member in e.wanted:
                expect(member.line in told, told)
            e.changed()

    @staticmethod
    def run_shell(server, *commands):
        lines = "".join(line + "\n" for line in ("addauth digest super:secret", *commands, "quit"))
        done = subprocess.run(JARS_SHELL + ["-server", server.address], input=lines, capture_output=True, text=True, timeout=120)
        return done.stdout + done.stderr


def exchanged(check):
    "an ensemble of Apache's becomes one of ours, server by server, is changed, and becomes Apache's again"
    e = Mixed(check, ["apache"] * 3, "exchanged")
    try:
        e.start()
        version = e.changed()
        with writing(e) as writer:
            for kind in (check.kind, "apache"):
                version = exchange(e, kind, version, writer)
    finally:
        e.discard()


def exchange(e, kind, version, writer):
    """Every server becomes one of `kind`, and one is removed and added; returns the version."""
    for member in e.wanted:
        member.become(kind).serving()
        e.wait_formed(e.wanted)
        writer.goes_on()
    equal(version, e.changed(writer), "the version")
    e.wanted.remove(e[3])
    writer.members = list(e.wanted)
    e.reconfig(leaving="3", through=e[1])
    e.changed(writer)
    e[3].kill9()
    e[3].join(e.settings, known=e.wanted)
    e[3].launch().serving()
    e.reconfig(joining=e[3].line, through=e[2])
    e.wanted.append(e[3])
    return e.changed(writer)


def state(member):
    """What the system says of its process: T where it is stopped."""
    return subprocess.run(["ps", "-o", "stat=", "-p", str(member.process.pid)], capture_output=True, text=True).stdout


def unfinished(check, before, after, is_kept):
    """All servers are killed when the leader alone, of the kind `before`, knows of a change, and those of `after` go on; it happens
    if that leader takes part when they do (`is_kept`), and is forgotten if it does not."""
    e = Mixed(check, [before] * 3, "unfinished-%s-%s-%d" % (before, after, is_kept))
    try:
        e.start()
        version = e.changed()
        leader = e.leader
        others = [m for m in e if m is not leader]
        asking = leader.super_user()
        for member in others:
            member.pause()
        wait_until("them to stop", lambda: all("T" in state(member) for member in others), 5)
        observer = "server.9=127.0.0.1:1:2:observer;127.0.0.1:3"
        asking.request(RECONFIG, wire.string(observer) + wire.string(None) + wire.string(None) + struct.pack(">q", -1))
        next_file = leader.file + ".dynamic.next"
        wait_until("the proposal", lambda: os.path.exists(next_file) and "server.9" in open(next_file).read(), 5, every=0.005)
        time.sleep(0.2)                                        # its transaction reaches the log at about the same time
        for member in e:
            member.kill9()
            member.is_paused = False
            member.kind = after
        asking.drop()
        proposed = int(re.search("^version=(.*)$", open(next_file).read(), re.M).group(1), 16)
        first = [leader, others[0]] if is_kept else others
        for member in first:
            member.launch()
        e.wait_formed(first)
        connection = first[0].connect()
        connection.create("/behind-the-change")
        connection.close()
        for member in e:
            if member not in first:
                member.launch().serving()
        lines = sorted([m.line for m in e] + ([observer] if is_kept else []))
        wanted = lines, proposed if is_kept else version
        wait_until("the configuration on every member", lambda: [wanted] * 6 == [
            f for m in e for f in (m.expect_running().configuration(), m.configuration_on_disk())])
        e.compare()
        # Nothing is in the way of the next change, whoever leads.
        e.lead_by(after)
        e.reconfig(leaving="9" if is_kept else None, joining=None if is_kept else observer, through=e[1])
    finally:
        e.discard()


def alone(check):
    "a server that stands alone becomes one of three by a restart, one of five by reconfig, and stands alone again"
    e = Mixed(check, [check.kind] * 3, "alone")
    first = e[1]
    try:
        first.join(e.settings, known=[first])
        first.launch().serving()
        equal("standalone", first.mode)
        writer = Writer(e, [first]).start()
        writer.goes_on()
        first.join(e.settings, known=e.wanted)
        first.stop()
        first.launch()
        # An empty server in a quorum without the first one would not know what that one has.
        e[2].launch()
        e.wait_formed([first, e[2]])
        writer.goes_on()
        e[3].launch().serving()
        writer.members = list(e.wanted)
        e.changed(writer)
        newcomers = [e.newcomer(check.kind) for _ in range(2)]
        e.reconfig(joining=",".join(m.line for m in newcomers), through=e.leader)
        e.wanted += newcomers
        e.changed(writer)
        e.reconfig(leaving="3,4,5", through=first)
        e.wanted = [first, e[2]]
        e.changed(writer)
        writer.members = [first]
        e.refused(BAD_ARGUMENTS, leaving="2", through=first)   # standaloneEnabled is true: two are the least
        for member in e:
            if member is not first:
                member.kill9()
        first.stop()
        first.join(e.settings, known=[first])
        first.launch().serving()
        equal("standalone", first.mode)
        writer.goes_on()
        writer.stop()
        writer.verify(first.tree())
    finally:
        e.discard()


def main():
    with Check("interop-reconfig") as check:
        def cases():
            check.run([exchanged, alone], check)
            for before, after, is_kept in dict.fromkeys(
                    [("apache", check.kind, True), (check.kind, "apache", True), ("apache", check.kind, False)]):
                # A server of Apache's keeps the proposal that came to nothing.
                if after == "apache" and not is_kept:
                    continue
                name = "a change that only the leader, of %s, knows of %s when servers of %s go on" % (
                    before, "comes" if is_kept else "is forgotten", after)
                if check.wants(name):
                    with check.case(name):
                        unfinished(check, before, after, is_kept)
        check.together(Together(check).run, cases)


if __name__ == "__main__":
    main()
