"""Builds the fuzz targets of Fuzzing/ with the compiler alone, makes their first inputs out of Tests/Golden, and runs them.

Called by scripts/fuzz and scripts/test. The package knows nothing of this: `-sanitize=fuzzer` brings a main of its own and
is an unsafe flag, and the pure targets need nothing that the package manager would have to fetch.
"""
import argparse
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCES = os.path.join(ROOT, "Sources")
FUZZING = os.path.join(ROOT, "Fuzzing")
GOLDEN = os.path.join(ROOT, "Tests", "Golden")
WORK = os.path.join(ROOT, ".build-fuzz")
BINARY = os.path.join(WORK, "aviary-fuzz")

# Target: the longest input in bytes.
TARGETS = {"frames": 8192, "handshakes": 4096, "logs": 65536, "snapshots": 65536, "configuration": 16384, "quorum": 8192}

# What of the server's shell is compiled in: all of it does without sockets and threads.
SHELL = ["BuildInfo.swift", "Configuration/*.swift", "Client/ConnectionThrottle.swift", "Client/*Word*.swift",
         "Client/HeldBytes.swift", "Client/WrongProtocol.swift", "Disk/ZlibCodec.swift", "Ensemble/DynamicFiles.swift",
         "Loop/CoreOptions.swift", "Loop/Limits.swift", "Metrics/*.swift", "System/CalendarText.swift",
         "System/FileReplacement.swift", "System/SystemClock.swift"]

WORDS = b"conf cons crst dirs dump envi gtmk hash isro mntr ruok srst srvr stat stmk wchc wchp wchs".split()

FEATURES = ["-swift-version", "6", "-enable-upcoming-feature", "ExistentialAny", "-enable-upcoming-feature",
            "InternalImportsByDefault", "-enable-upcoming-feature", "MemberImportVisibility"]
INSTRUMENT = ["-sanitize=fuzzer,address"]
# Optimized, because a fuzzer lives on speed; traps and bounds checks stay, and exclusivity is checked as in the product.
FLAGS = ["-O", "-wmo", "-g", "-parse-as-library", "-package-name", "aviary", "-suppress-warnings"] + FEATURES + INSTRUMENT


def say(text):
    print("== " + text, flush=True)


# MARK: Building

def has_fuzzer():
    """None, or why nothing can be fuzzed with this toolchain."""
    if not shutil.which("swiftc"):
        return "there is no swiftc"
    told = subprocess.run(["swiftc", "-print-target-info"], capture_output=True, text=True)
    try:
        resources = json.loads(told.stdout)["paths"]["runtimeResourcePath"]
    except (ValueError, KeyError):
        return "swiftc does not tell where its runtime is"
    found = [path for pattern in ("clang/lib/*/libclang_rt.fuzzer*", "../clang/*/lib/*/libclang_rt.fuzzer*",
                                  "../clang/lib/*/libclang_rt.fuzzer*")
             for path in glob.glob(os.path.join(resources, pattern))]
    return None if found else "this toolchain has no libFuzzer (libclang_rt.fuzzer)"


def sources(*patterns):
    found = []
    for pattern in patterns:
        found += sorted(glob.glob(os.path.join(SOURCES, pattern), recursive=True))
    return found


