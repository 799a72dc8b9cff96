/// A line that was typed while `aviary dev` runs in a terminal.
enum DevCommand: Equatable {
    case kill(Int), pause(Int), resume(Int), restart(Int)
    case status, help, quit
    case nothing
    /// What is wrong with the line.
    case mistake(String)

    /// - Parameter count: of servers; with one alone its number can be left out.
    init(_ line: some StringProtocol, count: Int) {
        let words = line.split { $0.isWhitespace }.map { $0.lowercased() }
        guard let letter = words.first else {
            self = .nothing
            return
        }
        let onServer: (Int) -> DevCommand
        switch letter {
        case "s", "status": self = .status; return
        case "q", "quit", "exit": self = .quit; return
        case "h", "help", "?": self = .help; return
        case "k", "kill": onServer = Self.kill
        case "p", "pause": onServer = Self.pause
        case "c", "continue": onServer = Self.resume
        case "r", "restart": onServer = Self.restart
        default:
            self = .mistake("'\(letter)' is no command: \(Self.summary)")
            return
        }
        let range = count == 1 ? "1" : "1 to \(count)"
        let number = words.count == 1 && count == 1 ? 1 : words.count == 2 ? Int(words[1]) : nil
        guard let number, (1...count).contains(number) else {
            self = .mistake("\(letter) wants the number of a server, \(range): \(letter) \(count)")
            return
        }
        self = onServer(number)
    }

    static let summary =
        "k N kill -9, p N pause, c N continue, r N restart; s status, q quit"
}
