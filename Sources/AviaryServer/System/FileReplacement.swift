#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Files that people own, replaced as a whole: whoever reads one finds the old text or the new one, also after a power
/// failure.
enum FileReplacement {
    /// What could not be done with which file.
    struct Trouble: Error, Equatable, CustomStringConvertible {
        let path: String
        /// `errno`.
        let code: CInt

        var description: String { "\(path): \(reason)" }

        private var reason: String {
            switch code {
            case ENOENT: "there is no such file or directory"
            case EACCES, EPERM: "this user may not write there: let it write files in that directory"
            case EROFS: "the file system is read-only"
            case ENOSPC, EDQUOT: "the disk is full"
            case EISDIR: "it is a directory"
            case EBUSY, EXDEV:
                "nothing can take its place, because it is a mount of its own, as when a container is given one file: mount the directory that it is in"
            case EFBIG: "it is too long for a configuration"
            default: String(cString: strerror(code))
            }
        }
    }

    /// - Returns: nil where there is no such file.
    /// - Throws: also for one that is longer than a configuration can be.
    static func read(_ path: String) throws(Trouble) -> [UInt8]? {
        guard let file = fopen(path, "rb") else {
            guard errno == ENOENT else { throw Trouble(path: path, code: errno) }
            return nil
        }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: ConfigurationFile.longestFile + 1)
        let count = fread(&bytes, 1, bytes.count, file)
        guard ferror(file) == 0 else { throw Trouble(path: path, code: errno) }
        guard count <= ConfigurationFile.longestFile else { throw Trouble(path: path, code: EFBIG) }
        return Array(bytes[..<count])
    }

    /// Puts a file in place of the one that has the name, in one step, and makes it stable.
    ///
    /// - Parameter model: the file whose mode and owner it gets; without one it is its user's alone.
    static func write(_ bytes: [UInt8], to path: String, like model: String) throws(Trouble) {
        let unfinished = path + ".tmp"
        unlink(unfinished)
        let descriptor = open(unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Trouble(path: path, code: errno) }
        do throws(Trouble) {
            defer { close(descriptor) }
            var status = stat()
            if stat(model, &status) == 0 {
                _ = fchmod(descriptor, status.st_mode & 0o777)
                // Only root may give files away; anybody else's have the right owner already.
                _ = fchown(descriptor, status.st_uid, status.st_gid)
            }
            try writeAll(bytes, descriptor, path)
            guard fsync(descriptor) == 0 else { throw Trouble(path: path, code: errno) }
        } catch {
            unlink(unfinished)
            throw error
        }
        guard rename(unfinished, path) == 0 else {
            let code = errno
            unlink(unfinished)
            throw Trouble(path: path, code: code)
        }
        try syncDirectory(of: path)
    }

    /// Removes a file for good, if it is there.
    static func remove(_ path: String) throws(Trouble) {
        guard unlink(path) == 0 else {
            guard errno == ENOENT else { throw Trouble(path: path, code: errno) }
            return
        }
        try syncDirectory(of: path)
    }

    /// The file that a name stands for, where links lead to it; the name itself where there is none.
    static func target(of path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// The name as it is from any working directory.
    static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let directory = getcwd(nil, 0) else { return path }
        defer { free(directory) }
        let base = String(cString: directory)
        return base.hasSuffix("/") ? base + path : base + "/" + path
    }

    private static func writeAll(_ bytes: [UInt8], _ descriptor: CInt, _ path: String) throws(Trouble) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { raw -> Int in
                guard let base = raw.baseAddress else { return 0 }
                return systemWrite(descriptor, base + done, raw.count - done)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Trouble(path: path, code: count < 0 ? errno : EIO) }
            done += count
        }
    }

    private static func syncDirectory(of path: String) throws(Trouble) {
        let directory = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        let descriptor = open(directory, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Trouble(path: directory, code: errno) }
        defer { close(descriptor) }
        // Some file systems of a network have nothing to sync here and say so.
        guard fsync(descriptor) == 0 || errno == EINVAL || errno == EOPNOTSUPP else {
            throw Trouble(path: directory, code: errno)
        }
    }
}

// The method of the same name hides the function.
private func systemWrite(_ descriptor: CInt, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
    write(descriptor, bytes, count)
}
