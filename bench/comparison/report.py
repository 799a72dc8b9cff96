"""The table as text: machine, command, what is missed, and the rows of verdicts.py."""
import json
import os
import platform
import re
import subprocess
import time

import verdicts
from contenders import BENCH, ROOT
from verdicts import number

PLOTS = [("ratios.svg", "Aviary against Apache, a server CPU-second and throughput"), ("latency.svg", "Latency"),
         ("footprint.svg", "Memory and start"), ("flatness.svg", "Cost over size")]


def told(*command):
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def disk_of(path):
    """The block device under `path` as /proc/diskstats names it; empty where there is none."""
    number = os.stat(path).st_dev
    link = "/sys/dev/block/%d:%d" % (os.major(number), os.minor(number))
    return os.path.basename(os.path.realpath(link)) if os.path.exists(link) else ""


def arguments(given):
    """The options that matter for the numbers, as they are typed."""
    shown = {"--ensemble": given.ensemble, "--quick": given.quick, "--only": given.only and "'%s'" % given.only, "--rounds": given.rounds, "--seconds": given.seconds,
             "--nodes": given.nodes, "--heap": given.heap != "1000m" and given.heap, "--flat-max": given.flat_max, "--max-foreign": given.max_foreign,
             "--stand-in": given.stand_in}
    return [" ".join([k] + [str(v)] * (v is not True)) for k, v in shown.items() if v]


def typed(run):
    return " ".join(["scripts/bench", *run["arguments"]]).replace("|", "\\|")


def about(bench):
    """The machine, the command and the settings, without anything that names this very machine."""
    with open("/proc/cpuinfo") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    with open("/proc/meminfo") as file:
        memory = int(file.read().split()[1]) / 1048576
    at, kind = "", "unknown"
    with open("/proc/mounts") as file:
        for line in file:
            where, what = line.split()[1:3]
            if (bench.work + "/").startswith(where.rstrip("/") + "/") and len(where) >= len(at):
                at, kind = where, what
    sync = told(os.path.join(BENCH, "fsyncbench"), os.path.join(bench.work, "fsync"), "zeroed", "1024", "1" if bench.quick else "5")
    if os.path.exists(os.path.join(bench.work, "fsync")):
        os.remove(os.path.join(bench.work, "fsync"))
    now = {"commit": told("git", "rev-parse", "--short", "HEAD") + (" and local changes" if told(
        "git", "status", "--porcelain", "--untracked-files=no", "Sources", "Package.swift") else ""),
        "day": time.strftime("%Y-%m-%d"), "arguments": arguments(bench.arguments),
        "cpu": model.group(1) if model else platform.machine(), "cores": os.cpu_count(), "memory_gb": round(memory),
        "kernel": "Linux " + ".".join(platform.release().split(".")[:2]), "filesystem": kind,
        "fsync_p50_us": (re.search(r'"p50_us": (\d+)', sync) or [0, 0])[1],
        "java": (told("java", "-version").splitlines() or [""])[0], "jvm_options": bench.java,
        "swift": (re.search(r"Swift version [0-9.]+", told("swift", "--version")) or [""])[0], "quick": bench.quick,
        "rounds": bench.rounds, "seconds_each": bench.seconds, "nodes": bench.nodes, "seconds": {}}
    if bench.arguments.only and "about" in bench.results:      # a part measured again: the rest keeps its origin
        before = bench.results["about"]
        before.setdefault("again", []).append({k: now[k] for k in ("commit", "day", "arguments", "quick", "rounds", "nodes")})
        return before
    return now


def machine(a):
    """The rows that say where and how the numbers `a` is about came about."""
    return ["| | |", "|---|---|",
            "| command | `%s` |" % typed(a), "| commit, day | %s, %s |" % (a["commit"], a["day"]),
            "| machine | %s, %d cores, %d GB; %s; %s, one durable append of 1 KB takes %s µs (median) |" % (
                a["cpu"], a["cores"], a["memory_gb"], a["kernel"], a["filesystem"], a["fsync_p50_us"]),
            "| Apache 3.9.5 | %s; `%s`, otherwise the JVM's defaults |" % (a["java"], " ".join(a["jvm_options"])),
            "| Aviary | %s, release build, `aviary serve zoo.cfg` |" % a["swift"],
            "| both | the same disk; durability on; `tickTime=2000`, `maxClientCnxns=0`, everything else as it is by default |",
            "| runs | %d round(s) of %g s, alternately; medians. Generator and servers share the cores, so operations per server "
            "CPU-second is the figure to trust |" % (a["rounds"], a["seconds_each"])]


