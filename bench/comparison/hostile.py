"""Whether a well-behaved client of Aviary feels hostile ones.

Generator, hostile clients and servers share the cores of one machine, so that a server could be blamed for what the hostile
clients take from the generator. Three things are therefore measured, alternately, with the same open loop on the same server:

    alone       nobody else is there
    elsewhere   the hostile clients attack a second Aviary beside it: what the machine and the attack cost
    beside      they attack this one: what is more than that is what the server lets them do to others

Run as a program it is the hostile clients: `hostile.py PORT`, until it is ended; it then says how often it did what. It runs at
the lowest priority, because elsewhere hostile clients do not run on the cores of those whom they attack.
"""
import contextlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

HANDSHAKE = struct.pack(">iiqiqi", 45, 0, 0, 30000, 0, 16) + b"\0" * 17
PARENT = b"/zkload/k1000"                                      # the node with 1,000 children that zkload makes
PATH = struct.pack(">i", len(PARENT)) + PARENT
LOAD = "--op get --conns 32 --pipeline 64 --rate 2000"


def run(bench):
    from contenders import Contender, running
    from life import median_of
    from workloads import measure
    if not bench.wants("hostile clients"):
        return
    rows = {"alone": [], "elsewhere": [], "beside": []}
    server, other = Contender(bench, "aviary", name="hostile"), Contender(bench, "aviary", name="hostile-elsewhere")
    target = {"elsewhere": other, "beside": server}
    with running(server, other):
        for each in (server, other):
            measure(bench, each, "children for hostile clients", "--op children --seconds 0.2 --warmup 0")
        for _ in range(1 if bench.quick else max(bench.rounds, 5)):    # a tail is noisier than a median
            for how in rows:
                with attacked(target.get(how)) as attack:
                    row = measure(bench, server, "p99 " + how, LOAD)
                rows[how].append(row if "failed" in row else {
                    "p50_ms": row["latency_us"]["p50"] / 1e3, "p99_ms": row["latency_us"]["p99"] / 1e3,
                    "lost": row["lost"], "errors": row["errors"] + row["bad_length"] + row["bad_xid"],
                    "rss_mb": row["server"]["rss_peak_kb"] / 1024, "attacks": sum(attack.values())})
    bench.results["hostile"] = {how: median_of(r) for how, r in rows.items()}


@contextlib.contextmanager
def attacked(server):
    """Hostile clients at `server`, if any; gives how often they did what once they have ended."""
    done, process = {}, None
    if server:
        process = subprocess.Popen([sys.executable, os.path.abspath(__file__), str(server.port)], stdout=subprocess.PIPE)
    try:
        yield done
    finally:
        if process:
            process.terminate()
            with contextlib.suppress(ValueError):
                done.update(json.loads(process.communicate(timeout=30)[0]))


# MARK: What hostile clients do. `held` is what one kind of them keeps open.

def connect(port, *data):
    s = socket.create_connection(("127.0.0.1", port), 5)
    s.settimeout(2)
    for piece in data:
        s.sendall(piece)
    return s


def session(port):
    s = connect(port, HANDSHAKE)
    read(s, 41)
    return s


def read(s, count):
    while count > 0:
        piece = s.recv(min(count, 1 << 18))
        if not piece:
            raise ConnectionError("closed")
        count -= len(piece)


def frame(operation, body, xid=1):
    return struct.pack(">iii", 8 + len(body), xid, operation) + body


def keep(held, s, most):
    held.append(s)
    while len(held) > most:
        held.pop(0).close()


def garbage(port, held):
    """HTTP, random bytes, absurd lengths."""
    connect(port, random.choice((b"GET / HTTP/1.1\r\n\r\n", random.randbytes(400), b"\x7f\xff\xff\xff" * 20))).close()


def halves(port, held):
    """Begins a handshake or a frame and falls silent."""
    keep(held, connect(port, *random.choice(((HANDSHAKE[:20],), (HANDSHAKE, struct.pack(">i", 1000000) + b"\0" * 100)))), 500)


def no_reading(port, held):
    """Asks for 8 MB of answers and reads none of them."""
    keep(held, connect(port, HANDSHAKE, frame(8, PATH + b"\0") * 500), 20)


def greedy(port, held):
    """Asks for 3 MB of answers at once, and reads them."""
    if not held:
        held.append(session(port))
    try:
        held[0].sendall(frame(8, PATH + b"\0") * 200)
        for _ in range(200):
            length = held[0].recv(4, socket.MSG_WAITALL)
            read(held[0], struct.unpack(">i", length)[0])
    except (OSError, struct.error):
        held.pop().close()


def amplifying(port, held):
    """A small multiRead that would be answered with 40 MB."""
    part = struct.pack(">ibi", 8, 0, -1) + PATH + b"\0"
    keep(held, connect(port, HANDSHAKE, frame(22, part * 2500 + struct.pack(">ibi", -1, 1, -1))), 5)


def bombs(port, held):
    """Sets five thousand watches and goes away."""
    paths = b"".join(struct.pack(">i", 16) + b"/nowhere/%07d" % i for i in range(5000))
    keep(held, connect(port, HANDSHAKE, frame(101, struct.pack(">qii", 0, 0, 5000) + paths + struct.pack(">i", 0))), 5)


def stealing(port, held):
    """Knows a session's id and not its password."""
    if not held:
        held.append(connect(port, HANDSHAKE))
        held.append(held[0].recv(41, socket.MSG_WAITALL)[12:20])
    connect(port, HANDSHAKE[:20] + held[1] + struct.pack(">i", 16) + random.randbytes(16) + b"\0").close()


def reconnecting(port, held):
    """Opens a session and drops the connection without closing it."""
    connect(port, HANDSHAKE).close()


ATTACKS = ((garbage, 0.02), (halves, 0.02), (reconnecting, 0.02), (stealing, 0.05), (no_reading, 0.5), (greedy, 0.5),
           (amplifying, 0.5), (bombs, 0.5))


def attack(port, act, every, done):
    held = []
    while True:
        with contextlib.suppress(OSError):
            act(port, held)
            done[act.__name__] += 1
        time.sleep(every)


def main(port):
    os.nice(19)
    done = {act.__name__: 0 for act, _ in ATTACKS}
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    for act, every in ATTACKS:
        threading.Thread(target=attack, args=(port, act, every, done), daemon=True).start()
    while not ended.wait(0.5) and os.getppid() != 1:           # not longer than the benchmark
        pass
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
