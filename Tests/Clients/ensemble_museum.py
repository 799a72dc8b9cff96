"""What went wrong in other servers, on an ensemble of real processes: entries of docs/reliability.md section 3. Part of the check
`ensemble`."""
import base64
import contextlib
import hashlib
import os
import socket
import struct
import threading

import wire
from ensemble_servers import Ensemble, Member
from harness import equal, expect, raises, wait_until

NO_AUTH, NO_NODE, MARSHALLING_ERROR = -102, -101, -5
# Bytes of a request without the length in front, unless `jute.maxbuffer` says otherwise.
LIMIT = 0xfffff


class AccessLists(threading.Thread):
    """A client that creates nodes and changes them, each with a list that no other node has, and drops the last user of some; what it
    was told of is in `lists`."""

    def __init__(self, member, first):
        super().__init__(daemon=True)
        self.connection, self.lists, self.trouble = member.super_user(timeout=30000), {}, None
        self.stopping, self.first, self.count = threading.Event(), first, first

    def run(self):
        try:
            while not self.stopping.is_set():
                self.step()
            self.connection.close()
        except Exception as error:
            self.trouble = "%s: %s" % (type(error).__name__, error)

    def step(self):
        self.count += 1
        path = "/acl/%d" % self.count
        self.connection.create(path, b"%d" % self.count, acl=self.new_list(self.count))
        self.lists[path] = self.new_list(self.count)
        if self.count % 3 == 0:                                # the first list of that node has no user any more
            other = "/acl/%d" % (self.count - 2)
            self.connection.set_acl(other, self.new_list(-self.count))
            self.lists[other] = self.new_list(-self.count)
        elif self.count % 5 == 0 and self.count > self.first + 20:
            gone = "/acl/%d" % (self.count - 20)
            self.connection.delete(gone)
            del self.lists[gone]

    def wait(self, count):
        """Until it has come to `count`."""
        wait_until("%d lists" % count, lambda: self.trouble or self.count >= count, 60)
        expect(not self.trouble, self.trouble)

    @staticmethod
    def new_list(number):
        """Everybody may read every other node; the rest is for its own user alone."""
        name = "user%d" % number
        digest = base64.b64encode(hashlib.sha1((name + ":pw").encode()).digest()).decode()
        owner = [(31, "digest", name + ":" + digest)]
        return owner + [(1, "world", "anyone")] if number % 2 else owner

    def end(self):
        self.stopping.set()
        self.join(60)
        expect(not self.is_alive(), "the writer still waits")
        expect(not self.trouble, self.trouble)


