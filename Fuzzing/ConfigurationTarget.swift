import AviaryCore
import AviaryStorage
import ZooKeeperProtocol

/// A zoo.cfg; behind the first zero byte the dynamic file that it may name, and behind the next one the file `myid`.
enum ConfigurationTarget {
    static func run(_ bytes: UnsafeRawBufferPointer) {
        let parts = bytes.split(separator: 0, maxSplits: 2, omittingEmptySubsequences: false)
        let file = ConfigurationText(name: "zoo.cfg", text: text(parts.first))
        let dynamic = parts.count > 1 ? text(parts[1]) : ""
        let myid = parts.count > 2 ? text(parts[2]) : "1"
        do {
            let (configuration, notes) = try ServerConfiguration.read(file: file) { path throws(UnreadableFile) in
                path.hasSuffix("/myid") ? myid : dynamic
            }
            for note in notes { expect(!note.text.isEmpty, "a note without words") }
            use(configuration)
        } catch {
            expect(!error.problems.isEmpty, "refused without a reason")
            expect(!"\(error)".isEmpty, "an error without words")
        }
    }

    private static func text(_ bytes: Slice<UnsafeRawBufferPointer>?) -> String {
        (try? ConfigurationFile.text(of: [UInt8](bytes ?? UnsafeRawBufferPointer(start: nil, count: 0)[...])[...]))
            ?? ""
    }

    /// What is accepted is used as a start does it, and a client comes.
    private static func use(_ configuration: ServerConfiguration) {
        let limits = Limits(configuration, maximumDescriptors: 1024)
        expect(limits.maximumUnsentBytes > 0 && limits.maximumConnections > 0, "limits that let nobody in")
        var throttle = ConnectionThrottle(configuration.connectionThrottle, nowMilliseconds: 0)
        for second in 0..<4 {
            _ = throttle.admits(renewsSession: second == 1, nowMilliseconds: Int64(second * 1000), chance: 0.5)
        }
        let storage = configuration.storage
        let durations = [storage.flushDelay, storage.maximumQueuePollTime, storage.fsyncWarningThreshold]
        expect(durations.allSatisfy { $0.microseconds >= 0 }, "a time below nothing in \(durations)")
        expect(storage.preallocationSize >= 0 && storage.snapshotCount > 0, "sizes below nothing")
        if let ensemble = configuration.ensemble { use(ensemble) }
        let server = FuzzServer { $0 = CoreOptions(configuration) }
        defer { server.close() }
        let client = server.connect()
        expect(client.session != .none, "no session with an accepted configuration")
        server.request(.create, xid: 1, on: client) {
            $0.string("/a")
            $0.string("x")
            ACL.write(ACL.open, to: &$0)
            $0.int32(1)
        }
        server.advance(milliseconds: 61_000)
        server.settle()
    }

    /// A member knows who it is, what a quorum is, and how long it waits.
    private static func use(_ ensemble: EnsembleConfiguration) {
        expect(ensemble.ownMember?.id == ensemble.me, "a member that is not among the members")
        expect(ensemble.initLimit > 0 && ensemble.syncLimit > 0, "limits that leave no time")
        let waits = [ensemble.connectTimeout, ensemble.introductionTimeout, ensemble.minimumNotificationInterval]
        expect(waits.allSatisfy { $0.microseconds >= 0 }, "a time below nothing in \(waits)")
        expect(!ensemble.members.voters.isEmpty, "an ensemble without a participant")
        expect(ensemble.members.isQuorum(Set(ensemble.members.voters)), "all of them are no quorum")
    }
}
