/// A queue in one ring of memory.
///
/// Elements are moved in and out and never copied; the oldest can be looked at where it is.
struct FIFO<Element>: ~Copyable {
    private var ring: UnsafeMutablePointer<Element>?
    private var capacity = 0
    private var head = 0
    private(set) var count = 0
    /// How many elements' memory an empty queue keeps.
    private let keeping: Int

    init(keeping: Int = 4) {
        self.keeping = keeping
    }

    deinit {
        for index in 0..<count { (ring.unsafelyUnwrapped + position(index)).deinitialize(count: 1) }
        ring?.deallocate()
    }

    @inline(__always)
    var isEmpty: Bool { count == 0 }

    /// A copy of the oldest.
    var first: Element? { isEmpty ? nil : ring.unsafelyUnwrapped[head] }

    /// What stands behind `index` others; nil when that is nothing.
    @inline(__always)
    func look<R>(at index: Int, _ body: (borrowing Element) -> R) -> R? {
        index < count ? body(ring.unsafelyUnwrapped[position(index)]) : nil
    }

    @inline(__always)
    private func position(_ index: Int) -> Int { (head &+ index) & (capacity &- 1) }

    mutating func append(_ element: consuming Element) {
        if count == capacity { grow() }
        (ring.unsafelyUnwrapped + position(count)).initialize(to: element)
        count += 1
    }

    private mutating func grow() {
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: max(2, capacity * 2))
        if let ring {
            let untilEnd = min(count, capacity - head)
            larger.moveInitialize(from: ring + head, count: untilEnd)
            (larger + untilEnd).moveInitialize(from: ring, count: count - untilEnd)
            ring.deallocate()
        }
        ring = larger
        capacity = max(2, capacity * 2)
        head = 0
    }

    mutating func popFirst() -> Element? {
        guard count > 0 else { return nil }
        let element = (ring.unsafelyUnwrapped + head).move()
        head = position(1)
        count -= 1
        if count == 0 { shrink() }
        return element
    }

    /// The oldest, if it is one that is wanted.
    @inline(__always)
    mutating func popFirst(where isWanted: (borrowing Element) -> Bool) -> Element? {
        guard count > 0, isWanted(ring.unsafelyUnwrapped[head]) else { return nil }
        return popFirst()
    }

    /// Takes back the newest until `count` are left.
    mutating func removeLast(downTo count: Int) {
        while self.count > max(count, 0) {
            self.count -= 1
            (ring.unsafelyUnwrapped + position(self.count)).deinitialize(count: 1)
        }
        if self.count == 0 { shrink() }
    }

    /// From the oldest to the newest.
    func forEach(_ body: (Element) -> Void) {
        for index in 0..<count { body(ring.unsafelyUnwrapped[position(index)]) }
    }

    mutating func removeAll() { removeLast(downTo: 0) }

    /// Everything that is in it, which it has no longer.
    mutating func takeAll() -> FIFO {
        var taken = FIFO(keeping: keeping)
        swap(&self, &taken)
        return taken
    }

    private mutating func shrink() {
        head = 0
        guard capacity > keeping else { return }
        ring?.deallocate()
        ring = nil
        capacity = 0
    }
}
