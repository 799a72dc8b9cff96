"""Hostile clients against the release executable: each kind at its worst, while a session with a watch is used all the time. That
one must get every answer and never be disconnected, and the memory of the server must stay within its bounds.
"""
import contextlib
import json
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import time

import wire
from garbage import HANDSHAKE, Bystander
from harness import ROOT, Check, equal, expect, wait_until
from limits import memory

MB = 1 << 20
ROUNDED = 2                                                    # a buffer may be twice as long as what is in it
ATTACKER = os.path.join(ROOT, "bench", "comparison", "hostile.py")


class Scene:
    """A server with a bystander; at the end of the block the bystander must be well, and the server alive and small."""

    def __init__(self, check, name, grows, **settings):
        self.check, self.grows = check, grows
        self.server = check.server(name, {"tickTime": "2000", **{k.replace("_", "."): str(v) for k, v in settings.items()}})

    def __enter__(self):
        self.server.start()
        self.port = self.server.port
        self.bystander = Bystander(self.port)
        self.before = self.peak = memory(self.server)
        return self

    def look(self):
        self.peak = max(self.peak, memory(self.server))
        expect(self.bystander.error is None, "the other session: %r" % self.bystander.error)

    def __exit__(self, kind, *_):
        if kind:
            return
        done = self.bystander.done                             # it goes on after the attack
        wait_until("the other session to go on", lambda: self.bystander.error or self.bystander.done > done + 3)
        self.look()
        self.bystander.ending = True
        self.bystander.join(20)
        expect(self.bystander.error is None, "the other session: %r" % self.bystander.error)
        equal(None, self.server.process.poll(), "exit code of the server")
        grown = (self.peak - self.before) / MB
        expect(grown < self.grows, "the server grew by %d MiB, allowed are %d" % (grown, self.grows))
        size = os.path.getsize(self.server.log)
        expect(size < 200000, "all this made a log of %d bytes" % size)
        self.check.say("     (grew by %d MiB of %d; the other session did %d rounds, the slowest took %d ms)" % (
            grown, self.grows, self.bystander.done, self.bystander.slowest * 1000))


def hostile(port, *data, small_buffer=False):
    """A connection that has sent this much of `data`, as far as the server takes it within a moment."""
    s = socket.socket()
    if small_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(5)
    s.connect(("127.0.0.1", port))
    s.settimeout(0.2)
    with contextlib.suppress(OSError):
        for piece in data:
            s.sendall(piece)
    return s


def frame(operation, body, xid=1):
    return struct.pack(">iii", 8 + len(body), xid, operation) + body


def is_closed(s):
    s.settimeout(0)
    try:
        while True:
            if not s.recv(1 << 20):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def no_readers(check):
    "a hundred clients ask for 2 GB of answers and read nothing: memory within aviary.maxClientBytes"
    with Scene(check, "no-readers", grows=ROUNDED * 64, **{"aviary.maxClientBytes": 64 * MB}) as scene:
        wire.Connection(scene.port).create("/big", bytes(900000))
        ask = frame(wire.GET_DATA, wire.string("/big") + b"\0")
        held = []
        for _ in range(100):
            held.append(hostile(scene.port, HANDSHAKE, ask * 25, small_buffer=True))
            scene.look()
        wait_until("some to be closed", lambda: scene.look() or "aviary.maxClientBytes" in scene.server.text())
        for s in held:
            s.close()


def half_frames(check):
    "three hundred frames of 900 kB that never end: memory within aviary.maxClientBytes"
    with Scene(check, "half-frames", grows=ROUNDED * 64, **{"aviary.maxClientBytes": 64 * MB}) as scene:
        begin = struct.pack(">iii", 1000000, 1, wire.CREATE) + bytes(900000)
        held = []
        for _ in range(300):
            held.append(hostile(scene.port, HANDSHAKE, begin))
            scene.look()
        for s in held:
            s.close()


def half_frames_at_once(check):
    "three hundred at once, so that none stands still: a session that waits for its answer is not taken for one that does"
    with Scene(check, "half-frames-at-once", grows=ROUNDED * 64, **{"aviary.maxClientBytes": 64 * MB}) as scene:
        data = HANDSHAKE + struct.pack(">iii", 1000000, 1, wire.CREATE) + bytes(900000)
        held = [socket.create_connection(("127.0.0.1", scene.port), 5) for _ in range(300)]
        rest = {}
        for s in held:
            s.setblocking(False)
            rest[s] = memoryview(data)
        while rest:
            ready = select.select([], list(rest), [], 0.5)[1]
            for s in ready:
                try:
                    rest[s] = rest[s][s.send(rest[s][:20000]):]
                except OSError:                                # it was closed
                    rest[s] = b""
                if not rest[s]:
                    del rest[s]
            scene.look()
            if not ready:
                break
        wait_until("some to be closed", lambda: scene.look() or "aviary.maxClientBytes" in scene.server.text())
        for s in held:
            s.close()


def announced_frames(check):
    "two thousand frames of a megabyte that are announced and do not come: nothing is taken for them"
    with Scene(check, "announced", grows=48) as scene:
        held = [hostile(scene.port, HANDSHAKE, struct.pack(">i", 1000000)) for _ in range(2000)]
        scene.look()
        for s in held:
            s.close()


