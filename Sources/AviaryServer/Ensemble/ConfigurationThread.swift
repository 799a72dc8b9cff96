internal import Logging
internal import ZooKeeperProtocol

/// What the loop wants written of configurations.
enum ConfigurationOrder: Sendable {
    /// Another configuration may come into force.
    case propose(QuorumConfiguration)
    /// - previousVersion: of the configuration that was in force before.
    /// - clientPort: where clients are served.
    case commit(QuorumConfiguration, previousVersion: Int64, clientPort: Int)
    /// The proposed one will not come.
    case withdraw
}

/// The loop's end of the thread that writes configuration files, one change after the other.
///
/// A thread of its own, because these files are where somebody keeps configurations, which may be a disk that hangs.
/// Nothing waits for it: what a reconfiguration decides is in the transactions, and a file that cannot be written is worth
/// a warning.
final class ConfigurationThread: Sendable {
    private let queue = OrderQueue<ConfigurationOrder>()

    /// - Returns: whether the system had a thread to give.
    func start(_ files: DynamicFiles, threads: LoopThreads, logger: Logger) -> Bool {
        let writer = Writer(files: files, logger: logger, queue: queue)
        return threads.start("aviary-config") { writer.run() }
    }

    func submit(_ order: ConfigurationOrder) { queue.submit(order) }

    /// Lets the thread end, behind what was submitted.
    func stop() { queue.stop() }

    private final class Writer: Sendable {
        private let files: DynamicFiles
        private let logger: Logger
        private let queue: OrderQueue<ConfigurationOrder>

        init(files: DynamicFiles, logger: Logger, queue: OrderQueue<ConfigurationOrder>) {
            self.files = files
            self.logger = logger
            self.queue = queue
        }

        func run() {
            var orders: [ConfigurationOrder] = []
            while queue.take(into: &orders, finishes: true) {
                for order in orders { carryOut(order) }
                orders.removeAll(keepingCapacity: true)
            }
        }

        private func carryOut(_ order: ConfigurationOrder) {
            do throws(DynamicFiles.Failure) {
                let steps: [DynamicFiles.Step]
                switch order {
                case .propose(let configuration):
                    steps = files.stepsToPropose(configuration)
                case .commit(let configuration, let previousVersion, let clientPort):
                    steps = try files.stepsToCommit(
                        configuration,
                        previousVersion: previousVersion,
                        clientPort: clientPort
                    )
                case .withdraw:
                    steps = try files.stepsToWithdraw()
                }
                for step in steps { try files.carryOut(step) }
                if case .commit(let configuration, _, _) = order { tell(configuration, steps) }
            } catch {
                logger.warning(
                    "the configuration of the ensemble cannot be written to its files; this server goes on, and knows it from its data when it starts again. What is missing is written at the next start, if it can be then",
                    metadata: ["reason": "\(error)"]
                )
            }
        }

        private func tell(_ configuration: QuorumConfiguration, _ steps: [DynamicFiles.Step]) {
            let file = files.dynamicFile(of: configuration)
            let isWritten = steps.contains { if case .write(file, _) = $0 { true } else { false } }
            if isWritten {
                logger.info("the configuration is written", metadata: ["file": "\(file)"])
            } else {
                logger.info(
                    "this server is no member of the ensemble yet, and its configuration file stays as it is",
                    metadata: ["version": "\(configuration.versionText)"]
                )
            }
        }
    }
}
