"""Ensembles of real processes that change while they serve: members are added, promoted, moved and removed, the leader among them,
an ensemble grows from one server to five and shrinks to one under a client that writes. After every change all members have the
same configuration in /zookeeper/config, in their files and, each by itself, after a restart; and every tree is equal.
"""
import contextlib
import os
import re
import shutil
import socket
import struct
import threading
import time

import wire
from ensemble_servers import Ensemble, Member
from harness import Check, equal, expect, free_port, wait_until
from ensemble_links import ELECTION, QUORUM

from kazoo import exceptions as errors
from kazoo.client import KazooClient

RECONFIG, CONFIG = 16, "/zookeeper/config"
BAD_ARGUMENTS, NO_QUORUM, IN_PROGRESS, NO_AUTH, BAD_VERSION, DISABLED = -8, -13, -14, -102, -103, -123
COMMENT = "# Somebody wrote this by hand, and wants it back."


class Dynamic(Member):
    """A member whose server.N line has the client port, and whose zoo.cfg has a comment. `known` is who its first file names."""

    def join(self, settings, known=None):
        members = {member.sid: member for member in [*(known or self.ensemble.members), self]}
        self.configure({**settings, **dict(member.line.split("=", 1) for member in members.values())})
        with open(self.file) as file:
            text = file.read()
        with open(self.file, "w") as out:
            out.write(text.replace("\n", "\n" + COMMENT + "\n", 1))
        self.first = open(self.file).read()

    @property
    def line(self):
        return "server.%d=127.0.0.1:%d:%d:%s;127.0.0.1:%d" % (
            self.sid, self.ports[QUORUM], self.ports[ELECTION], "observer" if self.is_observer else "participant", self.port)

    def move(self):
        """Other ports, for its next line."""
        self.ports, self.port = {QUORUM: free_port(), ELECTION: free_port()}, free_port()

    def configuration(self):
        """(lines, version) that /zookeeper/config holds on this server."""
        connection = self.connect(wait=5)
        try:
            connection.call(wire.SYNC, wire.string("/"))
            *lines, version = connection.get(CONFIG)[0].decode().split("\n")
            return sorted(lines), int(version.split("=")[1], 16)
        finally:
            connection.close()

    def configuration_on_disk(self):
        """(lines, version) that its next start will read."""
        text = open(self.file).read()
        for key in ("server.", "group.", "weight.", "peerType"):
            expect(not re.search("^" + re.escape(key), text, re.M), "server %d: %s is left in its zoo.cfg" % (self.sid, key))
        expect(COMMENT in text.splitlines()[1], "server %d: the comment is not where it was: %r" % (self.sid, text))
        path = re.search("^dynamicConfigFile=(.*)$", text, re.M).group(1)
        expect(not os.path.exists(self.file + ".dynamic.next"), "server %d: a proposal is left" % self.sid)
        return sorted(open(path).read().split()), int(path.rsplit(".", 1)[1], 16)


class Changing(Ensemble):
    """An ensemble with reconfiguration: `wanted` are the members it should have now."""

    def __init__(self, check, voters, name, settings=None, member=Dynamic):
        super().__init__(check, voters, links=False, name=name, member=member, settings={"reconfigEnabled": "true", **(settings or {})})
        self.wanted = list(self.members)

    def newcomer(self, is_observer=False):
        """A server that runs, knows the members and is none yet."""
        member = Dynamic(self, len(self.members) + 1, self.check.kind, is_observer=is_observer)
        self.members.append(member)
        self.check.servers.append(member)
        member.join(self.settings, known=self.wanted)
        member.launch().serving()
        return member

    def reconfig(self, joining=None, leaving=None, members=None, version=-1, through=None, user=b"super:secret"):
        """Asks for another configuration; returns the (lines, version) of the answer."""
        connection = (through or self.wanted[0]).connect(wait=30)
        try:
            if user:
                connection.auth("digest", user)
            return self.ask(connection, joining, leaving, members, version)
        finally:
            connection.drop()

    @staticmethod
    def ask(connection, joining=None, leaving=None, members=None, version=-1):
        reader = connection.call(RECONFIG, wire.string(joining) + wire.string(leaving) + wire.string(members)
                                 + struct.pack(">q", version))
        *lines, version = reader.buffer().decode().split("\n")
        return sorted(lines), int(version.split("=")[1], 16)

    def refused(self, code, **asked):
        try:
            self.reconfig(**asked)
        except wire.ServerError as error:
            return equal(code, error.code, "%r" % (asked,))
        raise AssertionError("not refused: %r" % (asked,))

    def settled(self, seconds=40):
        """Waits until every member has the configuration that is wanted, in its tree and in its files; returns its version."""
        lines, found = sorted(member.line for member in self.wanted), {}

        def same():
            found.clear()
            for member in self.wanted:
                found[member.sid] = member.expect_running().configuration(), member.configuration_on_disk()
            versions = {version for pair in found.values() for _, version in pair}
            return versions if len(versions) == 1 and all(got == lines for pair in found.values() for got, _ in pair) else None
        try:
            version = wait_until("the configuration on every member", same, seconds).pop()
        except AssertionError as error:
            raise AssertionError("%s; wanted %r, found %r" % (error, lines, found))
        self.wait_formed(self.wanted)
        return version

    def proved(self, writer=None):
        """Settled, also after a restart of each member, with equal trees; `writer` writes until these are read."""
        version = self.settled()
        for member in self.wanted:
            member.restart().serving()
            self.wait_formed(self.wanted)
        equal(version, self.settled(), "the version behind restarts")
        with writer.paused() if writer else contextlib.nullcontext():
            self.compare(self.wanted)
        return version


