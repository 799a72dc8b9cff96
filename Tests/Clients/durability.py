"""Crash durability: kill -9 again and again under load. Four writers, each a process of its own, note every write before they
send it and after it is acknowledged; after each restart every acknowledged write must be there, nothing that nobody sent may
be, and no zxid may be given twice.
"""
import multiprocessing
import os
import random
import struct
import time

import wire
from harness import Check, equal, expect

ROUNDS, WRITERS = 6, 4


def writer(port, number, round_, notes, seed):
    """Writes until the server dies. One line a step: `kind path value`, with `?` before it is sent, `!` when acknowledged."""
    chance = random.Random(seed)
    out = open(notes, "a", buffering=1)
    mine, counter, step = [], 0, 0
    base = "/load/w%d" % number
    try:
        c = wire.Connection(port, timeout=20000)
        value = c.exists(base + "/counter")
        if value is None:
            c.create(base + "/counter", b"0")
        else:
            counter = int(c.get(base + "/counter")[0])
        while True:
            step += 1
            pick = chance.random()
            name = "%s/r%d-%d" % (base, round_, step)
            if pick < 0.5:
                data = "%d-%d" % (step, chance.randrange(10 ** 9))
                out.write("? create %s %s\n" % (name, data))
                c.create(name, data.encode())
                mine.append(name)
                out.write("! create %s %s %d\n" % (name, data, c.zxid))
            elif pick < 0.7:
                out.write("? count %s/counter %d\n" % (base, counter + 1))
                c.set(base + "/counter", b"%d" % (counter + 1))
                counter += 1
                out.write("! count %s/counter %d %d\n" % (base, counter, c.zxid))
            elif pick < 0.8 and mine:
                gone = mine.pop(chance.randrange(len(mine)))
                out.write("? delete %s -\n" % gone)
                c.delete(gone)
                out.write("! delete %s - %d\n" % (gone, c.zxid))
            elif pick < 0.9:
                data = "both-%d" % step
                out.write("? create %s-a %s\n? create %s-b %s\n" % (name, data, name, data))
                codes = c.multi([(wire.CREATE, wire.create_record(name + "-a", data.encode())),
                                 (wire.CREATE, wire.create_record(name + "-b", data.encode()))])
                expect(not codes, "multi: %r" % codes)
                out.write("! create %s-a %s %d\n! create %s-b %s %d\n" % (name, data, c.zxid, name, data, c.zxid))
            else:
                # Ten writes in flight at once: their replies come in order, or not at all.
                batch = ["%s-p%d" % (name, i) for i in range(10)]
                out.write("".join("? create %s p\n" % path for path in batch))
                for path in batch:
                    c.request(wire.CREATE, wire.create_record(path, b"p"))
                for path in batch:
                    _, error, _ = c.reply()
                    expect(error == 0, "error %d" % error)
                    out.write("! create %s p %d\n" % (path, c.zxid))
    except OSError:
        pass
    except struct.error:
        pass


def contents(c):
    """{path: data} of all that the writers made; a thousand reads in flight."""
    out = {}
    for number in range(WRITERS):
        base = "/load/w%d" % number
        paths = [base + "/" + name for name in c.children(base)]
        for at in range(0, len(paths), 1000):
            part = paths[at:at + 1000]
            for path in part:
                c.request(wire.GET_DATA, wire.string(path) + b"\0")
            for path in part:
                _, error, reader = c.reply()
                expect(error == 0, "reading %s: error %d" % (path, error))
                out[path] = reader.buffer()
    return out


def verify(check, server, notes, highest):
    """Compares the tree with all notes so far; returns the highest zxid seen."""
    sent, done, zxids = {}, {}, set()
    deleting, deleted = set(), set()
    for path in notes:
        for line in open(path):
            words = line.split()
            if len(words) < 4:
                continue
            mark, kind, node, value = words[:4]
            if kind == "delete":
                (deleting if mark == "?" else deleted).add(node)
            elif mark == "?":
                sent.setdefault(node, set()).add(value)
            else:
                done[node] = value
            if mark == "!":
                zxids.add(int(words[4]))
    c = server.super_user()
    tree = contents(c)
    c.close()
    lost, wrong, unknown = [], [], []
    for node, value in done.items():
        if node in deleted:
            if node in tree:
                wrong.append("%s is back after an acknowledged delete" % node)
        elif node not in tree:
            if node not in deleting:
                lost.append(node)
        elif node.endswith("/counter"):
            got = int(tree[node])
            if not int(value) <= got <= int(value) + 1:
                wrong.append("%s is %d, acknowledged was %s" % (node, got, value))
        elif tree[node] != value.encode():
            wrong.append("%s holds %r, written was %r" % (node, tree[node], value))
    for node in tree:
        if node not in sent and not node.endswith("/counter"):
            unknown.append(node)
    # A transaction is there as a whole or not at all.
    for node in tree:
        if node.endswith("-a") and node[:-2] + "-b" not in tree and not {node, node[:-2] + "-b"} & deleting:
            wrong.append("%s without its other half" % node)
    expect(not lost, "%d of %d acknowledged writes are lost: %s" % (len(lost), len(done), ", ".join(lost[:5])))
    expect(not wrong, "; ".join(wrong[:5]))
    expect(not unknown, "nodes that nobody wrote: %s" % ", ".join(unknown[:5]))
    newest = max(zxids | {0})
    probe = wire.Connection(server.port)
    probe.set("/load", b"probe")
    after = probe.zxid
    expect(after > newest, "zxid %#x was given again: %#x had been acknowledged" % (after, newest))
    expect(after > highest, "zxids went back from %#x to %#x" % (highest, after))
    probe.close()
    return after, len(done)


def main():
    with Check("durability") as check:
        # Small snapshots and log files, so that kills fall into rolls and snapshots too.
        server = check.server(configuration={"snapCount": "1000", "preAllocSize": "256"}).start()
        c = wire.Connection(server.port)
        c.create("/load")
        for number in range(WRITERS):
            c.create("/load/w%d" % number)
        c.close()
        highest, before = 0, 0
        chance = random.Random(7)
        notes = []
        for round_ in range(ROUNDS):
            with check.case("kill -9 under load, round %d: every acknowledged write is there" % (round_ + 1)):
                processes = []
                for number in range(WRITERS):
                    file = os.path.join(check.work, "notes-%d-%d" % (number, round_))
                    notes.append(file)
                    process = multiprocessing.Process(target=writer, daemon=True,
                                                      args=(server.port, number, round_, file, 100 * round_ + number))
                    process.start()
                    processes.append(process)
                time.sleep(0.7 + chance.random())
                server.kill9()
                for process in processes:
                    process.join(20)
                    equal(0, process.exitcode, "a writer")
                server.start()
                highest, writes = verify(check, server, notes, highest)
                expect(writes > before, "no write was acknowledged in this round")
                before = writes
        check.say("     %d acknowledged writes over %d kills" % (before, ROUNDS))
        with check.case("an orderly end keeps them too"):
            server.stop()
            server.start()
            verify(check, server, notes, highest)
        with check.case("no mismatch of the tree digest"):
            equal("0", wire.mntr(server.port).get("digest_mismatches_count"))


if __name__ == "__main__":
    main()
