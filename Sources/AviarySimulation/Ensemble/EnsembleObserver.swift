internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
package import ZooKeeperProtocol

/// Watches all members from outside, after each of their turns: what they log, commit and serve, and whether that fits
/// together.
///
/// The history that counts is what leaders apply; everybody else must follow it. What is wrong is kept, the first of it,
/// for the run to throw.
package final class EnsembleObserver {
    private unowned let run: EnsembleRun
    package private(set) var committed = CommittedHistory()
    package private(set) var trace = ZabTrace()
    package private(set) var violation: Violation?
    private var seen: [Int64: Seen] = [:]

    /// What a server was when it was last looked at.
    private struct Seen {
        var incarnation = 0
        var isServing = false
        var isLeading = false
        var wasEstablished = false
        var epoch: Int64 = 0
        var applied = Zxid.zero
    }

    init(_ run: EnsembleRun) { self.run = run }

    func complain(_ text: String) { fail(Violation(.complaint, text)) }

    func fail(_ found: Violation) { if violation == nil { violation = found } }

    private func attempt(_ body: () throws(Violation) -> Void) {
        do throws(Violation) { try body() } catch { fail(error) }
    }

    // MARK: - Logs

    /// A member hands transactions to its log.
    func appended(_ batch: LogBatch, by process: MemberProcess) {
        let machine = process.machine
        let id = Int(machine.id.rawValue)
        for record in batch.records {
            let payload = batch.bytes.withBytes(in: record.range) { [UInt8]($0) }
            let last = machine.mirror.last
            let isNext = record.zxid == last.next && record.zxid.rawValue >> 32 == last.rawValue >> 32
            let isFirst = record.zxid.rawValue >> 32 > last.rawValue >> 32 && record.zxid.rawValue & 0xffff_ffff == 1
            if !isNext && !isFirst {
                fail(Violation(.notContiguous, "\(machine.id) logs \(record.zxid) behind \(last)"))
            }
            machine.mirror.append(record.zxid, payload)
            // Of its own epoch a leader logs what it makes. As a follower it may be sent that again later.
            let epoch = record.zxid.rawValue >> 32
            guard trace.leaders[epoch] == id, let entry = machine.mirror.entries.last,
                record.zxid > trace.broadcasts[epoch]?.last?.transaction.zxid ?? .zero
            else { continue }
            trace.broadcast(ZabTrace.Transaction(record.zxid, fingerprint: entry.fingerprint), by: id)
            if let txn = payload.withUnsafeBytes({ try? Txn(payload: $0) }) { checkExpiry(txn, by: process) }
        }
    }

    /// Nobody's session ends before its leader has not heard of it for its whole timeout (P8).
    private func checkExpiry(_ txn: Txn, by process: MemberProcess) {
        guard case .closeSession = txn.body, txn.header.cxid == 0 else { return }
        let session = txn.header.session
        run.counts[.sessionsExpired] += 1
        guard let timeout = committed.sessions[session]?.timeoutMilliseconds else { return }
        let last = process.heard[session]
        let heard = max(last?.at ?? 0, process.leadsSince)
        let silence = run.now(process.machine).monotonicMicroseconds - heard
        guard silence < Int64(timeout) * 1000 else { return }
        fail(
            Violation(
                .expiredTooEarly,
                "\(session) is ended by \(process.machine.id) after \(silence / 1000) ms of \(timeout), "
                    + "heard of by \(last?.by ?? "its election")"
            )
        )
    }

    // MARK: - Turns

    func observe(_ process: MemberProcess) {
        guard violation == nil else { return }
        run.mix(process)
        let id = process.machine.id.rawValue
        var before = seen[id] ?? Seen()
        if before.incarnation != process.incarnation { before = Seen(incarnation: process.incarnation) }
        var now = before
        now.isServing = process.member.isServing
        now.applied = process.core.lastProcessedZxid
        now.epoch = process.member.epoch.rawValue
        if case .leading = process.member.role { now.isLeading = true } else { now.isLeading = false }
        now.wasEstablished = now.isLeading && (now.isServing || (before.isLeading && before.wasEstablished))
        countLeadership(before, now, process)
        seen[id] = now
        guard now.isServing else {
            // A leader may step down in the very turn in which it has committed something.
            if before.isServing, before.isLeading, now.applied > before.applied {
                applied(process, now, after: before.applied, isLeading: true)
            }
            return
        }
        if !before.isServing || before.epoch != now.epoch {
            began(process, now)
        } else if now.applied > before.applied {
            applied(process, now, after: before.applied, isLeading: now.isLeading)
        }
    }

    private func countLeadership(_ before: Seen, _ now: Seen, _ process: MemberProcess) {
        if !before.isLeading, now.isLeading {
            let hasRival = run.machines.contains { machine in
                guard machine.id != process.machine.id, let rival = machine.process,
                    let last = seen[machine.id.rawValue]
                else { return false }
                return last.incarnation == rival.incarnation && last.isLeading
            }
            if hasRival { run.counts[.rivals] += 1 }
        }
        if before.isLeading, !now.isLeading {
            run.counts[before.wasEstablished ? .leadersLostQuorum : .leadersFailed] += 1
            let last = process.machine.mirror.last
            if before.wasEstablished, last.rawValue >> 32 == before.epoch, last > committed.last {
                run.counts[.leadersDeposed] += 1
            }
        }
    }

    /// Somebody begins to serve: a leader that a quorum follows, or a learner that is up to date.
    private func began(_ process: MemberProcess, _ now: Seen) {
        let id = Int(process.machine.id.rawValue)
        if now.isLeading {
            run.counts[.leaders] += 1
            process.leadsSince = run.now(process.machine).monotonicMicroseconds
            attempt { () throws(Violation) in
                try trace.lead(id, epoch: now.epoch)
                try checkHasAll(process, epoch: now.epoch)
                try commit(upTo: now.applied, process)
            }
        }
        let serves = now.isLeading ? "leads" : "follows in"
        run.narrate("\(process.machine.id) \(serves) epoch \(now.epoch) at \(now.applied)")
        checkApplied(process, now)
        trace.load(held(by: process, behind: .zero, upTo: now.applied), at: id)
    }

    /// What a member has in its own log, bytes and all. What came to it within a snapshot nobody can tell apart: that
    /// counts as what was committed, and the digest of the tree vouches for it.
    private func held(by process: MemberProcess, behind first: Zxid, upTo last: Zxid) -> [ZabTrace.Transaction] {
        let mirror = process.machine.mirror
        let snapshot = min(mirror.base, last)
        var held: [ZabTrace.Transaction] = []
        if snapshot > first {
            held = committed.entries[committed.position(of: first)..<committed.position(of: snapshot)]
                .map(EnsembleObserver.transaction)
        }
        let start = mirror.index(after: max(first, snapshot))
        let end = max(start, mirror.index(after: last))
        return held
            + mirror.entries[start..<end].map { ZabTrace.Transaction($0.zxid, fingerprint: $0.fingerprint) }
    }

    private static func transaction(_ entry: CommittedHistory.Entry) -> ZabTrace.Transaction {
        ZabTrace.Transaction(entry.zxid, fingerprint: entry.fingerprint)
    }

    private func applied(_ process: MemberProcess, _ now: Seen, after before: Zxid, isLeading: Bool) {
        if isLeading { attempt { () throws(Violation) in try commit(upTo: now.applied, process) } }
        for transaction in held(by: process, behind: before, upTo: now.applied) {
            trace.deliver(transaction, at: Int(process.machine.id.rawValue))
        }
        checkApplied(process, now)
    }

    /// What a member serves is what was committed, to the last bit that the digest covers (P12).
    private func checkApplied(_ process: MemberProcess, _ now: Seen) {
        let isEpochStart = now.applied.rawValue & 0xffff_ffff == 0
        if !isEpochStart, now.applied > committed.last {
            return fail(
                Violation(
                    .integrity,
                    "\(process.machine.id) serves \(now.applied), the last committed is \(committed.last)"
                )
            )
        }
        if process.core.digest != committed.digest(at: now.applied) {
            fail(Violation(.replicasDiffer, "the digest of \(process.machine.id) at \(now.applied)"))
        }
        if process.core.digestMismatchCount > 0 {
            fail(Violation(.wrongDigest, "\(process.machine.id) says so of itself at \(now.applied)"))
        }
    }

    /// A leader has everything that was ever committed in epochs before its own. One that stood still while others formed
    /// a later epoch may begin late: it commits nothing.
    private func checkHasAll(_ process: MemberProcess, epoch: Int64) throws(Violation) {
        let mirror = process.machine.mirror
        let first = committed.position(of: mirror.base)
        let earlier = committed.entries[min(first, committed.entries.count)...].prefix {
            $0.zxid.rawValue >> 32 < epoch
        }
        for entry in earlier {
            guard let own = mirror.entry(at: entry.zxid), own.fingerprint == entry.fingerprint else {
                throw Violation(.leaderLacksHistory, "\(process.machine.id) leads without \(entry.zxid)")
            }
        }
        guard let last = earlier.last?.zxid, process.core.lastProcessedZxid < last else { return }
        throw Violation(
            .leaderLacksHistory,
            "\(process.machine.id) leads at \(process.core.lastProcessedZxid), \(last) is committed"
        )
    }

    /// A leader has applied what was not known to be committed before.
    private func commit(upTo zxid: Zxid, _ process: MemberProcess) throws(Violation) {
        let mirror = process.machine.mirror
        var index = mirror.index(after: committed.last)
        while index < mirror.entries.count, mirror.entries[index].zxid <= zxid {
            let entry = mirror.entries[index]
            index += 1
            guard let txn = entry.payload.withUnsafeBytes({ try? Txn(payload: $0) }) else {
                throw Violation(.unusableFile, "\(entry.zxid) cannot be read")
            }
            try committed.append(txn, fingerprint: entry.fingerprint, at: run.time.microseconds)
            run.counts[.transactions] += 1
            try checkQuorum(entry)
            guard case .setData(_, let text, _, isReconfig: true) = txn.body else { continue }
            try reconfigured(text)
            // It needed the quorums of both.
            try checkQuorum(entry)
        }
        guard zxid.rawValue & 0xffff_ffff == 0 || zxid <= committed.last else {
            throw Violation(.integrity, "\(process.machine.id) has applied \(zxid), which its log does not have")
        }
    }

    private func reconfigured(_ text: [UInt8]?) throws(Violation) {
        guard let next = try? QuorumConfiguration.parse(utf8: text ?? []) else {
            throw Violation(.unusableFile, "a configuration that cannot be read")
        }
        run.configuration = next
        run.counts[.reconfigurations] += 1
        run.narrate("members are \(next.voters), of \(next.members.map(\.id))")
    }

    /// What is committed is stable on a quorum at that moment (P4).
    private func checkQuorum(_ entry: LogMirror.Entry) throws(Violation) {
        // A disk that was lost meanwhile counts as it was when what it had was acknowledged.
        let holders = run.machines.filter { machine in
            machine.mirror.isDurable(entry.zxid, fingerprint: entry.fingerprint)
                || machine.lost?.isDurable(entry.zxid, fingerprint: entry.fingerprint) == true
        }
        guard run.isQuorum(holders.map(\.id)) else {
            throw Violation(.noQuorum, "\(entry.zxid) is stable at \(holders.map(\.id)) only")
        }
    }

    // MARK: - The end

    /// Who serves learners lets no more wait for one than some pieces of a history: what it takes slowly is kept once for
    /// all, or read from disk. Before a connection has said how much it takes that is 64 kB, and the packet that goes over
    /// it is sent whole (seed 602532).
    private func checkBacklog() throws(Violation) {
        guard run.network.largestBacklog > 80 << 10 else { return }
        throw Violation(.unbounded, "\(run.network.largestBacklog) bytes waited for a server")
    }

    /// Everything that is left to check when a run is over.
    func check(_ history: History) throws(Violation) {
        if let violation { throw violation }
        try checkBacklog()
        try WriteCheck.check(history, committed)
        try ReadCheck.check(history, committed)
        try RealTimeOrderCheck.check(history, committed)
        try SessionOrderCheck.check(history, committed)
        try WatchCheck.check(history, committed)
        try SessionLifeCheck.check(history, committed)
        try RegisterCheck.check(history)
        try SequenceCheck.check(
            committed,
            parents: EnsembleWorkload.lastingPaths,
            prefix: EnsembleWorkload.sequencePrefix
        )
        try trace.check()
    }
}
