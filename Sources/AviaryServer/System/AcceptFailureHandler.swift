internal import Logging
internal import NIOCore

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// Says why nobody can be accepted, and waits a second before the next try: this is one line a second at most, and the
/// connections wait with the system.
///
/// Reading is switched off for that second. NIO's `AcceptBackoffHandler` only holds back the next `read`, while a socket
/// that is still watched reports the same connection again at once, some ten thousand times a second.
final class AcceptFailureHandler: ChannelInboundHandler {
    typealias InboundIn = any Channel

    private static let pause = TimeAmount.seconds(1)

    private let logger: Logger
    private let place: String

    init(logger: Logger, place: String) {
        self.logger = logger
        self.place = place
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let isOutOfDescriptors = (error as? IOError).map { $0.errnoCode == EMFILE || $0.errnoCode == ENFILE } ?? false
        logger.error(
            "accepting connections failed\(isOutOfDescriptors ? ": out of file descriptors; raise the limit (ulimit -n)" : "")",
            metadata: ["address": "\(place)", "reason": "\(error)"]
        )
        let channel = context.channel
        try? channel.syncOptions?.setOption(.autoRead, value: false)
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
            guard channel.isActive else { return }
            try? channel.syncOptions?.setOption(.autoRead, value: true)
        }
    }
}
