"""Whether one get, set and create of Aviary costs the same with few or many znodes, connections and watches.

The cost is server CPU per operation at 16 requests a connection. Snapshots are off here: what they cost is measured apart.
"""
import struct

import compare
import zkwire
from contenders import Contender, Floor, running
from workloads import measure

OPERATIONS = ("get", "set", "create")


def run(bench):
    """Fills results["flatness"]: {range: [{"at": N, "get": microseconds or None, …}]}."""
    flat = bench.results.setdefault("flatness", {})
    for title, points, walk in (("flat znodes", znode_counts(bench.flat_max), znodes),
                                ("flat connections", (1, 32, 1000) if bench.quick else (1, 32, 1000, 10000), connections),
                                ("flat watches", (0, bench.nodes // 100, bench.nodes), watches)):
        if bench.wants(title):
            server = Contender(bench, "aviary", name="flat", snapCount="1000000000", snapSizeLimitInKb="0")
            flat[title] = []
            with running(server):
                walk(bench, server, points, flat[title])
            bench.save("flatness")


def znode_counts(most):
    counts = [1000]
    while counts[-1] < most:
        counts.append(min(counts[-1] * 10, most))
    return counts


def znodes(bench, server, points, out):
    for count in points:
        filled = measure(bench, server, "fill %d" % count, "--op fill --nodes %d" % count)
        if "failed" in filled:
            out.append({"at": count, "failed": filled["failed"]})
            return
        out.append(costs(bench, server, count, "--conns 32 --nodes %d" % count))


def connections(bench, server, points, out):
    """The floor beside it: what few requests a wake-up and many sockets cost any server."""
    with running(Floor(bench, log=True)) as (floor,):
        for count in points:
            out.append(costs(bench, server, count, "--conns %d" % count))
            out[-1]["floor"] = costs(bench, floor, count, "--conns %d" % count, repeats=1)


def watches(bench, server, points, out):
    """Watches on paths that do not exist, so that they stay while the load runs; every write looks for them."""
    holders, held = [zkwire.Client("127.0.0.1", server.port, timeout=60) for _ in range(16)], 0
    for count in points:
        while held < count:
            paths = range(held, min(held + 20000, count))
            body = struct.pack(">qii", 1 << 62, 0, len(paths)) + b"".join(
                zkwire.buf(b"/absent/%010d" % i) for i in paths) + struct.pack(">i", 0)
            error = holders[held // 20000 % len(holders)].call(101, body)[0]
            if error:
                raise RuntimeError("setting watches: error %d" % error)
            held += len(paths)
        out.append(costs(bench, server, count, "--conns 32", before=lambda: [h.exists("/") for h in holders]))
    for holder in holders:
        holder.close()


def costs(bench, server, at, arguments, before=lambda: None, repeats=3):
    """Median cost of each operation in microseconds of server CPU, with its spread."""
    point = {"at": at}
    for operation in OPERATIONS:
        rows = []
        for _ in range(min(bench.rounds, repeats)):
            before()
            rows.append(measure(bench, server, "%s at %d" % (operation, at), "--op %s --pipeline 16 --warmup %g --seconds %g %s"
                                % (operation, min(bench.warmup, 1.5), min(bench.seconds, 4), arguments)))
        median = compare.summary(rows)["median"]
        rate = median and median.get("ops_per_cpu_s")
        point[operation] = 1e6 / rate if rate else None
    return point
