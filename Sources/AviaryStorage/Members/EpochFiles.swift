package import ZooKeeperProtocol

/// The two epochs that a member of an ensemble has to remember (docs/protocol/quorum-protocol.md section 8):
/// `acceptedEpoch`, below which it follows no leader any more, and `currentEpoch`, the last one whose history it has.
///
/// What holds on disk at any time: acceptedEpoch ≥ currentEpoch, and with it ≥ the epoch of the last transaction.
package struct EpochFiles<D: Disk>: Sendable {
    private let disk: D
    private let directory: String

    /// - Parameter directory: the `version-2` folder of `dataDir`.
    package init(disk: D, directory: String) {
        self.disk = disk
        self.directory = directory
    }

    /// What the files say; nil where one is missing.
    ///
    /// - Throws: `damagedEpochFile`, or what the disk refuses.
    package func read() throws(StorageError) -> (accepted: Epoch?, current: Epoch?) {
        (try readAccepted(), try readCurrent())
    }

    func readAccepted() throws(StorageError) -> Epoch? { try read(FileNames.acceptedEpoch) }
    func readCurrent() throws(StorageError) -> Epoch? { try read(FileNames.currentEpoch) }

    /// Stores the epoch; it survives a power failure when this returns.
    ///
    /// - Throws: `epochNotStored`. The file is what it was, or may be either when its directory could not be synced.
    package func store(accepted epoch: Epoch) throws(StorageError) { try store(epoch, FileNames.acceptedEpoch) }

    /// As `store(accepted:)`.
    package func store(current epoch: Epoch) throws(StorageError) { try store(epoch, FileNames.currentEpoch) }

    /// What a start finds, made consistent with the history.
    package struct Loaded: Sendable, Hashable {
        package var accepted: Epoch
        package var current: Epoch
        /// What an operator should read once, in words.
        package var notes: [String] = []
    }

    /// The epochs of a member that starts, and that they are on disk.
    ///
    /// A member without the files begins with the epoch of its last transaction: it was a server alone before. Where the
    /// logs are in a later epoch than `currentEpoch`, a synchronization was interrupted between the two; what was stored of
    /// it in order is all of that epoch's history up to there, so the epoch is raised, to what `currentEpoch.tmp` was about
    /// to say or to the epoch of the log, but never above `acceptedEpoch`.
    ///
    /// - Parameter lastZxid: of the last transaction on disk, committed or not; below zero when there is nothing.
    /// - Throws: `damagedEpochFile` and `inconsistentEpochs`, with which the member should be synchronized anew;
    ///   `epochNotStored`, or what the disk refuses.
    package func load(lastZxid: Zxid) throws(StorageError) -> Loaded {
        let logged = max(lastZxid, .zero).epoch
        let (accepted, current) = try read()
        var loaded = Loaded(accepted: accepted ?? logged, current: current ?? logged)
        if loaded.current < logged {
            let unfinished = try unfinishedCurrent()
            loaded.current = unfinished.map { $0 > logged && $0 <= loaded.accepted ? $0 : logged } ?? logged
            loaded.notes.append(
                "currentEpoch was \(current?.rawValue ?? 0), and the log is in epoch \(logged.rawValue): a "
                    + "synchronization was interrupted. It is \(loaded.current.rawValue) now"
            )
        }
        // Without this file nobody knows what was promised; that it never was above the log can only be taken for granted
        // where the other file does not say more.
        guard loaded.accepted >= loaded.current else {
            throw .inconsistentEpochs(directory: directory, accepted: accepted, current: current, lastZxid: lastZxid)
        }
        if accepted != loaded.accepted { try store(accepted: loaded.accepted) }
        if current != loaded.current { try store(current: loaded.current) }
        // A server that was killed may have come to the new name and not to the sync.
        do { try disk.sync(directory: directory) } catch { throw .syncFailed(error) }
        return loaded
    }

    private func unfinishedCurrent() throws(StorageError) -> Epoch? {
        do throws(StorageError) {
            return try read(FileNames.currentEpoch + FileNames.unfinishedSuffix)
        } catch {
            guard case .damagedEpochFile = error else { throw error }
            return nil
        }
    }

    private func read(_ name: String) throws(StorageError) -> Epoch? {
        let bytes: [UInt8]?
        do { bytes = try SmallFile.read(name, in: directory, on: disk) } catch { throw .disk(error) }
        guard let bytes else { return nil }
        let text = String(decoding: bytes.prefix(32), as: UTF8.self)
        let line = text.prefix { !$0.isWhitespace }
        // −1 is what Apache's servers write when they begin without a database.
        guard text.dropFirst(line.count).allSatisfy(\.isWhitespace), bytes.count <= 32, !line.hasPrefix("+"),
            let number = Int64(line), number >= -1, number <= Epoch.max.rawValue
        else {
            throw .damagedEpochFile(path: FileNames.join(directory, name), contents: text)
        }
        return Epoch(max(number, 0))
    }

    private func store(_ epoch: Epoch, _ name: String) throws(StorageError) {
        let text = Array(String(epoch.rawValue).utf8)
        do { try SmallFile.replace(name, in: directory, with: text, on: disk) } catch { throw .epochNotStored(error) }
    }
}
