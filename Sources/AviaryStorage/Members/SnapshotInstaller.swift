package import ZooKeeperProtocol

/// Puts a leader's snapshot in place of everything that is there (SNAP, docs/protocol/quorum-protocol.md sections 9
/// and 10; hazards H4 and H10 of section 18).
///
/// The snapshot is written under a name that nobody reads. When it is complete and on disk, it gets a name that says that
/// it shall be installed: from that moment on it is what this server has, whatever happens. Every older snapshot and log
/// then goes into the folder `set-aside.<zxid>`, and last the snapshot gets its own name. A start that finds it between
/// the two goes on with it (`resume`). So there is no moment in which an older log could be applied to it, or an older
/// snapshot be taken with a newer log.
///
/// Calls in order: `begin`, `append` any number of times, `finish`; `abandon` at any time before.
package struct SnapshotInstaller<D: Disk, Gzip: StreamCodec>: ~Copyable {
    private let disk: D
    private let directories: DataDirectories
    private let compression: SnapshotCompression
    private var writer: SnapshotWriter<D, Gzip>
    private var zxid: Zxid?
    /// The last bytes that came: the signature, when nothing follows.
    private var held: [UInt8] = []

    package init(disk: D, directories: DataDirectories, compression: SnapshotCompression, gzip: Gzip) {
        self.disk = disk
        self.directories = directories
        self.compression = compression
        writer = SnapshotWriter(
            disk: disk,
            directory: directories.snapshots,
            compression: compression,
            gzip: gzip
        )
    }

    package var isReceiving: Bool { zxid != nil }

    /// Begins with the stream of the state after `zxid`. What an earlier one had set aside goes: this server has the state
    /// that took its place, and needs the space.
    ///
    /// - Parameter warn: told of files that could not be removed.
    /// - Throws: what the disk refuses; nothing has changed then.
    package mutating func begin(_ zxid: Zxid, warn: (StorageError) -> Void = { _ in }) throws(StorageError) {
        invariant(self.zxid == nil, "a snapshot is being received already")
        for directory in SnapshotInstall.places(directories) {
            do {
                for entry in try disk.list(directory)
                where entry.isDirectory && FileNames.isSetAsideFolder(entry.name) {
                    try MovedFiles.remove(entry.name, from: directory, on: disk)
                }
            } catch {
                warn(.disk(error))
            }
        }
        held.removeAll(keepingCapacity: true)
        let name = FileNames.installing(FileNames.snapshot(zxid, compression))
        try writer.begin(raw: zxid, unfinished: FileNames.incomingSnapshot, name: name)
        self.zxid = zxid
    }

    /// Takes the next bytes of the stream, cut anywhere.
    package mutating func append(_ bytes: UnsafeRawBufferPointer) throws(StorageError) {
        invariant(zxid != nil, "no snapshot is being received")
        let signature = SnapshotFormat.streamSignature.count
        let surplus = held.count + bytes.count - signature
        guard surplus > 0 else { return held.append(contentsOf: bytes) }
        let fromHeld = min(surplus, held.count)
        try held.withUnsafeBufferPointer { (held) throws(StorageError) in
            try writer.append(nodes: UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: held[..<fromHeld])))
        }
        try writer.append(nodes: UnsafeRawBufferPointer(rebasing: bytes[..<(surplus - fromHeld)]))
        held.removeFirst(fromHeld)
        held.append(contentsOf: bytes[(surplus - fromHeld)...])
    }

    /// Ends the stream, and makes the snapshot the only thing that this server has. No log may be open for writing, and no
    /// other snapshot under way.
    ///
    /// - Parameters:
    ///   - digest: of the tree that the stream holds; nil to leave it out.
    ///   - lastProcessed: whether the last applied zxid follows (`serializeLastProcessedZxid.enabled`).
    /// - Throws: `.givenUp` when what was there before is still there, for certain; `.fatal` when it is not.
    package mutating func finish(digest: UInt64?, lastProcessed: Bool) throws(InstallError) -> Zxid {
        guard let zxid else {
            invariant(false, "no snapshot is being received")
            return .zero
        }
        guard held == SnapshotFormat.streamSignature else {
            abandon()
            throw .givenUp(.incompleteSnapshotStream(zxid))
        }
        let name: String
        do throws(StorageError) {
            name = try writer.finish(digest: digest, lastProcessed: lastProcessed).name
        } catch {
            throw takenBack(zxid, error)
        }
        self.zxid = nil
        do throws(StorageError) {
            try SnapshotInstall.complete(zxid, name, on: disk, directories)
        } catch {
            throw .fatal(error)
        }
        return zxid
    }

    /// Gives the stream up.
    package mutating func abandon() {
        guard zxid != nil else { return }
        zxid = nil
        writer.abandon()
    }

    /// The last steps may have failed behind the one that counts.
    private mutating func takenBack(_ zxid: Zxid, _ error: StorageError) -> InstallError {
        abandon()
        let name = FileNames.installing(FileNames.snapshot(zxid, compression))
        do throws(DiskError) {
            try SmallFile.remove(name, in: directories.snapshots, on: disk)
            return .givenUp(error)
        } catch {
            return .fatal(.installationFailed(zxid, error))
        }
    }
}

