internal import Logging
internal import NIOCore
internal import Synchronization

/// A server at work.
package final class RunningServer: Sendable {
    /// Where clients can connect: `127.0.0.1:2181`, `[::1]:2181`.
    package let addresses: [String]
    /// The real one, also where the system was to choose it.
    package let port: Int
    /// Absolute.
    package let dataDirectory: String

    private let loop: ServerLoop
    private let lock: Mutex<(any Sendable)?>
    private let group: any EventLoopGroup
    private let ports: ClientPorts
    private let state = Mutex(State.running(waiting: []))

    private enum State {
        case running(waiting: [CheckedContinuation<Void, Never>])
        case stopping(waiting: [CheckedContinuation<Void, Never>])
        case stopped
    }

    /// How long unanswered requests may take, and clients to read their last replies.
    private static let patience = TimeAmount.seconds(5)

    init(
        _ opened: OpenedServer,
        group: any EventLoopGroup,
        ports: ClientPorts,
        addresses: [String]
    ) {
        loop = opened.loop
        lock = Mutex(opened.lock)
        self.group = group
        self.ports = ports
        self.addresses = addresses
        port = opened.loop.clientPort
        dataDirectory = opened.dataDirectory
    }

    /// Lets nobody in any more, answers and stores what was accepted, and ends; sessions stay alive in the data.
    ///
    /// Returns when all is done, within some ten seconds whatever clients do. May be called more than once.
    package func stop() async {
        let isFirst = state.withLock { state in
            guard case .running(let waiting) = state else { return false }
            state = .stopping(waiting: waiting)
            return true
        }
        guard isFirst else { return await waitUntilStopped() }
        loop.logger.debug("stopping")
        await run { loop, done in
            loop.beginStopping()
            done()
        }
        await run { [ports] in ports.close($1) }
        await run { $0.stopReading(patience: RunningServer.patience, whenQuiet: $1) }
        await run { loop, done in
            loop.leaveEnsemble()
            done()
        }
        await run { $0.stopLog(patience: RunningServer.patience, $1) }
        await run { $0.closeConnections(patience: .seconds(1), whenClosed: $1) }
        await run { $0.stopSnapshots(patience: .seconds(2), $1) }
        await run { $0.threads.whenAllEnded(patience: .seconds(2), $1) }
        loop.threads.close()
        try? await group.shutdownGracefully()
        lock.withLock { $0 = nil }
        loop.logger.debug("stopped")
        let waiting = state.withLock { state in
            guard case .stopping(let waiting) = state else { return [CheckedContinuation<Void, Never>]() }
            state = .stopped
            return waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Returns once the server has stopped.
    package func waitUntilStopped() async {
        await withCheckedContinuation { continuation in
            let isStopped = state.withLock { state in
                switch state {
                case .running(let waiting):
                    state = .running(waiting: waiting + [continuation])
                    return false
                case .stopping(let waiting):
                    state = .stopping(waiting: waiting + [continuation])
                    return false
                case .stopped:
                    return true
                }
            }
            if isStopped { continuation.resume() }
        }
    }

    /// One step of stopping, on the loop.
    private func run(_ step: @escaping @Sendable (ServerLoop, @escaping @Sendable () -> Void) -> Void) async {
        await withCheckedContinuation { continuation in
            loop.eventLoop.execute { [loop] in step(loop) { continuation.resume() } }
        }
    }
}
