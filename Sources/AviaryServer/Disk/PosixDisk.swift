package import AviaryStorage
internal import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// The disk of this machine.
///
/// It is thin on purpose: whatever decides something is in `AviaryStorage`, where a test can take this disk's place.
/// What it makes is for this user alone: directories have mode 0700 and files 0600, whatever the umask allows. Another
/// user's server, Apache's for one, cannot open them then; what is there already keeps its mode.
package final class PosixDisk: Disk {
    package init() {}

    package func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> PosixFile {
        let flags: Int32 =
            switch mode {
            case .read: O_RDONLY
            case .update: O_RDWR
            case .createNew: O_RDWR | O_CREAT | O_EXCL
            case .replace: O_RDWR | O_CREAT | O_TRUNC
            }
        let descriptor = try PosixCall.int(.open, path) { openFile(path, flags | O_CLOEXEC, 0o600) }
        #if os(Linux)
            // Recovery reads whole files from front to back: let the system read further ahead.
            if mode == .read { _ = posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_SEQUENTIAL)) }
        #endif
        return PosixFile(descriptor, path: path)
    }

    package func list(_ directory: String) throws(DiskError) -> [DirectoryEntry] {
        guard let stream = opendir(directory) else { throw PosixCall.error(.list, directory, errno) }
        defer { closedir(stream) }
        var entries: [DirectoryEntry] = []
        while true {
            errno = 0
            guard let found = readdir(stream) else {
                guard errno == 0 else { throw PosixCall.error(.list, directory, errno) }
                return entries
            }
            let name = withUnsafePointer(to: &found.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name != ".", name != ".." else { continue }
            // What went away since it was listed is not there.
            if let entry = try entry(at: FileNames.join(directory, name)) { entries.append(entry) }
        }
    }

    package func entry(at path: String) throws(DiskError) -> DirectoryEntry? {
        var status = stat()
        do {
            _ = try PosixCall.int(.examine, path) { stat(path, &status) }
        } catch {
            guard error.reason == .notFound else { throw error }
            return nil
        }
        let name = path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path
        return DirectoryEntry(
            name: name,
            size: Int64(status.st_size),
            isDirectory: status.st_mode & S_IFMT == S_IFDIR
        )
    }

    package func makeDirectory(_ path: String) throws(DiskError) {
        _ = try PosixCall.int(.makeDirectory, path) { mkdir(path, 0o700) }
    }

    package func rename(_ path: String, to newPath: String) throws(DiskError) {
        _ = try PosixCall.int(.rename, path) { renameFile(path, newPath) }
    }

    package func remove(_ path: String) throws(DiskError) {
        _ = try PosixCall.int(.remove, path) { unlink(path) }
    }

    package func removeDirectory(_ path: String) throws(DiskError) {
        _ = try PosixCall.int(.removeDirectory, path) { rmdir(path) }
    }

    package func sync(directory: String) throws(DiskError) {
        let descriptor = try PosixCall.int(.open, directory) { openFile(directory, O_RDONLY | O_CLOEXEC, 0) }
        defer { close(descriptor) }
        do {
            try PosixCall.sync(.syncDirectory, directory, descriptor)
        } catch {
            // Some file systems of a network have nothing to sync here and say so.
            guard error.reason != .unsupported else { return }
            throw error
        }
    }

    package func lock(_ path: String, owner: String) throws(DiskError) -> PosixLock {
        let descriptor = try PosixCall.int(.lock, path) { openFile(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600) }
        let file = PosixFile(descriptor, path: path)
        do {
            _ = try PosixCall.int(.lock, path) { flock(descriptor, LOCK_EX | LOCK_NB) }
        } catch {
            guard error.reason == .locked else { throw error }
            throw DiskError(.lock, path, .locked, detail: holder(file))
        }
        do {
            try file.truncate(to: 0)
            try Array(owner.utf8).withUnsafeBufferPointer { (bytes) throws(DiskError) in
                try file.write(UnsafeRawBufferPointer(bytes), at: 0)
            }
        } catch {
            // The lock is held all the same: on a full disk the second one is not told by whom.
        }
        return PosixLock(file)
    }

    /// What the holder of a lock left in its file; nothing if it cannot be read, since that is not the trouble.
    private func holder(_ file: PosixFile) -> String {
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = bytes.withUnsafeMutableBytes { (try? file.read(into: $0, at: 0)) ?? 0 }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}

/// Holds a lock by keeping its file open: the system lets go of it whatever way the process ends.
package final class PosixLock: Sendable {
    private let file: PosixFile

    fileprivate init(_ file: PosixFile) { self.file = file }
}

package final class PosixFile: DiskFile {
    private let descriptor: Int32
    private let path: String

    /// The same file, opened once more for writes past the page cache when the first of them comes.
    private let direct = Mutex(Direct.unopened)

    private enum Direct {
        case unopened
        case open(Int32)
        /// Not on this file system.
        case unsupported
    }

    fileprivate init(_ descriptor: Int32, path: String) {
        self.descriptor = descriptor
        self.path = path
    }

    deinit {
        close(descriptor)
        direct.withLock { if case .open(let direct) = $0 { close(direct) } }
    }

    package func size() throws(DiskError) -> Int64 {
        var status = stat()
        _ = try PosixCall.int(.examine, path) { fstat(descriptor, &status) }
        return Int64(status.st_size)
    }

    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int {
        guard let base = buffer.baseAddress else { return 0 }
        var done = 0
        while done < buffer.count {
            let count = try PosixCall.count(.read, path) {
                pread(descriptor, base + done, buffer.count - done, off_t(offset) + off_t(done))
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    package func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
        guard let base = bytes.baseAddress else { return }
        var done = 0
        while done < bytes.count {
            let count = try PosixCall.count(.write, path) {
                pwrite(descriptor, base + done, bytes.count - done, off_t(offset) + off_t(done))
            }
            guard count > 0 else {
                throw DiskError(.write, path, .other, detail: "only \(done) of \(bytes.count) bytes were written")
            }
            done += count
        }
    }

    #if os(Linux) && (arch(x86_64) || arch(arm64))
        /// O_DIRECT, which the C library shows to its own extensions only.
        #if arch(x86_64)
            private static var pastTheCache: Int32 { 0o40000 }
        #else
            private static var pastTheCache: Int32 { 0o200000 }
        #endif

        package func writeBlocks(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
            guard let base = bytes.baseAddress, let direct = directDescriptor() else {
                return try write(bytes, at: offset)
            }
            let result = pwrite(direct, base, bytes.count, off_t(offset))
            if result == bytes.count { return }
            // What is left, and what goes wrong, goes the usual way: an error of the disk's will show there as well.
            if result < 0, errno == EINVAL { noDirect() }
            let done = max(0, result)
            try write(UnsafeRawBufferPointer(rebasing: bytes[done...]), at: offset + Int64(done))
        }

        private func directDescriptor() -> Int32? {
            direct.withLock { state in
                switch state {
                case .open(let descriptor): return descriptor
                case .unsupported: return nil
                case .unopened:
                    // By descriptor and not by name: the file may have another one by now.
                    let opened = openFile("/proc/self/fd/\(descriptor)", O_WRONLY | Self.pastTheCache | O_CLOEXEC, 0)
                    state = opened >= 0 ? .open(opened) : .unsupported
                    return opened >= 0 ? opened : nil
                }
            }
        }

        private func noDirect() {
            direct.withLock { state in
                if case .open(let descriptor) = state { close(descriptor) }
                state = .unsupported
            }
        }
    #endif

    package func allocate(from offset: Int64, count: Int64) throws(DiskError) {
        guard count > 0 else { return }
        #if os(Linux)
            // Where the file system cannot reserve, glibc writes into every block instead: slower, the same result.
            while true {
                let code = posix_fallocate(descriptor, off_t(offset), off_t(count))
                if code == 0 { return }
                guard code == EINTR else { throw PosixCall.error(.allocate, path, code) }
            }
        #else
            var request = fstore_t(
                fst_flags: UInt32(F_ALLOCATEALL),
                fst_posmode: F_PEOFPOSMODE,
                fst_offset: 0,
                fst_length: off_t(offset + count - (try size())),
                fst_bytesalloc: 0
            )
            if request.fst_length > 0 {
                _ = try PosixCall.int(.allocate, path) { fcntl(descriptor, F_PREALLOCATE, &request) }
                try truncate(to: offset + count)
            }
        #endif
    }

    package func truncate(to size: Int64) throws(DiskError) {
        _ = try PosixCall.int(.truncate, path) { ftruncate(descriptor, off_t(size)) }
    }

    package func syncData() throws(DiskError) {
        #if os(Linux)
            _ = try PosixCall.int(.sync, path) { fdatasync(descriptor) }
        #else
            try PosixCall.sync(.sync, path, descriptor)
        #endif
    }

    package func syncFile() throws(DiskError) {
        try PosixCall.sync(.sync, path, descriptor)
    }
}

/// System calls with an error that says what was tried on which file. One that a signal interrupted is made again.
private enum PosixCall {
    static func int(
        _ operation: DiskError.Operation,
        _ path: String,
        _ call: () -> Int32
    ) throws(DiskError) -> Int32 {
        while true {
            let result = call()
            if result >= 0 { return result }
            let code = errno
            guard code == EINTR else { throw error(operation, path, code) }
        }
    }

    static func count(
        _ operation: DiskError.Operation,
        _ path: String,
        _ call: () -> Int
    ) throws(DiskError) -> Int {
        while true {
            let result = call()
            if result >= 0 { return result }
            let code = errno
            guard code == EINTR else { throw error(operation, path, code) }
        }
    }

    static func sync(_ operation: DiskError.Operation, _ path: String, _ descriptor: Int32) throws(DiskError) {
        #if os(Linux)
            _ = try int(operation, path) { fsync(descriptor) }
        #else
            // fsync there leaves data in the drive's own memory.
            _ = try int(operation, path) { fcntl(descriptor, F_FULLFSYNC) }
        #endif
    }

    static func error(_ operation: DiskError.Operation, _ path: String, _ code: Int32) -> DiskError {
        DiskError(operation, path, reason(operation, code), detail: String(cString: strerror(code)))
    }

    private static func reason(_ operation: DiskError.Operation, _ code: Int32) -> DiskError.Reason {
        switch code {
        case ENOENT: .notFound
        case EEXIST: .exists
        case ENOTDIR: .notADirectory
        case EACCES, EPERM: .permissionDenied
        case EROFS: .readOnly
        case ENOSPC, EDQUOT: .noSpace
        case EMFILE, ENFILE: .tooManyFiles
        case EOPNOTSUPP, ENOSYS: .unsupported
        // A directory that cannot be synced; anywhere else the argument is our mistake.
        case EINVAL where operation == .syncDirectory: .unsupported
        case EWOULDBLOCK where operation == .lock: .locked
        case EIO: .inputOutput
        default: .other
        }
    }
}

// Inside a type these names would be those of its own methods.

private func openFile(_ path: String, _ flags: Int32, _ mode: mode_t) -> Int32 {
    open(path, flags, mode)
}

private func renameFile(_ path: String, _ newPath: String) -> Int32 {
    rename(path, newPath)
}
