import AviaryStorage

/// Files in memory, for one input. Nothing fails and nothing is lost: what is fuzzed is what stands in the files.
final class MemoryDisk: Disk, @unchecked Sendable {
    final class File: DiskFile, @unchecked Sendable {
        fileprivate(set) var bytes: [UInt8]

        fileprivate init(_ bytes: [UInt8]) { self.bytes = bytes }

        func size() throws(DiskError) -> Int64 { Int64(bytes.count) }

        func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int {
            expect(offset >= 0, "reading at \(offset)")
            let start = min(Int(offset), bytes.count)
            let count = min(buffer.count, bytes.count - start)
            bytes.withUnsafeBytes {
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + count]))
            }
            return count
        }

        func write(_ new: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
            let (start, end) = (Int(offset), Int(offset) + new.count)
            if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
            bytes.withUnsafeMutableBytes {
                UnsafeMutableRawBufferPointer(rebasing: $0[start..<end]).copyMemory(from: new)
            }
        }

        func allocate(from offset: Int64, count: Int64) throws(DiskError) {
            throw DiskError(.allocate, "", .unsupported)
        }

        func truncate(to size: Int64) throws(DiskError) {
            // A start lengthens the newest log by a byte, for its size to be a change that a sync takes to the disk.
            expect(size >= 0 && size <= bytes.count + 1, "cutting \(bytes.count) bytes to \(size)")
            if size > bytes.count { bytes.append(0) } else { bytes.removeLast(bytes.count - Int(size)) }
        }

        func syncData() throws(DiskError) {}
        func syncFile() throws(DiskError) {}
    }

    final class Lock: Sendable {}

    static let directory = "/data"
    static let versionFolder = "/data/version-2"

    private var files: [String: File] = [:]

    func put(_ name: String, _ bytes: [UInt8]) {
        files[FileNames.join(MemoryDisk.versionFolder, name)] = File(bytes)
    }

    /// Everything that stands here, to compare with.
    var contents: [String: [UInt8]] { files.mapValues(\.bytes) }

    func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> File {
        switch mode {
        case .read, .update:
            guard let file = files[path] else { throw DiskError(.open, path, .notFound) }
            return file
        case .createNew, .replace:
            if mode == .createNew, files[path] != nil { throw DiskError(.open, path, .exists) }
            let file = File([])
            files[path] = file
            return file
        }
    }

    func list(_ directory: String) throws(DiskError) -> [DirectoryEntry] {
        files.compactMap { path, file in
            guard path.hasPrefix(directory + "/") else { return nil }
            let name = path.dropFirst(directory.count + 1)
            return name.contains("/") ? nil : DirectoryEntry(name: String(name), size: Int64(file.bytes.count))
        }
    }

    func entry(at path: String) throws(DiskError) -> DirectoryEntry? {
        if let file = files[path] { return DirectoryEntry(name: path, size: Int64(file.bytes.count)) }
        let isFolder = files.keys.contains { $0.hasPrefix(path + "/") }
        return isFolder ? DirectoryEntry(name: path, size: 0, isDirectory: true) : nil
    }

    func makeDirectory(_ path: String) throws(DiskError) {}

    func rename(_ path: String, to newPath: String) throws(DiskError) {
        guard let file = files.removeValue(forKey: path) else { throw DiskError(.rename, path, .notFound) }
        files[newPath] = file
    }

    func remove(_ path: String) throws(DiskError) {
        guard files.removeValue(forKey: path) != nil else { throw DiskError(.remove, path, .notFound) }
    }

    func removeDirectory(_ path: String) throws(DiskError) {}

    func sync(directory: String) throws(DiskError) {}

    func lock(_ path: String, owner: String) throws(DiskError) -> Lock { Lock() }
}