class Three:
    """Three servers, and what comes to them and leaves, one case after the other."""

    def __init__(self, check):
        self.check, self.ensemble = check, Changing(check, 3, "three")

    def run(self):
        self.check.run([self.first, self.permission, self.observer, self.promote, self.arguments, self.unlisted, self.remove,
                        self.whole, self.move_follower, self.move_leader, self.no_quorum, self.crash, self.lost_files,
                        self.remove_leader, self.come_back])
        self.ensemble.discard()

    def first(self):
        "the first leader gives the configuration a version, and the members move from zoo.cfg to a file of their own"
        e = self.ensemble
        e.start()
        expect(e.settled() > 0, "no version")
        for member in e:
            equal(member.first, open(member.file + ".bak").read(), "the former text")
        e.proved()

    def permission(self):
        "who is not the super user may not reconfigure, unless the node allows it"
        e = self.ensemble
        for through in e.wanted:
            e.refused(NO_AUTH, leaving="3", user=None, through=through)
            e.refused(NO_AUTH, leaving="3", user=b"somebody:else", through=through)
        super_user = e.wanted[0].super_user()
        super_user.set_acl(CONFIG, [(31, "world", "anyone")])
        e.refused(BAD_ARGUMENTS, leaving="1,2,3", user=None)
        super_user.set_acl(CONFIG, [(1, "world", "anyone")])
        super_user.close()
        e.refused(NO_AUTH, leaving="3", user=None)

    def observer(self):
        "an observer is added"
        e = self.ensemble
        newcomer = e.newcomer(is_observer=True)
        equal(newcomer.first, open(newcomer.file).read(), "the zoo.cfg of one that is no member yet")
        client = KazooClient(hosts=e[2].address, timeout=20)
        client.start(30)
        client.add_auth("digest", "super:secret")
        watched = []
        client.get(CONFIG, watch=watched.append)
        data, stat = client.reconfig(joining=newcomer.line, leaving=None, new_members=None)
        expect(newcomer.line in data.decode().split("\n"), "the answer: %r" % data)
        equal(stat.mzxid, int(data.decode().rsplit("=", 1)[1], 16), "the version")
        wait_until("the watch", lambda: watched)
        with_wrong_version(client, newcomer)
        client.stop()
        e.wanted.append(newcomer)
        e.settled()
        wait_until("server 4 to observe", lambda: newcomer.mode == "observer")
        e.proved()

    def promote(self):
        "an observer becomes a participant, and one again"
        e, newcomer = self.ensemble, self.ensemble[4]
        newcomer.is_observer = False
        e.reconfig(joining=newcomer.line, through=newcomer)
        e.settled()
        wait_until("server 4 to follow or lead", lambda: newcomer.mode in ("follower", "leader"))
        e.proved()
        newcomer.is_observer = True
        e.reconfig(joining=newcomer.line, through=e[2])
        e.settled()
        wait_until("server 4 to observe", lambda: newcomer.mode == "observer")
        e.proved()

    def arguments(self):
        "what makes no sense is refused, and a version that is no longer the newest"
        e = self.ensemble
        lines, version = e[1].configuration()
        e.refused(BAD_ARGUMENTS, joining="server.9=127.0.0.1:1:2")
        e.refused(BAD_ARGUMENTS, joining="server.9=127.0.0.1:1;3")
        e.refused(BAD_ARGUMENTS, leaving="2,3")
        e.refused(BAD_ARGUMENTS, members="server.1=nonsense")
        e.refused(BAD_ARGUMENTS, members=e[1].line)
        e.refused(BAD_VERSION, leaving="4", version=version - 1)
        e.refused(BAD_VERSION, leaving="4", version=0)
        equal((lines, version), e[3].configuration(), "the configuration behind what was refused")
        e.settled()

    def unlisted(self):
        "a server that is no member yet can be started again, before and while it is added"
        e = self.ensemble
        newcomer = e.newcomer()
        newcomer.restart().serving()
        newcomer.restart().serving()
        e.compare(e.wanted + [newcomer])
        _, version = e.reconfig(joining=newcomer.line)
        newcomer.kill9()
        e.wanted.append(newcomer)
        newcomer.launch().serving()
        equal(version, e.settled(), "the version")
        e.proved()

    def remove(self):
        "a follower is removed: its files say so, it serves on without a vote, and cannot be started as a member"
        e = self.ensemble
        gone = next(m for m in e.followers if m is not e[1])
        through = next(m for m in e.wanted if m is not gone)
        _, version = e.reconfig(leaving=str(gone.sid), version=e.settled(), through=through)
        e.wanted.remove(gone)
        equal(version, e.settled(), "the version")
        lines, version = wait_until("the removed one's files", lambda: [
            found for found in [gone.configuration_on_disk()] if found[1] == version])[0]
        expect(gone.line not in lines, "it is still in its own file")
        wait_until("it to serve without a vote", lambda: gone.serving().configuration()[1] == version)
        e.proved()
        gone.kill9()
        gone.launch()
        wait_until("it to refuse", lambda: not gone.is_running)
        expect("removed" in gone.text().splitlines()[-2] + gone.text().splitlines()[-1], gone.tail(4))
        # Back, by what it is told first.
        gone.join(e.settings, known=e.wanted)
        gone.launch().serving()
        e.reconfig(joining=gone.line, through=through)
        e.wanted.append(gone)
        e.wanted.sort(key=lambda m: m.sid)
        e.proved()

    def whole(self):
        "all members are named anew"
        e = self.ensemble
        left = e[5]
        e.wanted.remove(left)
        _, version = e.reconfig(members=",".join(m.line for m in e.wanted), version=e[1].configuration()[1])
        equal(version, e.settled(), "the version")
        e.wanted.append(left)
        client = KazooClient(hosts=e[2].address, timeout=20)
        client.start(30)
        client.add_auth("digest", "super:secret")
        client.reconfig(joining=None, leaving=None, new_members=",".join(m.line for m in e.wanted), from_config=version)
        client.stop()
        e.proved()

    def move_follower(self):
        "a follower moves to other ports, one client stays connected and others find it there"
        self.moves(next(m for m in self.ensemble.followers))

    def move_leader(self):
        "the leader moves to other ports: another one leads"
        leader = self.ensemble.leader
        self.moves(leader)

    def moves(self, member):
        e, old = self.ensemble, member.port
        other = next(m for m in e.wanted if m is not member)
        client = member.connect()
        client.exists("/")
        member.move()
        e.reconfig(joining=member.line, through=other)
        wait_until("clients to be served on the new port", lambda: member.mode, 30)
        e.settled()
        try:
            wire.four_letter_word(old, "srvr", 2)
            raise AssertionError("the old port is still open")
        except OSError:
            pass
        with contextlib.suppress(OSError):                     # unless its role changed, the session goes on
            client.exists("/")
        client.drop()
        e.proved()

    def no_quorum(self):
        "what has no quorum of members in sync is refused"
        e = self.ensemble
        version = e.settled()
        strangers = ["server.%d=127.0.0.1:%d:%d:participant;127.0.0.1:%d" % (sid, free_port(), free_port(), free_port())
                     for sid in (11, 12, 13, 14, 15)]
        e.refused(NO_QUORUM, joining=",".join(strangers))
        e.refused(NO_QUORUM, members=",".join(strangers))
        dead = e.followers[0]
        through = e.leader
        dead.kill9()
        e.wait_formed([m for m in e.wanted if m is not dead])
        e.refused(NO_QUORUM, joining=",".join(strangers[:2]), through=through)
        dead.launch().serving()
        equal(version, e.settled(), "the version behind what was refused")

    def crash(self):
        "all servers are killed around a reconfiguration: it happened everywhere or nowhere"
        e, member = self.ensemble, self.ensemble[5]
        for milliseconds in (0, 2, 5, 9, 15, 40):
            here = member in e.wanted
            connection = e.leader.super_user()
            connection.request(RECONFIG, wire.string(None if here else member.line) + wire.string("5" if here else None)
                               + wire.string(None) + struct.pack(">q", -1))
            time.sleep(milliseconds / 1000)                    # the kill falls into another step of it each time
            running = [m for m in e.members if m.is_running]
            for m in running:
                m.kill9()
            connection.drop()
            sure = [m for m in e.wanted if m is not member]
            for m in running:
                m.launch()
            for m in sure:
                m.serving(60)
            is_in = any(line.startswith("server.5=") for line in sure[0].configuration()[0])
            e.wanted = sure + [member] * is_in
            if not is_in:                                      # one that was removed is told again who there is
                if member.is_running:
                    member.kill9()
                member.join(e.settings, known=e.wanted)
                member.launch()
            member.serving(60)
            e.settled(60)
            e.compare(e.wanted)
        if member not in e.wanted:
            e.reconfig(joining=member.line, through=e[1])
            e.wanted.append(member)
        e.proved()

    def lost_files(self):
        "where configuration files cannot be written the server warns, and starts with what is in its data"
        e, member = self.ensemble, self.ensemble.followers[-1]
        folder, kept = os.path.dirname(member.file), member.work + ".kept"
        texts = {name: open(os.path.join(folder, name)).read() for name in os.listdir(folder) if name.startswith("zoo.cfg")}
        other = self.ensemble[4]
        os.makedirs(kept, exist_ok=True)
        for name in texts:
            shutil.move(os.path.join(folder, name), os.path.join(kept, name))
        os.mkdir(member.file)                                  # nothing can take the place of a folder
        other.is_observer = not other.is_observer
        _, version = e.reconfig(joining=other.line, through=e[1])
        wait_until("a warning", lambda: "cannot be written to its files" in member.text(), 20)
        equal(version, member.configuration()[1], "the version that it goes on with")
        member.kill9()
        os.rmdir(member.file)
        for name in texts:
            shutil.move(os.path.join(kept, name), os.path.join(folder, name))
        member.launch().serving()
        equal(version, e.settled(), "the version, with files that are written now")
        e.proved()

    def remove_leader(self):
        "the leader is removed: another one leads, without an election, and writes go on"
        e, leader = self.ensemble, self.ensemble.leader
        through = next(m for m in e.wanted if m is not leader)
        writer = Writer(e, [m for m in e.wanted if m is not leader]).start()
        time.sleep(0.3)                                        # writes are under way before, and go on behind
        _, version = e.reconfig(leaving=str(leader.sid), through=through)
        e.wanted.remove(leader)
        equal(version, e.settled(), "the version")
        expect(e.wait_formed(e.wanted) is not leader, "it leads still")
        self.gone = leader
        time.sleep(0.3)                                        # as above
        writer.stop()
        writer.verify(e.compare(e.wanted))
        e.proved()

    def come_back(self):
        "who was removed and still runs is added again"
        e, member = self.ensemble, self.gone
        member.expect_running()
        wait_until("it to serve", lambda: member.mode)
        e.reconfig(joining=member.line, through=e.wanted[0])
        e.wanted.append(member)
        e.wanted.sort(key=lambda m: m.sid)
        e.proved()


