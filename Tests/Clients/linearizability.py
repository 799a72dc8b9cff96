"""Is a recorded history linearizable? The search of Wing and Gong with Lowe's memory of what was tried, for one znode as a
register with versions; and the order of zxids in real time. Pure functions over lists of `Operation`; standard library only.

A znode behaves like this register: state (version, value); `write` sets the value and counts the version up; `cas` does so if the
version is the expected one and fails otherwise; `read` gives both. All of that takes effect at one instant between invocation and
reply (P1 and P9 of reliability.md). An operation whose reply was lost takes effect at any time after its invocation, or never.
"""
import math

READ, WRITE, CAS = "read", "write", "cas"


class Operation:
    """One operation of a client. Times are of one monotonic clock; `end` is infinite while the outcome is unknown.

    `expected`: the version a cas asks for. `value`: what is written, or was read. `version`: what the reply told, None for a cas
    that was refused for its version. `zxid`: of the write, where it was acknowledged."""

    __slots__ = ("client", "kind", "key", "value", "expected", "start", "end", "version", "zxid")

    def __init__(self, client, kind, key, start, end=math.inf, value=None, expected=None, version=None, zxid=0):
        self.client, self.kind, self.key, self.start, self.end = client, kind, key, start, end
        self.value, self.expected, self.version, self.zxid = value, expected, version, zxid

    @property
    def is_known(self):
        return self.end != math.inf

    def __repr__(self):
        what = {READ: "", WRITE: " %r" % self.value, CAS: " %r if version %s" % (self.value, self.expected)}[self.kind]
        reply = "no reply" if not self.is_known else "%r version %s" % (self.value, self.version) if self.kind == READ \
            else "refused" if self.version is None else "version %s" % self.version
        return "%s %s %s%s -> %s (%.4f to %.4f)" % (self.client, self.kind, self.key, what, reply, self.start, self.end)


def step(state, operation):
    """The state after `operation`, or None where its reply cannot come from `state`."""
    version, value = state
    if operation.kind == READ:
        return state if not operation.is_known or (version, value) == (operation.version, operation.value) else None
    if operation.kind == CAS and version != operation.expected:
        return state if not operation.is_known or operation.version is None else None
    if operation.is_known and operation.version != version + 1:    # also: refused though the version was the expected one
        return None
    return (version + 1, operation.value)


class Entry:
    """The invocation or the reply of an operation, in a list by time."""

    __slots__ = ("index", "operation", "reply", "before", "after")

    def __init__(self, index, operation, reply):
        self.index, self.operation, self.reply, self.before, self.after = index, operation, reply, None, None

    def lift(self):
        """Takes an invocation and its reply, if there is one, out of the list."""
        for entry in (self, self.reply) if self.reply else (self,):
            entry.before.after = entry.after
            if entry.after:
                entry.after.before = entry.before

    def unlift(self):
        for entry in (self.reply, self) if self.reply else (self,):
            entry.before.after = entry
            if entry.after:
                entry.after.before = entry


def entries(operations):
    """The head of the list of all invocations and replies. A reply is an entry whose `reply` is itself."""
    events = []
    for index, operation in enumerate(operations):
        call = Entry(index, operation, None)
        events.append((operation.start, 0, index, call))
        if operation.is_known:
            call.reply = Entry(index, operation, None)
            call.reply.reply = call.reply
            events.append((operation.end, 1, index, call.reply))
    head = last = Entry(-1, None, None)
    for *_, entry in sorted(events, key=lambda e: e[:3]):
        last.after, entry.before = entry, last
        last = entry
    return head


def check_register(operations, initial=(0, b""), limit=2_000_000):
    """None if the history of one key is linearizable from the state `initial`, else what stood in the way, in words.

    `limit`: after so many steps the search gives up and says so."""
    head = entries(operations)
    state, done, stack, tried, left = initial, 0, [], set(), sum(o.is_known for o in operations)
    best, entry = (-1, ""), head.after
    for _ in range(limit):
        if left == 0:
            return None
        if entry is not None and entry.reply is not entry:         # an invocation: let it take effect now
            after = step(state, entry.operation)
            mark = (done | 1 << entry.index, after)
            if after is not None and mark not in tried:
                tried.add(mark)
                stack.append((entry, state))
                state, done = after, mark[0]
                left -= entry.operation.is_known
                entry.lift()
                entry = head.after
            else:
                entry = entry.after
            continue
        # A reply of what has not taken effect, or the end of the list: what was chosen last was wrong.
        if len(stack) > best[0]:
            best = (len(stack), "after %d operations the state is version %d, %r, and no order explains %r" % (
                len(stack), *state, entry.operation if entry else None))
        if not stack:
            return best[1]
        entry, state = stack.pop()
        done &= ~(1 << entry.index)
        left += entry.operation.is_known
        entry.unlift()
        entry = entry.after
    return "the search for an order was given up after %d steps" % limit


