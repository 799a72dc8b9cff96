#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// What the system knows about this process and its machine, for `mntr` and `envi`.
enum ProcessFacts {
    /// Descriptors in use; −1 where the system does not say.
    static func openDescriptors() -> Int {
        #if canImport(Darwin)
            let path = "/dev/fd"
        #else
            let path = "/proc/self/fd"
        #endif
        guard let directory = opendir(path) else { return -1 }
        defer { closedir(directory) }
        var count = 0
        while readdir(directory) != nil { count += 1 }
        // Itself and its parent are listed too, and the descriptor that lists them.
        return count - 3
    }

    /// How many descriptors this process may have.
    static func maximumDescriptors() -> Int {
        var limit = rlimit()
        #if canImport(Glibc)
            let result = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        #else
            let result = getrlimit(RLIMIT_NOFILE, &limit)
        #endif
        guard result == 0 else { return -1 }
        return Int(clamping: limit.rlim_cur)
    }

    static func hostName() -> String {
        text(capacity: 256) { gethostname($0, $1) == 0 }
    }

    static func workingDirectory() -> String {
        text(capacity: 4096) { getcwd($0, $1) != nil }
    }

    /// Name and home of the user that this process runs as.
    static func user() -> (name: String, home: String) {
        guard let entry = getpwuid(getuid()) else { return ("\(getuid())", "?") }
        return (String(cString: entry.pointee.pw_name), String(cString: entry.pointee.pw_dir))
    }

    /// Name and release of the kernel, and the architecture by the name that Java has for it.
    static func system() -> (name: String, release: String, architecture: String) {
        var names = utsname()
        guard uname(&names) == 0 else { return ("?", "?", "?") }
        let machine = string(&names.machine)
        return (
            string(&names.sysname), string(&names.release),
            ["x86_64": "amd64", "arm64": "aarch64"][machine] ?? machine
        )
    }

    /// Bytes of memory: what this process has in use, what the machine has left and altogether.
    static func memory() -> (used: Int, available: Int, total: Int) {
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let total = Int(sysconf(Int32(_SC_PHYS_PAGES))) * page
        #if canImport(Darwin)
            return (0, 0, total)
        #else
            let available = Int(sysconf(Int32(_SC_AVPHYS_PAGES))) * page
            let resident = firstLine(of: "/proc/self/statm").split(separator: " ").dropFirst().first.flatMap { Int($0) }
            return ((resident ?? 0) * page, available, total)
        #endif
    }

    /// Bytes of memory that this process may have: the machine's, or what its container allows where that is less.
    static func memoryLimit() -> Int {
        let machine = max(memory().total, 256 << 20)
        let files = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        return files.compactMap { Int(firstLine(of: $0)) }.filter { $0 > 0 }.reduce(machine) { min($0, $1) }
    }

    private static func text(capacity: Int, _ fill: (UnsafeMutablePointer<CChar>, Int) -> Bool) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: capacity) { buffer in
            guard let base = buffer.baseAddress, fill(base, capacity - 1) else { return "?" }
            base[capacity - 1] = 0
            return String(cString: base)
        }
    }

    private static func string<Field>(_ field: inout Field) -> String {
        withUnsafeBytes(of: &field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private static func firstLine(of path: String) -> String {
        guard let file = fopen(path, "r") else { return "" }
        defer { fclose(file) }
        return text(capacity: 512) { fgets($0, Int32($1), file) != nil }
    }
}
