import AviaryCore
import AviaryEnsemble
import AviaryStorage
import ZooKeeperProtocol

/// In the place of the product's loop: what the answers to four-letter words are made of. The answers are put together by
/// the product's own code (`FourLetterWord.swift` and what it calls).
final class ServerLoop {
    private unowned let server: FuzzServer

    let configuration: ServerConfiguration = {
        var configuration = ServerConfiguration()
        configuration.fourLetterWords.allowed = ServerConfiguration.FourLetterWords.all
        return configuration
    }()
    let directories = (data: "/data", log: "/log")
    let directorySizes: () -> (data: Int64, log: Int64) = { (1, 2) }
    let clientPort = 2181
    let startedMicroseconds: Int64
    var metrics = ShellMetrics()
    var traceMask: Int64 = 0x132
    let throttle: ConnectionThrottle

    init(_ server: FuzzServer) {
        self.server = server
        startedMicroseconds = server.now.monotonicMicroseconds
        throttle = ConnectionThrottle(configuration.connectionThrottle, nowMilliseconds: 0)
    }

    var now: Now { server.now }

    var core: ServerCore {
        _read { yield server.core }
        _modify { yield &server.core }
    }

    /// It stands alone.
    var ensemble: EnsembleLink? { nil }

    func handler(of id: ConnectionID) -> (interest: Int, Void)? { server.isOpen(id) ? (1, ()) : nil }
}

/// What words ask a member of an ensemble for.
final class EnsembleLink {
    let member: Member
    var availability = AvailabilityMetrics()

    init(_ member: Member) { self.member = member }
}

/// The other end of a connection, as words print it.
enum Peer {
    static func join(_ address: String, _ port: Int) -> String {
        address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
    }
}

extension FuzzServer {
    /// More than this no word may be answered with: what is in the tree and the tables of one input, told once or twice.
    private static let maximumWordBytes = 8 << 20

    /// Asks for a four-letter word and looks at the answer.
    ///
    /// - Parameter argument: what came behind the word.
    func answer(_ word: FourLetterWord, argument: UnsafeRawBufferPointer) {
        let loop = ServerLoop(self)
        let text = loop.answer(word, argument: argument)
        expect(text.count <= FuzzServer.maximumWordBytes, "\(word) is answered with \(text.count) bytes")
        switch word {
        case .mntr:
            // One name and one value a line, whatever the nodes are called.
            for line in text.split(separator: UInt8(ascii: "\n")) {
                let isPlain = line.starts(with: "zk_".utf8) && line.count { $0 == UInt8(ascii: "\t") } == 1
                expect(isPlain, "a line of mntr is \(String(decoding: line, as: UTF8.self))")
            }
        case .dump:
            var sessions = 0
            core.forEachSessionBucket { sessions += $1.count }
            expect(sessions == core.sessionCount, "\(sessions) of \(core.sessionCount) sessions are told of")
        case .wchs:
            var watches = 0
            core.forEachWatchedPath { watches += $1.count }
            expect(watches <= core.watchSummary().watches, "more paths are watched than there are watches")
        case .stmk, .gtmk, .ruok, .isro, .srst, .crst, .srvr, .stat, .cons, .wchc, .wchp, .conf, .dirs, .envi:
            expect(!text.isEmpty, "\(word) is not answered")
        case .hash:
            break
        }
    }
}
