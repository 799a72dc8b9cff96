"""Limits: connections per address and in total, frames, slow readers, a flood of requests, and ten thousand idle sessions, which
survive kill -9 and restart.
"""
import contextlib
import resource
import socket
import struct
import time

import wire
from harness import Check, equal, expect, raises, wait_until

SESSIONS = 10000


def memory(server):
    """Resident bytes of a server process."""
    with open("/proc/%d/statm" % server.process.pid) as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def refused_at_once(port, host="127.0.0.1"):
    with socket.create_connection((host, port), 5) as s:
        s.settimeout(5)
        try:
            return s.recv(1) == b""
        except ConnectionError:
            return True
        except socket.timeout:
            return False


def per_address(check):
    "maxClientCnxns: one connection more from an address is closed at once; another address is free"
    server = check.server("per-address", {"maxClientCnxns": "5"}).start()
    wait_until("the probe of the start to be gone", lambda: "[0]" in wire.four_letter_word(server.port, "cons")
               or wire.four_letter_word(server.port, "cons").count("127.0.0.1") == 1)
    held = [wire.Connection(server.port) for _ in range(5)]
    equal([True] * 3, [refused_at_once(server.port) for _ in range(3)])
    for connection in held:
        connection.ping()
    with contextlib.suppress(OSError):                       # a machine without this second loopback address
        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            other.settimeout(5)
            other.connect(("127.0.0.1", server.port))
            other.sendall(b"ruok")
            equal(b"imok", other.recv(10))
    held.pop().close()

    def admitted():
        with contextlib.suppress(OSError):
            held.append(wire.Connection(server.port, wait=2))
            return True
        return False
    wait_until("a place to be free again", admitted, 10)


def in_total(check):
    "maxCnxns: one connection more in total is closed at once"
    server = check.server("in-total", {"maxCnxns": "6"}).start()
    held = []

    def fill():
        with contextlib.suppress(OSError):
            held.append(wire.Connection(server.port, wait=2))
        return len(held) == 6
    wait_until("six sessions", fill, 10)
    equal([True] * 3, [refused_at_once(server.port) for _ in range(3)])
    for connection in held:
        connection.ping()


def frames(check):
    "jute.maxbuffer: the largest frame is served, one byte more closes"
    server = check.server("frames", {"jute.maxbuffer": "100000"}).start()
    c = wire.Connection(server.port)
    c.create("/f", b"")
    overhead = 8 + len(wire.string("/f")) + 4 + 4                # header, path, length of the data, version
    c.set("/f", bytes(100000 - overhead))
    with raises(OSError):
        c.set("/f", bytes(100000 - overhead + 1))
    again = wire.Connection(server.port)
    equal(100000 - overhead, again.get("/f")[1]["dataLength"])


def slow_reader(check):
    "a client that asks for 600 MB and reads nothing: bounded memory, nobody else waits, every reply comes in the end"
    server = check.server("slow-reader").start()
    c = wire.Connection(server.port)
    data = bytes(range(256)) * 3900
    c.create("/big", data)
    quick = wire.Connection(server.port)
    before, count = memory(server), 600
    slow = wire.Connection(server.port, timeout=20000)
    slow.socket.settimeout(0.5)
    request = struct.pack(">ii", 0, wire.GET_DATA) + wire.string("/big") + b"\0"
    try:
        for xid in range(1, count + 1):
            slow.send(struct.pack(">i", xid) + request[4:])
    except socket.timeout:
        raise AssertionError("%d small requests were not taken" % count)
    end = time.monotonic() + 1.5
    slowest, rounds = 0.0, 0
    while time.monotonic() < end:
        start = time.monotonic()
        quick.set("/big", data[:100] if rounds % 2 else data)
        slowest, rounds = max(slowest, time.monotonic() - start), rounds + 1
    grown = memory(server) - before
    if check.kind == "aviary":
        expect(grown < 100 << 20, "the server grew by %d MiB for one slow reader" % (grown >> 20))
    expect(rounds > 10, "another session got only %d writes done" % rounds)
    slow.socket.settimeout(30)
    for xid in range(1, count + 1):
        got, error, reader = slow.reply()
        equal((xid, 0), (got, error))
        expect(len(reader.buffer()) in (100, len(data)), "data of reply %d" % xid)


def flood(check):
    "a hundred thousand pipelined requests of one client: all answered in order, bounded memory"
    server = check.server("flood").start()
    c = wire.Connection(server.port)
    c.create("/flood", b"x")
    before, count, batch = memory(server), 100000, 1000
    other = wire.Connection(server.port)
    body = wire.string("/flood") + b"\0"
    sent = got = 0
    peak = 0
    while got < count:
        if sent < count and sent - got < 20000:
            frames_ = b"".join(struct.pack(">iii", 8 + len(body), sent + i + 1, wire.EXISTS) + body for i in range(batch))
            c.socket.sendall(frames_)
            sent += batch
            other.ping()
        else:
            for _ in range(min(batch * 5, count - got)):
                got += 1
                xid, error, _ = c.reply()
                if (xid, error) != (got, 0):
                    raise AssertionError("reply %d: xid %d, error %d" % (got, xid, error))
            peak = max(peak, memory(server))
    if check.kind == "aviary":
        expect(peak - before < 64 << 20, "the server grew by %d MiB" % ((peak - before) >> 20))


def idle_sessions(check):
    "ten thousand idle sessions: served, small, and alive after kill -9"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(SESSIONS, hard - 500 if hard != resource.RLIM_INFINITY else SESSIONS)
    if count < SESSIONS:
        check.say("     (this machine lets a process have %d descriptors: %d sessions)" % (hard, count))
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, count + 500)), hard))
    server = check.server("idle", {"tickTime": "3000"}).start()
    before = memory(server)
    handshake = struct.pack(">iiqiqi", 45, 0, 0, 60000, 0, 16) + b"\0" * 17
    sockets, sessions = [], []
    for at in range(0, count, 200):
        part = []
        for _ in range(min(200, count - at)):
            s = socket.create_connection(("127.0.0.1", server.port), 10)
            s.settimeout(20)
            s.sendall(handshake)
            part.append(s)
        for s in part:
            answer = b""
            while len(answer) < 41:
                piece = s.recv(41 - len(answer))
                expect(piece, "session %d was not given" % len(sockets))
                answer += piece
            sessions.append((struct.unpack_from(">q", answer, 12)[0], answer[24:40]))
        sockets += part
    equal(count, len({session for session, _ in sessions}), "different session ids")
    each = (memory(server) - before) // count
    if check.kind == "aviary":
        expect(each < 40 << 10, "%d bytes a session" % each)
    for s in sockets[::7]:
        s.sendall(struct.pack(">iii", 8, -2, wire.PING))
    for s in sockets[::7]:
        answer = b""
        while len(answer) < 20:
            piece = s.recv(20 - len(answer))
            expect(piece, "a connection was closed")
            answer += piece
    c = wire.Connection(server.port)
    c.create("/among-them", b"x")
    equal(str(count + 1), wire.mntr(server.port)["global_sessions"], "global_sessions")
    c.close()
    server.restart()
    equal(str(count), wire.mntr(server.port)["global_sessions"], "global_sessions after kill -9")
    for session, password in sessions[::100]:
        wire.Connection(server.port, session=session, password=password, timeout=60000).drop()
    for s in sockets:
        s.close()


CASES = [per_address, in_total, frames, slow_reader, flood, idle_sessions]


def main():
    with Check("limits") as check:
        check.run(CASES, check)


if __name__ == "__main__":
    main()
