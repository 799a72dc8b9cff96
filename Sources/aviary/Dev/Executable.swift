#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
    internal import MachO
#endif

/// The program that this process runs.
enum Executable {
    /// A path that starts it again.
    static var path: String {
        #if canImport(Darwin)
            var size: UInt32 = 0
            _ = _NSGetExecutablePath(nil, &size)
            var buffer = [CChar](repeating: 0, count: Int(size) + 1)
            guard _NSGetExecutablePath(&buffer, &size) == 0 else { return CommandLine.arguments[0] }
            return text(buffer)
        #else
            let link = "/proc/self/exe"
            var buffer = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
            guard readlink(link, &buffer, buffer.count - 1) > 0 else { return CommandLine.arguments[0] }
            let path = text(buffer)
            // A build that replaced the file leaves a name behind that is none.
            return access(path, X_OK) == 0 ? path : link
        #endif
    }

    /// How the user called it, for lines to be typed.
    static var name: String { CommandLine.arguments.first ?? "aviary" }

    private static func text(_ buffer: [CChar]) -> String {
        String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
