#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Configuration files on this machine's disk.
package enum ConfigurationFile {
    /// Larger files are refused: somebody gave the wrong name.
    static let longestFile = 1 << 20

    /// Reads a `zoo.cfg`, the dynamic file that it may name, and the flags that win over both.
    ///
    /// - Parameter path: `nil` for a server without a file.
    package static func read(
        path: String?,
        overrides: [ConfigurationOverride]
    ) throws(ConfigurationError) -> (configuration: ServerConfiguration, notes: [ConfigurationNote]) {
        guard let path else {
            return try ServerConfiguration.read(file: nil, overrides: overrides, openFile: text(ofFile:))
        }
        let file: ConfigurationText
        do throws(UnreadableFile) {
            file = ConfigurationText(name: path, text: try text(ofFile: path))
        } catch {
            throw ConfigurationError([.init(place: path, text: "cannot be read: \(error.reason)")])
        }
        return try ServerConfiguration.read(file: file, overrides: overrides, openFile: text(ofFile:))
    }

    static func text(ofFile path: String) throws(UnreadableFile) -> String {
        guard let file = fopen(path, "rb") else { throw UnreadableFile(reason: words(errno)) }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: longestFile + 1)
        let count = fread(&bytes, 1, bytes.count, file)
        if ferror(file) != 0 { throw UnreadableFile(reason: words(errno)) }
        guard count <= longestFile else {
            throw UnreadableFile(reason: "it has more than \(longestFile) bytes, so that it is no configuration file")
        }
        return try text(of: bytes.prefix(count))
    }

    /// The text of a file in UTF-8 or, where it is not, in Latin-1, which is what Java would assume.
    static func text(of content: ArraySlice<UInt8>) throws(UnreadableFile) -> String {
        if content.contains(0) { throw UnreadableFile(reason: "it is not a text file") }
        if let text = String(validating: content, as: UTF8.self) { return text }
        return String(String.UnicodeScalarView(content.map { Unicode.Scalar($0) }))
    }

    private static func words(_ code: Int32) -> String {
        switch code {
        case ENOENT: "there is no such file"
        case EACCES: "this user may not read it"
        case EISDIR: "it is a directory"
        default: String(cString: strerror(code))
        }
    }
}
