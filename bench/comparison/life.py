"""What a server needs to live: the time to start, and memory; empty and with a million znodes.

The directory with a million znodes is made once per server, by writing them, and kept in the work directory.
"""
import argparse
import glob
import json
import os
import shutil
import subprocess
import time

import coldstart
import compare
from contenders import BENCH, Contender, Floor, alive, rss_mb, running
from workloads import measure


def median_of(rows):
    good = [r for r in rows if "failed" not in r]
    whys = [r["failed"] for r in rows if "failed" in r]
    return {"median": compare.median(good) if good else None, "runs": len(good), "failed": whys}


def filled(bench, kind):
    """The directory with bench.nodes znodes of 100 bytes that `kind` wrote; made when it is not there yet, or was written by
    another build of Aviary."""
    directory = os.path.join(bench.work, "%s-%d" % (kind, bench.nodes))
    record, build = directory + ".json", os.stat(bench.binary).st_mtime_ns if kind == "aviary" else 0
    if os.path.exists(record):
        with open(record) as file:
            if json.load(file)["build"] == build:
                return directory
        os.remove(record)
    shutil.rmtree(directory, ignore_errors=True)
    with running(Contender(bench, kind, name="fill-" + kind, data=directory)) as (server,):
        row = measure(bench, server, "fill %d" % bench.nodes, "--op fill --nodes %d" % bench.nodes)
        if "failed" in row:
            raise RuntimeError("filling failed: " + row["failed"])
        memory = rss_mb(server)
        settle(directory)
    prune(os.path.join(directory, "version-2"))
    with open(record, "w") as out:
        json.dump({"build": build, "rss_mb": memory, "seconds": row["seconds"], "ops_per_s": row["ops_per_s"]}, out)
    return directory


def settle(directory, limit=120):
    """Waits until the files stay as they are for two seconds: a snapshot under way is finished."""
    before, end = None, time.monotonic() + limit
    while time.monotonic() < end:
        now = [(f, os.stat(f).st_size) for f in sorted(glob.glob(directory + "/version-2/*"))]
        if now == before:
            return
        before = now
        time.sleep(2)


def prune(directory):
    """Leaves the newest snapshot and the logs that go on from it, as purging would, to make copies cheap."""
    def zxid(name):
        return int(name.rsplit(".", 1)[1], 16)
    snapshots = sorted(glob.glob(directory + "/snapshot.*"), key=zxid)
    logs = sorted(glob.glob(directory + "/log.*"), key=zxid)
    needed = max([i for i, log in enumerate(logs) if snapshots and zxid(log) <= zxid(snapshots[-1]) + 1], default=0)
    for file in snapshots[:-1] + logs[:needed]:
        os.remove(file)


def guarded(rows, title, kind, function, *arguments):
    """Adds what `function` measures, or why it could not, to the rows; what failed once is not tried again."""
    row = rows.setdefault(title, {}).setdefault(kind, [])
    if not row or "failed" not in row[-1]:
        try:
            row.append(function(*arguments))
        except Exception as error:
            row.append({"failed": "%s: %s" % (type(error).__name__, (str(error).splitlines() or [""])[0])})


def startup(bench):
    """From the start of the process to the first reply, A B A B."""
    rows = {}
    for title, kinds in (("start empty", ("apache", "aviary", "zknull")), ("start 1M", ("apache", "aviary"))):
        for _ in range(0 if not bench.wants(title) else 1 if bench.quick else 5):
            for kind in kinds:
                guarded(rows, title, kind, cold, bench, kind, title == "start 1M")
    bench.results.setdefault("startup", {}).update({t: {k: median_of(r) for k, r in kinds.items()} for t, kinds in rows.items()})


def cold(bench, kind, million):
    template = filled(bench, kind) if million else None
    server = Floor(bench) if kind == "zknull" else Contender(bench, kind, name="cold")
    return coldstart.one(argparse.Namespace(workdir=getattr(server, "data", None), template=template, port=server.port,
                                            attempt=0.5, limit=300, nice=0, drop_caches=False), server.command())


