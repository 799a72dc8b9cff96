"""The measured results against the targets of the table: one row for each promise, met or missed."""
from workloads import workloads

CPU, RATE, LATENCY, START, MEMORY, STALL, FLAT, HOSTILE = (
    "Operations per server CPU-second", "Operations per second", "Latency in the open loop, ms",
    "Start: process to first reply, ms", "Resident memory, MB", "Longest gap between two replies while a snapshot is written, ms",
    "Cost of one operation: dearest over cheapest point of the range", "A good client beside hostile ones: p99, ms")


class Row:
    """`ratio` is what the target is stated in; `limit` the number it must reach (`more`) or stay below. None: not stated."""

    def __init__(self, group, name, apache, aviary, floor, ratio, target, limit=None, more=False, met=None, note=""):
        self.group, self.name, self.apache, self.aviary, self.floor = group, name, apache, aviary, floor
        self.ratio, self.target, self.limit, self.more, self.met, self.note = ratio, target, limit, more, met, note


def rows(results):
    out = []
    for workload in workloads(False):
        if found := results.get("workloads", {}).get(workload.name):
            out += open_loop(workload, found) if workload.open_loop else closed_loop(workload, found)
    starts, sizes = results.get("startup", {}), results.get("memory", {})
    for name, times, limit in (("start empty", 20, 50), ("start 1M", 5, None)):
        if name in starts:
            apache, aviary, floor = values(starts[name], "read_ms", "zknull")
            out.append(judged(Row(START, name, apache, aviary, floor, over(apache, aviary), "≥ %g× faster%s" % (
                times, ", < %d" % limit if limit else ""), times, True), starts[name], limit is None or (aviary or 1e9) < limit))
    for name, share, floor in (("memory idle", None, "zknull"), ("memory 1M", 0.25, "memfloor"),
                               ("memory 10k sessions", 0.25, "zknull")):
        if name in sizes:
            apache, aviary, least = values(sizes[name], "rss_mb", floor)
            row = Row(MEMORY, name, apache, aviary, least, over(aviary, apache), "≤ 0.25×" if share else "< 16", share)
            if name == "memory 1M":
                row.note = "after writing them: %s and %s MB" % tuple(
                    number(v) for v in values(sizes[name], "written_mb", "")[:2])
            out.append(judged(row, sizes[name], share is not None or (aviary or 1e9) < 16))
    if gaps := results.get("snapshot"):
        apache, aviary, floor = values(gaps, "gap_ms", "zknull")
        out.append(judged(Row(STALL, "snapshot gap", apache, aviary, floor, over(aviary, apache), "< 20"), gaps,
                          (aviary or 1e9) < 20))
    out += flat(results.get("flatness", {}))
    if "hostile" in results:
        out.append(hostile(results["hostile"]))
    return out


def hostile(found):
    """The floor is the p99 of the same load on the same server while the same hostile clients, at the same rate, attack another
    server of this machine: what they cost the generator and the processors is in both."""
    alone, elsewhere, beside = (value(found.get(how), "p99_ms") for how in ("alone", "elsewhere", "beside"))
    attacks = [value(found.get(how), "attacks") or 0 for how in ("elsewhere", "beside")]
    wrong = sum(value(found.get("beside"), key) or 0 for key in ("lost", "errors"))
    row = Row(HOSTILE, "hostile clients", None, beside, elsewhere, over(beside, elsewhere),
              "≤ 2× of elsewhere", 2, note="the floor: the same clients attack another server of the machine; alone %s ms (%s×); attacks "
              "elsewhere and here: %.0f, %.0f; wrong or lost answers: %d; peak memory %.0f MB" % (
                  number(alone), number(over(beside, alone)), *attacks, wrong, value(found.get("beside"), "rss_mb") or 0))
    # A server that holds the attackers up would look good otherwise.
    row.met = row.ratio is not None and row.ratio <= 2 and not wrong and attacks[1] >= 0.8 * attacks[0]
    return row


