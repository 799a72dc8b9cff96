/// The receiving side of one quorum connection.
///
/// A class, because what is read from it may lead to other links coming and going.
final class MemberLink {
    /// The beginning of a packet that is not complete.
    private var held: [UInt8] = []
    /// Nothing more is read from it.
    var isClosed = false

    /// Gives everything that has come and was not used to `use`, again and again, until that has used nothing or all.
    ///
    /// - Parameter use: returns how much of it it used, from the front.
    func receive<E: Error>(
        _ bytes: UnsafeRawBufferPointer,
        _ use: (UnsafeRawBufferPointer) throws(E) -> Int
    ) throws(E) {
        if held.isEmpty {
            let used = try consume(bytes, use)
            if used < bytes.count { held.append(contentsOf: bytes[used...]) }
        } else {
            held.append(contentsOf: bytes)
            // Nothing else reads from this link meanwhile, but the array must not be in use while it shrinks.
            var all = held
            held = []
            let used = try all.withUnsafeBufferPointer { (bytes) throws(E) in
                try consume(UnsafeRawBufferPointer(bytes), use)
            }
            all.removeFirst(used)
            held = all
        }
    }

    private func consume<E: Error>(
        _ bytes: UnsafeRawBufferPointer,
        _ use: (UnsafeRawBufferPointer) throws(E) -> Int
    ) throws(E) -> Int {
        var used = 0
        while used < bytes.count, !isClosed {
            let count = try use(UnsafeRawBufferPointer(rebasing: bytes[used...]))
            if count == 0 { break }
            used += count
        }
        return isClosed ? bytes.count : used
    }
}
