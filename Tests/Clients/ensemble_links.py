"""The network between the servers of an ensemble, with faults: every connection from one server to another goes through a relay
of this module, because each server's own configuration names the relays as the addresses of the others. No privileges needed.

A direction A to B can be blocked: nothing that A sends reaches B, neither data nor the end of a connection, and no connection is
made between the two; nothing is lost either, as TCP would send it again, so what was held arrives when the direction is opened.
It can be delayed. A pair can be reset: its connections break, at both ends. A server that does not run refuses connections.

`Links` starts the relays in a process of their own, which ends when this one does; `python3 ensemble_links.py` is that process,
one JSON list a line on its standard input, an answer for each. Standard library only.
"""
import collections
import heapq
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import threading
import time

# Bytes held in one direction of a connection before the relay stops reading; the system's socket buffers come on top.
MOST_HELD = 256 * 1024
# Seconds for which a connection waits for a server that runs and does not listen yet: without a relay the caller would be refused
# and try again at once, with one it would take the end of its connection for the end of the other.
PATIENCE = 1.0
RETRY = 0.02
QUORUM, ELECTION = "quorum", "election"


class Links:
    """The relays between servers: {(from, to, kind): port} says where `from` reaches `to`."""

    def __init__(self, targets):
        """`targets` is {server id: {kind: port it listens on}}."""
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.lock, self.servers = threading.Lock(), sorted(targets)
        told = self.tell("listen", [[a, b, kind, port] for a in targets for b in targets if a != b
                                    for kind, port in targets[b].items()])
        self.ports = {(a, b, kind): port for a, b, kind, port in told}

    def tell(self, *command):
        with self.lock:
            self.process.stdin.write(json.dumps(command) + "\n")
            answer = self.process.stdout.readline()
        if not answer:
            raise AssertionError("the relays have ended")
        return json.loads(answer)

    def block(self, a, b):
        """Nothing that `a` sends reaches `b`."""
        self.tell("block", [[a, b]])

    def cut(self, *servers):
        """Cuts `servers` off from all others, both ways; among themselves they stay connected."""
        self.tell("block", [pair for a in servers for b in self.servers if b not in servers for pair in ([a, b], [b, a])])

    def cut_pair(self, a, b):
        self.tell("block", [[a, b], [b, a]])

    def delay(self, a, b, seconds):
        """Everything that `a` sends to `b` is late by `seconds`."""
        self.tell("delay", a, b, seconds)

    def reset(self, a, b):
        """Breaks the connections between the two."""
        self.tell("reset", a, b)

    def running(self, server, truth):
        """Whether the process of `server` runs: connections to one that does not are refused."""
        self.tell("running", server, truth)

    def heal(self):
        """Opens every direction and ends all delays."""
        self.tell("heal")

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


class Flow:
    """One direction of one connection: what `source` sent and `sink` has not got."""

    def __init__(self, connection, direction):
        self.connection, self.direction = connection, direction
        self.source = self.sink = None
        self.held, self.size, self.ended, self.closed = collections.deque(), 0, False, False


class Relayed:
    """A connection that `a` opened to `b`, and its other half from the relay to `b`."""

    def __init__(self, a, b, kind, near):
        self.a, self.b, self.kind, self.near, self.far = a, b, kind, near, None
        self.begun, self.dead = time.monotonic(), False
        self.broken = False                                    # one end is gone and the other cannot know yet
        self.flows = (Flow(self, (a, b)), Flow(self, (b, a)))
        self.flows[0].source = self.flows[1].sink = near
        # The first message of an election connection names the address under which the caller wants to be called back; the relay
        # puts its own there. It is collected whole first: Apache reads it with a single call.
        self.greeting = bytearray() if kind == ELECTION else None