def closed_loop(workload, found):
    out, least = [], 0.95 if workload.disk else 1
    apache, aviary, floor = values(found["servers"], "ops_per_cpu_s", found["floor"])
    out.append(Row(CPU, workload.name, apache, aviary, floor, over(aviary, apache), "≥ %g×" % workload.cpu, workload.cpu, True))
    apache, aviary, floor = values(found["servers"], "ops_per_s", found["floor"])
    out.append(Row(RATE, workload.name, apache, aviary, floor, over(aviary, apache),
                   "not behind" if workload.disk else "ahead", least, True))
    cores = value(found["servers"].get("aviary"), "client_cores")
    if cores and cores > 0.9:
        out[-1].note = "the generator was the limit (%.2f cores)" % cores
    return [judged(row, found["servers"]) for row in out]


def open_loop(workload, found):
    out = []
    for key, share in (("p50_ms", 0.7), ("p99_ms", 0.5), ("p99_9_ms", None)):
        apache, aviary, floor = values(found["servers"], key, found["floor"])
        name = "%s, %s" % (workload.name, key[:-3].replace("_", "."))
        row = Row(LATENCY, name, apache, aviary, floor, over(aviary, apache), "")
        if workload.writes and share:
            row.target, row.limit, row.note = "≤ 1.2× of the floor, ≤ Apache's", 1, "%s× of the floor" % number(over(aviary, floor))
            judged(row, found["servers"], None not in (aviary, floor) and aviary <= 1.2 * floor)
        elif share:
            row.target, row.limit = "≤ %g×" % share, share
            judged(row, found["servers"])
        out.append(row)
    return out


def flat(ranges):
    out = []
    for title, points in ranges.items():
        for operation in ("get", "set", "create"):
            costs = [p[operation] for p in points if p.get(operation)]
            spread = max(costs) / min(costs) if costs else None
            floors = [p["floor"][operation] for p in points if p.get("floor", {}).get(operation)]
            complete = len(costs) == len(points) > 1
            name = "%s, %s to %s %s" % (operation, *("{:,}".format(points[i]["at"]) for i in (0, -1)), title.split()[1]) \
                if points else title
            out.append(Row(FLAT, name, None, None, max(floors) / min(floors) if floors else None, spread, "≤ 2×", 2, met=complete and spread <= 2,
                           note="µs: " + ", ".join("%.2f" % c for c in costs) + ("" if complete else "; incomplete")))
    return out


def judged(row, servers, also=True):
    """Sets `met`; what failed is a miss if it is ours, and undecided if it is the others'."""
    ours = (servers.get("aviary") or {}).get("failed") or []
    if row.aviary is None:
        row.met, row.note = False, "failed: " + "; ".join(sorted(set(ours)) or ["nothing was answered in the measured time"])
    elif row.ratio is None and row.limit is not None:
        row.met, row.note = None, "Apache failed: " + "; ".join(sorted(set((servers.get("apache") or {}).get("failed") or [])))
    else:
        reached = row.limit is None or (row.ratio >= row.limit if row.more else row.ratio <= row.limit)
        errors = (value(servers.get("aviary"), "errors") or 0) + (value(servers.get("aviary"), "lost") or 0)
        row.met = bool(reached and also and not errors)
        failures = ["%d of its runs failed" % len(ours)] * bool(ours) + ["%d errors" % errors] * bool(errors)
        row.note = "; ".join([row.note] * bool(row.note) + failures)
    return row


def value(server, key):
    return (server or {}).get("median") and server["median"].get(key)


def values(servers, key, floor):
    return tuple(value(servers.get(kind), key) or None for kind in ("apache", "aviary", floor))


def over(a, b):
    return a / b if a is not None and b else None


def number(x):
    if x is None:
        return "–"
    return "{:,.0f}".format(x) if x >= 100 else "%.1f" % x if x >= 10 else "%.2f" % x if x >= 0.1 else "%.3f" % x
