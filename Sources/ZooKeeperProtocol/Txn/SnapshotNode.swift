/// A znode as a snapshot holds it (docs/protocol/disk-format.md section 4.1).
package enum SnapshotNode {
    /// Stands for world:anyone with all permissions, without an entry in the ACL table.
    package static let openACL: Int64 = -1

    @inlinable
    package static func write(
        path: UnsafeRawBufferPointer,
        data: UnsafeRawBufferPointer?,
        aclID: Int64,
        stat: StatPersisted,
        to writer: inout JuteWriter
    ) {
        writer.reserve(path.count + (data?.count ?? 0) + 16 + StatPersisted.encodedSize)
        writer.buffer(path)
        writer.buffer(data)
        writer.int64(aclID)
        stat.write(to: &writer)
    }
}
