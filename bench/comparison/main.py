"""Runs the comparison of Aviary with Apache 3.9.5 and writes its table. Called by scripts/bench, whose first lines say how."""
import argparse
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import contenders  # noqa: E402  (first: it extends the search path)
import compare  # noqa: E402
import ensembles  # noqa: E402
import ensembles_report  # noqa: E402
import flatness  # noqa: E402
import hostile  # noqa: E402
import life  # noqa: E402
import plots  # noqa: E402
import report  # noqa: E402
import workloads  # noqa: E402

ROOT = contenders.ROOT
STEPS = [("workloads", workloads.run), ("startup", life.startup), ("memory", life.memory), ("snapshot", life.snapshot_gap),
         ("flatness", flatness.run), ("hostile", hostile.run)]
OTHER_NAMES = ["start empty", "start 1M", "memory idle", "memory 1M", "memory 10k sessions", "snapshot gap", "flat znodes",
               "flat connections", "flat watches", "hostile clients"]


class Bench:
    """What every step needs: how long and how often, where, and the results so far."""

    def __init__(self, arguments):
        self.arguments, self.quick = arguments, arguments.quick
        self.rounds = arguments.rounds or (1 if self.quick else 3)
        self.seconds, self.warmup, self.prewarm = (2, 0.5, 4) if self.quick else (8, 2, 20)
        self.seconds = arguments.seconds or self.seconds
        self.nodes = arguments.nodes or (100_000 if self.quick else 1_000_000)
        self.flat_max = arguments.flat_max or (100_000 if self.quick else 10_000_000)
        self.work, self.out = os.path.abspath(arguments.work), os.path.abspath(arguments.out)
        self.binary = os.path.abspath(arguments.binary or os.path.join(ROOT, ".build", "release", "aviary"))
        self.java = ["-Xmx" + arguments.heap]
        os.makedirs(self.work, exist_ok=True)
        os.makedirs(self.out, exist_ok=True)
        self.options = compare.parser().parse_args(
            ["--server", "none", "--seconds", str(self.seconds), "--warmup", str(self.warmup)]
            + (["--max-foreign", str(arguments.max_foreign)] if arguments.max_foreign else [])
            + (["--disk", disk] if (disk := report.disk_of(self.work)) else []))
        self.results = {}
        self.name = "ensemble" if arguments.ensemble else "results"
        kept = os.path.join(self.out, self.name + ".json")
        if (arguments.only or arguments.report) and os.path.exists(kept):
            with open(kept) as file:                           # what is measured now replaces only its own rows
                self.results = json.load(file)

    def wants(self, name):
        return not self.arguments.only or re.search(self.arguments.only, name)

    def save(self, step, more=None):
        """Writes the results so far, and `more` as files of their own."""
        for name, value in {self.name: self.results, **(more or {})}.items():
            dump(value, os.path.join(self.out, name + ".json"))

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def beside(self, function):
        """Runs `function` on a thread; the caller joins it."""
        thread = threading.Thread(target=function, daemon=True)
        thread.start()
        return thread


def dump(value, path):
    with open(path, "w") as out:
        json.dump(value, out, indent=1)


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--ensemble", action="store_true", help="three servers of each instead of one; a page of its own")
    parser.add_argument("--stand-in", choices=("apache",), help="with --ensemble: run this in Aviary's place, to see what the benchmark adds")
    parser.add_argument("--quick", action="store_true", help="a few seconds a workload, 100,000 znodes for a million, one round")
    parser.add_argument("--only", metavar="REGEX", help="only rows whose name matches (--list); other rows of OUT stay as they are")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--rounds", type=int, help="how often each workload runs on each server (3)")
    parser.add_argument("--out", default=os.path.join(contenders.BENCH, "results"), help="where JSON, table and plots go (bench/results)")
    parser.add_argument("--work", default=os.path.join(ROOT, ".build", "bench"), help="where the servers keep their data (.build/bench)")
    parser.add_argument("--binary", help="take this executable of Aviary instead of building one")
    parser.add_argument("--heap", default="1000m", help="heap of Apache's JVM (1000m, as its own script gives it)")
    parser.add_argument("--seconds", type=float, help="measured time of each run (8)")
    parser.add_argument("--nodes", type=int, help="znodes where a row says a million")
    parser.add_argument("--flat-max", type=int, help="most znodes of the flatness rows (10,000,000)")
    parser.add_argument("--max-foreign", type=float, help="repeat a run when other work used more than this many cores")
    parser.add_argument("--report", action="store_true", help="only draw table and plots again from OUT")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md though the run is quick or partial")
    return parser.parse_args()


def measure_all(bench):
    trouble = contenders.prepare(bench)
    if trouble:
        sys.exit("scripts/bench cannot run here: " + trouble)
    bench.results["about"] = report.about(bench)
    failed = bench.results.setdefault("failed", {})
    for name, step in ensembles.STEPS if bench.arguments.ensemble else STEPS:
        start, before = time.monotonic(), failed.pop(name, None)
        try:
            step(bench)
        except Exception as error:                             # one step that fails must not cost the others
            traceback.print_exc()
            failed[name] = "%s: %s" % (type(error).__name__, str(error).splitlines()[0] if str(error) else "")
        seconds = time.monotonic() - start
        if seconds < 1 and before and name not in failed:      # nothing of it was asked for now
            failed[name] = before
        if seconds > 1:
            if not bench.arguments.only:
                bench.results["about"]["seconds"][name] = round(seconds)
            print("== %s: %d s" % (name, seconds), file=sys.stderr, flush=True)
        bench.save(name)
    shutil.rmtree(os.path.join(bench.work, "servers"), ignore_errors=True)


def main():
    arguments = parse()
    if arguments.list:
        print("\n".join([w.name for w in (ensembles.workload_list() if arguments.ensemble else workloads.workloads(False))]
                        + (ensembles.OTHER_NAMES if arguments.ensemble else OTHER_NAMES)))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))    # the servers are ended on the way out
    bench = Bench(arguments)
    if not arguments.report:
        measure_all(bench)
    elif not bench.results:
        sys.exit("nothing was measured in " + arguments.out)
    publish = arguments.docs or not (arguments.quick or arguments.only or arguments.report or arguments.stand_in)
    if arguments.ensemble:
        missed = ensembles_report.write(bench.results, bench.out)
        if publish:
            ensembles_report.publish(bench.results, ROOT, lambda path: dump(bench.results, path))
        return 1 if missed or bench.results.get("failed") else 0
    missed = report.write(bench.results, bench.out)
    plots.write(bench.results, bench.out)
    if publish:
        report.publish(bench.results, ROOT)
        plots.write(bench.results, os.path.join(ROOT, "docs", "benchmarks"))
    return 1 if missed or bench.results.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