def memory(bench):
    """Resident memory: idle, with a million znodes after a restart, with ten thousand sessions that only ping."""
    rows = {}
    for _ in range(min(bench.rounds, 3)):
        for title, function, kinds in (("memory idle", idle, ("apache", "aviary", "zknull")),
                                       ("memory 10k sessions", sessions, ("apache", "aviary", "zknull")),
                                       ("memory 1M", million, ("apache", "aviary", "memfloor"))):
            for kind in kinds if bench.wants(title) else ():
                guarded(rows, title, kind, function, bench, kind)
    bench.results.setdefault("memory", {}).update({t: {k: median_of(r) for k, r in kinds.items()} for t, kinds in rows.items()})


def idle(bench, kind):
    with running(Floor(bench) if kind == "zknull" else Contender(bench, kind, name="memory")) as (server,):
        time.sleep(2)
        return {"rss_mb": rss_mb(server)}


def sessions(bench, kind):
    with running(Floor(bench) if kind == "zknull" else Contender(bench, kind, name="memory")) as (server,):
        row = measure(bench, server, "memory 10k sessions", "--idle-conns 10000 --warmup 1 --seconds %g" % (2 if bench.quick else 10))
        return row if "failed" in row else {"rss_mb": row["idle"]["rss_with_sessions_kb"] / 1024,
                                            "bytes_per_session": row["idle"]["bytes_per_session"], "lost": row["lost"]}


def million(bench, kind):
    if kind == "memfloor":
        told = subprocess.run([os.path.join(BENCH, "memfloor"), str(bench.nodes), "100"], capture_output=True, text=True)
        return {"rss_mb": json.loads(told.stdout)["rss_mb"]}
    template = filled(bench, kind)
    with open(template + ".json") as record:
        written = json.load(record)["rss_mb"]
    server = Contender(bench, kind, name="memory")
    shutil.copytree(template, server.data, dirs_exist_ok=True)
    with running(server):
        time.sleep(3)
        return {"rss_mb": rss_mb(server), "written_mb": written}


def snapshot_gap(bench):
    """The longest time between two replies to readers while a snapshot of a million znodes is written."""
    if not bench.wants("snapshot gap"):
        return
    servers = []
    for kind in ("apache", "aviary"):
        template = filled(bench, kind)
        servers.append(Contender(bench, kind, name="snapshot-" + kind, snapCount="1500"))
        shutil.copytree(template, servers[-1].data, dirs_exist_ok=True)
    servers.append(Floor(bench))
    rows = {server.kind: [] for server in servers}
    with running(*servers):
        for _ in range(1 if bench.quick else 5):
            for server in servers:
                rows[server.kind].append(gap(bench, server))
    bench.results["snapshot"] = {kind: median_of(r) for kind, r in rows.items()}


def gap(bench, server):
    """One run of readers. A writer beside them makes the server write a snapshot after 750 to 1,500 transactions."""
    if not alive(server):
        return {"failed": "the server ended"}
    before = snapshots(server)
    writer = subprocess.Popen([os.path.join(BENCH, "zkload"), "--hosts", "127.0.0.1:%d" % server.port, "--op", "set",
                                     "--conns", "4", "--pipeline", "16", "--rate", "400", "--warmup", "0", "--seconds",
                                     "10", "--json"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        row = measure(bench, server, "snapshot gap", "--op get --conns 32 --pipeline 64 --rate 5000 --nodes %d "
                      "--warmup 0.5 --seconds 8" % bench.nodes)
    finally:
        writer.terminate()
        writer.wait()
    if "failed" in row:
        return row
    written = len(snapshots(server) - before)
    if not written and isinstance(server, Contender):
        return {"failed": "no snapshot was finished meanwhile"}
    return {"gap_ms": row["longest_gap_us"] / 1e3, "p99_ms": row["latency_us"]["p99"] / 1e3, "snapshots": written}


def snapshots(server):
    return set(glob.glob(getattr(server, "data", "/nowhere") + "/version-2/snapshot.*"))
