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

    /// Says less of what a learner has accepted: one epoch less when it introduces itself, and that it had not accepted
    /// before what it is asked to accept.
    ///
    /// - Parameter currentEpoch: what ACKEPOCH says then.
    static func understate(_ bytes: [UInt8], currentEpoch: Epoch) -> [UInt8] {
        var understated: [UInt8] = []
        bytes.withUnsafeBytes { whole in
            var offset = 0
            while offset < whole.count {
                let rest = UnsafeRawBufferPointer(rebasing: whole[offset...])
                guard let (packet, size) = try? QuorumPacket.parse(rest) else {
                    understated += rest
                    return
                }
                var writer = JuteWriter()
                switch packet.kind {
                case .followerInfo, .observerInfo:
                    let epoch = Epoch(max(packet.zxid.epoch.rawValue - 1, 0))
                    QuorumPacket.write(
                        packet.kind ?? .followerInfo,
                        zxid: epoch.newLeaderZxid,
                        data: packet.data,
                        to: &writer
                    )
                    understated += writer.copy()
                case .ackEpoch:
                    var data = JuteWriter()
                    EpochAcknowledgement(currentEpoch: currentEpoch).write(to: &data)
                    data.withBytes { data in
                        QuorumPacket.write(.ackEpoch, zxid: packet.zxid, data: data, to: &writer)
                    }
                    understated += writer.copy()
                default:
                    understated += rest.prefix(size)
                }
                offset += size
            }
        }
        return understated
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
