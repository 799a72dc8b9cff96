"""Whether a well-behaved client of Aviary feels hostile ones: its p99 alone and beside them, alternately.

Run as a program it is the hostile clients: `hostile.py PORT`, until it is ended.
"""
import contextlib
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time

HANDSHAKE = struct.pack(">iiqiqi", 45, 0, 0, 30000, 0, 16) + b"\0" * 17


def run(bench):
    from contenders import Contender, running
    from life import median_of
    from workloads import measure
    if not bench.wants("hostile clients"):
        return
    rows, server = {"alone": [], "beside": []}, Contender(bench, "aviary", name="hostile")
    load = "--op get --conns 32 --pipeline 64 --rate 2000"
    with running(server):
        measure(bench, server, "children for slow readers", "--op children --seconds 0.2 --warmup 0")
        for _ in range(bench.rounds):
            for how in rows:
                attack = subprocess.Popen([sys.executable, os.path.abspath(__file__), str(server.port)]) if how == "beside" else None
                try:
                    row = measure(bench, server, "p99 " + how, load)
                finally:
                    if attack:
                        attack.terminate()
                        attack.wait()
                rows[how].append(row if "failed" in row else {
                    "p99_ms": row["latency_us"]["p99"] / 1e3, "lost": row["lost"], "rss_mb": row["server"]["rss_peak_kb"] / 1024})
    bench.results["hostile"] = {how: median_of(r) for how, r in rows.items()}


def connect(port, *data):
    s = socket.create_connection(("127.0.0.1", port), 5)
    s.settimeout(1)
    for piece in data:
        s.sendall(piece)
    return s


def garbage(port, held):
    """HTTP, random bytes, absurd lengths."""
    connect(port, random.choice((b"GET / HTTP/1.1\r\n\r\n", random.randbytes(400), b"\x7f\xff\xff\xff" * 20))).close()


def halves(port, held):
    """Connections that begin a handshake or a frame and fall silent; the oldest of 500 is let go."""
    held.append(connect(port, *random.choice(((HANDSHAKE[:20],), (HANDSHAKE, struct.pack(">i", 1000000) + b"\0" * 100)))))
    if len(held) > 500:
        held.pop(0).close()


def no_reading(port, held):
    """Asks for 5 MB of answers and reads none of them."""
    path = b"/zkload/k1000"
    frame = struct.pack(">iiii", 9 + 4 + len(path), 1, 8, len(path)) + path + b"\0"
    with contextlib.suppress(OSError):
        held.append(connect(port, HANDSHAKE, frame * 500))
    if len(held) > 20:
        held.pop(0).close()


def reconnecting(port, held):
    """Opens a session and drops the connection without closing it."""
    connect(port, HANDSHAKE).close()


def attack(port, act, every):
    held = []
    while True:
        with contextlib.suppress(OSError):
            act(port, held)
        time.sleep(every)


if __name__ == "__main__":
    for act, every in ((garbage, 0.02), (halves, 0.02), (no_reading, 0.5), (reconnecting, 0.02)):
        threading.Thread(target=attack, args=(int(sys.argv[1]), act, every), daemon=True).start()
    while os.getppid() != 1:                                   # not longer than the benchmark
        time.sleep(0.5)
