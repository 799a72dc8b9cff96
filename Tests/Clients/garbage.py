"""What does not belong on the client port: HTTP, TLS, random bytes, absurd lengths, halves of frames. Each is closed, told in the
log once, in words, and disturbs nobody: a session with a watch is used all the while.
"""
import os
import random
import socket
import struct
import threading
import time

import wire
from harness import Check, equal, expect, wait_until

HTTP = b"GET /index.html HTTP/1.1\r\nHost: localhost:2181\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n"
# The begin of a TLS 1.2 ClientHello, as openssl s_client sends it.
TLS = bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + bytes.fromhex("20") + bytes(32) + bytes.fromhex(
    "0026c02bc02fc02cc030cca9cca8c013c014009c009d002f0035000a130113021303") + bytes(80)
HANDSHAKE = struct.pack(">iiqiqi", 45, 0, 0, 10000, 0, 16) + b"\0" * 17


class Bystander(threading.Thread):
    """A session that works all the time; everything must go well for it."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.ending, self.error, self.slowest, self.done = port, False, None, 0.0, 0
        self.connection, self.watcher = wire.Connection(port), wire.Connection(port)
        self.connection.create("/bystander")
        self.start()

    def run(self):
        try:
            while not self.ending:
                start = time.monotonic()
                self.watcher.call(wire.GET_DATA, wire.string("/bystander") + b"\1")
                self.connection.set("/bystander", b"%d" % self.done)
                self.connection.ping()
                self.watcher.ping()
                equal([(3, "/bystander")], [event[:2] for event in self.watcher.events])
                self.watcher.events.clear()
                self.slowest = max(self.slowest, time.monotonic() - start)
                self.done += 1
        except Exception as error:
            self.error = error


def closed(port, data, handshake=False, wait=25):
    """Sends `data`, behind a good handshake where asked; the server must close. Returns what it sent before that."""
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.settimeout(wait)
        if handshake:
            s.sendall(HANDSHAKE)
            answer = b""
            while len(answer) < 41:
                piece = s.recv(41 - len(answer))
                expect(piece, "no answer to the handshake")
                answer += piece
        out = b""
        try:
            s.sendall(data)
            while True:
                piece = s.recv(65536)
                if not piece:
                    return out
                out += piece
        except ConnectionError:
            return out
        except socket.timeout:
            raise AssertionError("the server did not close the connection; it sent %r" % out[:80])


def after_handshake(port, data):
    return closed(port, data, handshake=True)


def main():
    with Check("garbage") as check:
        server = check.server().start()
        bystander = Bystander(server.port)
        chance = random.Random(3)

        def told(words, least=1, most=None):
            text = server.text().lower()
            count = sum(1 for line in text.splitlines() if any(word in line for word in words))
            expect(count >= least, "the log says nothing of %s" % " or ".join(words))
            expect(most is None or count <= most, "the log says it %d times" % count)

        with check.case("an HTTP request"):
            equal(b"", closed(server.port, HTTP))
            if check.kind == "aviary":
                wait_until("the log", lambda: "http" in server.text().lower(), 5)
        with check.case("a TLS ClientHello"):
            equal(b"", closed(server.port, TLS))
            if check.kind == "aviary":
                wait_until("the log", lambda: "tls" in server.text().lower(), 5)
        with check.case("fifty HTTP requests and fifty ClientHellos are told once each"):
            for _ in range(50):
                equal(b"", closed(server.port, HTTP))
                equal(b"", closed(server.port, TLS))
            if check.kind == "aviary":
                told(["http"], most=3)
                told(["tls"], most=3)
        with check.case("other protocols: SSH, SMTP, a PROXY header, POST"):
            for data in (b"SSH-2.0-OpenSSH_9.2\r\n", b"EHLO example.org\r\n", b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n",
                         b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b"\r\n\r\n\r\n\r\n"):
                equal(b"", closed(server.port, data))
        with check.case("random bytes"):
            for _ in range(40):
                # The first byte makes the length absurd; without that the server waits for more, as it should.
                equal(b"", closed(server.port, bytes([chance.randrange(1, 256)]) + chance.randbytes(chance.randrange(3, 2000))))
        with check.case("lengths: negative, one over the limit, the largest"):
            for length in (-1, -2 ** 31, 1048576, 2 ** 31 - 1):
                equal(b"", closed(server.port, struct.pack(">i", length) + bytes(100)))
                equal(b"", after_handshake(server.port, struct.pack(">i", length) + bytes(100)))
        with check.case("an empty frame, and a handshake that is too short"):
            equal(b"", closed(server.port, struct.pack(">i", 0)))
            equal(b"", closed(server.port, struct.pack(">i", 10) + bytes(10)))
            equal(b"", after_handshake(server.port, struct.pack(">i", 4) + bytes(4)))
        with check.case("HTTP behind a good handshake"):
            equal(b"", after_handshake(server.port, HTTP))
        with check.case("an opcode that does not exist is answered, then closed"):
            for opcode in (0, 13, 23, 99, 108, 500, -1, 2 ** 31 - 1):
                out = after_handshake(server.port, struct.pack(">iii", 8, 7, opcode))
                equal((16, 7, -1, -6), struct.unpack(">iiqi", out), "opcode %d" % opcode)
        with check.case("records that end early or lie about lengths keep the connection"):
            c = wire.Connection(server.port)
            for opcode in (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 14, 15, 17, 18, 19, 21, 22, 101, 103, 104, 105, 106):
                for body in (b"\0\0", b"\0\0\0\x10/short", struct.pack(">i", 2 ** 31 - 1), struct.pack(">i", -7)):
                    c.request(opcode, body)
                    xid, error, _ = c.reply()
                    expect(xid == c.xid, "reply to xid %d where %d was due" % (xid, c.xid))
            c.ping()
            c.close()
        with check.case("connections that are dropped half way, and that never speak"):
            silent = [socket.create_connection(("127.0.0.1", server.port), 5) for _ in range(30)]
            for at in range(1, len(HANDSHAKE), 3):
                with socket.create_connection(("127.0.0.1", server.port), 5) as s:
                    s.sendall(HANDSHAKE[:at])
            for s in silent:
                s.close()
        with check.case("random frames behind a good handshake do not harm others"):
            for _ in range(100):
                with socket.create_connection(("127.0.0.1", server.port), 5) as s:
                    body = struct.pack(">ii", chance.randrange(1, 1000), chance.randrange(-12, 110)) + chance.randbytes(60)
                    s.sendall(HANDSHAKE + struct.pack(">i", len(body)) + body)
                    s.settimeout(2)
                    s.recv(4096)
        with check.case("a handshake that trickles in byte by byte is served"):
            with socket.create_connection(("127.0.0.1", server.port), 5) as s:
                s.settimeout(10)
                for at in range(len(HANDSHAKE)):
                    s.sendall(HANDSHAKE[at:at + 1])
                out = b""
                while len(out) < 41:
                    out += s.recv(100)
        with check.case("nobody else noticed"):
            bystander.ending = True
            bystander.join(10)
            expect(bystander.error is None, "the other session: %r" % bystander.error)
            expect(bystander.done > 5, "the other session got %d rounds done" % bystander.done)
            equal(None, server.process.poll(), "exit code of the server")
            size = os.path.getsize(server.log)
            if check.kind == "aviary":
                expect(size < 100000, "all this made a log of %d bytes" % size)


if __name__ == "__main__":
    main()
