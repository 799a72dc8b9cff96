"""Scenarios for capture.py.  Every scenario uses its own top-level path and leaves no session behind."""
import base64
import hashlib
import re
import struct

from capture import scenario
from zkwire import *            # noqa: F401,F403

OK, NONODE, NOAUTH, BADVER, NOCHILD, EXISTS, NOTEMPTY = 0, -101, -102, -103, -108, -110, -111
MARSH, UNIMPL, BADARG, INVACL, AUTHFAIL, NOWATCH, QUOTA = -5, -6, -8, -114, -115, -121, -125


def dig(userpass):
    return userpass.split(":")[0] + ":" + base64.b64encode(hashlib.sha1(userpass.encode()).digest()).decode()


# tags: "quirk" marks behaviour that is exact Apache behaviour but that a new server may deliberately refuse to copy;
# "informative" marks output that depends on the implementation technology.
QUIRK = {"sasl-not-configured", "watch-add-errors", "set-watches-null-vector", "multi-create-flag-mapping",
         "4lw-trailing-newline"}
INFORMATIVE = {"4lw-envi", "4lw-mntr-all-metrics", "4lw-hash"}


def acl(perms, scheme, id):
    return [(perms, (scheme, id))]


def mk(t, path, data=b"", a=OPEN, flags=0, conn="A"):
    return t.call("create", (path, data, a, flags), conn=conn, err=0)


def stat(t, path, conn="A"):
    return t.call("exists", (path, False), conn=conn, err=0)["body"]["stat"]


# =================================================================== 00 fresh tree
F = "00-fresh-tree.jsonl"


@scenario(F, "fresh-tree", "Nodes, stats and ACLs of an empty data directory (must be the first thing run)")
def _(t):
    t.connect()
    for p in ("/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", ""):
        t.call("getData", (p, False), err=0)
        t.call("getACL", (p,), err=0)
        t.call("getChildren2", (p, False), err=0)
        t.call("getAllChildrenNumber", (p,), err=0)


@scenario(F, "fresh-root-children", "getChildren and exists on the root of an empty tree")
def _(t):
    t.connect()
    t.call("getChildren", ("/", False), err=0)
    t.call("exists", ("/", False), err=0)


# =================================================================== 01 handshake
F = "01-handshake.jsonl"


@scenario(F, "connect-new", "New session: 37-byte response, negotiated timeout, derived password, readOnly=0")
def _(t):
    t.connect()
    t.silent()


@scenario(F, "connect-readonly-flag", "readOnly=1 in the request against a read/write server still yields readOnly=0")
def _(t):
    t.connect(ro=True)
    t.silent()


@scenario(F, "connect-old-client", "Request without the trailing readOnly byte: the response omits it too (36 bytes)")
def _(t):
    t.connect(old=True)
    t.call("exists", ("/zookeeper/config", False), err=0)


@scenario(F, "connect-null-password", "passwd=null (length -1) with sessionId 0 is accepted")
def _(t):
    t.connect(passwd=None)
    t.silent()


@scenario(F, "connect-short-password", "A 3-byte passwd with sessionId 0 is accepted; the response password is 16 bytes")
def _(t):
    t.connect(passwd=b"abc")
    t.silent()


@scenario(F, "connect-trailing-bytes", "Bytes after readOnly are ignored")
def _(t):
    t.connect(extra=b"zzz")
    t.silent()


@scenario(F, "connect-protocol-version-ignored", "protocolVersion of the request is ignored; the response carries 0")
def _(t):
    t.connect(proto=5)
    t.silent()


for to in (0, -1, 1, 2000, 2001, 20000, 20001, 2147483647):
    @scenario(F, "connect-timeout-%d" % to, "Timeout negotiation clamps to [2 ticks, 20 ticks] (tickTime=1000)")
    def _(t, to=to):
        t.connect(timeout=to)


@scenario(F, "connect-zxid-ahead", "lastZxidSeen beyond the server's last zxid: connection closed without a reply")
def _(t):
    t.connect(last_zxid=1 << 62, expect=False)
    t.eof()


@scenario(F, "connect-unknown-session", "Unknown session id: response with timeOut 0, sessionId 0, zero password, then close")
def _(t):
    t.connect(session=0x1234567890, passwd=b"\0" * 16)
    t.eof()


@scenario(F, "reattach", "Re-attach with id and password: same id and password back, old connection closed, ephemerals kept")
def _(t):
    t.connect("A")
    mk(t, "/hs-re", flags=1)
    t.connect("B", attach="S1", timeout=5000)
    t.eof("A")
    t.call("exists", ("/hs-re", False), conn="B", err=0)
    t.call("getEphemerals", (None,), conn="B", err=0)


@scenario(F, "reattach-after-disconnect", "Client drops TCP and re-attaches within the timeout")
def _(t):
    t.connect("A")
    mk(t, "/hs-rd", flags=1)
    t.close("A")
    t.connect("B", attach="S1", zxid=t.last_zxid)
    t.call("exists", ("/hs-rd", False), conn="B", err=0)


@scenario(F, "reattach-drops-watches", "Server-side watches belong to the connection: they are gone after re-attach")
def _(t):
    t.connect("A")
    mk(t, "/hs-w")
    t.call("getData", ("/hs-w", True), err=0)
    t.connect("B", attach="S1")
    t.eof("A")
    t.call("setData", ("/hs-w", b"1", -1), conn="B", err=0)
    t.silent("B")


@scenario(F, "reattach-drops-auth", "Credentials belong to the connection: they are gone after re-attach")
def _(t):
    t.connect("A")
    t.call("auth", (0, "digest", b"bob:pw"), xid=-4)
    t.call("whoAmI", err=0)
    t.connect("B", attach="S1")
    t.eof("A")
    t.call("whoAmI", conn="B", err=0)


@scenario(F, "reattach-closed-session", "Re-attach to an explicitly closed session is refused")
def _(t):
    t.connect("A")
    t.end("A")
    t.connect("B", attach="S1")
    t.eof("B")


@scenario(F, "session-ids-ascend", "Two sessions get different ids")
def _(t):
    t.connect("A")
    t.connect("B")
    t.silent("A")
    t.silent("B")


# =================================================================== 02 framing
F = "02-framing.jsonl"


@scenario(F, "frame-negative-length", "First word negative: closed without reply")
def _(t):
    t.tcp()
    t.raw(b"\xff\xff\xff\xff", note="length -1")
    t.eof()


@scenario(F, "frame-zero-length-first", "Zero-length first frame: closed without reply")
def _(t):
    t.tcp()
    t.raw(b"\0\0\0\0", note="length 0")
    t.eof()


@scenario(F, "frame-too-long-first", "Length 0x100000 (= jute.maxbuffer + 1) before the handshake: closed")
def _(t):
    t.tcp()
    t.raw(b"\x00\x10\x00\x00", note="length 1048576")
    t.eof()


@scenario(F, "frame-short-connect", "Connect request cut short inside the frame: closed without reply")
def _(t):
    t.tcp()
    t.raw(frame(b"\0" * 10), note="10-byte connect request")
    t.eof()


@scenario(F, "frame-http-request", "An HTTP request line is read as a huge length: closed")
def _(t):
    t.tcp()
    t.raw(b"GET / HTTP/1.1\r\n\r\n", note="HTTP")
    t.eof()


@scenario(F, "frame-bytewise", "Handshake and a request arriving one byte at a time")
def _(t):
    t.tcp()
    t.raw(frame(connect()), split=1)["decoded"] = {"note": "connect request, byte by byte"}
    t.expect("connect")
    t.send(req(1, "exists", ("/zookeeper/config", False)), split=1)
    t.expect("exists", err=0)


@scenario(F, "frame-pipelined", "Several frames in one TCP segment are answered in order")
def _(t):
    t.connect()
    mk(t, "/fr-pipe")
    f = b"".join(frame(p) for p in (
        req(10, "create", ("/fr-pipe/a", b"1", OPEN, 0)), req(11, "getData", ("/fr-pipe/a", False)),
        req(12, "setData", ("/fr-pipe/a", b"22", 0)), req(13, "getData", ("/fr-pipe/a", False)),
        req(14, "delete", ("/fr-pipe/a", 1)), req(15, "getData", ("/fr-pipe/a", False)), req(-2, "ping")))
    t.raw(f, note="create, getData, setData, getData, delete, getData, ping in one segment")
    for op in ("create", "getData", "setData", "getData", "delete", "getData", "ping"):
        t.expect(op)


@scenario(F, "frame-connect-and-request-together", "Requests may follow the connect request before its answer arrives")
def _(t):
    t.tcp()
    t.raw(frame(connect()) + frame(req(1, "exists", ("/zookeeper/config", False))) + frame(req(-2, "ping")),
          note="connect, exists, ping in one segment")
    t.expect("connect")
    t.expect("exists", err=0)
    t.expect("ping", err=0)


@scenario(F, "frame-empty-after-handshake", "Zero-length frame on an established connection: closed")
def _(t):
    t.connect()
    t.raw(b"\0\0\0\0", note="length 0")
    t.eof()


@scenario(F, "frame-short-header", "Frame too short for a request header: closed")
def _(t):
    t.connect()
    t.raw(frame(b"\0\0\0\1"), note="4-byte frame")
    t.eof()


@scenario(F, "frame-too-long", "Length 0x100000 on an established connection: closed without reply")
def _(t):
    t.connect()
    t.raw(b"\x00\x10\x00\x00", note="length 1048576")
    t.eof()


@scenario(F, "frame-max-length", "A frame of exactly 1048575 bytes is accepted")
def _(t):
    t.connect()
    n = 0xfffff
    body = e_int(1) + e_int(OP["create"]) + e_str("/fr-max")
    tail = enc("vector<ACL>", OPEN) + e_int(0)
    fill = n - len(body) - 4 - len(tail)
    t.raw(e_int(n) + body + e_int(fill) + tail, fill=[[4 + len(body) + 4, fill, "61"]],
          note="create /fr-max with %d bytes of data" % fill)
    t.expect("create", err=0)
    stat(t, "/fr-max")


@scenario(F, "frame-4lw-after-handshake", "A four letter word on an established connection is a length: closed")
def _(t):
    t.connect()
    t.raw(b"ruok", note="length 0x72756f6b")
    t.eof()


@scenario(F, "frame-trailing-bytes", "Bytes after a request record are ignored")
def _(t):
    t.connect()
    t.send(req(1, "exists", ("/zookeeper/config", False)) + b"trailing")
    t.expect("exists", err=0)
    t.send(req(-2, "ping") + b"xyz")
    t.expect("ping", err=0)


@scenario(F, "frame-second-connect", "A second connect request is parsed as opcode 0: Unimplemented with zxid -1, then close")
def _(t):
    t.connect()
    t.raw(frame(connect()), note="connect request again")
    t.expect("?", err=UNIMPL)
    t.eof()


# =================================================================== 03 special opcodes
F = "03-special.jsonl"


@scenario(F, "ping", "Ping: reply xid is -2 whatever the request xid; zxid is the last processed one; no body")
def _(t):
    t.connect()
    t.call("ping", xid=-2, err=0)
    t.call("ping", xid=55, err=0)


@scenario(F, "xid-echo", "xids are echoed without any check: 0, negative, repeated, decreasing")
def _(t):
    t.connect()
    for x in (0, 7, 7, 3, -77, 2147483647, -2147483648):
        t.call("exists", ("/zookeeper/config", False), xid=x, err=0)


@scenario(F, "close-session", "closeSession: header-only reply, then the server closes the connection")
def _(t):
    t.connect()
    t.end()


@scenario(F, "close-session-pipelined", "Requests pipelined behind closeSession are dropped without a reply")
def _(t):
    t.connect()
    t.live.pop("A")
    t.raw(frame(req(1, "closeSession")) + frame(req(2, "exists", ("/zookeeper/config", False))), note="closeSession, exists")
    t.expect("closeSession", err=0)
    t.eof()


