#!/usr/bin/env python3
"""Replay golden client transcripts against a ZooKeeper-compatible server.

    replay.py HOST PORT [FILES...] [--profile NAME] [--only SUBSTR] [--skip NAME]... [--skip-tag TAG]...
              [--loose-zxid] [--any-passwd] [--old-events] [--max-diffs N] [--timeout SECONDS] [-v]

The server must be freshly initialised and started with the configuration of the profile
(see README.md).  Every c2s byte string is sent as recorded, except for the ranges listed in
"subst"; every s2c byte string must be reproduced exactly, except for the ranges listed in
"volatile" (which are checked according to their kind) and the element order inside
"unordered" groups.  Standard library only.
"""
import argparse
import glob
import hashlib
import json
import os
import re
import socket
import struct
import sys
import time

try:                                                      # only for nicer diagnostics
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "tools"))
    import zkwire
except Exception:                                         # pragma: no cover
    zkwire = None

M48 = (1 << 48) - 1


def derived_password(session_id):
    """16 bytes of java.util.Random seeded with session_id XOR 0xB3415C00."""
    seed = ((session_id ^ 0xB3415C00) ^ 0x5DEECE66D) & M48
    out = bytearray()
    for _ in range(4):
        seed = (seed * 0x5DEECE66D + 0xB) & M48
        v = seed >> 16
        out += bytes((v >> s) & 0xFF for s in (0, 8, 16, 24))
    return bytes(out)


class Mismatch(Exception):
    pass


class Cnx:
    def __init__(self, host, port):
        self.s = socket.create_connection((host, port), 5)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.eof = False

    def fill(self, end):
        w = end - time.monotonic()
        if w <= 0:
            return False
        self.s.settimeout(w)
        try:
            d = self.s.recv(1 << 16)
        except socket.timeout:
            return False
        except OSError:
            d = b""
        if not d:
            self.eof = True
            return False
        self.buf += d
        return True

    def read(self, n, timeout):
        end = time.monotonic() + timeout
        while len(self.buf) < n:
            if not self.fill(end):
                if self.eof:
                    raise Mismatch("connection closed by server after %d of %d bytes (%s)"
                                   % (len(self.buf), n, self.buf.hex()))
                raise Mismatch("timeout: %d of %d bytes arrived (%s)" % (len(self.buf), n, self.buf.hex()))
        r, self.buf = self.buf[:n], self.buf[n:]
        return r

    def frame(self, timeout):
        h = self.read(4, timeout)
        n = struct.unpack(">i", h)[0]
        if n < 0 or n > (64 << 20):
            raise Mismatch("implausible frame length %d" % n)
        return h + self.read(n, timeout)

    def rest(self, timeout):
        end = time.monotonic() + timeout
        while not self.eof:
            if not self.fill(end) and not self.eof:
                raise Mismatch("server did not close the connection; got %r" % self.buf[:200])
        r, self.buf = self.buf, b""
        return r

    def expect_eof(self, timeout):
        end = time.monotonic() + timeout
        while not self.eof:
            if self.buf:
                break
            if not self.fill(end) and not self.eof:
                raise Mismatch("expected the server to close the connection; it stayed open")
        if self.buf:
            raise Mismatch("expected the server to close the connection; got %s" % self.buf[:64].hex())

    def close(self):
        try:
            self.s.close()
        except OSError:
            pass


# ------------------------------------------------------------------ SASL DIGEST-MD5 client
def parse_directives(text):
    out = {}
    for m in re.finditer(r'([a-zA-Z0-9-]+)=(?:"((?:[^"\\]|\\.)*)"|([^,]*))', text):
        out[m.group(1)] = m.group(2) if m.group(2) is not None else m.group(3)
    return out


