#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Where the servers of `aviary dev` keep their files: `N.cfg`, `N.log` and the data directory `N` of each.
struct DevDirectory {
    /// Absolute.
    let path: String
    /// Nobody asked for it by name, so that nobody misses it afterwards.
    let isTemporary: Bool
    /// How many servers it held before; 0 in a new one.
    let count: Int
    /// Locks the directory as long as this process or a child that inherited it lives.
    let lock: CInt

    /// How long servers of an earlier `aviary dev`, which was killed, may take to end.
    private static let patienceMicroseconds: useconds_t = 10_000_000
    private static let stepMicroseconds: useconds_t = 20_000

    /// Makes a directory that ends with this run.
    static func temporary() throws(DevError) -> DevDirectory {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(parent.isEmpty ? "/tmp" : parent)/aviary-dev-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw DevError("cannot make a directory in \(parent): \(words(errno)); give one with --dir")
        }
        let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return DevDirectory(path: absolute(path), isTemporary: true, count: 0, lock: try lock(path))
    }

    /// Takes a directory for `servers` servers, or for as many as it holds: a new one, an empty one, or one of
    /// `aviary dev`'s, whose servers go on with their data.
    static func open(_ given: String, servers: Int?) throws(DevError) -> DevDirectory {
        let path = absolute(given)
        try FileTree.makeDirectory(path)
        let names = try FileTree.names(in: path)
        let numbers = (1...Dev.mostServers).filter { names.contains("\($0).cfg") }
        if numbers.isEmpty, let stranger = names.filter({ $0 != lockName }).min() {
            throw DevError(
                "\(path) holds other things (\(stranger)), and no servers of `aviary dev`: give an empty directory or a new "
                    + "one with --dir"
            )
        }
        for number in numbers {
            let file = "\(path)/\(number).cfg"
            // Whoever was killed while writing one leaves it empty.
            guard let text = FileTree.text(of: file), text.isEmpty || DevConfiguration.isOwn(text, of: number) else {
                throw DevError(
                    "\(file) is no file of `aviary dev`, which would write over it: give an empty directory or a new one "
                        + "with --dir"
                )
            }
        }
        let count = numbers.last ?? 0
        if let servers, count > 0, count != servers {
            throw DevError(
                "\(path) holds \(count == 1 ? "a server that stands alone" : "an ensemble of \(count) servers"), not of "
                    + "\(servers): --servers \(count) goes on with it, another --dir begins anew"
            )
        }
        return DevDirectory(path: path, isTemporary: false, count: count, lock: try lock(path))
    }

    /// What is known of the servers of the last time.
    func memory(isReconfigEnabled: Bool) throws(DevError) -> DevMemory {
        DevMemory(
            count: count,
            isReconfigEnabled: isReconfigEnabled,
            names: try FileTree.names(in: path),
            read: { FileTree.text(of: "\(path)/\($0)") }
        )
    }

    func remove() {
        FileTree.remove(path)
    }

    private static let lockName = "lock"

    /// Also waits for the servers of an `aviary dev` that was killed, which hold the lock until they have stopped.
    private static func lock(_ directory: String) throws(DevError) -> CInt {
        let path = "\(directory)/\(lockName)"
        let descriptor = Pipe.lift(systemOpen(path))
        guard descriptor >= 0 else { throw DevError("cannot write into \(directory): \(words(errno))") }
        var waited: useconds_t = 0
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            let owner = pid_t(FileTree.text(of: path)?.split(separator: "\n").first ?? "") ?? 0
            let isAlive = owner > 0 && (kill(owner, 0) == 0 || errno == EPERM)
            guard !isAlive, waited < patienceMicroseconds else {
                close(descriptor)
                throw DevError(
                    "\(directory) is in use by another `aviary dev`\(isAlive ? " (pid \(owner))" : ""): end that one, or "
                        + "give another --dir"
                )
            }
            usleep(stepMicroseconds)
            waited += stepMicroseconds
        }
        ftruncate(descriptor, 0)
        let line = Array("\(getpid())\n".utf8)
        write(descriptor, line, line.count)
        return descriptor
    }

    private static func absolute(_ path: String) -> String {
        var full = path.hasPrefix("/") ? path : StandardStream.workingDirectory + "/" + path
        full = full.replacing("/./", with: "/")
        while full.count > 1, full.hasSuffix("/") || full.hasSuffix("/.") {
            full = String(full.dropLast(full.hasSuffix("/") ? 1 : 2))
        }
        return full
    }

    private static func words(_ code: CInt) -> String { String(cString: strerror(code)) }
}

// The method of the same name hides the function.
private func systemOpen(_ path: String) -> CInt { open(path, O_RDWR | O_CREAT, 0o644) }