for name, op in (("notification", 0), ("unused-10", 10), ("check", 13), ("unused-23", 23), ("unused-99", 99),
                 ("unused-108", 108), ("unused-999", 999), ("error", -1), ("negative", -12)):
    @scenario(F, "unimplemented-" + name, "Opcode %d from a client: err -6 with zxid -1, then close; the session survives" % op)
    def _(t, op=op):
        t.connect()
        body = enc("CheckVersionRequest", ("/", -1)) if op == 13 else b""
        t.call(op, body, xid=5, err=UNIMPL)
        t.eof()


@scenario(F, "sync", "sync echoes the path without looking at it")
def _(t):
    t.connect()
    t.call("sync", ("/",), err=0)
    t.call("sync", ("/does-not-exist",), err=0)
    t.call("sync", ("not a path",), err=0)
    t.call("sync", (None,), err=0)


@scenario(F, "whoami", "whoAmI lists the ip identity and, after addauth, the user names (not the digests)")
def _(t):
    t.connect()
    t.call("whoAmI", err=0)
    t.call("auth", (0, "digest", b"bob:pw"), xid=-4, err=0)
    t.call("auth", (0, "digest", b"alice:pw2"), xid=-4, err=0)
    t.call("whoAmI", err=0)


@scenario(F, "get-ephemerals", "getEphemerals: own session only, prefix is a plain string prefix")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/ge")
    for p in ("/ge/a1", "/ge/a2", "/ge/b1"):
        mk(t, p, flags=1)
    mk(t, "/ge/other", flags=1, conn="B")
    for pre in (None, "", "  ", "/", "/ge", "/ge/a", "/ge/a1", "/ge/a1/", "ge", "/nope"):
        t.call("getEphemerals", (pre,), err=0)
    t.call("getEphemerals", ("/ge",), conn="B", err=0)


@scenario(F, "get-all-children-number", "Counts all descendants of a node")
def _(t):
    t.connect()
    for p in ("/gacn", "/gacn/a", "/gacn/a/b", "/gacn/a/b/c", "/gacn/d", "/gacn2"):
        mk(t, p)
    for p in ("/gacn", "/gacn/a", "/gacn/a/b/c", "/gacn2"):
        t.call("getAllChildrenNumber", (p,), err=0)
    t.call("getAllChildrenNumber", ("/gacn/zz",), err=NONODE)
    t.call("getAllChildrenNumber", ("/gacn/",), err=NONODE)
    t.call("getAllChildrenNumber", (None,), err=MARSH)


@scenario(F, "reconfig-disabled", "reconfig with reconfigEnabled=false")
def _(t):
    t.connect()
    t.call("reconfig", (None, None, None, -1), err=-123)


@scenario(F, "sasl-not-configured", "A SASL token on a server without SASL: OK with a null token, zxid 0")
def _(t):
    t.connect()
    t.call("sasl", (b"",), err=0)
    t.call("sasl", (b"anything",), err=0)
    t.silent()


# =================================================================== 04 create
F = "04-create.jsonl"


@scenario(F, "create-modes", "create and create2 with the four classic flags")
def _(t):
    t.connect()
    mk(t, "/cm")
    for fl in range(4):
        t.call("create", ("/cm/a%d-" % fl, b"d%d" % fl, OPEN, fl), err=0)
        t.call("create2", ("/cm/b%d-" % fl, b"d%d" % fl, OPEN, fl), err=0)
    t.call("getChildren", ("/cm", False), err=0)
    t.call("getData", ("/cm/a1-", False), err=0)
    t.call("getData", ("/cm/b0-", False), err=0)


@scenario(F, "create-data-forms", "null, empty and binary data; null data reads back as null with dataLength 0")
def _(t):
    t.connect()
    mk(t, "/cdf")
    for n, d in (("null", None), ("empty", b""), ("bin", bytes(range(256)))):
        t.call("create2", ("/cdf/" + n, d, OPEN, 0), err=0)
        t.call("getData", ("/cdf/" + n, False), err=0)


@scenario(F, "create-sequential", "Suffix is the parent's count of creates (not of changes); deletes and failures do not advance it")
def _(t):
    t.connect()
    mk(t, "/seq")
    t.call("create", ("/seq/n-", b"", OPEN, 2), err=0)
    t.call("create", ("/seq/n-", b"", OPEN, 2), err=0)
    t.call("delete", ("/seq/n-0000000000", -1), err=0)
    t.call("create", ("/seq/n-", b"", OPEN, 2), err=0)
    mk(t, "/seq/plain")
    t.call("create", ("/seq/plain", b"", OPEN, 0), err=EXISTS)
    t.call("create2", ("/seq/n-", b"", OPEN, 3), err=0)
    t.call("create", ("/seq/", b"", OPEN, 2), err=0)
    t.call("create", ("/seq/..", b"", OPEN, 2), err=0)
    t.call("create", ("/seq/x/", b"", OPEN, 2), err=NONODE)
    stat(t, "/seq")


@scenario(F, "create-sequential-collision", "A sequential name that already exists: NodeExists, counter unchanged")
def _(t):
    t.connect()
    mk(t, "/sqc")
    mk(t, "/sqc/n-0000000001")
    t.call("create", ("/sqc/n-", b"", OPEN, 2), err=EXISTS)
    mk(t, "/sqc/other")
    t.call("create", ("/sqc/n-", b"", OPEN, 2), err=0)


@scenario(F, "create-path-errors", "Path validation and its precedence")
def _(t):
    t.connect()
    mk(t, "/cpe")
    for p, e in (("", BADARG), ("cpe", BADARG), ("/", EXISTS), ("/cpe/", BADARG), ("/cpe-none/", NONODE),
                 ("/cpe//x", NONODE), ("//x", BADARG), ("/cpe/.", BADARG), ("/cpe/..", BADARG),
                 ("/cpe/./x", NONODE), ("/cpe/../x", NONODE), ("/cpe/...", OK), ("/cpe/.a", OK), ("/cpe/a.", OK),
                 ("/cpe/\0", BADARG), ("/cpe\0/x", BADARG), ("/cpe/\x01", BADARG), ("/cpe/\x1f", BADARG),
                 ("/cpe/\x20", OK), ("/cpe/\x7f", BADARG), ("/cpe/\x9f", BADARG), ("/cpe/\xa0", OK),
                 ("/cpe/\ud7ff", OK), ("/cpe/\ue000", BADARG), ("/cpe/\uf8ff", BADARG), ("/cpe/\uf900", OK),
                 ("/cpe/\uffef", OK), ("/cpe/\ufff0", BADARG), ("/cpe/\uffff", BADARG),
                 ("/cpe/\U0001F600", BADARG), (b"/cpe/\xff\xfe", BADARG), (b"/cpe/\xc3", BADARG),
                 (None, MARSH), ("/cpe/none/x", NONODE)):
        t.call("create", (p, b"", OPEN, 0), err=e)


@scenario(F, "create-flag-errors", "Flags outside 0..6 and flag/opcode combinations")
def _(t):
    t.connect()
    mk(t, "/cfe")
    for op, fl, e in (("create", 7, BADARG), ("create", -1, BADARG), ("create2", 99, BADARG),
                      ("create", 5, BADARG), ("create", 6, BADARG), ("create2", 5, BADARG),
                      ("createContainer", 5, BADARG), ("createContainer", 7, BADARG)):
        t.call(op, ("/cfe/x", b"", OPEN, fl), err=e)
    t.call("create", ("nopath", b"", OPEN, 7), err=BADARG)


@scenario(F, "create-acl-errors", "ACL validation")
def _(t):
    t.connect()
    mk(t, "/cae")
    for a, e in ((None, INVACL), ([], INVACL), (acl(31, "nosuch", "x"), INVACL), (acl(31, None, "x"), INVACL),
                 (acl(31, "world", "someone"), INVACL), (acl(31, "world", None), MARSH),
                 (acl(31, "digest", "nocolon"), INVACL), (acl(31, "digest", "a:b:c"), INVACL),
                 (acl(31, "digest", ":"), INVACL), (acl(31, "digest", None), MARSH),
                 (acl(31, "ip", "not-an-ip"), INVACL), (acl(31, "ip", "1.2.3"), INVACL),
                 (acl(31, "ip", "1.2.3.4/33"), INVACL), (acl(31, "auth", ""), INVACL),
                 (acl(31, "super", ""), INVACL), (acl(31, "x509", "CN=x"), INVACL), (acl(31, "sasl", "x"), INVACL),
                 (OPEN + acl(31, "nosuch", "x"), INVACL)):
        t.call("create", ("/cae/x", b"", a, 0), err=e)
    t.call("create", ("/cae/ok1", b"", acl(31, "digest", "a:b"), 0), err=0)
    t.call("create", ("/cae/ok2", b"", acl(31, "ip", "10.0.0.0/8"), 0), err=0)
    t.call("create", ("/cae/ok3", b"", acl(0, "world", "anyone"), 0), err=0)
    t.call("create", ("/cae/ok4", b"", acl(-1, "world", "anyone"), 0), err=0)
    t.call("getACL", ("/cae/ok4",), err=0)


@scenario(F, "create-precedence", "Which error wins when several apply")
def _(t):
    t.connect()
    mk(t, "/cpr")
    mk(t, "/cpr/e", flags=1)
    mk(t, "/cpr/ro", a=READ_ONLY)
    t.call("create", ("nopath", b"", None, 9), err=BADARG)          # flags before path
    t.call("create", ("/none/x", b"", [], 0), err=INVACL)           # ACL before parent
    t.call("create", ("nopath", b"", [], 0), err=BADARG)            # missing slash before ACL
    t.call("create", ("/cpr/ro/\x01", b"", OPEN, 0), err=NOAUTH)    # authorisation before full path check
    t.call("create", ("/cpr/ro/x", b"", OPEN, 0), err=NOAUTH)
    t.call("create", ("/cpr/e/\x01", b"", OPEN, 0), err=BADARG)     # path before ephemeral parent
    t.call("create", ("/cpr/e/x", b"", OPEN, 0), err=NOCHILD)
    t.call("create", ("/cpr/e/x", b"", OPEN, 1), err=NOCHILD)
    t.call("create", ("/cpr/e/x-", b"", OPEN, 2), err=NOCHILD)
    t.call("create", ("/cpr/e", b"", OPEN, 0), err=EXISTS)


@scenario(F, "create-error-consumes-zxid", "A refused write uses up one zxid and its reply carries that zxid; reads do not")
def _(t):
    t.connect()
    mk(t, "/cez")
    t.call("create", ("/cez", b"", OPEN, 0), err=EXISTS)
    t.call("exists", ("/cez", False), err=0)
    t.call("create", ("/cez/a/b", b"", OPEN, 0), err=NONODE)
    t.call("exists", ("/cez/none", False), err=NONODE)
    t.call("ping", xid=-2)
    mk(t, "/cez/a")
    stat(t, "/cez")


@scenario(F, "create-under-system-nodes", "System nodes are ordinary parents subject to their ACL")
def _(t):
    t.connect()
    t.call("create", ("/zookeeper/config/x", b"", OPEN, 0), err=NOAUTH)
    t.call("setData", ("/zookeeper/config", b"x", -1), err=NOAUTH)
    t.call("setACL", ("/zookeeper/config", OPEN, -1), err=NOAUTH)
    t.call("create", ("/zookeeper/gold", b"", OPEN, 0), err=0)
    t.call("delete", ("/zookeeper/gold", -1), err=0)


# =================================================================== 05 delete / setData / reads
F = "05-data.jsonl"