def check_registers(operations, initial=(0, b"")):
    """`check_register` for each key; a list of what is wrong."""
    keys = {}
    for operation in operations:
        keys.setdefault(operation.key, []).append(operation)
    found = ((key, check_register(history, initial)) for key, history in keys.items())
    return ["%s: %s" % (key, why) for key, why in found if why]


def check_order(writes):
    """Zxids follow real time over all keys: what was acknowledged before another was sent has the smaller one. `writes`: any
    objects with `start`, `end` and `zxid`, all acknowledged."""
    wrong, ends, latest, i = [], sorted(writes, key=lambda w: w.end), None, 0
    for write in sorted(writes, key=lambda w: w.start):
        while i < len(ends) and ends[i].end < write.start:
            latest = max(latest or ends[i], ends[i], key=lambda w: w.zxid)
            i += 1
        if latest and latest.zxid >= write.zxid:
            wrong.append("%r has zxid 0x%x, not above the 0x%x of the earlier %r" % (write, write.zxid, latest.zxid, latest))
    return wrong


def check_reads(operations, initial=(0, b"")):
    """What one session reads of a key never goes back, and was written by somebody (P3); `operations` with plain reads."""
    wrong, written, seen = [], {}, {}
    for operation in operations:
        if operation.kind != READ:
            written.setdefault(operation.key, {initial[1]}).add(operation.value)
    for operation in sorted(operations, key=lambda o: o.start):
        if not operation.is_known or operation.version is None:
            continue
        place = (operation.client, operation.key)
        if operation.version < seen.get(place, 0) and operation.kind == READ:
            wrong.append("%r reads what is older than version %d, which it knew" % (operation, seen[place]))
        if operation.kind == READ and operation.value not in written.get(operation.key, {initial[1]}):
            wrong.append("%r reads what nobody wrote" % operation)
        seen[place] = max(seen.get(place, 0), operation.version)
    return wrong


def prove():
    """Raises unless the checkers accept what is right and find faults planted in it."""
    def op(client, kind, start, end, value=None, expected=None, version=None, zxid=0):
        return Operation(client, kind, "k", start, end, value, expected, version, zxid)
    lost = math.inf
    sound = [op("a", WRITE, 0, 3, b"1", version=1, zxid=1), op("b", READ, 1, 2, b"", version=0), op("b", READ, 2.1, 2.2, b"1", version=1),
             op("c", CAS, 4, 5, b"2", 1, 2, 2), op("d", CAS, 4, 5, b"3", 1), op("a", WRITE, 6, lost, b"4"),
             op("b", READ, 7, 8, b"2", version=2), op("b", READ, 9, 10, b"4", version=3), op("c", CAS, 11, lost, b"9", 8)]
    planted = {
        "a stale read": sound + [op("d", READ, 12, 13, b"2", version=2)],
        "a lost write": sound + [op("d", WRITE, 12, 13, b"5", version=3)],
        "a write done twice": sound + [op("d", WRITE, 12, 13, b"5", version=5)],
        "a compare and set that ignores the version": sound + [op("d", CAS, 12, 13, b"5", 1, 4)],
        "a refusal without reason": sound + [op("d", CAS, 12, 13, b"5", 3)],
        "a value that was never written": sound + [op("d", READ, 12, 13, b"7", version=3)],
        "two that both win": sound + [op("d", CAS, 12, 14, b"5", 3, 4), op("e", CAS, 12, 14, b"6", 3, 4)],
        "a write undone": sound + [op("d", READ, 12, 13, b"4", version=3), op("d", READ, 14, 15, b"2", version=2)],
    }
    assert check_register(sound) is None, check_register(sound)
    for name, history in planted.items():
        assert check_register(history), name
    # Many at once, in an order that only the search finds; the same with a value changed is found out.
    crowd = [op("c%d" % i, WRITE, i * 0.01, 10 + i * 0.01, b"%d" % i, version=(i * 7) % 20 + 1) for i in range(20)]
    assert check_register(crowd + [op("r", READ, 11, 12, crowd[17].value, version=20)]) is None
    assert check_register(crowd + [op("r", READ, 11, 12, crowd[3].value, version=20)])
    assert not check_order(sound[:1] + sound[3:4])
    assert check_order([op("a", WRITE, 0, 1, b"", zxid=2), op("b", WRITE, 2, 3, b"", zxid=1)])
    assert check_reads([op("a", WRITE, 0, 1, b"1", version=1), op("a", READ, 2, 3, b"", version=0)])
    assert not check_reads([op("a", WRITE, 0, 1, b"1", version=1), op("b", READ, 2, 3, b"", version=0)])
