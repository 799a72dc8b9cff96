"""A small ZooKeeper client on bare sockets, for what the client libraries hide: raw frames, zxids, every field of a Stat,
and the whole tree as the super user. Records as in docs/protocol/client-protocol.md sections 3, 4 and 8. Standard library only.
"""
import socket
import struct
import time

CREATE, DELETE, EXISTS, GET_DATA, SET_DATA, GET_ACL, SET_ACL, GET_CHILDREN, SYNC, PING = 1, 2, 3, 4, 5, 6, 7, 8, 9, 11
CREATE2, CREATE_CONTAINER, CREATE_TTL, MULTI, AUTH, CLOSE = 15, 19, 21, 14, 100, -11
STAT_FIELDS = ("czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "ephemeralOwner", "dataLength",
               "numChildren", "pzxid")
OPEN_ACL = [(31, "world", "anyone")]
ERRORS = {-1: "SystemError", -5: "MarshallingError", -6: "Unimplemented", -8: "BadArguments", -101: "NoNode",
          -102: "NoAuth", -103: "BadVersion", -108: "NoChildrenForEphemerals", -110: "NodeExists", -111: "NotEmpty",
          -112: "SessionExpired", -114: "InvalidACL", -115: "AuthFailed", -121: "NoWatcher", -125: "QuotaExceeded"}


class ServerError(Exception):
    """The server answered a request with an error code."""

    def __init__(self, code, what):
        super().__init__("%s: %s (%d)" % (what, ERRORS.get(code, "error"), code))
        self.code = code


class Refused(OSError):
    """The server answered the handshake with session id 0: the session is unknown, expired or the password wrong."""


def string(text):
    if text is None:
        return struct.pack(">i", -1)
    raw = text.encode()
    return struct.pack(">i", len(raw)) + raw


def buffer(raw):
    return struct.pack(">i", -1) if raw is None else struct.pack(">i", len(raw)) + raw


def acls(entries):
    return struct.pack(">i", len(entries)) + b"".join(
        struct.pack(">i", perms) + string(scheme) + string(identity) for perms, scheme, identity in entries)


def create_record(path, data=b"", acl=OPEN_ACL, flags=0, ttl=None):
    return string(path) + buffer(data) + acls(acl) + struct.pack(">i", flags) + (
        b"" if ttl is None else struct.pack(">q", ttl))


class Reader:
    """Walks over the fields of one record."""

    def __init__(self, raw, at=0):
        self.raw, self.at = raw, at

    def unpack(self, form):
        values = struct.unpack_from(form, self.raw, self.at)
        self.at += struct.calcsize(form)
        return values if len(values) > 1 else values[0]

    def int(self):
        return self.unpack(">i")

    def long(self):
        return self.unpack(">q")

    def buffer(self):
        length = self.int()
        if length < 0:
            return None
        self.at += length
        return self.raw[self.at - length:self.at]

    def string(self):
        raw = self.buffer()
        return None if raw is None else raw.decode()

    def vector(self, element):
        return [element() for _ in range(self.int())]

    def stat(self):
        return dict(zip(STAT_FIELDS, self.unpack(">qqqqiiiqiiq")))

    def acl(self):
        return (self.int(), self.string(), self.string())