def with_wrong_version(client, member):
    try:
        client.reconfig(joining=member.line, leaving=None, new_members=None, from_config=1)
        raise AssertionError("a version that is not the newest was taken")
    except errors.BadVersionError:
        pass


class Growth:
    """From one server to five and back to one."""

    def __init__(self, check):
        self.check, self.ensemble = check, Changing(check, 1, "growth", {"standaloneEnabled": "false"})

    def run(self):
        self.check.run([self.grow_and_shrink])
        self.ensemble.discard()

    def grow_and_shrink(self):
        "an ensemble of one grows to three and five and shrinks to one, while a client writes"
        e = self.ensemble
        e.start()
        e.settled()
        writer = Writer(e, list(e.wanted)).start()
        for count in (2, 3, 5):
            newcomers = [e.newcomer() for _ in range(count - len(e.wanted))]
            e.reconfig(joining=",".join(m.line for m in newcomers), through=e.leader)
            e.wanted += newcomers
            writer.members = list(e.wanted)
            e.settled()
            writer.goes_on()
        e.proved(writer)
        writer.goes_on()
        e.reconfig(leaving="2,3", through=e[1])
        e.wanted = [e[1], e[4], e[5]]
        writer.members = list(e.wanted)
        e.settled()
        writer.goes_on()
        for member in (e[2], e[3]):
            member.kill9()
        e.proved(writer)
        writer.goes_on()
        # The last one is not the leader: what leads is among those that go.
        last = e.followers[0]
        writer.members = [last]
        e.reconfig(leaving=",".join(str(m.sid) for m in e.wanted if m is not last), through=last)
        e.wanted = [last]
        e.settled()
        writer.goes_on()
        for member in e:
            if member is not last and member.is_running:
                member.kill9()
        writer.goes_on()
        e.proved(writer)
        writer.goes_on()
        writer.stop()
        writer.verify(last.tree())
        # A voter is the least.
        e.refused(BAD_ARGUMENTS, leaving=str(last.sid))


