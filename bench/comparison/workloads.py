"""The workloads of the comparison with their targets, and how they are run: one after the other on Apache, Aviary and the
floor, round after round, so that a change of the machine hits all of them alike.
"""
import sys

import compare
from contenders import Contender, Floor, alive, entry, processes, running


class Workload:
    """One load of zkload. `cpu`: how many times Apache's operations per server CPU-second are the target. `writes`: the
    floor is zknull with its log. `disk`: the disk decides the throughput, so that as much as Apache's is enough."""

    def __init__(self, name, arguments, cpu=None, writes=False, disk=False, open_loop=False):
        self.name, self.arguments, self.cpu, self.writes = name, arguments, cpu, writes
        self.disk, self.open_loop = disk, open_loop


def workloads(quick):
    return [
        Workload("get 32x16", "--op get --conns 32 --pipeline 16", 15),
        Workload("get 256x16", "--op get --conns 256 --pipeline 16", 15),
        Workload("get 1x64", "--op get --conns 1 --pipeline 64", 15),
        Workload("get 32x1", "--op get --conns 32 --pipeline 1", 3.5),
        Workload("get 256x1", "--op get --conns 256 --pipeline 1", 3.5),
        Workload("set 1KB 32x16", "--op set --size 1024 --conns 32 --pipeline 16", 8, writes=True),
        Workload("set 1KB 32x1", "--op set --size 1024 --conns 32 --pipeline 1", 3, writes=True, disk=True),
        Workload("mixed 90/10", "--op mixed --read-pct 90 --conns 32 --pipeline 16", 6, writes=True),
        Workload("mixed 50/50", "--op mixed --read-pct 50 --conns 32 --pipeline 16", 6, writes=True),
        Workload("create", "--op create --conns 32 --pipeline 16", 6, writes=True),
        Workload("create-seq ephemeral", "--op create-seq --conns 32 --pipeline 16", 6, writes=True),
        Workload("delete", "--op delete --conns 32 --pipeline 16 --nodes %d" % (20000 if quick else 60000), 6, writes=True),
        Workload("children(1000)", "--op children --conns 32 --pipeline 4", 6),
        Workload("multi(10)", "--op multi --batch 10 --conns 32 --pipeline 4", 6, writes=True),
        Workload("watch fan-out 10000", "--watch-fanout 10000 --rounds %d" % (2 if quick else 6), 2, writes=True),
        Workload("connect storm", "--connect-storm 0 --conns 32", 2, writes=True),
        Workload("open loop 5000 reads/s", "--op get --conns 32 --pipeline 64 --rate 5000", open_loop=True),
        Workload("open loop 1000 writes/s", "--op set --size 1024 --conns 32 --pipeline 64 --rate 1000", writes=True,
                 open_loop=True),
    ]


def run(bench):
    """Fills results["workloads"], anew after each round."""
    chosen = [w for w in workloads(bench.quick) if bench.wants(w.name)]
    if not chosen:
        return
    raw = {w.name: {} for w in chosen}
    table = bench.results.setdefault("workloads", {})
    servers = [Contender(bench, "apache"), Contender(bench, "aviary"), Floor(bench), Floor(bench, log=True)]
    with running(*servers):
        for server in servers[:2]:                             # a JVM compiles what it has run often
            for size in (100, 1024):
                measure(bench, server, "warming up", "--op mixed --read-pct 70 --size %d --conns 32 --pipeline 16 "
                        "--warmup 0.1 --seconds %g" % (size, bench.prewarm / 2))
        for _ in range(bench.rounds):
            for workload in chosen:
                for server in servers[:2] + [servers[3 if workload.writes else 2]]:
                    row = measure(bench, server, workload.name, workload.arguments)
                    raw[workload.name].setdefault(server.kind, []).append(row)
            for workload in chosen:
                table[workload.name] = {"arguments": workload.arguments, "floor": "zknull --log" if workload.writes else "zknull",
                                        "servers": {k: compare.summary(r) for k, r in raw[workload.name].items()}}
            bench.save("workloads", {"raw-workloads": raw})


def measure(bench, server, name, arguments):
    """One run of zkload against one server; a server that died is started again. Never raises."""
    try:
        if not alive(server):
            server.start()
        row = compare.measure(bench.options, entry(server), name, arguments)
        if not alive(server):
            codes = [process.poll() for process in processes(server)]
            row = {"failed": "a server ended with exit code %s" % [code for code in codes if code is not None][0]}
    except Exception as error:
        row = {"failed": "%s: %s" % (type(error).__name__, (str(error).splitlines() or [""])[0])}
    if "failed" in row:
        text = "FAILED: " + row["failed"]
    else:
        m = compare.metrics(row)
        text = "%10.0f/s  %9.0f/cpu-s  p50 %.3f p99 %.3f ms%s%s" % (
            m["ops_per_s"], m.get("ops_per_cpu_s", 0), m["p50_ms"], m["p99_ms"],
            "  ERRORS %d" % m["errors"] if m["errors"] else "",
            "  others used %.2f cores" % m["foreign_cores"] if m["foreign_cores"] > 0.25 else "")
    print("%-13s %-24s %s" % (server.kind, name, text), file=sys.stderr, flush=True)
    return row