@scenario(F, "delete", "delete: version check, NotEmpty, special paths, precedence")
def _(t):
    t.connect()
    mk(t, "/del")
    mk(t, "/del/a")
    mk(t, "/del/ro", a=READ_ONLY)
    mk(t, "/del/ro2")
    mk(t, "/del/ro2/k")
    t.call("setACL", ("/del/ro2", READ_ONLY, -1), err=0)
    t.call("setData", ("/del/a", b"1", -1), err=0)
    for p, v, e in (("/del/a", 0, BADVER), ("/del/a", 2, BADVER), ("/del/a", -2, BADVER), ("/del", 5, BADVER),
                    ("/del", -1, NOTEMPTY), ("/del/none", -1, NONODE), ("/none/none", -1, NONODE),
                    ("/del/ro2/k", 9, NOAUTH), ("/del/ro2/none", -1, NOAUTH),
                    ("/", -1, BADARG), ("/zookeeper", -1, BADARG), ("/zookeeper/quota", -1, BADARG),
                    ("/zookeeper/config", -1, BADARG), ("del", -1, BADARG), ("", -1, BADARG), ("/del\0x", -1, BADARG),
                    (None, -1, MARSH), ("/del/", -1, NONODE), ("/del//a", -1, NONODE), ("/del/./a", -1, NONODE),
                    ("/del/a", 1, OK), ("/del/a", -1, NONODE), ("/del/ro", 0, OK)):
        t.call("delete", (p, v), err=e)


@scenario(F, "set-data", "setData: version semantics and errors")
def _(t):
    t.connect()
    mk(t, "/sd")
    mk(t, "/sd/ro", a=READ_ONLY)
    for p, d, v, e in (("/sd", b"a", 0, OK), ("/sd", b"b", 0, BADVER), ("/sd", b"b", 1, OK), ("/sd", b"c", -1, OK),
                       ("/sd", None, 3, OK), ("/sd", b"x", -2, BADVER), ("/sd/none", b"", -1, NONODE),
                       ("/sd/ro", b"", 9, NOAUTH), ("/sd/", b"", -1, BADARG), ("sd", b"", -1, BADARG),
                       ("", b"", -1, BADARG), ("/sd/..", b"", -1, BADARG), ("/sd\0", b"", -1, BADARG),
                       (None, b"", -1, BADARG)):
        t.call("setData", (p, d, v), err=e)
    t.call("getData", ("/sd", False), err=0)


@scenario(F, "read-errors", "Reads do not validate paths: an odd path is just missing")
def _(t):
    t.connect()
    mk(t, "/re")
    for op in ("exists", "getData", "getChildren", "getChildren2"):
        for p, e in (("/re", OK), ("/re/", NONODE), ("re", NONODE), ("/re//x", NONODE), ("/re/.", NONODE),
                     ("/none", NONODE), (None, MARSH), ("/re\0", BADARG if op == "exists" else NONODE)):
            t.call(op, (p, False), err=e)
    for p, e in (("/re", OK), ("/re/", NONODE), ("/none", NONODE), (None, MARSH), ("/re\0", NONODE)):
        t.call("getACL", (p,), err=e)


@scenario(F, "get-children", "getChildren and getChildren2 (order of names is unspecified)")
def _(t):
    t.connect()
    mk(t, "/gc")
    t.call("getChildren", ("/gc", False), err=0)
    t.call("getChildren2", ("/gc", False), err=0)
    for i in range(12):
        mk(t, "/gc/child%d" % i)
    mk(t, "/gc/child0/grand")
    t.call("getChildren", ("/gc", False), err=0)
    t.call("getChildren2", ("/gc", False), err=0)


@scenario(F, "set-acl", "setACL: aversion check, result stat, precedence")
def _(t):
    t.connect()
    mk(t, "/sa")
    for p, a, v, e in (("/sa", OPEN, 5, BADVER), ("/sa", OPEN, 0, OK), ("/sa", OPEN, 0, BADVER), ("/sa", OPEN, 1, OK),
                       ("/sa", OPEN, -1, OK), ("/sa", [], -1, INVACL), ("/none", [], -1, INVACL),
                       ("/none", OPEN, -1, NONODE), ("/sa/", [], -1, BADARG), ("sa", OPEN, -1, BADARG),
                       (None, OPEN, -1, BADARG), ("/sa", None, -1, INVACL),
                       ("/sa", READ_ONLY, 3, OK), ("/sa", OPEN, 9, NOAUTH)):
        t.call("setACL", (p, a, v), err=e)
    t.call("getACL", ("/sa",), err=0)


@scenario(F, "stat-effects", "How each operation changes every stat field of the node and of its parent")
def _(t):
    t.connect()
    mk(t, "/se")
    stat(t, "/se")
    t.call("create2", ("/se/a", b"xyz", OPEN, 0), err=0)
    stat(t, "/se")
    t.call("create2", ("/se/b", b"", OPEN, 1), err=0)
    stat(t, "/se")
    t.call("setData", ("/se/a", b"longer", -1), err=0)
    stat(t, "/se/a")
    stat(t, "/se")
    t.call("setACL", ("/se/a", OPEN, -1), err=0)
    stat(t, "/se/a")
    t.call("create", ("/se/a/c", b"", OPEN, 0), err=0)
    stat(t, "/se/a")
    stat(t, "/se")
    t.call("delete", ("/se/a/c", -1), err=0)
    stat(t, "/se/a")
    t.call("delete", ("/se/b", -1), err=0)
    stat(t, "/se")
    t.call("delete", ("/se/a", -1), err=0)
    stat(t, "/se")
    t.call("create", ("/se/a", b"", OPEN, 0), err=0)
    stat(t, "/se/a")
    stat(t, "/se")


# =================================================================== 06 multi
F = "06-multi.jsonl"


@scenario(F, "multi-success", "All sub-operation kinds with their result records; one zxid for all")
def _(t):
    t.connect()
    mk(t, "/mu")
    t.multi([("create", ("/mu/a", b"1", OPEN, 0)), ("create2", ("/mu/b", b"2", OPEN, 0)),
             ("create", ("/mu/s-", b"", OPEN, 2)), ("create", ("/mu/s-", b"", OPEN, 3)),
             ("createContainer", ("/mu/c", b"", OPEN, 4)), ("createTTL", ("/mu/t", b"", OPEN, 5, 3600000)),
             ("check", ("/mu/a", 0)), ("setData", ("/mu/a", b"11", 0)), ("check", ("/mu/a", 1)),
             ("delete", ("/mu/b", 0)), ("create", ("/mu/b", b"again", OPEN, 0))], err=0)
    t.call("getChildren2", ("/mu", False), err=0)
    stat(t, "/mu/a")


@scenario(F, "multi-failure", "First failing op gives its code, earlier ones 0, later ones -2; header err is 0; nothing is applied")
def _(t):
    t.connect()
    mk(t, "/mf")
    t.multi([("create", ("/mf/a", b"", OPEN, 0)), ("setData", ("/mf/a", b"x", 0)), ("delete", ("/mf/none", -1)),
             ("create", ("/mf/z", b"", OPEN, 0)), ("delete", ("/mf/none2", -1))], err=0)
    t.call("exists", ("/mf/a", False), err=NONODE)
    stat(t, "/mf")
    t.multi([("check", ("/mf", 1))], err=0)
    t.multi([("check", ("/mf/none", -1))], err=0)
    t.multi([("create", ("/mf/x\x01", b"", OPEN, 0)), ("check", ("/mf", 0))], err=0)
    t.multi([("check", ("/mf", 0)), ("create", ("/mf", b"", OPEN, 0))], err=0)
    t.multi([("create", ("/mf/e", b"", OPEN, 1)), ("create", ("/mf/e/k", b"", OPEN, 0))], err=0)
    t.multi([("create", ("/mf/q", b"", OPEN, 0)), ("create", ("/mf/q/k", b"", OPEN, 0)), ("delete", ("/mf/q", -1))], err=0)
    t.multi([("create", ("/mf/q", b"", [], 0))], err=0)
    t.call("getChildren", ("/mf", False), err=0)


@scenario(F, "multi-sees-own-effects", "Later ops see the effects of earlier ones, and a failed multi leaves the sequence counter alone")
def _(t):
    t.connect()
    mk(t, "/ms")
    t.multi([("create", ("/ms/s-", b"", OPEN, 2)), ("check", ("/ms/none", -1))], err=0)
    t.call("create", ("/ms/s-", b"", OPEN, 2), err=0)
    t.multi([("create", ("/ms/d", b"", OPEN, 0)), ("create", ("/ms/d/e", b"", OPEN, 0)), ("setData", ("/ms/d/e", b"v", 0)),
             ("check", ("/ms/d/e", 1)), ("delete", ("/ms/d/e", 1)), ("delete", ("/ms/d", 0))], err=0)
    stat(t, "/ms")


@scenario(F, "multi-empty", "A multi without operations succeeds, consumes a zxid, and answers with the terminator only")
def _(t):
    t.connect()
    mk(t, "/me")
    t.multi([], err=0)
    t.call("ping", xid=-2)


@scenario(F, "multi-create-flag-mapping", "Inside multi the flags pick the operation: container flag makes createContainer; bad flags are marshalling errors")
def _(t):
    t.connect()
    mk(t, "/mc")
    t.multi([("create", ("/mc/c", b"", OPEN, 4))], err=0)
    t.multi([("create", ("/mc/x", b"", OPEN, 7))], err=MARSH)
    t.multi([("create", ("/mc/x", b"", OPEN, 5))], err=MARSH)
    t.multi([("createTTL", ("/mc/x", b"", OPEN, 5, 0))], err=0)


@scenario(F, "multi-malformed", "Undecodable, unknown and mixed operations: header-only MarshallingError, one zxid consumed, connection stays")
def _(t):
    t.connect()
    mk(t, "/mm")
    t.multi([("create", ("/mm/a", b"", OPEN, 0))], terminate=False, err=MARSH)
    t.multi([(99, b"")], err=MARSH)
    t.multi([("setACL", ("/mm", OPEN, -1))], err=MARSH)
    t.multi([("deleteContainer", ("/mm",))], err=MARSH)
    t.multi([("create", ("/mm/a", b"", OPEN, 0)), ("getData", ("/mm", False))], err=MARSH)
    t.multi([("getData", ("/mm", False))], err=MARSH)
    t.multi([("create", (None, b"", OPEN, 0))], err=MARSH)
    t.call("getChildren2", ("/mm", False), err=0)


@scenario(F, "multi-acl", "A sub-operation without permission")
def _(t):
    t.connect()
    mk(t, "/ma")
    mk(t, "/ma/ro", a=READ_ONLY)
    mk(t, "/ma/wo", a=acl(2, "world", "anyone"))
    t.multi([("setData", ("/ma/ro", b"", -1)), ("check", ("/ma", -1))], err=0)
    t.multi([("check", ("/ma/wo", -1))], err=0)
    t.multi([("create", ("/ma/ro/x", b"", OPEN, 0))], err=0)


@scenario(F, "multi-read", "multiRead: per-operation results; a failing operation does not stop the others")
def _(t):
    t.connect()
    mk(t, "/mr", b"root")
    mk(t, "/mr/a", b"aa")
    mk(t, "/mr/wo", b"secret", a=acl(2, "world", "anyone"))
    t.multi([("getData", ("/mr", False)), ("getChildren", ("/mr/a", False)), ("getData", ("/mr/none", False)),
             ("getData", ("/mr/wo", False)), ("getChildren", ("/mr/none", False)), ("getData", ("/mr/a", False))],
            op="multiRead", err=0)
    t.multi([], op="multiRead", err=0)
    t.multi([("check", ("/mr", 0))], op="multiRead", err=MARSH)
    t.multi([("exists", ("/mr", False))], op="multiRead", err=MARSH)
    t.multi([("create", ("/mr/z", b"", OPEN, 0)), ("getData", ("/mr", False))], op="multiRead", err=MARSH)


@scenario(F, "multi-read-ignores-watch", "The watch flag inside multiRead is ignored")
def _(t):
    t.connect()
    mk(t, "/mrw")
    t.multi([("getData", ("/mrw", True)), ("getChildren", ("/mrw", True))], op="multiRead", err=0)
    t.call("setData", ("/mrw", b"1", -1), err=0)
    mk(t, "/mrw/k")
    t.silent()


# =================================================================== 07 watches
F = "07-watches.jsonl"


