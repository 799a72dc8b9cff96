/// What a client is told about a znode, 68 bytes on the wire (docs/protocol/client-protocol.md section 7.4).
@frozen
package struct Stat: Hashable, Sendable {
    package var czxid: Zxid
    package var mzxid: Zxid
    /// Milliseconds since 1970.
    package var ctime: Int64
    /// Milliseconds since 1970.
    package var mtime: Int64
    package var version: Int32
    package var cversion: Int32
    package var aversion: Int32
    /// The session of an ephemeral; 0 for every other kind.
    package var ephemeralOwner: Int64
    package var dataLength: Int32
    package var numChildren: Int32
    package var pzxid: Zxid

    @inlinable
    package init(
        czxid: Zxid,
        mzxid: Zxid,
        ctime: Int64,
        mtime: Int64,
        version: Int32,
        cversion: Int32,
        aversion: Int32,
        ephemeralOwner: Int64,
        dataLength: Int32,
        numChildren: Int32,
        pzxid: Zxid
    ) {
        self.czxid = czxid
        self.mzxid = mzxid
        self.ctime = ctime
        self.mtime = mtime
        self.version = version
        self.cversion = cversion
        self.aversion = aversion
        self.ephemeralOwner = ephemeralOwner
        self.dataLength = dataLength
        self.numChildren = numChildren
        self.pzxid = pzxid
    }

    package static let encodedSize = 68

    @inlinable
    package func write(to writer: inout JuteWriter) {
        writer.reserve(Stat.encodedSize)
        writer.int64(czxid.rawValue)
        writer.int64(mzxid.rawValue)
        writer.int64(ctime)
        writer.int64(mtime)
        writer.int32(version)
        writer.int32(cversion)
        writer.int32(aversion)
        writer.int64(ephemeralOwner)
        writer.int32(dataLength)
        writer.int32(numChildren)
        writer.int64(pzxid.rawValue)
    }

    package init(from reader: inout JuteReader) throws(JuteError) {
        czxid = Zxid(try reader.int64())
        mzxid = Zxid(try reader.int64())
        ctime = try reader.int64()
        mtime = try reader.int64()
        version = try reader.int32()
        cversion = try reader.int32()
        aversion = try reader.int32()
        ephemeralOwner = try reader.int64()
        dataLength = try reader.int32()
        numChildren = try reader.int32()
        pzxid = Zxid(try reader.int64())
    }
}

/// What is stored of a znode's stat: 60 bytes in snapshots and in the digest (docs/protocol/disk-format.md section 4.1).
///
/// `cversion` counts creates only and `ephemeralOwner` also tells containers and TTL nodes (client-protocol 7.3).
@frozen
package struct StatPersisted: Hashable, Sendable {
    package var czxid: Zxid
    package var mzxid: Zxid
    package var ctime: Int64
    package var mtime: Int64
    package var ephemeralOwner: Int64
    package var pzxid: Zxid
    // Last, so that a struct that holds this one has no hole in it.
    package var version: Int32
    package var cversion: Int32
    package var aversion: Int32

    @inlinable
    package init(
        czxid: Zxid,
        mzxid: Zxid,
        ctime: Int64,
        mtime: Int64,
        version: Int32 = 0,
        cversion: Int32 = 0,
        aversion: Int32 = 0,
        ephemeralOwner: Int64 = 0,
        pzxid: Zxid
    ) {
        self.czxid = czxid
        self.mzxid = mzxid
        self.ctime = ctime
        self.mtime = mtime
        self.version = version
        self.cversion = cversion
        self.aversion = aversion
        self.ephemeralOwner = ephemeralOwner
        self.pzxid = pzxid
    }

    /// Every field zero: the stat of the nodes that a fresh tree starts with.
    package static let zero = StatPersisted(czxid: .zero, mzxid: .zero, ctime: 0, mtime: 0, pzxid: .zero)

    package static let encodedSize = 60

    package init(from reader: inout JuteReader) throws(JuteError) {
        czxid = Zxid(try reader.int64())
        mzxid = Zxid(try reader.int64())
        ctime = try reader.int64()
        mtime = try reader.int64()
        version = try reader.int32()
        cversion = try reader.int32()
        aversion = try reader.int32()
        ephemeralOwner = try reader.int64()
        pzxid = Zxid(try reader.int64())
    }

    @inlinable
    package func write(to writer: inout JuteWriter) {
        writer.reserve(StatPersisted.encodedSize)
        writer.int64(czxid.rawValue)
        writer.int64(mzxid.rawValue)
        writer.int64(ctime)
        writer.int64(mtime)
        writer.int32(version)
        writer.int32(cversion)
        writer.int32(aversion)
        writer.int64(ephemeralOwner)
        writer.int64(pzxid.rawValue)
    }
}