class Relay:
    def __init__(self):
        self.selector, self.blocked, self.delays = selectors.DefaultSelector(), set(), {}
        self.listeners, self.targets, self.ports, self.down = {}, {}, {}, set()
        self.connections, self.waiting, self.timers, self.serial = set(), set(), [], 0

    def run(self):
        os.set_blocking(0, False)
        self.selector.register(0, selectors.EVENT_READ, self.commands)
        self.input = b""
        while True:
            now = time.monotonic()
            pause = max(0.0, self.timers[0][0] - now) if self.timers else None
            for key, mask in self.selector.select(pause):
                if callable(key.data):
                    key.data(key.fileobj)
                elif not key.data.dead:
                    self.ready(key.data, key.fileobj, mask)
            while self.timers and self.timers[0][0] <= time.monotonic():
                heapq.heappop(self.timers)[2]()

    def later(self, seconds, action):
        self.serial += 1
        heapq.heappush(self.timers, (time.monotonic() + seconds, self.serial, action))

    # Commands

    def commands(self, _):
        piece = os.read(0, 65536)
        if not piece:
            os._exit(0)
        self.input += piece
        while b"\n" in self.input:
            line, _, self.input = self.input.partition(b"\n")
            name, *given = json.loads(line)
            print(json.dumps(getattr(self, "do_" + name)(*given)), flush=True)

    def do_listen(self, wanted):
        told = []
        for a, b, kind, port in wanted:
            # The system chooses the port; it is kept for this relay by a second socket that is bound and never listens.
            holder = socket.socket()
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(("127.0.0.1", 0))
            self.ports[a, b, kind] = (holder.getsockname()[1], holder)
            self.targets[a, b, kind] = port
            self.down.add(b)
            told.append([a, b, kind, holder.getsockname()[1]])
        return told

    def do_block(self, pairs):
        self.blocked |= {tuple(pair) for pair in pairs}
        self.look_again()

    def do_delay(self, a, b, seconds):
        self.delays[a, b] = seconds

    def do_reset(self, a, b):
        for connection in [c for c in self.connections if {c.a, c.b} == {a, b}]:
            self.end(connection, True)

    def do_heal(self):
        self.blocked.clear()
        self.delays.clear()
        self.look_again()

    def do_running(self, server, truth):
        for key in [k for k in self.targets if k[1] == server]:
            if truth and key not in self.listeners:
                listener = socket.socket()
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                listener.bind(("127.0.0.1", self.ports[key][0]))
                listener.listen(64)
                listener.setblocking(False)
                self.listeners[key] = listener
                self.selector.register(listener, selectors.EVENT_READ, lambda s, key=key: self.accept(s, key))
            elif not truth and key in self.listeners:
                listener = self.listeners.pop(key)
                self.selector.unregister(listener)
                listener.close()
                for connection in [c for c in self.waiting if (c.a, c.b, c.kind) == key]:
                    self.end(connection, True)

    # Connections

    def open(self, a, b):
        return (a, b) not in self.blocked

    def accept(self, listener, key):
        try:
            near, _ = listener.accept()
        except OSError:
            return
        near.setblocking(False)
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Relayed(*key, near)
        self.connections.add(connection)
        self.waiting.add(connection)
        self.connect(connection)

    def connect(self, connection):
        """Opens the other half, as soon as both directions are open and the server listens."""
        if connection.dead or connection not in self.waiting:
            return
        a, b = connection.a, connection.b
        if not (self.open(a, b) and self.open(b, a)):
            connection.begun = time.monotonic()                # held until the pair is healed
            return
        far = socket.socket()
        far.settimeout(0.05)                                   # on loopback it is done or refused at once, or the backlog is full
        try:
            far.connect(("127.0.0.1", self.targets[a, b, connection.kind]))
        except OSError:
            far.close()
            if time.monotonic() - connection.begun > PATIENCE:
                self.end(connection, True)
            else:
                self.later(RETRY, lambda: self.connect(connection))
            return
        far.setblocking(False)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.far = far
        connection.flows[0].sink = connection.flows[1].source = far
        self.waiting.discard(connection)
        self.watch(connection)

    def look_again(self):
        for connection in list(self.connections):
            if connection in self.waiting:
                self.connect(connection)
            else:
                self.push(connection)

    def end(self, connection, abruptly=False):
        if connection.dead:
            return
        connection.dead = True
        self.connections.discard(connection)
        self.waiting.discard(connection)
        for half in (connection.near, connection.far):
            if half is None:
                continue
            try:
                self.selector.unregister(half)
            except (KeyError, ValueError):
                pass
            if abruptly:
                half.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            half.close()

    def watch(self, connection):
        """Tells the selector what each half waits for."""
        for half, out, back in ((connection.near, *connection.flows), (connection.far, *reversed(connection.flows))):
            # `out` is what this half sends, `back` what it gets.
            mask = 0
            if connection.broken:
                pass
            elif self.open(*out.direction) and not out.ended and out.size < MOST_HELD:
                mask |= selectors.EVENT_READ
            if not connection.broken and back.held and self.open(*back.direction) and back.held[0][0] <= time.monotonic():
                mask |= selectors.EVENT_WRITE
            try:
                key = self.selector.get_key(half)
                if not mask:
                    self.selector.unregister(half)
                elif key.events != mask:
                    self.selector.modify(half, mask, connection)
            except KeyError:
                if mask:
                    self.selector.register(half, mask, connection)

    def ready(self, connection, half, mask):
        flow = connection.flows[0 if half is connection.near else 1]
        if mask & selectors.EVENT_READ and not flow.ended and self.open(*flow.direction):
            try:
                piece = half.recv(65536)
            except BlockingIOError:
                piece = None
            except OSError:
                return self.end(connection, True)
            if piece == b"":
                flow.ended = True
            elif piece:
                if connection.greeting is not None and flow is connection.flows[0]:
                    piece = self.greet(connection, piece)
                if piece:
                    due = time.monotonic() + self.delays.get(flow.direction, 0)
                    flow.held.append([due, memoryview(bytes(piece))])
                    flow.size += len(piece)
                    if due > time.monotonic():
                        self.later(due - time.monotonic(), lambda: self.push(connection))
        self.push(connection)

    def push(self, connection):
        """Hands on what is due, and the end of a direction behind it."""
        if connection.dead or connection in self.waiting:
            return
        if connection.broken and all(self.open(*flow.direction) for flow in connection.flows):
            return self.end(connection, True)
        for flow in connection.flows:
            if not self.open(*flow.direction) or connection.broken:
                continue
            while flow.held and flow.held[0][0] <= time.monotonic():
                try:
                    sent = flow.sink.send(flow.held[0][1])
                except BlockingIOError:
                    break
                except OSError:
                    # The one that should get it is gone; the sender learns of it unless the way back is blocked.
                    if self.open(*reversed(flow.direction)):
                        return self.end(connection, True)
                    connection.broken = True
                    break
                flow.size -= sent
                if sent == len(flow.held[0][1]):
                    flow.held.popleft()
                else:
                    flow.held[0][1] = flow.held[0][1][sent:]
            if flow.ended and not flow.held and not flow.closed:
                flow.closed = True
                try:
                    flow.sink.shutdown(socket.SHUT_WR)
                except OSError:
                    return self.end(connection, True)
        if all(flow.closed for flow in connection.flows):
            return self.end(connection)
        self.watch(connection)

    def greet(self, connection, piece):
        """The first message of an election connection, with the relay's address for the caller's own, once it is whole."""
        got = connection.greeting
        got += piece
        if len(got) < 8:
            return b""
        if struct.unpack_from(">q", got)[0] not in (-65536, -65535):    # no address in it
            connection.greeting = None
            return got
        if len(got) < 20 or len(got) < 20 + struct.unpack_from(">i", got, 16)[0]:
            return b""
        size = struct.unpack_from(">i", got, 16)[0]
        connection.greeting = None
        back = ("127.0.0.1:%d" % self.ports[connection.b, connection.a, ELECTION][0]).encode()
        return got[:16] + struct.pack(">i", len(back)) + back + got[20 + size:]


