import AviaryCore
import AviaryStorage
import ZooKeeperProtocol

/// A snapshot, plain or packed.
///
/// Input: a byte of options, then the file. By option its seals are made right before it is read or packed: otherwise no
/// change would get beyond the first checksum.
enum SnapshotTarget {
    private static let name = FileNames.snapshot(Zxid(0x64))

    static func run(_ bytes: UnsafeRawBufferPointer) {
        var input = FuzzInput(bytes)
        let flags = input.byte()
        var file = [UInt8](input.remainder())
        if flags & 8 != 0 { SnapshotSeals.mend(&file) }
        let disk = MemoryDisk()
        switch flags & 7 {
        case 0, 1: disk.put(name, file)
        case 2: disk.put(FileNames.snapshot(Zxid(0x64), .gzip), file)
        case 3: disk.put(FileNames.snapshot(Zxid(0x64), .snappy), file)
        case 4: disk.put(FileNames.snapshot(Zxid(0x64), .gzip), packed(file, ZlibCodec()))
        case 5: disk.put(FileNames.snapshot(Zxid(0x64), .snappy), packed(file, SnappyCodec()))
        case 6: SnappyBlocks.run(file)
        default:
            // The older one has to do if the newer one does not.
            disk.put(name, file)
            disk.put(FileNames.snapshot(.zero), FreshSnapshot.bytes)
        }
        DatabaseLoad(disk: disk, extendedTypes: flags & 16 != 0).run()
    }

    private static func packed(_ file: [UInt8], _ codec: some StreamCodec) -> [UInt8] {
        var writer = JuteWriter()
        do {
            let compressor = try codec.makeCompressor()
            try file.withUnsafeBytes { try compressor.compress($0, into: &writer) }
            try compressor.finish(into: &writer)
        } catch {
            expect(false, "packing fails: \(error)")
        }
        return writer.copy()
    }
}

/// What is packed is unpacked to the same, in pieces of any size.
enum SnappyBlocks {
    static func run(_ bytes: [UInt8]) {
        var packed = JuteWriter()
        let compressor = SnappyCodec().makeCompressor()
        let decompressor = SnappyCodec().makeDecompressor()
        do {
            try bytes.withUnsafeBytes { try compressor.compress($0, into: &packed) }
            try compressor.finish(into: &packed)
            var unpacked: [UInt8] = []
            var rest = packed.copy()[...]
            let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: 1000, alignment: 8)
            defer { piece.deallocate() }
            while true {
                let step = try rest.withUnsafeBytes { try decompressor.decompress($0, into: piece) }
                unpacked += piece[..<step.produced]
                rest = rest.dropFirst(step.consumed)
                if step.consumed == 0, step.produced == 0 { break }
            }
            expect(unpacked == bytes, "snappy gives \(unpacked.count) bytes back of \(bytes.count)")
        } catch {
            expect(false, "snappy cannot read what it wrote: \(error)")
        }
    }
}

enum SnapshotSeals {
    /// Puts the right checksums where the parts of the file end, as far as it can be read. Written from
    /// docs/protocol/disk-format.md section 4.1, not with the product's parser.
    static func mend(_ file: inout [UInt8]) {
        guard file.count >= 24 else { return }
        Patch.put(UInt32(0x5a4b_534e), into: &file, at: 0)
        guard let end = file.withUnsafeBytes({ endOfNodes($0) }) else { return }
        var offset = end
        while offset + 13 <= file.count {
            let checksum = file.withUnsafeBytes {
                Adler32.update(Adler32.initial, UnsafeRawBufferPointer(rebasing: $0[..<offset]))
            }
            Patch.put(Int64(checksum), into: &file, at: offset)
            Patch.put(Int32(1), into: &file, at: offset + 8)
            file[offset + 12] = UInt8(ascii: "/")
            offset += 13
            // Behind the nodes a digest, behind that the last processed zxid.
            offset += file.count - offset == 8 + 13 ? 8 : 20
        }
    }

    private static func endOfNodes(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var reader = JuteReader(UnsafeRawBufferPointer(rebasing: bytes[16...]))
        do {
            for _ in 0..<max(try reader.int32(), 0) {
                _ = try reader.int64()
                _ = try reader.int32()
            }
            for _ in 0..<max(try reader.int32(), 0) {
                _ = try reader.int64()
                _ = try ACL.list(from: &reader)
            }
            while true {
                let path = try reader.requiredBuffer()
                if path.count == 1, path[0] == UInt8(ascii: "/") { return bytes.count - reader.remaining }
                _ = try reader.buffer()
                _ = try reader.int64()
                _ = try StatPersisted(from: &reader)
            }
        } catch {
            return nil
        }
    }
}

/// The snapshot of a new database.
enum FreshSnapshot {
    static let bytes: [UInt8] = {
        let disk = MemoryDisk()
        let now = Now(wallMilliseconds: 1_700_000_000_000, monotonicMicroseconds: 1_000_000)
        var core = ServerCore(options: FuzzServer.options, seed: 42, now: now)
        var writer = SnapshotWriter(disk: disk, directory: MemoryDisk.versionFolder, gzip: ZlibCodec())
        var nodes = JuteWriter()
        let head = core.beginSnapshot()
        while core.continueSnapshot(maxBytes: 1 << 16, into: &nodes) {}
        do {
            try writer.begin(zxid: .zero, sessions: [], acls: head.acls)
            try nodes.withBytes { (bytes) throws(StorageError) in try writer.append(nodes: bytes) }
            try writer.finish(digest: nil, lastProcessed: false)
        } catch {
            expect(false, "the first snapshot cannot be written: \(error)")
        }
        return disk.contents.values.first ?? []
    }()
}
