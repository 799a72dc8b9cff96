internal import AviaryCore
internal import AviaryEnsemble
internal import ZooKeeperProtocol

/// The words that may stand in place of the first frame (docs/protocol/client-protocol.md section 19).
enum FourLetterWord: String, CaseIterable {
    case conf, cons, crst, dirs, dump, envi, gtmk, hash, isro, mntr, ruok, srst, srvr, stat, stmk, wchc, wchp, wchs

    /// The word and, behind it, the eight bytes that `stmk` takes.
    static let traceMaskBytes = 12

    /// Whether it says nothing of the tree and the clients.
    var isAnsweredWithoutService: Bool {
        switch self {
        case .ruok, .gtmk, .stmk, .envi, .isro: true
        case .conf, .cons, .crst, .dirs, .dump, .hash, .mntr, .srst, .srvr, .stat, .wchc, .wchp, .wchs: false
        }
    }

    init?(_ bytes: UInt32) {
        // All are lower case letters: no other length of a frame has to be looked up.
        guard bytes & 0xe0e0_e0e0 == 0x6060_6060 else { return nil }
        self.init(rawValue: withUnsafeBytes(of: bytes.bigEndian) { String(decoding: $0, as: UTF8.self) })
    }
}

extension ServerLoop {
    /// Whether the word is answered here (`4lw.commands.whitelist`).
    func allows(_ word: FourLetterWord) -> Bool {
        switch word {
        case .srvr: true
        case .isro where configuration.features.readOnlyMode: true
        default: configuration.fourLetterWords.allowed.contains(word.rawValue)
        }
    }

    /// The whole answer to a word.
    ///
    /// - Parameter argument: what came behind the word; only `stmk` looks at it.
    func answer(_ word: FourLetterWord, argument: UnsafeRawBufferPointer) -> [UInt8] {
        guard allows(word) else {
            return Array("\(word.rawValue) is not executed because it is not in the whitelist.\n".utf8)
        }
        var text = StatusText()
        if core.role == .looking, !word.isAnsweredWithoutService {
            text.add("This ZooKeeper instance is not currently serving requests")
            if word != .hash { text.line() }
            return text.bytes
        }
        switch word {
        case .ruok: text.add("imok")
        case .isro: text.add(core.role == .looking ? "null" : core.role == .readOnly ? "ro" : "rw")
        case .srvr: addServerStatus(to: &text, listsClients: false)
        case .stat: addServerStatus(to: &text, listsClients: true)
        case .srst:
            core.resetStatistics()
            ensemble?.member.resetStatistics()
            ensemble?.availability.reset()
            metrics.reset()
            text.line("Server stats reset.")
        case .crst:
            core.resetConnectionStatistics()
            text.line("Connection stats reset.")
        case .cons: addConnections(to: &text)
        case .dump: addDump(to: &text)
        case .wchs: addWatchSummary(to: &text)
        case .wchc: addWatchesBySession(to: &text)
        case .wchp: addWatchesByPath(to: &text)
        case .conf: addConfiguration(to: &text)
        case .dirs: addDirectorySizes(to: &text)
        case .envi: addEnvironment(to: &text)
        case .mntr: addMetrics(to: &text)
        case .hash: addDigests(to: &text)
        case .gtmk: text.add("\(traceMask)")
        case .stmk:
            traceMask = argument.count >= 8 ? Int64(bigEndian: argument.loadUnaligned(as: Int64.self)) : traceMask
            text.add("\(traceMask)")
        }
        return text.bytes
    }
}

/// The answer to a four letter word while it is put together. Lines end with `\n` alone.
struct StatusText {
    private(set) var bytes: [UInt8] = []

    mutating func add(_ text: String) {
        bytes.append(contentsOf: text.utf8)
    }

    mutating func line(_ text: String = "") {
        add(text)
        bytes.append(UInt8(ascii: "\n"))
    }

    /// A path goes out as the bytes that it is stored as.
    mutating func line(_ prefix: String, path: [UInt8]) {
        add(prefix)
        bytes.append(contentsOf: path)
        bytes.append(UInt8(ascii: "\n"))
    }
}
