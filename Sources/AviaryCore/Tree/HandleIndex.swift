import ZooKeeperProtocol

/// Finds handles by a hash that the caller computes; whether a candidate is the one is the caller's to say.
///
/// 256 small open-addressing tables, chosen by the upper bits of the hash: each grows by itself, so the longest
/// rehash at ten million entries moves some tens of thousands of eight-byte slots and touches no entry. A slot holds
/// 32 bits of the hash beside the handle; a lookup therefore touches an entry only when it is (almost surely) right.
struct HandleIndex: ~Copyable {
    private static var tableBits: UInt64 { 8 }

    private struct Slot: BitwiseCopyable {
        var tag: UInt32
        var handle: Handle
    }

    private struct Table: BitwiseCopyable {
        var slots: UnsafeMutablePointer<Slot>?
        var mask: UInt32 = 0
        var count: UInt32 = 0
    }

    private let tables: UnsafeMutablePointer<Table>
    private(set) var count = 0

    init() {
        tables = .allocate(capacity: 1 << Self.tableBits)
        tables.initialize(repeating: Table(), count: 1 << Self.tableBits)
    }

    deinit {
        for index in 0..<(1 << Int(Self.tableBits)) { tables[index].slots?.deallocate() }
        tables.deallocate()
    }

    @inline(__always)
    private func table(_ hash: UInt64) -> UnsafeMutablePointer<Table> {
        tables + Int(hash >> (64 - Self.tableBits))
    }

    @inline(__always)
    func find(_ hash: UInt64, where isMatch: (Handle) -> Bool) -> Handle {
        let table = table(hash).pointee
        guard let slots = table.slots else { return none }
        let tag = UInt32(truncatingIfNeeded: hash)
        var position = tag & table.mask
        while true {
            let slot = slots[Int(position)]
            if slot.handle == none { return none }
            if slot.tag == tag, isMatch(slot.handle) { return slot.handle }
            position = (position &+ 1) & table.mask
        }
    }

    /// Fetches the memory that `find` reads first.
    @inline(__always)
    func prefetchSlot(_ hash: UInt64) {
        let table = table(hash).pointee
        guard let slots = table.slots else { return }
        prefetch(slots + Int(UInt32(truncatingIfNeeded: hash) & table.mask))
    }

    /// Adds a handle that is known not to be in here.
    mutating func insert(_ hash: UInt64, _ handle: Handle) {
        let table = table(hash)
        if table.pointee.slots == nil || (table.pointee.count + 1) * 4 > (table.pointee.mask + 1) * 3 {
            grow(table)
        }
        put(table, UInt32(truncatingIfNeeded: hash), handle)
        table.pointee.count += 1
        count += 1
    }

    /// Removes a handle that is known to be in here under this hash.
    mutating func remove(_ hash: UInt64, _ handle: Handle) {
        let table = table(hash)
        guard let slots = table.pointee.slots else { return }
        let mask = table.pointee.mask
        var hole = UInt32(truncatingIfNeeded: hash) & mask
        while slots[Int(hole)].handle != handle {
            if slots[Int(hole)].handle == none { return }
            hole = (hole &+ 1) & mask
        }
        // Close the gap: an entry moves back when its home is not between the gap and where it stands.
        var next = (hole &+ 1) & mask
        while slots[Int(next)].handle != none {
            let home = slots[Int(next)].tag & mask
            if ((next &- home) & mask) >= ((next &- hole) & mask) {
                slots[Int(hole)] = slots[Int(next)]
                hole = next
            }
            next = (next &+ 1) & mask
        }
        slots[Int(hole)].handle = none
        table.pointee.count -= 1
        count -= 1
    }

    mutating func removeAll() {
        for index in 0..<(1 << Int(Self.tableBits)) {
            tables[index].slots?.deallocate()
            tables[index] = Table()
        }
        count = 0
    }

    private func grow(_ table: UnsafeMutablePointer<Table>) {
        let old = table.pointee
        let capacity = old.slots == nil ? 8 : Int(old.mask + 1) * 2
        let slots = UnsafeMutablePointer<Slot>.allocate(capacity: capacity)
        slots.initialize(repeating: Slot(tag: 0, handle: none), count: capacity)
        table.pointee.slots = slots
        table.pointee.mask = UInt32(capacity - 1)
        guard let oldSlots = old.slots else { return }
        for index in 0...Int(old.mask) where oldSlots[index].handle != none {
            put(table, oldSlots[index].tag, oldSlots[index].handle)
        }
        oldSlots.deallocate()
    }

    private func put(_ table: UnsafeMutablePointer<Table>, _ tag: UInt32, _ handle: Handle) {
        guard let slots = table.pointee.slots else { return }
        let mask = table.pointee.mask
        var position = tag & mask
        while slots[Int(position)].handle != none { position = (position &+ 1) & mask }
        slots[Int(position)] = Slot(tag: tag, handle: handle)
    }
}

/// Hashes byte strings with a secret, so that a client cannot choose paths that collide.
///
/// Multiply-and-fold over eight bytes at a time, in the manner of wyhash.
struct ByteHasher {
    private let seed: UInt64

    init(seed: UInt64) {
        self.seed = seed | 1
    }

    @inline(__always)
    func hash(_ bytes: UnsafeRawBufferPointer, mixing extra: UInt64 = 0) -> UInt64 {
        var state = seed ^ (extra &* 0x9e37_79b9_7f4a_7c15)
        guard let base = bytes.baseAddress else { return fold(state, 0xa076_1d64_78bd_642f) }
        var offset = 0
        while offset + 8 <= bytes.count {
            state = fold(state ^ base.loadUnaligned(fromByteOffset: offset, as: UInt64.self), 0xe703_7ed1_a0b4_28db)
            offset += 8
        }
        var tail: UInt64 = 0
        if bytes.count >= 8 {
            tail = base.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self)
        } else {
            while offset < bytes.count {
                tail = tail << 8 | UInt64(base.load(fromByteOffset: offset, as: UInt8.self))
                offset += 1
            }
        }
        return fold(state ^ tail, 0xa076_1d64_78bd_642f ^ UInt64(truncatingIfNeeded: bytes.count))
    }

    @inline(__always)
    private func fold(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
}