def prove():
    """Raises unless the relays between two listening sockets do what this module says."""
    listeners = {sid: socket.create_server(("127.0.0.1", 0)) for sid in (1, 2)}
    ports = {sid: listener.getsockname()[1] for sid, listener in listeners.items()}
    links = Links({sid: {QUORUM: port, ELECTION: port} for sid, port in ports.items()})
    opened = list(listeners.values())

    def connect(kind=QUORUM):
        """Server 1 connects to 2: both ends."""
        near = socket.create_connection(("127.0.0.1", links.ports[1, 2, kind]), 5)
        opened.append(near)
        return near

    def accept():
        listeners[2].settimeout(5)
        far, _ = listeners[2].accept()
        opened.append(far)
        return far

    def heard(end, wait):
        """What arrives within `wait` seconds: bytes, None for nothing, or "reset"."""
        end.settimeout(wait)
        try:
            return end.recv(1000)
        except TimeoutError:
            return None
        except ConnectionError:
            return "reset"

    def expect(want, got):
        if want != got:
            raise AssertionError("expected %r, got %r" % (want, got))
    try:
        try:
            connect()
            raise AssertionError("a server that does not run was reached")
        except ConnectionRefusedError:
            links.running(2, True)
        near, far = connect(), accept()
        near.sendall(b"there")
        far.sendall(b"back")
        expect((b"there", b"back"), (heard(far, 5), heard(near, 5)))
        links.block(1, 2)
        near.sendall(b"held")
        far.sendall(b"open")
        expect((b"open", None), (heard(near, 5), heard(far, 0.2)))
        second = connect()                                     # reaches the relay, and nobody behind it
        second.sendall(b"late")
        links.heal()
        expect(b"held", heard(far, 5))
        expect(b"late", heard(accept(), 5))
        links.delay(2, 1, 0.2)
        start = time.monotonic()
        far.sendall(b"slow")
        expect(b"slow", heard(near, 5))
        if time.monotonic() - start < 0.19:
            raise AssertionError("not delayed")
        links.cut(1)
        far.close()
        expect(None, heard(near, 0.3))                          # the end of the other is not told through a cut
        links.heal()
        expect(b"", heard(near, 5) or b"")
        near, far = connect(), accept()
        links.reset(1, 2)
        expect(("reset", "reset"), (heard(near, 5), heard(far, 5)))
        near = connect(ELECTION)
        greeting = struct.pack(">qqi", -65536, 1, 15) + b"127.0.0.1:12345"
        near.sendall(greeting[:21])
        far = accept()
        expect(None, heard(far, 0.2))                           # only as a whole
        near.sendall(greeting[21:] + b"more")
        address = b"127.0.0.1:%d" % links.ports[2, 1, ELECTION]
        expect(struct.pack(">qqi", -65536, 1, len(address)) + address + b"more", heard(far, 5))
    finally:
        links.stop()
        for end in opened:
            end.close()


if __name__ == "__main__":
    Relay().run()
