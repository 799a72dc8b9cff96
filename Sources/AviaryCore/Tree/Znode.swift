import ZooKeeperProtocol

/// A znode as the tree holds it: 128 bytes, no references, so that millions of them cost neither counting nor pauses.
struct Znode: BitwiseCopyable {
    var stat: StatPersisted
    // The stat ends four bytes before a pointer may stand.
    var pathLength: Int32
    /// Path and data in one allocation: `pathLength` bytes, then `dataLength` bytes when that is not −1.
    var blob: UnsafeMutableRawPointer
    /// −1: the data is null, which is not the same as empty.
    var dataLength: Int32
    var acl: AccessListID
    /// CRC over path and data, the unchanging part of the digest.
    var digestPrefix: UInt32
    /// CRC over path, data and stat: the node's share of the tree digest.
    var digest: UInt32

    var parent: Handle
    var firstChild: Handle = none
    var nextSibling: Handle = none
    /// The first child's points to the last one.
    var previousSibling: Handle = none
    var childCount: Int32 = 0
    /// All nodes below: to count them when somebody asks would hold up everybody else.
    var descendantCount: Int32 = 0

    /// Neighbours in the list of the same owner: the ephemerals of a session, the containers, or the TTL nodes.
    var nextOwned: Handle = none
    var previousOwned: Handle = none

    /// The change in flight that lies over it.
    var pending: PendingID = none

    /// The snapshot that already has this node (or need not have it).
    var snapshotMark: UInt32 = 0

    @inline(__always)
    var path: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: blob, count: Int(pathLength))
    }

    @inline(__always)
    var data: UnsafeRawBufferPointer? {
        dataLength < 0 ? nil : UnsafeRawBufferPointer(start: blob + Int(pathLength), count: Int(dataLength))
    }
}

extension StatPersisted {
    /// The stat that a client sees (docs/protocol/client-protocol.md section 7.4).
    ///
    /// - Parameter isEphemeral: only then does the owner show; containers and TTL nodes show 0.
    @inline(__always)
    func clientStat(dataLength: Int32, childCount: Int32, isEphemeral: Bool) -> Stat {
        Stat(
            czxid: czxid,
            mzxid: mzxid,
            ctime: ctime,
            mtime: mtime,
            version: version,
            cversion: cversion &* 2 &- childCount,
            aversion: aversion,
            ephemeralOwner: isEphemeral ? ephemeralOwner : 0,
            dataLength: max(dataLength, 0),
            numChildren: childCount,
            pzxid: pzxid
        )
    }
}
