"""Runs the test suite: the release build, the Swift tests, a little fuzzing, then the checks with real clients of Tests/Clients.

Called by scripts/test, whose first lines say how.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import needs  # noqa: E402
import sanitize  # noqa: E402
import simulation  # noqa: E402
from harness import BINARY, ROOT  # noqa: E402

# What tests pure targets: test targets, and the suite of AviaryEnsemble, which has no test target of its own.
PURE_TESTS = [
    "ZooKeeperProtocolTests", "ZabTests", "AviaryStorageTests", "AviaryCoreTests", "AviarySimulationTests", "TidyTests",
    "AviaryServerTests.KnownConfigurationsTests",
]
CLIENTS = os.path.join(ROOT, "Tests", "Clients")
FUZZ_SECONDS = 3


class ClientCheck:
    """One script of Tests/Clients: its name, what it needs from outside, and the seconds after which it is ended."""

    def __init__(self, name, script, needs=(), limit=300):
        self.name, self.script, self.needs, self.limit = name, script, needs, limit


# The longest first: two run at a time.
CHECKS = [
    ClientCheck("ensemble", "ensemble.py", ["kazoo"], limit=600),
    ClientCheck("interop", "interop.py", ["kazoo", "jdk", "jars"], limit=400),
    ClientCheck("interop-reconfig", "interop_reconfig.py", ["kazoo", "jdk", "jars"], limit=500),
    ClientCheck("ensemble-reconfig", "ensemble_reconfig.py", ["kazoo"], limit=400),
    ClientCheck("ensemble-faults", "ensemble_faults.py", ["kazoo", "jdk", "jars"], limit=500),
    ClientCheck("files", "files.py", ["jdk", "jars", "zkcli"]),
    ClientCheck("dev", "dev.py", ["kazoo"]),
    ClientCheck("limits", "limits.py"),
    ClientCheck("abuse", "abuse.py"),
    ClientCheck("start-trouble", "start_trouble.py"),
    ClientCheck("durability", "durability.py"),
    ClientCheck("housekeeping", "housekeeping.py", ["jdk", "jars"]),
    ClientCheck("differential", "differential.py", ["jdk", "jars"]),
    ClientCheck("golden-client", "golden_client.py"),
    ClientCheck("golden-disk", "golden_disk.py"),
    ClientCheck("curator", "curator.py", ["jdk", "jars"]),
    ClientCheck("zkcli", "zkcli.py", ["zkcli", "jdk", "jars"]),
    ClientCheck("kazoo", "kazoo_operations.py", ["kazoo"]),
    ClientCheck("kazoo-recipes", "kazoo_recipes.py", ["kazoo"]),
    ClientCheck("readme", "readme.py", ["kazoo", "zkcli", "jdk"]),
    ClientCheck("c-client", "c_client.py", ["gcc", "libzookeeper", "cli_mt"]),
    ClientCheck("garbage", "garbage.py"),
]
# Run only when they are named. `load` is for --sanitize: it measures nothing and compares nothing.
OPT_IN = [
    ClientCheck("load", "load.py", ["gcc"], limit=900),
    ClientCheck("ensemble-long", "ensemble_long.py", ["kazoo", "jdk", "jars"], limit=600),
    ClientCheck("reconfig-long", "reconfig_long.py", ["kazoo"], limit=600),
]


class Totals:
    """What is told in the last line."""

    def __init__(self):
        self.passed, self.failed, self.left_out = 0, 0, []

    def add(self, passed, failed):
        self.passed += passed
        self.failed += failed

    def line(self):
        return "%d passed, %d failed" % (self.passed, self.failed) + (
            ", %d left out" % len(self.left_out) if self.left_out else "")


OUTPUT = threading.Lock()


def say(text):
    with OUTPUT:
        print("== " + text, flush=True)


def swift(arguments, log, title):
    """Runs swift with its output in `log`; returns its exit code and what it printed."""
    say(title)
    with open(log, "w", errors="replace") as out:
        code = subprocess.run(["swift"] + arguments, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out,
                              stderr=subprocess.STDOUT).returncode
    with open(log, errors="replace") as text:
        return code, text.read()


def build(work, totals, options=()):
    start = time.monotonic()
    code, text = swift(["build", "-c", "release", "--product", "aviary"] + list(options), os.path.join(work, "build.log"),
                       "building the release executable")
    if code:
        totals.add(0, 1)
        print(tail(text, 40))
        say("build: failed")
    else:
        say("build: done (%d s)" % (time.monotonic() - start))
    return code == 0


def swift_tests(work, totals, pure=False, options=()):
    """Runs `swift test`, all of it or the pure targets, and counts its tests; `options` are for build and test."""
    title = "swift tests" + (" of the pure targets" if pure else "")
    start = time.monotonic()
    arguments, clock = ["build", "--build-tests"] + list(options), time.monotonic()
    code, text = swift(arguments, os.path.join(work, "build-tests.log"), "building the Swift tests")
    if code:
        totals.add(0, 1)
        print(tail(text, 40))
        say("%s: do not build" % title)
        return
    say("building the Swift tests: done (%d s)" % (time.monotonic() - clock))
    arguments, clock = ["test", "--skip-build"] + list(options), time.monotonic()
    if pure:
        arguments += ["--filter", "^(%s)[./]" % "|".join(PURE_TESTS)]
    code, text = swift(arguments, os.path.join(work, "swift-test.log"), title)
    passed, failed = count_swift_tests(text)
    if code and not failed:
        failed = 1                                             # a test process that died tells no totals
    if not code and not passed:
        failed += 1
        print("no Swift test ran")
    if failed:
        print("\n".join(line for line in text.splitlines() if re.match(r"\s*(✘|↳|\[FAIL\]|\*\*\* |error:|Fatal)", line))
              or tail(text, 40))
    totals.add(passed, failed)
    say("%s: %d passed, %d failed (%d s)" % (title, passed, failed, time.monotonic() - clock))


def count_swift_tests(text):
    """Passed and failed tests in what Swift Testing printed (test functions, not suites)."""
    total = sum(int(n) for n in re.findall(r"Test run with (\d+) tests?\b", text))
    failed = len(re.findall(r"^\S+ +Test (?!run with |case )[^\n]* failed after ", text, re.M))
    skipped = len(re.findall(r"^\S+ +Test (?!run with |case )[^\n]* skipped", text, re.M))
    return max(total - failed - skipped, 0), failed


def tail(text, lines):
    return "\n".join(text.rstrip().splitlines()[-lines:])


def run_check(check, work, keep, more=()):
    """Runs one check to its end or its limit, `more` being arguments of its own; returns (passed, failed)."""
    directory = os.path.join(work, check.name)
    os.makedirs(directory, exist_ok=True)
    command = [sys.executable, os.path.join(CLIENTS, check.script), "--server", "aviary",
               "--work", os.path.join(directory, "work")] + (["--keep"] if keep else []) + list(more)
    start, log = time.monotonic(), os.path.join(directory, "output")
    with open(log, "w") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        try:
            process.wait(check.limit)
            late = False
        except subprocess.TimeoutExpired:
            late = True
            process.send_signal(signal.SIGTERM)                 # the check ends its servers and tells its totals
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)          # the group this runner gave it
                process.wait()
    with open(log, errors="replace") as text:
        output = text.read()
    found = re.findall(r"^(\d+) passed, (\d+) failed", output, re.M)
    passed, failed = (int(found[-1][0]), int(found[-1][1])) if found else (0, 1)
    if (process.returncode or late) and not failed:
        failed = 1
    with OUTPUT:
        if failed:
            print("\n".join(line for line in output.splitlines() if not line.startswith("ok "))
                  + ("\n  ended after its limit of %d s" % check.limit if late else "")
                  + ("" if found else "\n  the check told no totals; exit code %s" % process.returncode))
        else:
            told = [line for line in output.splitlines() if line.startswith("     " if more else "     seed ")]
            print("\n".join(told), end="\n" if told else "")
        print("== %s: %d passed, %d failed (%d s)%s" % (check.name, passed, failed, time.monotonic() - start,
                                                       "; files: " + directory if failed or keep else ""), flush=True)
    return passed, failed


def fuzz(totals):
    """A few seconds of each fuzz target (Fuzzing/); `scripts/fuzz` runs them for longer."""
    start = time.monotonic()
    say("fuzzing, %d s a target" % FUZZ_SECONDS)
    done = subprocess.run([sys.executable, os.path.join(ROOT, "scripts", "suite", "fuzz.py"), "--short", "--seconds",
                           str(FUZZ_SECONDS)], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace")
    lines = done.stdout.rstrip().splitlines()
    found = re.match(r"(\d+) passed, (\d+) failed(, 1 left out)?$", lines[-1] if lines else "")
    passed, failed = (int(found.group(1)), int(found.group(2))) if found else (0, 1)
    print("\n".join(lines[:-1] if found else lines + [tail(done.stderr, 20)]), flush=True)
    totals.add(passed, failed or int(done.returncode != 0))
    if found and found.group(3):
        totals.left_out.append("fuzz")
    say("fuzzing: %d passed, %d failed (%d s)" % (passed, failed, time.monotonic() - start))


def simulate(work, totals):
    """Some hundred seeds of the simulator, and its planted faults (scripts/suite/simulation.py)."""
    start = time.monotonic()
    code, text = swift(["build", "-c", "release", "--product", "aviary-sim"], os.path.join(work, "build-simulator.log"),
                       "building the simulator")
    if code:
        totals.add(0, 1)
        print(tail(text, 40))
        return say("simulation: does not build")
    clock = time.monotonic()
    say("building the simulator: done (%d s)" % (clock - start))
    passed, failed = simulation.run(ROOT, say)
    totals.add(passed, failed)
    say("simulation: %d passed, %d failed (%d s)" % (passed, failed, time.monotonic() - clock))


def run_checks(checks, work, totals, keep, jobs, more):
    missing = needs.provide({n for c in checks for n in c.needs}, say)
    runnable = []
    for check in checks:
        lacking = [missing[n] for n in check.needs if n in missing]
        if lacking:
            totals.left_out.append(check.name)
            say("%s: left out, for want of %s" % (check.name, "; ".join(lacking)))
        else:
            runnable.append(check)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for passed, failed in pool.map(lambda c: run_check(c, work, keep, more.get(c.name, ())), runnable):
            totals.add(passed, failed)


def sanitized(kind, work, totals, arguments, more):
    """The Swift tests and some checks under a sanitizer; its reports are failures."""
    path = os.path.join(work, "report")
    os.environ.update(sanitize.environment(kind, path))
    os.environ["AVIARY_BINARY"] = sanitize.binary(kind)
    options = ["--sanitize=" + kind, "--scratch-path", sanitize.FOLDERS[kind]]
    if not arguments.only or "swift" in arguments.only:
        swift_tests(work, totals, options=options)
    chosen = [check for check in CHECKS + OPT_IN if check.name in (arguments.only or sanitize.CHECKS)]
    for check in chosen:
        check.limit *= 4
    if chosen and (arguments.no_build or build(work, totals, options)):
        run_checks(chosen, work, totals, arguments.keep, 1, more)
    found = sanitize.reports(path)
    print("\n".join(found), end="\n" if found else "")
    totals.add(0, len(found))
    say("%s sanitizer: %d reports" % (kind, len(found)))


def main():
    steps = ["swift", "fuzz", "simulation"] + [c.name for c in CHECKS + OPT_IN]
    parser = argparse.ArgumentParser(prog="scripts/test", description="The tests of Aviary.")
    parser.add_argument("--quick", action="store_true", help="the pure Swift tests alone")
    parser.add_argument("--only", action="append", metavar="NAME", help="one step or check; repeatable")
    parser.add_argument("--list", action="store_true", help="name the steps and checks")
    parser.add_argument("--keep", action="store_true", help="keep the work directories")
    parser.add_argument("--no-build", action="store_true", help="take the release executable as it is")
    parser.add_argument("--sanitize", choices=sorted(sanitize.FOLDERS), help="tests and some checks under a sanitizer")
    parser.add_argument("--kills", type=int, metavar="N", help="how often durability kills the server")
    parser.add_argument("--minutes", type=float, metavar="N", help="how long ensemble-long or reconfig-long goes on")
    parser.add_argument("--jobs", type=int, default=2, help="client checks at a time (default 2)")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(steps))
        return 0
    for name in arguments.only or []:
        if name not in steps:
            parser.error("no step or check is called %s; there are: %s" % (name, ", ".join(steps)))

    start, totals = time.monotonic(), Totals()
    work, more = tempfile.mkdtemp(prefix="aviary-test-"), {}
    if arguments.kills:
        more["durability"] = ["--kills", str(arguments.kills)]
        for check in CHECKS:
            if check.name == "durability":
                check.limit += 10 * arguments.kills
    if arguments.minutes:
        for check in OPT_IN:
            if check.name in ("ensemble-long", "reconfig-long"):
                more[check.name] = ["--minutes", str(arguments.minutes)]
                check.limit += round(60 * arguments.minutes)
    chosen = [c for c in CHECKS + OPT_IN if c.name in arguments.only] if arguments.only else CHECKS
    if arguments.sanitize:
        sanitized(arguments.sanitize, work, totals, arguments, more)
    elif arguments.quick:
        swift_tests(work, totals, pure=True)
    else:
        built = True
        if chosen and not arguments.no_build:
            built = build(work, totals)
        if not arguments.only or "swift" in arguments.only:
            swift_tests(work, totals)
        if not arguments.only or "fuzz" in arguments.only:
            fuzz(totals)
        if not arguments.only or "simulation" in arguments.only:
            simulate(work, totals)
        if chosen and built and os.path.exists(BINARY):
            run_checks(chosen, work, totals, arguments.keep, max(1, arguments.jobs), more)
        elif chosen:
            totals.left_out += [c.name for c in chosen]
            say("left out, for want of an executable: " + ", ".join(c.name for c in chosen))
    if totals.left_out and os.environ.get("CI") == "true":
        say("with CI=true nothing may be left out: " + ", ".join(totals.left_out))
        totals.failed += len(totals.left_out)
    if arguments.keep or totals.failed:
        say("work directory: " + work)
    else:
        shutil.rmtree(work, ignore_errors=True)
    say("took %d s" % (time.monotonic() - start))
    print(totals.line(), flush=True)
    return 1 if totals.failed else 0


if __name__ == "__main__":
    sys.exit(main())
