/// Files of a few bytes that are replaced as a whole: epochs and notes.
enum SmallFile {
    /// More than any of them has.
    private static var maximumBytes: Int { 64 << 10 }

    /// - Returns: what the file holds, the beginning of it if that is more than it should; nil when there is none.
    static func read<D: Disk>(_ name: String, in directory: String, on disk: D) throws(DiskError) -> [UInt8]? {
        let file: D.File
        do {
            file = try disk.open(FileNames.join(directory, name), .read)
        } catch {
            guard error.reason == .notFound else { throw error }
            return nil
        }
        var bytes = [UInt8](repeating: 0, count: maximumBytes)
        let count = try bytes.withUnsafeMutableBufferPointer { (bytes) throws(DiskError) in
            try file.read(into: UnsafeMutableRawBufferPointer(bytes), at: 0)
        }
        return Array(bytes[..<count])
    }

    /// Puts a file in place of the one that has the name, in one step, and makes it stable.
    static func replace<D: Disk>(
        _ name: String,
        in directory: String,
        with bytes: [UInt8],
        on disk: D
    ) throws(DiskError) {
        let path = FileNames.join(directory, name)
        let unfinished = path + FileNames.unfinishedSuffix
        do {
            let file = try disk.open(unfinished, .replace)
            try bytes.withUnsafeBufferPointer { (bytes) throws(DiskError) in
                try file.write(UnsafeRawBufferPointer(bytes), at: 0)
            }
            try file.syncFile()
        } catch {
            // Nothing may adopt half of it.
            try? disk.remove(unfinished)
            throw error
        }
        try disk.rename(unfinished, to: path)
        try disk.sync(directory: directory)
    }

    /// Removes a file for good, if it is there.
    static func remove<D: Disk>(_ name: String, in directory: String, on disk: D) throws(DiskError) {
        do {
            try disk.remove(FileNames.join(directory, name))
        } catch {
            guard error.reason == .notFound else { throw error }
        }
        try disk.sync(directory: directory)
    }
}
