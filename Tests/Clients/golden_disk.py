"""Opens every golden data directory of Tests/Golden/disk and compares the tree, node by node; damaged ones must be refused."""
import os
import re
import subprocess
import sys

from harness import GOLDEN, Check, Server, free_port

COMPARER = os.path.join(GOLDEN, "disk", "check.py")


def main():
    with Check("golden-disk") as check:
        command = Server(check.kind, check.work).command()
        run = " ".join("'%s'" % word for word in command[:-1]) + " {cfg}"
        arguments = [sys.executable, COMPARER, "--run", run, "--port", str(free_port())]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            for line in process.stdout:
                line = line.rstrip("\n")
                found = re.match(r"(ok  |FAIL) (.*)", line)
                if found and found.group(1) == "FAIL":
                    name, _, why = found.group(2).partition(": ")
                    check.fail(name, why)
                elif found:
                    check.ok(found.group(2))
                elif line.startswith("  ") or check.failed:
                    check.say("    " + line.strip()[:1500])
            if process.wait(10) and not check.failed:
                check.fail("the comparer", "exit code %d" % process.returncode)


if __name__ == "__main__":
    main()