def stamp():
    """Changes with every source and with the compiler."""
    digest = hashlib.sha256()
    digest.update(subprocess.run(["swiftc", "--version"], capture_output=True).stdout)
    files = (sources("CInstructions/**/*.[ch]", "ZooKeeperProtocol/**/*.swift", "AviaryStorage/**/*.swift",
                     "AviaryCore/**/*.swift", "Zab/**/*.swift", "AviaryEnsemble/**/*.swift")
             + sources(*["AviaryServer/" + p for p in SHELL])
             + sorted(glob.glob(os.path.join(FUZZING, "**", "*.swift"), recursive=True)) + [os.path.abspath(__file__)])
    for path in files:
        digest.update(path.encode())
        with open(path, "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def compile_all(log):
    """Module by module, two at a time where neither needs the other. Returns whether it worked."""
    modules, header = os.path.join(WORK, "modules"), os.path.join(SOURCES, "CInstructions", "include")
    os.makedirs(modules, exist_ok=True)

    def module(name, files, extra=()):
        output = os.path.join(modules, name)
        return ["swiftc"] + FLAGS + ["-I", modules, "-I", header, "-module-name", name, "-emit-module",
                                     "-emit-module-path", output + ".swiftmodule", "-c", "-o", output + ".o"
                                     ] + list(extra) + files

    clang = [os.path.join(os.path.dirname(os.path.realpath(shutil.which("swiftc"))), "clang"), "-O2", "-c",
             "-fsanitize=address,fuzzer-no-link"]
    stages = [
        [clang + ["-I", header, "-o", os.path.join(modules, os.path.basename(path) + ".o"), path]
         for path in sources("CInstructions/*.c")],
        [module("ZooKeeperProtocol", sources("ZooKeeperProtocol/**/*.swift")),
         module("Crypto", [os.path.join(FUZZING, "Stubs", "Crypto.swift")])],
        [module("AviaryStorage", sources("AviaryStorage/**/*.swift")),
         module("AviaryCore", sources("AviaryCore/**/*.swift"))],
        [module("Zab", sources("Zab/**/*.swift"))],
        [module("AviaryEnsemble", sources("AviaryEnsemble/**/*.swift"))],
        [module("Fuzzing", sorted(glob.glob(os.path.join(FUZZING, "*.swift")))
                + sources(*["AviaryServer/" + p for p in SHELL]), ["-I", os.path.join(SOURCES, "CZlib")])],
    ]
    objects = [os.path.join(modules, os.path.basename(path) + ".o") for path in sources("CInstructions/*.c")]
    objects += [os.path.join(modules, name + ".o")
               for name in ("ZooKeeperProtocol", "Crypto", "AviaryStorage", "AviaryCore", "Zab", "AviaryEnsemble",
                            "Fuzzing")]
    # Another linker than the default one warns about every function of the sanitizer.
    lld = ["-use-ld=lld"] if shutil.which("ld.lld") else []
    stages.append([["swiftc"] + INSTRUMENT + lld + ["-static-stdlib"] + objects + ["-lz", "-o", BINARY]])
    for stage in stages:
        running = [subprocess.Popen(command, cwd=WORK, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                   for command in stage]
        if any([process.wait() for process in running]):
            return False
    return True


def build():
    os.makedirs(WORK, exist_ok=True)
    mark, wanted = os.path.join(WORK, "stamp"), stamp()
    if os.path.exists(BINARY) and os.path.exists(mark) and open(mark).read() == wanted:
        return True
    say("building the fuzz targets")
    start, path = time.monotonic(), os.path.join(WORK, "build.log")
    with open(path, "w") as log:
        built = compile_all(log)
    if not built:
        with open(path, errors="replace") as log:
            print("\n".join(log.read().rstrip().splitlines()[-40:]))
        say("the fuzz targets do not build")
        return False
    with open(mark, "w") as out:
        out.write(wanted)
    say("building the fuzz targets: done (%d s)" % (time.monotonic() - start))
    return True


# MARK: First inputs

def transcripts():
    for path in sorted(glob.glob(os.path.join(GOLDEN, "client", "*.jsonl"))):
        with open(path) as file:
            for line in file:
                yield json.loads(line)


def client_streams(transcript):
    """The bytes that each connection of a transcript sent."""
    streams = {}
    for step in transcript["exchange"]:
        if step["dir"] == "c2s" and not step.get("fill") and "hex" in step:
            streams.setdefault(step.get("conn", "A"), bytearray()).extend(bytes.fromhex(step["hex"]))
    return [bytes(stream) for stream in streams.values()]


def frames(stream):
    out, at = [], 0
    while at + 4 <= len(stream):
        length = struct.unpack_from(">i", stream, at)[0]
        if not 0 <= length < 4096 or at + 4 + length > len(stream):
            break
        out.append(stream[at + 4:at + 4 + length])
        at += 4 + length
    return out


def seeds(target):
    """The first inputs of a target, in the forms that its source describes."""
    out = []
    if target == "frames":
        for number, transcript in enumerate(transcripts()):
            steps = bytearray([[0, 1, 2, 5, 17][number % 5]])
            for slot, stream in enumerate(client_streams(transcript)[:4]):
                for frame in frames(stream)[1:]:
                    steps += bytes([7 << 2 | slot]) + struct.pack(">H", len(frame)) + frame
                    if number % 3 == 0:
                        steps += bytes([number % 7 << 2 | slot, 4])
            out.append(bytes(steps) + bytes([63 << 2, number]))
    elif target == "handshakes":
        for number, transcript in enumerate(transcripts()):
            steps = bytearray([number % 4])
            for stream in client_streams(transcript)[:4]:
                steps += bytes([number * 8 % 256 & ~7]) + struct.pack(">H", min(len(stream), 600)) + stream[:600]
                body = stream[4:49]
                steps += bytes([1 | number % 4 << 1]) + struct.pack(">H", len(body)) + body
            out.append(bytes(steps))
        out += [b"\0\0\0\x04" + word for word in WORDS + [b"GET ", b"\x16\x03\x01\0"]]
        out.append(b"\0\0\0\x0cstmk\0\0\0\0\0\0\x01\x32")
    elif target == "logs":
        for path in golden_files("log.*"):
            data = open(path, "rb").read().rstrip(b"\0") + b"\0" * 20
            for flags in (0, 4, 5, 7, 15, 36):
                out.append(bytes([flags]) + struct.pack(">H", min(len(data) // 2, 60000)) + data[:60000])
    elif target == "snapshots":
        for path in golden_files("snapshot.*"):
            data, form = open(path, "rb").read(), 2 if path.endswith(".gz") else 3 if path.endswith(".snappy") else None
            for flags in [0x10 | form] if form else [0, 0x18, 0x1c, 0x1d, 7, 6]:
                if len(data) < TARGETS[target]:
                    out.append(bytes([flags]) + data)
    elif target == "quorum":
        out = quorum_inputs()
    else:
        out = configurations()
    return [seed for seed in out if len(seed) <= TARGETS[target]]


def golden_files(pattern):
    return sorted(glob.glob(os.path.join(GOLDEN, "disk", "**", "version-2", pattern), recursive=True))


def quorum_inputs():
    """What the recorded servers said to each other: by direction of a connection, and each kind of packet by itself."""
    out, directions, kinds, texts = [], {}, {}, set()
    for path in sorted(glob.glob(os.path.join(GOLDEN, "quorum", "*.jsonl"))):
        with open(path) as file:
            steps = [json.loads(line) for line in file]
        for step in steps:
            if "hex" not in step or step["decoded"]["msg"] == "SNAPSHOT_STREAM":
                continue
            kind, data = step["decoded"]["msg"], bytes.fromhex(step["hex"])
            form = {"NOTIFICATION": 1, "INITIAL": 2, "QuorumAuthPacket": 3}.get(kind, 0)
            kinds.setdefault((form, kind, len(data) // 64), bytes([form]) + data)
            if step["decoded"].get("config"):
                texts.add(step["decoded"]["config"].encode())
            if form < 2:
                stream = directions.setdefault((path, step["conn"], step["from"], form), bytearray([form]))
                if len(stream) + len(data) <= TARGETS["quorum"]:
                    stream += data
    out += list(kinds.values()) + [bytes(stream) for stream in directions.values()]
    members = b"server.1=[::1]:1:2|h:3:4:PARTICIPANT;2181\nserver.2=b:1:2;c:3\nserver.3=c:1:2:observer\nserver.4=d:1:2"
    texts |= {members, members + b"\ngroup.1=1:2\ngroup.2=4\nweight.1=2\nweight.4=0\nversion=7fffffffffffffff"}
    for text in sorted(texts):
        out += [bytes([form]) + text for form in (4, 20, 36, 52)]
        out += [b"\x05" + text + b"\0server.9=n:1:2;3,server.2=m:1:2:observer;[::1]:3\0001,77",
                b"\x0d" + text + b"\0\0\0" + members.replace(b"\n", b",") + b",group.1=1:2:4,weight.2=3"]
    return out


def configurations():
    """The examples of the documentation, and every key that it names with values at the edges."""
    out = []
    with open(os.path.join(ROOT, "docs", "configuration.md"), errors="replace") as file:
        text = file.read()
    out += [block.encode() for block in re.findall(r"```[a-z]*\n(.*?)```", text, re.S)]
    keys = sorted(set(re.findall(r"`([A-Za-z][A-Za-z0-9._]{3,})`", text)))
    base = b"dataDir=/d\nclientPort=2181\n"
    for value in ("0", "1", "-1", "2147483647", "9223372036854775807", "true", "no", "a:1,b", ""):
        for at in range(0, len(keys), 12):
            out.append(base + "".join("%s=%s\n" % (key, value) for key in keys[at:at + 12]).encode())
    out.append(base + b"dynamicConfigFile=/x\n\0server.1=h:1:2:participant;0.0.0.0:2181\nversion=100\n")
    out.append(base + b"server.1=[::1]:2888:3888|h:1:2;2181\nauthProvider.1=x\n\\u0041=\\\n b\n")
    # Members of an ensemble, by their own file and by a dynamic one.
    members = b"server.1=a:1:2;0.0.0.0:2181\nserver.2=b:1:2\nserver.3=c:1:2|d:3:4\nserver.4=e:1:2:observer\n"
    member = base + b"initLimit=10\nsyncLimit=5\nmultiAddress.enabled=true\n"
    out += [member + members + b"group.1=1:2\ngroup.2=3\nweight.3=0\n\0\0002\n",
            member + b"dynamicConfigFile=/x.1f\nstandaloneEnabled=false\n\0" + members + b"\0004\n"]
    out += [member + members + "".join("%s=3\n" % key for key in keys[at:at + 12]).encode() + b"\0\0003"
            for at in range(0, len(keys), 12)]
    return out


# MARK: Running

def tool_environment(target):
    # Freed memory is kept back for a while only: what a target takes has to show.
    options = ["quarantine_size_mb=16", "detect_leaks=1", "allocator_may_return_null=0", "abort_on_error=0"]
    return dict(os.environ, AVIARY_FUZZ_TARGET=target, ASAN_OPTIONS=":".join(options), SWIFT_BACKTRACE="enable=no")


LIMITS = ["-rss_limit_mb=1024", "-malloc_limit_mb=512", "-timeout=30"]


def fuzz(target, seconds, keep_corpus):
    """Runs one target; returns whether it stood."""
    corpus = os.path.join(WORK, "corpus", target)
    crashes = os.path.join(WORK, "crashes", target)
    first = os.path.join(WORK, "seeds", target)
    if not keep_corpus:
        corpus += "-short"
        shutil.rmtree(corpus, ignore_errors=True)
    for directory in (corpus, crashes):
        os.makedirs(directory, exist_ok=True)
    shutil.rmtree(first, ignore_errors=True)
    os.makedirs(first)
    for seed in seeds(target):
        with open(os.path.join(first, hashlib.sha256(seed).hexdigest()[:16]), "wb") as out:
            out.write(seed)
    log = os.path.join(WORK, target + ".log")
    command = [BINARY, corpus, first, "-max_total_time=%d" % seconds, "-max_len=%d" % TARGETS[target],
               "-print_final_stats=1", "-reload=0", "-artifact_prefix=" + crashes + os.sep] + LIMITS
    dictionary = os.path.join(FUZZING, target + ".dict")
    if os.path.exists(dictionary):
        command.append("-dict=" + dictionary)
    with open(log, "w") as out:
        code = subprocess.run(command, cwd=WORK, env=tool_environment(target), stdin=subprocess.DEVNULL, stdout=out,
                              stderr=subprocess.STDOUT).returncode
    with open(log, errors="replace") as text:
        output = text.read()
    covered = re.findall(r"cov: (\d+) ft: (\d+) corp: (\d+)", output) or [("?", "?", "?")]
    runs = re.findall(r"number_of_executed_units: (\d+)", output) or re.findall(r"^#(\d+)\s", output, re.M) or ["0"]
    peak = re.findall(r"peak_rss_mb: (\d+)", output) or re.findall(r"rss: (\d+)Mb", output) or ["?"]
    say("fuzz %s: %s, %s executions in %d s, coverage %s edges, %s features, %s inputs kept, at most %s MB"
        % (target, "stood" if not code else "FAILED", runs[-1], seconds, *covered[-1], peak[-1]))
    if code:
        artifacts = re.findall(r"Test unit written to (\S+)", output)
        print("\n".join(line for line in output.splitlines()
                        if re.search(r"Fatal error|ERROR:|SUMMARY:|Test unit written", line)))
        for artifact in artifacts:
            minimize(target, artifact)
        say("log: " + log)
    return code == 0


def minimize(target, artifact):
    """The smallest input that still fails, beside the first one: half a minute for crashes, which fail quickly."""
    smallest = artifact + ".min"
    if os.path.basename(artifact).startswith("crash-"):
        process = subprocess.Popen([BINARY, "-minimize_crash=1", "-max_total_time=10",
                                    "-exact_artifact_path=" + smallest] + LIMITS + [artifact], cwd=WORK,
                                   env=tool_environment(target), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)             # the group that was made for it
            process.wait()
    kept = smallest if os.path.exists(smallest) else artifact
    say("again: scripts/fuzz %s --run %s (%d bytes)" % (target, os.path.relpath(kept, ROOT), os.path.getsize(kept)))


def main():
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Fuzzes what reads bytes from outside.")
    parser.add_argument("target", nargs="*", help="of " + ", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--run", metavar="FILE", help="run one target on one input")
    parser.add_argument("--short", action="store_true", help="begin from the first inputs alone, keep no corpus")
    arguments = parser.parse_args()
    for name in arguments.target:
        if name not in TARGETS:
            parser.error("there is no target %s" % name)
    trouble = has_fuzzer()
    if trouble:
        say("fuzzing is left out: " + trouble)
        print("0 passed, 0 failed, 1 left out")
        return 0
    if not build():
        print("0 passed, 1 failed")
        return 1
    if arguments.run:
        target = arguments.target[0] if arguments.target else parser.error("--run needs a target")
        return subprocess.run([BINARY, os.path.abspath(arguments.run)] + LIMITS, cwd=WORK,
                              env=tool_environment(target)).returncode
    results = [fuzz(name, arguments.seconds, not arguments.short) for name in arguments.target or TARGETS]
    print("%d passed, %d failed" % (sum(results), len(results) - sum(results)), flush=True)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