class Museum:
    """Three servers that take snapshots often."""

    def __init__(self, check):
        self.check = check
        self.ensemble = Ensemble(check, 3, links=False, name="museum", settings={"snapCount": "100"})

    def run(self):
        self.ensemble.run_cases(self.check, [self.lists_during_snapshot, self.every_operation, self.largest], start=self.ensemble.start)
        self.ensemble.discard()
        self.check.run([self.names_beyond_ascii])

    # 24

    def lists_during_snapshot(self):
        "museum 24: access lists made while a follower gets a snapshot are right there, also after a restart"
        e = self.ensemble
        c = e.leader.connect()
        c.create("/acl")
        c.create("/filler")
        for i in range(20):                                    # so that the snapshot takes its time
            c.create("/filler/%d" % i, bytes(500_000))
        c.close()
        for round_ in range(2):
            leader, follower = e.leader, e.followers[round_]
            before = int(leader.mntr().get("snap_count", "0"))
            writer = AccessLists(leader, 900_000 * round_)
            follower.kill9()
            follower.wipe()
            writer.start()
            writer.wait(writer.first + 60)
            follower.launch()
            launched = writer.count
            follower.serving()
            served = writer.count
            writer.wait(served + 30)
            writer.end()
            expect(served > launched, "nothing was created while the follower got its snapshot")
            expect(int(leader.mntr().get("snap_count", "1")) > before or leader.kind != "aviary", "no snapshot was sent")
            for _ in range(2):
                self.expect_lists(follower, writer.lists)
                e.compare()
                follower.restart().serving()
        e.leader.kill9()                                       # what it holds is handed on when it leads
        wait_until("another leader", lambda: e.wait_formed())
        e.compare()

    def expect_lists(self, member, lists):
        """Each list as `member` has it, and whom it lets read."""
        c = member.super_user()
        c.call(wire.SYNC, wire.string("/"))
        for path, want in lists.items():
            equal(want, c.get_acl(path), path)
        c.close()
        anybody = member.connect()
        paths = sorted(lists)[::37] + sorted(lists, key=lambda p: int(p[5:]))[-40:]
        for path in paths:
            if len(lists[path]) > 1:
                equal(path[5:].encode(), anybody.get(path)[0])
            else:
                self.expect_error(NO_AUTH, lambda: anybody.get(path))
        for path in [p for p in paths if len(lists[p]) == 1][:5]:
            owner = member.connect().auth("digest", lists[path][0][2].partition(":")[0].encode() + b":pw")
            equal(path[5:].encode(), owner.get(path)[0])
            owner.close()
        anybody.close()

    @staticmethod
    def expect_error(code, call):
        try:
            call()
        except wire.ServerError as error:
            return equal(code, error.code)
        raise AssertionError("expected error %d" % code)

    # 27

    def every_operation(self):
        "museum 27: every operation there is and is not, alone and in a list, by a leader and a follower; all can start again"
        e = self.ensemble
        for member in (e.leader, e.followers[0]):
            home = "/operations-%d" % member.sid
            c = member.connect()
            c.create(home)
            c.close()
            for operation in list(range(-12, 30)) + list(range(98, 110)):
                for i, record in enumerate((wire.create_record("%s/%d" % (home, operation)), wire.string(home) + b"\xff" * 4, b"")):
                    made = "%s/%d-beside-%d" % (home, operation, i)
                    entries = ((wire.CREATE, wire.create_record(made)), (operation, record))
                    listed = b"".join(struct.pack(">ibi", kind, 0, -1) + entry for kind, entry in entries)
                    self.ask(member, operation, record)
                    self.ask(member, wire.MULTI, listed + struct.pack(">ibi", -1, 1, -1))
        self.start_again()

    @staticmethod
    def ask(member, operation, body):
        """Any answer will do, and so will the end of the connection."""
        c = member.connect()
        try:
            c.request(operation, body)
            c.reply()
        except socket.timeout:
            raise AssertionError("no answer to operation %d with %r" % (operation, body))
        except (OSError, struct.error):
            return c.drop()
        with contextlib.suppress(OSError):
            c.close()

    def start_again(self):
        """All trees are equal, so they are after everybody was killed, and each server takes writes."""
        e = self.ensemble
        e.compare()
        for member in e:
            member.process.kill()
        for member in e:
            member.kill9()
        e.start()
        for member in e:
            c = member.connect()
            c.create("/started-again-", flags=2)
            c.close()
        e.compare()

    # 28

    def largest(self):
        "museum 28: requests and lists as large as they may be, one byte less and more, by a leader and a follower; service goes on"
        e = self.ensemble
        leader, (follower, away) = e.leader, e.followers
        away.kill9()                                           # gets them as a history
        made = {}
        for member, name in ((leader, "leader"), (follower, "follower")):
            c = member.connect()
            home = "/largest-" + name
            c.create(home)
            for less in (1, 0):
                self.creates(c, home, less, made)
                self.multis(c, home, less, made)
            for too_large in (self.creates, self.multis):
                with raises(OSError):
                    too_large(member.connect(), home, -1, {})
            self.many_names(member, home)
            if member.kind == "aviary":
                self.growing(member, home)
                self.many_ephemerals(member, home)
            c.create(home + "/after")
            c.close()
        away.launch().serving()
        self.expect_large(made)
        away.kill9()
        away.wipe()                                            # and as a snapshot
        away.launch().serving()
        self.expect_large(made)
        self.start_again()
        self.expect_large(made)

    def expect_large(self, made):
        tree = self.ensemble.compare()
        for path, data in made.items():
            expect(tree[path]["data"] == data, path + " is not as it was written")
        wrong = [path for path in tree if path.startswith("/largest-") and path.rpartition("/")[2].startswith(("never", "e-"))]
        expect(not wrong, "%d nodes of what was refused or has ended, %s" % (len(wrong), wrong[:1]))

    @staticmethod
    def creates(c, home, less, made):
        """A create and a set of `LIMIT` - `less` bytes."""
        path = "%s/%s" % (home, "never" if less < 0 else "create-%d" % less)
        fixed = 8 + len(wire.create_record(path))              # 8: the header of a request
        data = os.urandom(LIMIT - less - fixed)
        c.create(path, data)
        data = data[::-1] + bytes(fixed - 8 - 4 - len(wire.string(path)) - 4)
        c.set(path, data)
        made[path] = data

    @staticmethod
    def multis(c, home, less, made):
        """A multi of `LIMIT` - `less` bytes: many creates, of which the last takes what is left."""
        prefix = "%s/%s" % (home, "never-m" if less < 0 else "multi-%d" % less)
        left, entries, nodes = LIMIT - less - 8 - 9, [], {}    # 9: the header of each entry, and the end
        while left > 0:
            path = "%s-%d" % (prefix, len(entries))
            fixed = 9 + len(wire.create_record(path))
            size = 1000 if left > 3000 + fixed else left - fixed
            nodes[path] = os.urandom(size)
            entries.append((wire.CREATE, wire.create_record(path, nodes[path])))
            left -= fixed + size
        equal([], c.multi(entries))
        made.update(nodes)

    def many_names(self, member, home):
        """As many creates as there is room for, of names that the server makes longer; then as many deletes, and one that fails."""
        c = member.connect()
        c.create(home + "/n")
        record = wire.create_record(home + "/n/", flags=2)
        count = (LIMIT - 17) // (9 + len(record))
        equal([], c.multi([(wire.CREATE, record)] * count))
        names = c.children(home + "/n")
        equal(count, len(names))
        deletes = [(wire.DELETE, wire.string("%s/n/%s" % (home, name)) + b"\xff\xff\xff\xff") for name in names]
        equal(NO_NODE, c.multi(deletes[:-1] + [(wire.DELETE, wire.string(home + "/never") + b"\xff\xff\xff\xff")])[-1])
        equal(count, len(c.children(home + "/n")))
        equal([], c.multi(deletes))
        c.delete(home + "/n")
        c.close()

    def growing(self, member, home):
        """A short request whose transaction would be longer than any server reads: each node belongs to all that the client is."""
        c = member.connect()
        for i in range(100):
            c.auth("digest", b"%s%d:pw" % (b"u" * 100, i))
        mine = [(31, "auth", "")]
        record = wire.create_record(home + "/never-grown-", acl=mine, flags=2)
        for count in (400, (LIMIT - 17) // (9 + len(record))):
            self.expect_error(MARSHALLING_ERROR, lambda: self.multi_or_error(c, [(wire.CREATE, record)] * count))
        c.create(home + "/mine", acl=mine)
        equal(100, len(c.get_acl(home + "/mine")))
        c.close()

    @staticmethod
    def multi_or_error(c, entries):
        codes = c.multi(entries)
        if codes:
            raise wire.ServerError(next(code for code in codes if code), "multi")

    def many_ephemerals(self, member, home):
        """A session with more bytes of names of ephemerals than a request has: its end takes all of them, and is one transaction."""
        c = member.connect()
        name = "e-" + "x" * 1000
        for batch in range(5):
            equal([], c.multi([(wire.CREATE, wire.create_record("%s/%s-%d-%d" % (home, name, batch, i), flags=1)) for i in range(900)]))
        c.close()

    # 38

    def names_beyond_ascii(self):
        "museum 38: members with names beyond ASCII, in places without UTF-8, find together and tell the same configuration"
        names = {1: "zoé", 2: "öl", 3: "動物園"}

        class Abroad(Member):
            def join(self, settings):
                super().join(settings)
                with open(self.file, encoding="utf-8") as file:
                    text = file.read()
                # RFC 6761: no resolver knows a name below "invalid". Who listens everywhere needs no address for its own name.
                line = "server.3=127.0.0.1:"
                expect(line in text, "no line of server 3 in " + text)
                text = text.replace(line, "server.3=%s.invalid:" % names[3])
                with open(self.file, "w", encoding="utf-8") as file:
                    file.write(text)
                self.environment = {**os.environ, "LC_ALL": ("C", "POSIX", "de_DE.ISO-8859-1")[self.sid - 1]}

        e = Ensemble(self.check, 3, links=False, name="abroad", member=Abroad, settings={"quorumListenOnAllIPs": "true"})
        try:
            e[1].launch()
            e[2].launch()
            e.wait_formed([e[1], e[2]])
            e[3].launch()                                      # calls the others, and says its name
            wait_until("the third to follow", lambda: e[3].mode == "follower", 60)
            e[3].kill9()
            e[3].launch().serving()
            for member in e:
                c = member.connect()
                path = "/%s-%d" % (names[member.sid], member.sid)
                c.create(path, names[member.sid].encode())
                equal(names[member.sid].encode(), c.get(path)[0])
                expect("server.3=%s.invalid:" % names[3] in c.get("/zookeeper/config")[0].decode(), "another name of server 3")
                c.close()
            e.compare(strict=True)
        finally:
            e.discard()