class Connection:
    """One session on one connection; `session` and `password` of an earlier one re-attach to it."""

    def __init__(self, port, timeout=30000, session=0, password=b"\0" * 16, host="127.0.0.1", last_zxid=0, wait=15):
        self.socket = socket.create_connection((host, port), wait)
        self.socket.settimeout(wait)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.xid, self.zxid, self.events = 0, 0, []
        try:
            self.send(struct.pack(">iqiqi", 0, last_zxid, timeout, session, len(password)) + password + b"\0")
            reply = Reader(self.frame())
            _, self.timeout, self.session = reply.unpack(">iiq")
            self.password = reply.buffer()
            if self.session == 0:
                raise Refused("the server refused the session")
        except BaseException:
            self.socket.close()
            raise

    def send(self, body):
        self.socket.sendall(struct.pack(">i", len(body)) + body)

    def read(self, count):
        out = bytearray()
        while len(out) < count:
            piece = self.socket.recv(count - len(out))
            if not piece:
                raise ConnectionError("closed by the server")
            out += piece
        return bytes(out)

    def frame(self):
        return self.read(struct.unpack(">i", self.read(4))[0])

    def request(self, operation, body=b"", xid=None):
        """Sends without waiting; returns the xid."""
        if xid is None:
            self.xid += 1
            xid = self.xid
        self.send(struct.pack(">ii", xid, operation) + body)
        return xid

    def reply(self):
        """The next reply as (xid, error, reader of its body); notifications on the way are kept in `events`."""
        while True:
            reader = Reader(self.frame())
            xid, zxid, error = reader.unpack(">iqi")
            if xid == -1:
                kind, _ = reader.unpack(">ii")
                self.events.append((kind, reader.string(), zxid))
                continue
            if zxid > 0:
                self.zxid = max(self.zxid, zxid)
            return xid, error, reader

    def call(self, operation, body=b"", xid=None):
        xid = self.request(operation, body, xid)
        got, error, reader = self.reply()
        if got != xid:
            raise ConnectionError("reply to xid %d where %d was due" % (got, xid))
        if error:
            raise ServerError(error, "opcode %d" % operation)
        return reader

    def auth(self, scheme, credential):
        self.call(AUTH, struct.pack(">i", 0) + string(scheme) + buffer(credential), xid=-4)
        return self

    def create(self, path, data=b"", acl=OPEN_ACL, flags=0, ttl=None):
        operation = CREATE_TTL if ttl is not None else CREATE_CONTAINER if flags == 4 else CREATE
        return self.call(operation, create_record(path, data, acl, flags, ttl)).string()

    def delete(self, path, version=-1):
        self.call(DELETE, string(path) + struct.pack(">i", version))

    def set(self, path, data, version=-1):
        return self.call(SET_DATA, string(path) + buffer(data) + struct.pack(">i", version)).stat()

    def get(self, path):
        reader = self.call(GET_DATA, string(path) + b"\0")
        return reader.buffer(), reader.stat()

    def exists(self, path):
        try:
            return self.call(EXISTS, string(path) + b"\0").stat()
        except ServerError as error:
            if error.code == -101:
                return None
            raise

    def set_acl(self, path, acl, version=-1):
        return self.call(SET_ACL, string(path) + acls(acl) + struct.pack(">i", version)).stat()

    def get_acl(self, path):
        reader = self.call(GET_ACL, string(path))
        return reader.vector(reader.acl)

    def children(self, path):
        reader = self.call(GET_CHILDREN, string(path) + b"\0")
        return reader.vector(reader.string)

    def multi(self, entries):
        """Entries (operation, record); returns the error codes, or an empty list where all succeeded."""
        body = b"".join(struct.pack(">ibi", operation, 0, -1) + record for operation, record in entries)
        reader = self.call(MULTI, body + struct.pack(">ibi", -1, 1, -1))
        codes = []
        while True:
            kind, done, _ = reader.unpack(">ibi")
            if done or kind != -1:
                return codes
            codes.append(reader.int())

    def ping(self):
        self.call(PING, xid=-2)

    def close(self):
        """Ends the session."""
        try:
            self.call(CLOSE)
        finally:
            self.socket.close()

    def drop(self):
        """Leaves the session alive and drops the connection."""
        self.socket.close()


def tree(connection, path="/"):
    """Every node below `path`: {path: {data, acl, stat}}; the connection must be allowed to read them all."""
    data, stat = connection.get(path)
    nodes = {path: {"data": data, "acl": connection.get_acl(path), "stat": stat}}
    for name in connection.children(path):
        nodes.update(tree(connection, path.rstrip("/") + "/" + name))
    return nodes


def differences(want, got):
    """What differs between two trees, in words."""
    out = ["%s is missing" % p for p in sorted(set(want) - set(got))]
    out += ["%s is unexpected" % p for p in sorted(set(got) - set(want))]
    for path in sorted(set(want) & set(got)):
        for part in ("data", "acl"):
            if want[path][part] != got[path][part]:
                out.append("%s %s: expected %r, got %r" % (path, part, want[path][part], got[path][part]))
        for field in STAT_FIELDS:
            a, b = want[path]["stat"][field], got[path]["stat"][field]
            if a != b:
                out.append("%s %s: expected %s, got %s" % (path, field, a, b))
    return out


def four_letter_word(port, word, wait=10, host="127.0.0.1"):
    """The whole answer to a four-letter word, as text."""
    with socket.create_connection((host, port), wait) as s:
        s.settimeout(wait)
        s.sendall(word.encode() if isinstance(word, str) else word)
        out, end = b"", time.monotonic() + wait
        while time.monotonic() < end:
            piece = s.recv(65536)
            if not piece:
                return out.decode("utf-8", "replace")
            out += piece
        raise TimeoutError("%s: the server did not close the connection" % word)


def mntr(port):
    """The answer to mntr as {name: value}, without the prefix zk_."""
    out = {}
    for line in four_letter_word(port, "mntr").splitlines():
        name, _, value = line.partition("\t")
        out[name[3:] if name.startswith("zk_") else name] = value
    return out
