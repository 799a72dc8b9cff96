import ZooKeeperProtocol

/// A handle into a `Slab`; −1 stands for none.
typealias Handle = Int32

let none: Handle = -1

/// Fixed-size elements addressed by 32-bit handles, in chunks that never move.
///
/// Chunks make growth cheap at any size (no element is ever copied, so no pause at ten million znodes), and handles are
/// half a pointer and need no reference counting. Elements must be trivial: nobody runs destructors here.
struct Slab<Element: BitwiseCopyable>: ~Copyable {
    private static var chunkBits: Int { 12 }
    private static var chunkSize: Int { 1 << chunkBits }

    private var chunks: UnsafeMutablePointer<UnsafeMutablePointer<Element>>
    private var chunkCount = 0
    private var chunkCapacity = 64
    private var freeList: [Handle] = []
    /// How many handles were ever given out; all live ones are below it.
    private(set) var highWater: Handle = 0

    init() {
        chunks = .allocate(capacity: 64)
    }

    deinit {
        for index in 0..<chunkCount { chunks[index].deallocate() }
        chunks.deallocate()
    }

    /// Elements in use.
    var count: Int { Int(highWater) - freeList.count }

    mutating func insert(_ element: Element) -> Handle {
        if let handle = freeList.popLast() {
            pointer(handle).initialize(to: element)
            return handle
        }
        let handle = highWater
        invariant(handle < Handle.max, "a slab is full")
        if Int(handle) >> Self.chunkBits == chunkCount { addChunk() }
        highWater += 1
        pointer(handle).initialize(to: element)
        return handle
    }

    mutating func remove(_ handle: Handle) {
        freeList.append(handle)
    }

    mutating func removeAll() {
        for index in 0..<chunkCount { chunks[index].deallocate() }
        chunkCount = 0
        highWater = 0
        freeList.removeAll()
    }

    private mutating func addChunk() {
        if chunkCount == chunkCapacity {
            let larger = UnsafeMutablePointer<UnsafeMutablePointer<Element>>.allocate(capacity: chunkCapacity * 2)
            larger.moveInitialize(from: chunks, count: chunkCount)
            chunks.deallocate()
            chunks = larger
            chunkCapacity *= 2
        }
        (chunks + chunkCount).initialize(to: allocateChunk())
        chunkCount += 1
    }

    /// Elements begin where cache lines do: one of two lines lies in two and not in three.
    private func allocateChunk() -> UnsafeMutablePointer<Element> {
        let bytes = MemoryLayout<Element>.stride * Self.chunkSize
        return UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: max(64, MemoryLayout<Element>.alignment))
            .bindMemory(to: Element.self, capacity: Self.chunkSize)
    }

    @inline(__always)
    private func pointer(_ handle: Handle) -> UnsafeMutablePointer<Element> {
        chunks[Int(handle) >> Self.chunkBits] + (Int(handle) & (Self.chunkSize - 1))
    }

    @inline(__always)
    subscript(handle: Handle) -> Element {
        unsafeAddress { UnsafePointer(pointer(handle)) }
        nonmutating unsafeMutableAddress { pointer(handle) }
    }

    /// Fetches an element of up to two cache lines.
    @inline(__always)
    func prefetchElement(_ handle: Handle) {
        let address = UnsafeRawPointer(pointer(handle))
        prefetch(address)
        if MemoryLayout<Element>.stride > 64 { prefetch(address + 64) }
    }
}
