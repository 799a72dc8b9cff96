internal import ZooKeeperProtocol

/// Spoils proposals on their way to a follower.
enum PlantedPackets {
    /// - Parameter swaps: exchanges the contents of two neighbouring proposals; otherwise a bit of one is turned.
    static func spoil(_ bytes: [UInt8], swaps: Bool) -> [UInt8] {
        var proposals: [Range<Int>] = []
        bytes.withUnsafeBytes { whole in
            var offset = 0
            while offset < whole.count {
                let rest = UnsafeRawBufferPointer(rebasing: whole[offset...])
                guard let (packet, size) = try? QuorumPacket.parse(rest) else { return }
                // Behind type, zxid and length, and in front of the identities.
                if packet.kind == .proposal { proposals.append(offset + 16..<offset + size - 4) }
                offset += size
            }
        }
        return swaps ? swap(bytes, proposals) : damage(bytes, proposals)
    }

    /// The session, xid, time and body of a transaction, without its zxid, which is where the other one's was.
    private static func swap(_ bytes: [UInt8], _ proposals: [Range<Int>]) -> [UInt8] {
        for (first, second) in zip(proposals, proposals.dropFirst()) where first.count == second.count {
            var swapped = bytes
            for (offset, (left, right)) in zip(first, second).enumerated() where !(12..<20).contains(offset) {
                swapped.swapAt(left, right)
            }
            return swapped
        }
        return bytes
    }

    /// A byte of the data of a setData.
    private static func damage(_ bytes: [UInt8], _ proposals: [Range<Int>]) -> [UInt8] {
        for range in proposals where range.count > 60 {
            let type = bytes[range.lowerBound + 28..<range.lowerBound + 32]
            guard Array(type) == [0, 0, 0, 5] else { continue }
            let path = Int(bytes[range.lowerBound + 35])
            let data = range.lowerBound + 36 + path + 4
            guard data < range.upperBound - 20 else { continue }
            var damaged = bytes
            damaged[data] ^= 1
            return damaged
        }
        return bytes
    }
}
