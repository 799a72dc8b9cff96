"""Replays the golden client transcripts of Tests/Golden/client, byte for byte: the profiles base, noext and enforce-auth, each
on a server of its own with a fresh data directory; local-sessions on a follower of three, read-only on the last one of three. Two transcripts depend on the technology of the server; what must hold of
their words, envi and mntr, on any server is checked here instead.
"""
import glob
import json
import os
import re
import subprocess
import sys

import wire
from ensemble_servers import Ensemble
from harness import GOLDEN, Check, equal, expect, wait_until

REPLAYER = os.path.join(GOLDEN, "client", "replay.py")
PROFILES = {
    "base": {},
    "noext": {"extendedTypesEnabled": "false", "enforceQuota": "false", "reconfigEnabled": "true",
              "4lw.commands.whitelist": "srvr"},
    "enforce-auth": {"enforce.auth.enabled": "true", "enforce.auth.schemes": "digest"},
}
# Of ensembles of three.
LOCAL_SESSIONS = {"localSessionsEnabled": "true", "localSessionsUpgradingEnabled": "false", "tickTime": "1000", "initLimit": "10",
                  "syncLimit": "5"}
ENSEMBLES = {"local-sessions": LOCAL_SESSIONS, "read-only": {**LOCAL_SESSIONS, "readonlymode.enabled": "true"}}
# Of the transcripts tagged "informative" these hold lines of a Java server.
OF_JAVA = ("4lw-envi", "4lw-mntr-all-metrics")


def transcripts():
    for file in sorted(glob.glob(os.path.join(GOLDEN, "client", "*.jsonl"))):
        with open(file, encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    yield json.loads(line), line


def follower(check, profile):
    """The server of an ensemble that the transcripts of `profile` are for."""
    ensemble = Ensemble(check, 3, settings=ENSEMBLES[profile], links=False, name=profile)
    ensemble.start()
    chosen = ensemble.followers[0]
    if profile == "read-only":
        connection = chosen.connect()
        connection.create("/ro-node", b"x")
        connection.close()
        # The leader last: with a server left to elect another one, there would be one more epoch.
        leader = ensemble.leader
        for member in sorted((m for m in ensemble if m is not chosen), key=lambda m: m is leader):
            member.stop()
        wait_until("read-only mode", lambda: chosen.mode == "read-only", 30)
    return chosen


def replay(check, profile):
    chosen = os.path.join(check.work, profile + ".jsonl")
    names = set()
    with open(chosen, "w", encoding="utf-8") as out:
        for transcript, line in transcripts():
            if transcript.get("profile", "base") != profile or check.arguments.only not in transcript["name"]:
                continue
            if check.kind == "aviary" and transcript["name"] in OF_JAVA:
                continue
            names.add(transcript["name"])
            out.write(line)
    if not names:
        return
    server = check.server(profile, PROFILES[profile]).start() if profile in PROFILES else follower(check, profile)
    command = [sys.executable, REPLAYER, "127.0.0.1", str(server.port), chosen, "--profile", profile, "-v",
               "--max-diffs", "1000"] + (["--old-events"] if check.kind == "debian" else [])
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        told, failure = set(), None
        for line in process.stdout:
            line = line.rstrip("\n")
            found = re.match(r"(ok  |FAIL) (\S+)", line)
            if found:
                name = "%s: %s" % (profile, found.group(2))
                told.add(found.group(2))
                if found.group(1) == "FAIL":
                    check.fail(name, "the transcript differs")
                    failure = name
                else:
                    check.ok(name)
                    failure = None
            elif failure and line.startswith("  "):
                check.say("    " + line.strip()[:1500])
            else:
                failure = None
    for name in sorted(names - told):
        check.fail("%s: %s" % (profile, name), "the replayer did not reach it")
    if profile == "base":
        check.run([environment, monitor], check, server)


def environment(check, server):
    """envi: its heading, the version first, then key=value lines"""
    lines = wire.four_letter_word(server.port, "envi").splitlines()
    equal("Environment:", lines[0])
    version = r"zookeeper\.version=3\.9\.5-aviary-\d+\.\d+\.\d+\S*, built on .+"
    if check.kind == "aviary":
        expect(re.fullmatch(version, lines[1]), "second line %r is not like %s" % (lines[1], version))
    for line in lines[1:]:
        expect(re.fullmatch(r"[a-z0-9_.]+=.*", line), "not a key and a value: %r" % line)
    keys = [line.partition("=")[0] for line in lines[1:]]
    for key in ("host.name", "os.name", "os.arch", "os.version", "user.name", "user.home", "user.dir"):
        expect(key in keys, "no %s" % key)


def monitor(check, server):
    """mntr: a name, a tab and a value a line, with sensible values"""
    connection = wire.Connection(server.port)
    connection.create("/mntr-check", b"12345", flags=1)
    connection.call(wire.GET_DATA, wire.string("/mntr-check") + b"\1")
    text = wire.four_letter_word(server.port, "mntr")
    lines = text.splitlines()
    for line in lines:
        expect(re.fullmatch(r"zk_[A-Za-z0-9_.\-]+\t\S.*", line), "not a metric: %r" % line)
    values = dict(line.split("\t", 1) for line in lines)
    equal(len(lines), len(values), "every name once")
    if check.kind == "aviary":
        expect(re.match(r"3\.9\.5-aviary-\d", values["zk_version"]), values["zk_version"])
    equal("zk_version", lines[0].split("\t")[0], "first line")
    equal("standalone", values["zk_server_state"])
    number = lambda name: float(values["zk_" + name])                              # noqa: E731
    equal(1, number("ephemerals_count"), "ephemerals_count")
    equal(1, number("watch_count"), "watch_count")
    equal(2, number("num_alive_connections"), "this connection and the one that asks")
    equal(1, number("global_sessions"), "global_sessions")
    equal(0, number("outstanding_requests"), "outstanding_requests")
    equal(0, number("digest_mismatches_count"), "digest_mismatches_count")
    # The root has two keys in Apache's table, "" and "/", and is counted twice.
    equal(len(server.tree()) + 1, number("znode_count"), "znode_count")
    expect(number("approximate_data_size") > 5, "approximate_data_size")
    expect(number("min_latency") <= number("avg_latency") <= number("max_latency"), "latencies out of order")
    expect(number("packets_received") > 0 and number("packets_sent") > 0, "no packets counted")
    expect(0 < number("open_file_descriptor_count") <= number("max_file_descriptor_count"), "file descriptors")
    expect(number("uptime") > 0, "uptime")
    for name, value in values.items():
        if name not in ("zk_version", "zk_server_state"):
            float(value)
    connection.close()


def main():
    with Check("golden-client") as check:
        check.together(*[lambda p=p: replay(check, p) for p in [*PROFILES, *ENSEMBLES]])


if __name__ == "__main__":
    main()
