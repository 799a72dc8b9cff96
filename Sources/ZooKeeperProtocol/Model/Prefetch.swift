public import CInstructions

/// Begins to bring the memory at an address, 64 bytes of it, into the processor's cache, and does not wait for it.
///
/// A hint: nothing is read, so the address need not even be valid.
@inlinable @inline(__always)
package func prefetch(_ address: UnsafeRawPointer) {
    aviary_prefetch(address)
}
