internal import NIOCore
internal import NIOPosix

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// The socket under a channel, for what can go out at once.
///
/// A channel's write goes through its pipeline and its queue of pending writes before it comes to the system call, which
/// for one small reply costs as much as everything that the core does for it. Nearly always the queue is empty and the
/// system takes all; what it does not take, and everything while the queue is not empty, is the channel's to write.
struct ClientSocket {
    private let descriptor: CInt?

    /// - Parameter context: of an active channel; without a socket nothing ever goes out at once.
    init(_ context: ChannelHandlerContext) {
        descriptor = try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
            $0
        }
    }

    /// Only while the channel is open and has nothing to write itself. An error is left to the channel to find.
    ///
    /// - Returns: how many of the bytes the system has taken.
    func send(_ bytes: UnsafeRawBufferPointer) -> Int {
        guard let descriptor, let base = bytes.baseAddress else { return 0 }
        #if canImport(Darwin)
            let flags = CInt(MSG_DONTWAIT)
        #else
            let flags = CInt(MSG_DONTWAIT) | CInt(MSG_NOSIGNAL)
        #endif
        return max(0, systemSend(descriptor, base, bytes.count, flags))
    }
}

private func systemSend(_ descriptor: CInt, _ bytes: UnsafeRawPointer, _ count: Int, _ flags: CInt) -> Int {
    send(descriptor, bytes, count, flags)
}
