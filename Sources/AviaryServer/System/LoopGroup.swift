internal import NIOCore
internal import NIOPosix

/// The thread of a server that does everything but wait for disks.
enum LoopGroup {
    static func start() -> any EventLoopGroup {
        MultiThreadedEventLoopGroup(numberOfThreads: 1)
    }
}