def digest_md5_response(challenge, user, password, cnonce):
    c = parse_directives(challenge.decode("utf-8"))
    realm, nonce = c.get("realm", ""), c["nonce"]
    uri, nc, qop = "zookeeper/" + realm, "00000001", "auth"

    def h(b):
        return hashlib.md5(b).digest()

    def hx(b):
        return hashlib.md5(b).hexdigest()
    a1 = h(("%s:%s:%s" % (user, realm, password)).encode()) + (":%s:%s" % (nonce, cnonce)).encode()
    ha1 = hx(a1)

    def resp(a2):
        return hx(("%s:%s:%s:%s:%s:%s" % (ha1, nonce, nc, cnonce, qop, hx(a2.encode()))).encode())
    token = ('charset=utf-8,username="%s",realm="%s",nonce="%s",nc=%s,cnonce="%s",digest-uri="%s",'
             'maxbuf=65536,response=%s,qop=%s' % (user, realm, nonce, nc, cnonce, uri,
                                                  resp("AUTHENTICATE:" + uri), qop)).encode()
    return token, ("rspauth=" + resp(":" + uri)).encode()


# ------------------------------------------------------------------ one transcript
class Run:
    def __init__(self, a, t):
        self.a, self.t = a, t
        self.c = {}
        self.bind = {}                 # "session_id:S1" -> bytes, "passwd:S1" -> bytes
        self.zrec = self.zrep = None
        self.zseen = []                # (recorded, replayed) for --loose-zxid
        self.sasl = {}

    def cn(self, st):
        return self.c[st.get("conn", "A")]

    def build(self, st):
        b = bytearray.fromhex(st["hex"])
        for off, ln, what in st.get("subst", ()):
            if what == "zxid":
                rec = struct.unpack(">q", b[off:off + 8])[0]
                if self.zrec is None:
                    raise Mismatch("zxid substitution before any zxid was seen")
                b[off:off + 8] = struct.pack(">q", rec - self.zrec + self.zrep)
            else:
                b[off:off + ln] = self.bind[what]
        for off, count, byte in reversed(st.get("fill", ())):
            b[off:off] = bytes.fromhex(byte) * count
        if "sasl_response" in st:
            p = st["sasl_response"]
            token, self.sasl["rspauth"] = digest_md5_response(self.sasl["challenge"], p["user"],
                                                              p["password"], p["cnonce"])
            body = bytes(b[4:12]) + struct.pack(">i", len(token)) + token
            b = struct.pack(">i", len(body)) + body
        return bytes(b)

    def check(self, st, got):
        exp = bytes.fromhex(st["hex"])
        if "sasl_challenge" in st:
            self.sasl["challenge"] = got[24:]
            d = parse_directives(got[24:].decode("utf-8", "replace"))
            want = parse_directives(exp[24:].decode())
            for k in want:
                if k != "nonce" and d.get(k) != want[k]:
                    raise Mismatch("SASL challenge directive %s: expected %r got %r" % (k, want[k], d.get(k)))
            if "nonce" not in d:
                raise Mismatch("SASL challenge has no nonce")
            exp = got[:4] + exp[4:20] + got[20:24] + got[24:]
        if "sasl_rspauth" in st:
            exp = exp[:24] + self.sasl["rspauth"]
        if len(got) != len(exp):
            raise Mismatch("length differs: expected %d bytes, got %d\n%s" % (len(exp), len(got), self.show(st, got)))
        skip = bytearray(len(exp))
        for off, ln, what in st.get("volatile", ()):
            skip[off:off + ln] = b"\1" * ln
            e, g = exp[off:off + ln], got[off:off + ln]
            if what == "zxid":
                r, v = struct.unpack(">q", e)[0], struct.unpack(">q", g)[0]
                if self.a.old_events and v == -1 and exp[4:8] == b"\xff\xff\xff\xff":
                    continue                               # servers before 3.9 put -1 into notification headers
                if self.zrec is None:
                    self.zrec, self.zrep = r, v
                    if v <= 0:
                        raise Mismatch("zxid at %d is %d" % (off, v))
                if self.a.loose_zxid:
                    for pr, pv in self.zseen:
                        if (pr < r) != (pv < v) or (pr == r) != (pv == v):
                            raise Mismatch("zxid order at %d: recorded %#x, got %#x" % (off, r, v))
                    self.zseen.append((r, v))
                elif v - self.zrep != r - self.zrec:
                    raise Mismatch("zxid at offset %d: expected base%+d, got base%+d (base = first zxid of the "
                                   "transcript)\n%s" % (off, r - self.zrec, v - self.zrep, self.show(st, got)))
            elif what == "time":
                v = struct.unpack(">q", g)[0]
                if not 1.0e12 < v < 1.0e14:
                    raise Mismatch("time at offset %d is not in milliseconds since 1970: %d" % (off, v))
            elif what.startswith("session_id:") or what.startswith("passwd:"):
                if what in self.bind:
                    if self.bind[what] != g:
                        raise Mismatch("%s at offset %d: expected %s got %s" % (what, off, self.bind[what].hex(), g.hex()))
                else:
                    if g == b"\0" * ln:
                        raise Mismatch("%s at offset %d is zero (session refused?)" % (what, off))
                    self.bind[what] = g
                    if what.startswith("passwd:") and not self.a.any_passwd:
                        sid = struct.unpack(">q", self.bind["session_id:" + what[7:]])[0]
                        if g != derived_password(sid & 0xFFFFFFFFFFFFFFFF):
                            raise Mismatch("password is not the one derived from the session id")
            elif what != "ignore":
                raise Mismatch("unknown volatile kind %r" % what)
        for grp in st.get("unordered", ()):
            els = grp["elements"]
            lo, hi = els[0][0], els[-1][0] + els[-1][1]
            skip[lo:hi] = b"\1" * (hi - lo)
            left = [exp[o:o + n] for o, n in els]
            p = lo
            while left:
                for x in left:
                    if got[p:p + len(x)] == x:
                        left.remove(x)
                        p += len(x)
                        break
                else:
                    raise Mismatch("%s: element at offset %d is not one of the expected ones\n%s"
                                   % (grp["name"], p, self.show(st, got)))
        bad = [i for i in range(len(exp)) if not skip[i] and exp[i] != got[i]]
        if bad:
            raise Mismatch("bytes differ at offset(s) %s\n%s"
                           % (",".join(map(str, bad[:12])) + ("..." if len(bad) > 12 else ""), self.show(st, got)))

    def show(self, st, got):
        out = ["    expected %s" % st["hex"][:600], "    got      %s" % got.hex()[:600]]
        if st.get("decoded") is not None:
            out.append("    expected %s" % json.dumps(st["decoded"])[:900])
        if zkwire and st.get("op"):
            try:
                d, _ = zkwire.decode_reply(got[4:], st["op"])
                out.append("    got      %s" % json.dumps(d, default=lambda x: "0x" + x.hex())[:900])
            except Exception as e:
                out.append("    got      <undecodable: %s>" % e)
        return "\n".join(out)

    def check_text(self, st, got):
        text = got.decode("utf-8", "replace")
        if st.get("mode") == "exact":
            if text != st["text"]:
                raise Mismatch("text differs: expected %r got %r" % (st["text"], text))
            return
        have = text.split("\n")
        want = st["lines"]
        if st.get("mode") == "set":              # every wanted line present, order and extras free
            miss = [w for w in want if not any(re.fullmatch(w, h) for h in have)]
            if miss:
                raise Mismatch("%d of %d lines missing: %s" % (len(miss), len(want), ", ".join(miss[:12])))
            return
        for i in range(max(len(want), len(have))):
            w = want[i] if i < len(want) else None
            h = have[i] if i < len(have) else None
            if w is None or h is None or not re.fullmatch(w, h):
                raise Mismatch("line %d: expected /%s/ got %r" % (i + 1, w, h))

    def run(self):
        for i, st in enumerate(self.t["exchange"]):
            to = st.get("timeout_ms", 0) / 1000.0 or self.a.timeout
            try:
                d = st["dir"]
                if d == "open":
                    self.c[st.get("conn", "A")] = Cnx(self.a.host, self.a.port)
                elif d == "c2s":
                    data = self.build(st)
                    for part in ([data] if "split" not in st else
                                 [data[k:k + st["split"]] for k in range(0, len(data), st["split"])]):
                        try:
                            self.cn(st).s.sendall(part)
                        except OSError as e:
                            if not st.get("may_fail"):
                                raise Mismatch("send failed: %s" % e)
                        if "split" in st:
                            time.sleep(0.002)
                elif d == "s2c":
                    if st.get("raw"):
                        self.check_text(st, self.cn(st).rest(to))
                    else:
                        self.check(st, self.cn(st).frame(to))
                elif d == "eof":
                    self.cn(st).expect_eof(to)
                elif d == "close":
                    self.cn(st).close()
                elif d == "sleep":
                    time.sleep(st["ms"] / 1000.0)
                else:
                    raise Mismatch("unknown step %r" % d)
            except Mismatch as e:
                raise Mismatch("step %d (%s %s): %s" % (i, st["dir"], st.get("conn", "A"), e))
            except OSError as e:
                raise Mismatch("step %d (%s %s): %s" % (i, st["dir"], st.get("conn", "A"), e))

    def cleanup(self, failed):
        for c in self.c.values():
            c.close()
        if not failed:
            return
        # leave no session behind: its later expiry would consume a zxid inside another transcript
        for k, sid in list(self.bind.items()):
            if not k.startswith("session_id:"):
                continue
            pw = self.bind.get("passwd:" + k[11:], b"\0" * 16)
            try:
                c = Cnx(self.a.host, self.a.port)
                b = struct.pack(">iqi", 0, 0, 4000) + sid + struct.pack(">i", 16) + pw + b"\0"
                c.s.sendall(struct.pack(">i", len(b)) + b)
                r = c.frame(2)
                if r[8:12] != b"\0\0\0\0":
                    c.s.sendall(struct.pack(">iii", 8, 1, -11))
                    c.frame(2)
                c.close()
            except (Mismatch, OSError):
                pass


