package import ZooKeeperProtocol

/// Takes what a snapshot holds, in the order of the file: sessions, ACLs, nodes.
///
/// Bytes are lent for the length of the call.
package protocol SnapshotSink: ~Copyable {
    mutating func restore(session: SessionID, timeoutMilliseconds: Int32)

    /// An entry of the table that nodes refer to; `SnapshotNode.openACL` is usually not in it.
    mutating func restore(aclID: Int64, acl: [ACL])

    /// A node. Its parent came before it; the root is first and has the path "".
    mutating func restore(
        path: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer?,
        aclID: Int64,
        stat: StatPersisted
    ) throws(RestoreError)
}

/// What recovery fills: the tree and the sessions of a server.
///
/// A run starts with `reset`, then takes either one whole snapshot, ended by `finishSnapshot`, or `restoreFreshTree`;
/// then transactions in the order of their zxids; then `finishReplay`. A run that fails leaves it in any state: the next
/// `reset` has to clear everything.
package protocol RecoveryTarget: SnapshotSink, ~Copyable {
    /// Forgets everything: sessions, ACLs and all nodes, the root too.
    mutating func reset()

    /// Makes the tree that a new database starts with: the root, /zookeeper, /zookeeper/quota, /zookeeper/config.
    mutating func restoreFreshTree()

    /// Every node is there: derive what is not stored (indexes by owner, quota counts).
    mutating func finishSnapshot() throws(RestoreError)

    /// Applies one transaction (docs/protocol/quorum-protocol.md section 17.2), session table included. That a node
    /// exists already or is missing is no error: the snapshot may be ahead of it. A missing parent is one, unless a
    /// later transaction deletes it: so it is told by `finishReplay`.
    mutating func replay(_ txn: Txn) throws(RestoreError)

    /// The last transaction was applied. What a fuzzy snapshot may leave open has to be closed now: a node whose ACL is
    /// still unknown is an error.
    mutating func finishReplay() throws(RestoreError)

    /// The tree digest as of now (docs/protocol/quorum-protocol.md section 17.3); asked for only when recovery is told
    /// to compare digests.
    var digest: UInt64 { get }
}

/// Why a node or a transaction does not fit to what is loaded.
package enum RestoreError: Error, Hashable, Sendable, CustomStringConvertible {
    case missingParent(path: String)
    case duplicateNode(path: String)
    case badPath(String)
    case missingRoot
    case unknownACL(id: Int64, path: String)
    case other(String)

    package var description: String {
        switch self {
        case .missingParent(let path): "the parent of \(path) is missing"
        case .duplicateNode(let path): "\(path) occurs twice"
        case .badPath(let path): "\"\(path)\" is not a path"
        case .missingRoot: "the root node is missing"
        case .unknownACL(let id, let path): "\(path) refers to ACL \(id), which is not in the table"
        case .other(let text): text
        }
    }
}
