"""Three servers of Apache 3.9.5 beside three of Aviary, in one run: throughput, latency, memory, failover, and a member that comes
back with nothing while the others work. Called by `scripts/bench --ensemble`.

`--stand-in apache` runs Apache in Aviary's place as well: ratios near 1 then show what the benchmark itself adds.
"""
import argparse
import os
import shutil
import threading
import time
import types

import contenders
import failover
import harness
from contenders import Contender, command, rss_mb, running
from ensemble_servers import Ensemble, Member
from life import guarded, median_of
from workloads import Workload, measure

import compare

NAMES = ("apache", "aviary")
TRIALS = 20
# Apache's own sample configuration: a member may take 20 s to join, and is given up after 10 s of silence.
LIMITS = {"initLimit": "10", "syncLimit": "5", "maxSessionTimeout": None}
OPEN_LOOP = "--op set --size 1024 --conns 32 --pipeline 64 --rate 1000"


class Three:
    """Three servers of one kind, as one contender; `kind` is the name under which its figures are kept."""

    def __init__(self, bench, name):
        self.bench, self.kind = bench, name
        kind = bench.arguments.stand_in or name if name == "aviary" else name
        self.work = os.path.join(bench.work, "servers", "three-" + name)
        shutil.rmtree(self.work, ignore_errors=True)
        settings = {**dict.fromkeys(harness.BASE), **contenders.SETTINGS, **LIMITS}

        class BenchMember(Member):
            def command(self):
                return command(bench, self.kind, self.file)

        check = types.SimpleNamespace(kind=kind, work=os.path.dirname(self.work), servers=[], lock=threading.RLock(), is_ending=False)
        self.ensemble = Ensemble(check, 3, settings=settings, links=False, name=os.path.basename(self.work), member=BenchMember)

    @property
    def processes(self):
        return [member.process for member in self.ensemble]

    @property
    def hosts(self):
        return self.ensemble.hosts

    def start(self):
        """Starts whoever does not run; for all three to form an ensemble."""
        self.ensemble.start(seconds=300)
        return self

    def stop(self):
        self.ensemble.discard()


def one(member):
    """One server of an ensemble as a contender of its own."""
    return types.SimpleNamespace(kind="%s %d" % (member.ensemble.members[0].kind, member.sid), port=member.port, process=member.process)


def workload_list():
    return [Workload("set 1KB 32x16", "--op set --size 1024 --conns 32 --pipeline 16", 6, writes=True),
            Workload("mixed 90/10", "--op mixed --read-pct 90 --conns 32 --pipeline 16", 6, writes=True),
            Workload("get 32x16", "--op get --conns 32 --pipeline 16"),
            Workload("open loop 1000 writes/s", OPEN_LOOP, writes=True, open_loop=True)]


def workloads(bench):
    """Each load over all three servers; gets also on one standalone server of the second kind, which is what they are held against."""
    chosen = [w for w in workload_list() if bench.wants(w.name)]
    memory = bench.wants("memory of three")
    if not chosen and not memory:
        return
    raw, table = {w.name: {} for w in chosen}, bench.results.setdefault("workloads", {})
    threes = [Three(bench, name) for name in NAMES]
    alone = Contender(bench, bench.arguments.stand_in or "aviary", name="alone")
    with running(*threes, alone):
        for server in threes + [alone]:
            for size in (100, 1024):
                measure(bench, server, "warming up", "--op mixed --read-pct 70 --size %d --conns 32 --pipeline 16 "
                        "--warmup 0.1 --seconds %g" % (size, bench.prewarm / 2))
        for _ in range(bench.rounds):
            for workload in chosen:
                for name, server in [*zip(NAMES, threes)] + [("alone", alone)] * (workload.name == "get 32x16"):
                    row = measure(bench, server, workload.name, workload.arguments)
                    raw[workload.name].setdefault(name, []).append(row)
            for workload in chosen:
                table[workload.name] = {"arguments": workload.arguments,
                                        "servers": {k: compare.summary(r) for k, r in raw[workload.name].items()}}
            bench.save("workloads", {"raw-ensemble": raw})
        if memory:
            keep_memory(bench, "memory of three, after the loads", threes)


def keep_memory(bench, title, threes):
    bench.results.setdefault("memory", {})[title] = {three.kind: median_of([{"rss_mb": rss_mb(three)}]) for three in threes}


