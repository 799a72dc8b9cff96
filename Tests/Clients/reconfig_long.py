"""Changes of an ensemble's members and kill -9 of any of them, over and over, from a seed: servers are added, removed, replaced,
moved to other ports, promoted and demoted while a client writes, and up to two of them are killed while a change is under way. After
each change there is one configuration, the former one or the new one, on every member, in its tree and in its files; writes go on,
all trees are equal, and at the end nothing acknowledged is missing.

    --seed N          # another order of events
    --minutes M       # 2 unless told otherwise
"""
import random
import struct
import time

import wire
from ensemble_reconfig import CONFIG, RECONFIG, Changing, Dynamic, Writer
from harness import Check, expect, wait_until

SERVERS = 6
DELAYS = (0, 0.002, 0.005, 0.01, 0.02, 0.05)                   # seconds between a change and the kill -9


class Storm:
    def __init__(self, check, seed):
        self.random = random.Random(seed)
        # As small as one: a change may leave a single voter.
        self.ensemble = Changing(check, 3, "storm", {"standaloneEnabled": "false"})
        self.changes, self.undone, self.killed = 0, 0, 0

    def run(self, seconds):
        e, end = self.ensemble, time.monotonic() + seconds
        e.start()
        e.settled()
        while len(e.members) < SERVERS:
            member = Dynamic(e, len(e.members) + 1, e.check.kind)
            self.give_ports(member)
            e.members.append(member)
            e.check.servers.append(member)
        writer = Writer(e, list(e.wanted)).start()
        while time.monotonic() < end:
            self.round(writer)
        writer.stop()
        writer.verify(e.compare(e.wanted))
        e.check.say("  %d changes, %d that did not happen, %d servers killed, %d writes" % (
            self.changes, self.undone, self.killed, len(writer.done)))
        expect(self.changes > 0, "nothing was changed")

    def round(self, writer):
        e = self.ensemble
        before, places = list(e.wanted), {m: (m.ports, m.port, m.is_observer) for m in e.members}
        former, ports = sorted(m.line for m in before), {m.port for m in before}
        through = self.random.choice(before).port
        name = self.random.choice(["add", "add", "remove", "role", "move", "replace"])
        change = getattr(self, name)()
        if change is None or all(m.is_observer for m in change[0]):
            return self.put_back(places)
        after, asked = change
        new = sorted(m.line for m in after)
        self.killing = []
        try:
            answer = self.strike(through, asked)
            for member in self.killing:
                member.launch()
            happened = wait_until("one configuration", lambda: self.outcome(
                former, new, ports | {m.port for m in after}, answer), 60)
        except Exception as error:
            raise AssertionError("%s; %s %r through %d, killing %r, answered %r; from %r" % (
                error, name, asked, through, [m.sid for m in self.killing], answer, former))
        e.wanted = sorted(after if happened == "new" else before, key=lambda m: m.sid)
        if happened != "new":
            self.put_back(places)
        self.changes += happened == "new"
        self.undone += happened != "new"
        for member in self.outside():
            if member.is_running and self.random.random() < 0.5:
                member.kill9()
        for member in e.wanted:
            if not member.is_running:                          # it was removed when it started, and is a member all the same
                member.join(e.settings, known=e.wanted)
                member.launch()
        writer.members = list(e.wanted)
        e.settled(60)
        writer.goes_on()
        with writer.paused():
            e.compare(e.wanted)

    def strike(self, port, asked):
        """Asks for the change, and kills some servers meanwhile; returns "done", the error, or None where no answer came."""
        e = self.ensemble
        voters = [m for m in e.wanted if not m.is_observer]
        running = [m for m in e.members if m.is_running]
        if len(voters) >= 3:
            self.killing = self.random.sample(running, self.random.choice([0, 1, 1, 2]))
        try:
            connection = wire.Connection(port, wait=10).auth("digest", b"super:secret")
            connection.request(RECONFIG, wire.string(asked.get("joining")) + wire.string(asked.get("leaving"))
                               + wire.string(asked.get("members")) + struct.pack(">q", -1))
            time.sleep(self.random.choice(DELAYS))             # which step of it the kill falls into
            self.kill()
            connection.socket.settimeout(10)
            error = connection.reply()[1]
            connection.drop()
            return error or "done"
        except OSError:
            return None
        finally:
            self.kill()
            time.sleep(self.random.choice([0, 0.1, 1]))        # how long servers are down comes from the seed as well

    def kill(self):
        for member in self.killing:
            if member.is_running:
                member.kill9()
                self.killed += 1

    def outcome(self, former, new, ports, answer):
        """Which configuration every server has that answers, if that is the same one and they are enough."""
        found = []
        for port in ports:
            try:
                connection = wire.Connection(port, wait=3)
                connection.call(wire.SYNC, wire.string("/"))
                *lines, _ = connection.get(CONFIG)[0].decode().split("\n")
                connection.close()
            except (OSError, struct.error, wire.ServerError):
                continue
            found.append(sorted(lines))
            if found[-1] not in (former, new):
                raise SystemExit("neither the former configuration nor the new one: %r" % found[-1])
        if not found or any(lines != found[0] for lines in found) or answer == "done" and found[0] != new:
            return None
        if answer != "done" and 2 * len(found) <= len(former):
            return None
        return "new" if found[0] == new else "former"

    def put_back(self, places):
        for member, place in places.items():
            member.ports, member.port, member.is_observer = place

    def give_ports(self, member):
        """Ports that no other server has, not even one that does not run."""
        taken = {port for m in self.ensemble.members if m is not member for port in (m.port, *m.ports.values())}
        member.move()
        while taken & {member.port, *member.ports.values()}:
            member.move()

    # The changes: who the members are to be then, and how that is asked for.

    def outside(self):
        return [m for m in self.ensemble.members if m not in self.ensemble.wanted]

    def prepare(self, member, is_observer):
        if member.is_running:
            member.kill9()
        member.is_observer = is_observer
        member.join(self.ensemble.settings, known=self.ensemble.wanted)
        member.launch().serving()

    def add(self):
        outside = self.outside()
        new = self.random.sample(outside, min(len(outside), self.random.choice([1, 1, 2])))
        for member in new:
            self.prepare(member, is_observer=self.random.random() < 0.3)
        return (self.ensemble.wanted + new, {"joining": ",".join(m.line for m in new)}) if new else None

    def remove(self):
        members = self.ensemble.wanted
        gone = self.random.sample(members, min(len(members) - 1, self.random.choice([1, 1, 2])))
        after = [m for m in members if m not in gone]
        return (after, {"leaving": ",".join(str(m.sid) for m in gone)}) if gone else None

    def role(self):
        member = self.random.choice(self.ensemble.wanted)
        member.is_observer = not member.is_observer
        return list(self.ensemble.wanted), {"joining": member.line}

    def move(self):
        member = self.random.choice(self.ensemble.wanted)
        self.give_ports(member)
        return list(self.ensemble.wanted), {"joining": member.line}

    def replace(self):
        outside = self.outside()
        if not outside:
            return None
        gone, new = self.random.choice(self.ensemble.wanted), self.random.choice(outside)
        self.prepare(new, gone.is_observer)
        after = [m for m in self.ensemble.wanted if m is not gone] + [new]
        return after, {"members": ",".join(m.line for m in after)}


def options(parser):
    parser.add_argument("--seed", type=int)
    parser.add_argument("--minutes", type=float, default=2)


def main():
    with Check("reconfig-long", options) as check:
        seed = check.arguments.seed if check.arguments.seed is not None else random.randrange(1 << 31)
        with check.case("changes and kill -9 with seed %d" % seed):
            Storm(check, seed).run(60 * check.arguments.minutes)


if __name__ == "__main__":
    main()
