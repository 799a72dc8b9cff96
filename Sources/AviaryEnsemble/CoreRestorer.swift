package import AviaryCore
package import AviaryStorage
package import ZooKeeperProtocol

/// Lets recovery fill the core. The two know nothing of each other; only their errors need a translation.
package struct CoreRestorer: ~Copyable, RecoveryTarget {
    private var core: ServerCore

    package init(_ core: consuming ServerCore) {
        self.core = core
    }

    /// The core as recovery left it.
    package consuming func finish() -> ServerCore { core }

    package mutating func reset() { core.reset() }

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
        do { try core.replay(txn) } catch { throw RestoreError(error) }
    }

    package mutating func finishReplay() throws(RestoreError) {
        do { try core.finishReplay() } catch { throw RestoreError(error) }
    }

    package var digest: UInt64 { core.digest }
}

extension RestoreError {
    init(_ failure: RestoreFailure) {
        switch failure {
        case .missingParent(let path): self = .missingParent(path: path)
        case .duplicateNode(let path): self = .duplicateNode(path: path)
        case .badPath(let path): self = .badPath(path)
        case .missingRoot: self = .missingRoot
        case .unknownACL(let id, let path): self = .unknownACL(id: id, path: path)
        }
    }
}