def fail_over(bench):
    """kill -9 of the leader to the next acknowledged write through a survivor, one trial here, one there."""
    if not bench.wants("failover"):
        return
    trials, rows = 3 if bench.quick else TRIALS, {name: [] for name in NAMES}
    threes = [Three(bench, name) for name in NAMES]
    with running(*threes):
        for n in range(trials):
            for three in threes:
                try:
                    row = failover.trial(failover_options(three), {m.sid: ("127.0.0.1", m.port) for m in three.ensemble}, n)
                    row = row if "write_ms" in row else {"failed": "no write was acknowledged within 60 s"}
                except SystemExit as error:
                    row = {"failed": str(error)}
                except OSError as error:
                    row = {"failed": "%s: %s" % (type(error).__name__, error)}
                three.start()
                rows[three.kind].append(row)
                bench.say("%-13s failover %d: %s" % (three.kind, n + 1, "FAILED: " + row["failed"] if "failed" in row else
                                                     "%.0f ms" % row["write_ms"]))
    bench.results["failover"] = {name: {**median_of([{k: v for k, v in r.items() if k in ("failed", "write_ms", "gap_ms")} for r in found]),
                                        "trials": found} for name, found in rows.items()}


def failover_options(three):
    def restart(sid, pid):
        three.ensemble[sid].process.wait(20)
        three.ensemble[sid].launch()
    return argparse.Namespace(settle=2, limit=60, retry_ms=5, connect_timeout=5, session_timeout=30000, how="kill",
                              pid_of=lambda sid: three.ensemble[sid].process.pid, restart=restart)


def rejoin(bench):
    """A follower comes back without its files to many znodes, while clients write to the leader: how long it takes, and what they
    notice, beside the same load with everything in place."""
    wants_memory = bench.wants("memory of three, 1M")
    if not bench.wants("rejoin") and not wants_memory:
        return
    rows, threes = {}, [Three(bench, name) for name in NAMES]
    with running(*threes):
        for three in threes:
            row = measure(bench, three, "fill %d" % bench.nodes, "--op fill --nodes %d" % bench.nodes)
            if "failed" in row:
                raise RuntimeError("filling failed: " + row["failed"])
        if wants_memory:
            time.sleep(3)
            keep_memory(bench, "memory of three, 1M", threes)
        if bench.wants("rejoin"):
            alone = {three.kind: come_back(three)[1] for three in threes}    # also tells how long a measurement has to be
            for _ in range(bench.rounds):
                for three in threes:
                    guarded(rows, "rejoin", three.kind, rejoin_once, bench, three, alone[three.kind])
            bench.results["rejoin"] = {name: median_of(found) for name, found in rows["rejoin"].items()}


def come_back(three, delay=0.0):
    """Wipes a follower and starts it after `delay`; returns (when it started, seconds until it served)."""
    follower = three.ensemble.followers[0]
    follower.kill9()
    shutil.rmtree(follower.data)
    os.makedirs(follower.data)
    follower.identify()
    time.sleep(delay)
    start = time.monotonic()
    follower.launch().serving(300)
    return start, time.monotonic() - start


def rejoin_once(bench, three, expected):
    """The p99 of writes to the leader, as usual and while a follower without files comes back."""
    seconds = max(4.0, 1.1 * expected)
    leader = three.ensemble.wait_formed(seconds=120)
    arguments = "%s --warmup 1 --seconds %g" % (OPEN_LOOP, seconds)
    usual = measure(bench, one(leader), "as usual", arguments)
    result = {}

    def back():
        try:
            result["seconds"] = come_back(three, 1.5)[1]           # the load has begun by then
        except AssertionError as error:
            result["failed"] = str(error).splitlines()[0]
    beside = bench.beside(back)
    during = measure(bench, one(leader), "rejoin", arguments)
    beside.join()
    for row in (usual, during, result):
        if "failed" in row:
            return {"failed": row["failed"]}
    return {"seconds": result["seconds"], "measured_s": seconds, "usual_p99_ms": usual["latency_us"]["p99"] / 1e3,
            "p99_ms": during["latency_us"]["p99"] / 1e3, "longest_gap_ms": during["longest_gap_us"] / 1e3,
            "errors": during["errors"] + during["lost"]}


STEPS = [("workloads", workloads), ("failover", fail_over), ("rejoin", rejoin)]
OTHER_NAMES = ["memory of three, after the loads", "memory of three, 1M", "failover", "rejoin"]
