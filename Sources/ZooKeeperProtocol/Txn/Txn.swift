/// The part that every transaction has (docs/protocol/quorum-protocol.md section 17.1).
@frozen
package struct TxnHeader: Hashable, Sendable {
    /// The session that asked for it; `.none` for what the server does by itself.
    package var session: SessionID
    /// The xid of the request.
    package var cxid: Int32
    package var zxid: Zxid
    /// Milliseconds since 1970 by the clock of the server that made it.
    package var time: Int64

    package init(session: SessionID, cxid: Int32, zxid: Zxid, time: Int64) {
        self.session = session
        self.cxid = cxid
        self.zxid = zxid
        self.time = time
    }
}

/// The tree's digest after a transaction (docs/protocol/quorum-protocol.md section 17.3).
@frozen
package struct TxnDigest: Hashable, Sendable {
    package static let version: Int32 = 2

    package var version: Int32
    package var value: UInt64

    package init(version: Int32 = TxnDigest.version, value: UInt64) {
        self.version = version
        self.value = value
    }
}

/// What a transaction changes. Paths are the UTF-8 bytes of the final path; the root is "/".
package enum TxnBody: Hashable, Sendable {
    case createSession(timeoutMilliseconds: Int32)
    /// The ephemerals to delete; nil is the old form without a list.
    case closeSession(paths: [[UInt8]]?)
    /// A refused request: changes nothing but took a zxid.
    case error(ErrorCode)
    case create(CreateTxn)
    /// Type `delete` or `deleteContainer`.
    case delete(path: [UInt8], byContainerCheck: Bool)
    /// `version` is the new one. Type `setData` or `reconfig`.
    case setData(path: [UInt8], data: [UInt8]?, version: Int32, isReconfig: Bool)
    /// `version` is the new aversion.
    case setACL(path: [UInt8], acl: [ACL], version: Int32)
    /// Changes nothing; only inside a multi. `version` is the current one plus one.
    case check(path: [UInt8], version: Int32)
    /// All or nothing: if any part is an error, nothing is applied.
    case multi([TxnBody])

    package struct CreateTxn: Hashable, Sendable {
        package enum Kind: Hashable, Sendable {
            case create, create2, container
            case ttl(milliseconds: Int64)
        }

        package var kind: Kind
        package var path: [UInt8]
        package var data: [UInt8]?
        package var acl: [ACL]
        /// Only with `create` and `create2`.
        package var isEphemeral: Bool
        /// The parent's create counter afterwards; −1 in logs older than 3.5: one more than it is.
        package var parentCVersion: Int32

        package init(
            kind: Kind,
            path: [UInt8],
            data: [UInt8]?,
            acl: [ACL],
            isEphemeral: Bool,
            parentCVersion: Int32
        ) {
            self.kind = kind
            self.path = path
            self.data = data
            self.acl = acl
            self.isEphemeral = isEphemeral
            self.parentCVersion = parentCVersion
        }
    }

    /// The type number on the wire and in the log.
    package var type: Operation {
        switch self {
        case .createSession: .createSession
        case .closeSession: .closeSession
        case .error: .error
        case .create(let txn):
            switch txn.kind {
            case .create: .create
            case .create2: .create2
            case .container: .createContainer
            case .ttl: .createTTL
            }
        case .delete(_, let byContainerCheck): byContainerCheck ? .deleteContainer : .delete
        case .setData(_, _, _, let isReconfig): isReconfig ? .reconfig : .setData
        case .setACL: .setACL
        case .check: .check
        case .multi: .multi
        }
    }
}

/// A transaction as it is logged, proposed and replayed.
package struct Txn: Hashable, Sendable {
    package var header: TxnHeader
    package var body: TxnBody
    package var digest: TxnDigest?

    package init(header: TxnHeader, body: TxnBody, digest: TxnDigest?) {
        self.header = header
        self.body = body
        self.digest = digest
    }
}
