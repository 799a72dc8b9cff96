/// Bytes of one connection that cannot be used yet: the beginning of a frame, or whole frames while reading pauses.
///
/// Memory follows what has arrived, never what a length field announces, and is given back as soon as nothing is held:
/// ten thousand idle connections hold nothing here.
struct HeldBytes: ~Copyable {
    private var base: UnsafeMutableRawPointer?
    /// Bytes of memory that this takes.
    private(set) var capacity = 0
    private(set) var count = 0

    init() {}

    deinit {
        base?.deallocate()
    }

    /// Valid until the next change.
    var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base, count: count)
    }

    /// - Parameter expected: how much is going to be held altogether, as far as that is known: growing stops there.
    mutating func append(_ more: UnsafeRawBufferPointer, expected: Int = .max) {
        guard let source = more.baseAddress, more.count > 0 else { return }
        reserve(count + more.count, expected: expected)
        base?.advanced(by: count).copyMemory(from: source, byteCount: more.count)
        count += more.count
    }

    mutating func removeFirst(_ used: Int) {
        guard used < count else { return removeAll() }
        guard used > 0, let base else { return }
        base.copyMemory(from: base + used, byteCount: count - used)
        count -= used
    }

    mutating func removeAll() {
        base?.deallocate()
        base = nil
        capacity = 0
        count = 0
    }

    private mutating func reserve(_ needed: Int, expected: Int) {
        guard needed > capacity else { return }
        let wanted = max(needed, min(capacity * 2, expected), 64)
        let grown = UnsafeMutableRawPointer.allocate(byteCount: wanted, alignment: 8)
        if let base {
            grown.copyMemory(from: base, byteCount: count)
            base.deallocate()
        }
        base = grown
        capacity = wanted
    }
}