@scenario(F, "watch-data", "getData watch: one shot, fires on setData; own write: event before the reply; header zxid = txn zxid")
def _(t):
    t.connect()
    mk(t, "/wd")
    t.call("getData", ("/wd", True), err=0)
    t.send(req(50, "setData", ("/wd", b"1", -1)))
    t.note("NodeDataChanged", "/wd")
    t.expect("setData", err=0)
    t.call("setData", ("/wd", b"2", -1), err=0)
    t.silent()


@scenario(F, "watch-data-delete", "getData watch fires NodeDeleted; setACL and child changes do not fire it")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/wdd")
    t.call("getData", ("/wdd", True), err=0)
    t.call("setACL", ("/wdd", OPEN, -1), conn="B", err=0)
    mk(t, "/wdd/k", conn="B")
    t.call("delete", ("/wdd/k", -1), conn="B", err=0)
    t.silent("A")
    t.call("delete", ("/wdd", -1), conn="B", err=0)
    t.note("NodeDeleted", "/wdd")
    t.silent("A")


@scenario(F, "watch-data-missing-node", "getData/getChildren on a missing node leave no watch")
def _(t):
    t.connect()
    t.call("getData", ("/wdm", True), err=NONODE)
    t.call("getChildren", ("/wdm", True), err=NONODE)
    t.call("getChildren2", ("/wdm", True), err=NONODE)
    mk(t, "/wdm")
    t.silent()


@scenario(F, "watch-exists", "exists watch on a missing node fires NodeCreated; on a present node it acts as a data watch")
def _(t):
    t.connect("A")
    t.connect("B")
    t.call("exists", ("/we", True), err=NONODE)
    mk(t, "/we", conn="B")
    t.note("NodeCreated", "/we")
    t.call("exists", ("/we", True), err=0)
    t.call("setData", ("/we", b"", -1), conn="B", err=0)
    t.note("NodeDataChanged", "/we")
    t.call("exists", ("/we", True), err=0)
    t.call("delete", ("/we", -1), conn="B", err=0)
    t.note("NodeDeleted", "/we")
    t.silent("A")


@scenario(F, "watch-children", "getChildren/getChildren2 watch: fires on child create and delete, not on grandchildren or data")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/wc")
    mk(t, "/wc/old")
    t.call("getChildren", ("/wc", True), err=0)
    t.call("setData", ("/wc", b"", -1), conn="B", err=0)
    t.call("setData", ("/wc/old", b"", -1), conn="B", err=0)
    mk(t, "/wc/old/grand", conn="B")
    t.silent("A")
    mk(t, "/wc/a", conn="B")
    t.note("NodeChildrenChanged", "/wc")
    mk(t, "/wc/b", conn="B")
    t.silent("A")
    t.call("getChildren2", ("/wc", True), err=0)
    t.call("delete", ("/wc/a", -1), conn="B", err=0)
    t.note("NodeChildrenChanged", "/wc")


@scenario(F, "watch-children-node-deleted", "A child watch fires NodeDeleted when the node itself goes")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/wcd")
    t.call("getChildren", ("/wcd", True), err=0)
    t.call("delete", ("/wcd", -1), conn="B", err=0)
    t.note("NodeDeleted", "/wcd")
    t.silent("A")


@scenario(F, "watch-dedup-delete", "Data and child watch on one node: a single NodeDeleted")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/wdup")
    t.call("getData", ("/wdup", True), err=0)
    t.call("getData", ("/wdup", True), err=0)
    t.call("exists", ("/wdup", True), err=0)
    t.call("getChildren", ("/wdup", True), err=0)
    t.call("delete", ("/wdup", -1), conn="B", err=0)
    t.note("NodeDeleted", "/wdup")
    t.silent("A")


@scenario(F, "watch-order", "Order of events of one transaction: data watches of the node, child watches of the node, child watches of the parent")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/wo")
    t.call("exists", ("/wo/k", True), err=NONODE)
    t.call("getChildren", ("/wo", True), err=0)
    mk(t, "/wo/k", conn="B")
    t.note("NodeCreated", "/wo/k")
    t.note("NodeChildrenChanged", "/wo")
    t.call("getData", ("/wo/k", True), err=0)
    t.call("getChildren", ("/wo", True), err=0)
    t.call("delete", ("/wo/k", -1), conn="B", err=0)
    t.note("NodeDeleted", "/wo/k")
    t.note("NodeChildrenChanged", "/wo")


@scenario(F, "watch-root-children", "Child watch on / uses the path '/'")
def _(t):
    t.connect()
    t.call("setWatches", (0x7fffffffffffffff, [], [], ["/"]), xid=-8, err=0)
    t.send(req(9, "create", ("/wroot", b"", OPEN, 0)))
    t.note("NodeChildrenChanged", "/")
    t.expect("create", err=0)


@scenario(F, "watch-multi", "A multi fires its events sub-operation by sub-operation, all with the multi's zxid, before the reply")
def _(t):
    t.connect()
    mk(t, "/wm")
    mk(t, "/wm/a")
    t.call("getData", ("/wm/a", True), err=0)
    t.call("exists", ("/wm/b", True), err=NONODE)
    t.call("getChildren", ("/wm", True), err=0)
    t.send(multi(77, [("setData", ("/wm/a", b"1", -1)), ("create", ("/wm/b", b"", OPEN, 0)), ("delete", ("/wm/a", -1))]))
    t.note("NodeDataChanged", "/wm/a")
    t.note("NodeCreated", "/wm/b")
    t.note("NodeChildrenChanged", "/wm")
    t.expect("multi", err=0)
    t.silent()


@scenario(F, "watch-multi-failed", "A failed multi fires nothing")
def _(t):
    t.connect()
    mk(t, "/wmf")
    t.call("getData", ("/wmf", True), err=0)
    t.call("getChildren", ("/wmf", True), err=0)
    t.multi([("setData", ("/wmf", b"1", -1)), ("create", ("/wmf/k", b"", OPEN, 0)), ("check", ("/wmf", 9))], err=0)
    t.silent()


@scenario(F, "watch-close-session", "Ephemerals removed by closeSession fire with the closeSession zxid")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/wcs")
    mk(t, "/wcs/e", flags=1, conn="B")
    t.call("getData", ("/wcs/e", True), err=0)
    t.call("getChildren", ("/wcs", True), err=0)
    t.end("B")
    t.note("NodeDeleted", "/wcs/e")
    t.note("NodeChildrenChanged", "/wcs")
    stat(t, "/wcs")


@scenario(F, "watch-persistent", "addWatch mode 0: data and child events of the node, re-armed; fires again after delete and re-create")
def _(t):
    t.connect("A")
    t.connect("B")
    t.call("addWatch", ("/wp", 0), err=0)
    mk(t, "/wp", conn="B")
    t.note("NodeCreated", "/wp")
    t.call("setData", ("/wp", b"1", -1), conn="B", err=0)
    t.note("NodeDataChanged", "/wp")
    t.call("setData", ("/wp", b"2", -1), conn="B", err=0)
    t.note("NodeDataChanged", "/wp")
    mk(t, "/wp/k", conn="B")
    t.note("NodeChildrenChanged", "/wp")
    mk(t, "/wp/k/g", conn="B")
    t.call("setData", ("/wp/k", b"", -1), conn="B", err=0)
    t.silent("A")
    t.call("delete", ("/wp/k/g", -1), conn="B", err=0)
    t.call("delete", ("/wp/k", -1), conn="B", err=0)
    t.note("NodeChildrenChanged", "/wp")
    t.call("delete", ("/wp", -1), conn="B", err=0)
    t.note("NodeDeleted", "/wp")
    mk(t, "/wp", conn="B")
    t.note("NodeCreated", "/wp")
    t.silent("A")


@scenario(F, "watch-recursive", "addWatch mode 1: created/changed/deleted of the node and all descendants, never NodeChildrenChanged")
def _(t):
    t.connect("A")
    t.connect("B")
    t.call("addWatch", ("/wr", 1), err=0)
    mk(t, "/wr", conn="B")
    t.note("NodeCreated", "/wr")
    mk(t, "/wr/a", conn="B")
    t.note("NodeCreated", "/wr/a")
    mk(t, "/wr/a/b", conn="B")
    t.note("NodeCreated", "/wr/a/b")
    t.call("setData", ("/wr/a/b", b"1", -1), conn="B", err=0)
    t.note("NodeDataChanged", "/wr/a/b")
    t.call("setData", ("/wr", b"1", -1), conn="B", err=0)
    t.note("NodeDataChanged", "/wr")
    t.call("delete", ("/wr/a/b", -1), conn="B", err=0)
    t.note("NodeDeleted", "/wr/a/b")
    t.call("delete", ("/wr/a", -1), conn="B", err=0)
    t.note("NodeDeleted", "/wr/a")
    mk(t, "/wr-sibling", conn="B")
    t.call("delete", ("/wr", -1), conn="B", err=0)
    t.note("NodeDeleted", "/wr")
    t.silent("A")


@scenario(F, "watch-recursive-root", "Recursive watch on /")
def _(t):
    t.connect("A")
    t.connect("B")
    t.call("addWatch", ("/", 1), err=0)
    mk(t, "/wrr", conn="B")
    t.note("NodeCreated", "/wrr")
    mk(t, "/wrr/x", conn="B")
    t.note("NodeCreated", "/wrr/x")
    t.call("removeWatches", ("/", 5), err=0)
    t.call("delete", ("/wrr/x", -1), conn="B", err=0)
    t.silent("A")


@scenario(F, "watch-modes-combined", "Several watch modes on one path give one event per transaction and survive one another")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/wmix")
    mk(t, "/wmix/k")
    t.call("addWatch", ("/wmix", 1), err=0)
    t.call("addWatch", ("/wmix/k", 0), err=0)
    t.call("getData", ("/wmix/k", True), err=0)
    t.call("getChildren", ("/wmix/k", True), err=0)
    t.call("setData", ("/wmix/k", b"1", -1), conn="B", err=0)
    t.note("NodeDataChanged", "/wmix/k")
    t.silent("A")
    t.call("setData", ("/wmix/k", b"2", -1), conn="B", err=0)
    t.note("NodeDataChanged", "/wmix/k")
    mk(t, "/wmix/k/z", conn="B")
    t.note("NodeCreated", "/wmix/k/z")
    t.note("NodeChildrenChanged", "/wmix/k")
    t.call("delete", ("/wmix/k/z", -1), conn="B", err=0)
    t.note("NodeDeleted", "/wmix/k/z")
    t.note("NodeChildrenChanged", "/wmix/k")
    t.call("delete", ("/wmix/k", -1), conn="B", err=0)
    t.note("NodeDeleted", "/wmix/k")
    t.silent("A")


@scenario(F, "watch-add-errors", "addWatch checks neither path nor permission nor existence; only the mode")
def _(t):
    t.connect()
    t.call("addWatch", ("/wae", 2), err=MARSH)
    t.call("addWatch", ("/wae", -1), err=MARSH)
    t.call("addWatch", ("not a path", 0), err=0)
    t.call("addWatch", ("", 1), err=0)
    t.call("addWatch", ("/zookeeper/none", 1), err=0)


@scenario(F, "watch-check-remove", "checkWatches/removeWatches by type (1 child, 2 data, 3 any, 4 persistent, 5 recursive)")
def _(t):
    t.connect()
    mk(t, "/wcr")
    for ty in (1, 2, 3, 4, 5):
        t.call("checkWatches", ("/wcr", ty), err=NOWATCH)
        t.call("removeWatches", ("/wcr", ty), err=NOWATCH)
    for ty in (0, 6, -1):
        t.call("checkWatches", ("/wcr", ty), err=MARSH)
        t.call("removeWatches", ("/wcr", ty), err=MARSH)

    def arm():
        t.call("getData", ("/wcr", True), err=0)
        t.call("getChildren", ("/wcr", True), err=0)
        t.call("addWatch", ("/wcr", 0), err=0)
        t.call("addWatch", ("/wcr", 1), err=0)
    arm()
    for ty in (1, 2, 3, 4, 5):
        t.call("checkWatches", ("/wcr", ty), err=0)
    for ty in (1, 2, 4, 5):
        t.call("removeWatches", ("/wcr", ty), err=0)
        t.call("checkWatches", ("/wcr", ty), err=NOWATCH)
    t.call("checkWatches", ("/wcr", 3), err=NOWATCH)
    arm()
    t.call("removeWatches", ("/wcr", 3), err=0)
    t.call("removeWatches", ("/wcr", 3), err=NOWATCH)
    t.call("setData", ("/wcr", b"", -1), err=0)
    t.silent()