def header(results, rows):
    a = results["about"]
    foreign = [s["median"]["foreign_cores"] for w in results.get("workloads", {}).values() for s in w["servers"].values() if s["median"]]
    judged = [r for r in rows if r.target]
    missed = [r for r in judged if not r.met]
    lines = ["# Benchmarks", "", "Aviary beside Apache ZooKeeper 3.9.5 and beside the floor (`zknull`: the same protocol with canned "
             "answers and no tree; for writes `zknull --log`, which flushes a log before it answers). Written by `scripts/bench`; "
             "`bench/README.md` says how to read and repeat it.", ""]
    if a["quick"]:
        lines += ["**A quick run: it shows that the benchmark works. Its numbers are not to be quoted.**", ""]
    lines += machine(a) + [
        "| a million | stands for %s znodes |" % "{:,}".format(a["nodes"]),
        "| other work on the machine | at most %.2f cores during a median run |" % max(foreign, default=0)]
    lines += ["| measured again | `%s` at %s, %s, %d round(s), %s znodes for a million |" % (
        typed(g), g["commit"], g["day"], g["rounds"], "{:,}".format(g["nodes"])) for g in a.get("again", [])]
    lines += ["", "**%d of %d targets are met.**" % (len(judged) - len(missed), len(judged)) + (" Missed:" if missed else ""), ""]
    lines += ["- %s (%s): %s, target %s%s" % (r.name, r.group, "%s×" % number(r.ratio) if r.ratio else number(r.aviary), r.target,
                                              "; " + r.note if r.note else "") for r in missed]
    lines += ["- the step `%s` failed: %s" % item for item in results.get("failed", {}).items()]
    return lines + [""], missed


def tables(results, rows):
    lines, group = [], None
    for row in sorted(rows, key=lambda r: [verdicts.CPU, verdicts.RATE].index(r.group) if r.group in (verdicts.CPU, verdicts.RATE) else 2):
        if row.group != group:
            group = row.group
            lines += ["", "## " + group, "", "| | Apache | Aviary | ratio | target | | floor | of the floor | remarks |",
                      "|---|---:|---:|---:|---|---|---:|---:|---|"]
        share = verdicts.over(row.aviary, row.floor)
        of_floor = "–" if share is None else "%.0f %%" % (share * 100) if group in (verdicts.CPU, verdicts.RATE) else "%s×" % number(share)
        runs = results.get("workloads", {}).get(row.name, {}).get("servers", {})
        spread = max((s["spread"] for k, s in runs.items() if k in ("apache", "aviary")), default=0)
        note = "; ".join([row.note] * bool(row.note) + ["±%.0f %%" % (spread * 50)] * (group == verdicts.RATE and spread > 0))
        lines.append("| %s | %s | %s | %s | %s | %s | %s | %s | %s |" % (
            row.name, number(row.apache), number(row.aviary), "**%s×**" % number(row.ratio) if row.ratio else "–", row.target,
            {True: "met", False: "**missed**", None: "–" if not row.target else "undecided"}[row.met if row.target else None],
            number(row.floor), of_floor, note))
    return lines + [""]


def write(results, directory):
    """Prints the table and writes it beside the JSON; returns what is missed."""
    rows = verdicts.rows(results)
    lines, missed = header(results, rows)
    text = "\n".join(lines + pictures("") + tables(results, rows))
    with open(os.path.join(directory, "benchmarks.md"), "w") as out:
        out.write(text)
    print(text)
    return missed


def pictures(folder):
    return ["![%s](%s%s)" % (title, folder, name) for name, title in PLOTS]


def publish(results, root):
    """Writes docs/benchmarks.md; what people wrote there from the heading "Notes" on stays."""
    target, rows = os.path.join(root, "docs", "benchmarks.md"), verdicts.rows(results)
    notes = "## Notes\n"
    if os.path.exists(target):
        with open(target) as old:
            notes = (re.search(r"^## Notes\n.*", old.read(), re.M | re.S) or [notes])[0]
    with open(target, "w") as out:
        out.write("\n".join(header(results, rows)[0] + pictures("benchmarks/") + tables(results, rows) + [notes]))
    os.makedirs(os.path.join(root, "docs", "benchmarks"), exist_ok=True)
    with open(os.path.join(root, "docs", "benchmarks", "results.json"), "w") as out:
        json.dump(results, out, indent=1)
