internal import AviaryCore
internal import AviaryEnsemble
internal import AviaryStorage
internal import Zab
internal import ZooKeeperProtocol

/// Something that a leader wants to know of its own files for a learner.
final class HistoryJob {
    let link: LinkID
    var request: HistoryRequest
    /// The snapshot that is being sent.
    var stream: StreamedSnapshot?
    var isStreaming: Bool { stream != nil }

    init(link: LinkID, request: HistoryRequest) {
        self.link = link
        self.request = request
    }
}

/// A reader of a log, kept for the next piece.
final class KeptReader {
    var reader: HistoryReader<SimulatedDisk>
    /// Everything up to here was given out.
    var last: Zxid

    init(_ reader: consuming HistoryReader<SimulatedDisk>, after zxid: Zxid) {
        self.reader = reader
        last = zxid
    }
}

final class StreamedSnapshot {
    var streamer: SnapshotStreamer<SimulatedDisk, NoGzip>
    let zxid: Zxid

    init(_ streamer: consuming SnapshotStreamer<SimulatedDisk, NoGzip>) {
        zxid = streamer.zxid
        self.streamer = streamer
    }
}

/// The thread that reads a leader's files for learners: one question after the other, each taking its time.
extension MemberProcess {
    func read(_ request: HistoryRequest, for link: LinkID) {
        histories.append(HistoryJob(link: link, request: request))
        planHistory()
    }

    private func planHistory() {
        guard !isHistoryBusy, histories.contains(where: { !$0.isStreaming }) else { return }
        isHistoryBusy = true
        run.plan(
            .history(server: machine.host.rawValue, incarnation: incarnation),
            after: run.diskDelay(machine)
        )
    }

    func stepHistory() {
        isHistoryBusy = false
        if let index = histories.firstIndex(where: { !$0.isStreaming }) {
            let job = histories[index]
            switch job.request {
            case .records(let after, let through, let maxBytes, let isFirst):
                histories.remove(at: index)
                readRecords(job.link, after, through, maxBytes, isFirst: isFirst)
            case .snapshot:
                beginStream(job)
            }
        }
        planHistory()
        endTurn()
    }

    // MARK: - Logs

    private func readRecords(_ link: LinkID, _ after: Zxid, _ through: Zxid, _ maxBytes: Int, isFirst: Bool) {
        let batch = LogBatch()
        do throws(HistoryUnavailable) {
            let kept = try reader(link, after: after, isFirst: isFirst)
            _ = try kept.reader.readRecords(upTo: through, maxBytes: maxBytes, into: batch)
            if run.planted == .historyHole, batch.records.count > 2 { batch.records.remove(at: 1) }
            kept.last = batch.records.last?.zxid ?? kept.last
            readers[link] = kept
            if isFirst { markFromDisk(link) }
            answer(link, previous: kept.reader.previous ?? after, batch)
        } catch {
            run.narrate("\(machine.id): \(error.description)")
            readers[link] = nil
            answerImpossible(link)
        }
    }

    private func reader(_ link: LinkID, after: Zxid, isFirst: Bool) throws(HistoryUnavailable) -> KeptReader {
        if !isFirst, let kept = readers[link], kept.last == after { return kept }
        guard isFirst else { return KeptReader(try history.records(after: after, isBase: true), after: after) }
        return KeptReader(
            try history.records(forLearnerAt: after, snapshotSizeFactor: run.settings.snapshotSizeFactor),
            after: after
        )
    }

    // MARK: - Snapshots

    private func beginStream(_ job: HistoryJob) {
        do throws(HistoryUnavailable) {
            let streamer = try history.snapshot(upTo: worker.durableZxid, remembered: member.historyFloor)
            let stream = StreamedSnapshot(streamer)
            job.stream = stream
            var writer = JuteWriter()
            QuorumPacket.write(.snap, zxid: stream.zxid, to: &writer)
            sendDirectly(writer.copy(), on: job.link)
            streamHistories()
        } catch {
            run.narrate("\(machine.id): \(error.description)")
            histories.removeAll { $0 === job }
            answerImpossible(job.link)
        }
    }

    /// Sends as much of the snapshots under way as their links take.
    func streamHistories() {
        for job in histories {
            guard let stream = job.stream else { continue }
            while credit(of: job.link) > 0 {
                var piece = JuteWriter()
                let hasMore: Bool
                do throws(HistoryUnavailable) {
                    hasMore = try stream.streamer.read(maxBytes: min(credit(of: job.link), 700), into: &piece)
                } catch {
                    histories.removeAll { $0 === job }
                    answerImpossible(job.link)
                    break
                }
                sendDirectly(piece.copy(), on: job.link)
                guard !hasMore else { continue }
                histories.removeAll { $0 === job }
                answerStreamed(job.link, stream.zxid)
                break
            }
        }
    }

    // MARK: - Answers

    func credit(of link: LinkID) -> Int {
        guard let open = links[link] else { return 0 }
        return run.network.credit(on: open.key, from: open.end)
    }

    func sendDirectly(_ bytes: [UInt8], on link: LinkID) {
        guard let open = links[link] else { return }
        if !bytes.isEmpty { watchStream(bytes, link) }
        run.network.send(bytes, on: open.key, from: open.end)
    }

    func markFromDisk(_ link: LinkID) { links[link]?.sent.isFromDisk = true }

    func answer(_ link: LinkID, previous: Zxid, _ batch: LogBatch) {
        let now = run.now(machine)
        batch.bytes.withBytes { bytes in
            let records = batch.records.map { record in
                HistoryRecord(zxid: record.zxid, payload: UnsafeRawBufferPointer(rebasing: bytes[record.range]))
            }
            member.historyRead(link, .records(previous: previous, records), &core, at: now, into: &output)
        }
        tellCredit(link, at: now)
    }

    func answerStreamed(_ link: LinkID, _ zxid: Zxid) {
        let now = run.now(machine)
        member.historyRead(link, .snapshotStreamed(zxid), &core, at: now, into: &output)
        tellCredit(link, at: now)
    }

    func answerImpossible(_ link: LinkID) {
        let now = run.now(machine)
        member.historyRead(link, .impossible, &core, at: now, into: &output)
    }
}
