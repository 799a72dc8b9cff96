internal import Logging
internal import NIOCore
internal import ZooKeeperProtocol

/// Where clients are let in, and what moves when a reconfiguration changes that. Connections stay, wherever they came in.
///
/// `@unchecked Sendable`: touched on the loop alone.
final class ClientPorts: @unchecked Sendable {
    private static let retryTime = TimeAmount.seconds(1)
    /// Of tries that fail, every so many is told.
    private static let triesPerLine = 60

    private let loop: ServerLoop
    private let group: any EventLoopGroup
    private var listeners: [ClientListener] = []
    /// Where they are to be let in.
    private var wanted: Place
    /// Where they are; nil while nobody is let in.
    private var opened: Place?
    private var isClosed = false
    /// Counts moves, so that a slow one does not win against the next.
    private var moves = 0

    private struct Place: Equatable {
        var addresses: ServerConfiguration.ListenAddresses
        var port: Int
    }

    init(loop: ServerLoop, group: any EventLoopGroup) {
        self.loop = loop
        self.group = group
        wanted = Place(addresses: loop.configuration.clients.addresses, port: loop.clientPort)
        opened = wanted
    }

    /// Begins to accept on a socket. On the loop, as everything here.
    func open(_ socket: BoundSocket) -> EventLoopFuture<Void> {
        let listener = ClientListener(loop: loop, group: group)
        listeners.append(listener)
        return listener.listen(on: socket).map { _ in }
    }

    /// Lets nobody in any more.
    func close(_ done: @escaping @Sendable () -> Void) {
        isClosed = true
        closeListeners().whenComplete { _ in done() }
    }

    /// Lets clients in where a reconfiguration says.
    func move(to client: ClientAddress) {
        let isWildcard = ListenAddress.isWildcard(client.host)
        let place = Place(addresses: isWildcard ? .all : .only([client.host]), port: client.port)
        guard !isClosed, place != wanted else { return }
        moves += 1
        let move = moves
        wanted = place
        guard place != opened else {
            // The move before this has not succeeded, and is over.
            return loop.logger.info("clients are served where they were", metadata: ["port": "\(place.port)"])
        }
        // The same port on other addresses is free only once it is closed here.
        let isBlocked = place.port == opened?.port
        let closed = isBlocked ? closeListeners() : loop.eventLoop.makeSucceededVoidFuture()
        closed.assumeIsolated().whenComplete { [self] _ in bind(move, tries: 0) }
    }

    /// Names are looked up, which may take long: not on the loop.
    private func bind(_ move: Int, tries: Int) {
        guard move == moves, !isClosed else { return }
        let (place, threads) = (wanted, loop.threads)
        let isStarted = threads.start("aviary-bind") { [self] in
            let result: Result<[BoundSocket], StartError>
            do throws(StartError) {
                result = .success(try BoundSocket.bind(place.addresses, port: place.port))
            } catch {
                result = .failure(error)
            }
            threads.report { [self] in bound(result, move, tries: tries) }
        }
        if !isStarted { bound(.failure(.noThread), move, tries: tries) }
    }

    private func bound(_ result: Result<[BoundSocket], StartError>, _ move: Int, tries: Int) {
        guard move == moves, !isClosed else { return }
        switch result {
        case .success(let sockets):
            _ = closeListeners()
            opened = wanted
            loop.clientPort = wanted.port
            for socket in sockets {
                open(socket).whenFailure { [loop] error in
                    loop.logger.error("the port for clients cannot be opened", metadata: ["reason": "\(error)"])
                }
            }
            let places = sockets.map { Peer.join($0.address.ipAddress ?? "?", $0.port) }
            loop.logger.info(
                "clients are served elsewhere from now on",
                metadata: ["addresses": "\(places.joined(separator: " "))"]
            )
        case .failure(let error):
            if tries % Self.triesPerLine == 0 {
                loop.logger.error(
                    "the port for clients that the configuration names cannot be opened; trying again every second",
                    metadata: ["reason": "\(error)"]
                )
            }
            loop.eventLoop.assumeIsolated().scheduleTask(in: Self.retryTime) { [self] in bind(move, tries: tries + 1) }
        }
    }

    private func closeListeners() -> EventLoopFuture<Void> {
        let closing = listeners.map { $0.close() }
        listeners = []
        opened = nil
        return .andAllComplete(closing, on: loop.eventLoop)
    }
}