class Writer:
    """Creates nodes one after the other, on whichever of `members` takes it."""

    count = 0

    def __init__(self, ensemble, members):
        Writer.count += 1
        self.members, self.home, self.done, self.tried = members, "/writer-%d" % Writer.count, [], 0
        self.stopping, self.lock = threading.Event(), threading.Lock()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def run(self):
        connection = None
        while not self.stopping.is_set():
            with self.lock:
                connection = self.write(connection)
            time.sleep(0.002)                                  # leaves the disk to the servers; nothing depends on it

    def write(self, connection):
        """Creates one node; returns the connection to go on with."""
        path = "%s-%d" % (self.home, self.tried)
        try:
            if connection is None:
                connection = self.members[self.tried % len(self.members)].connect(wait=3)
            self.tried += 1
            connection.create(path)
            self.done.append(path)
            if self.tried % 50 == 0:                           # to another one now and then
                connection.close()
                return None
        except (OSError, struct.error, wire.ServerError):
            if connection:
                connection.drop()
            time.sleep(0.05)                                   # not a busy loop while nobody serves
            return None
        return connection

    def paused(self):
        """While this is held, nothing is written."""
        return self.lock

    def stop(self):
        self.stopping.set()
        self.thread.join(10)

    def goes_on(self):
        before = len(self.done)
        wait_until("writes to be acknowledged", lambda: len(self.done) > before + 10, 30)

    def verify(self, tree):
        expect(len(self.done) > 20, "only %d writes" % len(self.done))
        lost = [path for path in self.done if path not in tree]
        expect(not lost, "%d acknowledged writes are gone: %r" % (len(lost), lost[:5]))