@scenario(F, "watch-check-exact-path", "checkWatches matches the exact path only, even under a recursive watch; other connections do not count")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/wce")
    mk(t, "/wce/k")
    t.call("addWatch", ("/wce", 1), err=0)
    t.call("checkWatches", ("/wce", 5), err=0)
    t.call("checkWatches", ("/wce/k", 5), err=NOWATCH)
    t.call("checkWatches", ("/wce/k", 3), err=NOWATCH)
    t.call("checkWatches", ("/wce", 3), conn="B", err=NOWATCH)
    t.call("removeWatches", ("/wce", 3), conn="B", err=NOWATCH)
    t.call("checkWatches", ("/wce", 5), err=0)


@scenario(F, "watch-remove-persistent-keeps-standard", "Removing one mode leaves the others")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/wrk")
    t.call("addWatch", ("/wrk", 0), err=0)
    t.call("getData", ("/wrk", True), err=0)
    t.call("removeWatches", ("/wrk", 4), err=0)
    t.call("setData", ("/wrk", b"", -1), conn="B", err=0)
    t.note("NodeDataChanged", "/wrk")
    t.call("setData", ("/wrk", b"", -1), conn="B", err=0)
    t.silent("A")


@scenario(F, "watch-dies-with-connection", "Watches of a closed connection are dropped")
def _(t):
    t.connect("A")
    mk(t, "/wdc")
    t.call("addWatch", ("/wdc", 0), err=0)
    t.close("A")
    t.connect("B", attach="S1")
    t.call("checkWatches", ("/wdc", 3), conn="B", err=NOWATCH)


@scenario(F, "set-watches", "setWatches: compares mzxid / existence / pzxid with relativeZxid; missed events come first with zxid -1, then the reply with xid -8")
def _(t):
    t.connect("A")
    mk(t, "/sw")
    for n in ("d-same", "d-changed", "d-gone", "e-here", "c-same", "c-changed", "c-gone"):
        mk(t, "/sw/" + n)
    mark = t.last_zxid
    t.call("setData", ("/sw/d-changed", b"1", -1), err=0)
    t.call("delete", ("/sw/d-gone", -1), err=0)
    mk(t, "/sw/c-changed/k")
    t.call("delete", ("/sw/c-gone", -1), err=0)
    t.connect("B", attach="S1")
    t.eof("A")
    t.send(req(-8, "setWatches", (mark, ["/sw/d-same", "/sw/d-changed", "/sw/d-gone"], ["/sw/e-here", "/sw/e-none"],
                                  ["/sw/c-same", "/sw/c-changed", "/sw/c-gone"])), "B", subst=[[12, 8, "zxid"]])
    t.note("NodeDataChanged", "/sw/d-changed", "B")
    t.note("NodeDeleted", "/sw/d-gone", "B")
    t.note("NodeCreated", "/sw/e-here", "B")
    t.note("NodeChildrenChanged", "/sw/c-changed", "B")
    t.note("NodeDeleted", "/sw/c-gone", "B")
    t.expect("setWatches", "B", err=0)
    for p, ty, e in (("/sw/d-same", 2, 0), ("/sw/d-changed", 2, NOWATCH), ("/sw/d-gone", 2, NOWATCH), ("/sw/e-here", 2, NOWATCH),
                     ("/sw/e-none", 2, 0), ("/sw/c-same", 1, 0), ("/sw/c-changed", 1, NOWATCH), ("/sw/c-gone", 1, NOWATCH)):
        t.call("checkWatches", (p, ty), conn="B", err=e)
    t.send(req(900, "create", ("/sw/e-none", b"", OPEN, 0)), "B")
    t.note("NodeCreated", "/sw/e-none", "B")
    t.expect("create", "B", err=0)


@scenario(F, "set-watches-same-zxid", "mzxid equal to relativeZxid is not a change")
def _(t):
    t.connect("A")
    mk(t, "/sws")
    t.call("setWatches", (t.last_zxid, ["/sws"], [], ["/sws"]), xid=-8, err=0, subst=[[12, 8, "zxid"]])
    t.call("checkWatches", ("/sws", 2), err=0)
    t.call("checkWatches", ("/sws", 1), err=0)


@scenario(F, "set-watches-any-xid", "The reply to setWatches echoes the xid; -8 is only a client convention")
def _(t):
    t.connect("A")
    t.call("setWatches", (0, [], [], []), xid=-8, err=0)
    t.call("setWatches", (0, [], [], []), xid=123, err=0)


@scenario(F, "set-watches2", "setWatches2 additionally re-arms persistent and recursive watches without producing events")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/sw2")
    mk(t, "/sw2/d")
    mark = t.last_zxid
    t.call("setData", ("/sw2/d", b"1", -1), err=0)
    t.send(req(-8, "setWatches2", (mark, ["/sw2/d"], [], ["/sw2"], ["/sw2/d"], ["/sw2"])), subst=[[12, 8, "zxid"]])
    t.note("NodeDataChanged", "/sw2/d")
    t.expect("setWatches2", err=0)
    t.call("checkWatches", ("/sw2/d", 2), err=NOWATCH)
    t.call("checkWatches", ("/sw2/d", 4), err=0)
    t.call("checkWatches", ("/sw2", 5), err=0)
    t.call("checkWatches", ("/sw2", 1), err=0)
    t.call("setData", ("/sw2/d", b"2", -1), conn="B", err=0)
    t.note("NodeDataChanged", "/sw2/d")
    t.silent("A")


@scenario(F, "set-watches-null-vector", "A null vector in setWatches is a marshalling error; earlier vectors are already applied")
def _(t):
    t.connect()
    mk(t, "/swn")
    t.call("setWatches", (0x7fffffffffffffff, ["/swn"], None, []), xid=-8, err=MARSH)
    t.call("checkWatches", ("/swn", 2), err=0)


@scenario(F, "watch-acl-filter", "Events are filtered by READ permission of the watching connection at trigger time")
def _(t):
    t.connect("A")
    t.connect("B")
    t.call("auth", (0, "digest", b"own:er"), conn="B", xid=-4, err=0)
    priv = acl(31, "digest", dig("own:er"))
    t.call("addWatch", ("/waf", 1), err=0)
    mk(t, "/waf", conn="B")
    t.note("NodeCreated", "/waf")
    mk(t, "/waf/secret", a=priv, conn="B")
    t.call("setData", ("/waf/secret", b"1", -1), conn="B", err=0)
    t.call("delete", ("/waf/secret", -1), conn="B", err=0)
    t.silent("A")
    mk(t, "/waf/open", conn="B")
    t.note("NodeCreated", "/waf/open")
    t.call("exists", ("/waf/later", True), err=NONODE)
    t.call("getChildren", ("/waf", True), err=0)
    mk(t, "/waf/later", a=priv, conn="B")
    t.note("NodeChildrenChanged", "/waf")
    t.silent("A")
    t.call("checkWatches", ("/waf/later", 2), err=NOWATCH)


@scenario(F, "watch-pipelined-order", "getData with watch, setData, getData pipelined: reply, event, reply, reply")
def _(t):
    t.connect()
    mk(t, "/wpo", b"old")
    t.raw(b"".join(frame(p) for p in (req(20, "getData", ("/wpo", True)), req(21, "setData", ("/wpo", b"new", -1)),
                                      req(22, "getData", ("/wpo", False)))), note="getData(watch), setData, getData in one segment")
    t.expect("getData", err=0)
    t.note("NodeDataChanged", "/wpo")
    t.expect("setData", err=0)
    t.expect("getData", err=0)


@scenario(F, "watch-same-connection-twice", "The same watch set twice by one connection fires once")
def _(t):
    t.connect("A")
    t.connect("B")
    t.call("exists", ("/wst", True), err=NONODE)
    t.call("exists", ("/wst", True), err=NONODE)
    mk(t, "/wst", conn="B")
    t.note("NodeCreated", "/wst")
    t.call("setData", ("/wst", b"", -1), conn="B", err=0)
    t.silent("A")


@scenario(F, "watch-two-connections", "Every connection watching gets its own event")
def _(t):
    t.connect("A")
    t.connect("B")
    mk(t, "/wtc")
    t.call("getData", ("/wtc", True), conn="A", err=0)
    t.call("getData", ("/wtc", True), conn="B", err=0)
    t.send(req(70, "setData", ("/wtc", b"1", -1)), "A")
    t.note("NodeDataChanged", "/wtc", "A")
    t.expect("setData", "A", err=0)
    t.note("NodeDataChanged", "/wtc", "B")


@scenario(F, "watch-refused-write", "A refused write fires nothing")
def _(t):
    t.connect()
    mk(t, "/wrw")
    t.call("getData", ("/wrw", True), err=0)
    t.call("getChildren", ("/wrw", True), err=0)
    t.call("setData", ("/wrw", b"1", 9), err=BADVER)
    t.call("create", ("/wrw/k", b"", [], 0), err=INVACL)
    t.call("delete", ("/wrw", 9), err=BADVER)
    t.silent()


# =================================================================== 08 ACL and auth
F = "08-acl-auth.jsonl"


@scenario(F, "auth-digest", "addauth digest: header-only reply with the request's xid and zxid 0; any user:password is accepted")
def _(t):
    t.connect()
    t.call("auth", (0, "digest", b"bob:secret"), xid=-4, err=0)
    t.call("auth", (7, "digest", b"al:x:y"), xid=5, err=0)
    t.call("auth", (0, "digest", b"nocolon"), xid=-4, err=0)
    t.call("auth", (0, "ip", None), xid=-4, err=0)
    t.call("whoAmI", err=0)


for scheme, data in (("nosuch", b"x"), ("world", b"anyone"), ("auth", b""), ("sasl", b"x"), ("super", b"x"), (None, b"x"), ("digest", None)):
    @scenario(F, "auth-fail-%s" % scheme, "addauth that fails: err -115 with zxid 0, then close; the session survives")
    def _(t, scheme=scheme, data=data):
        t.connect()
        t.call("auth", (0, scheme, data), xid=-4, err=AUTHFAIL)
        t.eof()


@scenario(F, "auth-malformed", "Undecodable AuthPacket: closed without reply")
def _(t):
    t.connect()
    t.send(req(-4, "auth", b"\0\0"))
    t.eof()


@scenario(F, "acl-auth-expansion", "Scheme 'auth' expands to every authenticated identity of the connection (not ip), keeping the permissions")
def _(t):
    t.connect()
    t.call("create", ("/aae", b"", acl(31, "auth", "ignored"), 0), err=INVACL)
    t.call("auth", (0, "digest", b"bob:secret"), xid=-4, err=0)
    t.call("create", ("/aae", b"", acl(31, "auth", "ignored"), 0), err=0)
    t.call("getACL", ("/aae",), err=0)
    t.call("auth", (0, "digest", b"eve:x"), xid=-4, err=0)
    t.call("create", ("/aae/two", b"", acl(9, "auth", "") + acl(1, "world", "anyone"), 0), err=0)
    t.call("getACL", ("/aae/two",), err=0, unordered=("acl",))


@scenario(F, "acl-duplicates", "Equal ACL entries are stored once, order is kept")
def _(t):
    t.connect()
    t.call("create", ("/ad", b"", acl(1, "world", "anyone") + acl(31, "ip", "127.0.0.1") + acl(1, "world", "anyone"), 0), err=0)
    t.call("getACL", ("/ad",), err=0)


