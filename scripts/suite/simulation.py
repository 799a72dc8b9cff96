"""Runs the simulator for a while: ensembles and crashes from seeds, the planted faults, and some seeds in two processes.

Called by scripts/test. docs/design/simulation.md says what is simulated; `aviary-sim --seeds N` runs for as long as one likes.
"""
import os
import re
import subprocess

ENSEMBLES, CRASHES = 600, 3000
REPEATED = {"ensemble": 5, "crash": 100}
LIMIT = 170                                                     # seconds for each run


def check(binary, title, arguments, say, wanted=None):
    """Runs aviary-sim; returns whether it was content, after printing what it said if it was not."""
    try:
        done = subprocess.run([binary] + arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=LIMIT)
        code, output = done.returncode, done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        code, output = None, (late.stdout or b"").decode(errors="replace")
    if code == 0 and (wanted is None or wanted(output)):
        last = output.rstrip().splitlines()[-1] if output.strip() else ""
        say("simulation: %s: %s" % (title, last))
        return True
    print("\n".join(output.rstrip().splitlines()[-40:]))
    say("simulation: %s: failed%s" % (title, "" if code is not None else ", not done after %d s" % LIMIT))
    return False


def reached(output):
    """Whether every rare place was come by: a seed is the same run everywhere, so this does not come and go."""
    return not re.search(r"^ +0  ", output, re.M)


def busy(output):
    """As `reached`, and of the writes that clients asked for at least half were done: refusals alone check little."""
    counts = {place: int(count) for count, place in re.findall(r"^ +(\d+)  (.*)$", output, re.M)}
    return reached(output) and 2 * counts.get("writes that were done", 0) >= counts.get("… of these writes", 1)


def repeats(binary, what, say):
    """Whether a seed is the same run in a second process."""
    command = [binary, what, "--hash", "--first", "7001", "--seeds", str(REPEATED[what])]
    told = [re.findall(r"^seed \d+: [0-9a-f]{16}$",
                       subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                      timeout=LIMIT).stdout, re.M) for _ in range(2)]
    good = len(told[0]) == REPEATED[what] and told[0] == told[1]
    say("simulation: %s: %d seeds in two processes: %s" % (
        what, REPEATED[what], "equal" if good else "they differ: %s" % told))
    return good


def run(root, say):
    """The checks with the release executable; returns (passed, failed)."""
    binary = os.path.join(root, ".build", "release", "aviary-sim")
    results = [
        check(binary, "%d ensembles" % ENSEMBLES, ["ensemble", "--seeds", str(ENSEMBLES), "--first", "50001", "--jobs", "2"],
              say, busy),
        check(binary, "%d servers crashed" % CRASHES, ["crash", "--seeds", str(CRASHES), "--first", "50001", "--jobs", "2"],
              say, reached),
        check(binary, "planted faults", ["faults", "--jobs", "2"], say),
        repeats(binary, "ensemble", say),
        repeats(binary, "crash", say),
    ]
    return results.count(True), results.count(False)
