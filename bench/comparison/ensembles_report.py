"""The page about ensembles: what was measured by ensembles.py against the targets, as table and plots."""
import os
import re

import plots
import report
import verdicts
from ensembles import workload_list
from verdicts import CPU, LATENCY, MEMORY, RATE, Row, judged, number, over, value

FAILOVER = "Failover: kill -9 of the leader to the next acknowledged write, ms"
REJOIN = "A member comes back with nothing to a million znodes: p99 of writes to the leader meanwhile, ms"
PLOTS = [("ensemble-ratios.svg", "Three servers of Aviary against three of Apache"), ("ensemble-latency.svg", "Latency, failover, memory")]
RATES = {"set 1KB 32x16": 3}


def pair(servers, key):
    return tuple(value(servers.get(kind), key) or None for kind in ("apache", "aviary"))


def rows(results):
    out = []
    for workload in workload_list():
        found = results.get("workloads", {}).get(workload.name)
        if not found:
            continue
        servers = found["servers"]
        if workload.open_loop:
            for key, share in (("p50_ms", 0.75), ("p99_ms", 1)):
                apache, aviary = pair(servers, key)
                out.append(judged(Row(LATENCY, "%s, %s" % (workload.name, key[:3]), apache, aviary, None, over(aviary, apache),
                                      "≤ %g×" % share if share < 1 else "not above", share), servers))
            continue
        for group, key, times in ((CPU, "ops_per_cpu_s", workload.cpu), (RATE, "ops_per_s", RATES.get(workload.name))):
            apache, aviary = pair(servers, key)
            row = Row(group, workload.name, apache, aviary, None, over(aviary, apache), "≥ %g×" % times if times else "", times, True)
            out.append(judged(row, servers) if times else row)
        if "alone" in servers:
            aviary, alone = value(servers.get("aviary"), "ops_per_cpu_s"), value(servers["alone"], "ops_per_cpu_s")
            row = Row(CPU, workload.name + ", over one standalone server", None, aviary, alone, over(aviary, alone),
                      "as standalone (≥ 0.95×)", 0.95, True, note="standalone: %s" % number(alone))
            row.met = row.ratio is not None and row.ratio >= row.limit
            out.append(row)
    if found := results.get("failover"):
        apache, aviary = pair(found, "write_ms")
        row = Row(FAILOVER, "failover", apache, aviary, None, over(aviary, apache), "≤ 0.25×, < 150", 0.25,
                  note="median of %d; %s" % (len(found["aviary"]["trials"]), "; ".join(
                      "%s %s to %s" % (name, *(number(f([t["write_ms"] for t in found[kind]["trials"] if "write_ms" in t], default=None))
                                               for f in (min, max))) for kind, name in (("apache", "Apache"), ("aviary", "Aviary")))))
        out.append(judged(row, found, (aviary or 1e9) < 150))
    if found := results.get("rejoin"):
        apache, aviary = pair(found, "p99_ms")
        usual = value(found.get("aviary"), "usual_p99_ms")
        row = Row(REJOIN, "rejoin", apache, aviary, usual, over(aviary, usual), "≤ 2× of usual", 2, note="usual: %s and %s; back after %s and %s s" % (
            *(number(v) for v in pair(found, "usual_p99_ms")), *(number(v) for v in pair(found, "seconds"))))
        out.append(judged(row, {"aviary": found.get("aviary")}, not value(found.get("aviary"), "errors")))
    for title, servers in results.get("memory", {}).items():
        apache, aviary = pair(servers, "rss_mb")
        out.append(judged(Row(MEMORY, title, apache, aviary, None, over(aviary, apache), "≤ 0.125×", 0.125), servers))
    return out


def page(results, folder=""):
    """The text of the page, and the rows that missed their target."""
    about, found = results["about"], rows(results)
    judged_rows = [r for r in found if r.target]
    missed = [r for r in judged_rows if not r.met]
    lines = ["# Benchmarks of ensembles", "", "Three servers of Aviary beside three of Apache ZooKeeper 3.9.5 on one machine, in one run. "
             "Written by `scripts/bench --ensemble`; `bench/README.md` says how to read and repeat it.", ""]
    if about["quick"]:
        lines += ["**A quick run: it shows that the benchmark works. Its numbers are not to be quoted.**", ""]
    if "--stand-in" in " ".join(about["arguments"]):
        lines += ["**Apache stands in for Aviary: the ratios show what the benchmark itself adds.**", ""]
    lines += report.machine(about) + ["| an ensemble | three voters on loopback, `initLimit=10`, `syncLimit=5`; CPU and memory are of all three |",
                                      "| a million | stands for %s znodes |" % "{:,}".format(about["nodes"])]
    lines += ["| measured again | `%s` at %s, %s |" % (report.typed(g), g["commit"], g["day"]) for g in about.get("again", [])]
    lines += ["", "**%d of %d targets are met.**" % (len(judged_rows) - len(missed), len(judged_rows)) + (" Missed:" if missed else ""), ""]
    lines += ["- %s (%s): %s, target %s%s" % (r.name, r.group, "%s×" % number(r.ratio) if r.ratio else number(r.aviary), r.target,
                                              "; " + r.note if r.note else "") for r in missed]
    lines += ["- the step `%s` failed: %s" % item for item in results.get("failed", {}).items()]
    lines += [""] + ["![%s](%s%s)" % (title, folder, name) for name, title in PLOTS]
    for group in [g for g in (CPU, RATE, LATENCY, FAILOVER, REJOIN, MEMORY) if any(r.group == g for r in found)]:
        lines += ["", "## " + group, "", "| | Apache | Aviary | ratio | target | | remarks |", "|---|---:|---:|---:|---|---|---|"]
        for r in (r for r in found if r.group == group):
            lines.append("| %s | %s | %s | %s | %s | %s | %s |" % (
                r.name, number(r.apache), number(r.aviary), "**%s×**" % number(r.ratio) if r.ratio else "–", r.target,
                {True: "met", False: "**missed**", None: "undecided" if r.target else "–"}[r.met if r.target else None], r.note))
    return lines + [""], missed


def write(results, directory):
    """Prints the page and writes it with its plots beside the JSON; returns what is missed."""
    lines, missed = page(results)
    with open(os.path.join(directory, "benchmarks-ensemble.md"), "w") as out:
        out.write("\n".join(lines))
    print("\n".join(lines))
    draw(results, directory)
    return missed


def draw(results, directory):
    os.makedirs(directory, exist_ok=True)
    found = rows(results)
    for name, canvas in (("ensemble-ratios", plots.ratios(found, "Three servers of Aviary against three of Apache 3.9.5")),
                         ("ensemble-latency", plots.sizes(found, "Latency, failover and memory of ensembles", (LATENCY, FAILOVER, REJOIN, MEMORY)))):
        canvas.save(os.path.join(directory, name + ".svg"))


def publish(results, root, save):
    """Writes docs/benchmarks-ensemble.md; what people wrote there from the heading "Notes" on stays."""
    target, folder = os.path.join(root, "docs", "benchmarks-ensemble.md"), os.path.join(root, "docs", "benchmarks")
    notes = "## Notes\n"
    if os.path.exists(target):
        with open(target) as old:
            notes = (re.search(r"^## Notes\n.*", old.read(), re.M | re.S) or [notes])[0]
    with open(target, "w") as out:
        out.write("\n".join(page(results, "benchmarks/")[0] + [notes]))
    draw(results, folder)
    save(os.path.join(folder, "ensemble.json"))
