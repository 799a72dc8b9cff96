/// Takes an input apart from the front. What is missing reads as zero, so that every input means something.
struct FuzzInput {
    private var rest: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) {
        rest = bytes
    }

    var isEmpty: Bool { rest.isEmpty }

    mutating func byte() -> UInt8 {
        guard let first = rest.first else { return 0 }
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst())
        return first
    }

    /// Two bytes, the high one first.
    mutating func length() -> Int {
        let high = Int(byte())
        return high << 8 | Int(byte())
    }

    /// At most `count` bytes.
    mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer {
        let part = UnsafeRawBufferPointer(rebasing: rest.prefix(count))
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(part.count))
        return part
    }

    mutating func remainder() -> UnsafeRawBufferPointer {
        bytes(rest.count)
    }
}
