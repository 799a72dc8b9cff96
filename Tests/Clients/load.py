"""The load generator of bench/ against one server: reads, writes, multis, watches, sessions that come and go, while snapshots
are written, old files removed and all four-letter words asked. Nothing is measured: it is what the server does under a
sanitizer that counts (scripts/test --sanitize). Every answer must be the right one all the same; zkload checks them.

`--seconds N` for each kind of work (default 5).
"""
import os
import subprocess
import threading
import time

import wire
from harness import ROOT, Check, equal

WORDS = ("conf", "cons", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok", "srvr", "stat", "wchc", "wchp",
         "wchs")

# What zkload is told, besides where and how long.
WORK = [
    ["--op", "mixed", "--read-pct", "50", "--conns", "16", "--pipeline", "8", "--size", "1000"],
    ["--op", "get", "--watch", "--conns", "32", "--pipeline", "16"],
    ["--op", "create", "--conns", "16", "--pipeline", "4"],
    ["--op", "create-seq", "--conns", "16", "--pipeline", "4"],
    ["--op", "delete", "--conns", "8", "--pipeline", "4"],
    ["--op", "multi", "--conns", "8", "--pipeline", "2"],
    ["--op", "children2", "--conns", "8", "--children", "500"],
    ["--op", "sync", "--conns", "8"],
    ["--watch-fanout", "200", "--rounds", "20"],
    ["--connect-storm", "0", "--storm-get", "--conns", "16"],
    ["--idle-conns", "200", "--op", "set", "--conns", "8", "--session-timeout", "6000"],
]


def options(parser):
    parser.add_argument("--seconds", type=int, default=5, help="for each kind of work (default 5)")


def main():
    with Check("load", options) as check:
        zkload = os.path.join(check.work, "zkload")
        with check.case("zkload compiles"):
            subprocess.run(["cc", "-std=c11", "-O2", "-o", zkload, os.path.join(ROOT, "bench", "zkload.c"), "-lpthread",
                            "-lm"], check=True)
        server = check.server(configuration={"snapCount": "2000", "preAllocSize": "1024",
                                             "snapshot.compression.method": "snappy"}).start()
        stop, asked = threading.Event(), [0]

        def ask():
            while not stop.is_set():
                for word in WORDS:
                    wire.four_letter_word(server.port, word, 30)
                    asked[0] += 1
                time.sleep(0.2)

        def work():
            try:
                for arguments in WORK:
                    with check.case("zkload " + " ".join(arguments)):
                        done = subprocess.run([zkload, "--hosts", "127.0.0.1:%d" % server.port, "--warmup", "0", "--nodes",
                                               "500", "--seconds", str(check.arguments.seconds)] + arguments,
                                              capture_output=True, text=True, timeout=120 + 10 * check.arguments.seconds)
                        equal(0, done.returncode, (done.stdout + done.stderr)[-600:])
            finally:
                stop.set()

        check.together(work, ask)
        check.say("     %d four-letter words answered" % asked[0])
        with check.case("the tree is as it was prepared"):
            equal("0", wire.mntr(server.port).get("digest_mismatches_count"))
        with check.case("an orderly end"):
            equal(0, server.stop(60))


if __name__ == "__main__":
    main()
