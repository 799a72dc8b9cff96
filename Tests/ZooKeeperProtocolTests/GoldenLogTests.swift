import Foundation
import Testing
import ZooKeeperProtocol

/// Every record in the logs that Apache's servers wrote (Tests/Golden/disk/README.md), without the storage layer.
@Suite("Golden log records")
struct GoldenLogTests {
    static let files: [String] = {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Golden/disk")
        let all = FileManager.default.enumerator(atPath: folder.path)?.compactMap { $0 as? String } ?? []
        return all.filter { $0.contains("/log.") }.sorted().map { folder.appendingPathComponent($0).path }
    }()

    /// Payloads whose checksum is right, in order.
    static func payloads(_ path: String) throws -> [[UInt8]] {
        let file = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        var payloads: [[UInt8]] = []
        var offset = 16
        while offset + 12 <= file.count {
            let (crc, length) = reading(Array(file[offset..<offset + 12])) { reader in
                ((try? reader.int64()) ?? 0, Int((try? reader.int32()) ?? 0))
            }
            guard length > 0, offset + 12 + length < file.count else { break }
            let payload = Array(file[offset + 12..<offset + 12 + length])
            guard crc == payload.withUnsafeBytes({ Int64(Adler32.update(Adler32.initial, $0)) }) else { break }
            payloads.append(payload)
            offset += 12 + length + 1
        }
        return payloads
    }

    @Test("Each is read and written again byte for byte")
    func roundTrip() throws {
        var kinds: Set<ZooKeeperProtocol.Operation> = []
        var count = 0
        for file in Self.files {
            for payload in try Self.payloads(file) {
                let txn = try payload.withUnsafeBytes { try Txn(payload: $0) }
                #expect(written { txn.write(to: &$0) } == payload, "\(file) \(txn.header.zxid)")
                kinds.insert(txn.body.type)
                if case .multi(let parts) = txn.body { kinds.formUnion(parts.map(\.type)) }
                count += 1
            }
        }
        #expect(count > 500)
        let expected: Set<ZooKeeperProtocol.Operation> = [
            .createSession, .closeSession, .error, .create, .create2, .createContainer, .createTTL, .delete, .setData,
            .setACL, .multi,
        ]
        #expect(kinds.isSuperset(of: expected))
    }

    @Test("Each changed a little is an error or a transaction", arguments: 0..<4)
    func mutations(seed: UInt64) throws {
        var random = SeededRandom(seed + 7)
        let payloads = try Self.files.flatMap { try Self.payloads($0) }
        for _ in 0..<3000 {
            let bytes = random.mutated(payloads[random.below(payloads.count)])
            guard let txn = try? bytes.withUnsafeBytes({ try Txn(payload: $0) }) else { continue }
            let again = written { txn.write(to: &$0) }
            let read = try? again.withUnsafeBytes { try Txn(payload: $0) }
            #expect(read == txn, "seed \(seed): \(bytes)")
        }
    }
}
