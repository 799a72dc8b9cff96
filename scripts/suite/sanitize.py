"""The suites under the thread or the address sanitizer: `scripts/test --sanitize thread` and `--sanitize address`.

The Swift tests in a debug build, then an optimized server, both with the sanitizer and in a build folder of their own, under
the checks with clients that are worth it. A report of the sanitizer is a failure, whatever the tests say.
"""
import glob
import os
import re

from harness import ROOT

# Folders that .gitignore knows.
FOLDERS = {"thread": ".build-tsan", "address": ".build-asan"}

# Checks that the sanitized server serves: what has most threads, sessions and files in it.
CHECKS = ("load", "durability", "garbage", "golden-client", "kazoo", "kazoo-recipes", "housekeeping")


def environment(kind, reports):
    """Reports go to files, so that those of servers are found too.

    Leaks are looked for by the fuzzer, which lets go of every core: a test, or a server that ends, drops a core with its
    sessions still attached, and session and connection know each other.
    """
    options = ["log_path=" + reports, "halt_on_error=0", "exitcode=66"]
    # The model tests run on one thread, and many times slower: a few seeds of them do.
    variables = {"AVIARY_SEEDS": os.environ.get("AVIARY_SEEDS", "24")}
    if kind == "thread":
        return dict(variables, TSAN_OPTIONS=":".join(options + ["second_deadlock_stack=1", "history_size=4"]))
    return dict(variables, ASAN_OPTIONS=":".join(options + ["detect_leaks=0", "detect_stack_use_after_return=1"]))


def binary(kind):
    return os.path.join(ROOT, FOLDERS[kind], "release", "aviary")


def reports(path):
    """The headline and the first frames in our own code of each report."""
    found = []
    for file in sorted(glob.glob(path + ".*")):
        with open(file, errors="replace") as text:
            for report in re.split(r"^=+$", text.read(), flags=re.M):
                head = re.search(r"^(?:WARNING|==\d+==ERROR): .*$", report, re.M)
                if head:
                    frames = [line.strip() for line in report.splitlines() if re.match(r"\s+#\d+ ", line)]
                    ours = [frame for frame in frames if "/Sources/A" in frame or "/Sources/Z" in frame]
                    found.append("\n    ".join([head.group(0)] + (ours or frames)[:4] + ["in " + file]))
    return found