def hierarchical(check):
    "groups and weights move to the files as well, and change as a whole only"
    e = Changing(check, 3, "groups", {"group.1": "1:2:3", "weight.1": "1", "weight.2": "1", "weight.3": "1"})
    extra = ["group.1=1:2:3", "weight.1=1", "weight.2=1", "weight.3=1"]
    try:
        e.start()
        lines = sorted([m.line for m in e] + extra)
        wait_until("the files", lambda: all(m.configuration_on_disk()[0] == lines for m in e))
        e.refused(BAD_ARGUMENTS, leaving="3")
        weighed = [line if line != "weight.3=1" else "weight.3=2" for line in extra]
        e.reconfig(members="\n".join([m.line for m in e] + weighed))
        lines = sorted([m.line for m in e] + weighed)
        wait_until("the files", lambda: all(m.configuration_on_disk()[0] == lines == m.configuration()[0] for m in e))
        for m in e:
            m.restart().serving()
            e.wait_formed()
        equal(lines, e[3].configuration()[0])
        e.compare()
    finally:
        e.discard()


def without(check):
    "without reconfigEnabled nothing changes, and no file is touched"
    e = Changing(check, 3, "without", {"reconfigEnabled": "false"})
    try:
        e.start()
        e.refused(DISABLED, leaving="3")
        for m in e:
            equal(m.first, open(m.file).read())
            equal([], [name for name in os.listdir(m.work) if ".dynamic" in name or name.endswith(".bak")])
    finally:
        e.discard()