def watch_bombs(check):
    "a million watches of ten sessions: those with the most are closed, memory within aviary.maxWatchBytes"
    with Scene(check, "watch-bombs", grows=160, **{"aviary.maxWatchBytes": 48 * MB}) as scene:
        held = []
        for bomb in range(10):
            s = hostile(scene.port, HANDSHAKE)
            for part in range(10):
                paths = b"".join(wire.string("/bomb/%d/%d/%d" % (bomb, part, i)) for i in range(10000))
                s.settimeout(5)
                with contextlib.suppress(OSError):
                    s.sendall(frame(101, struct.pack(">qii", 0, 0, 10000) + paths + struct.pack(">i", 0)))
                scene.look()
            held.append(s)
        wait_until("one of them to be closed", lambda: "all watches together" in scene.server.text())
        # Those of a connection that was closed go in steps, between which others are served.
        wait_until("the watches of those that were closed to go",
                   lambda: scene.look() or int(wire.mntr(scene.port)["watch_count"]) * 70 < 48 * MB)
        expect(sum(not is_closed(s) for s in held) >= 5, "more were closed than had to be")
        for s in held:
            s.close()


def storm(check):
    "a storm of five thousand sessions that are dropped, and of connections above the limit of their address"
    with Scene(check, "storm", grows=64, maxClientCnxns=40) as scene:
        held = [hostile(scene.port) for _ in range(60)]
        wait_until("20 of 60 to be refused", lambda: sum(is_closed(s) for s in held) >= 20)
        for s in held:
            s.close()
        opened = 0
        for _ in range(5000):
            with contextlib.suppress(OSError):
                s = socket.create_connection(("127.0.0.1", scene.port), 5)
                s.sendall(HANDSHAKE)
                s.close()
                opened += 1
        scene.look()
        expect(opened > 4000, "%d connections were made" % opened)


def unread_events(check):
    "notifications pile up for clients that do not read: they go, and what waited for them goes with them"
    with Scene(check, "unread-events", grows=ROUNDED * 64, **{"aviary.maxClientBytes": 64 * MB}) as scene:
        writer = wire.Connection(scene.port)
        name = "/" + "n" * 200000
        writer.create(name)
        watch = frame(106, wire.string("/") + struct.pack(">i", 1))
        held = [hostile(scene.port, HANDSHAKE, watch, small_buffer=True) for _ in range(30)]
        for round_ in range(150):
            writer.set(name, b"%d" % round_)
            scene.look()
        wait_until("some to be closed", lambda: scene.look() or "closing a client" in scene.server.text())
        for s in held:
            s.close()


def descriptors(check):
    "out of file descriptors: refused softly, who is in is served, one line a second; and all is well when there are some again"
    with Scene(check, "descriptors", grows=48) as scene:
        pid = scene.server.process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        in_use = len(os.listdir("/proc/%d/fd" % pid))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (in_use, limits[1]))
        waiting = [hostile(scene.port, HANDSHAKE) for _ in range(30)]
        time.sleep(2.5)
        scene.look()
        equal(0, len(select.select(waiting, [], [], 0)[0]), "connections that were answered or closed")
        lines = scene.server.text().count("out of file descriptors")
        expect(1 <= lines <= 5, "%d lines in %s" % (lines, scene.server.tail()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        for s in waiting:
            s.settimeout(10)
            expect(len(s.recv(41)) == 41, "a connection that had to wait was not served")
            s.close()


def descriptors_from_the_start(check):
    "a low limit of descriptors: the newest are refused, logs roll and snapshots are written all the same"
    server = check.server("few-descriptors", {"snapCount": "50", "preAllocSize": "64"})
    plain = server.command()
    server.command = lambda: ["/bin/sh", "-c", "ulimit -n 64; exec \"$@\"", "sh"] + plain
    server.start()
    bystander = Bystander(server.port)
    held = [hostile(server.port, HANDSHAKE) for _ in range(100)]
    wait_until("some to be refused", lambda: sum(is_closed(s) for s in held) > 50)
    before = bystander.done
    wait_until("snapshots", lambda: sum(n.startswith("snapshot.") for n in os.listdir(server.data + "/version-2")) > 2)
    wait_until("the other session to go on", lambda: bystander.error or bystander.done > before + 10)
    bystander.ending = True
    bystander.join(20)
    expect(bystander.error is None, "the other session: %r" % bystander.error)
    equal(1, server.text().count("out of file descriptors"), "lines about descriptors")
    for s in held:
        s.close()
    wait_until("a place to be free again", lambda: wire.Connection(server.port, wait=2).close() or True)


def everything(check):
    "all kinds at once for ten seconds, as the benchmark has them"
    with Scene(check, "everything", grows=128) as scene:
        wire.Connection(scene.port).create("/zkload")
        parent = wire.Connection(scene.port)
        parent.create("/zkload/k1000")
        for at in range(0, 1000, 100):
            parent.multi([(wire.CREATE, wire.create_record("/zkload/k1000/c%08d" % i)) for i in range(at, at + 100)])
        attack = subprocess.Popen([sys.executable, ATTACKER, str(scene.port)], stdout=subprocess.PIPE)
        try:
            end = time.monotonic() + 10
            while time.monotonic() < end:
                scene.look()
                time.sleep(0.2)
        finally:
            attack.send_signal(signal.SIGTERM)
            told = attack.communicate(timeout=30)[0]
        done = json.loads(told)
        expect(all(done.values()), "not all attacks were made: %r" % done)


CASES = [no_readers, half_frames, half_frames_at_once, announced_frames, watch_bombs, storm, unread_events, descriptors,
         descriptors_from_the_start, everything]


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    with Check("abuse") as check:
        check.run(CASES, check)


if __name__ == "__main__":
    main()