@scenario(F, "acl-permissions", "Which permission each operation needs, and on which node")
def _(t):
    t.connect("A")
    t.connect("B")
    t.call("auth", (0, "digest", b"ad:min"), conn="A", xid=-4, err=0)
    adm = acl(31, "digest", dig("ad:min"))
    mk(t, "/ap", a=adm + acl(31, "world", "anyone"))
    for n, p in (("r", 1), ("w", 2), ("c", 4), ("d", 8), ("a", 16), ("none", 0)):
        mk(t, "/ap/" + n, b"x", a=adm)
        mk(t, "/ap/%s/k" % n, a=adm)
        t.call("setACL", ("/ap/" + n, adm + (acl(p, "world", "anyone") if p else []), -1), err=0)
    for n, p in (("r", 1), ("w", 2), ("c", 4), ("d", 8), ("a", 16), ("none", 0)):
        b = "/ap/" + n

        def e(need, p=p):
            return 0 if p & need else NOAUTH
        t.call("exists", (b, False), conn="B", err=e(1))
        t.call("getData", (b, False), conn="B", err=e(1))
        t.call("getChildren", (b, False), conn="B", err=e(1))
        t.call("getChildren2", (b, False), conn="B", err=e(1))
        t.call("getAllChildrenNumber", (b,), conn="B", err=e(1))
        t.call("getACL", (b,), conn="B", err=e(1 | 16))
        t.call("setData", (b, b"y", -1), conn="B", err=e(2))
        t.call("create", (b + "/new", b"", OPEN, 0), conn="B", err=e(4))
        t.multi([("check", (b, -1))], conn="B", err=0)
        t.call("delete", (b + "/k", -1), conn="B", err=e(8))
        t.call("addWatch", (b, 0), conn="B", err=0)
        t.call("sync", (b,), conn="B", err=0)
        t.call("setACL", (b, OPEN, -1), conn="B", err=e(16))


@scenario(F, "acl-exists-missing", "exists on a missing node under an unreadable parent says NoNode")
def _(t):
    t.connect("A")
    t.connect("B")
    t.call("auth", (0, "digest", b"ad:min"), conn="A", xid=-4, err=0)
    mk(t, "/aem", a=acl(31, "digest", dig("ad:min")))
    t.call("exists", ("/aem/none", False), conn="B", err=NONODE)
    t.call("getData", ("/aem/none", False), conn="B", err=NONODE)
    t.call("setData", ("/aem/none", b"", -1), conn="B", err=NONODE)
    t.call("create", ("/aem/none", b"", OPEN, 0), conn="B", err=NOAUTH)
    t.call("delete", ("/aem/none", -1), conn="B", err=NOAUTH)


@scenario(F, "acl-getacl-redaction", "getACL without ADMIN shows digest ids as user:x; with ADMIN in full")
def _(t):
    t.connect("A")
    t.connect("B")
    t.call("auth", (0, "digest", b"bob:secret"), conn="A", xid=-4, err=0)
    mk(t, "/agr", a=acl(31, "digest", dig("bob:secret")) + acl(1, "world", "anyone") + acl(31, "ip", "10.1.2.3"))
    t.call("getACL", ("/agr",), conn="A", err=0)
    t.call("getACL", ("/agr",), conn="B", err=0)


@scenario(F, "acl-ip", "ip scheme: exact and prefix match on the peer address")
def _(t):
    t.connect()
    mk(t, "/aip")
    for i, (a, e) in enumerate((("127.0.0.1", 0), ("127.0.0.0/8", 0), ("127.0.0.1/32", 0), ("10.0.0.0/8", NOAUTH), ("127.0.0.2", NOAUTH))):
        mk(t, "/aip/%d" % i, a=acl(1, "ip", a))
        t.call("getData", ("/aip/%d" % i, False), err=e)


@scenario(F, "acl-super", "The super digest passes every check; 'super' also satisfies scheme auth through its digest identity")
def _(t):
    t.connect("A")
    t.connect("B")
    t.call("auth", (0, "digest", b"ad:min"), conn="A", xid=-4, err=0)
    mk(t, "/asu", b"x", a=acl(31, "digest", dig("ad:min")))
    t.call("getData", ("/asu", False), conn="B", err=NOAUTH)
    t.call("auth", (0, "digest", b"super:wrong"), conn="B", xid=-4, err=0)
    t.call("getData", ("/asu", False), conn="B", err=NOAUTH)
    t.call("auth", (0, "digest", b"super:secret"), conn="B", xid=-4, err=0)
    t.call("getData", ("/asu", False), conn="B", err=0)
    t.call("setData", ("/asu", b"y", -1), conn="B", err=0)
    t.call("getACL", ("/asu",), conn="B", err=0)
    t.call("setData", ("/zookeeper/config", b"", 7), conn="B", err=BADVER)
    t.call("whoAmI", conn="B", err=0)
    t.call("delete", ("/asu", -1), conn="B", err=0)


@scenario(F, "acl-empty-perms", "Perms 0 for world: nobody but super may do anything")
def _(t):
    t.connect()
    mk(t, "/aep", a=acl(0, "world", "anyone"))
    t.call("getData", ("/aep", False), err=NOAUTH)
    t.call("getACL", ("/aep",), err=NOAUTH)
    t.call("setACL", ("/aep", OPEN, -1), err=NOAUTH)
    t.call("delete", ("/aep", -1), err=0)


@scenario(F, "acl-auth-order", "An auth packet is handled at once: it can be answered before requests sent earlier, and only later requests use it")
def _(t):
    t.connect()
    t.call("auth", (0, "digest", b"bob:secret"), xid=-4, err=0)
    mk(t, "/aao", a=acl(31, "auth", ""))
    t.call("getData", ("/aao", False), err=0)


# =================================================================== 09 container and TTL
F = "09-container-ttl.jsonl"


@scenario(F, "container-create", "createContainer answers like create2 and the client sees ephemeralOwner 0; the opcode, not the flag, makes the container")
def _(t):
    t.connect()
    mk(t, "/ct")
    t.call("createContainer", ("/ct/c4", b"x", OPEN, 4), err=0)
    t.call("createContainer", ("/ct/c0", b"x", OPEN, 0), err=0)
    t.call("createContainer", ("/ct/c1", b"x", OPEN, 1), err=0)
    t.call("createContainer", ("/ct/c2-", b"x", OPEN, 2), err=0)
    t.call("createContainer", ("/ct/c4", b"x", OPEN, 4), err=EXISTS)
    stat(t, "/ct/c4")


@scenario(F, "container-reaped", "A container that had a child and lost it is deleted by the server; an unused one stays")
def _(t):
    t.connect()
    mk(t, "/cr")
    t.call("createContainer", ("/cr/unused", b"", OPEN, 4), err=0)
    t.call("createContainer", ("/cr/used", b"", OPEN, 4), err=0)
    t.call("addWatch", ("/cr/used", 0), err=0)
    t.send(req(90, "create", ("/cr/used/k", b"", OPEN, 0)))
    t.note("NodeChildrenChanged", "/cr/used")
    t.expect("create", err=0)
    t.sleep(2500)
    stat(t, "/cr/used")
    t.send(req(91, "delete", ("/cr/used/k", -1)))
    t.note("NodeChildrenChanged", "/cr/used")
    t.expect("delete", err=0)
    t.note("NodeDeleted", "/cr/used", timeout=8)
    stat(t, "/cr/unused")
    stat(t, "/cr")


@scenario(F, "ttl-create", "createTTL: bounds of the ttl and flag combinations")
def _(t):
    t.connect()
    mk(t, "/tc")
    for fl, ttl, e in ((5, 1 << 40, BADARG), (5, 0, BADARG), (5, -1, BADARG), (6, 0, BADARG), (0, 1000, BADARG), (1, 1000, BADARG),
                       (4, 1000, BADARG), (7, 1000, BADARG), (5, (1 << 40) - 1, OK), (5, 3600000, EXISTS), (6, 3600000, OK)):
        t.call("createTTL", ("/tc/x", b"d", OPEN, fl, ttl), err=e)
    stat(t, "/tc/x")
    t.call("createTTL", ("/tc/x/child", b"", OPEN, 5, 3600000), err=0)


@scenario(F, "ttl-reaped", "A childless TTL node is deleted once now - mtime exceeds the ttl; setData restarts the clock")
def _(t):
    t.connect()
    mk(t, "/tr")
    t.call("createTTL", ("/tr/t", b"", OPEN, 5, 1500), err=0)
    t.call("addWatch", ("/tr/t", 0), err=0)
    t.note("NodeDeleted", "/tr/t", timeout=8)
    stat(t, "/tr")


@scenario(F, "ttl-with-children", "A TTL node with children is kept until they are gone")
def _(t):
    t.connect()
    mk(t, "/tk")
    t.call("createTTL", ("/tk/t", b"", OPEN, 5, 500), err=0)
    mk(t, "/tk/t/k")
    t.sleep(2600)
    stat(t, "/tk/t")
    t.call("addWatch", ("/tk/t", 1), err=0)
    t.send(req(91, "delete", ("/tk/t/k", -1)))
    t.note("NodeDeleted", "/tk/t/k")
    t.expect("delete", err=0)
    t.note("NodeDeleted", "/tk/t", timeout=8)


# =================================================================== 10 quota
F = "10-quota.jsonl"
QR = "/zookeeper/quota"


def quota(t, path, limits):
    cur = QR
    for part in path.strip("/").split("/"):
        cur += "/" + part
        mk(t, cur)
    mk(t, cur + "/zookeeper_limits", limits)
    mk(t, cur + "/zookeeper_stats", b"count=0,bytes=0")
    return cur


@scenario(F, "quota-stats", "Creating zookeeper_stats next to zookeeper_limits fills in the subtree's count and bytes; later changes keep them up to date without touching mzxid")
def _(t):
    t.connect()
    mk(t, "/qs", b"12345")
    mk(t, "/qs/a", b"123")
    q = quota(t, "/qs", b"count=-1,bytes=-1")
    t.call("getData", (q + "/zookeeper_stats", False), err=0)
    mk(t, "/qs/b", b"1")
    t.call("setData", ("/qs/a", b"1234567", -1), err=0)
    t.call("getData", (q + "/zookeeper_stats", False), err=0)
    t.call("delete", ("/qs/a", -1), err=0)
    mk(t, "/qs/b/c", None)
    t.call("getData", (q + "/zookeeper_stats", False), err=0)
    mk(t, "/qs2", b"zzz")
    t.call("getData", (q + "/zookeeper_stats", False), err=0)


