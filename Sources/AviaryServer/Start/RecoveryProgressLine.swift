internal import AviaryStorage
internal import Logging

/// Shows that a long recovery is getting on: a line that rewrites itself on a terminal, a log line now and then elsewhere.
/// A recovery that is over within a second shows nothing.
struct RecoveryProgressLine {
    private let isTerminal: Bool
    private let logger: Logger
    private let started: Int64
    private var lastShown: Int64
    private var isLineOpen = false

    init(logger: Logger, isTerminal: Bool = StandardError.isTerminal) {
        self.logger = logger
        self.isTerminal = isTerminal
        started = SystemClock.monotonicMicroseconds()
        lastShown = started
    }

    mutating func show(_ progress: RecoveryProgress) {
        let now = SystemClock.monotonicMicroseconds()
        guard now - started > 1_000_000, now - lastShown > (isTerminal ? 200_000 : 10_000_000) else { return }
        lastShown = now
        let percent = progress.bytesTotal > 0 ? progress.bytesDone * 100 / progress.bytesTotal : 100
        if isTerminal {
            isLineOpen = true
            // To the beginning of the line, and behind the text to its end.
            write("\rrecovering: \(percent)% of \(progress.bytesTotal >> 20) MiB, \(progress.file)\u{1b}[K")
        } else {
            logger.info(
                "recovering",
                metadata: [
                    "percent": "\(percent)", "file": "\(progress.file)", "mebibytes": "\(progress.bytesTotal >> 20)",
                ]
            )
        }
    }

    mutating func finish() {
        guard isLineOpen else { return }
        isLineOpen = false
        write("\r\u{1b}[K")
    }

    private func write(_ text: String) {
        StandardError.write(Array(text.utf8))
    }
}