class Flagged(Dynamic):
    """A member whose zoo.cfg names no members: flags do."""

    def join(self, settings, known=None):
        self.configure(settings)
        self.first = open(self.file).read()
        self.members = [member.line for member in self.ensemble.members]

    def command(self):
        return super().command() + [word for line in self.members for word in ("--set", line)]


def flags(check):
    "where flags name the members there is no file to write: one warning, and the data says who they are"
    e = Changing(check, 3, "flags", member=Flagged)
    try:
        e.start()
        for leaving, joining in (("3", None), (None, e[3].line)):
            e.reconfig(leaving=leaving, joining=joining)
            time.sleep(0.5)                                    # files that must not be written would be by now
            e.wait_formed(e.members[:2])
        version = wait_until("the configuration", lambda: {m.configuration()[1] for m in e if m.configuration()[1] > 1 << 32})
        for m in e:
            m.restart().serving()
            e.wait_formed()
        equal({max(version)}, {m.configuration()[1] for m in e}, "the version behind restarts")
        for m in e:
            equal(m.first, open(m.file).read())
            equal(m.launches, m.text().count("is in no file that can be rewritten"), "warnings of server %d" % m.sid)
        e.compare()
    finally:
        e.discard()


def taken_back(check):
    "a client port that cannot be had and is taken back stays where it was, and can move again"
    e = Changing(check, 3, "taken-back")

    def move(port):
        e[3].port = port
        e.reconfig(joining=e[3].line, through=e[1])
    try:
        e.start()
        e.settled()
        before = e[3].port
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", free_port()))
            taken.listen()
            move(taken.getsockname()[1])
            wait_until("a try", lambda: "cannot be opened; trying again every second" in e[3].text())
            move(before)
            wait_until("the end of the tries", lambda: "clients are served where they were" in e[3].text())
        e.settled()
        move(free_port())
        e.settled()
        expect("clients are served elsewhere" in e[3].text(), "the move is not told")
    finally:
        e.discard()


def by_hand(check):
    "members of a file with a higher version count; below a version above all transactions no change is taken"
    e = Changing(check, 3, "by-hand")

    def start_with(version, members):
        for m in e:
            m.stop()
        for m in e:
            name = "%s.dynamic.%x" % (m.file, version)
            with open(name, "w") as out:
                out.write("\n".join(member.line for member in members) + "\n")
            with open(m.file) as file:
                text = file.read()
            with open(m.file, "w") as out:
                out.write(re.sub("(?m)^dynamicConfigFile=.*$", "dynamicConfigFile=" + name, text))
        for m in members:
            m.launch()
        e.wanted = list(members)
        equal(version, e.settled(), "the version by hand")
    try:
        e.start()
        e.settled()
        e.reconfig(leaving="3", through=e[1])
        e.wanted.remove(e[3])
        start_with(e.settled() + 1, list(e))                   # as docs/configuration.md says
        e.reconfig(leaving="2", through=e[1])
        e.wanted.remove(e[2])
        e.settled()
        start_with(0x7fffffff00000000, list(e))
        e.refused(BAD_ARGUMENTS, leaving="3")
        e.refused(BAD_ARGUMENTS, members=e[1].line + "," + e[2].line)
        equal(0x7fffffff00000000, e.settled(), "the version behind a refusal")
    finally:
        e.discard()


def anyone(check):
    "with skipACL everybody may reconfigure"
    e = Changing(check, 3, "anyone", {"skipACL": "yes"})
    try:
        e.start()
        e.settled()
        e.reconfig(leaving="3", user=None)
        e.wanted.remove(e[3])
        e.settled()
    finally:
        e.discard()


def main():
    with Check("ensemble-reconfig") as check:
        check.together(Three(check).run, lambda: (Growth(check).run(), check.run([hierarchical, without, anyone] + [flags, by_hand, taken_back] * (check.kind == "aviary"), check)))


if __name__ == "__main__":
    main()
