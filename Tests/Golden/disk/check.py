#!/usr/bin/env python3
"""Compare the tree that a running server has recovered with expected.json, or do all directories in one go.

    check.py HOST PORT DIRECTORY                        # a server that runs on a copy of DIRECTORY
    check.py --run 'COMMAND {cfg}' [--port N] [DIRECTORY ...]

With --run each directory is copied, a zoo.cfg for it is written, COMMAND is started on a free port (or on --port; the
process itself must be the server: it is ended by process id), the tree is read as super user over the client protocol and compared node by node:
path, data, ACL, all eleven Stat fields.  Directories that must be refused must end the process, without serving.
Standard library only.
"""
import argparse
import json
import os
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
STAT = ("czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "ephemeralOwner", "dataLength", "numChildren", "pzxid")
HEX = ("czxid", "mzxid", "ephemeralOwner", "pzxid")
SUPER = "super:lK75jTNcA+U9vtVEw5vB51mj/w4="                   # super:secret
REFUSED = {"a-logs-only": "unless snapshot.trust.empty=true", "e-corrupt-middle": "checksum mismatch in log.1"}
PHANTOMS = {"m-dirty-snapshot-after-trunc": "/lost"}    # not in the history; a server need not serve it


class Client:
    def __init__(self, host, port):
        self.s = socket.create_connection((host, port), 5)
        self.s.settimeout(10)
        self.send(struct.pack(">iqiqi", 0, 0, 30000, 0, 16) + b"\0" * 17)
        if struct.unpack_from(">i", self.frame(), 4)[0] <= 0:
            raise OSError("session refused")
        self.call(100, struct.pack(">i", 0) + self.str("digest") + self.buf(b"super:secret"), xid=-4)

    str = staticmethod(lambda t: struct.pack(">i", len(t.encode())) + t.encode())
    buf = staticmethod(lambda b: struct.pack(">i", len(b)) + b)

    def send(self, body):
        self.s.sendall(struct.pack(">i", len(body)) + body)

    def read(self, n):
        out = b""
        while len(out) < n:
            d = self.s.recv(n - len(out))
            if not d:
                raise OSError("closed by the server")
            out += d
        return out

    def frame(self):
        return self.read(struct.unpack(">i", self.read(4))[0])

    def call(self, op, body=b"", xid=1):
        self.send(struct.pack(">ii", xid, op) + body)
        f = self.frame()
        _, _, err = struct.unpack_from(">iqi", f)
        if err:
            raise OSError("opcode %d: error %d" % (op, err))
        self.b, self.p = f, 16

    def int(self):
        self.p += 4
        return struct.unpack_from(">i", self.b, self.p - 4)[0]

    def bytes(self):
        n = self.int()
        if n < 0:
            return None
        self.p += n
        return self.b[self.p - n:self.p]

    def stat(self):
        v = struct.unpack_from(">qqqqiiiqiiq", self.b, self.p)
        return {k: (hex(x & (1 << 64) - 1) if k in HEX else x) for k, x in zip(STAT, v)}

    def tree(self, path="/"):
        self.call(4, self.str(path) + b"\0")
        data, node = self.bytes(), {"path": path}
        node["data"], node["stat"] = None if data is None else data.hex(), self.stat()
        self.call(6, self.str(path))
        node["acl"] = [{"perms": self.int(), "scheme": self.bytes().decode(), "id": self.bytes().decode()} for _ in range(self.int())]
        out = {path: node}
        self.call(8, self.str(path) + b"\0")
        for name in [self.bytes().decode() for _ in range(self.int())]:
            out.update(self.tree(path.rstrip("/") + "/" + name))
        return out

    def close(self):
        self.call(-11)
        self.s.close()


def compare(directory, got, ensemble):
    want = {n["path"]: n for n in json.load(open(os.path.join(directory, "expected.json"), encoding="utf-8"))["nodes"]}
    phantom = PHANTOMS.get(os.path.basename(directory.rstrip("/")))
    if phantom and phantom not in got:                  # better than what Apache's server serves; its parent differs too
        del want[phantom], want[os.path.dirname(phantom)], got[os.path.dirname(phantom)]
    bad = ["missing %s" % p for p in sorted(set(want) - set(got))] + ["unexpected %s" % p for p in sorted(set(got) - set(want))]
    for p in sorted(set(want) & set(got)):
        for k in ("data", "acl", "stat"):
            a, b = want[p][k], got[p][k]
            if ensemble and p == "/zookeeper/config" and k == "stat":       # its mtime is local to each server
                a, b = dict(a, mtime=0), dict(b, mtime=0)
            if a != b:
                bad.append("%s %s: expected %s got %s" % (p, k, a, b))
    return bad, len(want)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def one(a, name, extra=(), refused=None):
    port = a.port or free_port()
    work = tempfile.mkdtemp(prefix="golden-disk-")
    cfg, log = os.path.join(work, "zoo.cfg"), os.path.join(work, "log")
    shutil.copytree(os.path.join(HERE, name), os.path.join(work, "data"))
    sets = ["extendedTypesEnabled=true", "DigestAuthenticationProvider.superDigest=" + SUPER] + list(extra)
    with open(cfg, "w") as o:
        o.write("\n".join(["dataDir=%s/data" % work, "clientPort=%d" % port, "tickTime=2000", "maxClientCnxns=0",
                           "admin.enableServer=false", "4lw.commands.whitelist=*"] + sets) + "\n")
    p = subprocess.Popen(shlex.split(a.run.format(cfg=cfg, port=port)), stdout=open(log, "w"), stderr=subprocess.STDOUT)
    label = name + (" with " + ",".join(extra) if extra else "")
    try:
        end, c = time.monotonic() + a.wait, None
        while time.monotonic() < end and p.poll() is None and c is None:
            try:
                c = Client("127.0.0.1", port)
            except OSError:
                time.sleep(0.1)
        if refused:
            if c is None and p.poll() not in (None, 0):
                print("ok   %s: refused (%s); exit code %d" % (label, refused, p.returncode))
                return True
            print("FAIL %s: must be refused (%s); %s" % (label, refused, "it serves" if c else "exit %s" % p.poll()))
            return False
        if c is None:
            print("FAIL %s: not serving; exit %s; last lines:\n%s" % (label, p.poll(), "".join(open(log).readlines()[-5:])))
            return False
        bad, n = compare(os.path.join(HERE, name), c.tree(), name.startswith(("g-", "m-")))
        c.close()
        print("%s %s: %d nodes" % ("FAIL" if bad else "ok  ", label, n) + "".join("\n  " + x for x in bad[:10]))
        return not bad
    finally:
        p.kill()
        p.wait()
        shutil.rmtree(work)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", nargs="*")
    ap.add_argument("--run")
    ap.add_argument("--port", type=int, default=0)
    ap.add_argument("--wait", type=float, default=40)
    a = ap.parse_args()
    if not a.run:
        if len(a.what) != 3:
            ap.error("HOST PORT DIRECTORY, or --run")
        c = Client(a.what[0], int(a.what[1]))
        bad, n = compare(a.what[2], c.tree(), os.path.exists(os.path.join(a.what[2], "myid")))
        c.close()
        print("\n".join(bad) or "%d nodes equal" % n)
        sys.exit(1 if bad else 0)
    names = [os.path.relpath(n, HERE) if os.path.isabs(n) else n.rstrip("/") for n in a.what] or sorted(
        os.path.relpath(d, HERE) for d, _, f in os.walk(HERE) if "expected.json" in f)
    ok = [one(a, n, refused=REFUSED.get(n)) for n in names]
    if "a-logs-only" in names:
        ok.append(one(a, "a-logs-only", ["snapshot.trust.empty=true"]))
    print("%d passed, %d failed" % (sum(ok), len(ok) - sum(ok)))
    sys.exit(0 if all(ok) else 1)


if __name__ == "__main__":
    main()
