import Dispatch
import Synchronization

#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#else
    internal import Darwin
#endif

/// The signals that ask the server to stop: SIGTERM, and SIGINT from Ctrl-C.
///
/// One that comes while the server is still starting is kept for `next`. A start that takes longer than a moment after
/// it, because a large directory is being recovered, is ended: nothing was promised to anybody yet. A second signal comes
/// from somebody who does not want to wait.
final class StopSignals: Sendable {
    private enum Phase {
        case starting
        case requested(String)
        case serving(CheckedContinuation<String, Never>)
        case stopping
    }

    private static let patience = DispatchTimeInterval.seconds(1)

    private let phase = Mutex(Phase.starting)
    // Set once here and never read again; the array only keeps the sources alive.
    nonisolated(unsafe) private let sources: [any DispatchSourceSignal]

    init() {
        // Without this a closed standard output (`aviary serve | head`) would end the process.
        signal(SIGPIPE, SIG_IGN)
        let names = [(SIGTERM, "SIGTERM"), (SIGINT, "SIGINT")]
        sources = names.map { number, _ in
            signal(number, SIG_IGN)
            return DispatchSource.makeSignalSource(signal: number, queue: .global())
        }
        for (source, name) in zip(sources, names.map(\.1)) {
            source.setEventHandler { [weak self] in self?.receive(name) }
            source.activate()
        }
    }

    /// The name of the signal, when there is one. To be called once, when the server serves.
    func next() async -> String {
        await withCheckedContinuation { continuation in
            let requested = phase.withLock { phase -> String? in
                if case .requested(let name) = phase {
                    phase = .stopping
                    return name
                }
                phase = .serving(continuation)
                return nil
            }
            if let requested { continuation.resume(returning: requested) }
        }
    }

    /// Somebody else than a signal asks to stop. Asked again it changes nothing.
    ///
    /// - Parameter reason: what `next` returns.
    func request(_ reason: String) {
        receive(reason, insists: false)
    }

    private func receive(_ name: String, insists: Bool = true) {
        enum Answer {
            case wait
            case resume(CheckedContinuation<String, Never>)
            case end
        }
        let answer = phase.withLock { phase -> Answer in
            switch phase {
            case .starting:
                phase = .requested(name)
                return .wait
            case .serving(let continuation):
                phase = .stopping
                return .resume(continuation)
            case .requested, .stopping:
                return .end
            }
        }
        switch answer {
        case .wait: endIfStillStarting(name)
        case .resume(let continuation): continuation.resume(returning: name)
        case .end:
            guard insists else { return }
            StandardError.print("aviary: \(name) again: ended at once")
            _exit(EXIT_FAILURE)
        }
    }

    private func endIfStillStarting(_ name: String) {
        DispatchQueue.global().asyncAfter(deadline: .now() + Self.patience) { [self] in
            guard case .requested = phase.withLock({ $0 }) else { return }
            StandardError.print("aviary: \(name): ended before the start was done")
            _exit(EXIT_SUCCESS)
        }
    }
}
