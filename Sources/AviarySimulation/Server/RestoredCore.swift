package import AviaryCore
package import AviaryStorage
package import ZooKeeperProtocol

/// Lets recovery fill the core, as the server's own adapter does, with a fault on the way if one is planted.
package struct RestoredCore: ~Copyable, RecoveryTarget {
    private var core: ServerCore
    private let planted: PlantedFault?
    private var hasReplayed = false

    package init(_ core: consuming ServerCore, planted: PlantedFault? = nil) {
        self.core = core
        self.planted = planted
    }

    /// The core as recovery left it.
    package consuming func finish() -> ServerCore { core }

    package mutating func reset() {
        core.reset()
        hasReplayed = false
    }

    package mutating func restoreFreshTree() { core.restoreFreshTree() }

    package mutating func restore(session: SessionID, timeoutMilliseconds: Int32) {
        core.restore(session: session, timeoutMilliseconds: timeoutMilliseconds)
    }

    package mutating func restore(aclID: Int64, acl: [ACL]) { core.restore(aclID: aclID, acl: acl) }

    package mutating func restore(
        path: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer?,
        aclID: Int64,
        stat: StatPersisted
    ) throws(RestoreError) {
        do { try core.restore(path: path, data: data, aclID: aclID, stat: stat) } catch { throw RestoreError(error) }
    }

    package mutating func finishSnapshot() throws(RestoreError) {
        do { try core.finishSnapshot() } catch { throw RestoreError(error) }
    }

    package mutating func replay(_ txn: Txn) throws(RestoreError) {
        defer { hasReplayed = true }
        var txn = txn
        switch (planted, txn.body) {
        case (.replaySkipped, _):
            return
        case (.replayStartsLate, _) where !hasReplayed:
            return
        case (.multiCutShort, .multi(let parts)):
            txn.body = .multi(Array(parts.prefix(1)))
        case (.sequenceLost, .create(var create)) where create.parentCVersion > 0:
            create.parentCVersion -= 1
            txn.body = .create(create)
        case (.ephemeralsSurvive, .closeSession(let paths?)):
            do {
                try core.replay(txn)
                for path in paths { try core.replay(RestoredCore.revival(of: path, after: txn.header)) }
            } catch {
                throw RestoreError(error)
            }
            return
        default:
            break
        }
        do { try core.replay(txn) } catch { throw RestoreError(error) }
    }

    private static func revival(of path: [UInt8], after header: TxnHeader) -> Txn {
        let create = TxnBody.CreateTxn(
            kind: .create,
            path: path,
            data: nil,
            acl: ACL.open,
            isEphemeral: true,
            parentCVersion: -1
        )
        return Txn(header: header, body: .create(create), digest: nil)
    }

    package mutating func finishReplay() throws(RestoreError) {
        do { try core.finishReplay() } catch { throw RestoreError(error) }
    }

    package var digest: UInt64 { core.digest }
}

extension RestoreError {
    fileprivate init(_ failure: RestoreFailure) { self = .other("\(failure)") }
}
