#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Small files and whole directories.
enum FileTree {
    /// What is in a directory, in no order.
    static func names(in directory: String) throws(DevError) -> [String] {
        guard let stream = opendir(directory) else {
            throw DevError("cannot read the directory \(directory): \(words(errno))")
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let found = readdir(stream) {
            let name = withUnsafePointer(to: &found.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Makes a directory, and those above it.
    ///
    /// - Parameter path: absolute.
    static func makeDirectory(_ path: String) throws(DevError) {
        var made = ""
        for part in path.split(separator: "/") {
            made += "/" + part
            guard mkdir(made, 0o755) != 0 else { continue }
            // Some systems name another reason for one that is there.
            var status = stat()
            let code = errno
            guard stat(made, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
                let reason = code == EEXIST ? "something else has that name" : words(code)
                throw DevError("cannot make the directory \(made): \(reason)")
            }
        }
    }

    /// Removes a directory and everything below it, following no link out of it. What resists stays.
    static func remove(_ path: String) {
        if unlink(path) == 0 { return }
        guard let names = try? names(in: path) else { return }
        for name in names { remove("\(path)/\(name)") }
        rmdir(path)
    }

    static func write(_ text: String, to path: String) throws(DevError) {
        guard let file = fopen(path, "wb") else { throw DevError("cannot write \(path): \(words(errno))") }
        let written = fputs(text, file)
        guard fclose(file) == 0, written >= 0 else { throw DevError("cannot write \(path): \(words(errno))") }
    }

    /// The end of a file from `offset` on, some 64 KiB at most; nil when it cannot be read.
    static func text(of path: String, from offset: Int = 0) -> String? {
        guard let file = fopen(path, "rb") else { return nil }
        defer { fclose(file) }
        let start = max(offset, size(of: path) - longestText)
        guard fseek(file, start, SEEK_SET) == 0 else { return nil }
        var bytes = [UInt8](repeating: 0, count: longestText)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    /// 0 for a file that is not there.
    static func size(of path: String) -> Int {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : 0
    }

    private static let longestText = 1 << 16

    private static func words(_ code: CInt) -> String { String(cString: strerror(code)) }
}