def main():
    p = argparse.ArgumentParser()
    p.add_argument("host")
    p.add_argument("port", type=int)
    p.add_argument("files", nargs="*")
    p.add_argument("--profile", default="base")
    p.add_argument("--only", default="", metavar="SUBSTR", help="only transcripts whose name contains this")
    p.add_argument("--skip", action="append", default=[], metavar="NAME", help="leave out the transcript of exactly this name")
    p.add_argument("--skip-tag", action="append", default=[], metavar="TAG",
                   help="leave out transcripts with this tag (quirk, informative)")
    p.add_argument("--loose-zxid", action="store_true", help="only require the same ordering/equality of zxids")
    p.add_argument("--any-passwd", action="store_true", help="do not require the Apache password derivation")
    p.add_argument("--old-events", action="store_true", help="accept zxid -1 in notification headers (servers before 3.9)")
    p.add_argument("--max-diffs", type=int, default=20)
    p.add_argument("--timeout", type=float, default=6.0)
    p.add_argument("-v", action="store_true")
    a = p.parse_intermixed_args()
    here = os.path.dirname(os.path.abspath(__file__))
    files = a.files or sorted(glob.glob(os.path.join(here, "*.jsonl")))
    ok = bad = skipped = 0
    unknown = set(a.skip)
    for f in files:
        for line in open(f, encoding="utf-8"):
            if not line.strip():
                continue
            t = json.loads(line)
            unknown.discard(t["name"])
            if (t.get("profile", "base") != a.profile or a.only not in t["name"] or t["name"] in a.skip
                    or set(t.get("tags", ())) & set(a.skip_tag)):
                skipped += 1
                continue
            r = Run(a, t)
            err = None
            try:
                r.run()
                ok += 1
            except (Mismatch, OSError) as e:
                err = e
                bad += 1
                if bad <= a.max_diffs:
                    print("FAIL %s [%s]\n  %s" % (t["name"], os.path.basename(f), e))
                elif a.v:
                    print("FAIL %s" % t["name"])
            finally:
                r.cleanup(err is not None)
            if a.v and err is None:
                print("ok   %s" % t["name"])
    for name in sorted(unknown):
        print("warning: --skip %s names no transcript of these files" % name)
    print("%d passed, %d failed" % (ok, bad) + (", %d not in this profile/selection" % skipped if skipped else ""))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
