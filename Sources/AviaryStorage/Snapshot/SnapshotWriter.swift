package import ZooKeeperProtocol

/// Writes one snapshot, piece by piece as the tree is walked (docs/protocol/disk-format.md section 4).
///
/// The file has another name until it is complete and on disk, so a snapshot is either whole or not there. Memory is
/// bounded: pieces go to the disk as they come.
///
/// Calls in order: `begin`, `append` any number of times, `finish`; `abandon` at any time, and after every error. An
/// error costs this snapshot and nothing else, the log goes on; what it says about the disk is for the caller to judge.
package struct SnapshotWriter<D: Disk, Gzip: StreamCodec>: ~Copyable {
    private let disk: D
    private let directory: String
    private let compression: SnapshotCompression
    private let gzip: Gzip
    private let syncEveryBytes: Int64

    private var state = State.idle
    /// What is not written yet; as it is in the file when nothing is packed.
    private var pending = JuteWriter(
        capacity: SnapshotWriterLimits.pieceBytes + (64 << 10),
        alignment: SnapshotWriterLimits.blockBytes
    )
    /// Up to here `adler` covers `pending`.
    private var sealed = 0
    private var adler = Adler32.initial
    private var packed = JuteWriter(capacity: 64 << 10)
    private var packer: (any StreamCompressor)?
    private var offset: Int64 = 0
    private var syncedOffset: Int64 = 0

    private enum State {
        case idle
        case writing(Target)
    }

    private struct Target {
        var file: D.File
        var zxid: Zxid
        /// The path while it is written.
        var unfinished: String
        /// What it is called when it is on disk.
        var name: String
        /// Whether the mark behind the nodes comes with them.
        var isRaw = false
    }

    /// - Parameters:
    ///   - directory: the `version-2` folder of `dataDir`.
    ///   - gzip: used with `.gzip` only.
    ///   - syncEveryBytes: how much may wait for the disk. A whole large file in one sync would hold up those of the
    ///     log for as long.
    package init(
        disk: D,
        directory: String,
        compression: SnapshotCompression = .none,
        gzip: Gzip,
        syncEveryBytes: Int64 = 32 << 20
    ) {
        self.disk = disk
        self.directory = directory
        self.compression = compression
        self.gzip = gzip
        self.syncEveryBytes = syncEveryBytes
    }

    /// Starts a snapshot of the state after `zxid`.
    ///
    /// - Parameters:
    ///   - sessions: with their timeouts in milliseconds.
    ///   - acls: the table that nodes refer to.
    package mutating func begin(
        zxid: Zxid,
        sessions: [(SessionID, Int32)],
        acls: [(Int64, [ACL])]
    ) throws(StorageError) {
        let name = FileNames.snapshot(zxid, compression)
        let unfinished = FileNames.join(directory, name + FileNames.unfinishedSuffix)
        try open(zxid, unfinished: unfinished, name: name, isRaw: false)
        guard case .writing(let target) = state else { return }
        let file = target.file
        pending.int32(Int32(truncatingIfNeeded: sessions.count))
        for (session, timeout) in sessions {
            pending.int64(session.rawValue)
            pending.int32(timeout)
            try writePieces(to: file)
        }
        pending.int32(Int32(truncatingIfNeeded: acls.count))
        for (id, acl) in acls {
            pending.int64(id)
            ACL.write(acl, to: &pending)
            try writePieces(to: file)
        }
    }

    /// Starts a snapshot whose sessions, ACLs and nodes come as bytes, with the mark behind the nodes.
    ///
    /// - Parameters:
    ///   - unfinished: the file's name until it is complete.
    ///   - name: its name then.
    mutating func begin(raw zxid: Zxid, unfinished: String, name: String) throws(StorageError) {
        try open(zxid, unfinished: FileNames.join(directory, unfinished), name: name, isRaw: true)
    }

    private mutating func open(
        _ zxid: Zxid,
        unfinished: String,
        name: String,
        isRaw: Bool
    ) throws(StorageError) {
        guard case .idle = state else { return invariant(false, "a snapshot is being written already") }
        do { packer = try makePacker() } catch {
            throw .compressionFailed(file: unfinished, reason: error.description)
        }
        let file: D.File
        do { file = try disk.open(unfinished, .replace) } catch { throw .snapshotFailed(error) }
        state = .writing(Target(file: file, zxid: zxid, unfinished: unfinished, name: name, isRaw: isRaw))
        pending.removeAll(keeping: SnapshotWriterLimits.pieceBytes * 2)
        packed.removeAll()
        sealed = 0
        adler = Adler32.initial
        offset = 0
        syncedOffset = 0
        pending.int32(SnapshotFormat.magic)
        pending.int32(SnapshotFormat.version)
        pending.int64(SnapshotFormat.dbid)
    }

    /// Adds nodes, parents before children, the root first with the path "".
    ///
    /// - Parameter nodes: any number of whole nodes as `SnapshotNode.write` writes them; copied. Of a snapshot that was
    ///   begun `raw`, any bytes of it.
    package mutating func append(nodes: UnsafeRawBufferPointer) throws(StorageError) {
        guard case .writing(let target) = state else { return invariant(false, "no snapshot is being written") }
        pending.raw(nodes)
        try writePieces(to: target.file)
    }

    /// Ends the nodes, seals the file, and gives it its name once it is on disk.
    ///
    /// - Parameters:
    ///   - digest: the tree digest after the snapshot's zxid; nil to leave it out (`digest.enabled=false`).
    ///   - lastProcessed: whether the last applied zxid follows (`serializeLastProcessedZxid.enabled`).
    /// - Returns: the file as it now stands.
    @discardableResult
    package mutating func finish(digest: UInt64?, lastProcessed: Bool) throws(StorageError) -> DirectoryEntry {
        guard case .writing(let target) = state else {
            invariant(false, "no snapshot is being written")
            return DirectoryEntry(name: "", size: 0)
        }
        let (file, zxid) = (target.file, target.zxid)
        if !target.isRaw { writeEndMark() }
        seal()
        if let digest {
            pending.int64(zxid.rawValue)
            pending.int32(SnapshotFormat.digestVersion)
            pending.int64(Int64(bitPattern: digest))
            seal()
        }
        if lastProcessed {
            pending.int64(zxid.rawValue)
            seal()
        }
        try writePiece(to: file, isLast: true)
        if let packer {
            do { try packer.finish(into: &packed) } catch { throw compressionFailed(error, target) }
            try writePacked(to: file)
        }
        do { try file.syncFile() } catch { throw .snapshotFailed(error) }
        do {
            try disk.rename(target.unfinished, to: FileNames.join(directory, target.name))
            try disk.sync(directory: directory)
        } catch {
            throw .snapshotFailed(error)
        }
        state = .idle
        packer = nil
        return DirectoryEntry(name: target.name, size: offset)
    }

    /// Gives the snapshot up and removes what was written of it.
    package mutating func abandon() {
        guard case .writing(let target) = state else { return }
        state = .idle
        packer = nil
        // What cannot be removed now is removed by the next start.
        try? disk.remove(target.unfinished)
    }

    // MARK: - Pieces

    private mutating func seal() {
        sealPending()
        pending.int64(Int64(adler))
        writeEndMark()
    }

    private mutating func writeEndMark() {
        pending.int32(1)
        pending.byte(SnapshotFormat.endMark)
    }

    /// Takes what was added since into the running checksum.
    private mutating func sealPending() {
        adler = pending.withBytes(in: sealed..<pending.count) { Adler32.update(adler, $0) }
        sealed = pending.count
    }

    private mutating func writePieces(to file: D.File) throws(StorageError) {
        if pending.count >= SnapshotWriterLimits.pieceBytes { try writePiece(to: file, isLast: false) }
    }

    /// Writes what is pending, all but the last in whole blocks: these need not be copied into the system's memory,
    /// which costs several times what making the snapshot costs, and pushes out what somebody needs.
    private mutating func writePiece(to file: D.File, isLast: Bool) throws(StorageError) {
        guard case .writing(let target) = state else { return }
        sealPending()
        if let packer {
            do {
                try pending.withBytes { (bytes) throws(StreamCodecError) in
                    try packer.compress(bytes, into: &packed)
                }
            } catch {
                throw compressionFailed(error, target)
            }
            try writePacked(to: file)
            pending.keepLast(0)
        } else {
            let rest = isLast ? 0 : pending.count % SnapshotWriterLimits.blockBytes
            let start = offset
            offset += Int64(pending.count - rest)
            do {
                try pending.withBytes(in: 0..<(pending.count - rest)) { (bytes) throws(DiskError) in
                    if isLast { try file.write(bytes, at: start) } else { try file.writeBlocks(bytes, at: start) }
                }
            } catch {
                throw .snapshotFailed(error)
            }
            try syncOnTheWay(file)
            pending.keepLast(rest)
        }
        pending.giveBack(above: SnapshotWriterLimits.pieceBytes * 2)
        sealed = pending.count
    }

    private mutating func writePacked(to file: D.File) throws(StorageError) {
        offset += Int64(packed.count)
        do {
            try packed.withBytes { (bytes) throws(DiskError) in
                try file.write(bytes, at: offset - Int64(bytes.count))
            }
        } catch {
            throw .snapshotFailed(error)
        }
        packed.removeAll(keeping: SnapshotWriterLimits.pieceBytes * 2)
        try syncOnTheWay(file)
    }

    private mutating func syncOnTheWay(_ file: D.File) throws(StorageError) {
        guard offset - syncedOffset >= syncEveryBytes else { return }
        do { try file.syncData() } catch { throw .snapshotFailed(error) }
        syncedOffset = offset
    }

    private func makePacker() throws(StreamCodecError) -> (any StreamCompressor)? {
        switch compression {
        case .none: nil
        case .gzip: try gzip.makeCompressor()
        case .snappy: SnappyCodec().makeCompressor()
        }
    }

    private func compressionFailed(_ error: StreamCodecError, _ target: Target) -> StorageError {
        .compressionFailed(file: target.unfinished, reason: error.description)
    }
}

private enum SnapshotWriterLimits {
    /// Bytes that are collected before they are written.
    static let pieceBytes = 1 << 20
    static let blockBytes = 4096
}
