import ZooKeeperProtocol

/// Memory that payloads of a `History` share; it goes when the last of them is forgotten.
///
/// Bytes once written are never written again, so that readers need nothing but their place.
final class PayloadBlock: @unchecked Sendable {
    // Sendable holds because a block is reachable only through the one `History` that owns it, which is not copyable.

    /// Of an ordinary block; a larger payload gets one of its own.
    static let size = 256 << 10

    private let memory: UnsafeMutableRawBufferPointer
    private var used = 0

    init(capacity: Int) {
        memory = .allocate(byteCount: max(capacity, 1), alignment: 16)
    }

    deinit {
        memory.deallocate()
    }

    func hasRoom(for count: Int) -> Bool { memory.count - used >= count }

    /// - Returns: where the bytes are.
    func append(_ payload: UnsafeRawBufferPointer) -> Int {
        invariant(hasRoom(for: payload.count), "\(payload.count) bytes for \(memory.count - used)")
        let offset = used
        UnsafeMutableRawBufferPointer(rebasing: memory[offset...]).copyMemory(from: payload)
        used += payload.count
        return offset
    }

    func bytes(at offset: Int, size: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: memory[offset..<offset + size])
    }
}