@scenario(F, "quota-count-hard", "countHardLimit with enforceQuota=true: creates beyond it get -125")
def _(t):
    t.connect()
    mk(t, "/qch")
    quota(t, "/qch", b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=3")
    t.call("create", ("/qch/a", b"", OPEN, 0), err=0)
    t.call("create", ("/qch/b", b"", OPEN, 0), err=0)
    t.call("create", ("/qch/c", b"", OPEN, 0), err=QUOTA)
    t.call("create", ("/qch/a/x", b"", OPEN, 0), err=QUOTA)
    t.call("setData", ("/qch/a", b"any size", -1), err=0)
    t.multi([("create", ("/qch/c", b"", OPEN, 0)), ("check", ("/qch", -1))], err=0)
    t.call("delete", ("/qch/b", -1), err=0)
    t.call("create", ("/qch/c", b"", OPEN, 0), err=0)


@scenario(F, "quota-bytes-hard", "byteHardLimit: applies to create and setData; shrinking is allowed")
def _(t):
    t.connect()
    mk(t, "/qbh", b"12")
    q = quota(t, "/qbh", b"count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=-1")
    t.call("create", ("/qbh/a", b"12345678", OPEN, 0), err=0)
    t.call("create", ("/qbh/b", b"1", OPEN, 0), err=QUOTA)
    t.call("create", ("/qbh/b", b"", OPEN, 0), err=0)
    t.call("setData", ("/qbh/b", b"1", -1), err=QUOTA)
    t.call("setData", ("/qbh/a", b"1234", -1), err=0)
    t.call("setData", ("/qbh/b", b"1234", -1), err=0)
    t.call("setData", ("/qbh/b", b"12345", 99), err=QUOTA)
    t.call("setData", ("/qbh/b", b"1234", 99), err=BADVER)
    t.call("getData", (q + "/zookeeper_stats", False), err=0)


@scenario(F, "quota-soft", "Soft limits never refuse")
def _(t):
    t.connect()
    mk(t, "/qso")
    q = quota(t, "/qso", b"count=1,bytes=1")
    t.call("create", ("/qso/a", b"123456", OPEN, 0), err=0)
    t.call("getData", (q + "/zookeeper_stats", False), err=0)


@scenario(F, "quota-stats-no-watch", "The server's own updates of zookeeper_stats fire no watch and change no stat field but dataLength")
def _(t):
    t.connect()
    mk(t, "/qnw")
    q = quota(t, "/qnw", b"count=-1,bytes=-1")
    t.call("getData", (q + "/zookeeper_stats", True), err=0)
    for i in range(10):
        mk(t, "/qnw/n%d" % i, b"1")
    t.silent()
    t.call("getData", (q + "/zookeeper_stats", False), err=0)


@scenario(F, "quota-nested", "Of nested quotas only the deepest one on the path counts")
def _(t):
    t.connect()
    mk(t, "/qne")
    mk(t, "/qne/in")
    mk(t, QR + "/qne")
    mk(t, QR + "/qne/zookeeper_limits", b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=100")
    mk(t, QR + "/qne/zookeeper_stats", b"")
    mk(t, QR + "/qne/in")
    mk(t, QR + "/qne/in/zookeeper_limits", b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=2")
    mk(t, QR + "/qne/in/zookeeper_stats", b"")
    mk(t, "/qne/in/a")
    t.call("create", ("/qne/in/b", b"", OPEN, 0), err=QUOTA)
    mk(t, "/qne/c")
    t.call("getData", (QR + "/qne/zookeeper_stats", False), err=0)
    t.call("getData", (QR + "/qne/in/zookeeper_stats", False), err=0)


@scenario(F, "quota-removed", "Deleting zookeeper_limits lifts the quota")
def _(t):
    t.connect()
    mk(t, "/qrm")
    q = quota(t, "/qrm", b"count=-1,bytes=-1=;byteHardLimit=-1;countHardLimit=1")
    t.call("create", ("/qrm/a", b"", OPEN, 0), err=QUOTA)
    t.call("delete", (q + "/zookeeper_limits", -1), err=0)
    t.call("create", ("/qrm/a", b"", OPEN, 0), err=0)


# =================================================================== 11 malformed bodies
F = "11-malformed.jsonl"


@scenario(F, "malformed-read-bodies", "Undecodable read requests: header-only MarshallingError, no zxid used, connection stays open")
def _(t):
    t.connect()
    for op in ("exists", "getData", "getChildren", "getChildren2", "getACL", "sync", "getEphemerals", "getAllChildrenNumber",
               "checkWatches", "removeWatches", "addWatch", "setWatches", "setWatches2", "multiRead"):
        t.call(op, b"", err=MARSH)
        t.call(op, b"\0\0\0\x09/ab", err=MARSH)
    t.call("getData", b"\x7f\xff\xff\xff", err=MARSH)
    t.call("getData", b"\xff\xff\xff\xf0", err=MARSH)
    t.call("getData", b"\0\0\0\x01/", err=MARSH)
    t.silent()


@scenario(F, "malformed-write-bodies", "Undecodable write requests: MarshallingError whose zxid is the last one (none consumed), except multi which consumes one")
def _(t):
    t.connect()
    mk(t, "/mw")
    for op in ("create", "create2", "createContainer", "createTTL", "delete", "deleteContainer", "setData", "setACL", "reconfig"):
        t.call(op, b"", err=MARSH)
        t.call(op, b"\0\0\0\x09/ab", err=MARSH)
    t.call("multi", b"", err=MARSH)
    t.call("multi", b"\0\0\0\x01\0\xff\xff\xff\xff", err=MARSH)
    t.call("createSession", b"", err=MARSH)
    t.silent()


@scenario(F, "malformed-acl-vector", "ACL vector length -1 is null, below -1 is empty; a too long one runs off the end")
def _(t):
    t.connect()
    mk(t, "/mav")
    p = e_str("/mav/x") + e_buf(b"")
    t.call("create", p + e_int(-5) + e_int(0), err=INVACL)
    t.call("create", p + e_int(2) + enc("ACL", (31, ("world", "anyone"))) + e_int(0), err=MARSH)
    t.call("create", p + e_int(0x7fffffff) + e_int(0), err=MARSH)


@scenario(F, "bool-any-nonzero", "A boolean is true for any non-zero byte")
def _(t):
    t.connect()
    mk(t, "/bn")
    t.call("getData", e_str("/bn") + b"\x7f", err=0)
    t.call("checkWatches", ("/bn", 2), err=0)


# =================================================================== 12 four letter words
F = "12-four-letter-words.jsonl"
NUM = r"-?\d+"


def lines(*subs):
    def f(text):
        out = []
        for ln in text.split("\n"):
            for pat, rx in subs:
                if re.fullmatch(pat, ln):
                    out.append(rx)
                    break
            else:
                out.append(re.escape(ln))
        return out
    return f


SRVR = [(r"Zookeeper version: .*", r"Zookeeper version: .*"),
        (r"Latency min/avg/max: .*", r"Latency min/avg/max: \d+/\d+(?:\.\d+)?(?:E-?\d+)?/\d+"), (r"Received: .*", r"Received: \d+"),
        (r"Sent: .*", r"Sent: \d+"), (r"Connections: .*", r"Connections: \d+"), (r"Outstanding: .*", r"Outstanding: \d+"),
        (r"Zxid: .*", r"Zxid: 0x[0-9a-f]+"), (r"Node count: .*", r"Node count: \d+")]
CONNRX = r" /127\.0\.0\.1:\d+\[\d\]\(queued=\d+,recved=\d+,sent=\d+\)"
FULLRX = (r" /127\.0\.0\.1:\d+\[\d\]\(queued=\d+,recved=\d+,sent=\d+,sid=0x[0-9a-f]+,lop=[A-Z0-9]+,est=\d+,to=\d+(?:,lcxid=0x[0-9a-f]+)?,"
          r"lzxid=0x[0-9a-f]+,lresp=\d+,llat=\d+,minlat=\d+,avglat=\d+,maxlat=\d+\)")


@scenario(F, "4lw-ruok", "ruok answers imok without a newline and closes")
def _(t):
    t.flw("ruok", mode="exact")


@scenario(F, "4lw-isro", "isro answers rw (no newline)")
def _(t):
    t.flw("isro", mode="exact")


@scenario(F, "4lw-trailing-newline", "Bytes after the four letters are not read")
def _(t):
    t.flw("ruok", data=b"ruok\n", mode="exact")


@scenario(F, "4lw-gtmk-stmk", "Trace mask: gtmk prints the decimal mask; stmk takes 8 bytes big-endian and echoes the value")
def _(t):
    t.flw("gtmk", mode="exact")
    t.flw("stmk", data=b"stmk" + struct.pack(">q", 306), conn="B", mode="exact")
    t.flw("gtmk", conn="C", mode="exact")
    t.flw("stmk", data=b"stmk" + struct.pack(">q", 0), conn="D", mode="exact")


@scenario(F, "4lw-srvr", "srvr layout")
def _(t):
    t.flw("srvr", lines(*SRVR))


@scenario(F, "4lw-stat", "stat layout: srvr plus the client list")
def _(t):
    t.connect()
    t.flw("stat", lines(*SRVR, (CONNRX, CONNRX)), conn="Q")


@scenario(F, "4lw-cons", "cons layout: one line per connection in full, then an empty line")
def _(t):
    t.connect()
    t.call("exists", ("/zookeeper/config", False), err=0)
    t.flw("cons", lines((CONNRX, CONNRX), (FULLRX, FULLRX)), conn="Q", mode="set")


@scenario(F, "4lw-crst-srst", "Reset commands and their confirmation lines")
def _(t):
    t.flw("crst", mode="exact")
    t.flw("srst", conn="B", mode="exact")


@scenario(F, "4lw-conf", "conf layout")
def _(t):
    t.flw("conf", lines((r"clientPort=.*", r"clientPort=\d+"), (r"dataDir=.*", r"dataDir=/.*"), (r"dataLogDir=.*", r"dataLogDir=/.*"),
                        (r"dataDirSize=.*", r"dataDirSize=\d+"), (r"dataLogSize=.*", r"dataLogSize=\d+")),
          clean=lambda x: re.sub(r"(dataDir|dataLogDir)=.*", r"\1=/data/version-2", x))


@scenario(F, "4lw-dirs", "dirs layout")
def _(t):
    t.flw("dirs", lines((r"datadir_size: .*", r"datadir_size: \d+"), (r"logdir_size: .*", r"logdir_size: \d+")))


@scenario(F, "4lw-envi", "envi: heading and the keys printed (values are site specific)")
def _(t):
    def f(text):
        return [re.escape(x.split("=")[0]) + "=.*" if "=" in x else re.escape(x) for x in text.split("\n") if x]
    t.flw("envi", f, mode="set", clean=lambda x: re.sub(r"=(?!3\.).*", "=<site>", x))


@scenario(F, "4lw-dump", "dump layout with one session owning one ephemeral")
def _(t):
    t.connect()
    mk(t, "/dump-e", flags=1)
    t.flw("dump", lines((r"Session Sets \(.*", r"Session Sets \(\d+\)/\(\d+\):"), (r"\d+ expire at .*", r"\d+ expire at .*:"),
                        (r"\t0x[0-9a-f]+", r"\t0x[0-9a-f]+"), (r"0x[0-9a-f]+:", r"0x[0-9a-f]+:"),
                        (r"Connections Sets \(.*", r"Connections Sets \(\d+\)/\(\d+\):"),
                        (r"\tip: .*", r"\tip: /127\.0\.0\.1:\d+ sessionId: 0x[0-9a-f]+")), conn="Q", mode="set")


@scenario(F, "4lw-watches", "wchs, wchc and wchp report data watches (child watches are not counted)")
def _(t):
    t.connect()
    mk(t, "/flw-w")
    t.call("getData", ("/flw-w", True), err=0)
    t.call("getChildren", ("/flw-w", True), err=0)
    t.flw("wchs", lines((r"\d+ connections watching \d+ paths", r"\d+ connections watching \d+ paths"), (r"Total watches:\d+", r"Total watches:\d+")), conn="Q")
    sid = lines((r"\t?0x[0-9a-f]+", r"\t?0x[0-9a-f]+"))
    t.flw("wchc", sid, conn="R", mode="set")
    t.flw("wchp", sid, conn="S", mode="set")


CORE_MNTR = """version server_state ephemerals_count num_alive_connections avg_latency min_latency max_latency packets_received
packets_sent outstanding_requests znode_count watch_count approximate_data_size open_file_descriptor_count max_file_descriptor_count
global_sessions local_sessions uptime last_client_response_size max_client_response_size min_client_response_size
connection_drop_probability outstanding_tls_handshake auth_failed_count""".split()


@scenario(F, "4lw-mntr", "mntr: zk_NAME<TAB>VALUE lines; the names most monitoring relies on")
def _(t):
    t.flw("mntr", lambda text: ["zk_" + n + "\t.*" for n in CORE_MNTR], mode="set")


@scenario(F, "4lw-mntr-all-metrics", "mntr: the names of all metrics of the reference server (order and values are free)")
def _(t):
    t.connect()
    t.call("exists", ("/zookeeper/config", False), err=0)

    def f(text):
        return sorted({re.escape(x.split("\t")[0]) + "\t.*" for x in text.split("\n") if x
                       and not re.match(r"zk_(?:(?:avg|min|max|cnt|sum|p\d+)_)?[^\t]*(?:_per_namespace|_path_stats)", x)
                       and not re.match(r"zk_jvm_", x)})
    t.flw("mntr", f, conn="Q", mode="set")


@scenario(F, "4lw-hash", "hash: one line per recorded tree digest")
def _(t):
    t.flw("hash", lambda text: [r"(?:[0-9a-f]+: -?\d+)?"], mode="set")


@scenario(F, "4lw-unknown", "Four unknown letters are a frame length: closed without output")
def _(t):
    t.tcp()
    t.raw(b"abcd", note="length 0x61626364")
    t.eof()


# =================================================================== 13 session expiry
F = "13-expiry.jsonl"


@scenario(F, "expiry-ephemerals", "A silent session expires: its ephemerals go in one closeSession transaction")
def _(t):
    t.connect("A")
    t.connect("B", timeout=2000)
    mk(t, "/ex")
    mk(t, "/ex/e", flags=1, conn="B")
    t.call("getData", ("/ex/e", True), err=0)
    t.call("getChildren", ("/ex", True), err=0)
    t.close("B")
    t.dead.clear()
    t.note("NodeDeleted", "/ex/e", timeout=9)
    t.note("NodeChildrenChanged", "/ex")
    t.call("exists", ("/ex/e", False), err=NONODE)
    stat(t, "/ex")
    t.connect("C", attach="S2")
    t.eof("C")


@scenario(F, "expiry-connection-closed", "When a connected but silent session expires the server closes its connection")
def _(t):
    t.connect("A", timeout=2000)
    t.silent("A")
    t.eof("A", timeout=9)
    t.dead.clear()


@scenario(F, "expiry-ping-keeps-alive", "Pings keep the session beyond its timeout")
def _(t):
    t.connect("A", timeout=2000)
    mk(t, "/exp", flags=1)
    for _i in range(4):
        t.sleep(1000)
        t.silent("A")
    t.call("exists", ("/exp", False), err=0)


# =================================================================== profile noext
F = "20-profile-noext.jsonl"


@scenario(F, "noext-ttl", "extendedTypesEnabled=false: TTL creates are Unimplemented (an ordinary error: the connection stays)", "noext")
def _(t):
    t.connect()
    t.call("createTTL", ("/t", b"", OPEN, 5, 1000), err=UNIMPL)
    t.call("createTTL", ("/t", b"", OPEN, 6, 0), err=UNIMPL)
    t.call("createTTL", ("/t", b"", OPEN, 0, 1000), err=BADARG)
    t.call("createContainer", ("/c", b"", OPEN, 4), err=0)
    t.silent()


@scenario(F, "noext-reconfig-standalone", "reconfigEnabled=true on a standalone server: Unimplemented", "noext")
def _(t):
    t.connect()
    t.call("reconfig", (None, None, None, -1), err=UNIMPL)
    t.silent()


@scenario(F, "noext-4lw-whitelist", "Commands outside the default whitelist (srvr)", "noext")
def _(t):
    for i, c in enumerate(("ruok", "stat", "mntr", "conf", "isro", "stmk")):
        t.flw(c, conn="Q%d" % i, mode="exact")
    t.flw("srvr", lines(*SRVR), conn="R")


@scenario(F, "noext-quota-not-enforced", "enforceQuota=false: hard limits are not enforced", "noext")
def _(t):
    t.connect()
    mk(t, "/qn")
    quota(t, "/qn", b"count=-1,bytes=-1=;byteHardLimit=1;countHardLimit=1")
    t.call("create", ("/qn/a", b"123", OPEN, 0), err=0)


# =================================================================== profile enforce-auth
F = "21-profile-enforce-auth.jsonl"


@scenario(F, "enforce-auth-refused", "enforce.auth.enabled with schemes=digest: first request without it gets -124 (zxid 0) and the connection is closed", "enforce-auth")
def _(t):
    t.before_close = lambda c: t.call("auth", (0, "digest", b"bob:pw"), conn=c, xid=-4, err=0)
    t.connect()
    t.call("exists", ("/zookeeper/config", False), err=-124)
    t.eof()


@scenario(F, "enforce-auth-ping-refused", "Even a ping is refused (its xid is echoed)", "enforce-auth")
def _(t):
    t.before_close = lambda c: t.call("auth", (0, "digest", b"bob:pw"), conn=c, xid=-4, err=0)
    t.connect()
    t.call("ping", xid=-2, err=-124)
    t.eof()


@scenario(F, "enforce-auth-accepted", "After addauth the session works", "enforce-auth")
def _(t):
    t.connect()
    t.call("auth", (0, "digest", b"bob:pw"), xid=-4, err=0)
    t.call("exists", ("/zookeeper/config", False), err=0)


# =================================================================== profiles sasl / sasl-required
F = "22-profile-sasl.jsonl"


def sasl_login(t, user, password, err=0, cnonce="b3BlbnNlc2FtZQ==", conn="A"):
    import replay
    t.xid[conn] += 1
    t.send(req(t.xid[conn], "sasl", (b"",)), conn)
    d = t.expect("sasl", conn, err=0)
    t.x[-1]["sasl_challenge"] = True
    t.x[-1].pop("volatile", None)
    ch = d["body"]["token"]
    token, rspauth = replay.digest_md5_response(ch, user, password, cnonce)
    t.xid[conn] += 1
    t.send(req(t.xid[conn], "sasl", (token,)), conn)
    t.x[-1]["sasl_response"] = {"user": user, "password": password, "cnonce": cnonce}
    t.x[-1]["decoded"]["token_text"] = token.decode()
    d = t.expect("sasl", conn, err=err)
    if err == 0:
        assert d["body"]["token"] == rspauth, (d, rspauth)
        t.x[-1]["sasl_rspauth"] = True


@scenario(F, "sasl-digest-md5", "DIGEST-MD5: empty token, challenge, response, rspauth; then the identity sasl:bob is in force", "sasl")
def _(t):
    t.connect()
    t.call("whoAmI", err=0)
    sasl_login(t, "bob", "bobsecret")
    t.call("whoAmI", err=0)
    t.call("create", ("/sasl1", b"x", acl(31, "sasl", "bob"), 0), err=0)
    t.call("create", ("/sasl2", b"x", acl(31, "auth", ""), 0), err=0)
    t.call("getACL", ("/sasl2",), err=0)
    t.call("getData", ("/sasl1", False), err=0)
    t.connect("B")
    t.call("getData", ("/sasl1", False), conn="B", err=NOAUTH)
    t.call("getACL", ("/sasl1",), conn="B", err=NOAUTH)


@scenario(F, "sasl-super-user", "A principal named by zookeeper.superUser becomes super", "sasl")
def _(t):
    t.connect()
    t.call("create", ("/sasl3", b"x", acl(1, "sasl", "bob"), 0), err=0)
    t.call("getData", ("/sasl3", False), err=NOAUTH)
    sasl_login(t, "admin", "adminsecret")
    t.call("getData", ("/sasl3", False), err=0)
    t.call("setData", ("/sasl3", b"y", -1), err=0)
    t.call("whoAmI", err=0)


@scenario(F, "sasl-wrong-password", "Failed SASL: err -115 with a null token, then close", "sasl")
def _(t):
    t.connect()
    sasl_login(t, "bob", "wrong", err=-115)
    t.eof()


@scenario(F, "sasl-not-required", "Without sessionRequireClientSASLAuth other requests work before and without SASL", "sasl")
def _(t):
    t.connect()
    t.call("exists", ("/zookeeper/config", False), err=0)
    t.call("create", ("/saslbad", b"", acl(31, "sasl", "a@b@c"), 0), err=INVACL)


F = "23-profile-sasl-required.jsonl"


@scenario(F, "sasl-required-refused", "sessionRequireClientSASLAuth=true: a request without SASL gets -124 and the connection is closed", "sasl-required")
def _(t):
    t.before_close = lambda c: sasl_login(t, "bob", "bobsecret", conn=c)
    t.connect()
    t.call("getData", ("/zookeeper/config", False), err=-124)
    t.eof()


@scenario(F, "sasl-required-addauth-first", "addauth itself is allowed but does not satisfy the requirement", "sasl-required")
def _(t):
    t.before_close = lambda c: sasl_login(t, "bob", "bobsecret", conn=c)
    t.connect()
    t.call("auth", (0, "digest", b"bob:pw"), xid=-4, err=0)
    t.call("getData", ("/zookeeper/config", False), err=-124)
    t.eof()


@scenario(F, "sasl-required-failed", "Failed SASL while it is required: err -124 with a null token, then close", "sasl-required")
def _(t):
    t.before_close = lambda c: sasl_login(t, "bob", "bobsecret", conn=c)
    t.connect()
    sasl_login(t, "bob", "wrong", err=-124)
    t.eof()


@scenario(F, "sasl-required-accepted", "SASL first, then everything works", "sasl-required")
def _(t):
    t.connect()
    sasl_login(t, "bob", "bobsecret")
    t.call("getData", ("/zookeeper/config", False), err=0)


# =================================================================== ensemble profiles
F = "30-profile-local-sessions.jsonl"


@scenario(F, "local-session-writes", "localSessionsEnabled without upgrading, on a follower: ordinary writes work", "local-sessions")
def _(t):
    t.connect()
    mk(t, "/ls")
    t.call("setData", ("/ls", b"x", -1), err=0)
    t.call("ping", xid=-2, err=0)


@scenario(F, "local-session-ephemeral", "Ephemeral create on a local session: -120 (a zxid is consumed); inside multi the follower answers -112 for that op", "local-sessions")
def _(t):
    t.connect()
    mk(t, "/lse")
    t.call("create", ("/lse/e", b"", OPEN, 1), err=-120)
    t.call("create2", ("/lse/e", b"", OPEN, 3), err=-120)
    t.multi([("create", ("/lse/e", b"", OPEN, 1)), ("check", ("/lse", -1))], err=0)
    t.call("exists", ("/lse/e", False), err=NONODE)


@scenario(F, "local-session-no-zxid", "Creating and closing a local session consumes no zxid", "local-sessions")
def _(t):
    t.connect("A")
    mk(t, "/lsz")
    t.connect("B")
    t.end("B")
    mk(t, "/lsz/a")


F = "31-profile-read-only.jsonl"


@scenario(F, "readonly-refuses-rw-client", "Server in read-only mode, client without the readOnly flag: closed without reply", "read-only")
def _(t):
    t.connect(expect=False)
    t.eof()


@scenario(F, "readonly-refuses-old-client", "The same for a client whose request has no readOnly byte", "read-only")
def _(t):
    t.connect(old=True, expect=False)
    t.eof()


@scenario(F, "readonly-session", "Read-only session: readOnly=1 in the response; reads, watches and ping work; every write and sync gets -119", "read-only")
def _(t):
    t.connect(ro=True)
    t.call("exists", ("/ro-node", True), err=0)
    t.call("getData", ("/ro-node", False), err=0)
    t.call("addWatch", ("/ro-node", 0), err=0)
    t.call("removeWatches", ("/ro-node", 4), err=0)
    for op, b in (("create", ("/x", b"", OPEN, 0)), ("create2", ("/x", b"", OPEN, 1)), ("createContainer", ("/x", b"", OPEN, 4)),
                  ("createTTL", ("/x", b"", OPEN, 5, 1000)), ("delete", ("/ro-node", -1)), ("deleteContainer", ("/ro-node",)),
                  ("setData", ("/ro-node", b"", -1)), ("setACL", ("/ro-node", OPEN, -1)), ("sync", ("/",)), ("reconfig", (None, None, None, -1))):
        t.call(op, b, err=-119)
    t.multi([("check", ("/ro-node", -1))], err=-119)
    t.multi([("getData", ("/ro-node", False))], op="multiRead", err=0)
    t.call("whoAmI", err=0)
    t.call("ping", xid=-2, err=0)


@scenario(F, "readonly-4lw", "isro answers ro", "read-only")
def _(t):
    t.flw("isro", mode="exact")
