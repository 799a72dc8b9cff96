/// The files of one machine, as the storage layer sees them.
///
/// Everything that this layer does to a disk goes through here, one call at a time and in order, so that a test can
/// stand in for the disk: forget what was not synced, tear a write, run full, fail. Calls block; whoever makes them owns
/// a thread that may wait.
///
/// What an implementation owes:
/// - A write is readable by the next read at once, but survives a power failure only after a sync of that file returned.
/// - A name (new, renamed, removed) survives a power failure only after `sync(directory:)` of its directory returned.
/// - Calls interrupted by a signal are continued, never reported.
/// - Files and directories that it creates are for this user alone (modes 0600 and 0700).
package protocol Disk: AnyObject, Sendable {
    associatedtype File: DiskFile
    /// Holds a lock for as long as it lives; a process that ends lets go of it in any case.
    associatedtype Lock: AnyObject, Sendable

    /// - Throws: `.notFound` and `.exists` as `mode` says, and whatever the system refuses.
    func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> File

    /// What a directory holds, in no particular order, without itself and its parent.
    func list(_ directory: String) throws(DiskError) -> [DirectoryEntry]

    /// What stands at `path`; nil when there is nothing.
    func entry(at path: String) throws(DiskError) -> DirectoryEntry?

    /// Makes one directory in an existing one.
    func makeDirectory(_ path: String) throws(DiskError)

    /// Gives a file another name, and replaces, in one step, what has that name. A power failure before both directories
    /// are synced may leave the file under the old name, under the new one, or under both.
    ///
    /// - Parameter newPath: on the same file system.
    func rename(_ path: String, to newPath: String) throws(DiskError)

    /// Removes a file.
    func remove(_ path: String) throws(DiskError)

    /// Removes a directory that holds nothing.
    func removeDirectory(_ path: String) throws(DiskError)

    /// Makes the names in a directory survive a power failure.
    func sync(directory: String) throws(DiskError)

    /// Takes the lock that the file at `path` stands for, and makes that file if it is missing.
    ///
    /// - Parameter owner: left in the file for the message of whoever comes second.
    /// - Throws: `.locked` while somebody else holds it; the error's `detail` is what the holder left.
    func lock(_ path: String, owner: String) throws(DiskError) -> Lock
}

/// An open file. It is closed when the last reference goes.
package protocol DiskFile: AnyObject, Sendable {
    /// Bytes from the start to the end, as every reader sees it.
    func size() throws(DiskError) -> Int64

    /// Fills `buffer` from `offset` on.
    ///
    /// - Returns: bytes read; fewer than asked for only where the file ends.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int

    /// Writes all of `bytes`, or throws; after an error any part of them may be in the file.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError)

    /// As `write`, for whole blocks: offset, count and the address in memory are multiples of 4096. They may go to the
    /// device without being copied into the system's memory first; a sync is needed all the same.
    func writeBlocks(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError)

    /// Reserves blocks for a range, so that a later write into it cannot run out of space; the file grows to the end of
    /// the range and reads as zeros there.
    ///
    /// - Throws: `.noSpace`, after which a part of the range may be reserved; `.unsupported` where the file system
    ///   cannot reserve.
    func allocate(from offset: Int64, count: Int64) throws(DiskError)

    /// Cuts the file, or lengthens it with zeros that reserve nothing.
    func truncate(to size: Int64) throws(DiskError)

    /// Makes the contents survive a power failure, and of the rest what is needed to read them (fdatasync).
    func syncData() throws(DiskError)

    /// Makes contents and size survive a power failure (fsync).
    func syncFile() throws(DiskError)
}

extension DiskFile {
    package func writeBlocks(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
        try write(bytes, at: offset)
    }
}

package enum OpenMode: Sendable, Hashable {
    /// An existing file, for reading.
    case read
    /// An existing file, for reading and writing.
    case update
    /// A file that must not exist yet.
    case createNew
    /// A new file in place of whatever has the name.
    case replace
}

package struct DirectoryEntry: Hashable, Sendable {
    /// Without the directory.
    package var name: String
    /// Bytes; of no meaning for directories.
    package var size: Int64
    package var isDirectory: Bool

    package init(name: String, size: Int64, isDirectory: Bool = false) {
        self.name = name
        self.size = size
        self.isDirectory = isDirectory
    }
}

/// A call that the system refused.
package struct DiskError: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Operation: String, Sendable {
        case open, list, makeDirectory = "make directory", removeDirectory = "remove directory"
        case rename, remove, read, write, allocate, truncate
        case sync, syncDirectory = "sync directory", lock, examine
    }

    /// The reasons that somebody decides by; all others are `other`.
    package enum Reason: Sendable {
        case notFound, exists, notADirectory
        case permissionDenied, readOnly
        /// The disk is full, or this user's share of it.
        case noSpace
        case tooManyFiles
        case unsupported
        case locked
        case inputOutput
        /// A disk that was told to lose power does nothing any more (simulation only).
        case powerLost
        case other
    }

    package var operation: Operation
    package var path: String
    package var reason: Reason
    /// The system's own words.
    package var detail: String

    package init(_ operation: Operation, _ path: String, _ reason: Reason, detail: String = "") {
        self.operation = operation
        self.path = path
        self.reason = reason
        self.detail = detail
    }

    package var description: String {
        "\(operation.rawValue) \(path): \(detail.isEmpty ? "\(reason)" : detail)"
    }
}