/// Why a snapshot was not installed. Not inside of `SnapshotInstaller`: the optimizer of Swift 6.3 stops on thrown types
/// that depend on a generic parameter.
package enum InstallError: Error {
    case givenUp(StorageError)
    case fatal(StorageError)
}

/// The second half of an installation, which a start may have to go on with.
enum SnapshotInstall {
    static func places(_ directories: DataDirectories) -> [String] {
        directories.isSeparate ? [directories.snapshots, directories.logs] : [directories.snapshots]
    }

    /// Goes on with an installation that was interrupted.
    ///
    /// - Returns: the zxid of the snapshot; nil when there was none.
    static func resume<D: Disk>(on disk: D, _ directories: DataDirectories) throws(StorageError) -> Zxid? {
        let entries: [DirectoryEntry]
        do { entries = try disk.list(directories.snapshots) } catch { throw .disk(error) }
        var last: Zxid?
        // More than one: the later one came when the earlier one had its name back already, but not for certain.
        let names = entries.map(\.name).filter { FileNames.installed($0) != nil }
        for name in names.sorted() {
            guard let snapshot = FileNames.installed(name), let zxid = FileNames.snapshotZxid(snapshot)?.zxid else {
                continue
            }
            // What a killed server had named and not synced counts only now.
            do { try disk.sync(directory: directories.snapshots) } catch { throw .syncFailed(error) }
            try complete(zxid, name, on: disk, directories)
            last = zxid
        }
        return last
    }

    static func complete<D: Disk>(
        _ zxid: Zxid,
        _ name: String,
        on disk: D,
        _ directories: DataDirectories
    ) throws(StorageError) {
        guard let snapshot = FileNames.installed(name) else {
            return invariant(false, "\(name) is not to be installed")
        }
        let folder = FileNames.setAsideFolder(zxid)
        do {
            let snapshots = try disk.list(directories.snapshots)
                .filter { !$0.isDirectory && FileNames.snapshotZxid($0.name) != nil }
            let logs = try disk.list(directories.logs)
                .filter { !$0.isDirectory && FileNames.logZxid($0.name) != nil }
            try MovedFiles.move(snapshots.map(\.name).sorted(), from: directories.snapshots, to: folder, on: disk)
            try MovedFiles.move(logs.map(\.name).sorted(), from: directories.logs, to: folder, on: disk)
            try disk.rename(
                FileNames.join(directories.snapshots, name),
                to: FileNames.join(directories.snapshots, snapshot)
            )
            try disk.sync(directory: directories.snapshots)
        } catch {
            throw .installationFailed(zxid, error)
        }
    }
}
